//! One refresh for many, and one replay for each (behaviour.md §3, 7.1 to 7.4).

use super::kit::*;
use js_sys::{Array, Object, Promise};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

async fn all_statuses(promises: &[Promise]) -> Vec<u16> {
    let all = Promise::all(&promises.iter().collect::<Array>());
    let responses: Array = done(all, "all of them").await.unchecked_into();
    let statuses = responses.iter().map(|response| number(&response, "status"));
    statuses
        .map(|status| format!("{status}").parse().unwrap())
        .collect()
}

fn burst(world: &World, count: u32) -> Vec<Promise> {
    (0..count).map(|n| world.get(&format!("/x?{n}"))).collect()
}

// 4.5: with a fresh token the native fetch is called before the call returns.
#[wasm_bindgen_test]
async fn a_fresh_token_sends_in_the_same_turn() {
    let world = World::oauth2();
    world.server.script(X, &[only(1)]);
    world.sign_in(1).await;
    let answer = world.get("/x");
    assert_eq!(world.server.count(X), 1);
    assert_eq!(status(answer, "x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(1)]);
}

// 7.1, known-failures 61
#[wasm_bindgen_test]
async fn fifty_requests_on_an_expired_token_are_one_refresh_and_fifty_sends_of_the_new_one() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let sent = burst(&world, 50);
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    assert_eq!(world.server.count(X), 0);
    world.server.open("refresh");
    assert_eq!(all_statuses(&sent).await, [200; 50]);
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.server.tokens_at(X), vec![bearer(2); 50]);
    for (name, expected) in [
        ("requests", 50.0),
        ("refreshes", 1.0),
        ("joined", 49.0),
        ("unauthorized", 0.0),
        ("replays", 0.0),
    ] {
        assert!(
            (world.metric(name) - expected).abs() < f64::EPSILON,
            "{name}"
        );
    }
}

// 3.17, 3.19, 7.2, known-failures 1, 10
#[wasm_bindgen_test]
async fn fifty_401s_are_one_refresh_and_fifty_replays() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let sent = burst(&world, 50);
    assert_eq!(world.server.tokens_at(X), vec![bearer(1); 50]);
    assert_eq!(all_statuses(&sent).await, [200; 50]);
    assert_eq!(world.server.count(TOKEN), 1);
    let seen = world.server.tokens_at(X);
    assert_eq!(seen[50..], vec![bearer(2); 50]);
    for (name, expected) in [
        ("requests", 50.0),
        ("refreshes", 1.0),
        ("unauthorized", 50.0),
        ("replays", 50.0),
    ] {
        assert!(
            (world.metric(name) - expected).abs() < f64::EPSILON,
            "{name}"
        );
    }
}

// 3.12, 7.3, known-failures 7: whatever the late 401 says.
#[wasm_bindgen_test]
async fn a_late_401_of_an_older_token_is_replayed_without_a_refresh() {
    let world = World::sanctum();
    world.server.script(SANCTUM, &[grant(2)]);
    let late =
        |code: &str| json!({"status": 401, "json": {"message": "no", "code": code}, "hold": code});
    world
        .server
        .script("GET https://api.test/a", &[late("TOKEN_REVOKED"), only(2)]);
    world
        .server
        .script("GET https://api.test/b", &[late("TOKEN_EXPIRED"), only(2)]);
    world.sign_in(1).await;
    let (a, b) = (world.get("/a"), world.get("/b"));
    done(world.core.refresh(), "refresh").await;
    world.server.open("TOKEN_REVOKED");
    assert_eq!(status(a, "a").await, 200);
    world.server.open("TOKEN_EXPIRED");
    assert_eq!(status(b, "b").await, 200);
    assert_eq!(world.server.count(SANCTUM), 1);
    assert_eq!(
        world.server.tokens_at("GET"),
        [bearer(1), bearer(1), bearer(2), bearer(2)]
    );
    assert_eq!(world.status(), "authenticated");
}

// 3.10, known-failures 4
#[wasm_bindgen_test]
async fn a_replay_that_is_refused_again_goes_to_the_caller() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world
        .server
        .script(X, &[json!({"status": 401, "text": "never you"})]);
    world.sign_in(1).await;
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(answer.status(), 401);
    assert_eq!(unread(&answer).await, "never you");
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
    assert_eq!(world.server.count(TOKEN), 1);
    assert!(Object::is(&answer, &world.server.calls(X)[1].response()));
}

