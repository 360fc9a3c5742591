//! A small auth server for keepfresh's demo, tests and benchmarks: the wire
//! shapes of Laravel Sanctum, Passport and cookie sessions, of a Django style
//! API and simplejwt, of OAuth 2 with PKCE and of GoTrue, on one `SQLite`
//! database. It listens on loopback only.
//!
//! [`serve`] starts it; dropping the [`Running`] it returns stops it.

// A refusal is a whole HTTP response, made once per refused request; boxing it
// would only hide that.
#![allow(clippy::result_large_err)]

mod answer;
mod clock;
mod cookie;
mod cors;
mod django;
mod faults;
mod gate;
mod gotrue;
mod jwt;
mod kind;
mod limits;
mod listen;
mod oauth2;
mod options;
mod passport;
mod password;
mod resources;
mod sanctum;
mod secret;
mod simplejwt;
mod store;
mod switches;
mod test_routes;
mod wire;
mod www;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use options::{Lifetimes, Options, USAGE};
pub use switches::{Csrf, GotrueCode, Switches};

use answer::Failure;
use clock::Clock;
use faults::Faults;
use limits::{Bucket, Exceeded, Limits};
use store::{Known, Life, Store};
use wire::Wire;

const DAY: Duration = Duration::from_hours(24);

/// A running server. Dropping it closes the listeners and every connection.
pub struct Running {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the static listener listens, if there is one.
    pub www: Option<SocketAddr>,
    _tasks: JoinSet<()>,
}

/// What all handlers share.
struct App {
    options: Options,
    lifetimes: Mutex<Lifetimes>,
    switches: Mutex<Switches>,
    /// Where the static listener listens.
    www: Option<SocketAddr>,
    clock: Clock,
    store: Store,
    limits: Limits,
    wire: Wire,
    faults: Faults,
}

impl App {
    fn new(options: Options, www: Option<SocketAddr>) -> Result<Self, Failure> {
        Ok(Self {
            store: Store::open(options.db.as_deref())?,
            lifetimes: Mutex::new(options.lifetimes),
            switches: Mutex::new(options.switches),
            www,
            clock: Clock::default(),
            limits: Limits::default(),
            wire: Wire::default(),
            faults: Faults::default(),
            options,
        })
    }

    fn lifetimes(&self) -> Lifetimes {
        *self
            .lifetimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn set_lifetimes(&self, lifetimes: Lifetimes) {
        *self
            .lifetimes
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = lifetimes;
    }

    fn switches(&self) -> Switches {
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_switches(&self, switches: Switches) {
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner) = switches;
    }

    /// From when to when a pair of tokens lives that is made now.
    fn life(&self) -> Life {
        let (now, lifetimes) = (self.clock.now_ms(), self.lifetimes());
        Life {
            now,
            access_end: now + i64::from(lifetimes.access) * 1000,
            refresh_end: now + i64::from(lifetimes.refresh) * 1000,
        }
    }

    /// Counts somebody's try to sign in through `dialect`.
    fn count_login(&self, dialect: &str) -> Result<(), Exceeded> {
        let limit = self.options.login_per_minute;
        self.limits
            .hit(Bucket::Login, dialect, limit, self.clock.now_ms())
    }

    /// Counts a refresh; those with no known token count for their `dialect`.
    fn count_refresh(&self, dialect: &str, known: Option<&Known>) -> Result<(), Exceeded> {
        let key = known.map_or(dialect, |known| known.user().email.as_str());
        let limit = self.options.refresh_per_minute;
        self.limits
            .hit(Bucket::Refresh, key, limit, self.clock.now_ms())
    }

    fn clean_up(&self) -> Result<usize, Failure> {
        self.store
            .clean_up(self.options.retention_days, self.clock.now_ms())
    }
}

/// Starts the server and returns as soon as it accepts connections.
///
/// # Errors
/// A message when a port is taken or the database cannot be opened.
pub async fn serve(options: Options) -> Result<Running, String> {
    let api_listener = bind(options.port).await?;
    let www_listener = match options.www {
        Some(_) => Some(bind(options.www_port).await?),
        None => None,
    };
    let api = address(&api_listener)?;
    let www = www_listener.as_ref().map(address).transpose()?;
    let app = Arc::new(App::new(options, www).map_err(|failure| failure.to_string())?);
    let mut tasks = JoinSet::new();
    if let Some(listener) = www_listener {
        tasks.spawn(listen::accept(listener, www::router(app.clone(), api)));
    }
    tasks.spawn(listen::accept(api_listener, api_router(app.clone())));
    tasks.spawn(clean_up_daily(app));
    Ok(Running {
        api,
        www,
        _tasks: tasks,
    })
}

fn api_router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .merge(sanctum::routes())
        .merge(django::routes())
        .merge(simplejwt::routes())
        .merge(oauth2::routes())
        .merge(passport::routes())
        .merge(gotrue::routes())
        .merge(cookie::routes())
        .merge(resources::routes())
        .merge(wire::routes());
    if app.options.faults {
        router = router.merge(test_routes::routes());
    }
    router
        .fallback(async || answer::message(StatusCode::NOT_FOUND, "Not Found"))
        .layer(from_fn_with_state(app.clone(), gate::gate))
        .with_state(app)
}

async fn clean_up_daily(app: Arc<App>) {
    let mut days = tokio::time::interval(DAY);
    loop {
        days.tick().await;
        match app.clean_up() {
            Ok(0) => {}
            Ok(deleted) => eprintln!("keepfresh-server: clean-up deleted {deleted} tokens"),
            Err(failure) => eprintln!("keepfresh-server: clean-up failed: {failure}"),
        }
    }
}

async fn bind(port: u16) -> Result<TcpListener, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    listener.map_err(|error| format!("cannot listen on port {port}: {error}"))
}

fn address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}
