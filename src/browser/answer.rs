//! Calls to the auth server and what comes back, in the policy's terms (behaviour.md 6.7).

use super::clock::{self, Alarm};
use super::inner::Inner;
use super::js;
use super::json::JsBody;
use crate::policy::{
    self, Failure, RefreshAnswer, Timing, TokenSet, Unusable, error_code, http_date, jwt_payload,
    read_tokens, refuses_csrf, reports_error,
};
use js_sys::{Array, JsString};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Headers, ReferrerPolicy, Request, RequestCache, RequestCredentials, RequestInit,
    RequestRedirect, Response,
};

/// One call to an auth endpoint.
#[derive(Default)]
pub(super) struct Call<'a> {
    pub(super) url: &'a str,
    pub(super) method: &'a str,
    /// Content type and body.
    pub(super) body: Option<(&'a str, JsValue)>,
    /// The token for `Authorization: Bearer`.
    pub(super) bearer: Option<&'a str>,
    /// Let it finish while the page goes away.
    pub(super) keepalive: bool,
    /// Set once nobody waits for it any more: then it is not to go out.
    pub(super) given_up: Option<&'a Cell<bool>>,
}

/// An answer whose body has been read.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) redirected: bool,
    pub(super) body: Option<JsBody>,
    /// There is no body at all, which is fine where tokens are cookies.
    pub(super) empty: bool,
    /// What the server calls the error.
    pub(super) code: Option<String>,
    pub(super) response: Response,
    pub(super) retry_after: Option<String>,
    pub(super) timing: Timing,
}

impl Answered {
    /// A 2xx.
    pub(super) fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The parsed body for the app, or null.
    pub(super) fn json(&self) -> JsValue {
        self.body.as_ref().map_or(JsValue::NULL, JsBody::whole)
    }
}

/// What a refresh brought, and the person if the answer described one.
pub(super) struct Refreshed {
    pub(super) answer: RefreshAnswer,
    pub(super) timing: Timing,
    pub(super) user: JsValue,
}

impl Refreshed {
    pub(super) fn failed(failure: Failure, timing: Timing) -> Self {
        Self {
            answer: RefreshAnswer::Failed(failure, None),
            timing,
            user: JsValue::UNDEFINED,
        }
    }
}

/// Sends a call and reads the answer's body. Where the tokens are cookies, a CSRF token is fetched if
/// there is none, and once more if the server does not take it (behaviour.md 2.5).
///
/// # Errors
/// The native error, when there was no answer.
pub(super) async fn exchange(inner: &Rc<Inner>, call: Call<'_>) -> Result<Answered, JsValue> {
    let guarded = inner.options.csrf.is_some();
    if guarded && inner.csrf_token().is_none() {
        drop(JsFuture::from(inner.prime()).await);
    }
    let answered = exchange_once(inner, &call).await?;
    if !guarded || !refuses_csrf(answered.status, answered.code.as_deref()) {
        return Ok(answered);
    }
    drop(JsFuture::from(inner.prime()).await);
    exchange_once(inner, &call).await
}

/// The same without a second try.
///
/// # Errors
/// The native error, when there was no answer.
pub(super) async fn exchange_once(inner: &Inner, call: &Call<'_>) -> Result<Answered, JsValue> {
    // What came before it took too long: the lock is somebody else's by now.
    if call.given_up.is_some_and(Cell::get) {
        return Err(JsValue::UNDEFINED);
    }
    let request = build(inner, call)?;
    let sent = clock::now();
    let response: Response = JsFuture::from(inner.native_fetch(&request, &JsValue::UNDEFINED))
        .await?
        .unchecked_into();
    let received = clock::now();
    let redirected = js::get(&response, "type") == JsValue::from_str("opaqueredirect");
    let headers = response.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    let date = header("date").and_then(|date| http_date(&date));
    let retry_after = header("retry-after");
    // Only `parseTokens` gets to see the response, so only then is its body kept apart.
    let readable = if inner.options.parse_tokens.is_some() {
        Response::clone(&response)?
    } else {
        Clone::clone(&response)
    };
    let text = JsFuture::from(readable.text()?).await?;
    let text = text.dyn_ref::<JsString>();
    let body = text.and_then(JsBody::parse);
    let named = Some(inner.options.preset.code_header).filter(|name| !name.is_empty());
    let code = named
        .and_then(header)
        .or_else(|| body.as_ref().and_then(|body| error_code(body)));
    let timing = Timing {
        sent,
        received,
        date,
    };
    Ok(Answered {
        status: response.status(),
        redirected,
        empty: text.is_none_or(|text| text.length() == 0),
        body,
        code,
        response,
        retry_after,
        timing,
    })
}

