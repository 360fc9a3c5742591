//! Passport, simplejwt and Supabase, as their servers see the client (behaviour.md 1.18).

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const SIMPLE_LOGIN: &str = "POST https://api.test/api/token/";
const SIMPLE_REFRESH: &str = "POST https://api.test/api/token/refresh/";
const BLACKLIST: &str = "POST https://api.test/api/token/blacklist/";
const GOTRUE: &str = "POST https://api.test/auth/v1/token?grant_type=refresh_token";
const ROWS: &str = "GET https://api.test/rest/v1/rows";
/// Public, so it is no canary.
const KEY: &str = "public-anon-key";

fn passport() -> World {
    World::new(&json!({"preset": "passport", "clientId": "demo"}))
}

fn simplejwt() -> World {
    World::new(&json!({"preset": "simplejwt"}))
}

fn supabase() -> World {
    World::new(&json!({
        "preset": "supabase", "apiKey": KEY, "allowedOrigins": ["https://files.test"]
    }))
}

fn sent_json(call: &Call) -> Value {
    let kind = call.header("content-type");
    assert_eq!(kind.as_deref(), Some("application/json"));
    serde_json::from_str(&call.text()).unwrap()
}

/// What a failed refresh says, and that the credential is not sent again.
async fn refused(world: &World, route: &str, answer: &Value) -> String {
    world.server.script(route, std::slice::from_ref(answer));
    world.sign_in(1).await;
    let before = world.server.count(route);
    let code = fails_with(world.core.refresh(), &answer.to_string()).await;
    assert_eq!(fails_with(world.core.refresh(), "again").await, code);
    assert_eq!(world.server.count(route), before + 1, "{answer}");
    code
}

// 1.18
#[wasm_bindgen_test]
async fn passport_sends_a_form_with_its_client_id_and_has_nothing_to_revoke_with() {
    let world = passport();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    done(world.core.refresh(), "refresh").await;
    done(world.core.logout(), "logout").await;
    let calls = world.server.calls("");
    assert_eq!(calls.len(), 1);
    is_guarded(&calls[0]);
    let expected = format!(
        "grant_type=refresh_token&refresh_token={}&client_id=demo",
        rt(1)
    );
    assert_eq!(calls[0].text(), expected);
    assert_eq!(calls[0].header("authorization"), None);
    assert_eq!(calls[0].credentials(), "omit");
    assert_eq!(world.in_session(), None);
}

// 1.18, 2.5: league/oauth2-server 9.x says invalid_grant, 8.x says 401 invalid_request
#[wasm_bindgen_test]
async fn passport_calls_a_dead_refresh_token_by_two_names() {
    for answer in [
        json!({"status": 400, "json": {"error": "invalid_grant"}}),
        json!({"status": 401, "json": {
            "error": "invalid_request", "hint": "Token has been revoked",
            "message": "The refresh token is invalid."
        }}),
    ] {
        let world = passport();
        assert_eq!(refused(&world, TOKEN, &answer).await, "token_expired");
        assert_eq!(world.status(), "reauth_required", "{answer}");
        assert_eq!(world.host.times("reauth_required"), 1, "{answer}");
    }
    let malformed = json!({"status": 400, "json": {"error": "invalid_request"}});
    assert_eq!(refused(&passport(), TOKEN, &malformed).await, "config");
    // Of any other server the 401 says that the call is wrong.
    let other = json!({"status": 401, "json": {"error": "invalid_request"}});
    assert_eq!(refused(&World::oauth2(), TOKEN, &other).await, "config");
}

