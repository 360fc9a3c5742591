//! What a failed refresh does, and does not (behaviour.md §2, 7.4, 7.6, 7.7).

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// A signed-in world in which every token is taken, and refreshes are answered like this.
async fn refreshing(answers: &[Value]) -> World {
    let world = World::oauth2();
    world.server.script(TOKEN, answers);
    world.server.script(X, &[json!({"json": {}})]);
    world.sign_in(1).await;
    world
}

fn invalid_grant() -> Value {
    json!({"status": 400, "json": {"error": "invalid_grant", "error_description": rt(1)}})
}

// 1.16, 2.3, 2.10, 7.7, known-failures 51, 68: the token is used up, the credential is never sent again.
#[wasm_bindgen_test]
async fn a_dead_credential_is_never_sent_again_and_the_token_is_used_up() {
    let world = refreshing(&[invalid_grant()]).await;
    assert_eq!(
        fails_with(world.core.refresh(), "refresh").await,
        "token_expired"
    );
    for _ in 0..3 {
        assert_eq!(world.get_status("/x").await, 200);
        assert_eq!(
            fails_with(world.core.refresh(), "again").await,
            "token_expired"
        );
    }
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.server.tokens_at(X), vec![bearer(1); 3]);
    assert_eq!(world.status(), "reauth_required");
    let told = world.host.events();
    assert_eq!(
        told.iter()
            .filter(|event| *event == "reauth_required")
            .count(),
        1
    );
    assert_eq!(
        text(&world.host.detail("reauth_required"), "reason"),
        "expired"
    );
    assert!(!world.host.told("signed_out"));
}

// 2.10, 2.15
#[wasm_bindgen_test]
async fn a_dead_credential_with_a_dead_token_ends_the_session() {
    let world = refreshing(&[invalid_grant()]).await;
    let clock = Clock::new();
    world.sign_in(1).await;
    world
        .server
        .script(X, &[json!({"status": 401, "text": "mine"})]);
    clock.jump(3_700_000.0);
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(unread(&answer).await, "mine");
    assert!(world.in_session().is_none());
    assert_eq!(world.status(), "reauth_required");
    assert_eq!(get(&world.core.snapshot(), "session"), JsValue::NULL);
    world.get_status("/x").await;
    assert_eq!(world.server.count(TOKEN), 1);
    settle().await;
    assert_eq!(clock.pending(), 0);
}

// 2.9: signing in again starts afresh.
#[wasm_bindgen_test]
async fn a_new_sign_in_forgets_the_failures_of_the_last() {
    let world = refreshing(&[invalid_grant(), grant(3)]).await;
    fails(world.core.refresh(), "refresh").await;
    world.sign_in(2).await;
    assert_eq!(world.status(), "authenticated");
    done(world.core.refresh(), "refresh").await;
    assert!(world.server.calls(TOKEN)[1].text().contains(&rt(2)));
}

// 2.10, 2.11, 2.12, 3.16, 7.6
#[wasm_bindgen_test]
async fn two_500s_open_the_breaker_and_a_good_answer_closes_it() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(
        TOKEN,
        &[json!({"status": 500}), json!({"status": 500}), grant(2)],
    );
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let answer = world.get("/x");
    until("the first call", || world.server.count(TOKEN) == 1).await;
    until("the pause", || {
        clock.pending() > 0 && world.host.told("refresh_failed")
    })
    .await;
    settle().await;
    clock.advance(1_500.0);
    assert_eq!(status(answer, "stale token").await, 401);
    assert_eq!(world.server.count(TOKEN), 2);
    assert_eq!(world.server.tokens_at(X), [bearer(1)]);

    until("the event", || world.host.told("circuit_opened")).await;
    let opened = world.host.detail("circuit_opened");
    assert_eq!(text(&opened, "reason"), "failures");
    let pause = number(&opened, "retryAt") - clock.now();
    assert!((30_000.0..=45_000.0).contains(&pause), "{pause}");
    assert_eq!(world.status(), "degraded");
    let error = fails(world.core.refresh(), "refresh").await;
    assert_eq!(text(&error, "code"), "circuit_open");
    assert!((number(&error, "retryAt") - number(&opened, "retryAt")).abs() < f64::EPSILON);
    assert_eq!(world.get_status("/x").await, 401);
    assert_eq!(world.server.count(TOKEN), 2);
    assert!(world.in_session().unwrap().contains(&rt(1)));
    assert!(!world.host.told("signed_out") && !world.host.told("reauth_required"));

    clock.jump(pause + 1.0);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 3);
    until("the event", || world.host.told("circuit_closed")).await;
    assert_eq!(world.status(), "authenticated");
}

