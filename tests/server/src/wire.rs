//! What really arrived: counts and a log, for tests that compare a client's own
//! figures with the server's.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::App;
use crate::store::Known;

/// Newest entries that the log keeps.
const LOG_LENGTH: usize = 20_000;

/// What a request is to an auth client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Resource,
    Login,
    Refresh,
    Logout,
    Sink,
    Other,
}

/// A request on arrival.
pub(crate) struct Arrival {
    pub(crate) call: Call,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) origin: Option<String>,
    pub(crate) seen: Seen,
    pub(crate) body_sha256: String,
}

/// Whose token a request carried; never the token. A handler that finds the
/// token elsewhere than in the Authorization header puts this into the
/// extensions of its response.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) token: String,
    pub(crate) user: Option<String>,
}

impl Seen {
    pub(crate) fn of(known: &Known) -> Self {
        Self {
            token: known.label(),
            user: Some(known.user().email.clone()),
        }
    }
}

/// The response, with the token in its extensions.
pub(crate) fn noted(mut response: Response, seen: Option<Seen>) -> Response {
    if let Some(seen) = seen {
        response.extensions_mut().insert(seen);
    }
    response
}

/// How a request ended.
pub(crate) enum End {
    Answered(StatusCode),
    /// No answer was sent; `committed` is the status that the handler had ready.
    Dropped {
        committed: Option<StatusCode>,
    },
}

/// Stands for one request between its arrival and its end.
pub(crate) struct Ticket {
    seq: u64,
    epoch: u64,
    call: Call,
    key: String,
    replay_key: ReplayKey,
}

/// Counters and log.
#[derive(Default)]
pub(crate) struct Wire(Mutex<Book>);

type ReplayKey = (Method, String, String);

#[derive(Default)]
struct Book {
    /// Grows at each reset, so that a request that was under way then is not
    /// counted by half.
    epoch: u64,
    next_seq: u64,
    counts: Counts,
    /// How many answers 401 have not been followed by the same request again.
    refused: HashMap<ReplayKey, u64>,
    log: VecDeque<Entry>,
}

#[derive(Clone, Default, Serialize)]
struct Counts {
    requests: u64,
    unauthorized: u64,
    refreshes: u64,
    refreshes_ok: u64,
    refreshes_rejected: u64,
    logins: u64,
    logouts: u64,
    replays: u64,
    foreign_tokens: u64,
    sink_requests: u64,
    by_path: BTreeMap<String, BTreeMap<String, u64>>,
}

#[derive(Clone, Serialize)]
struct Entry {
    seq: u64,
    at_ms: i64,
    method: String,
    path: String,
    query: String,
    /// Absent while the request is under way, and for good if it was dropped.
    status: Option<u16>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dropped: bool,
    origin: Option<String>,
    token: String,
    user: Option<String>,
    body_sha256: String,
}

impl Wire {
    /// Notes a request on arrival.
    pub(crate) fn begin(&self, arrival: Arrival, now: i64) -> Ticket {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.next_seq += 1;
        let target = format!("{}?{}", arrival.path, arrival.query);
        let ticket = Ticket {
            seq: book.next_seq,
            epoch: book.epoch,
            call: arrival.call,
            key: format!("{} {}", arrival.method, arrival.path),
            replay_key: (arrival.method.clone(), target, arrival.body_sha256.clone()),
        };
        match arrival.call {
            Call::Resource => {
                book.counts.requests += 1;
                if let Some(refused) = book
                    .refused
                    .get_mut(&ticket.replay_key)
                    .filter(|refused| **refused > 0)
                {
                    *refused -= 1;
                    book.counts.replays += 1;
                }
            }
            Call::Refresh => book.counts.refreshes += 1,
            Call::Sink => book.counts.sink_requests += 1,
            Call::Login | Call::Logout | Call::Other => {}
        }
        book.push(Entry::new(ticket.seq, arrival, now));
        ticket
    }

    /// Notes how a request ended.
    pub(crate) fn end(&self, ticket: Ticket, end: &End, seen: Option<Seen>) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if book.epoch != ticket.epoch {
            return;
        }
        if let Some(entry) = book.entry(ticket.seq) {
            entry.finish(end, seen);
        }
        book.count_end(ticket, end);
    }

    /// Notes that a token (or an Authorization header) reached a foreign server.
    pub(crate) fn foreign_token(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .counts
            .foreign_tokens += 1;
    }

    /// All counters to zero, the log empty.
    pub(crate) fn reset(&self) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *book = Book {
            epoch: book.epoch + 1,
            ..Book::default()
        };
    }

    fn report(&self, with_log: bool) -> Value {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = json!(book.counts);
        if with_log {
            report["log"] = json!(book.log);
        }
        report
    }
}

