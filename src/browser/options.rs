//! The options object, read once. Only own members count, and every error names the field
//! (behaviour.md 6.12).

use super::js;
use crate::policy::{
    Carrier, Config, Dialect, Error, Limits, Origins, Preset, TokenFields, is_secure,
};
use js_sys::{Function, JsString, Object};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use web_sys::Url;

/// Where the session is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// sessionStorage, or localStorage after `remember: true`.
    Session,
    /// localStorage.
    Local,
    /// This page only.
    Memory,
}

/// Full URLs of the auth endpoints; `None` = the server has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Endpoints {
    pub(super) login: Option<String>,
    pub(super) register: Option<String>,
    pub(super) refresh: Option<String>,
    pub(super) logout: Option<String>,
    pub(super) logout_all: Option<String>,
    pub(super) me: Option<String>,
}

/// Everything a client was created with.
pub(super) struct Options {
    pub(super) preset: &'static Preset,
    pub(super) endpoints: Endpoints,
    pub(super) origins: Origins,
    /// [`Origins::prefixes`] as JavaScript strings, so that no URL is copied on the hot path.
    pub(super) prefixes: Vec<JsString>,
    pub(super) carrier: Carrier,
    pub(super) refresh_method: &'static str,
    pub(super) refresh_field: String,
    pub(super) client_id: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) dialect: Dialect,
    pub(super) parse_tokens: Option<Function>,
    pub(super) get_session: Option<Function>,
    pub(super) refresh_session: Option<Function>,
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) refresh_timeout: i64,
    pub(super) cross_tab: bool,
    pub(super) transport: Option<Function>,
    pub(super) policy: Config,
}

const KNOWN: [&str; 24] = [
    "baseUrl",
    "allowedOrigins",
    "preset",
    "endpoints",
    "clientId",
    "scope",
    "refreshCall",
    "tokenFields",
    "lifetimeUnit",
    "parseTokens",
    "getSession",
    "refreshSession",
    "storage",
    "storageKey",
    "expiryBuffer",
    "sessionCacheTtl",
    "defaultTokenLifetime",
    "refreshTimeout",
    "circuitBreaker",
    "strict",
    "crossTab",
    "fetch",
    "logLevel",
    // TypeScript's, but it may stand in the object all the same.
    "logger",
];
const ENDPOINTS: [&str; 6] = ["login", "register", "refresh", "logout", "logoutAll", "me"];

const MILLISECONDS: &str = "must be a number of milliseconds, 0 or more";
const HTTP_URL: &str = "must be an absolute http(s) URL without user info";
const TEXT: &str = "must be a non-empty string";

impl Options {
    /// Reads the object.
    ///
    /// # Errors
    /// [`crate::policy::Code::Config`] with the field that is wrong.
    pub(super) fn read(value: &JsValue) -> Result<Self, Error> {
        let object = plain(value, "options")?;
        only(&object, "", &KNOWN)?;
        let preset = read_preset(&object)?;
        let base = read_base(&object)?;
        let endpoints = read_endpoints(&object, preset, base.as_deref())?;
        let origins = read_origins(&object, base.as_deref(), &endpoints)?;
        let call = read_refresh_call(&object, preset)?;
        let get_session = function(&object, "getSession")?;
        let refresh_session = function(&object, "refreshSession")?;
        let mut policy = read_policy(&object)?;
        policy.outside = get_session.is_some();
        policy.refreshable = policy.outside || endpoints.refresh.is_some();
        policy.access_token_refreshes =
            call.carrier == Carrier::Bearer && preset.refreshes_with_access_token();
        policy.codes_in_body = preset.codes_in_body;
        Ok(Self {
            preset,
            prefixes: origins
                .prefixes()
                .iter()
                .map(|prefix| JsString::from(prefix.as_str()))
                .collect(),
            origins,
            carrier: call.carrier,
            refresh_method: call.method,
            refresh_field: call.field,
            client_id: text(&object, "clientId")?,
            scope: text(&object, "scope")?,
            dialect: read_dialect(&object, preset)?,
            parse_tokens: function(&object, "parseTokens")?,
            get_session,
            refresh_session,
            place: read_place(&object)?,
            key: read_key(&object)?,
            refresh_timeout: milliseconds(&object, "refreshTimeout")?.unwrap_or(10_000),
            cross_tab: flag(&object, "crossTab")?.unwrap_or(true),
            transport: function(&object, "fetch")?,
            endpoints,
            policy,
        })
    }
}

