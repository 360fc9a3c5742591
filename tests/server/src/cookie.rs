//! A session in `HttpOnly` cookies, as Laravel's stateful Sanctum has it:
//! `/cookie/*`. The page sees no token. It reads the cookie `XSRF-TOKEN` and
//! sends it back, decoded, in a header: an unsafe request needs both.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, State};
use axum::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use crate::answer::{Answer, Failure, json_answer, message, too_many};
use crate::kind::Kind;
use crate::limits::Exceeded;
use crate::store::{GrantToken, Issued, Known, User};
use crate::switches::Csrf;
use crate::wire::{Seen, noted};
use crate::{App, secret};

const ACCESS: &str = "__kf_access";
const REFRESH: &str = "__kf_refresh";
const CSRF: &str = "XSRF-TOKEN";
const CSRF_HEADER: &str = "x-xsrf-token";
/// No Secure: loopback is plain http here.
const HIDDEN: &str = "; Path=/; HttpOnly; SameSite=Lax";
const READABLE: &str = "; Path=/; SameSite=Lax";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/cookie/sanctum/csrf-cookie", get(csrf_cookie))
        .route("/cookie/login", post(login))
        .route("/cookie/refresh", post(refresh))
        .route("/cookie/logout", post(logout))
        .route("/cookie/logout-all", post(logout_all))
        .route("/cookie/me", get(me))
}

/// The access token in the cookies of a request without Authorization header.
pub(crate) fn access(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(AUTHORIZATION) {
        return None;
    }
    value(headers, ACCESS)
}

/// Refuses a request whose header does not repeat the cookie: whoever sent it
/// cannot read the cookie, or may send no such header.
pub(crate) fn check_csrf(app: &App, headers: &HeaderMap) -> Result<(), Response> {
    let cookie = value(headers, CSRF).map(|value| value.replace("%3D", "="));
    let header = headers
        .get(CSRF_HEADER)
        .and_then(|header| header.to_str().ok());
    if cookie.is_some() && cookie.as_deref() == header {
        Ok(())
    } else {
        Err(csrf_mismatch(app))
    }
}

/// Proof that an unsafe request comes from a page of ours.
struct Ours;

impl FromRequestParts<Arc<App>> for Ours {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let asked_for = parts.headers.get("x-requested-with");
        if asked_for.is_none_or(|by| by != "XMLHttpRequest") {
            return Err(csrf_mismatch(app));
        }
        check_csrf(app, &parts.headers).map(|()| Self)
    }
}

/// The person behind a live access cookie.
struct Person(User);

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let held = held(app, &parts.headers, ACCESS).map_err(IntoResponse::into_response)?;
        match held {
            Some(token) if token.is_live(app.clock.now_ms()) => Ok(Self(token.user)),
            _ => Err(unauthenticated()),
        }
    }
}

