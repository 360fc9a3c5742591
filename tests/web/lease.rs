//! The lock of pages without Web Locks (behaviour.md 5.15).

use super::kit::*;
use js_sys::{Array, Promise};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

#[wasm_bindgen(module = "/tests/web/lease.js")]
extern "C" {
    fn leases() -> Promise;
    fn lease(name: &str) -> Promise;
    #[wasm_bindgen(js_name = putLease)]
    fn put_lease(name: &str, value: &JsValue) -> Promise;
    #[wasm_bindgen(js_name = dropDatabase)]
    fn drop_database() -> Promise;
    #[wasm_bindgen(js_name = wallClock)]
    fn wall_clock() -> f64;

    type HangingDatabases;
    #[wasm_bindgen(constructor)]
    fn new() -> HangingDatabases;
    #[wasm_bindgen(method, getter)]
    fn opened(this: &HangingDatabases) -> u32;
    #[wasm_bindgen(method, getter)]
    fn factory(this: &HangingDatabases) -> JsValue;
    #[wasm_bindgen(method)]
    fn open(this: &HangingDatabases) -> Promise;

    type CountingDatabases;
    #[wasm_bindgen(constructor)]
    fn new() -> CountingDatabases;
    #[wasm_bindgen(method, getter)]
    fn opened(this: &CountingDatabases) -> u32;
    #[wasm_bindgen(method, getter)]
    fn factory(this: &CountingDatabases) -> JsValue;
}

/// A world in which a person is signed in, and no page has Web Locks.
async fn without_locks(options: &Value) -> World {
    let mut world = World::empty(options);
    patch_value(&global("navigator"), "locks", &JsValue::UNDEFINED);
    world.start();
    world.sign_in(1).await;
    world
}

fn oauth2() -> Value {
    json!({"preset": "oauth2", "clientId": "demo"})
}

/// The name of the lock of the stored login.
fn name(world: &World) -> String {
    let record: Value = serde_json::from_str(&world.in_session().unwrap()).unwrap();
    format!(
        "{}:refresh:{}",
        world.key(),
        record["sid"].as_str().unwrap()
    )
}

fn no_database() {
    patch_value(&js_sys::global(), "indexedDB", &JsValue::UNDEFINED);
}

fn in_local(name: &str) -> Option<String> {
    storage("localStorage").get_item(name).unwrap()
}

/// Waits until no lease of this world is left in the database, and nobody has it open.
async fn given_back(world: &World) {
    for _ in 0..100 {
        let held: Array = done(leases(), "leases").await.unchecked_into();
        if !strings(&held)
            .iter()
            .any(|name| name.starts_with(world.key()))
        {
            done(drop_database(), "nobody has it open").await;
            return;
        }
        settle().await;
    }
    panic!("the lease was not given back");
}

fn tell(event: &str, persisted: bool) {
    let page: web_sys::EventTarget = js_sys::global().unchecked_into();
    let event = web_sys::Event::new(event).unwrap();
    put(&event, "persisted", &persisted.into());
    page.dispatch_event(&event).unwrap();
}

// 5.15, 7.9: the same as with Web Locks.
#[wasm_bindgen_test]
async fn without_web_locks_ten_tabs_refresh_once() {
    let mut world = without_locks(&oauth2()).await;
    let databases = CountingDatabases::new();
    patch_value(&js_sys::global(), "indexedDB", &databases.factory());
    world.server.script(
        TOKEN,
        &[
            json!({"json": tokens(2), "hold": "refresh"}),
            json!({"status": 400, "json": {"error": "invalid_grant"}}),
        ],
    );
    world.server.script(X, &[only(2)]);
    world.close();
    world.tamper(|record| record["expires_at"] = json!(1_000));
    let tabs: Vec<_> = (0..10).map(|_| world.open()).collect();
    let answers: Vec<_> = tabs.iter().map(|tab| tab.get("/x")).collect();
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    // All the others look meanwhile.
    until("the others", || databases.opened() >= 20).await;
    assert_eq!(world.server.count(TOKEN), 1);
    world.server.open("refresh");
    for answer in answers {
        assert_eq!(status(answer, "x").await, 200);
    }
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.server.tokens_at(X), vec![bearer(2); 10]);
    given_back(&world).await;
}

// 5.15
#[wasm_bindgen_test]
async fn without_indexed_db_either_two_tabs_refresh_once() {
    let mut world = without_locks(&oauth2()).await;
    no_database();
    let name = name(&world);
    world.server.script(
        TOKEN,
        &[
            json!({"json": tokens(2), "hold": "refresh"}),
            json!({"status": 400, "json": {"error": "invalid_grant"}}),
        ],
    );
    world.server.script(X, &[only(2)]);
    world.close();
    world.tamper(|record| record["expires_at"] = json!(1_000));
    let tabs = [world.open(), world.open()];
    let answers = tabs.each_ref().map(|tab| tab.get("/x"));
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    let lease = in_local(&name).unwrap();
    assert!(!lease.contains(CANARY));
    world.server.open("refresh");
    for answer in answers {
        assert_eq!(status(answer, "x").await, 200);
    }
    assert_eq!(world.server.count(TOKEN), 1);
    until("the end", || in_local(&name).is_none()).await;
}

