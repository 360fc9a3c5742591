//! The end of a client (known-failures 47).

use super::kit::*;
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

// README: States, events, errors
#[wasm_bindgen_test]
async fn every_method_of_a_disposed_client_rejects() {
    let world = World::sanctum();
    world.sign_in(1).await;
    world.core.dispose();
    world.core.dispose();
    let empty = || js(&json!({})).unchecked_into();
    let core = &world.core;
    for (name, call) in [
        ("fetch", world.get("/x")),
        ("login", core.login(empty(), false)),
        ("register", core.register(empty(), false)),
        ("refresh", core.refresh()),
        ("logout", core.logout()),
        ("logoutAll", core.logout_all()),
        ("me", core.me()),
        ("getSession", core.get_session()),
        ("getAccessToken", core.get_access_token(None)),
        ("setSession", core.set_session(js(&tokens(2)), false)),
    ] {
        assert_eq!(fails_with(call, name).await, "disposed", "{name}");
    }
    done(core.ready(), "ready never rejects").await;
    core.clear_session_cache();
    core.metrics();
    core.snapshot();
    assert_eq!(world.server.count(""), 0);
    // The session stays where it is stored.
    assert!(world.in_session().unwrap().contains(&at(1)));
}

// known-failures 47
#[wasm_bindgen_test]
async fn a_hundred_clients_leave_no_timer_and_no_listener() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.sign_in(1).await;
    let idle = clock.pending();
    let counts = [js_sys::global().into(), global("document")]
        .map(|target: JsValue| ListenerCount::new(&target));
    for _ in 0..100 {
        let tab = world.open();
        assert_eq!(tab.status(), "authenticated");
        tab.core.dispose();
    }
    assert!(counts.iter().all(|count| count.added() >= 100));
    for count in &counts {
        assert_eq!(count.live(), 0);
    }
    assert_eq!(clock.pending(), idle);
}

// known-failures 47
#[wasm_bindgen_test]
async fn a_disposed_client_hears_and_says_nothing_more() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    let gone = world.open();
    settle().await;
    gone.core.dispose();
    gone.host.forget();
    let heard = world.channel.heard();
    done(world.core.refresh(), "refresh").await;
    clock.advance(3_700_000.0);
    let page: web_sys::EventTarget = js_sys::global().unchecked_into();
    for event in ["focus", "online", "storage"] {
        page.dispatch_event(&web_sys::Event::new(event).unwrap())
            .unwrap();
    }
    settle().await;
    until("the hint", || world.channel.heard() > heard).await;
    settle().await;
    assert!(gone.host.all().is_empty(), "{:?}", gone.host.all());
}

// 5.13, known-failures 47: a refresh in flight is the only holder of the next refresh token: it is stored, in silence.
#[wasm_bindgen_test]
async fn disposing_during_a_refresh_leaves_no_timer() {
    let mut world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let answer = world.get("/x");
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    settle().await;
    world.core.dispose();
    world.host.forget();
    world.server.open("refresh");
    until("the commit", || {
        world.in_session().unwrap().contains(&rt(2))
    })
    .await;
    // Whoever waited gets an end, be it the answer or an error.
    let settled = js_sys::Promise::all_settled(&js_sys::Array::of1(&answer));
    done(settled, "the request").await;
    until("no timer", || clock.pending() == 0).await;
    settle().await;
    assert!(world.host.all().is_empty(), "{:?}", world.host.all());
    world.close();
    world.start();
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.13: a component that is mounted anew leaves a client behind, and requests of it on their way.
#[wasm_bindgen_test]
async fn a_disposed_client_does_not_spend_what_another_has_spent() {
    for remember in [false, true] {
        let world = World::oauth2();
        world.server.script(TOKEN, &[grant(2), grant(3)]);
        let held = json!({"status": 401, "text": "mine", "hold": "answer"});
        world.server.script(X, &[held, only(2)]);
        world.begin(&tokens(1), remember).await;
        let answer = world.get("/x");
        until("the send", || world.server.count(X) == 1).await;
        world.core.dispose();
        let next = world.open();
        done(next.core.refresh(), "refresh").await;
        world.server.open("answer");
        // Whoever waited gets an end, be it the answer or an error.
        let settled = js_sys::Promise::all_settled(&js_sys::Array::of1(&answer));
        done(settled, "the request").await;
        settle().await;
        assert_eq!(world.server.count(TOKEN), 1);
        assert!(world.server.got(TOKEN, &rt(1)));
        assert_eq!(next.get_status("/x").await, 200);
        assert_eq!(next.status(), "authenticated");
    }
}