impl Book {
    fn push(&mut self, entry: Entry) {
        if self.log.len() == LOG_LENGTH {
            self.log.pop_front();
        }
        self.log.push_back(entry);
    }

    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let first = self.log.front()?.seq;
        let index = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.log.get_mut(index)
    }

    fn count_end(&mut self, ticket: Ticket, end: &End) {
        let outcome = match end {
            End::Answered(status) => status.as_str().to_owned(),
            End::Dropped { .. } => "dropped".to_owned(),
        };
        *self
            .counts
            .by_path
            .entry(ticket.key)
            .or_default()
            .entry(outcome)
            .or_default() += 1;
        // What the server did counts, even when its answer never left.
        let (End::Answered(status)
        | End::Dropped {
            committed: Some(status),
        }) = end
        else {
            return;
        };
        let refused = matches!(*status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED);
        match ticket.call {
            Call::Resource if *status == StatusCode::UNAUTHORIZED => {
                self.counts.unauthorized += 1;
                *self.refused.entry(ticket.replay_key).or_default() += 1;
            }
            Call::Refresh if status.is_success() => self.counts.refreshes_ok += 1,
            Call::Refresh if refused => self.counts.refreshes_rejected += 1,
            Call::Login if status.is_success() => self.counts.logins += 1,
            Call::Logout if status.is_success() => self.counts.logouts += 1,
            _ => {}
        }
    }
}

impl Entry {
    fn new(seq: u64, arrival: Arrival, now: i64) -> Self {
        Self {
            seq,
            at_ms: now,
            method: arrival.method.to_string(),
            path: arrival.path,
            query: arrival.query,
            status: None,
            dropped: false,
            origin: arrival.origin,
            token: arrival.seen.token,
            user: arrival.seen.user,
            body_sha256: arrival.body_sha256,
        }
    }

    fn finish(&mut self, end: &End, seen: Option<Seen>) {
        match end {
            End::Answered(status) => self.status = Some(status.as_u16()),
            End::Dropped { .. } => self.dropped = true,
        }
        if let Some(seen) = seen {
            self.token = seen.token;
            self.user = seen.user;
        }
    }
}

/// What a request is, from its line and, at OAuth 2's one token endpoint, its body.
pub(crate) fn classify(method: &Method, path: &str, query: &str, body: &[u8]) -> Call {
    if crate::resources::PATHS.contains(&path) {
        return Call::Resource;
    }
    match (method.as_str(), path) {
        (
            "POST",
            "/api/auth/login"
            | "/auth/login/"
            | "/simplejwt/api/token/"
            | "/supabase/auth/v1/signup"
            | "/cookie/login",
        ) => Call::Login,
        (
            "POST",
            "/api/auth/refresh"
            | "/auth/refresh/"
            | "/simplejwt/api/token/refresh/"
            | "/cookie/refresh",
        ) => Call::Refresh,
        (
            "POST",
            "/api/auth/logout"
            | "/api/auth/logout-all"
            | "/auth/logout/"
            | "/auth/logout-all/"
            | "/oauth/revoke"
            | "/simplejwt/api/token/blacklist/"
            | "/supabase/auth/v1/logout"
            | "/cookie/logout"
            | "/cookie/logout-all",
        ) => Call::Logout,
        ("POST", "/oauth/token" | "/passport/oauth/token") => granted(body),
        ("POST", "/supabase/auth/v1/token") => granted(query.as_bytes()),
        _ => Call::Other,
    }
}

/// What a token endpoint is asked for, from the form that says it.
fn granted(form: &[u8]) -> Call {
    match crate::oauth2::grant_type(form).as_deref() {
        Some("refresh_token") => Call::Refresh,
        Some("authorization_code" | "password") => Call::Login,
        _ => Call::Other,
    }
}

#[derive(Deserialize)]
struct ReportQuery {
    #[serde(default)]
    log: u8,
}

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/wire", get(report))
}

async fn report(State(app): State<Arc<App>>, Query(query): Query<ReportQuery>) -> Json<Value> {
    Json(app.wire.report(query.log > 0))
}