// 4.12, 4.13
#[wasm_bindgen_test]
async fn the_caller_gets_the_native_response_and_the_replaced_401_is_cancelled() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(
        X,
        &[
            json!({"status": 401, "spy": true}),
            json!({"text": "hello"}),
        ],
    );
    world.sign_in(1).await;
    let answer = response(world.get("/x"), "x").await;
    let calls = world.server.calls(X);
    assert!(Object::is(&answer, &calls[1].response()));
    assert_eq!(unread(&answer).await, "hello");
    assert!(calls[0].cancelled() && !calls[1].cancelled());
}

// 2.16, known-failures 5: never the body of the refresh.
#[wasm_bindgen_test]
async fn a_failed_refresh_gives_the_caller_its_own_401_unread() {
    for failure in [
        json!({"status": 400, "json": {"error": "invalid_grant"}}),
        json!({"status": 400, "json": {"error": "invalid_client"}}),
        json!({"status": 401, "json": {"message": "refresh body"}}),
        json!({"status": 404, "text": "refresh body"}),
        json!({"status": 429, "headers": {"retry-after": "60"}}),
    ] {
        let world = World::oauth2();
        world.server.script(TOKEN, std::slice::from_ref(&failure));
        world
            .server
            .script(X, &[json!({"status": 401, "text": "mine"})]);
        world.sign_in(1).await;
        let sent = burst(&world, 3);
        for promise in sent {
            let answer = response(promise, "x").await;
            assert_eq!(answer.status(), 401, "{failure}");
            let calls = world.server.calls(X);
            assert!(
                calls
                    .iter()
                    .any(|call| Object::is(&answer, &call.response())),
                "{failure}"
            );
            assert_eq!(unread(&answer).await, "mine", "{failure}");
        }
        assert_eq!(world.server.count(TOKEN), 1, "{failure}");
        assert_eq!(world.server.count(X), 3, "{failure}");
    }
}

// 3.18: the look at the code leaves the caller's body alone.
#[wasm_bindgen_test]
async fn a_401_that_was_looked_into_is_unread_too() {
    let world = World::sanctum();
    world.server.script(SANCTUM, &[json!({"status": 429})]);
    let body = json!({"message": "no", "code": "TOKEN_EXPIRED"});
    world
        .server
        .script(X, &[json!({"status": 401, "json": body})]);
    world.sign_in(1).await;
    let answer = response(world.get("/x"), "x").await;
    assert!(Object::is(&answer, &world.server.calls(X)[0].response()));
    assert_eq!(unread(&answer).await, body.to_string());
}

// 2.7
#[wasm_bindgen_test]
async fn only_a_401_can_lead_to_a_refresh() {
    let world = World::oauth2();
    world.sign_in(1).await;
    for answer in [
        json!({"status": 403, "json": {"code": "TOKEN_EXPIRED"}}),
        json!({"status": 419}),
        json!({"status": 429}),
        json!({"status": 500}),
        json!({"status": 200, "text": "<html>login"}),
    ] {
        world.server.script(X, std::slice::from_ref(&answer));
        let expected = answer["status"].as_u64().unwrap();
        assert_eq!(u64::from(world.get_status("/x").await), expected);
    }
    assert_eq!(world.server.count(X), 5);
    assert_eq!(world.server.count(TOKEN), 0);
}

// 3.14, 3.2: the error of the Bearer challenge, not the first one there is.
#[wasm_bindgen_test]
async fn a_token_that_is_fine_but_not_enough_is_not_refreshed() {
    let world = World::oauth2();
    world.sign_in(1).await;
    let challenge = r#"DPoP error="invalid_token", Bearer error="insufficient_scope""#;
    world.server.script(
        X,
        &[json!({"status": 401, "headers": {"www-authenticate": challenge}})],
    );
    assert_eq!(world.get_status("/x").await, 401);
    assert_eq!((world.server.count(X), world.server.count(TOKEN)), (1, 0));
}

