//! GoTrue, the auth server of Supabase: `/supabase/auth/v1/*`, and one resource
//! of its neighbour `PostgREST`. All of it wants the project's key in `apikey`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::App;
use crate::answer::{Answer, json_answer, message, too_many};
use crate::gate::bearer;
use crate::kind::Kind;
use crate::limits::Exceeded;
use crate::store::{GrantToken, Issued, Known, Life, Refusal, User};
use crate::switches::GotrueCode;
use crate::wire::{Seen, noted};

/// The public key of the project, which every request shows.
const KEY: &str = "demo-anon-key";

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/supabase/auth/v1/token", post(token))
        .route("/supabase/auth/v1/signup", post(login))
        .route("/supabase/auth/v1/logout", post(logout))
        .route("/supabase/auth/v1/user", get(user))
        .route("/supabase/rest/v1/bookings", get(bookings))
        .route_layer(from_fn(want_key))
}

/// A database id as GoTrue shows one.
pub(crate) fn uuid_of(id: i64) -> String {
    format!("00000000-0000-4000-8000-{id:012}")
}

/// What a resource answers to a token that is dead.
pub(crate) fn dead(app: &App, token: &GrantToken, now: i64) -> Response {
    refuse_resource(app, Flaw::of(token, now).unwrap_or(Flaw::Invalid))
}

/// What is wrong with an access token.
#[derive(Clone, Copy)]
enum Flaw {
    Missing,
    Invalid,
    Expired,
    Ended,
}

impl Flaw {
    fn of(token: &GrantToken, now: i64) -> Option<Self> {
        if token.kind != Kind::GoTrue || !token.is_access() {
            Some(Self::Invalid)
        } else if token.expires_at <= now {
            Some(Self::Expired)
        } else if token.is_live(now) {
            None
        } else {
            Some(Self::Ended)
        }
    }
}

/// A live access token, to GoTrue's own endpoints.
struct Holder(GrantToken);

/// The person behind a live access token, to a resource.
struct Person(User);

impl FromRequestParts<Arc<App>> for Holder {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        holder(app, &parts.headers)?
            .map(Self)
            .map_err(|flaw| refuse(app, flaw))
    }
}

impl FromRequestParts<Arc<App>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        holder(app, &parts.headers)?
            .map(|token| Self(token.user))
            .map_err(|flaw| refuse_resource(app, flaw))
    }
}

fn holder(app: &App, headers: &HeaderMap) -> Result<Result<GrantToken, Flaw>, Response> {
    let Some(token) = bearer(headers) else {
        return Ok(Err(Flaw::Missing));
    };
    let known = app.store.find(token).map_err(IntoResponse::into_response)?;
    let Some(Known::Grant(token)) = known else {
        return Ok(Err(Flaw::Invalid));
    };
    Ok(match Flaw::of(&token, app.clock.now_ms()) {
        Some(flaw) => Err(flaw),
        None => Ok(token),
    })
}

async fn want_key(request: Request, next: Next) -> Response {
    match request.headers().get("apikey") {
        None => message(StatusCode::UNAUTHORIZED, "No API key found in request"),
        Some(key) if key != KEY => message(StatusCode::UNAUTHORIZED, "Invalid API key"),
        Some(_) => next.run(request).await,
    }
}

#[derive(Deserialize)]
struct TokenQuery {
    #[serde(default)]
    grant_type: String,
}

async fn token(
    State(app): State<Arc<App>>,
    Query(query): Query<TokenQuery>,
    body: Bytes,
) -> Answer {
    match query.grant_type.as_str() {
        "password" => login(State(app), body).await,
        "refresh_token" => refresh(&app, &body),
        _ => Ok(bad_request(
            &app,
            "validation_failed",
            "unsupported_grant_type",
        )),
    }
}

#[derive(Deserialize)]
struct Credentials {
    email: String,
    password: String,
}

#[derive(Deserialize)]
struct RefreshBody {
    refresh_token: String,
}

async fn login(State(app): State<Arc<App>>, body: Bytes) -> Answer {
    if let Err(exceeded) = app.count_login("gotrue") {
        return Ok(throttled(&app, &exceeded));
    }
    let Ok(Credentials { email, password }) = serde_json::from_slice(&body) else {
        let text = "email and password are required";
        return Ok(bad_request(&app, "validation_failed", text));
    };
    let Some(user) = app.store.sign_in(&email, &password)? else {
        let text = "Invalid login credentials";
        return Ok(bad_request(&app, "invalid_credentials", text));
    };
    let life = app.life();
    let issued = app.store.issue(Kind::GoTrue, &user, life)?;
    Ok(session(&app, &issued, life))
}

fn refresh(app: &App, body: &Bytes) -> Answer {
    let Ok(RefreshBody { refresh_token }) = serde_json::from_slice(body) else {
        let text = "refresh_token required";
        return Ok(bad_request(app, "validation_failed", text));
    };
    let known = app.store.find(&refresh_token)?;
    let seen = known.as_ref().map(Seen::of);
    if let Err(exceeded) = app.count_refresh("gotrue", known.as_ref()) {
        return Ok(noted(throttled(app, &exceeded), seen));
    }
    let life = app.life();
    let response = match app.store.rotate_gotrue(&refresh_token, life)? {
        Ok(issued) => session(app, &issued, life),
        Err(refusal) => {
            let (code, why) = match refusal {
                Refusal::NotFound => ("refresh_token_not_found", "Refresh Token Not Found"),
                Refusal::AlreadyUsed => ("refresh_token_already_used", "Already Used"),
                Refusal::SessionExpired => ("session_expired", "Session Expired"),
            };
            bad_request(app, code, &format!("Invalid Refresh Token: {why}"))
        }
    };
    Ok(noted(response, seen))
}

