//! What the host is told, when, and in what order (behaviour.md 2.15, known-failures 17, 18, 19, 45).

use super::kit::*;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

fn page() -> web_sys::EventTarget {
    js_sys::global().unchecked_into()
}

// 2.15, known-failures 66
#[wasm_bindgen_test]
async fn news_come_from_a_microtask_never_from_within_a_call() {
    let world = World::oauth2();
    settle().await;
    world.host.forget();
    let signing_in = world.core.set_session(js(&tokens(1)), false);
    assert!(world.host.all().is_empty());
    done(signing_in, "setSession").await;
    JsFuture::from(js_sys::Promise::resolve(&JsValue::NULL))
        .await
        .unwrap();
    assert_eq!(
        world.host.all(),
        ["changed authenticated", "event signed_in"]
    );

    world.host.forget();
    world.server.script(REVOKE, &[json!({})]);
    let out = world.core.logout();
    assert_eq!(world.status(), "signed_out");
    assert!(world.host.all().is_empty());
    done(out, "logout").await;
    assert_eq!(world.host.all(), ["changed signed_out", "event signed_out"]);
}

// 2.15; README: Log lines
#[wasm_bindgen_test]
async fn the_story_of_a_401_is_told_in_order() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    settle().await;
    world.host.forget();
    assert_eq!(world.get_status("/x").await, 200);
    settle().await;
    assert_eq!(
        world.host.logs(),
        ["unauthorized", "refreshing", "refreshed", "replaying"]
    );
    assert_eq!(world.host.events(), ["refreshed"]);
    let statuses = world.host.statuses();
    assert_eq!(statuses.first().unwrap(), "refreshing");
    assert_eq!(statuses.last().unwrap(), "authenticated");
    let told = world.host.all();
    let place = |what: &str| told.iter().position(|entry| entry == what);
    assert!(place("log refreshed") < place("event refreshed"));
}

// README: States, events, errors
#[wasm_bindgen_test]
async fn a_snapshot_holds_what_the_contract_says() {
    let world = World::oauth2();
    let clock = Clock::new();
    let empty = world.core.snapshot();
    for name in ["session", "refreshAt", "retryAt", "error"] {
        assert!(get(&empty, name).is_null(), "{name}");
    }
    let set = json!({"access_token": at(1), "refresh_token": rt(1), "expires_in": 3600, "user": {"name": "Ada"}});
    world.begin(&set, false).await;
    let snapshot = world.core.snapshot();
    assert_eq!(text(&snapshot, "status"), "authenticated");
    assert!((number(&snapshot, "refreshAt") - clock.now() - 3_480_000.0).abs() < 2.0);
    let session = get(&snapshot, "session");
    assert!((number(&session, "expiresAt") - clock.now() - 3_600_000.0).abs() < 2.0);
    assert_eq!(text(&get(&session, "user"), "name"), "Ada");
    let mut names = strings(&js_sys::Object::keys(
        session.unchecked_ref::<js_sys::Object>(),
    ));
    names.sort();
    assert_eq!(
        names,
        ["expiresAt", "issuedAt", "lifetime", "remember", "user"]
    );
}

// 1.5: an end that nobody knows is null, not a wrong number.
#[wasm_bindgen_test]
async fn a_lifetime_that_the_server_does_not_tell_is_the_configured_one() {
    let world = World::new(&json!({"preset": "oauth2", "defaultTokenLifetime": 60_000}));
    let session = world
        .begin(&json!({"access_token": at(1), "expires_in": "soon"}), false)
        .await;
    assert!((number(&session, "lifetime") - 60_000.0).abs() < 2.0);
}

// 6.23, known-failures 19
#[wasm_bindgen_test]
async fn a_host_that_throws_harms_nobody() {
    let world = World::oauth2();
    world.host.set_throwing(true);
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    world.server.script(REVOKE, &[json!({})]);
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 200);
    done(world.core.logout(), "logout").await;
    settle().await;
    assert_eq!(
        world.host.events(),
        ["signed_in", "refreshed", "signed_out"]
    );
}

