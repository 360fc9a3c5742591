//! `/__test/*`.

use std::time::Instant;

use keepfresh_server::Options;
use serde_json::json;

use crate::harness::{ADA, GRACE, Reply, Server, relaxed, text};

const BOOKINGS: &str = "GET /api/bookings";

#[test]
fn without_the_flag_there_are_no_such_routes() {
    let server = Server::start(Options {
        faults: false,
        ..relaxed()
    });
    for path in [
        "faults",
        "clock",
        "expire",
        "revoke",
        "lifetimes",
        "cleanup",
        "wire",
    ] {
        server
            .json(&format!("POST /__test/{path}"), &json!({}))
            .expect(404);
        server
            .send(&format!("DELETE /__test/{path}"), &[], "")
            .expect(404);
    }
}

#[test]
fn a_status_with_times_and_skip() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    server.fault(
        &json!({ "match": BOOKINGS, "status": 503, "retry_after": "5", "times": 2, "skip": 1 }),
    );
    let statuses: Vec<u16> = (0..5)
        .map(|_| server.bearer(BOOKINGS, &token).status)
        .collect();
    assert_eq!(statuses, [200, 503, 503, 200, 200]);
    let list = server
        .send("GET /__test/faults", &[], "")
        .expect(200)
        .json();
    assert_eq!(
        (&list[0]["hits"], &list[0]["times"], &list[0]["id"]),
        (&json!(2), &json!(0), &json!(1))
    );
}

#[test]
fn clearing_ends_them() {
    let server = Server::relaxed();
    server.fault(&json!({ "match": "*", "status": 500 }));
    server.send(BOOKINGS, &[], "").expect(500);
    server.send("GET /wire", &[], "").expect(200);
    server.send("DELETE /__test/faults", &[], "").expect(204);
    server.send(BOOKINGS, &[], "").expect(401);
}

#[test]
fn mistakes_in_a_rule_are_refused() {
    let server = Server::relaxed();
    server
        .json("POST /__test/faults", &json!({ "status": 500 }))
        .expect(422);
    server
        .json(
            "POST /__test/faults",
            &json!({ "match": "*", "statsu": 500 }),
        )
        .expect(422);
    server
        .json(
            "POST /__test/faults",
            &json!({ "match": "*", "drop": "later" }),
        )
        .expect(422);
}

#[test]
fn canned_answers() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    let once = |mut fault: serde_json::Value| {
        fault["match"] = json!(BOOKINGS);
        fault["times"] = json!(1);
        server.fault(&fault);
        server.bearer(BOOKINGS, &token)
    };
    let reply = once(json!({ "body": "{\"error\":\"x\"}", "status": 400 })).expect(400);
    assert_eq!(
        (reply.header("content-type"), reply.json()),
        (Some("application/json"), json!({ "error": "x" }))
    );
    let reply = once(json!({ "body": "plain", "content_type": "text/plain" })).expect(200);
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    let reply = once(json!({ "html": true })).expect(200);
    assert!(
        reply
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    assert!(String::from_utf8(reply.body).unwrap().contains("password"));
    let reply = once(json!({ "retry_after": "Fri, 20 Nov 2026 10:00:00 GMT" })).expect(503);
    assert_eq!(
        reply.header("retry-after"),
        Some("Fri, 20 Nov 2026 10:00:00 GMT")
    );
    let reply = once(json!({ "redirect": "http://127.0.0.1:9/", "status": 307 })).expect(307);
    assert_eq!(reply.header("location"), Some("http://127.0.0.1:9/"));
    once(json!({ "redirect": "http://127.0.0.1:9/" })).expect(302);
    let whole = server.bearer(BOOKINGS, &token).expect(200).body;
    let half = once(json!({ "truncate": true })).expect(200).body;
    assert_eq!(half, whole[..whole.len() / 2]);
    let started = Instant::now();
    once(json!({ "delay_ms": 100, "delay_after_ms": 100 })).expect(200);
    assert!(started.elapsed().as_millis() >= 200);
}

#[test]
fn dropped_before_nothing_happened() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    server.fault(&json!({ "match": "POST /api/auth/refresh", "drop": "before", "times": 1 }));
    let header = format!("Bearer {token}");
    let lost = server.try_send("POST /api/auth/refresh", &[("authorization", &header)], "");
    assert_closed(&lost);
    server.bearer(BOOKINGS, &token).expect(200);
    let wire = server.wire();
    assert_eq!(
        wire["by_path"]["POST /api/auth/refresh"],
        json!({ "dropped": 1 })
    );
    assert_eq!(
        (&wire["refreshes"], &wire["refreshes_ok"]),
        (&json!(1), &json!(0))
    );
}

