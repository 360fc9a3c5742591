//! `/passport/*`: league/oauth2-server's words, and its leniency towards reuse.

use serde_json::{Value, json};

use crate::harness::{ADA, Reply, Server, members, pair};
use crate::oauth2::{REDIRECT, VERIFIER, code};

fn token(server: &Server, fields: &[(&str, &str)]) -> Reply {
    let mut form = vec![("client_id", "demo")];
    form.extend(fields);
    server.form("POST /passport/oauth/token", &form)
}

fn redeem(server: &Server, code: &str) -> Reply {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", REDIRECT),
    ];
    token(server, &fields)
}

pub(crate) fn login(server: &Server) -> (String, String) {
    let code = code(server, "/passport/oauth/authorize");
    pair(&redeem(server, &code).expect(200).json())
}

pub(crate) fn refresh(server: &Server, refresh: &str) -> Reply {
    token(
        server,
        &[("grant_type", "refresh_token"), ("refresh_token", refresh)],
    )
}

fn refusal(hint: &str, code: &str) -> Value {
    json!({
        "error": code,
        "error_description": "The refresh token is invalid.",
        "hint": hint,
        "message": "The refresh token is invalid.",
    })
}

// behaviour.md 1.18
#[test]
fn a_code_brings_tokens_once() {
    let server = Server::relaxed();
    let code = code(&server, "/passport/oauth/authorize");
    let tokens = redeem(&server, &code).expect(200).json();
    assert_eq!(
        members(&tokens),
        ["access_token", "expires_in", "refresh_token", "token_type"]
    );
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"]),
        (&json!("Bearer"), &json!(900))
    );
    let (access, refresh) = pair(&tokens);
    assert!(access.starts_with("pra_") && refresh.starts_with("prr_"));
    let again = redeem(&server, &code).expect(400).json();
    assert_eq!(again["error"], "invalid_grant");
}

#[test]
fn the_user_behind_a_token() {
    let server = Server::relaxed();
    let (access, refresh) = login(&server);
    let user = server
        .bearer("GET /passport/api/user", &access)
        .expect(200)
        .json();
    assert_eq!(user["email"], ADA.0);
    server.bearer("GET /api/bookings", &access).expect(200);
    server.clock(901);
    for token in [&access, &refresh] {
        for line in ["GET /passport/api/user", "GET /api/bookings"] {
            let reply = server.bearer(line, token).expect(401);
            assert_eq!(reply.json(), json!({ "message": "Unauthenticated." }));
        }
    }
}

// behaviour.md 1.18
#[test]
fn a_refresh_rotates_and_ends_the_access_token_before_it() {
    let server = Server::relaxed();
    let (first_access, first) = login(&server);
    let (access, second) = pair(&refresh(&server, &first).expect(200).json());
    assert_ne!(first, second);
    server
        .bearer("GET /api/bookings", &first_access)
        .expect(401);
    server.bearer("GET /api/bookings", &access).expect(200);
}

#[test]
fn a_second_use_harms_nobody_else() {
    let server = Server::relaxed();
    let (_, first) = login(&server);
    let (access, second) = pair(&refresh(&server, &first).expect(200).json());
    let reply = refresh(&server, &first).expect(400);
    assert_eq!(
        reply.json(),
        refusal("Token has been revoked", "invalid_grant")
    );
    server.bearer("GET /api/bookings", &access).expect(200);
    refresh(&server, &second).expect(200);
}

// behaviour.md 1.18, 2.5
#[test]
fn league_8_says_401_invalid_request() {
    let server = Server::relaxed();
    let (_, first) = login(&server);
    refresh(&server, &first).expect(200);
    server.switch(&json!({ "league": 8 }));
    let dead = |token: &str| refresh(&server, token).expect(401).json();
    assert_eq!(
        dead(&first),
        refusal("Token has been revoked", "invalid_request")
    );
    assert_eq!(
        dead("nonsense"),
        refusal("Cannot decrypt the refresh token", "invalid_request")
    );
    server.clock(1_209_601);
    assert_eq!(
        dead(&first),
        refusal("Token has expired", "invalid_request")
    );
}

#[test]
fn a_refresh_prolongs_the_login() {
    let server = Server::relaxed();
    let (_, token) = login(&server);
    server.clock(1_209_000);
    let (_, token) = pair(&refresh(&server, &token).expect(200).json());
    server.clock(1_209_601);
    refresh(&server, &token).expect(200);
}

// behaviour.md 2.5
#[test]
fn bad_requests_keep_their_codes() {
    let server = Server::relaxed();
    let error = |reply: Reply| reply.json()["error"].clone();
    let fields = [("grant_type", "refresh_token"), ("client_id", "other")];
    let reply = server.form("POST /passport/oauth/token", &fields);
    assert_eq!(error(reply.expect(401)), "invalid_client");
    let reply = token(&server, &[("grant_type", "refresh_token")]);
    assert_eq!(error(reply.expect(400)), "invalid_request");
    let reply = token(&server, &[("grant_type", "password")]);
    assert_eq!(error(reply.expect(400)), "unsupported_grant_type");
}