// Known-failures 21: two tabs write at once, and only the last of them has the lock.
#[wasm_bindgen_test]
async fn a_lease_that_another_tab_wrote_over_is_not_ours() {
    let world = without_locks(&oauth2()).await;
    no_database();
    let clock = Clock::new();
    let name = name(&world);
    world.server.script(TOKEN, &[grant(2)]);
    let refresh = world.core.refresh();
    until("the lease", || in_local(&name).is_some()).await;
    let ends = clock.now() + 5_000.0;
    let local = storage("localStorage");
    let theirs = json!({"owner": "other", "expires": ends}).to_string();
    local.set_item(&name, &theirs).unwrap();
    settle().await;
    for _ in 0..20 {
        clock.advance(101.0);
        settle().await;
    }
    assert_eq!(world.server.count(TOKEN), 0);
    // Its holder dies without giving it back.
    for _ in 0..40 {
        clock.advance(101.0);
        settle().await;
    }
    done(refresh, "refresh").await;
    assert_eq!(world.server.count(TOKEN), 1);
    assert!(clock.now() >= ends);
    assert_eq!(in_local(&name), None);
}

// 5.15, 7.10: a tab that is killed gives nothing back
#[wasm_bindgen_test]
async fn an_abandoned_lease_is_taken_when_it_has_run_out() {
    let world = without_locks(&oauth2()).await;
    world.server.script(TOKEN, &[grant(2)]);
    let ends = wall_clock() + 400.0;
    let theirs = js(&json!({"owner": "dead", "expires": ends}));
    done(put_lease(&name(&world), &theirs), "their lease").await;
    done(world.core.refresh(), "refresh").await;
    assert!(wall_clock() >= ends);
    assert_eq!(world.server.count(TOKEN), 1);
    given_back(&world).await;
}

// 5.15: run out, written before the clock was set back, or not written by us at all.
#[wasm_bindgen_test]
async fn what_is_no_lease_is_taken_at_once() {
    let world = without_locks(&oauth2()).await;
    let now = wall_clock();
    let found = [
        json!({"owner": "dead", "expires": now - 1.0}),
        json!({"owner": "dead", "expires": now + 3_600_000.0}),
        json!({"owner": "dead", "expires": "later"}),
        json!({"owner": "dead"}),
        json!("mine"),
        json!(null),
    ];
    for (n, found) in (2..).zip(&found) {
        world.server.script(TOKEN, &[grant(n)]);
        let before = wall_clock();
        done(put_lease(&name(&world), &js(found)), "what is found").await;
        done(world.core.refresh(), "refresh").await;
        assert!(wall_clock() - before < 1_000.0, "{found}");
    }
    assert_eq!(world.server.count(TOKEN), found.len());
    given_back(&world).await;
}

// 5.3, 5.4, known-failures 14: the wait is bounded, and the app hears of a timeout, not of a lock
#[wasm_bindgen_test]
async fn a_lease_that_another_tab_keeps_is_waited_for_no_longer_than_a_refresh_may_take() {
    let options = json!({"preset": "oauth2", "clientId": "demo", "refreshTimeout": 1_000});
    let world = without_locks(&options).await;
    let name = name(&world);
    let theirs = js(&json!({"owner": "other", "expires": wall_clock() + 6_000.0}));
    done(put_lease(&name, &theirs), "their lease").await;
    assert_eq!(fails_with(world.core.refresh(), "refresh").await, "timeout");
    assert_eq!(world.server.count(TOKEN), 0);
    assert_eq!(world.status(), "authenticated");
    let left = done(lease(&name), "the lease").await;
    assert_eq!(text(&left, "owner"), "other");
    done(put_lease(&name, &JsValue::NULL), "it is given back").await;
    world.server.script(TOKEN, &[grant(2)]);
    done(world.core.refresh(), "once it is free").await;
    given_back(&world).await;
}

// 5.15: tabs that keep their leases in different places do not see each other.
#[wasm_bindgen_test]
async fn a_database_that_fails_during_a_wait_is_no_reason_to_look_elsewhere() {
    let options = json!({"preset": "oauth2", "clientId": "demo", "refreshTimeout": 1_000});
    let world = without_locks(&options).await;
    let databases = CountingDatabases::new();
    patch_value(&js_sys::global(), "indexedDB", &databases.factory());
    let name = name(&world);
    let theirs = js(&json!({"owner": "other", "expires": wall_clock() + 6_000.0}));
    done(put_lease(&name, &theirs), "their lease").await;
    let refresh = world.core.refresh();
    until("a look", || databases.opened() >= 2).await;
    no_database();
    assert_eq!(fails_with(refresh, "refresh").await, "timeout");
    assert_eq!(in_local(&name), None);
    assert_eq!(world.server.count(TOKEN), 0);
    done(drop_database(), "nobody has it open").await;
}

