//! `/auth/*/`: a pair of tokens, of which the refresh token stays.

use serde_json::json;

use crate::harness::{ADA, GRACE, Server, members, text};

#[test]
fn login_refresh_and_me() {
    let server = Server::relaxed();
    let body = server
        .json(
            "POST /auth/login/",
            &json!({ "email": ADA.0, "password": ADA.1 }),
        )
        .expect(200)
        .json();
    assert_eq!(
        members(&body),
        ["access_token", "expires_in", "refresh_token", "user"]
    );
    assert_eq!(body["expires_in"], 900);
    let refresh = json!({ "refresh_token": body["refresh_token"] });
    for _ in 0..2 {
        let refreshed = server
            .json("POST /auth/refresh/", &refresh)
            .expect(200)
            .json();
        assert_eq!(members(&refreshed), ["access_token", "expires_in"]);
        assert_ne!(refreshed["access_token"], body["access_token"]);
        let me = server
            .bearer("GET /auth/me/", &text(&refreshed["access_token"]))
            .expect(200)
            .json();
        assert_eq!(me["email"], ADA.0);
    }
}

#[test]
fn a_bad_refresh_token_is_401() {
    let server = Server::relaxed();
    let (access, refresh) = server.django(ADA);
    let expected = json!({ "error": "Invalid refresh token", "details": "Refresh token is invalid or expired" });
    for token in ["invalid_token", "", access.as_str()] {
        let reply = server
            .json("POST /auth/refresh/", &json!({ "refresh_token": token }))
            .expect(401);
        assert_eq!(reply.json(), expected);
    }
    server.clock(1_209_601);
    assert_eq!(
        server
            .json("POST /auth/refresh/", &json!({ "refresh_token": refresh }))
            .expect(401)
            .json(),
        expected
    );
    server.json("POST /auth/refresh/", &json!({})).expect(400);
}

#[test]
fn an_expired_access_token_has_djangos_body() {
    let server = Server::relaxed();
    let (access, refresh) = server.django(ADA);
    server.clock(901);
    for line in ["GET /api/bookings", "GET /auth/me/"] {
        let reply = server.bearer(line, &access).expect(401);
        assert_eq!(members(&reply.json()), ["details", "error"]);
    }
    // A refresh token is no access token.
    server.bearer("GET /api/bookings", &refresh).expect(401);
    server
        .json("POST /auth/refresh/", &json!({ "refresh_token": refresh }))
        .expect(200);
}

#[test]
fn logout_ends_the_login() {
    let server = Server::relaxed();
    let (access, refresh) = server.django(ADA);
    let body = json!({ "refresh_token": refresh });
    server.json("POST /auth/logout/", &body).expect(204);
    server.json("POST /auth/logout/", &body).expect(204);
    server
        .json("POST /auth/logout/", &json!({ "refresh_token": "unknown" }))
        .expect(204);
    server.json("POST /auth/refresh/", &body).expect(401);
    server.bearer("GET /auth/me/", &access).expect(401);
}

#[test]
fn logout_all_counts_logins() {
    let server = Server::relaxed();
    let tokens = [server.django(ADA), server.django(ADA), server.django(GRACE)];
    let body = server
        .bearer("POST /auth/logout-all/", &tokens[0].0)
        .expect(200)
        .json();
    assert_eq!(body, json!({ "revoked_count": 2 }));
    server.bearer("GET /auth/me/", &tokens[1].0).expect(401);
    server.bearer("GET /auth/me/", &tokens[2].0).expect(200);
}

#[test]
fn a_missing_slash_is_redirected() {
    let server = Server::relaxed();
    let reply = server
        .json("POST /auth/login?next=1", &json!({}))
        .expect(301);
    assert_eq!(reply.header("location"), Some("/auth/login/?next=1"));
    server.send("GET /auth/login/", &[], "").expect(405);
}
