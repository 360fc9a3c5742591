//! The platform around the client: locks that fail, ten thousand waiters, waking up, and the page's globals.

use super::kit::*;
use js_sys::{Array, Function, Promise};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// A lock manager of which each method does this.
fn manager(source: &str) -> JsValue {
    let made = Function::new_no_args(
        &[
            "return { request() {",
            source,
            "}, query() {",
            source,
            "} }",
        ]
        .concat(),
    );
    made.call0(&JsValue::UNDEFINED).unwrap()
}

// known-failures 14: trouble with locks is no trouble of the app's
#[wasm_bindgen_test]
async fn a_lock_manager_that_refuses_is_not_the_apps_problem() {
    const DOM: &str = "new DOMException('lock immediately failed', 'InvalidStateError')";
    for source in [
        format!("throw {DOM}"),
        format!("return Promise.reject({DOM})"),
    ] {
        for remember in [false, true] {
            restore();
            let mut world = World::behind(&json!({"preset": "oauth2", "clientId": "demo"}));
            patch_value(&global("navigator"), "locks", &manager(&source));
            let unhandled = Unhandled::new();
            let clock = Clock::new();
            world.start();
            world.server.script(TOKEN, &[grant(2), grant(3)]);
            world.server.script(X, &[only(2)]);
            world.server.script(REVOKE, &[json!({})]);
            world.begin(&tokens(1), remember).await;
            let answer = world.get("/x");
            clock.pass_until(&answer).await;
            assert_eq!(status(answer, &source).await, 200, "{source}");
            assert_eq!(world.server.count(TOKEN), 1, "{source}");
            let refresh = world.core.refresh();
            clock.pass_until(&refresh).await;
            done(refresh, &source).await;
            done(world.core.logout(), &source).await;
            settle().await;
            assert_eq!(unhandled.seen(), 0, "{source}");
            assert!(!world.host.told("refresh_failed"), "{source}");
        }
    }
}

// 6.23: as many as come
#[wasm_bindgen_test]
async fn ten_thousand_requests_wait_for_one_refresh() {
    const MANY: u32 = 10_000;
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let waiting: Array = (0..MANY).map(|_| world.get("/x")).collect();
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    assert_eq!(world.server.count(X), 0);
    world.server.open("refresh");
    let answers: Array = done(Promise::all(&waiting), "all of them")
        .await
        .unchecked_into();
    assert_eq!(answers.length(), MANY);
    assert!(
        answers
            .iter()
            .all(|answer| get(&answer, "ok") == JsValue::TRUE)
    );
    assert_eq!(world.server.count(TOKEN), 1);
    let sent = world.server.tokens_at(X);
    assert_eq!(sent.len(), MANY as usize);
    assert!(sent.iter().all(|token| *token == bearer(2)));
}

// 6.23, known-failures 6: and as many are let go when it fails
#[wasm_bindgen_test]
async fn in_strict_mode_all_who_wait_are_rejected_with_the_same_code() {
    let world = World::new(&json!({
        "preset": "oauth2", "strict": true, "circuitBreaker": {"maxFailures": 1}
    }));
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[json!({"status": 503, "hold": "refresh"})]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let waiting: Vec<_> = (0..50).map(|_| world.get("/x")).collect();
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    world.server.open("refresh");
    for answer in waiting {
        assert_eq!(fails_with(answer, "x").await, "circuit_open");
    }
    assert_eq!((world.server.count(TOKEN), world.server.count(X)), (1, 0));
}

