//! Signing in with each preset, and with tokens from elsewhere.

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const LOGIN: &str = "POST https://api.test/api/auth/login";

fn sanctum_answer(n: u32) -> Value {
    json!({
        "token": format!("{n}|{}", at(n)), "type": "short_lived", "expires_in_minutes": 60,
        "user": {"id": 1, "name": "Ada"}
    })
}

fn sent_json(call: &Call) -> Value {
    assert_eq!(
        call.header("content-type").as_deref(),
        Some("application/json")
    );
    serde_json::from_str(&call.text()).unwrap()
}

// 1.2, 1.18: `id|plaintext` is a token.
#[wasm_bindgen_test]
async fn sanctum_gets_the_credentials_remember_me_and_a_device_name() {
    let world = World::sanctum();
    world
        .server
        .script(LOGIN, &[json!({"status": 201, "json": sanctum_answer(7)})]);
    world
        .server
        .script("GET https://api.test/", &[json!({"json": {}})]);
    let credentials = js(&json!({"email": "ada@example.com", "password": "x"}));
    let session = done(
        world.core.login(credentials.unchecked_into(), true),
        "login",
    )
    .await;

    let call = &world.server.calls(LOGIN)[0];
    let sent = sent_json(call);
    assert_eq!(sent["email"], "ada@example.com");
    assert_eq!(sent["remember_me"], true);
    assert!(!sent["device_name"].as_str().unwrap().is_empty());
    assert_eq!(call.header("accept").as_deref(), Some("application/json"));
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.credentials(), "omit");

    assert_eq!(get(&session, "remember"), JsValue::TRUE);
    assert_eq!(text(&get(&session, "user"), "name"), "Ada");
    assert!((number(&session, "lifetime") - 3_600_000.0).abs() < 2.0);
    spill(&session);
    assert_eq!(world.get_status("/x").await, 200);
    let expected = Some(format!("Bearer 7|{}", at(7)));
    assert_eq!(world.server.tokens_at("GET https://api.test/x"), [expected]);
    assert_eq!(world.host.events(), ["signed_in"]);
    assert_eq!(
        get(&world.host.detail("signed_in"), "elsewhere"),
        JsValue::FALSE
    );
    assert_eq!(world.status(), "authenticated");
}

// README: Presets
#[wasm_bindgen_test]
async fn a_device_name_of_the_callers_own_stays() {
    let world = World::sanctum();
    world
        .server
        .script(LOGIN, &[json!({"status": 201, "json": sanctum_answer(1)})]);
    let credentials = js(&json!({"device_name": "lab", "remember_me": "yes"}));
    done(
        world
            .core
            .login(credentials.clone().unchecked_into(), false),
        "login",
    )
    .await;
    let sent = sent_json(&world.server.calls(LOGIN)[0]);
    assert_eq!(sent, json!({"device_name": "lab", "remember_me": "yes"}));
    assert_eq!(
        js_sys::Object::keys(credentials.unchecked_ref::<js_sys::Object>()).length(),
        2
    );
}

// 1.12, 1.18: an answer without a refresh token keeps the one there is.
#[wasm_bindgen_test]
async fn django_signs_in_and_keeps_its_refresh_token() {
    const REFRESH: &str = "POST https://api.test/auth/refresh/";
    let world = World::new(&json!({"preset": "django"}));
    let answer = json!({"access_token": at(1), "refresh_token": rt(1), "expires_in": 900, "user": {"id": 2}});
    world.server.script(
        "POST https://api.test/auth/login/",
        &[json!({"json": answer})],
    );
    let renewed =
        |n| json!({"json": {"access_token": at(n), "refresh_token": null, "expires_in": 900}});
    world.server.script(REFRESH, &[renewed(2), renewed(3)]);
    let credentials = js(&json!({"email": "a", "password": "b"}));
    done(
        world.core.login(credentials.unchecked_into(), false),
        "login",
    )
    .await;
    let login = &world.server.calls("POST https://api.test/auth/login/")[0];
    assert_eq!(sent_json(login), json!({"email": "a", "password": "b"}));
    done(world.core.refresh(), "first").await;
    done(world.core.refresh(), "second").await;
    for call in world.server.calls(REFRESH) {
        assert_eq!(sent_json(&call), json!({"refresh_token": rt(1)}));
        assert_eq!(call.header("authorization"), None);
    }
    assert_eq!(world.server.count(REFRESH), 2);
}

