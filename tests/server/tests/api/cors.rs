//! CORS.

use crate::harness::{ADA, Server};

const PAGE: &str = "http://127.0.0.1:5173";

#[test]
fn preflights_are_answered_and_not_counted() {
    let server = Server::relaxed();
    let headers = [
        ("origin", PAGE),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization,x-custom"),
    ];
    let reply = server.send("OPTIONS /api/echo", &headers, "").expect(204);
    assert_eq!(reply.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(reply.header("access-control-max-age"), Some("600"));
    let allowed = reply.header("access-control-allow-headers").unwrap();
    for name in ["Authorization", "Content-Type", "Accept", "x-custom"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    assert!(
        reply
            .header("access-control-allow-methods")
            .unwrap()
            .contains("PUT")
    );
    let wire = server.wire();
    assert_eq!(wire["requests"], 0);
    assert!(wire["log"].as_array().unwrap().is_empty());
}

#[test]
fn useful_headers_are_exposed() {
    let server = Server::relaxed();
    for line in [
        "GET /api/bookings",
        "POST /auth/login",
        "GET /nowhere",
        "GET /wire",
    ] {
        let reply = server.send(line, &[("origin", PAGE)], "");
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some(PAGE),
            "{line}"
        );
        assert_eq!(
            reply.header("access-control-expose-headers"),
            Some("Date, Retry-After, WWW-Authenticate, X-Sb-Error-Code")
        );
        assert_eq!(reply.header("vary"), Some("Origin"));
    }
}

#[test]
fn other_origins_are_not_allowed() {
    let server = Server::relaxed();
    for origin in [
        "https://evil.example",
        "http://127.0.0.1.evil.example",
        "null",
    ] {
        let headers = [("origin", origin), ("access-control-request-method", "GET")];
        let reply = server
            .send("OPTIONS /api/bookings", &headers, "")
            .expect(204);
        assert_eq!(
            reply.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
    }
}

#[test]
fn a_fault_takes_cors_away() {
    let server = Server::relaxed();
    let bearer = format!("Bearer {}", server.sanctum(ADA));
    let headers = [("origin", PAGE), ("authorization", bearer.as_str())];
    server.fault(&serde_json::json!({ "match": "GET /api/bookings", "no_cors": true, "times": 1 }));
    server
        .fault(&serde_json::json!({ "match": "GET /api/bookings", "no_expose": true, "times": 1 }));
    let hidden = server.send("GET /api/bookings", &headers, "").expect(200);
    assert_eq!(hidden.header("access-control-allow-origin"), None);
    let unexposed = server.send("GET /api/bookings", &headers, "").expect(200);
    assert_eq!(unexposed.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(unexposed.header("access-control-expose-headers"), None);
    let normal = server.send("GET /api/bookings", &headers, "").expect(200);
    assert!(normal.header("access-control-expose-headers").is_some());
}
