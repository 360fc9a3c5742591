//! The options object, read once. Only own members count, and every error names the field
//! (behaviour.md 6.12).

use super::js;
use crate::policy::{
    CSRF, Carrier, Config, Dialect, Error, Origins, Preset, Secret, TokenFields, is_secure,
};
use js_sys::{Function, JsString, Object};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use web_sys::Url;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = Object, js_name = assign)]
    fn assign(target: &Object, source: &JsValue) -> Result<Object, JsValue>;
}

/// Where the session is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// sessionStorage, or localStorage after `remember: true`.
    Session,
    /// localStorage.
    Local,
    /// This page only.
    Memory,
    /// An object of the app's with Web Storage's methods.
    Custom,
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
    pub(super) csrf: Option<String>,
}

/// The CSRF cookie and the request header that repeats it.
#[derive(Clone, Debug)]
pub(super) struct Csrf {
    pub(super) cookie: String,
    pub(super) header: String,
}

/// Everything a client was created with.
pub(super) struct Options {
    pub(super) preset: &'static Preset,
    pub(super) endpoints: Endpoints,
    pub(super) origins: Origins,
    /// [`Origins::prefixes`] as JavaScript strings, so that no URL is copied on the hot path.
    pub(super) prefixes: Vec<JsString>,
    /// What URLs of the auth server itself start with: only they get its API key and CSRF token.
    pub(super) home: Option<JsString>,
    pub(super) api_key: Option<Secret>,
    /// How to guard calls that cookies go along with.
    pub(super) csrf: Option<Csrf>,
    pub(super) carrier: Carrier,
    pub(super) refresh_method: &'static str,
    pub(super) refresh_field: String,
    pub(super) client_id: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) dialect: Dialect,
    pub(super) parse_tokens: Option<Function>,
    pub(super) get_session: Option<Function>,
    pub(super) refresh_session: Option<Function>,
    pub(super) is_auth_error: Option<Function>,
    pub(super) login_url: Option<Url>,
    pub(super) place: Place,
    pub(super) adapter: Option<Object>,
    pub(super) key: String,
    pub(super) refresh_timeout: i64,
    pub(super) cross_tab: bool,
    pub(super) transport: Option<Function>,
    pub(super) policy: Config,
}

/// Boxed, so that the many places that can fail pass a pointer on and not the error itself.
type Checked<T = ()> = Result<T, Box<Error>>;