// 3.9, known-failures 3: called by hand, an auth endpoint's 401 is its own business.
#[wasm_bindgen_test]
async fn the_refresh_endpoint_never_refreshes_itself() {
    let world = World::sanctum();
    let clock = Clock::new();
    world.sign_in(1).await;
    for path in [
        "/api/auth/refresh",
        "/api/auth/login",
        "/api/auth/logout",
        "/api/auth/refresh?x=1",
    ] {
        let route = format!("POST {API}{path}");
        world.server.script(
            &route,
            &[json!({"status": 401, "json": {"code": "TOKEN_EXPIRED"}})],
        );
        let answer = response(world.fetch(&post(path, &"x".into())), path).await;
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(world.server.count("POST"), 4);
    clock.jump(3_700_000.0);
    let answer = world.fetch(&post("/api/auth/refresh", &"x".into()));
    assert_eq!(status(answer, "expired").await, 401);
    assert_eq!(world.server.count("POST"), 5);
    assert_eq!(world.server.calls(SANCTUM).last().unwrap().text(), "x");
}

// 4.11, 2.8: passed on as the same object, never replayed.
#[wasm_bindgen_test]
async fn a_network_failure_is_passed_on_as_it_is() {
    let world = World::oauth2();
    world
        .server
        .script("GET https://api.test/", &[json!({"network": true})]);
    for signed_in in [false, true] {
        if signed_in {
            world.sign_in(1).await;
        }
        let error = fails(world.get("/x"), "x").await;
        let seen = world.server.calls(X).last().unwrap().error();
        assert!(error.is_instance_of::<js_sys::TypeError>());
        assert!(Object::is(&error, &seen));
    }
    assert_eq!((world.server.count(X), world.server.count(TOKEN)), (2, 0));
}

// 4.7
#[wasm_bindgen_test]
async fn only_if_cached_is_never_replayed() {
    let world = World::oauth2();
    world.sign_in(1).await;
    world.server.script(X, &[json!({"status": 401})]);
    let init = json!({"cache": "only-if-cached", "mode": "same-origin"});
    let cached = request_with("https://api.test/x", &js(&init));
    assert_eq!(status(world.fetch(&cached), "x").await, 401);
    assert_eq!(world.server.count(X), 1);
}

// 4.4: `priority` and `window` go beside the Request, on both sends.
#[wasm_bindgen_test]
async fn what_a_request_cannot_hold_goes_along_twice() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let extra = js(&json!({"init": {"priority": "low"}}));
    assert_eq!(
        status(world.fetch_with(&request("/x"), &extra), "x").await,
        200
    );
    for call in world.server.calls(X) {
        assert_eq!(text(&call.init(), "priority"), "low");
        assert_eq!(js_sys::Reflect::own_keys(&call.init()).unwrap().length(), 1);
    }
    assert_eq!(world.server.count(X), 2);
}

// 2.7, 4.1: without a session there is nothing to refresh.
#[wasm_bindgen_test]
async fn without_a_session_requests_go_as_they_are() {
    let world = World::oauth2();
    world
        .server
        .script(X, &[json!({"status": 401, "text": "who?"})]);
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(unread(&answer).await, "who?");
    assert_eq!(world.server.tokens_at(X), [None]);
    assert_eq!(world.server.count(TOKEN), 0);
}

// 1.12: no refresh token, no refresh; the token is used for as long as the server takes it.
#[wasm_bindgen_test]
async fn a_session_without_refresh_token_hands_out_its_401() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .begin(&json!({"access_token": at(1), "expires_in": 600}), false)
        .await;
    world
        .server
        .script(X, &[json!({"status": 401, "text": "mine"})]);
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(unread(&answer).await, "mine");
    clock.jump(700_000.0);
    assert_eq!(world.get_status("/x").await, 401);
    assert_eq!(world.server.count(X), 2);
    assert_eq!(clock.pending(), 0);
}

// 4.5: while the page goes away nothing waits.
#[wasm_bindgen_test]
async fn a_keepalive_request_of_a_leaving_page_does_not_wait_for_a_refresh() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script("GET https://api.test/", &[json!({"json": {}})]);
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let page: web_sys::EventTarget = js_sys::global().unchecked_into();
    page.dispatch_event(&web_sys::Event::new("pagehide").unwrap())
        .unwrap();
    let beacon = request_with("https://api.test/x", &js(&json!({"keepalive": true})));
    let answer = world.fetch(&beacon);
    assert_eq!(world.server.tokens_at(X), [bearer(1)]);
    assert_eq!(status(answer, "x").await, 200);
    let shown = web_sys::Event::new("pageshow").unwrap();
    put(&shown, "persisted", &JsValue::TRUE);
    page.dispatch_event(&shown).unwrap();
    assert_eq!(world.get_status("/y").await, 200);
    assert_eq!(
        world.server.tokens_at("GET https://api.test/y"),
        [bearer(2)]
    );
}