// Known-failures 20
#[wasm_bindgen_test]
async fn a_failed_refresh_gives_the_lease_back() {
    let world = without_locks(&oauth2()).await;
    world
        .server
        .script(TOKEN, &[json!({"status": 503}), grant(2)]);
    fails(world.core.refresh(), "down").await;
    given_back(&world).await;
}

// 5.16: a hanging IndexedDB must not hang a request.
#[wasm_bindgen_test]
async fn an_indexed_db_that_hangs_delays_a_refresh_by_three_seconds() {
    let world = without_locks(&oauth2()).await;
    let clock = Clock::new();
    let databases = HangingDatabases::new();
    patch_value(&js_sys::global(), "indexedDB", &databases.factory());
    let name = name(&world);
    world.server.script(
        TOKEN,
        &[json!({"json": tokens(2), "hold": "refresh"}), grant(3)],
    );
    let refresh = world.core.refresh();
    until("the question", || databases.opened() == 1).await;
    settle().await;
    clock.advance(2_900.0);
    settle().await;
    assert_eq!((in_local(&name), world.server.count(TOKEN)), (None, 0));
    clock.advance(200.0);
    until("the other place", || in_local(&name).is_some()).await;
    clock.advance(101.0);
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    // What comes now comes too late: the lease is not taken in a second place.
    done(databases.open(), "at last").await;
    settle().await;
    given_back(&world).await;
    world.server.open("refresh");
    done(refresh, "refresh").await;
    assert_eq!(in_local(&name), None);
    assert_eq!(databases.opened(), 1);
}

// 5.15: the last resort is the compare-and-swap.
#[wasm_bindgen_test]
async fn where_nothing_holds_a_lease_each_tab_is_on_its_own() {
    let world = without_locks(&oauth2()).await;
    let page: JsValue = js_sys::global().into();
    patch_throwing(&page, "indexedDB");
    patch_throwing(&page, "localStorage");
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    done(world.core.refresh(), "refresh").await;
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
    restore();
}

// 5.15: a computer slept during the call, and another tab has the lease now.
#[wasm_bindgen_test]
async fn a_lease_that_ran_out_is_not_given_back_for_its_next_owner() {
    let world = without_locks(&oauth2()).await;
    let clock = Clock::new();
    let name = name(&world);
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    let refresh = world.core.refresh();
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    clock.jump(16_000.0);
    let theirs = js(&json!({"owner": "other", "expires": clock.now() + 15_000.0}));
    done(put_lease(&name, &theirs), "their lease").await;
    world.server.open("refresh");
    done(refresh, "refresh").await;
    // Stored in its place nevertheless: nobody has a newer one (5.10).
    assert!(world.in_session().unwrap().contains(&rt(2)));
    settle().await;
    let left = done(lease(&name), "the lease").await;
    assert_eq!(text(&left, "owner"), "other");
    done(put_lease(&name, &JsValue::NULL), "the end").await;
    done(drop_database(), "nobody has it open").await;
}

// 5.6
#[wasm_bindgen_test]
async fn a_page_that_goes_away_gives_the_lease_back_and_waits_for_none() {
    let world = without_locks(&oauth2()).await;
    let other = world.open();
    let databases = CountingDatabases::new();
    patch_value(&js_sys::global(), "indexedDB", &databases.factory());
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    let refresh = world.core.refresh();
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    let waiting = other.core.refresh();
    until("the wait", || databases.opened() >= 3).await;
    tell("pagehide", true);
    given_back(&world).await;
    let asleep = other.core.refresh();
    world.server.open("refresh");
    done(refresh, "refresh").await;
    assert_eq!(world.server.count(TOKEN), 1);
    tell("pageshow", true);
    // What waited finds the new token.
    done(waiting, "the wait").await;
    done(asleep, "asleep").await;
    assert_eq!(world.server.count(TOKEN), 1);
    world.server.script(TOKEN, &[grant(3)]);
    done(other.core.refresh(), "awake").await;
    assert!(world.server.got(TOKEN, &rt(2)));
    given_back(&world).await;
}

// Known-failures 47
#[wasm_bindgen_test]
async fn a_disposed_client_waits_for_no_lease() {
    let world = without_locks(&oauth2()).await;
    let databases = CountingDatabases::new();
    patch_value(&js_sys::global(), "indexedDB", &databases.factory());
    let theirs = js(&json!({"owner": "other", "expires": wall_clock() + 15_000.0}));
    done(put_lease(&name(&world), &theirs), "their lease").await;
    let refresh = world.core.refresh();
    until("the wait", || databases.opened() >= 2).await;
    world.core.dispose();
    let settled = Promise::all_settled(&Array::of1(&refresh));
    done(settled, "refresh").await;
    let opened = databases.opened();
    settle().await;
    assert_eq!(databases.opened(), opened);
    assert_eq!(world.server.count(TOKEN), 0);
    done(drop_database(), "nobody has it open").await;
}
