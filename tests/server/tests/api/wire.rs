//! `/wire`.

use keepfresh_server::Options;
use serde_json::json;

use crate::cookie::Jar;
use crate::harness::{ADA, Server, relaxed};
use crate::{gotrue, passport, simplejwt};

#[test]
fn counts_begin_at_zero_and_leave_themselves_out() {
    let server = Server::relaxed();
    server.wire();
    let expected = json!({
        "requests": 0, "unauthorized": 0, "refreshes": 0, "refreshes_ok": 0, "refreshes_rejected": 0,
        "logins": 0, "logouts": 0, "replays": 0, "foreign_tokens": 0, "sink_requests": 0, "by_path": {},
    });
    assert_eq!(
        server.send("GET /wire", &[], "").expect(200).json(),
        expected
    );
}

#[test]
fn calls_are_sorted_by_what_they_are() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    let (_, refresh) = server.django(ADA);
    server
        .json("POST /auth/refresh/", &json!({ "refresh_token": refresh }))
        .expect(200);
    server
        .json("POST /auth/refresh/", &json!({ "refresh_token": "x" }))
        .expect(401);
    let oauth = [
        ("grant_type", "refresh_token"),
        ("client_id", "demo"),
        ("refresh_token", "x"),
    ];
    server.form("POST /oauth/token", &oauth).expect(400);
    server.bearer("GET /api/auth/me", &token).expect(200);
    server.bearer("GET /api/bookings", &token).expect(200);
    server.send("GET /api/bookings", &[], "").expect(401);
    server.bearer("POST /api/auth/logout", &token).expect(200);
    let wire = server.wire();
    let counts = [
        "requests",
        "unauthorized",
        "refreshes",
        "refreshes_ok",
        "refreshes_rejected",
        "logins",
        "logouts",
    ]
    .map(|name| wire[name].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 3, 1, 2, 2, 1]);
    assert_eq!(
        wire["by_path"]["GET /api/bookings"],
        json!({ "200": 1, "401": 1 })
    );
    assert_eq!(wire["by_path"]["GET /api/auth/me"], json!({ "200": 1 }));
}

#[test]
fn every_dialect_is_counted_and_its_tokens_have_ids() {
    let server = Server::relaxed();
    let (_, passport) = passport::login(&server);
    passport::refresh(&server, &passport).expect(200);
    passport::refresh(&server, &passport).expect(400);
    let (simplejwt, refresh) = simplejwt::login(&server);
    simplejwt::refresh(&server, &refresh).expect(200);
    simplejwt::blacklist(&server, &refresh).expect(200);
    let (gotrue, refresh) = gotrue::login(&server, ADA);
    gotrue::refresh(&server, &refresh).expect(200);
    gotrue::logout(&server, "", &gotrue).expect(204);
    gotrue::refresh(&server, &refresh).expect(400);
    let mut jar = Jar::login(&server);
    jar.send(&server, "GET /api/bookings", "").expect(200);
    jar.send(&server, "POST /cookie/refresh", "").expect(200);
    jar.send(&server, "POST /cookie/logout", "").expect(204);
    jar.send(&server, "POST /cookie/refresh", "").expect(401);
    server.bearer("GET /api/bookings", &simplejwt).expect(200);
    let rows = "GET /supabase/rest/v1/bookings";
    server.send(rows, &[gotrue::KEY], "").expect(401);
    let wire = server.wire();
    let counts = [
        "requests",
        "unauthorized",
        "refreshes",
        "refreshes_ok",
        "refreshes_rejected",
        "logins",
        "logouts",
    ]
    .map(|name| wire[name].as_u64().unwrap());
    assert_eq!(counts, [3, 1, 7, 4, 3, 4, 3]);
    let log = wire["log"].as_array().unwrap();
    let tokens: Vec<&str> = log
        .iter()
        .map(|entry| entry["token"].as_str().unwrap())
        .filter(|token| *token != "none")
        .collect();
    assert_eq!(
        tokens,
        [
            "passport-refresh:2",
            "passport-refresh:2",
            "simplejwt-refresh:6",
            "simplejwt-refresh:6",
            "gotrue-refresh:9",
            "gotrue:8",
            "gotrue-refresh:9",
            "cookie:12",
            "cookie-refresh:13",
            "cookie:14",
            "simplejwt:5",
        ]
    );
}