// 2.11
#[wasm_bindgen_test]
async fn strict_rejects_instead_of_sending_a_dead_token() {
    let world = World::new(
        &json!({"preset": "oauth2", "strict": true, "circuitBreaker": {"maxFailures": 1, "cooldown": 60_000}}),
    );
    let clock = Clock::new();
    world.server.script(TOKEN, &[json!({"status": 503})]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let error = fails(world.get("/x"), "x").await;
    assert_eq!(text(&error, "code"), "circuit_open");
    assert_eq!(get(&error, "retryable"), JsValue::TRUE);
    assert!(number(&error, "retryAt") >= clock.now() + 60_000.0);
    assert_eq!(world.server.count(X), 0);
}

// 2.6, known-failures 26
#[wasm_bindgen_test]
async fn retry_after_is_honoured_and_a_429_never_opens_the_breaker() {
    let busy = json!({"status": 429, "headers": {"retry-after": "120"}});
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[busy.clone(), busy, grant(2)]);
    world.sign_in(1).await;
    let error = fails(world.core.refresh(), "busy").await;
    assert_eq!(text(&error, "code"), "refresh_failed");
    assert!((number(&error, "status") - 429.0).abs() < f64::EPSILON);
    assert!((number(&error, "retryAt") - clock.now() - 120_000.0).abs() < 2.0);
    clock.jump(119_000.0);
    fails(world.core.refresh(), "too early").await;
    assert_eq!(world.server.count(TOKEN), 1);
    clock.jump(1_001.0);
    fails(world.core.refresh(), "busy again").await;
    assert_eq!(world.server.count(TOKEN), 2);
    clock.jump(120_001.0);
    done(world.core.refresh(), "at last").await;
    assert!(!world.host.told("circuit_opened"));
}

// 1.1, 1.14, 1.15, 1.16, 2.4, 2.5, 5.14, 7.6: one such answer changes nothing and is never stored.
#[wasm_bindgen_test]
async fn answers_without_a_token_leave_session_and_storage_as_they_were() {
    for answer in [
        json!({"text": "<html>login</html>"}),
        json!({"text": "{\"access_token\": \"x"}),
        json!({"text": ""}),
        json!({"status": 204}),
        json!({"json": []}),
        json!({"json": null}),
        json!({"json": "x"}),
        json!({"json": {"error": "server_error"}}),
        json!({"json": {"access_token": "a b", "token_type": "Bearer"}}),
        json!({"text": "[".repeat(200_000)}),
        json!({"text": format!("{{\"access_token\":\"{}\"}}", "x".repeat(2_000_000))}),
        json!({"type": "opaqueredirect"}),
        json!({"status": 403, "text": "blocked"}),
        json!({"status": 500, "json": {"access_token": "x", "token_type": "Bearer"}}),
        json!({"network": true}),
    ] {
        let world = refreshing(&[answer.clone(), grant(2)]).await;
        let clock = Clock::new();
        let (before, head) = (stored_tokens(&world), answer.to_string());
        let head: String = head.chars().take(80).collect();
        assert_eq!(
            fails_with(world.core.refresh(), &head).await,
            "refresh_failed",
            "{head}"
        );
        assert_eq!(stored_tokens(&world), before, "{head}");
        assert_eq!(world.get_status("/x").await, 200, "{head}");
        assert_eq!(world.server.tokens_at(X), [bearer(1)], "{head}");
        assert!(!world.host.told("reauth_required"), "{head}");
        clock.jump(60_000.0);
        done(world.core.refresh(), &head).await;
        assert_eq!(
            world.server.calls(TOKEN)[1].text(),
            world.server.calls(TOKEN)[0].text()
        );
    }
}

fn stored_tokens(world: &World) -> (Value, Value) {
    let record: Value = serde_json::from_str(&world.in_session().unwrap()).unwrap();
    (
        record["access_token"].clone(),
        record["refresh_token"].clone(),
    )
}

// 2.5: wrong as configured; once per page life, and loud.
#[wasm_bindgen_test]
async fn a_refresh_that_cannot_work_as_configured_is_not_repeated() {
    for answer in [
        json!({"status": 404}),
        json!({"status": 405}),
        json!({"status": 422}),
        json!({"status": 401, "json": {"error": "invalid_client"}}),
        json!({"json": {"access_token": "x", "token_type": "mac"}}),
    ] {
        let world = refreshing(std::slice::from_ref(&answer)).await;
        for _ in 0..3 {
            assert_eq!(
                fails_with(world.core.refresh(), "refresh").await,
                "config",
                "{answer}"
            );
        }
        assert_eq!(world.server.count(TOKEN), 1, "{answer}");
        assert_eq!(world.status(), "degraded", "{answer}");
        assert_eq!(world.get_status("/x").await, 200, "{answer}");
        assert!(world.in_session().is_some(), "{answer}");
        assert!(world.host.told("refresh_failed"), "{answer}");
    }
}

// 2.5, known-failures 22, 62: a late success is the only valid token, so it is taken.
#[wasm_bindgen_test]
async fn a_refresh_that_takes_too_long_is_a_timeout_and_its_late_answer_counts() {
    let world = World::new(&json!({"preset": "oauth2", "refreshTimeout": 3_000}));
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "slow"})]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let refresh = world.core.refresh();
    until("the call", || world.server.count(TOKEN) == 1).await;
    clock.advance(3_001.0);
    assert_eq!(fails_with(refresh, "refresh").await, "timeout");
    assert_eq!(world.status(), "authenticated");
    world.server.open("slow");
    until("the late answer", || world.host.told("refreshed")).await;
    assert!(world.in_session().unwrap().contains(&rt(2)));
    assert_eq!(world.get_status("/x").await, 200);
}

