//! What JavaScript sees: plain objects with its names and without any token.

use super::inner::Inner;
use crate::policy::{Code, Ending, Event, Log, Metrics, Now, Output, Policy, Session};
use serde::Serialize;
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    expires_at: Option<f64>,
    issued_at: f64,
    lifetime: Option<f64>,
    remember: bool,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    user: JsValue,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotView<'a> {
    status: &'a str,
    session: Option<SessionView>,
    refresh_at: Option<f64>,
    retry_at: Option<f64>,
    error: Option<&'a str>,
    persisted: &'a str,
    ended: Option<EndView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndView {
    reason: &'static str,
    message: &'static str,
    at: f64,
    elsewhere: Option<bool>,
    status: Option<u16>,
    issued_at: Option<f64>,
    refreshes: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MetricsView {
    requests: u32,
    unauthorized: u32,
    replays: u32,
    refreshes: u32,
    joined: u32,
    adopted: u32,
    failures: u32,
    failure_rate: f64,
    cache_hits: u32,
    sign_ins: u32,
    sign_outs: u32,
    last_refresh_ms: f64,
    average_refresh_ms: f64,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refreshes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    took: Option<f64>,
}

/// `Session` of the TypeScript surface.
pub(super) fn session(inner: &Inner, policy: &Policy, now: Now) -> JsValue {
    to_js(
        &policy
            .usable_session(now)
            .map(|session| session_view(inner, session)),
    )
}

/// `Snapshot` of the TypeScript surface.
pub(super) fn snapshot(inner: &Inner, policy: &Policy, now: Now) -> JsValue {
    let session = policy.usable_session(now);
    let remember = session.is_some_and(|session| session.remember);
    to_js(&SnapshotView {
        status: policy.status(now).as_str(),
        session: session.map(|session| session_view(inner, session)),
        refresh_at: policy.refresh_at().map(number),
        retry_at: policy.retry_at(now).map(number),
        error: policy
            .last_failure()
            .map(|error| error.code)
            .or(inner.storage_lost.get().then_some(Code::Storage))
            .map(Code::as_str),
        ended: policy.ending().map(end_view),
        persisted: if inner.storage_lost.get() {
            "memory"
        } else {
            inner.storage.place_name(remember)
        },
    })
}

/// `Metrics` of the TypeScript surface.
pub(super) fn metrics(metrics: &Metrics) -> JsValue {
    let calls = f64::from(metrics.refreshes.max(1));
    to_js(&MetricsView {
        requests: metrics.requests,
        unauthorized: metrics.unauthorized,
        replays: metrics.replays,
        refreshes: metrics.refreshes,
        joined: metrics.joined,
        adopted: metrics.adopted,
        failures: metrics.failures,
        failure_rate: f64::from(metrics.failures) / calls,
        cache_hits: metrics.cache_hits,
        sign_ins: metrics.sign_ins,
        sign_outs: metrics.sign_outs,
        last_refresh_ms: number(metrics.last_refresh),
        average_refresh_ms: number(metrics.average_refresh()),
    })
}

/// Hands one output to the host.
pub(super) fn deliver(inner: &Inner, output: &Output, now: Now) {
    match output {
        Output::Event(event) => drop(inner.host.event(event.name(), &to_js(&event_view(event)))),
        Output::Log(log) => drop(inner.host.log(&to_js(&log_view(log, now)))),
    }
}

fn end_view(ending: &Ending) -> EndView {
    EndView {
        reason: ending.reason(),
        message: ending.message(),
        at: number(ending.at),
        elsewhere: ending.elsewhere,
        status: ending.status,
        issued_at: ending.issued_at.map(number),
        refreshes: ending.refreshes,
    }
}

fn session_view(inner: &Inner, session: &Session) -> SessionView {
    let user = inner.user.borrow().clone();
    SessionView {
        expires_at: session.expires_at.map(number),
        issued_at: number(session.issued_at),
        lifetime: session.lifetime().map(number),
        remember: session.remember,
        user: if user.is_undefined() {
            JsValue::NULL
        } else {
            user
        },
    }
}

fn event_view(event: &Event) -> Detail<'_> {
    match event {
        Event::SignedIn { elsewhere } | Event::SignedOut { elsewhere } => Detail {
            elsewhere: Some(*elsewhere),
            ..Detail::default()
        },
        Event::Refreshed {
            elsewhere,
            expires_at,
        } => Detail {
            elsewhere: Some(*elsewhere),
            expires_at: expires_at.map(number),
            ..Detail::default()
        },
        Event::RefreshFailed(error) => error_view(error),
        Event::ReauthRequired(dead) => Detail {
            reason: Some(dead.as_str()),
            ..Detail::default()
        },
        Event::CircuitOpened { retry_at, storm } => Detail {
            retry_at: Some(number(*retry_at)),
            reason: Some(if *storm {
                "fresh_token_rejected"
            } else {
                "failures"
            }),
            ..Detail::default()
        },
        Event::StorageDegraded { corrupt } => Detail {
            reason: Some(if *corrupt { "corrupt" } else { "blocked" }),
            ..Detail::default()
        },
        Event::SuspiciousActivity { reason, refreshes } => Detail {
            reason: Some(reason.as_str()),
            refreshes: Some(*refreshes),
            ..Detail::default()
        },
        Event::UserChanged | Event::CircuitClosed => Detail::default(),
    }
}

fn error_view(error: &crate::policy::Error) -> Detail<'_> {
    Detail {
        code: Some(error.code.as_str()),
        status: error.status,
        retry_at: error.retry_at.map(number),
        message: error.detail,
        ..Detail::default()
    }
}

fn log_view(log: &Log, now: Now) -> Detail<'_> {
    let (level, event, message) = log.parts();
    let mut view = match log {
        Log::UsingToken { age, expires_in } => Detail {
            age: Some(number(*age)),
            expires_in: expires_in.map(number),
            ..Detail::default()
        },
        Log::ExpiringSoon { expires_in } => Detail {
            expires_in: Some(number(*expires_in)),
            ..Detail::default()
        },
        Log::Expired { since } => Detail {
            since: Some(number(*since)),
            ..Detail::default()
        },
        Log::Refreshed { until, took } => Detail {
            until: until.map(number),
            took: Some(number(*took)),
            ..Detail::default()
        },
        Log::RefreshFailed(error) => error_view(error),
        Log::SignOutUnconfirmed { status } => Detail {
            status: *status,
            ..Detail::default()
        },
        _ => Detail::default(),
    };
    view.level = Some(level);
    view.event = Some(event);
    view.message = view.message.or(Some(message));
    view.at = Some(number(now.wall));
    view
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ms since the epoch are exact in f64"
)]
fn number(ms: i64) -> f64 {
    ms as f64
}

fn to_js<T: Serialize>(value: &T) -> JsValue {
    value
        .serialize(&Serializer::json_compatible())
        .unwrap_or(JsValue::NULL)
}