#[test]
fn a_replay_is_the_same_request_after_its_401() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    let post = |bearer: &str, query: &str, body: &str| {
        let header = format!("Bearer {bearer}");
        server
            .send(
                &format!("POST /api/echo{query}"),
                &[("authorization", &header)],
                body,
            )
            .status
    };
    let replays = || server.wire()["replays"].as_u64().unwrap();
    assert_eq!(post("bad", "?a=1", "body"), 401);
    assert_eq!(post(&token, "?a=1", "other body"), 200);
    assert_eq!(post(&token, "?a=2", "body"), 200);
    assert_eq!(replays(), 0);
    assert_eq!(post(&token, "?a=1", "body"), 200);
    assert_eq!(replays(), 1);
    // That 401 has had its replay; this is just one more request.
    assert_eq!(post(&token, "?a=1", "body"), 200);
    assert_eq!(replays(), 1);
}

#[test]
fn the_log_names_tokens_by_id() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    let (access, refresh) = server.django(ADA);
    server.send("DELETE /__test/wire", &[], "").expect(204);
    let header = format!("Bearer {token}");
    let headers = [
        ("authorization", header.as_str()),
        ("origin", "http://localhost:3000"),
    ];
    server
        .send("GET /api/bookings?page=2", &headers, "")
        .expect(200);
    server.bearer("GET /api/bookings", &access).expect(200);
    server
        .json("POST /auth/refresh/", &json!({ "refresh_token": refresh }))
        .expect(200);
    server.bearer("GET /api/bookings", "what").expect(401);
    server.send("GET /api/bookings", &[], "").expect(401);
    let wire = server.wire();
    let log = wire["log"].as_array().unwrap();
    let tokens: Vec<&str> = log
        .iter()
        .map(|entry| entry["token"].as_str().unwrap())
        .collect();
    assert_eq!(
        tokens,
        [
            "sanctum:1",
            "django:1",
            "django-refresh:2",
            "unknown",
            "none"
        ]
    );
    let first = &log[0];
    assert_eq!((&first["seq"], &first["status"]), (&json!(1), &json!(200)));
    assert_eq!(
        (&first["method"], &first["path"], &first["query"]),
        (&json!("GET"), &json!("/api/bookings"), &json!("page=2"))
    );
    assert_eq!(
        (&first["origin"], &first["user"]),
        (&json!("http://localhost:3000"), &json!("ada@example.com"))
    );
    for secret in [token, access, refresh] {
        assert!(!wire.to_string().contains(&secret[secret.len() - 40..]));
    }
}

#[test]
fn a_sink_notices_tokens() {
    let options = Options {
        www: Some(std::env::temp_dir()),
        ..relaxed()
    };
    let server = Server::start(options);
    let www = server.running.www.unwrap();
    let token = server.sanctum(ADA);
    let (_, refresh) = server.django(ADA);
    let bearer = format!("Bearer {token}");
    let url = |path: &str| format!("POST http://{www}/sink/{path}");
    let foreign = || server.wire()["foreign_tokens"].as_u64().unwrap();
    let reply = server
        .send(
            &url("clean"),
            &[("origin", "http://localhost:3000")],
            "nothing",
        )
        .expect(200);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("http://localhost:3000")
    );
    assert_eq!(foreign(), 0);
    server
        .send(&url("x"), &[("authorization", &bearer)], "")
        .expect(200);
    assert_eq!(foreign(), 1);
    server
        .send(
            &url("x"),
            &[],
            format!("{{\"refresh_token\":\"{refresh}\"}}"),
        )
        .expect(200);
    assert_eq!(foreign(), 2);
    server
        .send(
            &url(&format!("x?token={}", token.replace('|', "%7C"))),
            &[],
            "",
        )
        .expect(200);
    assert_eq!(foreign(), 3);
    server
        .send(&url("x"), &[("x-custom", &token)], "")
        .expect(200);
    assert_eq!(foreign(), 4);
    let (jwt, _) = simplejwt::login(&server);
    server
        .send(&url("x"), &[("x-custom", &jwt)], "")
        .expect(200);
    assert_eq!(foreign(), 5);
    // Cookies go to every port of a host; no page can help that.
    let jar = Jar::login(&server);
    server
        .send(&url("x"), &[("cookie", &jar.header())], "")
        .expect(200);
    assert_eq!(foreign(), 5);
    let refresh = jar.get("__kf_refresh").unwrap();
    server.send(&url("x"), &[], refresh).expect(200);
    assert_eq!(foreign(), 6);
    let preflight = [
        ("origin", "http://evil.example"),
        ("access-control-request-method", "PUT"),
    ];
    let reply = server
        .send(&format!("OPTIONS http://{www}/sink/x"), &preflight, "")
        .expect(204);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("http://evil.example")
    );
    let wire = server.wire();
    assert_eq!(
        (&wire["sink_requests"], &wire["requests"]),
        (&json!(8), &json!(0))
    );
}
