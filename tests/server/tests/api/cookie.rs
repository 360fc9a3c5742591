//! `/cookie/*`: a session that the page never sees, and who may use it.

use keepfresh_server::Options;
use serde_json::json;

use crate::harness::{ADA, Reply, Server, relaxed};

/// A browser's cookies for the server.
#[derive(Clone, Default)]
pub(crate) struct Jar(Vec<(String, String)>);

impl Jar {
    /// Keeps what an answer sets, drops what it clears.
    fn take(&mut self, reply: &Reply) {
        for line in reply.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let (pair, attributes) = line.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.retain(|(kept, _)| kept != name);
            if !attributes.contains("Max-Age=0") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(kept, _)| kept == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    /// What a page puts into `X-XSRF-TOKEN`.
    fn csrf(&self) -> String {
        let value = self.get("XSRF-TOKEN").unwrap_or_default();
        value.replace("%3D", "=")
    }

    /// Sends as a page of ours does.
    #[track_caller]
    pub(crate) fn send(&mut self, server: &Server, line: &str, body: &str) -> Reply {
        let (cookie, csrf) = (self.header(), self.csrf());
        let headers = [
            ("cookie", cookie.as_str()),
            ("x-xsrf-token", &csrf),
            ("x-requested-with", "XMLHttpRequest"),
        ];
        let reply = server.send(line, &headers, body);
        self.take(&reply);
        reply
    }

    #[track_caller]
    pub(crate) fn login(server: &Server) -> Self {
        let mut jar = Self::default();
        jar.send(server, "GET /cookie/sanctum/csrf-cookie", "")
            .expect(204);
        let body = json!({ "email": ADA.0, "password": ADA.1 }).to_string();
        let reply = jar.send(server, "POST /cookie/login", &body).expect(200);
        assert_eq!(
            reply.json(),
            json!({ "user": { "id": 1, "name": "Ada Lovelace", "email": ADA.0 }, "expires_in": 900 })
        );
        jar
    }
}

// behaviour.md 6.21, 6.22, 6.26
#[test]
fn tokens_are_hidden_and_the_csrf_token_is_readable() {
    let server = Server::relaxed();
    let reply = server
        .send("GET /cookie/sanctum/csrf-cookie", &[], "")
        .expect(204);
    let set = reply.header("set-cookie").unwrap().to_owned();
    assert!(set.starts_with("XSRF-TOKEN=") && set.contains("%3D%3D; Path=/; SameSite=Lax"));
    assert!(!set.contains("HttpOnly") && !set.contains("Secure"));
    let jar = Jar::login(&server);
    let mut fresh = jar.clone();
    let reply = fresh.send(&server, "POST /cookie/refresh", "").expect(200);
    for line in reply.headers.get_all("set-cookie") {
        let line = line.to_str().unwrap();
        let hidden = line.contains("; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(hidden, line.starts_with("__kf_"), "{line}");
    }
    assert!(jar.get("__kf_access").unwrap().starts_with("cka_"));
    assert!(jar.get("__kf_refresh").unwrap().starts_with("ckr_"));
}

#[test]
fn the_cookie_opens_resources() {
    let server = Server::relaxed();
    let mut jar = Jar::login(&server);
    let me = jar.send(&server, "GET /cookie/me", "").expect(200).json();
    assert_eq!(me["email"], ADA.0);
    jar.send(&server, "GET /api/bookings", "").expect(200);
    jar.send(&server, "POST /api/echo", "x").expect(200);
    // An Authorization header outranks the cookies.
    let cookie = jar.header();
    let headers = [("cookie", cookie.as_str()), ("authorization", "Bearer x")];
    server.send("GET /api/bookings", &headers, "").expect(401);
    // And what belongs into a cookie is no Bearer token.
    let access = jar.get("__kf_access").unwrap();
    server.bearer("GET /api/bookings", access).expect(401);
    server.clock(901);
    for line in ["GET /api/bookings", "GET /cookie/me"] {
        let reply = jar.send(&server, line, "").expect(401);
        assert_eq!(reply.json(), json!({ "message": "Unauthenticated." }));
    }
}

// behaviour.md 2.5, 6.21, 6.22, 7.28
#[test]
fn an_unsafe_request_needs_the_csrf_token() {
    let server = Server::relaxed();
    let jar = Jar::login(&server);
    let (cookie, csrf) = (jar.header(), jar.csrf());
    let encoded = jar.get("XSRF-TOKEN").unwrap();
    let asked = ("x-requested-with", "XMLHttpRequest");
    let bare = [("cookie", cookie.as_str())];
    let undecoded = [bare[0], asked, ("x-xsrf-token", encoded)];
    let other = [bare[0], asked, ("x-xsrf-token", "other")];
    for line in ["POST /api/echo", "DELETE /api/echo", "POST /cookie/refresh"] {
        for headers in [&bare[..], &undecoded, &other] {
            let reply = server.send(line, headers, "").expect(419);
            assert_eq!(reply.json(), json!({ "message": "CSRF token mismatch." }));
        }
    }
    let csrf = ("x-xsrf-token", csrf.as_str());
    for line in [
        "POST /cookie/refresh",
        "POST /cookie/login",
        "POST /cookie/logout",
        "POST /cookie/logout-all",
    ] {
        server.send(line, &[bare[0], csrf], "").expect(419);
        server.send(line, &[asked, csrf], "").expect(419);
    }
    server
        .send("POST /api/echo", &[bare[0], csrf], "")
        .expect(200);
    server.send("GET /api/echo", &bare, "").expect(200);
    server.switch(&json!({ "csrf": "django" }));
    for line in ["POST /api/echo", "POST /cookie/refresh"] {
        let reply = server.send(line, &bare, "").expect(403);
        assert_eq!(
            reply.json(),
            json!({ "detail": "CSRF Failed: CSRF token missing." })
        );
    }
}

// behaviour.md 1.18
#[test]
fn a_refresh_renews_all_three_cookies() {
    let server = Server::relaxed();
    let mut jar = Jar::login(&server);
    let mut old = jar.clone();
    let reply = jar.send(&server, "POST /cookie/refresh", "").expect(200);
    assert_eq!(reply.json(), json!({ "expires_in": 900 }));
    for name in ["__kf_access", "__kf_refresh", "XSRF-TOKEN"] {
        assert_ne!(jar.get(name), old.get(name), "{name}");
    }
    // A second use is refused and harms nobody else.
    let reply = old.send(&server, "POST /cookie/refresh", "").expect(401);
    assert_eq!(reply.header("set-cookie"), None);
    server.switch(&json!({ "cookie_expires_in": false }));
    let reply = jar.send(&server, "POST /cookie/refresh", "").expect(204);
    assert!(reply.body.is_empty());
    jar.send(&server, "GET /api/bookings", "").expect(200);
}

// behaviour.md 1.18
#[test]
fn a_dead_session_is_401() {
    let server = Server::relaxed();
    let mut jar = Jar::login(&server);
    let mut nobody = Jar(vec![("XSRF-TOKEN".to_owned(), "x".to_owned())]);
    nobody.send(&server, "POST /cookie/refresh", "").expect(401);
    nobody
        .send(&server, "POST /cookie/logout-all", "")
        .expect(401);
    server.clock(1_209_601);
    jar.send(&server, "POST /cookie/refresh", "").expect(401);
}

#[test]
fn logout_clears_the_cookies_and_ends_the_session() {
    let server = Server::relaxed();
    let mut jar = Jar::login(&server);
    let mut copy = jar.clone();
    jar.send(&server, "POST /cookie/logout", "").expect(204);
    assert_eq!(
        (jar.get("__kf_access"), jar.get("__kf_refresh")),
        (None, None)
    );
    copy.send(&server, "GET /api/bookings", "").expect(401);
    copy.send(&server, "POST /cookie/refresh", "").expect(401);
    jar.send(&server, "POST /cookie/logout", "").expect(204);
}

#[test]
fn logout_all_ends_every_session() {
    let server = Server::relaxed();
    let (mut one, mut other) = (Jar::login(&server), Jar::login(&server));
    one.send(&server, "POST /cookie/logout-all", "").expect(204);
    assert_eq!(one.get("__kf_refresh"), None);
    other.send(&server, "POST /cookie/refresh", "").expect(401);
}

const OTHER_PAGE: &str = "http://127.0.0.1:5173";

/// Whether a page of this origin gets a preflight for the path through, and
/// whether it may send cookies.
fn preflight(server: &Server, origin: &str, path: &str) -> (bool, bool) {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-requested-with"),
    ];
    let reply = server
        .send(&format!("OPTIONS {path}"), &headers, "")
        .expect(204);
    let allowed = reply.header("access-control-allow-origin");
    assert!(allowed.is_none_or(|allowed| allowed == origin));
    let cookies = reply.header("access-control-allow-credentials");
    assert!(cookies.is_none_or(|cookies| cookies == "true"));
    (allowed.is_some(), cookies.is_some())
}

// behaviour.md 6.21
#[test]
fn cookies_are_for_pages_of_the_static_listener() {
    let options = |faults| Options {
        www: Some(std::env::temp_dir()),
        faults,
        ..relaxed()
    };
    for faults in [false, true] {
        let server = Server::start(options(faults));
        if faults {
            // With faults any page on loopback will do, until this:
            assert_eq!(
                preflight(&server, OTHER_PAGE, "/cookie/refresh"),
                (true, true)
            );
            server.switch(&json!({ "strict_origins": true }));
        }
        let page = format!("http://{}", server.running.www.unwrap());
        let port = server.running.www.unwrap().port();
        for path in ["/cookie/refresh", "/api/echo"] {
            assert_eq!(preflight(&server, &page, path), (true, true));
        }
        for foreign in [OTHER_PAGE, &format!("http://localhost:{port}")] {
            assert_eq!(
                preflight(&server, foreign, "/cookie/refresh"),
                (false, false)
            );
            assert_eq!(preflight(&server, foreign, "/api/echo"), (true, false));
        }
        for path in ["/cookie/refresh", "/api/echo"] {
            let refused = preflight(&server, "http://evil.example", path);
            assert_eq!(refused, (false, false));
        }
    }
}

// behaviour.md 6.21, 7.28
#[test]
fn a_cross_site_page_cannot_trigger_a_refresh() {
    let server = Server::relaxed();
    server.switch(&json!({ "strict_origins": true }));
    let mut jar = Jar::login(&server);
    let cookie = jar.header();
    // What a page can send without a preflight, cookies and all.
    let headers = [
        ("origin", OTHER_PAGE),
        ("cookie", cookie.as_str()),
        ("content-type", "text/plain"),
    ];
    let reply = server
        .send("POST /cookie/refresh", &headers, "")
        .expect(419);
    assert_eq!(reply.header("access-control-allow-origin"), None);
    // The session is as it was.
    jar.send(&server, "POST /cookie/refresh", "").expect(200);
}