#[test]
fn dropped_after_it_happened() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    server.fault(&json!({ "match": "POST /api/auth/refresh", "drop": "after", "times": 1 }));
    let header = format!("Bearer {token}");
    let lost = server.try_send("POST /api/auth/refresh", &[("authorization", &header)], "");
    assert_closed(&lost);
    assert_eq!(
        server.bearer(BOOKINGS, &token).expect(401).json()["code"],
        "TOKEN_REVOKED"
    );
    let wire = server.wire();
    assert_eq!(
        (&wire["refreshes"], &wire["refreshes_ok"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn a_replaced_answer_can_hide_real_work() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    server.fault(
        &json!({ "match": "POST /api/auth/refresh", "status": 502, "commit": true, "times": 1 }),
    );
    server.bearer("POST /api/auth/refresh", &token).expect(502);
    server.bearer(BOOKINGS, &token).expect(401);
}

#[test]
fn the_server_finishes_what_a_client_left() {
    use std::io::Write as _;
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    server.fault(&json!({ "match": "POST /api/auth/refresh", "delay_ms": 80, "times": 1 }));
    let mut stream = std::net::TcpStream::connect(server.running.api).unwrap();
    write!(stream, "POST /api/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nAuthorization: Bearer {token}\r\n\r\n")
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(30));
    drop(stream);
    std::thread::sleep(std::time::Duration::from_millis(150));
    assert_eq!(server.wire()["refreshes_ok"], 1);
    server.bearer(BOOKINGS, &token).expect(401);
}

#[test]
fn access_tokens_can_be_expired_at_once() {
    let server = Server::relaxed();
    let (ada, grace, (access, refresh)) = (
        server.sanctum(ADA),
        server.sanctum(GRACE),
        server.django(ADA),
    );
    server
        .json("POST /__test/expire", &json!({ "email": ADA.0 }))
        .expect(200);
    assert_eq!(
        server.bearer(BOOKINGS, &ada).expect(401).json()["code"],
        "TOKEN_EXPIRED"
    );
    server.bearer(BOOKINGS, &access).expect(401);
    server.bearer(BOOKINGS, &grace).expect(200);
    let fresh = server
        .json("POST /auth/refresh/", &json!({ "refresh_token": refresh }))
        .expect(200)
        .json();
    server
        .bearer(BOOKINGS, &text(&fresh["access_token"]))
        .expect(200);
    server.send("POST /__test/expire", &[], "").expect(200);
    server.bearer(BOOKINGS, &grace).expect(401);
}

#[test]
fn everything_can_be_revoked() {
    let server = Server::relaxed();
    let (ada, grace, (access, refresh)) = (
        server.sanctum(ADA),
        server.sanctum(GRACE),
        server.django(ADA),
    );
    server
        .json("POST /__test/revoke", &json!({ "email": ADA.0 }))
        .expect(200);
    assert_eq!(
        server.bearer(BOOKINGS, &ada).expect(401).json()["code"],
        "TOKEN_REVOKED"
    );
    server.bearer(BOOKINGS, &access).expect(401);
    server
        .json("POST /auth/refresh/", &json!({ "refresh_token": refresh }))
        .expect(401);
    server.bearer(BOOKINGS, &grace).expect(200);
}

#[test]
fn lifetimes_can_change() {
    let server = Server::relaxed();
    let now = server
        .json(
            "POST /__test/lifetimes",
            &json!({ "short_lived": 30, "access_lifetime": 2 }),
        )
        .expect(200);
    assert_eq!(
        now.json(),
        json!({ "short_lived": 30, "long_lived": 2_592_000, "access_lifetime": 2, "refresh_lifetime": 1_209_600 })
    );
    let body = json!({ "email": ADA.0, "password": ADA.1 });
    let login = server
        .json("POST /api/auth/login", &body)
        .expect(201)
        .json();
    assert_eq!(
        (&login["expires_in_seconds"], &login["expires_in_minutes"]),
        (&json!(30), &json!(0))
    );
    assert_eq!(
        server.json("POST /auth/login/", &body).expect(200).json()["expires_in"],
        2
    );
}

#[test]
fn clean_up_deletes_what_is_long_dead() {
    let server = Server::relaxed();
    let revoked = server.sanctum(ADA);
    let token = server
        .bearer("POST /api/auth/refresh", &revoked)
        .expect(200)
        .json()["token"]
        .clone();
    let (access, refresh) = server.django(ADA);
    let deleted = || {
        server
            .send("POST /__test/cleanup", &[], "")
            .expect(200)
            .json()["deleted"]
            .clone()
    };
    assert_eq!(deleted(), 0);
    server.clock(6 * 86_400);
    assert_eq!(deleted(), 0);
    server.clock(8 * 86_400);
    // Two Sanctum tokens and one access token; the refresh token lives for 14 days.
    assert_eq!(deleted(), 3);
    server
        .json("POST /auth/refresh/", &json!({ "refresh_token": refresh }))
        .expect(200);
    let reply = server.bearer("GET /api/auth/me", &text(&token)).expect(401);
    assert_eq!(reply.json(), json!({ "message": "Unauthenticated." }));
    server.bearer(BOOKINGS, &access).expect(401);
}

/// The connection was closed, which is not the same as silence.
#[track_caller]
fn assert_closed(lost: &Result<Reply, ureq::Error>) {
    assert!(
        !matches!(lost, Ok(_) | Err(ureq::Error::Timeout(_))),
        "{lost:?}"
    );
}