#[derive(Deserialize)]
struct LogoutQuery {
    scope: Option<String>,
}

async fn logout(
    State(app): State<Arc<App>>,
    Holder(token): Holder,
    Query(query): Query<LogoutQuery>,
) -> Answer {
    let now = app.clock.now_ms();
    match query.scope.as_deref() {
        Some("local") => app.store.end_login(&token, now)?,
        None | Some("global") => {
            app.store.end_all_logins(Kind::GoTrue, token.user.id, now)?;
        }
        Some(_) => {
            let text = "Unsupported logout scope";
            return Ok(bad_request(&app, "validation_failed", text));
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn user(Holder(token): Holder) -> Response {
    json_answer(StatusCode::OK, profile(&token.user))
}

async fn bookings(State(app): State<Arc<App>>, Person(user): Person) -> Answer {
    Ok(Json(app.store.bookings(user.id)?).into_response())
}

fn session(app: &App, issued: &Issued, life: Life) -> Response {
    let body = json!({
        "access_token": issued.access,
        "token_type": "bearer",
        "expires_in": app.lifetimes().access,
        // Rounded down, like the JWT's own `exp`.
        "expires_at": life.access_end.div_euclid(1000),
        "refresh_token": issued.refresh,
        "user": profile(&issued.user),
    });
    json_answer(StatusCode::OK, body)
}

fn profile(user: &User) -> Value {
    json!({
        "id": uuid_of(user.id),
        "aud": "authenticated",
        "role": "authenticated",
        "email": user.email,
        "app_metadata": { "provider": "email", "providers": ["email"] },
        "user_metadata": { "name": user.name },
        "is_anonymous": false,
    })
}

/// GoTrue's own refusal of an access token.
fn refuse(app: &App, flaw: Flaw) -> Response {
    let (status, code, text) = match flaw {
        Flaw::Missing => (
            StatusCode::UNAUTHORIZED,
            "no_authorization",
            "This endpoint requires a valid Bearer token",
        ),
        Flaw::Invalid => (
            StatusCode::FORBIDDEN,
            "bad_jwt",
            "invalid JWT: unable to parse or verify signature",
        ),
        Flaw::Expired => (
            StatusCode::FORBIDDEN,
            "bad_jwt",
            "invalid JWT: unable to parse or verify signature, token has invalid claims: token is expired",
        ),
        Flaw::Ended => (
            StatusCode::FORBIDDEN,
            "session_not_found",
            "Session from session_id claim in JWT does not exist",
        ),
    };
    error(app, status, code, text)
}

/// The refusal of `PostgREST`, or of a resource that copies GoTrue.
fn refuse_resource(app: &App, flaw: Flaw) -> Response {
    if app.switches().gotrue_dead == 403 {
        return refuse(app, flaw);
    }
    let (header, code, text) = match flaw {
        Flaw::Missing => ("Bearer", "42501", "permission denied for table bookings"),
        Flaw::Expired => (
            "Bearer error=\"invalid_token\", error_description=\"JWT expired\"",
            "PGRST303",
            "JWT expired",
        ),
        Flaw::Invalid | Flaw::Ended => (
            "Bearer error=\"invalid_token\", error_description=\"No suitable key or wrong key type\"",
            "PGRST301",
            "No suitable key or wrong key type",
        ),
    };
    let body = json!({ "code": code, "details": null, "hint": null, "message": text });
    let mut response = json_answer(StatusCode::UNAUTHORIZED, body);
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static(header));
    response
}

fn bad_request(app: &App, code: &'static str, text: &str) -> Response {
    error(app, StatusCode::BAD_REQUEST, code, text)
}

fn throttled(app: &App, exceeded: &Exceeded) -> Response {
    let (code, text) = ("over_request_rate_limit", "Request rate limit reached");
    let body = error_body(app, StatusCode::TOO_MANY_REQUESTS, code, text);
    with_code(app, too_many(exceeded, body), code)
}

fn error(app: &App, status: StatusCode, code: &'static str, text: &str) -> Response {
    with_code(
        app,
        json_answer(status, error_body(app, status, code, text)),
        code,
    )
}

fn error_body(app: &App, status: StatusCode, code: &str, text: &str) -> Value {
    let status = status.as_u16();
    match app.switches().gotrue_code {
        GotrueCode::ErrorCode => json!({ "code": status, "error_code": code, "msg": text }),
        GotrueCode::Header | GotrueCode::Number => json!({ "code": status, "msg": text }),
        GotrueCode::Code => json!({ "code": code, "message": text }),
    }
}

fn with_code(app: &App, mut response: Response, code: &'static str) -> Response {
    if app.switches().gotrue_code == GotrueCode::Header {
        response
            .headers_mut()
            .insert("x-sb-error-code", HeaderValue::from_static(code));
    }
    response
}