// Known-failures 17, 18, 66: the host may call the client from within its news.
#[wasm_bindgen_test]
async fn the_host_may_call_back_from_within_an_event() {
    let world = Rc::new(World::oauth2());
    world.server.script(TOKEN, &[grant(2), grant(3)]);
    let inside: Rc<RefCell<Vec<js_sys::Promise>>> = Rc::default();
    let refreshes = Rc::new(Cell::new(0));
    let (weak, noted, count) = (
        Rc::downgrade(&world),
        Rc::clone(&inside),
        Rc::clone(&refreshes),
    );
    let callback = Closure::<dyn FnMut(String)>::new(move |name: String| {
        let Some(world) = weak.upgrade() else { return };
        let core = &world.core;
        core.snapshot();
        core.metrics();
        core.clear_session_cache();
        noted.borrow_mut().push(core.get_session());
        noted.borrow_mut().push(core.get_access_token(None));
        if name == "refreshed" && count.replace(count.get() + 1) == 0 {
            noted.borrow_mut().push(core.refresh());
        }
    });
    world.host.set_on_event(callback.as_ref());
    world.sign_in(1).await;
    done(world.core.refresh(), "refresh").await;
    until("the second refresh", || world.server.count(TOKEN) == 2).await;
    until("both events", || refreshes.get() == 2).await;
    for promise in inside.take() {
        done(promise, "from within").await;
    }
    world.host.set_on_event(&JsValue::UNDEFINED);
}

// Known-failures 45: nothing is told that has not changed.
#[wasm_bindgen_test]
async fn focus_without_a_change_is_no_event() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.sign_in(1).await;
    settle().await;
    world.host.forget();
    for name in ["focus", "online", "focus", "pageshow"] {
        page()
            .dispatch_event(&web_sys::Event::new(name).unwrap())
            .unwrap();
        clock.advance(60_000.0);
    }
    settle().await;
    assert!(world.host.events().is_empty());
    assert_eq!(world.server.count(TOKEN), 0);
}

// 5.7, known-failures 32: after sleep, before the first request.
#[wasm_bindgen_test]
async fn waking_up_refreshes_an_expired_token() {
    for event in ["focus", "online"] {
        let world = World::oauth2();
        let clock = Clock::new();
        world.server.script(TOKEN, &[grant(2)]);
        world.sign_in(1).await;
        clock.jump(8.0 * 3_600_000.0);
        page()
            .dispatch_event(&web_sys::Event::new(event).unwrap())
            .unwrap();
        until(event, || world.host.told("refreshed")).await;
        assert_eq!(world.server.count(TOKEN), 1);
    }
}

// Document 000: for each request whether a token went along and how old it was, and no part of it.
#[wasm_bindgen_test]
async fn debug_entries_tell_the_age_of_the_token() {
    let world = World::new(&json!({"preset": "oauth2", "logLevel": "debug"}));
    let clock = Clock::new();
    world.server.script(X, &[json!({"json": {}})]);
    world.get_status("/x").await;
    settle().await;
    assert_eq!(world.host.logs(), ["no_token"]);
    world.sign_in(1).await;
    clock.jump(60_000.0);
    world.get_status("/x").await;
    settle().await;
    let entry = world.host.entry("using_token");
    assert_eq!(text(&entry, "level"), "debug");
    assert!(!text(&entry, "message").is_empty());
    assert!((number(&entry, "age") - 60_000.0).abs() < 2.0);
    assert!((number(&entry, "expiresIn") - 3_540_000.0).abs() < 2.0);
    assert!((number(&entry, "at") - clock.now()).abs() < 2.0);
}

// README: Log lines
#[wasm_bindgen_test]
async fn without_debug_a_request_with_a_good_token_says_nothing() {
    let world = World::oauth2();
    world.server.script(X, &[only(1)]);
    world.sign_in(1).await;
    settle().await;
    world.host.forget();
    for _ in 0..5 {
        world.get_status("/x").await;
    }
    settle().await;
    assert!(world.host.all().is_empty());
}

// Document 003: more than ten an hour.
#[wasm_bindgen_test]
async fn too_many_refreshes_are_suspicious_once() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &(2..20).map(grant).collect::<Vec<_>>());
    world.sign_in(1).await;
    for n in 1..=14 {
        done(world.core.refresh(), "refresh").await;
        clock.jump(10_000.0);
        let told = world.host.told("suspicious_activity");
        assert!(!told || n > 10, "{n}");
    }
    settle().await;
    let told = world.host.events();
    assert_eq!(
        told.iter()
            .filter(|event| *event == "suspicious_activity")
            .count(),
        1
    );
}
