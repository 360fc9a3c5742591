//! `/supabase/*`: GoTrue's rule about the parent of the active token, and the
//! places where its codes travel.

use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{ADA, GRACE, Reply, Server, members, pair, text};

pub(crate) const KEY: (&str, &str) = ("apikey", "demo-anon-key");

fn call(server: &Server, line: &str, token: Option<&str>, body: Option<&Value>) -> Reply {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![KEY];
    if let Some(bearer) = &bearer {
        headers.push(("authorization", bearer));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    server.send(&line.replacen(" /", " /supabase/", 1), &headers, body)
}

pub(crate) fn login(server: &Server, (email, password): (&str, &str)) -> (String, String) {
    let body = json!({ "email": email, "password": password });
    let line = "POST /auth/v1/token?grant_type=password";
    pair(&call(server, line, None, Some(&body)).expect(200).json())
}

pub(crate) fn refresh(server: &Server, token: &str) -> Reply {
    let body = json!({ "refresh_token": token });
    let line = "POST /auth/v1/token?grant_type=refresh_token";
    call(server, line, None, Some(&body))
}

pub(crate) fn logout(server: &Server, scope: &str, token: &str) -> Reply {
    let line = format!("POST /auth/v1/logout{scope}");
    call(server, &line, Some(token), None)
}

fn refused(server: &Server, token: &str) -> String {
    text(&refresh(server, token).expect(400).json()["error_code"])
}

#[test]
fn every_request_needs_the_key() {
    let server = Server::relaxed();
    let (access, _) = login(&server, ADA);
    for line in [
        "POST /supabase/auth/v1/token?grant_type=password",
        "GET /supabase/auth/v1/user",
        "GET /supabase/rest/v1/bookings",
    ] {
        let reply = server.bearer(line, &access).expect(401);
        assert_eq!(
            reply.json(),
            json!({ "message": "No API key found in request" })
        );
        server.send(line, &[("apikey", "other")], "").expect(401);
    }
}

// behaviour.md 1.18
#[test]
fn a_session_as_the_library_reads_it() {
    let server = Server::relaxed();
    let body = json!({ "email": ADA.0, "password": ADA.1 });
    for line in [
        "POST /auth/v1/signup",
        "POST /auth/v1/token?grant_type=password",
    ] {
        let session = call(&server, line, None, Some(&body)).expect(200).json();
        assert_eq!(
            members(&session),
            [
                "access_token",
                "expires_at",
                "expires_in",
                "refresh_token",
                "token_type",
                "user"
            ]
        );
        assert_eq!(
            (&session["token_type"], &session["expires_in"]),
            (&json!("bearer"), &json!(900))
        );
        assert!(session["expires_at"].as_i64().unwrap() > 1_700_000_000);
        let (access, refresh) = pair(&session);
        assert!(refresh.starts_with("gtr_"));
        assert_eq!(access.split('.').nth(2).unwrap().len(), 40);
        let user = call(&server, "GET /auth/v1/user", Some(&access), None);
        assert_eq!(user.expect(200).json(), session["user"]);
        let rows = call(&server, "GET /rest/v1/bookings", Some(&access), None);
        assert_eq!(rows.expect(200).json().as_array().unwrap().len(), 3);
        server.bearer("GET /api/bookings", &access).expect(200);
    }
}

#[test]
fn bad_sign_ins_have_codes() {
    let server = Server::relaxed();
    let code = |line: &str, body: Value| {
        text(&call(&server, line, None, Some(&body)).expect(400).json()["error_code"])
    };
    let password = "POST /auth/v1/token?grant_type=password";
    let wrong = json!({ "email": ADA.0, "password": "x" });
    assert_eq!(code(password, wrong), "invalid_credentials");
    assert_eq!(code(password, json!({})), "validation_failed");
    assert_eq!(code("POST /auth/v1/token", json!({})), "validation_failed");
    let empty = "POST /auth/v1/token?grant_type=refresh_token";
    assert_eq!(code(empty, json!({})), "validation_failed");
}

// behaviour.md 1.18, 2.5
#[test]
fn the_parent_of_the_active_token_brings_the_same_successor() {
    let server = Server::relaxed();
    let (_, first) = login(&server, ADA);
    let (access, second) = pair(&refresh(&server, &first).expect(200).json());
    let (again, same) = pair(&refresh(&server, &first).expect(200).json());
    assert_eq!(second, same);
    assert_ne!(first, second);
    for token in [&access, &again] {
        call(&server, "GET /auth/v1/user", Some(token), None).expect(200);
    }
    refresh(&server, &second).expect(200);
}

#[test]
fn five_at_once_get_one_successor() {
    let server = Server::relaxed();
    let (_, token) = login(&server, ADA);
    let start = Barrier::new(5);
    let mut successors: Vec<String> = thread::scope(|scope| {
        let attempt = || {
            start.wait();
            pair(&refresh(&server, &token).expect(200).json()).1
        };
        let threads: Vec<_> = (0..5).map(|_| scope.spawn(attempt)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    successors.dedup();
    assert_eq!(successors.len(), 1);
}

// behaviour.md 1.18, 2.5
#[test]
fn an_older_token_ends_the_family() {
    let server = Server::relaxed();
    let (_, first) = login(&server, ADA);
    let (_, second) = pair(&refresh(&server, &first).expect(200).json());
    let (_, third) = pair(&refresh(&server, &second).expect(200).json());
    let (_, other_login) = login(&server, ADA);
    for token in [&first, &third, &second] {
        assert_eq!(refused(&server, token), "refresh_token_already_used");
    }
    refresh(&server, &other_login).expect(200);
}

// behaviour.md 1.18, 2.5
#[test]
fn a_session_ends_and_unknown_tokens_are_not_found() {
    let server = Server::relaxed();
    let (_, token) = login(&server, ADA);
    assert_eq!(refused(&server, "gtr_x"), "refresh_token_not_found");
    // A refresh does not move the end.
    server.clock(1_209_000);
    let (_, token) = pair(&refresh(&server, &token).expect(200).json());
    server.clock(1_209_601);
    assert_eq!(refused(&server, &token), "session_expired");
}

// behaviour.md 1.18
#[test]
fn the_code_travels_where_the_switch_says() {
    let server = Server::relaxed();
    let said = |place: &str| {
        server.switch(&json!({ "gotrue_code": place }));
        let reply = refresh(&server, "gtr_x").expect(400);
        let header = reply.header("x-sb-error-code").map(str::to_owned);
        (reply.json(), header)
    };
    let (code, msg) = (
        "refresh_token_not_found",
        "Invalid Refresh Token: Refresh Token Not Found",
    );
    let old = json!({ "code": 400, "msg": msg });
    assert_eq!(
        said("error_code"),
        (json!({ "code": 400, "error_code": code, "msg": msg }), None)
    );
    assert_eq!(said("header"), (old.clone(), Some(code.to_owned())));
    assert_eq!(
        said("code"),
        (json!({ "code": code, "message": msg }), None)
    );
    assert_eq!(said("number"), (old, None));
}

// behaviour.md 1.18, 2.7
#[test]
fn an_expired_access_token_is_403_to_gotrue_and_401_to_postgrest() {
    let server = Server::relaxed();
    let (access, _) = login(&server, ADA);
    server.clock(901);
    let own = call(&server, "GET /auth/v1/user", Some(&access), None).expect(403);
    assert_eq!(own.json()["error_code"], "bad_jwt");
    let challenge = Some("Bearer error=\"invalid_token\", error_description=\"JWT expired\"");
    let expired =
        json!({ "code": "PGRST303", "details": null, "hint": null, "message": "JWT expired" });
    let line = "GET /rest/v1/bookings";
    for reply in [
        call(&server, line, Some(&access), None),
        server.bearer("GET /api/bookings", &access),
    ] {
        let reply = reply.expect(401);
        assert_eq!(reply.header("www-authenticate"), challenge);
        assert_eq!(reply.json(), expired);
    }
    server.switch(&json!({ "gotrue_dead": 403 }));
    for reply in [
        call(&server, line, Some(&access), None),
        server.bearer("GET /api/bookings", &access),
    ] {
        assert_eq!(reply.expect(403).json(), own.json());
    }
}

#[test]
fn no_token_and_foreign_tokens() {
    let server = Server::relaxed();
    let code = |line: &str, token: Option<&str>, status| {
        call(&server, line, token, None).expect(status).json()
    };
    let (user, rows) = ("GET /auth/v1/user", "GET /rest/v1/bookings");
    assert_eq!(code(user, None, 401)["error_code"], "no_authorization");
    assert_eq!(code(rows, None, 401)["code"], "42501");
    let foreign = server.sanctum(ADA);
    let (_, refresh) = login(&server, ADA);
    for token in [&foreign, &refresh] {
        assert_eq!(code(user, Some(token), 403)["error_code"], "bad_jwt");
        assert_eq!(code(rows, Some(token), 401)["code"], "PGRST301");
    }
}

#[test]
fn logout_is_local_or_global() {
    let server = Server::relaxed();
    let logins: Vec<_> = (0..3).map(|_| login(&server, ADA)).collect();
    let (_, graces) = login(&server, GRACE);
    logout(&server, "?scope=local", &logins[0].0).expect(204);
    assert_eq!(refused(&server, &logins[0].1), "refresh_token_not_found");
    let reply = logout(&server, "?scope=local", &logins[0].0).expect(403);
    assert_eq!(reply.json()["error_code"], "session_not_found");
    refresh(&server, &logins[1].1).expect(200);
    logout(&server, "?scope=global", &logins[2].0).expect(204);
    assert_eq!(refused(&server, &logins[2].1), "refresh_token_not_found");
    refresh(&server, &logins[1].1).expect(400);
    refresh(&server, &graces).expect(200);
}
