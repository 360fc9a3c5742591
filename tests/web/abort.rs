//! Giving up on a request that waits (behaviour.md 4.14 to 4.16, 7.5, known-failures 11).

use super::kit::*;
use js_sys::{Object, Promise};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;
use web_sys::AbortController;

const X: &str = "GET https://api.test/x";

/// A world whose token is refused, so that requests wait for a refresh that is held back.
async fn waiting() -> World {
    let world = World::oauth2();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    world
}

/// Ten requests that wait for the refresh, sent with an expired token.
async fn ten(world: &World, clock: &Clock) -> Vec<(AbortController, Promise)> {
    clock.jump(3_700_000.0);
    let sent = (0..10).map(|n| {
        let controller = AbortController::new().unwrap();
        let answer = world.fetch(&abortable(&format!("/x?{n}"), &controller));
        (controller, answer)
    });
    let sent = sent.collect();
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    sent
}

fn reason() -> JsValue {
    let reason = Object::new();
    put(&reason, "why", &"my own".into());
    reason.into()
}

// 4.15, 4.16, 7.5, known-failures 11
#[wasm_bindgen_test]
async fn one_of_ten_waiters_gives_up_and_nine_succeed() {
    let world = waiting().await;
    let clock = Clock::new();
    world.sign_in(1).await;
    let mut sent = ten(&world, &clock).await;
    let (controller, answer) = sent.remove(3);
    let why = reason();
    controller.abort_with_reason(&why);
    assert!(Object::is(&fails(answer, "the aborted one").await, &why));
    assert_eq!(world.server.count(X), 0);
    world.server.open("refresh");
    for (_, answer) in sent {
        assert_eq!(status(answer, "the others").await, 200);
    }
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.server.count("GET https://api.test/x?3"), 0);
    assert_eq!(world.server.tokens_at(X), vec![bearer(2); 9]);
}

// 4.15, 4.16, 7.5
#[wasm_bindgen_test]
async fn when_all_give_up_the_refresh_still_commits() {
    let world = waiting().await;
    let clock = Clock::new();
    world.sign_in(1).await;
    let sent = ten(&world, &clock).await;
    for (controller, _) in &sent {
        controller.abort();
    }
    for (controller, answer) in sent {
        let error = fails(answer, "aborted").await;
        assert!(Object::is(&error, &get(&controller.signal(), "reason")));
        assert_eq!(text(&error, "name"), "AbortError");
    }
    world.server.open("refresh");
    until("the commit", || world.host.told("refreshed")).await;
    assert!(world.in_session().unwrap().contains(&rt(2)));
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(2)]);
    assert_eq!(world.server.count(TOKEN), 1);
}

// 4.15, known-failures 11
#[wasm_bindgen_test]
async fn giving_up_between_the_401_and_the_replay_sends_nothing_more() {
    let world = waiting().await;
    let controller = AbortController::new().unwrap();
    let answer = world.fetch(&abortable("/x", &controller));
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    let why = reason();
    controller.abort_with_reason(&why);
    assert!(Object::is(&fails(answer, "aborted").await, &why));
    world.server.open("refresh");
    until("the commit", || world.host.told("refreshed")).await;
    settle().await;
    assert_eq!(world.server.count(X), 1);
}

// 4.15
#[wasm_bindgen_test]
async fn giving_up_during_the_first_send_or_the_replay_is_the_native_rejection() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(
        X,
        &[
            json!({"hold": "never"}),
            json!({"status": 401}),
            json!({"hold": "never"}),
        ],
    );
    world.sign_in(1).await;
    for calls in [1, 3] {
        let controller = AbortController::new().unwrap();
        let answer = world.fetch(&abortable("/x", &controller));
        until("the send", || world.server.count(X) == calls).await;
        let why = reason();
        controller.abort_with_reason(&why);
        assert!(Object::is(&fails(answer, "aborted").await, &why));
    }
}

// 4.14
#[wasm_bindgen_test]
async fn a_signal_that_has_fired_already_rejects_with_its_reason() {
    let world = waiting().await;
    let clock = Clock::new();
    world.sign_in(1).await;
    let controller = AbortController::new().unwrap();
    let why = reason();
    controller.abort_with_reason(&why);
    let fresh = world.fetch(&abortable("/x", &controller));
    assert!(Object::is(&fails(fresh, "fresh token").await, &why));
    clock.jump(3_700_000.0);
    let expired = world.fetch(&abortable("/x", &controller));
    assert!(Object::is(&fails(expired, "expired token").await, &why));
    assert_eq!(world.server.count(X), 0);
}

// 4.15: no listener stays behind, whatever way the wait ended.
#[wasm_bindgen_test]
async fn no_listener_stays_on_the_signal() {
    let world = waiting().await;
    let kept = AbortController::new().unwrap();
    let dropped = AbortController::new().unwrap();
    let (first, second) = (abortable("/x", &kept), abortable("/x", &dropped));
    let counts = [&first, &second].map(|request| ListenerCount::new(&request.signal()));
    let (first, second) = (world.fetch(&first), world.fetch(&second));
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    until("both wait", || counts.iter().all(|count| count.live() == 1)).await;
    dropped.abort();
    fails(second, "aborted").await;
    world.server.open("refresh");
    assert_eq!(status(first, "x").await, 200);
    for count in &counts {
        assert_eq!((count.added(), count.live()), (1, 0));
    }
}

// 4.16: a refresh that is asked for by hand cannot be aborted by a request that shares it.
#[wasm_bindgen_test]
async fn an_abort_does_not_reach_a_refresh_by_hand() {
    let world = waiting().await;
    let controller = AbortController::new().unwrap();
    let answer = world.fetch(&abortable("/x", &controller));
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    let by_hand = world.core.refresh();
    controller.abort();
    fails(answer, "aborted").await;
    world.server.open("refresh");
    let session = done(by_hand, "refresh").await;
    assert!(number(&session, "expiresAt") > 0.0);
    assert_eq!(world.server.count(TOKEN), 1);
}