// 1.18, 1.7, 1.12, 1.20: `access` and `refresh`, a lifetime from the JWT, a refresh token that stays
#[wasm_bindgen_test]
async fn simplejwt_reads_the_lifetime_from_the_token_and_keeps_its_refresh_token() {
    let world = simplejwt();
    let clock = Clock::new();
    let seconds = (clock.now() / 1_000.0).floor();
    let token = |n: u32| jwt(&json!({"iat": seconds, "exp": seconds + 300.0, "jti": n}));
    let signed_in = json!({"access": token(1), "refresh": rt(1)});
    world
        .server
        .script(SIMPLE_LOGIN, &[json!({"json": signed_in})]);
    let answers = [2, 3].map(|n| json!({"json": {"access": token(n)}}));
    world.server.script(SIMPLE_REFRESH, &answers);
    let last = json!({"token": token(3), "json": {}});
    world.server.script("GET https://api.test/x", &[last]);

    let credentials = json!({"username": "ada", "password": "x"});
    let session = done(world.core.login(object(&credentials), false), "login").await;
    assert!((number(&session, "lifetime") - 300_000.0).abs() < 2.0);
    assert_eq!(sent_json(&world.server.calls(SIMPLE_LOGIN)[0]), credentials);
    for name in ["first", "second"] {
        let session = done(world.core.refresh(), name).await;
        assert!((number(&session, "lifetime") - 300_000.0).abs() < 2.0);
    }
    for call in world.server.calls(SIMPLE_REFRESH) {
        is_guarded(&call);
        assert_eq!(sent_json(&call), json!({"refresh": rt(1)}));
        assert_eq!(call.header("authorization"), None);
    }
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(SIMPLE_REFRESH), 2);
}

// 1.18: ROTATE_REFRESH_TOKENS, and the blacklist at sign-out
#[wasm_bindgen_test]
async fn simplejwt_rotates_and_blacklists_the_newest() {
    let world = simplejwt();
    let renewed = json!({"json": {"access": at(2), "refresh": rt(2)}});
    world.server.script(SIMPLE_REFRESH, &[renewed]);
    world.server.script(BLACKLIST, &[json!({"json": {}})]);
    world.sign_in(1).await;
    done(world.core.refresh(), "refresh").await;
    done(world.core.logout(), "logout").await;
    let calls = world.server.calls(BLACKLIST);
    assert_eq!(calls.len(), 1);
    assert_eq!(sent_json(&calls[0]), json!({"refresh": rt(2)}));
    assert_eq!(world.in_session(), None);
}

// 1.18, 2.5
#[wasm_bindgen_test]
async fn simplejwt_codes_of_a_dead_refresh_token() {
    for (code, said) in [
        ("token_not_valid", "token_expired"),
        ("no_active_account", "token_revoked"),
        ("password_changed", "token_revoked"),
    ] {
        let answer = json!({"status": 401, "json": {"detail": "Token is invalid", "code": code}});
        let world = simplejwt();
        assert_eq!(refused(&world, SIMPLE_REFRESH, &answer).await, said);
        assert_eq!(world.status(), "reauth_required", "{code}");
    }
}

// 1.18: the key goes along wherever the gateway is asked, the queries stay in the URLs
#[wasm_bindgen_test]
async fn supabase_sends_its_key_with_every_call_of_its_own() {
    let world = supabase();
    let gotrue = |n: u32, seconds: f64| {
        json!({"json": {
            "access_token": at(n), "refresh_token": rt(n), "token_type": "bearer",
            "expires_in": 3600, "expires_at": seconds + 3600.0, "user": {"id": "u1"}
        }})
    };
    let clock = Clock::new();
    let seconds = (clock.now() / 1_000.0).floor();
    let routes = [
        "POST https://api.test/auth/v1/token?grant_type=password",
        GOTRUE,
        "GET https://api.test/auth/v1/user",
        "POST https://api.test/auth/v1/logout?scope=local",
        "POST https://api.test/auth/v1/signup",
        "POST https://api.test/auth/v1/logout?scope=global",
    ];
    world.server.script(routes[0], &[gotrue(1, seconds)]);
    world.server.script(routes[1], &[gotrue(2, seconds)]);
    world.server.script(routes[2], &[only(2)]);
    world.server.script(routes[3], &[json!({"status": 204})]);
    world.server.script(routes[4], &[gotrue(3, seconds)]);
    world.server.script(routes[5], &[json!({"status": 204})]);

    let credentials = json!({"email": "ada@example.com", "password": "x"});
    let session = done(world.core.login(object(&credentials), false), "login").await;
    assert_eq!(text(&get(&session, "user"), "id"), "u1");
    assert!((number(&session, "lifetime") - 3_600_000.0).abs() < 2.0);
    done(world.core.refresh(), "refresh").await;
    done(world.core.me(), "me").await;
    done(world.core.logout(), "logout").await;
    done(world.core.register(object(&credentials), false), "signup").await;
    done(world.core.logout_all(), "logoutAll").await;

    let calls = world.server.calls("");
    let seen = calls
        .iter()
        .map(|call| format!("{} {}", call.method(), call.url()));
    assert_eq!(seen.collect::<Vec<_>>(), routes);
    for call in &calls {
        assert_eq!(
            call.header("apikey").as_deref(),
            Some(KEY),
            "{}",
            call.url()
        );
        assert!(!call.url().contains(CANARY));
    }
    assert_eq!(sent_json(&calls[0]), credentials);
    assert_eq!(sent_json(&calls[1]), json!({"refresh_token": rt(1)}));
    let bearers = calls.iter().map(|call| call.header("authorization"));
    let expected = [None, None, bearer(2), bearer(2), None, bearer(3)];
    assert_eq!(bearers.collect::<Vec<_>>(), expected);
}