const KNOWN: [&str; 28] = [
    "baseUrl",
    "allowedOrigins",
    "preset",
    "endpoints",
    "clientId",
    "scope",
    "apiKey",
    "csrf",
    "isAuthError",
    "loginUrl",
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
const ENDPOINTS: [&str; 7] = [
    "login",
    "register",
    "refresh",
    "logout",
    "logoutAll",
    "me",
    "csrf",
];

const SEND: &str = "must be 'json', 'form', 'bearer' or 'cookie'";
const PLACE: &str =
    "must be 'session', 'local', 'memory' or an object with getItem, setItem and removeItem";
const CLEAR: &str = "must be https, or http on this machine: tokens do not travel in clear";
const EXACT: &str =
    "must list exact origins such as 'https://api.example.com', https or on this machine";
const HTTP_URL: &str = "must be an absolute http(s) URL without user info";

impl Options {
    /// Reads the object.
    ///
    /// # Errors
    /// [`crate::policy::Code::Config`] with the field that is wrong.
    pub(super) fn read(value: &JsValue) -> Checked<Box<Self>> {
        let object = &plain(value, "options")?;
        only(object, "", &KNOWN)?;
        let preset = read_preset(object)?;
        // Filled in place: moving and dropping parts of it is what made this function large.
        let mut options = Box::new(Self::usual(preset));
        let base = read_base(object)?;
        options.read_endpoints(object, base.as_deref())?;
        options.read_origins(object, base.as_deref())?;
        options.read_refresh_call(object)?;
        options.read_dialect(object)?;
        options.read_sources(object)?;
        options.read_keeping(object)?;
        options.read_limits(object)?;
        options.read_rules(object)?;
        Ok(options)
    }

    fn usual(preset: &'static Preset) -> Self {
        Self {
            preset,
            endpoints: Endpoints::default(),
            origins: Origins::default(),
            prefixes: Vec::new(),
            home: None,
            api_key: None,
            csrf: None,
            carrier: preset.carrier,
            refresh_method: "POST",
            refresh_field: preset.field.to_owned(),
            client_id: None,
            scope: None,
            dialect: Dialect {
                fields: TokenFields::default(),
                unit: 1000,
                untyped: preset.untyped,
                tokenless: preset.is_tokenless(),
            },
            parse_tokens: None,
            get_session: None,
            refresh_session: None,
            is_auth_error: None,
            login_url: None,
            place: Place::Session,
            adapter: None,
            key: String::new(),
            refresh_timeout: 10_000,
            cross_tab: true,
            transport: None,
            policy: Config::default(),
        }
    }

    /// Whether a URL is of the auth server's own origin.
    pub(super) fn is_home(&self, url: &str) -> bool {
        let home = self.home.as_ref().map(String::from);
        home.is_some_and(|home| url.starts_with(&home))
    }

    /// Whether auth calls take cookies along.
    pub(super) fn uses_cookies(&self) -> bool {
        self.carrier == Carrier::Cookie
    }

    fn read_endpoints(&mut self, object: &Object, base: Option<&str>) -> Checked {
        let given = match member(object, "endpoints") {
            None => Object::new(),
            Some(value) => plain(&value, "endpoints")?,
        };
        only(&given, "endpoints.", &ENDPOINTS)?;
        let (preset, endpoints) = (self.preset, &mut self.endpoints);
        for (name, path, slot) in [
            ("login", preset.login, &mut endpoints.login),
            ("register", preset.register, &mut endpoints.register),
            ("refresh", preset.refresh, &mut endpoints.refresh),
            ("logout", preset.logout, &mut endpoints.logout),
            ("logoutAll", preset.logout_all, &mut endpoints.logout_all),
            ("me", preset.me, &mut endpoints.me),
            ("csrf", preset.csrf, &mut endpoints.csrf),
        ] {
            *slot = read_endpoint(&given, name, path, base)?;
        }
        Ok(())
    }

    /// The origins that may carry the token: `baseUrl`'s and those listed. The page's own address
    /// counts only where no `baseUrl` is given.
    fn read_origins(&mut self, object: &Object, base: Option<&str>) -> Checked {
        let listed: Option<Vec<String>> = typed(object, "allowedOrigins", EXACT)?;
        let mut origins = Vec::new();
        for origin in listed.into_iter().flatten() {
            origins.push(exact_origin(&origin)?);
        }
        if let Some(base) = base.and_then(|base| http_url(base, None)) {
            if is_secure(&base.origin()) {
                origins.push(base.origin());
            } else if member(object, "baseUrl").is_some() {
                return wrong("baseUrl", CLEAR);
            }
        }
        let own = &self.endpoints;
        let urls = [
            &own.login,
            &own.register,
            &own.refresh,
            &own.logout,
            &own.logout_all,
            &own.csrf,
        ];
        self.origins = Origins::new(&origins, urls.into_iter().flatten().cloned().collect());
        let home = own.refresh.as_deref().or(base);
        let home = home.and_then(|home| http_url(home, None));
        self.home = home.map(|home| JsString::from([home.origin().as_str(), "/"].concat()));
        let prefixes = self.origins.prefixes().iter();
        self.prefixes = prefixes
            .map(|prefix| JsString::from(prefix.as_str()))
            .collect();
        Ok(())
    }

    fn read_refresh_call(&mut self, object: &Object) -> Checked {
        let Some(value) = member(object, "refreshCall") else {
            return Ok(());
        };
        let value = plain(&value, "refreshCall")?;
        only(&value, "refreshCall.", &["method", "send", "field"])?;
        let given: RefreshCall = serde_wasm_bindgen::from_value(value.into())
            .map_err(|_| Error::config("refreshCall", "must hold strings: method, send, field"))?;
        self.carrier = match given.send.as_deref() {
            None => self.carrier,
            Some("json") => Carrier::Json,
            Some("form") => Carrier::Form,
            Some("bearer") => Carrier::Bearer,
            Some("cookie") => Carrier::Cookie,
            Some(_) => return wrong("refreshCall.send", SEND),
        };
        self.refresh_method = match given.method.as_deref() {
            None | Some("POST") => "POST",
            Some("GET") => "GET",
            Some(_) => return wrong("refreshCall.method", "must be 'POST' or 'GET'"),
        };
        if self.refresh_method == "GET" && matches!(self.carrier, Carrier::Json | Carrier::Form) {
            return wrong("refreshCall.method", "must be 'POST' when a body is sent");
        }
        if let Some(field) = given.field.filter(|field| !field.is_empty()) {
            self.refresh_field = field;
        }
        Ok(())
    }

    fn read_dialect(&mut self, object: &Object) -> Checked {
        if let Some(value) = member(object, "tokenFields") {
            let value = plain(&value, "tokenFields")?;
            let names = ["accessToken", "refreshToken", "expiresIn", "expiresAt"];
            only(&value, "tokenFields.", &names)?;
            let fields: Fields = serde_wasm_bindgen::from_value(value.into())
                .map_err(|_| Error::config("tokenFields", "must hold dotted paths as strings"))?;
            self.dialect.fields = TokenFields {
                access_token: fields.access_token,
                refresh_token: fields.refresh_token,
                expires_in: fields.expires_in,
                expires_at: fields.expires_at,
            };
        }
        self.dialect.unit = match text(object, "lifetimeUnit")?.as_deref() {
            None | Some("s") => 1000,
            Some("ms") => 1,
            Some(_) => return wrong("lifetimeUnit", "must be 's' or 'ms'"),
        };
        Ok(())
    }

    fn read_sources(&mut self, object: &Object) -> Checked {
        self.client_id = text(object, "clientId")?;
        self.scope = text(object, "scope")?;
        self.api_key = match text(object, "apiKey")?.map(Secret::new) {
            Some(None) => return wrong("apiKey", "must be visible ASCII characters"),
            key => key.flatten(),
        };
        self.read_csrf(object)?;
        self.login_url = read_login_url(object)?;
        for (name, slot) in [
            ("parseTokens", &mut self.parse_tokens),
            ("getSession", &mut self.get_session),
            ("refreshSession", &mut self.refresh_session),
            ("isAuthError", &mut self.is_auth_error),
            ("fetch", &mut self.transport),
        ] {
            *slot = function(object, name)?;
        }
        Ok(())
    }

    /// Only servers that are known to expect them get headers of ours: others may not allow them.
    fn read_csrf(&mut self, object: &Object) -> Checked {
        let given = match member(object, "csrf") {
            None if self.preset.is_tokenless() => Object::new(),
            None => return Ok(()),
            Some(value) => plain(&value, "csrf")?,
        };
        only(&given, "csrf.", &["cookie", "header"])?;
        let name = |member: &str, usual: &str| -> Checked<String> {
            let name = text(&given, member)?.unwrap_or_else(|| usual.to_owned());
            // A cookie's name and a header's are tokens of RFC 9110 §5.6.2.
            let fits =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.bytes().all(fits) {
                return Ok(name);
            }
            wrong(
                &["csrf.", member].concat(),
                "must be the name of a cookie or a header",
            )
        };
        let csrf = Csrf {
            cookie: name("cookie", CSRF.0)?,
            header: name("header", CSRF.1)?,
        };
        self.csrf = Some(csrf).filter(|_| self.uses_cookies());
        Ok(())
    }

    /// Where the session is kept, and under which name: a fixed prefix and a name that cannot come
    /// from a URL (behaviour.md 6.15).
    fn read_keeping(&mut self, object: &Object) -> Checked {
        let storage = member(object, "storage");
        self.adapter = storage.as_ref().and_then(adapter);
        let place = storage.as_ref().map(JsValue::as_string);
        self.place = match place.as_ref().map(Option::as_deref) {
            // Cookies are the browser's: every tab has to know whose they are. The record of such a
            // session holds no token (behaviour.md 3.8, 5.12).
            None if self.preset.is_tokenless() => Place::Local,
            None | Some(Some("session")) => Place::Session,
            Some(Some("local")) => Place::Local,
            Some(Some("memory")) => Place::Memory,
            Some(None) if self.adapter.is_some() => Place::Custom,
            Some(_) => return wrong("storage", PLACE),
        };
        let name = text(object, "storageKey")?;
        let name = name.as_deref().unwrap_or("default");
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.len() > 64 || !name.bytes().all(fits) {
            return wrong(
                "storageKey",
                "must be 1 to 64 letters, digits, dots, dashes or underscores",
            );
        }
        self.key = ["keepfresh.", name].concat();
        self.cross_tab = flag(object, "crossTab")?.unwrap_or(true);
        Ok(())
    }

    fn read_limits(&mut self, object: &Object) -> Checked {
        let Some(value) = member(object, "circuitBreaker") else {
            return Ok(());
        };
        let value = plain(&value, "circuitBreaker")?;
        only(&value, "circuitBreaker.", &["maxFailures", "cooldown"])?;
        let limits = &mut self.policy.limits;
        let mut failures = i64::from(limits.max_failures);
        named_milliseconds(
            &value,
            "maxFailures",
            "circuitBreaker.maxFailures",
            &mut failures,
        )?;
        named_milliseconds(
            &value,
            "cooldown",
            "circuitBreaker.cooldown",
            &mut limits.cooldown,
        )?;
        if failures < 1 {
            return wrong("circuitBreaker.maxFailures", "must be 1 or more");
        }
        limits.max_failures = u32::try_from(failures).unwrap_or(u32::MAX);
        Ok(())
    }

    fn read_rules(&mut self, object: &Object) -> Checked {
        let policy = &mut self.policy;
        milliseconds(object, "expiryBuffer", &mut policy.expiry_buffer)?;
        milliseconds(object, "sessionCacheTtl", &mut policy.cache_ttl)?;
        milliseconds(object, "refreshTimeout", &mut self.refresh_timeout)?;
        let mut lifetime = policy.default_lifetime.unwrap_or(0);
        milliseconds(object, "defaultTokenLifetime", &mut lifetime)?;
        // 0 = no assumption: a token without a lifetime is renewed after a 401 only.
        policy.default_lifetime = (lifetime > 0).then_some(lifetime);
        policy.strict = flag(object, "strict")?.unwrap_or(false);
        policy.debug = read_log_level(object)?;
        policy.outside = self.get_session.is_some();
        policy.refreshable = policy.outside || self.endpoints.refresh.is_some();
        policy.access_token_refreshes =
            self.carrier == Carrier::Bearer && self.preset.refreshes_with_access_token();
        policy.cookie_refreshes = self.carrier == Carrier::Cookie;
        policy.csrf = self.csrf.is_some();
        policy.codes_in_body = self.preset.codes_in_body;
        policy.dead_codes = self.preset.dead_codes;
        policy.refresh_timeout = self.refresh_timeout;
        Ok(())
    }
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

fn read_preset(object: &Object) -> Checked<&'static Preset> {
    match text(object, "preset")? {
        None => Ok(Preset::none()),
        Some(name) => {
            Preset::named(&name).ok_or_else(|| Error::config("preset", Preset::NAMES).into())
        }
    }
}

/// `baseUrl`, or the page's own address where there is one.
fn read_base(object: &Object) -> Checked<Option<String>> {
    if let Some(base) = text(object, "baseUrl")? {
        return match http_url(&base, None) {
            Some(url) => Ok(Some(url.href())),
            None => wrong("baseUrl", HTTP_URL),
        };
    }
    let location = js::global("location").map(|location| js::get(&location, "href"));
    let href = location.and_then(|href| href.as_string());
    Ok(href.filter(|href| href.starts_with("http")))
}

fn read_endpoint(
    given: &Object,
    name: &str,
    path: &str,
    base: Option<&str>,
) -> Checked<Option<String>> {
    let field = ["endpoints.", name].concat();
    let own = match member(given, name).map(|value| value.as_string()) {
        Some(None) => return wrong(&field, "must be a URL, or '' when the server has none"),
        own => own.flatten(),
    };
    let path = own.as_deref().unwrap_or(path);
    if path.is_empty() {
        return Ok(None);
    }
    match http_url(path, base) {
        None => wrong(&field, HTTP_URL),
        Some(url) if !is_secure(&url.origin()) => wrong(&field, CLEAR),
        Some(url) => Ok(Some(url.href())),
    }
}

/// The page that a person is sent to for signing in: of this origin, or it could be anybody's
/// (behaviour.md 6.14).
fn read_login_url(object: &Object) -> Checked<Option<Url>> {
    let Some(given) = text(object, "loginUrl")? else {
        return Ok(None);
    };
    let location = js::global("location").map(|location| js::get(&location, "href"));
    let Some(page) = location.and_then(|href| href.as_string()) else {
        return Ok(None);
    };
    let here = http_url(&page, None).map(|page| page.origin());
    match http_url(&given, Some(&page)) {
        Some(url) if Some(url.origin()) == here => Ok(Some(url)),
        _ => wrong("loginUrl", "must be a page of this origin"),
    }
}

fn adapter(value: &JsValue) -> Option<Object> {
    let methods = ["getItem", "setItem", "removeItem"];
    let has = |name: &&str| js::get(value, name).is_function();
    let fits = value.is_object() && methods.iter().all(has);
    fits.then(|| value.clone().unchecked_into())
}

fn exact_origin(text: &str) -> Checked<String> {
    let origin =
        http_url(text, None).filter(|url| url.href() == [url.origin().as_str(), "/"].concat());
    match origin.map(|url| url.origin()) {
        Some(origin) if is_secure(&origin) && !text.contains('*') => Ok(origin),
        _ => wrong("allowedOrigins", EXACT),
    }
}

/// Whether debug entries are wanted: they are made on the hot path, so only then.
fn read_log_level(object: &Object) -> Checked<bool> {
    const LEVELS: &str = "must be 'silent', 'error', 'warn', 'info' or 'debug'";
    match text(object, "logLevel")?.as_deref() {
        None | Some("silent" | "error" | "warn" | "info") => Ok(false),
        Some("debug") => Ok(true),
        Some(_) => wrong("logLevel", LEVELS),
    }
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

fn wrong<T>(field: &str, must: &'static str) -> Checked<T> {
    Err(Box::new(Error::config(field, must)))
}

fn plain(value: &JsValue, field: &str) -> Checked<Object> {
    // Without a prototype, so that a polluted one answers for nobody, and read once. Getters and
    // proxies may throw, and a proxy that was revoked throws when it is asked for its kind.
    let copy = value.is_object().then(|| assign(&bare(), value));
    match copy {
        Some(Ok(copy)) if !js_sys::Array::is_array(value) => Ok(copy),
        Some(Err(_)) => wrong(field, "must be an object that can be read"),
        _ => wrong(field, "must be an object"),
    }
}

fn bare() -> Object {
    Object::create(JsValue::NULL.unchecked_ref())
}

/// Refuses unknown names, `__proto__` among them.
fn only(object: &Object, prefix: &str, known: &[&str]) -> Checked {
    for key in js_sys::Object::keys(object).iter() {
        let key = key.as_string().unwrap_or_default();
        if !known.contains(&key.as_str()) {
            return wrong(&[prefix, &key].concat(), "is not known; check its spelling");
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
) -> Checked<Option<T>> {
    match member(object, name).map(serde_wasm_bindgen::from_value) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => wrong(name, must),
    }
}

fn text(object: &Object, name: &str) -> Checked<Option<String>> {
    match member(object, name).map(|value| value.as_string()) {
        None => Ok(None),
        Some(Some(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => wrong(name, "must be a non-empty string"),
    }
}

fn flag(object: &Object, name: &str) -> Checked<Option<bool>> {
    typed(object, name, "must be true or false")
}

fn milliseconds(object: &Object, name: &str, slot: &mut i64) -> Checked {
    named_milliseconds(object, name, name, slot)
}

/// Overwrites `slot` if the option is there.
fn named_milliseconds(object: &Object, name: &str, field: &str, slot: &mut i64) -> Checked {
    let Some(value) = member(object, name) else {
        return Ok(());
    };
    match value.as_f64() {
        #[allow(clippy::cast_possible_truncation, reason = "bounded by the range")]
        Some(number) if (0.0..=1e12).contains(&number) => *slot = number as i64,
        _ => {
            return wrong(
                field,
                "must be a number, 0 or more; times are in milliseconds",
            );
        }
    }
    Ok(())
}

fn function(object: &Object, name: &str) -> Checked<Option<Function>> {
    match member(object, name).map(JsCast::dyn_into) {
        None => Ok(None),
        Some(Ok(function)) => Ok(Some(function)),
        Some(Err(_)) => wrong(name, "must be a function"),
    }
}