// RFC 6749 §4.1.3; 6.9: a public client has no secret.
#[wasm_bindgen_test]
async fn oauth2_exchanges_a_code() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(1)]);
    let details = js(&json!({
        "code": "a b&c=d", "code_verifier": "v", "redirect_uri": "http://127.0.0.1:1/cb?x=ü"
    }));
    done(world.core.login(details.unchecked_into(), false), "login").await;
    let call = &world.server.calls(TOKEN)[0];
    let kind = call.header("content-type").unwrap();
    assert!(
        kind.starts_with("application/x-www-form-urlencoded"),
        "{kind}"
    );
    let sent = js_sys::JSON::stringify(&form_fields(&call.text())).unwrap();
    let mut sent: Vec<(String, String)> = serde_json::from_str(&String::from(sent)).unwrap();
    sent.sort();
    let expected = [
        ("client_id", "demo"),
        ("code", "a b&c=d"),
        ("code_verifier", "v"),
        ("grant_type", "authorization_code"),
        ("redirect_uri", "http://127.0.0.1:1/cb?x=ü"),
    ];
    assert_eq!(
        sent,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

// README: States, events, errors
#[wasm_bindgen_test]
async fn a_refused_login_shows_the_answer_and_starts_nothing() {
    let world = World::sanctum();
    world.server.script(
        LOGIN,
        &[json!({"status": 422, "json": {"message": "no", "errors": {"email": ["bad"]}}})],
    );
    let error = fails(
        world.core.login(js(&json!({})).unchecked_into(), true),
        "login",
    )
    .await;
    assert_eq!(text(&error, "code"), "rejected");
    assert!((number(&error, "status") - 422.0).abs() < f64::EPSILON);
    assert_eq!(text(&get(&error, "cause"), "message"), "no");
    settle().await;
    assert_eq!(world.status(), "anonymous");
    assert!(world.in_local().is_none() && world.in_session().is_none());
    assert!(world.host.events().is_empty());
}

// 1.1, 1.3: a success needs a token, and OAuth 2 a type that can be sent.
#[wasm_bindgen_test]
async fn a_login_answer_without_a_usable_token_is_an_error() {
    let world = World::oauth2();
    for answer in [
        json!({"text": "<html>"}),
        json!({"json": []}),
        json!({"json": {"token_type": "Bearer"}}),
        json!({"json": {"access_token": "", "token_type": "Bearer"}}),
        json!({"json": {"access_token": "a b", "token_type": "Bearer"}}),
        json!({"json": {"access_token": "a\r\nX: y", "token_type": "Bearer"}}),
        json!({"json": {"access_token": 5, "token_type": "Bearer"}}),
        json!({"json": {"access_token": "a"}}),
        json!({"json": {"access_token": "a", "token_type": "mac"}}),
        json!({"status": 204}),
    ] {
        world.server.script(TOKEN, std::slice::from_ref(&answer));
        let login = world.core.login(js(&json!({})).unchecked_into(), false);
        assert_eq!(
            fails_with(login, "login").await,
            "invalid_response",
            "{answer}"
        );
        assert_eq!(world.status(), "anonymous", "{answer}");
    }
}

// 4.11: the native error is the cause, as the same object.
#[wasm_bindgen_test]
async fn a_login_without_an_answer_is_a_network_error() {
    let world = World::sanctum();
    world.server.script(LOGIN, &[json!({"network": true})]);
    let error = fails(
        world.core.login(js(&json!({})).unchecked_into(), false),
        "login",
    )
    .await;
    assert_eq!(text(&error, "code"), "network");
    assert_eq!(get(&error, "retryable"), JsValue::TRUE);
    assert!(js_sys::Object::is(
        &get(&error, "cause"),
        &world.server.calls(LOGIN)[0].error()
    ));
}

// README: States, events, errors
#[wasm_bindgen_test]
async fn a_login_that_takes_too_long_is_a_timeout() {
    let world = World::sanctum();
    let clock = Clock::new();
    world.server.script(LOGIN, &[json!({"hold": "never"})]);
    let login = world.core.login(js(&json!({})).unchecked_into(), false);
    until("the call", || world.server.count(LOGIN) == 1).await;
    clock.advance(10_001.0);
    assert_eq!(fails_with(login, "login").await, "timeout");
}

// README: Use it
#[wasm_bindgen_test]
async fn registering_signs_in() {
    let world = World::sanctum();
    world.server.script(
        "POST https://api.test/api/auth/register",
        &[json!({"status": 201, "json": sanctum_answer(1)})],
    );
    let details = js(&json!({"name": "Ada"}));
    done(
        world.core.register(details.unchecked_into(), false),
        "register",
    )
    .await;
    assert_eq!(world.status(), "authenticated");
    assert!(world.in_session().is_some());
}

// README: States, events, errors
#[wasm_bindgen_test]
async fn calls_without_an_endpoint_name_what_is_missing() {
    let world = World::new(&json!({}));
    world.sign_in(1).await;
    let empty = || js(&json!({})).unchecked_into();
    for (call, field) in [
        (world.core.login(empty(), false), "endpoints.login"),
        (world.core.register(empty(), false), "endpoints.register"),
        (world.core.logout_all(), "endpoints.logoutAll"),
        (world.core.me(), "endpoints.me"),
    ] {
        let error = fails(call, field).await;
        assert_eq!(text(&error, "code"), "config", "{field}");
        assert_eq!(text(&error, "field"), field);
    }
}

// README: Options; '' is none: the preset knows an endpoint that this server has not.
#[wasm_bindgen_test]
async fn an_empty_endpoint_is_none() {
    let world =
        World::new(&json!({"preset": "sanctum", "endpoints": {"logout": "", "logoutAll": ""}}));
    world.sign_in(1).await;
    let error = fails(world.core.logout_all(), "logoutAll").await;
    assert_eq!(text(&error, "field"), "endpoints.logoutAll");
    done(world.core.logout(), "logout").await;
    assert_eq!(world.server.count(""), 0);
}

// README: Use it
#[wasm_bindgen_test]
async fn set_session_reads_both_spellings() {
    let world = World::oauth2();
    world
        .server
        .script("GET https://api.test/", &[json!({"json": {}})]);
    for (n, set) in [
        json!({"access_token": at(0), "expires_in": 60}),
        json!({"accessToken": at(1), "expiresIn": 60, "user": {"id": 5}}),
        json!({"accessToken": at(2), "expiresAt": "2999-01-01T00:00:00Z", "refreshToken": rt(2)}),
    ]
    .iter()
    .enumerate()
    {
        let session = world.begin(set, false).await;
        assert!(number(&session, "expiresAt") > 0.0);
        assert_eq!(world.get_status(&format!("/{n}")).await, 200);
    }
    let expected = [bearer(0), bearer(1), bearer(2)];
    assert_eq!(world.server.tokens_at("GET https://api.test/"), expected);
}

// 1.2
#[wasm_bindgen_test]
async fn set_session_refuses_what_cannot_stand_in_a_header() {
    let world = World::oauth2();
    for bad in [
        json!({}),
        json!(null),
        json!([]),
        json!({"accessToken": ""}),
        json!({"accessToken": "a\nb"}),
        json!({"accessToken": "tökén"}),
        json!({"accessToken": {"toString": 1}}),
    ] {
        let error = fails(world.core.set_session(js(&bad), false), "setSession").await;
        assert_eq!(text(&error, "code"), "config", "{bad}");
        assert_eq!(text(&error, "field"), "tokens", "{bad}");
    }
    assert_eq!(world.status(), "anonymous");
}

// README: Use it
#[wasm_bindgen_test]
async fn me_asks_with_the_token_and_repairs_a_401() {
    const ME: &str = "GET https://api.test/oauth/userinfo";
    let world = World::oauth2();
    world
        .server
        .script(ME, &[json!({"token": at(2), "json": {"name": "Ada"}})]);
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    let person = done(world.core.me(), "me").await;
    assert_eq!(text(&person, "name"), "Ada");
    assert_eq!(world.server.tokens_at(ME), [bearer(1), bearer(2)]);
    world
        .server
        .script(ME, &[json!({"status": 500, "json": {"message": "no"}})]);
    assert_eq!(fails_with(world.core.me(), "me").await, "rejected");
    world.server.script(ME, &[json!({"text": "<html>"})]);
    assert_eq!(fails_with(world.core.me(), "me").await, "invalid_response");
}

// README: States, events, errors
#[wasm_bindgen_test]
async fn calls_that_need_a_person_say_so() {
    let world = World::sanctum();
    assert_eq!(
        fails_with(world.core.refresh(), "refresh").await,
        "not_signed_in"
    );
    assert_eq!(
        fails_with(world.core.logout_all(), "logoutAll").await,
        "not_signed_in"
    );
    assert!(done(world.core.get_session(), "getSession").await.is_null());
    assert!(
        done(world.core.get_access_token(None), "getAccessToken")
            .await
            .is_null()
    );
}

// 5.11: who signs out while a login is on its way is not signed in by its answer.
#[wasm_bindgen_test]
async fn a_login_that_lands_after_the_logout_is_discarded_and_revoked() {
    let world = World::oauth2();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(1), "hold": "login"})]);
    world.server.script(REVOKE, &[json!({})]);
    for remember in [false, true] {
        let login = world.core.login(js(&json!({})).unchecked_into(), remember);
        let calls = world.server.count(TOKEN) + 1;
        until("the call", || world.server.count(TOKEN) == calls).await;
        done(world.core.logout(), "logout").await;
        world.server.open("login");
        assert_eq!(fails_with(login, "login").await, "signed_out");
        assert_ne!(world.status(), "authenticated");
        assert!(world.in_local().is_none() && world.in_session().is_none());
        assert!(!world.host.told("signed_in"));
    }
    assert_eq!(world.server.count(REVOKE), 2);
    assert!(world.server.got(REVOKE, &rt(1)));
}