// 5.7, known-failures 32: every way of coming back looks into storage, with no message and no storage event
#[wasm_bindgen_test]
async fn every_way_of_coming_back_takes_over_what_another_tab_stored() {
    for event in ["pageshow", "resume", "visibilitychange", "focus", "online"] {
        let world = World::new(&json!({"preset": "oauth2", "crossTab": false}));
        let clock = Clock::new();
        world.server.script(X, &[only(2)]);
        world.sign_in(1).await;
        clock.jump(60_000.0);
        world.refreshed_elsewhere(2);
        happens(event);
        until(event, || world.host.told("refreshed")).await;
        let detail = world.host.detail("refreshed");
        assert_eq!(get(&detail, "elsewhere"), JsValue::TRUE, "{event}");
        assert_eq!(world.get_status("/x").await, 200, "{event}");
        assert_eq!(world.server.tokens_at(X), [bearer(2)], "{event}");
        assert_eq!(world.server.count(TOKEN), 0, "{event}");
        // The new token is renewed by the timer, as any other.
        world.server.script(TOKEN, &[grant(3)]);
        clock.advance(3_481_000.0);
        until(event, || world.server.got(TOKEN, &rt(2))).await;
        assert_eq!(world.server.count(TOKEN), 1, "{event}");
    }
}

// 5.7, 5.20: and makes up for a timer that did not fire
#[wasm_bindgen_test]
async fn every_way_of_coming_back_makes_up_for_a_timer_that_slept() {
    for event in ["pageshow", "resume", "visibilitychange", "focus", "online"] {
        let world = World::oauth2();
        let clock = Clock::new();
        world.server.script(TOKEN, &[grant(2)]);
        world.sign_in(1).await;
        clock.jump(8.0 * 3_600_000.0);
        for _ in 0..5 {
            happens(event);
        }
        until(event, || world.host.told("refreshed")).await;
        for _ in 0..5 {
            happens(event);
        }
        settle().await;
        assert_eq!(world.server.count(TOKEN), 1, "{event}");
        // Beside it, the note of the new token may still be up.
        until("the next timer", || clock.pending() >= 1).await;
    }
}

// 5.7, 5.11: a sign-out that nobody told this page of
#[wasm_bindgen_test]
async fn every_way_of_coming_back_learns_of_a_sign_out() {
    for event in ["pageshow", "resume", "visibilitychange", "focus", "online"] {
        let world = World::new(&json!({"preset": "oauth2", "crossTab": false}));
        world.server.script(REVOKE, &[json!({})]);
        world.begin(&tokens(1), true).await;
        let other = world.open();
        done(other.core.logout(), "logout").await;
        assert_eq!(world.status(), "authenticated");
        happens(event);
        assert_eq!(world.status(), "signed_out", "{event}");
    }
}

// known-failures 56: nothing of the page is replaced
#[wasm_bindgen_test]
async fn a_whole_session_leaves_the_globals_of_the_page_as_they_were() {
    const NAMES: [&str; 12] = [
        "fetch",
        "Request",
        "Response",
        "Headers",
        "XMLHttpRequest",
        "Promise",
        "JSON",
        "localStorage",
        "sessionStorage",
        "BroadcastChannel",
        "AbortController",
        "setTimeout",
    ];
    let prototypes = || -> Vec<JsValue> {
        let members = [
            ("Storage", "getItem"),
            ("Storage", "setItem"),
            ("Promise", "then"),
            ("Response", "text"),
            ("Request", "clone"),
            ("XMLHttpRequest", "open"),
            ("Headers", "set"),
            ("Object", "toString"),
        ];
        let of = |(name, member): (&str, &str)| get(&get(&global(name), "prototype"), member);
        members.into_iter().map(of).collect()
    };
    let before = (NAMES.map(global), prototypes());
    let keys = js_sys::Object::get_own_property_names(&js_sys::global()).length();
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(1), grant(2), grant(3)]);
    world.server.script(X, &[only(2)]);
    world.server.script(REVOKE, &[json!({})]);
    done(
        world.core.login(object(&json!({"code": "x"})), true),
        "login",
    )
    .await;
    assert_eq!(world.get_status("/x").await, 200);
    done(world.core.refresh(), "refresh").await;
    done(world.core.logout(), "logout").await;
    world.core.dispose();
    let after = (NAMES.map(global), prototypes());
    let same = |(before, after): (&JsValue, &JsValue)| js_sys::Object::is(before, after);
    assert!(before.0.iter().zip(&after.0).all(same));
    assert!(before.1.iter().zip(&after.1).all(same));
    let left = js_sys::Object::get_own_property_names(&js_sys::global()).length();
    assert_eq!(left, keys);
}