async fn csrf_cookie() -> Answer {
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_csrf(&mut response)?;
    Ok(response)
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

async fn login(State(app): State<Arc<App>>, _: Ours, body: Bytes) -> Answer {
    if let Err(exceeded) = app.count_login("cookie") {
        return Ok(throttled(&exceeded));
    }
    let Ok(Credentials { email, password }) = serde_json::from_slice(&body) else {
        let text = "The given data was invalid.";
        return Ok(message(StatusCode::UNPROCESSABLE_ENTITY, text));
    };
    let Some(user) = app.store.sign_in(&email, &password)? else {
        let text = "The email or the password is wrong.";
        return Ok(message(StatusCode::UNAUTHORIZED, text));
    };
    let issued = app.store.issue(Kind::Cookie, &user, app.life())?;
    let body = json!({ "user": user, "expires_in": app.lifetimes().access });
    signed_in(json_answer(StatusCode::OK, body), &issued)
}

async fn refresh(State(app): State<Arc<App>>, _: Ours, headers: HeaderMap) -> Answer {
    let token = value(&headers, REFRESH).unwrap_or_default();
    let known = app.store.find(token)?;
    let seen = known.as_ref().map(Seen::of);
    if let Err(exceeded) = app.count_refresh("cookie", known.as_ref()) {
        return Ok(noted(throttled(&exceeded), seen));
    }
    let response = match app.store.rotate(Kind::Cookie, token, app.life())? {
        None => unauthenticated(),
        Some(issued) if app.switches().cookie_expires_in => {
            let body = json!({ "expires_in": app.lifetimes().access });
            signed_in(json_answer(StatusCode::OK, body), &issued)?
        }
        Some(issued) => signed_in(StatusCode::NO_CONTENT.into_response(), &issued)?,
    };
    Ok(noted(response, seen))
}

async fn logout(State(app): State<Arc<App>>, _: Ours, headers: HeaderMap) -> Answer {
    if let Some(token) = holder(&app, &headers)? {
        app.store.end_login(&token, app.clock.now_ms())?;
    }
    Ok(signed_out())
}

async fn logout_all(State(app): State<Arc<App>>, _: Ours, headers: HeaderMap) -> Answer {
    let now = app.clock.now_ms();
    let Some(token) = holder(&app, &headers)?.filter(|token| token.is_live(now)) else {
        return Ok(unauthenticated());
    };
    app.store.end_all_logins(Kind::Cookie, token.user.id, now)?;
    Ok(signed_out())
}

async fn me(Person(user): Person) -> Response {
    json_answer(StatusCode::OK, json!(user))
}

/// Whose session it is: the refresh token outlives the access token.
fn holder(app: &App, headers: &HeaderMap) -> Result<Option<GrantToken>, Failure> {
    match held(app, headers, REFRESH)? {
        Some(token) => Ok(Some(token)),
        None => held(app, headers, ACCESS),
    }
}

/// The token in a cookie, dead or alive.
fn held(app: &App, headers: &HeaderMap, name: &str) -> Result<Option<GrantToken>, Failure> {
    let Some(token) = value(headers, name) else {
        return Ok(None);
    };
    Ok(match app.store.find(token)? {
        Some(Known::Grant(token))
            if token.kind == Kind::Cookie && token.is_access() == (name == ACCESS) =>
        {
            Some(token)
        }
        _ => None,
    })
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

/// The response with the cookies of a session that has just begun, or gone on.
fn signed_in(mut response: Response, issued: &Issued) -> Answer {
    set(&mut response, ACCESS, &issued.access, HIDDEN);
    let refresh = issued.refresh.as_deref().unwrap_or_default();
    set(&mut response, REFRESH, refresh, HIDDEN);
    set_csrf(&mut response)?;
    Ok(response)
}

fn signed_out() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let gone = format!("{HIDDEN}; Max-Age=0");
    set(&mut response, ACCESS, "", &gone);
    set(&mut response, REFRESH, "", &gone);
    response
}

/// Like Laravel's, the value ends in what must be decoded.
fn set_csrf(response: &mut Response) -> Result<(), Failure> {
    let token = secret::generate()?;
    set(response, CSRF, &format!("{token}%3D%3D"), READABLE);
    Ok(())
}

fn set(response: &mut Response, name: &str, value: &str, attributes: &str) {
    if let Ok(cookie) = HeaderValue::from_str(&format!("{name}={value}{attributes}")) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

fn unauthenticated() -> Response {
    message(StatusCode::UNAUTHORIZED, "Unauthenticated.")
}

fn csrf_mismatch(app: &App) -> Response {
    match app.switches().csrf {
        Csrf::Laravel => {
            // 419 is Laravel's own number and valid as such.
            let status = StatusCode::from_u16(419).unwrap_or(StatusCode::FORBIDDEN);
            message(status, "CSRF token mismatch.")
        }
        Csrf::Django => json_answer(
            StatusCode::FORBIDDEN,
            json!({ "detail": "CSRF Failed: CSRF token missing." }),
        ),
    }
}

fn throttled(exceeded: &Exceeded) -> Response {
    too_many(exceeded, json!({ "message": "Too Many Attempts." }))
}