// 1.18, 6.6: the key is for the gateway, not for whoever else gets the token
#[wasm_bindgen_test]
async fn supabase_sends_its_key_to_its_own_origin_only_and_the_callers_wins() {
    const FILES: &str = "GET https://files.test/";
    const ELSEWHERE: &str = "GET https://elsewhere.test/";
    let world = supabase();
    for route in [ROWS, FILES, ELSEWHERE] {
        world.server.script(route, &[json!({"json": []})]);
    }
    world.sign_in(1).await;
    let keys = |route: &str| -> Vec<_> {
        let calls = world.server.calls(route);
        calls.iter().map(|call| call.header("apikey")).collect()
    };
    assert_eq!(world.get_status("/rest/v1/rows").await, 200);
    for url in ["https://files.test/a", "https://elsewhere.test/a"] {
        let request = request_with(url, &js(&json!({})));
        assert_eq!(status(world.fetch(&request), url).await, 200);
    }
    assert_eq!(world.server.tokens_at(ROWS), [bearer(1)]);
    assert_eq!(world.server.tokens_at(FILES), [bearer(1)]);
    assert_eq!(world.server.tokens_at(ELSEWHERE), [None]);
    assert_eq!(keys(ROWS), [Some(KEY.to_owned())]);
    assert_eq!((keys(FILES), keys(ELSEWHERE)), (vec![None], vec![None]));
    let own = js(&json!({"headers": {"ApiKey": "my-own"}}));
    let own = request_with("https://api.test/rest/v1/rows", &own);
    assert_eq!(status(world.fetch(&own), "own key").await, 200);
    assert_eq!(keys(ROWS)[1].as_deref(), Some("my-own"));
}

// 6.6: an auth endpoint elsewhere is not behind that gateway
#[wasm_bindgen_test]
async fn an_endpoint_of_another_origin_gets_no_key() {
    const ELSEWHERE: &str = "POST https://login.test/sign-in";
    let world = World::new(&json!({
        "preset": "supabase", "apiKey": KEY,
        "endpoints": {"login": "https://login.test/sign-in"}
    }));
    world.server.script(ELSEWHERE, &[grant(1)]);
    world.server.script(GOTRUE, &[grant(2)]);
    let credentials = object(&json!({"email": "ada@example.com"}));
    done(world.core.login(credentials, false), "login").await;
    done(world.core.refresh(), "refresh").await;
    let key = |route: &str| world.server.calls(route)[0].header("apikey");
    assert_eq!((key(ELSEWHERE), key(GOTRUE)), (None, Some(KEY.to_owned())));
}

