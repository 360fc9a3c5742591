//! `/oauth/*`: code with PKCE, rotation, reuse, revocation.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::harness::{ADA, Reply, Server, members, pair, text};

pub(crate) const REDIRECT: &str = "http://127.0.0.1:8080/callback?app=1";
/// The pair printed in RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn page_fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("response_type", "code"),
        ("client_id", "demo"),
        ("redirect_uri", REDIRECT),
        ("scope", "profile"),
        ("state", "s&t"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]
}

/// A code from the page at `path`.
pub(crate) fn code(server: &Server, path: &str) -> String {
    let mut fields = page_fields();
    fields.extend([("email", ADA.0), ("password", ADA.1)]);
    let reply = server.form(&format!("POST {path}"), &fields).expect(303);
    let location = reply.header("location").unwrap();
    let query = location
        .strip_prefix("http://127.0.0.1:8080/callback?app=1&")
        .unwrap();
    let fields: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    assert_eq!(fields[1], ("state".to_owned(), "s&t".to_owned()));
    assert_eq!(fields[0].0, "code");
    fields[0].1.clone()
}

fn redeem(server: &Server, code: &str, verifier: &str, redirect: &str) -> Reply {
    server.form(
        "POST /oauth/token",
        &[
            ("grant_type", "authorization_code"),
            ("client_id", "demo"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", redirect),
        ],
    )
}

fn refresh(server: &Server, token: &str) -> Reply {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", "demo"),
        ("refresh_token", token),
    ];
    server.form("POST /oauth/token", &fields)
}

fn login(server: &Server) -> (String, String) {
    pair(
        &redeem(
            server,
            &code(server, "/oauth/authorize"),
            VERIFIER,
            REDIRECT,
        )
        .expect(200)
        .json(),
    )
}

#[test]
fn the_page_carries_the_query() {
    let server = Server::relaxed();
    let query = serde_urlencoded::to_string(page_fields()).unwrap();
    let reply = server
        .send(&format!("GET /oauth/authorize?{query}"), &[], "")
        .expect(200);
    let html = String::from_utf8(reply.body).unwrap();
    assert!(html.contains("name=state value=\"s&amp;t\""), "{html}");
    assert!(html.contains("name=password type=password"), "{html}");
}

#[test]
fn bad_authorization_requests() {
    let server = Server::relaxed();
    let ask = |name: &str, value: &'static str| {
        let mut fields = page_fields();
        for field in &mut fields {
            if field.0 == name {
                field.1 = value;
            }
        }
        server.send(
            &format!(
                "GET /oauth/authorize?{}",
                serde_urlencoded::to_string(fields).unwrap()
            ),
            &[],
            "",
        )
    };
    ask("client_id", "other").expect(400);
    ask("redirect_uri", "http://evil.example/").expect(400);
    let reply = ask("code_challenge_method", "plain").expect(303);
    assert!(
        reply
            .header("location")
            .unwrap()
            .contains("error=invalid_request")
    );
    let reply = ask("response_type", "token").expect(303);
    assert!(
        reply
            .header("location")
            .unwrap()
            .contains("error=unsupported_response_type")
    );
    let mut fields = page_fields();
    fields.extend([("email", ADA.0), ("password", "wrong")]);
    server.form("POST /oauth/authorize", &fields).expect(401);
}

#[test]
fn a_code_is_exchanged_once() {
    let server = Server::relaxed();
    let code = code(&server, "/oauth/authorize");
    let reply = redeem(&server, &code, VERIFIER, REDIRECT).expect(200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let tokens = reply.json();
    assert_eq!(
        members(&tokens),
        [
            "access_token",
            "expires_in",
            "refresh_token",
            "scope",
            "token_type"
        ]
    );
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"]),
        (&json!("Bearer"), &json!(900))
    );
    let (access, _) = pair(&tokens);
    let claims = server
        .bearer("GET /oauth/userinfo", &access)
        .expect(200)
        .json();
    assert_eq!(
        claims,
        json!({ "sub": "1", "name": "Ada Lovelace", "email": ADA.0 })
    );
    let again = redeem(&server, &code, VERIFIER, REDIRECT)
        .expect(400)
        .json();
    assert_eq!(again["error"], "invalid_grant");
    // The code was seen twice, so what it was exchanged for is revoked.
    server.bearer("GET /oauth/userinfo", &access).expect(401);
}

