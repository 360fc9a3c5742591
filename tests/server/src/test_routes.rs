//! FOR TESTS ONLY: `/__test/*`. These routes exist with the flag `--faults`;
//! without it they are 404 like any other unknown path.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::App;
use crate::answer::Failure;
use crate::faults::{Fault, Rule};
use crate::options::Lifetimes;
use crate::switches::Switches;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/__test/faults",
            post(add_fault).get(list_faults).delete(clear_faults),
        )
        .route("/__test/clock", post(set_clock))
        .route("/__test/expire", post(expire))
        .route("/__test/revoke", post(revoke))
        .route("/__test/lifetimes", post(set_lifetimes))
        .route(
            "/__test/switches",
            post(set_switches).delete(reset_switches),
        )
        .route("/__test/cleanup", post(clean_up))
        .route("/__test/wire", delete(reset_wire))
}

async fn add_fault(
    State(app): State<Arc<App>>,
    Json(fault): Json<Fault>,
) -> Result<Json<Value>, (StatusCode, String)> {
    if fault.pattern.is_empty() {
        return Err((
            StatusCode::UNPROCESSABLE_ENTITY,
            "\"match\" is missing".to_owned(),
        ));
    }
    Ok(Json(json!({ "id": app.faults.add(fault) })))
}

async fn list_faults(State(app): State<Arc<App>>) -> Json<Vec<Rule>> {
    Json(app.faults.list())
}

async fn clear_faults(State(app): State<Arc<App>>) -> StatusCode {
    app.faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct ClockBody {
    /// Seconds, may be negative or fractional.
    offset_s: f64,
}

async fn set_clock(State(app): State<Arc<App>>, Json(body): Json<ClockBody>) -> Json<Value> {
    // A float beyond i64 saturates, and the clock clamps anyway.
    #[expect(clippy::cast_possible_truncation)]
    app.clock.set_offset_ms((body.offset_s * 1000.0) as i64);
    Json(json!({ "now_ms": app.clock.now_ms() }))
}

#[derive(Deserialize)]
struct Whom {
    email: Option<String>,
}

async fn expire(
    State(app): State<Arc<App>>,
    whom: Option<Json<Whom>>,
) -> Result<Json<Value>, Failure> {
    let email = whom.and_then(|Json(whom)| whom.email);
    let expired = app
        .store
        .expire_access(email.as_deref(), app.clock.now_ms())?;
    Ok(Json(json!({ "expired": expired })))
}

async fn revoke(
    State(app): State<Arc<App>>,
    whom: Option<Json<Whom>>,
) -> Result<Json<Value>, Failure> {
    let email = whom.and_then(|Json(whom)| whom.email);
    let revoked = app
        .store
        .revoke_everything(email.as_deref(), app.clock.now_ms())?;
    Ok(Json(json!({ "revoked": revoked })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LifetimesBody {
    short_lived: Option<u32>,
    long_lived: Option<u32>,
    access_lifetime: Option<u32>,
    refresh_lifetime: Option<u32>,
}

async fn set_lifetimes(
    State(app): State<Arc<App>>,
    Json(body): Json<LifetimesBody>,
) -> Json<Value> {
    let old = app.lifetimes();
    let new = Lifetimes {
        short_lived: body.short_lived.unwrap_or(old.short_lived),
        long_lived: body.long_lived.unwrap_or(old.long_lived),
        access: body.access_lifetime.unwrap_or(old.access),
        refresh: body.refresh_lifetime.unwrap_or(old.refresh),
    };
    app.set_lifetimes(new);
    Json(json!({
        "short_lived": new.short_lived,
        "long_lived": new.long_lived,
        "access_lifetime": new.access,
        "refresh_lifetime": new.refresh,
    }))
}

async fn set_switches(
    State(app): State<Arc<App>>,
    Json(change): Json<Value>,
) -> Result<Json<Switches>, (StatusCode, String)> {
    let switches = app
        .switches()
        .with(&change)
        .map_err(|problem| (StatusCode::UNPROCESSABLE_ENTITY, problem))?;
    app.set_switches(switches);
    Ok(Json(switches))
}

async fn reset_switches(State(app): State<Arc<App>>) -> StatusCode {
    app.set_switches(app.options.switches);
    StatusCode::NO_CONTENT
}

async fn clean_up(State(app): State<Arc<App>>) -> Result<Json<Value>, Failure> {
    Ok(Json(json!({ "deleted": app.clean_up()? })))
}

async fn reset_wire(State(app): State<Arc<App>>) -> StatusCode {
    app.wire.reset();
    StatusCode::NO_CONTENT
}
