//! `/simplejwt/api/token/*/`: JWTs, and nothing else that tells their life.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::{ADA, GRACE, Reply, Server, members, text};

pub(crate) fn login(server: &Server) -> (String, String) {
    let body = json!({ "email": ADA.0, "password": ADA.1 });
    let tokens = server
        .json("POST /simplejwt/api/token/", &body)
        .expect(200)
        .json();
    assert_eq!(members(&tokens), ["access", "refresh"]);
    (text(&tokens["access"]), text(&tokens["refresh"]))
}

pub(crate) fn refresh(server: &Server, token: &str) -> Reply {
    let body = json!({ "refresh": token });
    server.json("POST /simplejwt/api/token/refresh/", &body)
}

pub(crate) fn blacklist(server: &Server, token: &str) -> Reply {
    let body = json!({ "refresh": token });
    server.json("POST /simplejwt/api/token/blacklist/", &body)
}

fn claims(token: &str) -> Value {
    let segment = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(segment).unwrap()).unwrap()
}

fn refusal(detail: &str) -> Value {
    json!({ "detail": detail, "code": "token_not_valid" })
}

// behaviour.md 1.18, 1.20
#[test]
fn tokens_are_jwts_that_tell_their_end() {
    let server = Server::relaxed();
    let (access, refresh) = login(&server);
    for (token, usage, life) in [(&access, "access", 900), (&refresh, "refresh", 1_209_600)] {
        let claims = claims(token);
        assert_eq!(
            members(&claims),
            ["exp", "iat", "jti", "token_type", "user_id"]
        );
        assert_eq!(
            (&claims["token_type"], &claims["user_id"]),
            (&json!(usage), &json!(1))
        );
        let times = [&claims["exp"], &claims["iat"]].map(|time| time.as_i64().unwrap());
        assert_eq!(times[0] - times[1], life);
        let segments: Vec<&str> = token.split('.').collect();
        assert_eq!((segments.len(), segments[2].len()), (3, 40));
    }
    server.bearer("GET /api/bookings", &access).expect(200);
    let (other, _) = login(&server);
    assert_ne!(claims(&access)["jti"], claims(&other)["jti"]);
}

#[test]
fn username_is_email_and_wrong_passwords_have_their_code() {
    let server = Server::relaxed();
    let send = |body| server.json("POST /simplejwt/api/token/", &body);
    send(json!({ "username": GRACE.0, "password": GRACE.1 })).expect(200);
    let reply = send(json!({ "username": GRACE.0, "password": "x" })).expect(401);
    let expected = json!({
        "detail": "No active account found with the given credentials",
        "code": "no_active_account",
    });
    assert_eq!(reply.json(), expected);
    send(json!({ "username": GRACE.0 })).expect(400);
}

// behaviour.md 1.12, 1.18
#[test]
fn without_rotation_a_refresh_brings_an_access_token_alone() {
    let server = Server::relaxed();
    let (access, token) = login(&server);
    for _ in 0..2 {
        let body = refresh(&server, &token).expect(200).json();
        assert_eq!(members(&body), ["access"]);
        assert_ne!(text(&body["access"]), access);
        server
            .bearer("GET /api/bookings", &text(&body["access"]))
            .expect(200);
    }
}

// behaviour.md 1.18
#[test]
fn with_rotation_the_old_token_is_blacklisted_and_the_new_one_lives() {
    let server = Server::relaxed();
    server.switch(&json!({ "simplejwt_rotate": true }));
    let (access, first) = login(&server);
    let body = refresh(&server, &first).expect(200).json();
    assert_eq!(members(&body), ["access", "refresh"]);
    let second = text(&body["refresh"]);
    assert_ne!(first, second);
    let reply = refresh(&server, &first).expect(401);
    assert_eq!(reply.json(), refusal("Token is blacklisted"));
    refresh(&server, &second).expect(200);
    server.bearer("GET /api/bookings", &access).expect(200);
}

// behaviour.md 1.18, 2.5
#[test]
fn dead_refresh_tokens_say_why() {
    let server = Server::relaxed();
    let (access, token) = login(&server);
    for unfit in ["nonsense", "", access.as_str()] {
        let reply = refresh(&server, unfit).expect(401);
        assert_eq!(reply.json(), refusal("Token is invalid"));
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer realm=\"api\"")
        );
    }
    server.clock(1_209_601);
    assert_eq!(
        refresh(&server, &token).expect(401).json(),
        refusal("Token is expired")
    );
    let reply = server.json("POST /simplejwt/api/token/refresh/", &json!({}));
    assert_eq!(
        reply.expect(400).json(),
        json!({ "refresh": ["This field is required."] })
    );
}

#[test]
fn a_blacklisted_refresh_token_leaves_the_access_token_alone() {
    let server = Server::relaxed();
    let (access, token) = login(&server);
    assert_eq!(blacklist(&server, &token).expect(200).json(), json!({}));
    for reply in [blacklist(&server, &token), refresh(&server, &token)] {
        assert_eq!(reply.expect(401).json(), refusal("Token is blacklisted"));
    }
    server.bearer("GET /api/bookings", &access).expect(200);
}

#[test]
fn a_resource_names_the_token_class() {
    let server = Server::relaxed();
    let (access, refresh) = login(&server);
    let refused = |token: &str| {
        let reply = server.bearer("GET /api/bookings", token).expect(401);
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer realm=\"api\"")
        );
        reply.json()
    };
    assert_eq!(
        refused(&refresh)["messages"][0]["message"],
        "Token is invalid"
    );
    server.clock(901);
    let expected = json!({
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [
            { "token_class": "AccessToken", "token_type": "access", "message": "Token is expired" },
        ],
    });
    assert_eq!(refused(&access), expected);
}

// behaviour.md 1.18
#[test]
fn a_missing_slash_is_redirected() {
    let server = Server::relaxed();
    for path in ["token", "token/refresh", "token/blacklist"] {
        let reply = server
            .json(&format!("POST /simplejwt/api/{path}"), &json!({}))
            .expect(301);
        let location = format!("/simplejwt/api/{path}/");
        assert_eq!(reply.header("location"), Some(location.as_str()));
    }
}