/// Reads the answer of a refresh call.
pub(super) async fn read_refresh(inner: &Inner, answered: Answered) -> Refreshed {
    let timing = answered.timing;
    if answered.redirected {
        return Refreshed::failed(Failure::Redirected, timing);
    }
    let code = answered.code.clone();
    if !answered.ok() {
        // A date in it is the server's, and so is `Date`: the difference owes nothing to the clock here.
        let now = timing.date.unwrap_or(timing.received.wall);
        let wait = answered.retry_after.as_deref();
        let wait = wait.and_then(|header| policy::retry_after(header, now));
        let answer = RefreshAnswer::Failed(Failure::Status(answered.status, code), wait);
        return Refreshed {
            answer,
            timing,
            user: JsValue::UNDEFINED,
        };
    }
    match tokens_of(inner, &answered).await {
        Ok((tokens, user)) => Refreshed {
            answer: RefreshAnswer::Tokens(tokens),
            timing,
            user,
        },
        // A provider that reports an error under 200 (behaviour.md 1.16).
        Err(Unusable::Malformed)
            if answered
                .body
                .as_ref()
                .is_some_and(|body| reports_error(body)) =>
        {
            Refreshed::failed(Failure::Status(400, code), timing)
        }
        Err(unusable) => Refreshed::failed(Failure::Malformed(unusable), timing),
    }
}

/// The tokens and the person in a 2xx answer.
pub(super) async fn tokens_of(
    inner: &Inner,
    answered: &Answered,
) -> Result<(TokenSet, JsValue), Unusable> {
    if let Some(parse) = &inner.options.parse_tokens {
        let arguments = Array::of2(&answered.json(), &answered.response);
        let parsed = JsFuture::from(js::call_user(parse, &arguments))
            .await
            .map_err(|_| Unusable::Malformed)?;
        let (mut tokens, user) = token_set(inner, &parsed, false)?;
        tokens.lifetimes.held = false;
        return Ok((tokens, user));
    }
    if inner.options.dialect.tokenless {
        return cookies_of(inner, answered);
    }
    token_set(inner, &answered.json(), true)
}

/// What an answer says whose tokens are in cookies: perhaps nothing at all. A page of HTML is not
/// from the auth server.
fn cookies_of(inner: &Inner, answered: &Answered) -> Result<(TokenSet, JsValue), Unusable> {
    match &answered.body {
        Some(body) if reports_error(body) => Err(Unusable::Malformed),
        None if !answered.empty => Err(Unusable::Malformed),
        Some(body) => token_set(inner, &body.whole(), true),
        None => token_set(inner, &js_sys::Object::new(), true),
    }
}

/// Reads a `TokenSet`: an answer's body (`wire`), or what the app handed over.
pub(super) fn token_set(
    inner: &Inner,
    value: &JsValue,
    wire: bool,
) -> Result<(TokenSet, JsValue), Unusable> {
    let body = JsBody::of(value).ok_or(Unusable::Malformed)?;
    let dialect = if wire {
        &inner.options.dialect
    } else {
        &inner.plain_dialect
    };
    let mut tokens = read_tokens(&body, dialect)?;
    let token = tokens.access_token.as_ref();
    let claims = token.and_then(|token| jwt_payload(token.reveal()));
    if let Some(claims) = claims.and_then(|text| JsBody::parse(&JsString::from(text.as_str()))) {
        tokens.read_claims(&claims);
    }
    // What the app hands over was minted at some earlier time.
    tokens.lifetimes.held = !wire;
    if tokens.subject.is_none() {
        tokens.subject = ["user.id", "user.sub"]
            .iter()
            .find_map(|path| body.name(path));
    }
    Ok((tokens, body.value("user")))
}