// 5.11, 5.12: the sign-in that was begun last has the last word.
#[wasm_bindgen_test]
async fn a_slow_login_does_not_replace_a_later_one() {
    let world = World::oauth2();
    let slow = json!({"json": tokens(1), "hold": "slow"});
    world.server.script(TOKEN, &[slow, grant(2)]);
    world.server.script(REVOKE, &[json!({})]);
    world
        .server
        .script("GET https://api.test/x", &[json!({"json": {}})]);
    let code = |code: &str| js(&json!({"code": code})).unchecked_into();
    let first = world.core.login(code("one"), false);
    until("the call", || world.server.count(TOKEN) == 1).await;
    done(world.core.login(code("two"), false), "login").await;
    world.server.open("slow");
    assert_eq!(fails_with(first, "login").await, "user_changed");
    assert!(world.server.got(REVOKE, &rt(1)));
    assert_eq!(world.server.count(REVOKE), 1);
    assert!(world.in_session().unwrap().contains(&rt(2)));
    assert_eq!(world.host.events(), ["signed_in"]);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(
        world.server.tokens_at("GET https://api.test/x"),
        [bearer(2)]
    );
}

// known-failures 46: React's strict mode runs an effect twice, an authorization code works once
#[wasm_bindgen_test]
async fn the_same_sign_in_again_while_it_is_under_way_is_one_call() {
    let world = World::oauth2();
    let held = json!({"json": tokens(1), "hold": "code"});
    world.server.script(TOKEN, &[held, json!({"status": 400})]);
    let code = || js(&json!({"code": "once"})).unchecked_into();
    let (first, second) = (
        world.core.login(code(), false),
        world.core.login(code(), false),
    );
    until("the call", || world.server.count(TOKEN) == 1).await;
    world.server.open("code");
    done(first, "first").await;
    done(second, "second").await;
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.host.events(), ["signed_in"]);
}