struct Call {
    carrier: Carrier,
    method: &'static str,
    field: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RefreshCall {
    method: Option<String>,
    send: Option<String>,
    field: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Fields {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<String>,
    expires_at: Option<String>,
}

fn read_preset(object: &Object) -> Result<&'static Preset, Error> {
    match text(object, "preset")? {
        None => Ok(Preset::none()),
        Some(name) => Preset::named(&name).ok_or_else(|| Error::config("preset", Preset::NAMES)),
    }
}

/// `baseUrl`, or the page's own address where there is one.
fn read_base(object: &Object) -> Result<Option<String>, Error> {
    if let Some(base) = text(object, "baseUrl")? {
        return Ok(Some(
            http_url(&base, None)
                .ok_or_else(|| Error::config("baseUrl", HTTP_URL))?
                .href(),
        ));
    }
    let location = js::global("location").map(|location| js::get(&location, "href"));
    let href = location.and_then(|href| href.as_string());
    Ok(href.filter(|href| href.starts_with("http")))
}

fn read_endpoints(
    object: &Object,
    preset: &Preset,
    base: Option<&str>,
) -> Result<Endpoints, Error> {
    let given = match member(object, "endpoints") {
        None => Object::new(),
        Some(value) => plain(&value, "endpoints")?,
    };
    only(&given, "endpoints.", &ENDPOINTS)?;
    let endpoint = |name: &str, path: &str| -> Result<Option<String>, Error> {
        let field = ["endpoints.", name].concat();
        let own = named_text(&given, name, &field)?;
        let path = own.as_deref().unwrap_or(path);
        if path.is_empty() {
            return Ok(None);
        }
        let url = http_url(path, base).ok_or_else(|| Error::config(&field, HTTP_URL))?;
        if !is_secure(&url.origin()) {
            return Err(Error::config(
                &field,
                "must be https, or http on this machine: tokens do not travel in clear",
            ));
        }
        Ok(Some(url.href()))
    };
    Ok(Endpoints {
        login: endpoint("login", preset.login)?,
        register: endpoint("register", preset.register)?,
        refresh: endpoint("refresh", preset.refresh)?,
        logout: endpoint("logout", preset.logout)?,
        logout_all: endpoint("logoutAll", preset.logout_all)?,
        me: endpoint("me", preset.me)?,
    })
}

/// The origins that may carry the token: `baseUrl`'s and those listed. The page's own address counts
/// only where no `baseUrl` is given.
fn read_origins(
    object: &Object,
    base: Option<&str>,
    endpoints: &Endpoints,
) -> Result<Origins, Error> {
    const EXACT: &str =
        "must list exact origins such as 'https://api.example.com', https or on this machine";
    let listed: Option<Vec<String>> = typed(object, "allowedOrigins", EXACT)?;
    let mut origins = Vec::new();
    for origin in listed.into_iter().flatten() {
        let url = http_url(&origin, None).ok_or_else(|| Error::config("allowedOrigins", EXACT))?;
        let exact = url.href() == [url.origin().as_str(), "/"].concat();
        if !exact || !is_secure(&url.origin()) {
            return Err(Error::config("allowedOrigins", EXACT));
        }
        origins.push(url.origin());
    }
    if let Some(base) = base.and_then(|base| http_url(base, None)) {
        if is_secure(&base.origin()) {
            origins.push(base.origin());
        } else if member(object, "baseUrl").is_some() {
            return Err(Error::config(
                "baseUrl",
                "must be https, or http on this machine: tokens do not travel in clear",
            ));
        }
    }
    let own = [
        &endpoints.login,
        &endpoints.register,
        &endpoints.refresh,
        &endpoints.logout,
        &endpoints.logout_all,
    ];
    Ok(Origins::new(
        &origins,
        own.into_iter().flatten().cloned().collect(),
    ))
}

fn read_refresh_call(object: &Object, preset: &Preset) -> Result<Call, Error> {
    let mut given = RefreshCall::default();
    if let Some(value) = member(object, "refreshCall") {
        let value = plain(&value, "refreshCall")?;
        only(&value, "refreshCall.", &["method", "send", "field"])?;
        given = serde_wasm_bindgen::from_value(value.into())
            .map_err(|_| Error::config("refreshCall", "must hold strings: method, send, field"))?;
    }
    let carrier = match given.send.as_deref() {
        None => preset.carrier,
        Some("json") => Carrier::Json,
        Some("form") => Carrier::Form,
        Some("bearer") => Carrier::Bearer,
        Some("cookie") => Carrier::Cookie,
        Some(_) => {
            return Err(Error::config(
                "refreshCall.send",
                "must be 'json', 'form', 'bearer' or 'cookie'",
            ));
        }
    };
    let method = match given.method.as_deref() {
        None | Some("POST") => "POST",
        Some("GET") => "GET",
        Some(_) => {
            return Err(Error::config(
                "refreshCall.method",
                "must be 'POST' or 'GET'",
            ));
        }
    };
    if method == "GET" && matches!(carrier, Carrier::Json | Carrier::Form) {
        return Err(Error::config(
            "refreshCall.method",
            "must be 'POST' when a body is sent",
        ));
    }
    let field = given
        .field
        .filter(|field| !field.is_empty())
        .unwrap_or_else(|| preset.field.to_owned());
    Ok(Call {
        carrier,
        method,
        field,
    })
}

fn read_dialect(object: &Object, preset: &Preset) -> Result<Dialect, Error> {
    const UNIT: &str = "must be 's' or 'ms'";
    let mut fields = Fields::default();
    if let Some(value) = member(object, "tokenFields") {
        let value = plain(&value, "tokenFields")?;
        only(
            &value,
            "tokenFields.",
            &["accessToken", "refreshToken", "expiresIn", "expiresAt"],
        )?;
        fields = serde_wasm_bindgen::from_value(value.into())
            .map_err(|_| Error::config("tokenFields", "must hold dotted paths as strings"))?;
    }
    let unit = match text(object, "lifetimeUnit")?.as_deref() {
        None | Some("s") => 1000,
        Some("ms") => 1,
        Some(_) => return Err(Error::config("lifetimeUnit", UNIT)),
    };
    Ok(Dialect {
        fields: TokenFields {
            access_token: fields.access_token,
            refresh_token: fields.refresh_token,
            expires_in: fields.expires_in,
            expires_at: fields.expires_at,
        },
        unit,
        untyped: preset.untyped,
    })
}

fn read_policy(object: &Object) -> Result<Config, Error> {
    let usual = Config::default();
    let mut limits = usual.limits;
    if let Some(value) = member(object, "circuitBreaker") {
        let value = plain(&value, "circuitBreaker")?;
        only(&value, "circuitBreaker.", &["maxFailures", "cooldown"])?;
        let failures = named_milliseconds(&value, "maxFailures", "circuitBreaker.maxFailures")?;
        let failures = failures.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        let cooldown = named_milliseconds(&value, "cooldown", "circuitBreaker.cooldown")?;
        if failures == Some(0) {
            return Err(Error::config(
                "circuitBreaker.maxFailures",
                "must be 1 or more",
            ));
        }
        limits = Limits {
            max_failures: failures.unwrap_or(limits.max_failures),
            cooldown: cooldown.unwrap_or(limits.cooldown),
        };
    }
    Ok(Config {
        expiry_buffer: milliseconds(object, "expiryBuffer")?.unwrap_or(usual.expiry_buffer),
        default_lifetime: milliseconds(object, "defaultTokenLifetime")?.or(usual.default_lifetime),
        cache_ttl: milliseconds(object, "sessionCacheTtl")?.unwrap_or(usual.cache_ttl),
        limits,
        strict: flag(object, "strict")?.unwrap_or(false),
        debug: read_log_level(object)?,
        ..usual
    })
}

/// Whether debug entries are wanted: they are made on the hot path, so only then.
fn read_log_level(object: &Object) -> Result<bool, Error> {
    const LEVELS: &str = "must be 'silent', 'error', 'warn', 'info' or 'debug'";
    match text(object, "logLevel")?.as_deref() {
        None | Some("silent" | "error" | "warn" | "info") => Ok(false),
        Some("debug") => Ok(true),
        Some(_) => Err(Error::config("logLevel", LEVELS)),
    }
}

fn read_place(object: &Object) -> Result<Place, Error> {
    match text(object, "storage")?.as_deref() {
        None | Some("session") => Ok(Place::Session),
        Some("local") => Ok(Place::Local),
        Some("memory") => Ok(Place::Memory),
        Some(_) => Err(Error::config(
            "storage",
            "must be 'session', 'local' or 'memory'",
        )),
    }
}

/// The storage key: a fixed prefix and a name that cannot come from a URL (behaviour.md 6.15).
fn read_key(object: &Object) -> Result<String, Error> {
    let name = text(object, "storageKey")?.unwrap_or_else(|| "default".to_owned());
    let fits = name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !fits {
        return Err(Error::config(
            "storageKey",
            "must be 1 to 64 letters, digits, dots, dashes or underscores",
        ));
    }
    Ok(["keepfresh.", &name].concat())
}

/// A parsed http(s) URL without user info.
fn http_url(text: &str, base: Option<&str>) -> Option<Url> {
    let url = match base {
        Some(base) => Url::new_with_base(text, base),
        None => Url::new(text),
    };
    let url = url.ok()?;
    let web = matches!(url.protocol().as_str(), "http:" | "https:");
    (web && url.username().is_empty() && url.password().is_empty()).then_some(url)
}

fn plain(value: &JsValue, field: &str) -> Result<Object, Error> {
    let object = value
        .dyn_ref::<Object>()
        .filter(|_| value.is_object() && !js_sys::Array::is_array(value));
    object
        .cloned()
        .ok_or_else(|| Error::config(field, "must be an object"))
}

/// Refuses unknown names, `__proto__` among them.
fn only(object: &Object, prefix: &str, known: &[&str]) -> Result<(), Error> {
    for key in js_sys::Object::keys(object).iter() {
        let key = key.as_string().unwrap_or_default();
        if !known.contains(&key.as_str()) {
            return Err(Error::config(
                &[prefix, &key].concat(),
                "is not known; check its spelling",
            ));
        }
    }
    Ok(())
}

/// An own member that is not undefined.
fn member(object: &Object, name: &str) -> Option<JsValue> {
    let own = Object::has_own(object, &JsValue::from_str(name));
    own.then(|| js::get(object, name))
        .filter(|value| !value.is_undefined())
}

fn typed<T: DeserializeOwned>(
    object: &Object,
    name: &str,
    must: &'static str,
) -> Result<Option<T>, Error> {
    match member(object, name) {
        None => Ok(None),
        Some(value) => serde_wasm_bindgen::from_value(value)
            .map(Some)
            .map_err(|_| Error::config(name, must)),
    }
}

fn text(object: &Object, name: &str) -> Result<Option<String>, Error> {
    named_text(object, name, name)
}

fn named_text(object: &Object, name: &str, field: &str) -> Result<Option<String>, Error> {
    match member(object, name).map(|value| value.as_string()) {
        None => Ok(None),
        Some(Some(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(Error::config(field, TEXT)),
    }
}

fn flag(object: &Object, name: &str) -> Result<Option<bool>, Error> {
    typed(object, name, "must be true or false")
}

fn milliseconds(object: &Object, name: &str) -> Result<Option<i64>, Error> {
    named_milliseconds(object, name, name)
}

fn named_milliseconds(object: &Object, name: &str, field: &str) -> Result<Option<i64>, Error> {
    let Some(value) = member(object, name) else {
        return Ok(None);
    };
    #[allow(clippy::cast_possible_truncation, reason = "bounded just below")]
    let number = value
        .as_f64()
        .filter(|ms| (0.0..=1e12).contains(ms))
        .map(|ms| ms as i64);
    number
        .map(Some)
        .ok_or_else(|| Error::config(field, MILLISECONDS))
}

fn function(object: &Object, name: &str) -> Result<Option<Function>, Error> {
    match member(object, name) {
        None => Ok(None),
        Some(value) => value
            .dyn_into()
            .map(Some)
            .map_err(|_| Error::config(name, "must be a function")),
    }
}