/// Asks the outside source. A rejection of the app's function is a failure like any other.
pub(super) async fn ask_outside(
    inner: &Rc<Inner>,
    renew: bool,
) -> (Result<Option<(TokenSet, JsValue)>, ()>, Timing) {
    let options = &inner.options;
    let source = options
        .refresh_session
        .as_ref()
        .filter(|_| renew)
        .or(options.get_session.as_ref());
    let sent = clock::now();
    let answer = match source {
        None => Err(()),
        Some(source) => {
            let asked = std::pin::pin!(JsFuture::from(js::call_user(source, &Array::new())));
            let deadline = Alarm::after(options.refresh_timeout);
            match js::first_of(asked, JsFuture::from(deadline.promise().clone())).await {
                None | Some(Err(_)) => Err(()),
                Some(Ok(value)) if value.is_null() || value.is_undefined() => Ok(None),
                Some(Ok(value)) => outside_session(inner, &value),
            }
        }
    };
    let timing = Timing {
        sent,
        received: clock::now(),
        date: None,
    };
    (answer, timing)
}

/// A `TokenSet`, or the `{ data: { session } }` that supabase-js wraps it in.
fn outside_session(inner: &Inner, value: &JsValue) -> Result<Option<(TokenSet, JsValue)>, ()> {
    let body = JsBody::of(value).ok_or(())?;
    let session = body.value("data.session");
    // It reports a failed refresh as an error beside no session: that is not a sign-out.
    if session.is_null() && body.value("error").is_object() {
        return Err(());
    }
    if session.is_null() {
        return Ok(None);
    }
    let tokens = if session.is_object() { &session } else { value };
    token_set(inner, tokens, false).map(Some).map_err(|_| ())
}

fn build(inner: &Inner, call: &Call<'_>) -> Result<Request, JsValue> {
    let options = &inner.options;
    let headers = Headers::new()?;
    // Without it Laravel answers with a redirect to its login page (behaviour.md 1.19).
    headers.set("Accept", "application/json")?;
    if let Some(token) = call.bearer {
        headers.set("Authorization", &["Bearer ", token].concat())?;
    }
    // Key and CSRF token are for the auth server; an endpoint elsewhere gets neither (behaviour.md 6.22).
    let home = options.is_home(call.url);
    if let Some(key) = options.api_key.as_ref().filter(|_| home) {
        headers.set(options.preset.key_header, key.reveal())?;
    }
    // No other site's page can send this header without being asked by CORS first.
    if options.csrf.is_some() {
        headers.set("X-Requested-With", "XMLHttpRequest")?;
    }
    if let Some((header, token)) = inner.csrf_token().filter(|_| home && call.method != "GET") {
        // A cookie can hold what a header cannot: then the server asks for another one.
        drop(headers.set(header, &token));
    }
    let init = RequestInit::new();
    init.set_method(call.method);
    if let Some((kind, body)) = &call.body {
        headers.set("Content-Type", kind)?;
        init.set_body(body);
    }
    init.set_headers(&headers);
    init.set_cache(RequestCache::NoStore);
    init.set_credentials(if options.uses_cookies() {
        RequestCredentials::Include
    } else {
        RequestCredentials::Omit
    });
    // A followed cross-origin redirect would post the refresh token to the new origin.
    init.set_redirect(RequestRedirect::Manual);
    init.set_referrer_policy(ReferrerPolicy::NoReferrer);
    js::set(&init, "keepalive", &JsValue::from_bool(call.keepalive));
    Request::new_with_str_and_init(call.url, &init)
}