// 1.9: the `iat` of a token that was minted earlier says nothing about the clocks.
#[wasm_bindgen_test]
async fn a_token_that_is_handed_over_is_believed_for_what_is_left() {
    let world = World::new(&json!({"preset": "django"}));
    let clock = Clock::new();
    let seconds = (clock.now() / 1_000.0).floor();
    for expires_at in [true, false] {
        let claims = json!({"iat": seconds - 3_000.0, "exp": seconds + 600.0});
        let mut held = json!({"accessToken": jwt(&claims)});
        if expires_at {
            held["expiresAt"] = json!(seconds + 600.0);
        }
        let session = world.begin(&held, false).await;
        let left = number(&session, "expiresAt") - clock.now();
        assert!((598_000.0..=600_000.0).contains(&left), "{left}");
        let token = world.core.get_access_token(None);
        assert_eq!(
            done(token, "token").await,
            held["accessToken"].as_str().unwrap()
        );

        let claims = json!({"iat": seconds - 7_200.0, "exp": seconds - 3_600.0});
        let mut held = json!({"accessToken": jwt(&claims)});
        if expires_at {
            held["expiresAt"] = json!(seconds - 3_600.0);
        }
        let session = world.begin(&held, false).await;
        assert!(number(&session, "expiresAt") < clock.now());
        for validity in [None, Some(60_000.0)] {
            let token = done(world.core.get_access_token(validity), "token").await;
            assert!(token.is_null());
        }
    }
}