// 4.9: the replay carries the key as the first send did
#[wasm_bindgen_test]
async fn supabase_sends_its_key_with_a_replay() {
    const INSERT: &str = "POST https://api.test/rest/v1/rows";
    let world = supabase();
    world.server.script(INSERT, &[only(2)]);
    world.server.script(GOTRUE, &[grant(2)]);
    world.sign_in(1).await;
    let insert = post("/rest/v1/rows", &r#"{"a":1}"#.into());
    assert_eq!(status(world.fetch(&insert), "insert").await, 200);
    for call in world.server.calls(INSERT) {
        assert_eq!(call.header("apikey").as_deref(), Some(KEY));
        assert_eq!(call.text(), r#"{"a":1}"#);
    }
    assert_eq!(world.server.tokens_at(INSERT), [bearer(1), bearer(2)]);
}

// 1.18, 2.5: GoTrue spells its codes in three places
#[wasm_bindgen_test]
async fn supabase_codes_are_found_in_all_three_places() {
    for (code, said) in [
        ("refresh_token_not_found", "token_revoked"),
        ("refresh_token_already_used", "token_revoked"),
        ("session_not_found", "token_revoked"),
        ("session_expired", "token_expired"),
        ("validation_failed", "config"),
    ] {
        for answer in [
            json!({"status": 400, "json": {"code": 400, "error_code": code, "msg": "no"}}),
            json!({"status": 400, "json": {"code": code, "message": "no"}}),
            json!({"status": 400, "json": {"msg": "no"}, "headers": {"x-sb-error-code": code}}),
            json!({"status": 403, "text": "no", "headers": {"x-sb-error-code": code}}),
        ] {
            assert_eq!(
                refused(&supabase(), GOTRUE, &answer).await,
                said,
                "{answer}"
            );
        }
    }
    // The header is Supabase's alone.
    let foreign = json!({"status": 400, "headers": {"x-sb-error-code": "session_not_found"}});
    let world = World::oauth2();
    world.server.script(TOKEN, &[foreign]);
    world.sign_in(1).await;
    assert_eq!(
        fails_with(world.core.refresh(), "no").await,
        "refresh_failed"
    );
}

// 6.18, 5.11: each of them ends here whatever the server says
#[wasm_bindgen_test]
async fn supabase_signs_out_here_or_everywhere_by_the_scope() {
    const ALL: &str = "POST https://api.test/auth/v1/logout?scope=global";
    let world = supabase();
    world.server.script(ALL, &[json!({"status": 500})]);
    world.sign_in(1).await;
    let result = done(world.core.logout_all(), "logoutAll").await;
    assert_eq!(get(&result, "confirmed"), JsValue::FALSE);
    assert_eq!(world.server.tokens_at(ALL), [bearer(1)]);
    assert_eq!(
        (world.in_session(), world.status().as_str()),
        (None, "signed_out")
    );
}

// 2.5, 1.18: another refresh of the same session is under way; its token may be in storage by then
#[wasm_bindgen_test]
async fn a_409_is_looked_into_again_after_a_moment() {
    for stored in [false, true] {
        let world = supabase();
        let clock = Clock::new();
        let conflict = json!({"status": 409, "json": {"error_code": "conflict"}});
        world.server.script(GOTRUE, &[conflict, grant(2)]);
        world.server.script(ROWS, &[only(2)]);
        world.sign_in(1).await;
        let refresh = world.core.refresh();
        until("the first call", || world.host.told("refresh_failed")).await;
        settle().await;
        if stored {
            world.refreshed_elsewhere(2);
        }
        clock.advance(499.0);
        settle().await;
        assert_eq!(world.server.count(GOTRUE), 1);
        clock.advance(1_502.0);
        done(refresh, "refresh").await;
        assert_eq!(world.server.count(GOTRUE), if stored { 1 } else { 2 });
        assert_eq!(world.get_status("/rest/v1/rows").await, 200);
        assert!(!world.host.told("circuit_opened"));
        assert!(!world.host.told("reauth_required"));
    }
}

// 1.18, known-failures 26: too many requests are no reason to sign anybody out
#[wasm_bindgen_test]
async fn over_request_rate_limit_keeps_the_session() {
    let world = supabase();
    let busy = json!({"status": 429, "json": {"error_code": "over_request_rate_limit"}});
    world.server.script(GOTRUE, &[busy]);
    world.sign_in(1).await;
    assert_eq!(
        fails_with(world.core.refresh(), "busy").await,
        "refresh_failed"
    );
    assert_eq!(world.status(), "authenticated");
    assert!(world.in_session().unwrap().contains(&rt(1)));
}
