//! The refresh call itself, and asking for a token (behaviour.md 1.11, 1.18, 1.19, 6.7).

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// One refresh of a session with these options, as the server saw it.
async fn refreshed_with(options: &Value, route: &str) -> Call {
    let world = World::new(options);
    world.server.script(route, &[grant(2)]);
    world.sign_in(1).await;
    done(world.core.refresh(), route).await;
    let call = world.server.calls(route).remove(0);
    assert_eq!(world.server.count(""), 1, "{route}");
    call
}

// 1.18, 1.19, 6.7
#[wasm_bindgen_test]
async fn oauth2_sends_a_form_with_the_refresh_token_in_the_body_only() {
    let options = json!({"preset": "oauth2", "clientId": "a b&c", "scope": "openid profile"});
    let call = refreshed_with(&options, TOKEN).await;
    is_guarded(&call);
    assert_eq!(call.credentials(), "omit");
    assert_eq!(call.header("authorization"), None);
    assert_eq!(
        call.header("content-type").as_deref(),
        Some("application/x-www-form-urlencoded")
    );
    let expected = format!(
        "grant_type=refresh_token&refresh_token={}&client_id=a%20b%26c&scope=openid%20profile",
        rt(1)
    );
    assert_eq!(call.text(), expected);
}

// 1.18, 1.19, 6.7
#[wasm_bindgen_test]
async fn sanctum_sends_the_access_token_as_bearer_and_no_body() {
    let call = refreshed_with(&json!({"preset": "sanctum"}), SANCTUM).await;
    is_guarded(&call);
    assert_eq!(call.credentials(), "omit");
    assert_eq!(call.header("authorization"), bearer(1));
    assert_eq!(call.header("content-type"), None);
    assert_eq!(call.text(), "");
}

// 1.18, 1.19, 6.7
#[wasm_bindgen_test]
async fn django_sends_json() {
    let call = refreshed_with(
        &json!({"preset": "django"}),
        "POST https://api.test/auth/refresh/",
    )
    .await;
    is_guarded(&call);
    assert_eq!(call.credentials(), "omit");
    assert_eq!(call.header("authorization"), None);
    assert_eq!(
        call.header("content-type").as_deref(),
        Some("application/json")
    );
    assert_eq!(call.text(), format!(r#"{{"refresh_token":"{}"}}"#, rt(1)));
}

// 1.18, 1.19, 6.7
#[wasm_bindgen_test]
async fn a_refresh_call_of_ones_own_is_made_as_described() {
    let endpoints = json!({"refresh": "https://auth.test/renew"});
    let json_call = json!({"endpoints": endpoints, "refreshCall": {"field": "refresh"}});
    let call = refreshed_with(&json_call, "POST https://auth.test/renew").await;
    is_guarded(&call);
    assert_eq!(call.text(), format!(r#"{{"refresh":"{}"}}"#, rt(1)));
    let bearer_call =
        json!({"endpoints": endpoints, "refreshCall": {"send": "bearer", "method": "GET"}});
    let call = refreshed_with(&bearer_call, "GET https://auth.test/renew").await;
    is_guarded(&call);
    assert_eq!(
        call.header("authorization"),
        Some(format!("Bearer {}", rt(1)))
    );
    assert_eq!(call.credentials(), "omit");
}

// 1.12: rotation replaces the refresh token.
#[wasm_bindgen_test]
async fn a_rotated_refresh_token_replaces_the_old_one() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2), grant(3)]);
    world.sign_in(1).await;
    done(world.core.refresh(), "first").await;
    let stored = world.in_session().unwrap();
    assert!(stored.contains(&rt(2)) && !stored.contains(&rt(1)));
    done(world.core.refresh(), "second").await;
    let sent: Vec<_> = world.server.calls(TOKEN).iter().map(Call::text).collect();
    assert!(sent[0].contains(&rt(1)) && sent[1].contains(&rt(2)));
}

// Known-failures 13: timer, request and hand share one.
#[wasm_bindgen_test]
async fn every_reason_to_refresh_shares_one_call() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    clock.advance(3_500_000.0);
    let (first, second) = (world.core.refresh(), world.core.refresh());
    let (session, token) = (world.core.get_session(), world.core.get_access_token(None));
    let answer = world.get("/x");
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    world.server.open("refresh");
    for promise in [first, second, session] {
        assert!(done(promise, "session").await.is_object());
    }
    assert_eq!(done(token, "token").await.as_string(), Some(at(2)));
    assert_eq!(status(answer, "x").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
}