// 3.15, 7.27: the server's word on a resource.
#[wasm_bindgen_test]
async fn token_revoked_ends_the_session_without_a_call() {
    let world = World::sanctum();
    let clock = Clock::new();
    let body = json!({"message": "Token has been revoked.", "code": "TOKEN_REVOKED"});
    world
        .server
        .script(X, &[json!({"status": 401, "json": body})]);
    world.begin(&tokens(1), true).await;
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(unread(&answer).await, body.to_string());
    assert_eq!(world.server.count(X), 1);
    assert_eq!(world.server.count(SANCTUM), 0);
    assert_eq!(world.status(), "reauth_required");
    assert!(world.in_local().is_none());
    until("the event", || world.host.told("reauth_required")).await;
    assert_eq!(world.host.events(), ["signed_in", "reauth_required"]);
    assert_eq!(
        text(&world.host.detail("reauth_required"), "reason"),
        "revoked"
    );
    settle().await;
    assert_eq!(clock.pending(), 0);
    world.server.script(X, &[json!({"json": {}})]);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(1), None]);
}

// 3.18, 7.27
#[wasm_bindgen_test]
async fn token_expired_refreshes() {
    let world = World::sanctum();
    let expired = json!({"status": 401, "json": {"message": "no", "code": "TOKEN_EXPIRED"}});
    world.server.script(X, &[expired, only(2)]);
    world.server.script(SANCTUM, &[grant(2)]);
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(SANCTUM), [bearer(1)]);
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
}

// 3.18: nothing that stands in for a body can hang or break the look at it.
#[wasm_bindgen_test]
async fn odd_bodies_of_a_401_do_not_stop_the_refresh() {
    let clock_needed =
        json!({"status": 401, "spy": true, "headers": {"content-type": "application/json"}});
    for refused in [
        json!({"status": 401}),
        json!({"status": 401, "text": "{", "headers": {"content-type": "application/json"}}),
        json!({"status": 401, "json": ["TOKEN_REVOKED"]}),
        json!({"status": 401, "json": {"code": {"x": 1}}}),
        json!({"status": 401, "text": "TOKEN_REVOKED"}),
        clock_needed,
    ] {
        let world = World::sanctum();
        let clock = Clock::new();
        world.server.script(X, &[refused.clone(), only(2)]);
        world.server.script(SANCTUM, &[grant(2)]);
        world.sign_in(1).await;
        let answer = world.get("/x");
        until("the 401", || world.server.count(X) == 1).await;
        settle().await;
        clock.advance(2_001.0);
        assert_eq!(status(answer, &refused.to_string()).await, 200, "{refused}");
    }
}

// 2.13, 7.4: refreshes that succeed and whose tokens are refused.
#[wasm_bindgen_test]
async fn three_fresh_tokens_refused_are_a_storm() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[grant(2), grant(3), grant(4), grant(5)]);
    world.server.script(X, &[json!({"status": 401})]);
    world.sign_in(1).await;
    for _ in 0..8 {
        assert_eq!(world.get_status("/x").await, 401);
        clock.jump(1_000.0);
    }
    assert_eq!(world.server.count(TOKEN), 3);
    assert_eq!(world.server.count(X), 8 + 3);
    assert_eq!(
        text(&world.host.detail("circuit_opened"), "reason"),
        "fresh_token_rejected"
    );
    assert!(world.host.told("suspicious_activity"));
    assert!(world.in_session().is_some());
}

// 2.5, known-failures 25: offline is not a failure.
#[wasm_bindgen_test]
async fn offline_calls_nobody_and_coming_online_refreshes() {
    let world = refreshing(&[grant(2)]).await;
    let clock = Clock::new();
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    patch_value(&global("navigator"), "onLine", &JsValue::FALSE);
    assert_eq!(fails_with(world.core.refresh(), "refresh").await, "offline");
    assert_eq!(world.server.count(TOKEN), 0);
    assert_eq!(world.status(), "authenticated");
    patch_value(&global("navigator"), "onLine", &JsValue::TRUE);
    let page: web_sys::EventTarget = js_sys::global().unchecked_into();
    page.dispatch_event(&web_sys::Event::new("online").unwrap())
        .unwrap();
    until("the refresh", || world.host.told("refreshed")).await;
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.14, 7.15: after a lost answer, a refusal of the same credential has its own name.
#[wasm_bindgen_test]
async fn a_lost_answer_is_retried_with_the_same_credential() {
    let world = refreshing(&[json!({"network": true}), invalid_grant()]).await;
    let clock = Clock::new();
    fails(world.core.refresh(), "lost").await;
    clock.jump(10_000.0);
    fails(world.core.refresh(), "refused").await;
    let sent: Vec<_> = world.server.calls(TOKEN).iter().map(Call::text).collect();
    assert_eq!(sent[0], sent[1]);
    assert_eq!(
        text(&world.host.detail("reauth_required"), "reason"),
        "lost_response"
    );
}