#[test]
fn a_code_needs_its_verifier_its_uri_and_haste() {
    let server = Server::relaxed();
    let code = code(&server, "/oauth/authorize");
    let wrong = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX";
    assert_eq!(
        redeem(&server, &code, wrong, REDIRECT).expect(400).json()["error"],
        "invalid_grant"
    );
    assert_eq!(
        redeem(&server, &code, VERIFIER, "http://127.0.0.1/")
            .expect(400)
            .json()["error"],
        "invalid_grant"
    );
    server.clock(61);
    redeem(&server, &code, VERIFIER, REDIRECT).expect(400);
    server.clock(0);
    redeem(&server, &code, VERIFIER, REDIRECT).expect(200);
}

#[test]
fn errors_follow_rfc_6749() {
    let server = Server::relaxed();
    let error = |fields: &[(&str, &str)], status| {
        text(
            &server
                .form("POST /oauth/token", fields)
                .expect(status)
                .json()["error"],
        )
    };
    assert_eq!(
        error(
            &[("grant_type", "refresh_token"), ("client_id", "other")],
            401
        ),
        "invalid_client"
    );
    assert_eq!(
        error(&[("grant_type", "password"), ("client_id", "demo")], 400),
        "unsupported_grant_type"
    );
    assert_eq!(error(&[("client_id", "demo")], 400), "invalid_request");
    assert_eq!(
        error(
            &[("grant_type", "refresh_token"), ("client_id", "demo")],
            400
        ),
        "invalid_request"
    );
    assert_eq!(
        refresh(&server, "nonsense").expect(400).json()["error"],
        "invalid_grant"
    );
}

#[test]
fn a_refresh_rotates() {
    let server = Server::relaxed();
    let (first_access, first) = login(&server);
    let (access, second) = pair(&refresh(&server, &first).expect(200).json());
    assert_ne!(first, second);
    for token in [&first_access, &access] {
        server.bearer("GET /api/bookings", token).expect(200);
    }
    refresh(&server, &second).expect(200);
}

#[test]
fn reuse_revokes_the_family() {
    let server = Server::relaxed();
    let (_, other_login) = login(&server);
    let (first_access, first) = login(&server);
    let (access, second) = pair(&refresh(&server, &first).expect(200).json());
    assert_eq!(
        refresh(&server, &first).expect(400).json()["error"],
        "invalid_grant"
    );
    refresh(&server, &second).expect(400);
    for token in [&first_access, &access] {
        let reply = server.bearer("GET /api/bookings", token).expect(401);
        assert!(
            reply
                .header("www-authenticate")
                .unwrap()
                .contains("error=\"invalid_token\"")
        );
    }
    refresh(&server, &other_login).expect(200);
}

#[test]
fn of_twenty_parallel_refreshes_one_wins() {
    let server = Server::relaxed();
    let (_, token) = login(&server);
    let start = Barrier::new(20);
    let won: usize = thread::scope(|scope| {
        let attempt = || {
            start.wait();
            refresh(&server, &token).status == 200
        };
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(attempt)).collect();
        threads
            .into_iter()
            .map(|thread| usize::from(thread.join().unwrap()))
            .sum()
    });
    assert_eq!(won, 1);
}

#[test]
fn rotation_does_not_prolong_the_login() {
    let server = Server::relaxed();
    let (_, token) = login(&server);
    server.clock(1_209_000);
    let (_, token) = pair(&refresh(&server, &token).expect(200).json());
    server.clock(1_209_601);
    refresh(&server, &token).expect(400);
}

#[test]
fn revocation() {
    let server = Server::relaxed();
    let (access, token) = login(&server);
    server
        .form("POST /oauth/revoke", &[("token", "unknown")])
        .expect(200);
    server
        .form("POST /oauth/revoke", &[("token", &access)])
        .expect(200);
    server.bearer("GET /oauth/userinfo", &access).expect(401);
    let (access, token) = pair(&refresh(&server, &token).expect(200).json());
    server
        .form(
            "POST /oauth/revoke",
            &[("token", &token), ("token_type_hint", "refresh_token")],
        )
        .expect(200);
    refresh(&server, &token).expect(400);
    server.bearer("GET /oauth/userinfo", &access).expect(401);
}

#[test]
fn an_expired_access_token_is_challenged() {
    let server = Server::relaxed();
    let (access, _) = login(&server);
    server.clock(901);
    let reply = server.bearer("GET /api/bookings", &access).expect(401);
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("The access token expired"),
        "{challenge}"
    );
    assert_eq!(reply.json()["error"], "invalid_token");
    let bare = server.send("GET /oauth/userinfo", &[], "").expect(401);
    assert_eq!(
        bare.header("www-authenticate"),
        Some("Bearer realm=\"keepfresh\"")
    );
}