// 1.11: two minutes ahead, by the one timer, without any request; 5.18 wants a visible tab.
#[wasm_bindgen_test]
async fn the_timer_renews_ahead_of_time() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[json!({"json": {}})]);
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(clock.pending(), 1);
    clock.advance(3_479_000.0);
    settle().await;
    assert_eq!(world.server.count(TOKEN), 0);
    clock.advance(2_000.0);
    until("the refresh", || world.host.told("refreshed")).await;
    assert_eq!(world.server.count(TOKEN), 1);
    // The note for other tabs is taken back after a moment.
    until("the next timer alone", || {
        clock.advance(100.0);
        clock.pending() == 1
    })
    .await;
}

// 5.20, known-failures 31: setTimeout overflows after 24.8 days.
#[wasm_bindgen_test]
async fn a_token_of_a_year_does_not_refresh_at_once() {
    let world = World::oauth2();
    let clock = Clock::new();
    let year = json!({"access_token": at(1), "refresh_token": rt(1), "expires_in": 31_536_000});
    world.begin(&year, false).await;
    clock.advance(86_400_000.0 * 40.0);
    settle().await;
    assert_eq!(world.server.count(TOKEN), 0);
    assert_eq!(clock.pending(), 1);
}

// 1.11; README: Use it
#[wasm_bindgen_test]
async fn get_access_token_renews_only_when_too_little_is_left() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2), grant(3)]);
    world.sign_in(1).await;
    let ask = |ms| world.core.get_access_token(Some(ms));
    assert_eq!(done(ask(60_000.0), "1 min").await.as_string(), Some(at(1)));
    assert_eq!(
        done(world.core.get_access_token(None), "any")
            .await
            .as_string(),
        Some(at(1))
    );
    assert_eq!(world.server.count(TOKEN), 0);
    clock.jump(3_000_000.0);
    assert_eq!(done(ask(599_000.0), "599 s").await.as_string(), Some(at(1)));
    assert_eq!(done(ask(601_000.0), "601 s").await.as_string(), Some(at(2)));
    assert_eq!(world.server.count(TOKEN), 1);
    // More than any token of this server lives: the best there is, and no loop.
    for _ in 0..3 {
        let token = done(ask(1e12), "for ever").await.as_string();
        assert_eq!(token, Some(at(2)));
    }
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.21, 6.11
#[wasm_bindgen_test]
async fn get_session_renews_an_expired_token_and_shows_none() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let session = done(world.core.get_session(), "getSession").await;
    assert!((number(&session, "expiresAt") - clock.now() - 3_600_000.0).abs() < 2.0);
    assert!((number(&session, "issuedAt") - clock.now()).abs() < 2.0);
    spill(&session);
    assert_eq!(world.server.count(TOKEN), 1);
}

// 1.18: servers that no preset fits.
#[wasm_bindgen_test]
async fn token_fields_and_parse_tokens_read_other_shapes() {
    let world = World::new(&json!({
        "endpoints": {"refresh": "/renew"}, "lifetimeUnit": "ms",
        "tokenFields": {"accessToken": "data.jwt", "refreshToken": "data.next", "expiresIn": "data.ttl"}
    }));
    let shape = json!({"data": {"jwt": at(2), "next": rt(2), "ttl": 600_000}});
    world
        .server
        .script("POST https://api.test/renew", &[json!({"json": shape})]);
    world.sign_in(1).await;
    let session = done(world.core.refresh(), "refresh").await;
    assert!((number(&session, "lifetime") - 600_000.0).abs() < 2.0);
    drop(world);

    let mut world = World::empty(&json!({"endpoints": {"refresh": "/renew"}}));
    let parse = js_sys::Function::new_with_args(
        "body, response",
        "return { accessToken: body.t.join(''), expiresIn: 600, refreshToken: response.headers.get('x-next') }",
    );
    world.option("parseTokens", &parse);
    let answer = json!({"json": {"t": [CANARY, "-at-", "2"]}, "headers": {"x-next": rt(2)}});
    world
        .server
        .script("POST https://api.test/renew", &[answer]);
    world.start();
    world.sign_in(1).await;
    done(world.core.refresh(), "refresh").await;
    let token = done(world.core.get_access_token(None), "token").await;
    assert_eq!(token.as_string(), Some(at(2)));
    assert!(world.in_session().unwrap().contains(&rt(2)));
}
