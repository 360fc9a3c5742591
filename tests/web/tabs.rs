//! Two clients on one storage key behave like two tabs (behaviour.md §5, 7.8, 7.9, 7.14).

use super::kit::*;
use js_sys::{Array, Object, Promise};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

#[wasm_bindgen(module = "/tests/web/locks.js")]
extern "C" {
    type Holder;
    #[wasm_bindgen(constructor)]
    fn new() -> Holder;
    #[wasm_bindgen(method)]
    fn take(this: &Holder, name: &str, options: &JsValue) -> Promise;
    #[wasm_bindgen(method)]
    fn release(this: &Holder);
    #[wasm_bindgen(method, getter)]
    fn lost(this: &Holder) -> bool;

    type Unhandled;
    #[wasm_bindgen(constructor)]
    fn new() -> Unhandled;
    #[wasm_bindgen(method, getter)]
    fn count(this: &Unhandled) -> u32;
    #[wasm_bindgen(method)]
    fn stop(this: &Unhandled);

    fn never() -> Promise;
}

/// The id of the stored login.
fn sid(world: &World) -> String {
    let record = world.in_session().or_else(|| world.in_local()).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    record["sid"].as_str().unwrap().to_owned()
}

/// The name of the lock of the stored login.
fn lock_name(world: &World) -> String {
    format!("{}:refresh:{}", world.key(), sid(world))
}

/// The refresh locks of this world that are held or waited for.
async fn locks_of(world: &World) -> Vec<String> {
    let all: Array = done(locks(), "locks").await.unchecked_into();
    let mut all = strings(&all);
    let prefix = format!("{}:refresh:", world.key());
    all.retain(|name| name.starts_with(&prefix));
    all
}

/// Dispatches an event on the page or the document.
fn tell(target: &str, event: &str) {
    let target: web_sys::EventTarget = global(target).unchecked_into();
    let event = web_sys::Event::new(event).unwrap();
    put(&event, "persisted", &JsValue::TRUE);
    target.dispatch_event(&event).unwrap();
}

/// Somebody who holds the lock of the stored login and never lets go.
async fn stuck(world: &World) -> Holder {
    let holder = Holder::new();
    done(holder.take(&lock_name(world), &Object::new()), "the lock").await;
    holder
}

/// Waits until the lock and the right to steal it are given back. The note of a new token comes first,
/// and nobody waits for that.
async fn freed(world: &World) {
    let name = lock_name(world);
    for name in [&name, &[&name, ":steal"].concat()] {
        let next = Holder::new();
        done(next.take(name, &Object::new()), "a free lock").await;
        next.release();
    }
}

/// A refresh that waits for the lock as long as it may.
async fn in_vain(tab: &Tab, clock: &Clock) {
    let refresh = tab.core.refresh();
    until("the wait", || clock.pending() > 0).await;
    settle().await;
    clock.advance(10_001.0);
    assert_eq!(fails_with(refresh, "refresh").await, "timeout");
}

// 5.5, 5.8, known-failures 2, 12
#[wasm_bindgen_test]
async fn two_tabs_refresh_once_and_the_other_adopts() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(
        TOKEN,
        &[
            json!({"json": tokens(2), "hold": "refresh"}),
            json!({"status": 400, "json": {"error": "invalid_grant"}}),
        ],
    );
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let other = world.open();
    clock.jump(3_700_000.0);
    let (mine, theirs) = (world.get("/x"), other.get("/x"));
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    settle().await;
    world.server.open("refresh");
    assert_eq!(status(mine, "mine").await, 200);
    assert_eq!(status(theirs, "theirs").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.server.tokens_at(X), [bearer(2), bearer(2)]);
    assert!((world.metric("adopted") + other.metric("adopted") - 1.0).abs() < f64::EPSILON);
    for tab in [&world as &Tab, &other] {
        until("the event", || tab.host.told("refreshed")).await;
        assert!(!tab.host.told("reauth_required"));
    }
    let elsewhere =
        [&world as &Tab, &other].map(|tab| get(&tab.host.detail("refreshed"), "elsewhere"));
    assert_ne!(elsewhere[0], elsewhere[1]);
}

// 5.5, 7.9, known-failures 12
#[wasm_bindgen_test]
async fn ten_tabs_that_open_on_an_expiring_token_refresh_once() {
    let mut world = World::oauth2();
    world.server.script(TOKEN, &[grant(2), grant(3)]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    world.close();
    world.tamper(|record| record["expires_at"] = json!(1_000));
    let tabs: Vec<_> = (0..10).map(|_| world.open()).collect();
    for tab in &tabs {
        assert_eq!(tab.get_status("/x").await, 200);
    }
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.server.tokens_at(X), vec![bearer(2); 10]);
}

// 5.8: a hint, and then a look into storage.
#[wasm_bindgen_test]
async fn a_refresh_in_one_tab_reaches_the_other() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let other = world.open();
    done(world.core.refresh(), "refresh").await;
    until("the other tab", || other.host.told("refreshed")).await;
    assert_eq!(
        get(&other.host.detail("refreshed"), "elsewhere"),
        JsValue::TRUE
    );
    assert_eq!(other.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(2)]);
    assert!(other.metric("refreshes").abs() < f64::EPSILON);
}

// 5.11, known-failures 43
#[wasm_bindgen_test]
async fn signing_out_in_one_tab_signs_the_other_out() {
    for remember in [false, true] {
        let world = World::oauth2();
        world.server.script(REVOKE, &[json!({})]);
        world.server.script(X, &[json!({"json": {}})]);
        world.begin(&tokens(1), remember).await;
        let other = world.open();
        assert_eq!(other.status(), "authenticated");
        done(world.core.logout(), "logout").await;
        until("the other tab", || other.host.told("signed_out")).await;
        assert_eq!(
            get(&other.host.detail("signed_out"), "elsewhere"),
            JsValue::TRUE
        );
        assert_eq!(other.status(), "signed_out");
        assert_eq!(other.get_status("/x").await, 200);
        assert_eq!(world.server.tokens_at(X), [None]);
        assert_eq!(world.server.count(REVOKE), 1);
    }
}

// 5.8
#[wasm_bindgen_test]
async fn signing_in_in_one_tab_signs_the_other_in() {
    let world = World::oauth2();
    world.server.script(X, &[only(1)]);
    let other = world.open();
    world.sign_in(1).await;
    until("the other tab", || other.host.told("signed_in")).await;
    assert_eq!(
        get(&other.host.detail("signed_in"), "elsewhere"),
        JsValue::TRUE
    );
    assert_eq!(other.get_status("/x").await, 200);
}

// 5.12, 3.8, 7.14, known-failures 42
#[wasm_bindgen_test]
async fn requests_of_one_person_are_never_sent_with_the_token_of_the_next() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    world.server.script(REVOKE, &[json!({})]);
    let held = json!({"status": 401, "text": "mine", "hold": "answer"});
    world.server.script("GET https://api.test/sent", &[held]);
    world.sign_in(1).await;
    let other = world.open();
    let sent = world.get("/sent");
    clock.jump(3_700_000.0);
    let waiting = world.get("/waiting");
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    other.sign_in(9).await;
    until("the first tab", || world.host.told("user_changed")).await;
    world.server.open("answer");
    let answer = response(sent, "sent").await;
    assert_eq!(unread(&answer).await, "mine");
    world.server.open("refresh");
    assert_eq!(fails_with(waiting, "waiting").await, "user_changed");
    // The refresh of the first person comes to nothing, and its tokens are given back.
    until("the revocation", || world.server.got(REVOKE, &rt(2))).await;
    assert_eq!(world.server.count(REVOKE), 1);
    assert!(world.in_session().unwrap().contains(&rt(9)));
    assert_eq!(world.server.tokens_at("GET"), [bearer(1)]);
}

// 2.2, 7.8: refused because the other tab was first.
#[wasm_bindgen_test]
async fn a_refusal_that_another_tab_caused_is_no_news() {
    let world = World::oauth2();
    world.server.script(
        TOKEN,
        &[json!({"status": 400, "json": {"error": "invalid_grant"}, "hold": "refresh"})],
    );
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let refresh = world.core.refresh();
    until("the call", || world.server.count(TOKEN) == 1).await;
    world.tamper(|record| {
        record["access_token"] = json!(at(2));
        record["refresh_token"] = json!(rt(2));
        record["rotation"] = json!(1);
    });
    world.server.open("refresh");
    done(refresh, "refresh").await;
    assert_eq!(world.get_status("/x").await, 200);
    until("the event", || world.host.told("refreshed")).await;
    assert_eq!(
        get(&world.host.detail("refreshed"), "elsewhere"),
        JsValue::TRUE
    );
    assert!(!world.host.told("reauth_required"));
    assert!(world.in_session().unwrap().contains(&rt(2)));
}

// 3.12: a 401 looks into storage before anybody is called.
#[wasm_bindgen_test]
async fn a_401_finds_the_token_of_another_tab() {
    let world = World::new(&json!({"preset": "oauth2", "crossTab": false}));
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    world.tamper(|record| {
        record["access_token"] = json!(at(2));
        record["rotation"] = json!(1);
    });
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
    assert_eq!(world.server.count(TOKEN), 0);
}

// 3.12: the same while refreshing is paused: nobody needs to be called for a token that is there.
#[wasm_bindgen_test]
async fn a_401_finds_the_token_of_another_tab_while_refreshing_is_paused() {
    let world = World::new(&json!({"preset": "oauth2", "crossTab": false}));
    world.server.script(X, &[only(2)]);
    world.server.script(
        TOKEN,
        &[json!({"status": 429, "headers": {"retry-after": "120"}})],
    );
    world.sign_in(1).await;
    fails(world.core.refresh(), "busy").await;
    world.tamper(|record| {
        record["access_token"] = json!(at(2));
        record["rotation"] = json!(1);
    });
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.3, 5.4, known-failures 15, 34: a hung holder does not hang the app.
#[wasm_bindgen_test]
async fn a_lock_that_nobody_gives_back_is_waited_for_no_longer_than_ten_seconds() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(X, &[json!({"status": 401, "text": "mine"})]);
    world.sign_in(1).await;
    let release = done(hold_lock(&lock_name(&world)), "the lock").await;
    let release: js_sys::Function = release.unchecked_into();
    clock.jump(3_700_000.0);
    let answer = world.get("/x");
    let refresh = world.core.refresh();
    until("the wait", || clock.pending() > 0).await;
    settle().await;
    assert_eq!(world.server.count("GET"), 0);
    clock.advance(10_001.0);
    assert_eq!(fails_with(refresh, "refresh").await, "timeout");
    // The request went out as it was, and its 401 waits once more.
    until("the send", || world.server.tokens_at(X) == [bearer(1)]).await;
    settle().await;
    clock.advance(10_001.0);
    let answer = response(answer, "x").await;
    assert_eq!(unread(&answer).await, "mine");
    assert_eq!((world.server.count(X), world.server.count(TOKEN)), (1, 0));
    release.call0(&JsValue::UNDEFINED).unwrap();
    world.server.script(TOKEN, &[grant(2)]);
    done(world.core.refresh(), "once it is free").await;
    // The note of the new token comes first, and nobody here waits for that.
    let name = lock_name(&world);
    drop(done(hold_lock(&name), "the free lock").await);
}

// Known-failures 20: the lock is given back after a failure, too.
#[wasm_bindgen_test]
async fn a_failed_refresh_gives_the_lock_back() {
    let world = World::oauth2();
    world.server.script(
        TOKEN,
        &[
            json!({"status": 429, "headers": {"retry-after": "0"}}),
            grant(2),
        ],
    );
    world.sign_in(1).await;
    fails(world.core.refresh(), "busy").await;
    let other = world.open();
    until("the pause", || {
        number(&other.core.snapshot(), "retryAt").is_nan()
    })
    .await;
    done(other.core.refresh(), "the other tab").await;
}

// 2.12, known-failures 27: what one tab learns of the server, the others need not try.
#[wasm_bindgen_test]
async fn tabs_share_the_pause() {
    let world = World::oauth2();
    world.server.script(
        TOKEN,
        &[json!({"status": 429, "headers": {"retry-after": "120"}})],
    );
    world.sign_in(1).await;
    let other = world.open();
    fails(world.core.refresh(), "busy").await;
    fails(other.core.refresh(), "the other tab").await;
    let third = world.open();
    fails(third.core.refresh(), "a new tab").await;
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.8, 6.16, 7.25: messages are hints; a forged one causes a look into storage, and nothing else.
#[wasm_bindgen_test]
async fn forged_messages_change_nothing() {
    let world = World::oauth2();
    world.server.script(X, &[only(1)]);
    world.sign_in(1).await;
    until("the hint", || world.channel.heard() == 1).await;
    settle().await;
    world.host.forget();
    for forged in [
        json!({"v": 1, "type": "changed"}),
        json!({"v": 1, "type": "signed_out", "sid": sid(&world)}),
        json!({"type": "changed", "access_token": "evil", "gen": 99}),
        json!(null),
        json!("changed"),
        json!(["changed"]),
    ] {
        world.channel.say(&js(&forged));
    }
    settle().await;
    assert_eq!(world.host.events(), [""; 0]);
    assert_eq!(world.status(), "authenticated");
    assert_eq!(world.get_status("/x").await, 200);
}

// README: Options
#[wasm_bindgen_test]
async fn without_cross_tab_nothing_is_said_or_heard() {
    let world = World::new(&json!({"preset": "oauth2", "crossTab": false}));
    let other = world.open();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    done(world.core.refresh(), "refresh").await;
    settle().await;
    assert_eq!(world.channel.heard(), 0);
    assert_eq!(other.host.events(), [""; 0]);
}

// 5.8: old browsers.
#[wasm_bindgen_test]
async fn without_locks_and_channels_everything_else_works() {
    restore();
    let mut world = World::behind(&json!({"preset": "oauth2"}));
    patch_value(&global("navigator"), "locks", &JsValue::UNDEFINED);
    patch_value(&js_sys::global(), "BroadcastChannel", &JsValue::UNDEFINED);
    world.server.script(REVOKE, &[json!({})]);
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    world.start();
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
    // The other tab is heard of through the storage event.
    let other = world.open();
    done(world.core.logout(), "logout").await;
    let event = web_sys::Event::new("storage").unwrap();
    put(&event, "key", &world.key().into());
    let page: web_sys::EventTarget = js_sys::global().unchecked_into();
    page.dispatch_event(&event).unwrap();
    until("the other tab", || other.host.told("signed_out")).await;
}

// 5.5: what is kept in one place is refreshed once, whether or not the tabs talk.
#[wasm_bindgen_test]
async fn without_cross_tab_a_shared_session_is_still_refreshed_once() {
    let world = World::new(&json!({"preset": "oauth2", "crossTab": false, "storage": "local"}));
    let clock = Clock::new();
    world.server.script(
        TOKEN,
        &[
            json!({"json": tokens(2), "hold": "refresh"}),
            json!({"status": 400, "json": {"error": "invalid_grant"}}),
        ],
    );
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let other = world.open();
    clock.jump(3_700_000.0);
    let (mine, theirs) = (world.get("/x"), other.get("/x"));
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    settle().await;
    world.server.open("refresh");
    assert_eq!(status(mine, "mine").await, 200);
    assert_eq!(status(theirs, "theirs").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.server.tokens_at(X), [bearer(2), bearer(2)]);
    assert_eq!(world.channel.heard(), 0);
}

// 5.11: each tab has a sessionStorage of its own, and a duplicated tab a copy of the record.
#[wasm_bindgen_test]
async fn a_logout_elsewhere_leaves_no_record_in_this_tabs_own_storage() {
    let world = World::oauth2();
    world.server.script(REVOKE, &[json!({})]);
    world.sign_in(1).await;
    let other = world.open();
    settle().await;
    let copy = world.in_session().unwrap();
    let out = world.core.logout();
    assert_eq!(world.in_session(), None);
    // The tabs of this test share one storage: this is the other tab's.
    storage("sessionStorage")
        .set_item(world.key(), &copy)
        .unwrap();
    done(out, "logout").await;
    until("the other tab", || other.host.told("signed_out")).await;
    settle().await;
    assert_eq!(world.in_session(), None);
    assert_eq!(world.open().status(), "anonymous");
}

// 5.6, known-failures 44: neither the lock nor a request for it keeps the page out of the back-forward
// cache, or the others waiting
#[wasm_bindgen_test]
async fn a_page_that_sleeps_holds_nothing_and_waits_for_nothing() {
    for (target, asleep, awake) in [
        ("window", "pagehide", "pageshow"),
        ("document", "freeze", "resume"),
    ] {
        let world = World::oauth2();
        world
            .server
            .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
        world.sign_in(1).await;
        let other = world.open();
        let mine = world.core.refresh();
        until("the call", || world.server.count(TOKEN) == 1).await;
        let theirs = other.core.refresh();
        settle().await;
        assert_eq!(locks_of(&world).await.len(), 2, "one holds, one waits");
        tell(target, asleep);
        settle().await;
        assert_eq!(locks_of(&world).await, [""; 0]);
        let again = other.core.refresh();
        settle().await;
        assert_eq!(locks_of(&world).await, [""; 0]);
        // The answer holds the only valid token, whoever has the lock now (5.4, 5.10).
        world.server.open("refresh");
        done(mine, "the refresh").await;
        assert!(world.in_session().unwrap().contains(&rt(2)));
        assert_eq!(locks_of(&world).await, [""; 0]);
        assert_eq!(world.server.count(TOKEN), 1);
        tell(target, awake);
        // What waited finds the new token.
        done(theirs, "the wait").await;
        done(again, "asleep").await;
        assert_eq!(world.server.count(TOKEN), 1);
        world.server.script(TOKEN, &[grant(3)]);
        done(other.core.refresh(), "awake").await;
        assert!(world.server.got(TOKEN, &rt(2)));
        assert_eq!(world.server.count(TOKEN), 2);
    }
}

// 5.6, 5.7: and also if it is back before anything of ours has run
#[wasm_bindgen_test]
async fn what_waited_for_the_lock_during_a_short_sleep_asks_again() {
    let world = World::oauth2();
    world.server.script(
        TOKEN,
        &[json!({"status": 500, "hold": "refresh"}), grant(2)],
    );
    world.sign_in(1).await;
    let other = world.open();
    let mine = world.core.refresh();
    until("the call", || world.server.count(TOKEN) == 1).await;
    let theirs = other.core.refresh();
    settle().await;
    tell("window", "pagehide");
    tell("window", "pageshow");
    done(theirs, "the wait").await;
    world.server.open("refresh");
    drop(wasm_bindgen_futures::JsFuture::from(mine).await);
    assert_eq!(world.server.count(TOKEN), 2);
}

// 5.6, 5.7
#[wasm_bindgen_test]
async fn a_page_that_sleeps_hears_nothing_and_catches_up_when_it_wakes() {
    let world = World::oauth2();
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    until("the hint", || world.channel.heard() == 1).await;
    settle().await;
    tell("window", "pagehide");
    world.host.forget();
    world.tamper(|record| {
        record["access_token"] = json!(at(2));
        record["rotation"] = json!(1);
    });
    world.channel.say(&js(&json!({"v": 1, "type": "changed"})));
    settle().await;
    assert_eq!(world.host.events(), [""; 0]);
    tell("window", "pageshow");
    until("the event", || world.host.told("refreshed")).await;
    assert_eq!(world.get_status("/x").await, 200);
    // The channel works again, in both directions, and is open once.
    world.host.forget();
    world.tamper(|record| {
        record["access_token"] = json!(at(3));
        record["rotation"] = json!(2);
    });
    world.channel.say(&js(&json!({"v": 1, "type": "changed"})));
    until("the hint", || world.host.told("refreshed")).await;
    tell("window", "pageshow");
    let heard = world.channel.heard();
    world.sign_in(4).await;
    until("our own hint", || world.channel.heard() > heard).await;
    settle().await;
    assert_eq!(world.channel.heard(), heard + 1);
}

// Known-failures 47
#[wasm_bindgen_test]
async fn a_disposed_client_waits_for_no_lock() {
    let world = World::oauth2();
    world.sign_in(1).await;
    let name = lock_name(&world);
    let holder = stuck(&world).await;
    let refresh = world.core.refresh();
    settle().await;
    assert_eq!(locks_of(&world).await.len(), 2);
    world.core.dispose();
    done(Promise::all_settled(&Array::of1(&refresh)), "refresh").await;
    assert_eq!(locks_of(&world).await, [name]);
    assert_eq!(world.server.count(TOKEN), 0);
    holder.release();
}

// 5.4, known-failures 15: nobody gives this lock back, and its page lives.
#[wasm_bindgen_test]
async fn a_lock_that_was_kept_for_too_long_is_stolen() {
    let unhandled = Unhandled::new();
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    let holder = stuck(&world).await;
    for _ in 0..2 {
        in_vain(&world, &clock).await;
    }
    // A computer that sleeps proves nothing: its holder slept as well.
    clock.jump(3_000_000.0);
    // 20 s of waiting; after refreshTimeout + 15 s it is enough.
    let refresh = world.core.refresh();
    settle().await;
    clock.advance(4_900.0);
    settle().await;
    assert!(!holder.lost());
    clock.advance(200.0);
    done(refresh, "refresh").await;
    assert!(holder.lost());
    assert_eq!(world.server.count(TOKEN), 1);
    freed(&world).await;
    assert_eq!(unhandled.count(), 0);
    unhandled.stop();
}

// 5.4: who holds it now is not who held it then, though the platform gives both the same name.
#[wasm_bindgen_test]
async fn a_lock_that_was_free_meanwhile_is_not_stolen() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    let first = stuck(&world).await;
    in_vain(&world, &clock).await;
    first.release();
    let second = stuck(&world).await;
    clock.jump(60_000.0);
    for _ in 0..2 {
        in_vain(&world, &clock).await;
        assert!(!second.lost());
    }
    let refresh = world.core.refresh();
    settle().await;
    clock.advance(5_001.0);
    done(refresh, "refresh").await;
    assert!(second.lost());
}

// 5.4, known-failures 16
#[wasm_bindgen_test]
async fn two_tabs_do_not_steal_from_each_other() {
    let world = World::oauth2();
    let clock = Clock::new();
    let held = json!({"json": tokens(2), "hold": "refresh"});
    world.server.script(TOKEN, &[held]);
    world.sign_in(1).await;
    let other = world.open();
    let holder = stuck(&world).await;
    for tab in [&world as &Tab, &other, &world, &other] {
        in_vain(tab, &clock).await;
    }
    let both = [&world as &Tab, &other].map(|tab| tab.core.refresh());
    settle().await;
    clock.advance(5_001.0);
    until("the call", || world.server.count(TOKEN) > 0).await;
    settle().await;
    assert!(holder.lost());
    assert_eq!(world.server.count(TOKEN), 1);
    world.server.open("refresh");
    let both = Promise::all_settled(&Array::of2(&both[0], &both[1]));
    done(both, "both").await;
    assert_eq!(world.server.count(TOKEN), 1);
    freed(&world).await;
}

// 5.4: the same when one of them comes later. The lock was not free in between.
#[wasm_bindgen_test]
async fn a_tab_does_not_steal_what_another_has_stolen() {
    let world = World::oauth2();
    let clock = Clock::new();
    let held = json!({"json": tokens(2), "hold": "refresh"});
    world.server.script(TOKEN, &[held]);
    world.sign_in(1).await;
    let other = world.open();
    stuck(&world).await;
    for tab in [&world as &Tab, &other, &world, &other] {
        in_vain(tab, &clock).await;
    }
    let mine = world.core.refresh();
    settle().await;
    clock.advance(5_001.0);
    until("the call", || world.server.count(TOKEN) == 1).await;
    let theirs = other.core.refresh();
    settle().await;
    clock.advance(5_001.0);
    assert_eq!(fails_with(theirs, "the other tab").await, "timeout");
    assert_eq!(world.server.count(TOKEN), 1);
    world.server.open("refresh");
    done(mine, "refresh").await;
}

// 5.4: a thief may be stuck as well.
#[wasm_bindgen_test]
async fn what_was_stolen_is_not_stolen_again() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.sign_in(1).await;
    let (thief, turn) = (stuck(&world).await, Holder::new());
    let steal = format!("{}:steal", lock_name(&world));
    done(turn.take(&steal, &Object::new()), "the turn").await;
    for _ in 0..2 {
        in_vain(&world, &clock).await;
    }
    for _ in 0..3 {
        let refresh = world.core.refresh();
        settle().await;
        clock.advance(10_001.0);
        assert_eq!(fails_with(refresh, "refresh").await, "timeout");
    }
    assert!(!thief.lost());
    assert_eq!(world.server.count(TOKEN), 0);
    thief.release();
    turn.release();
}

// 5.4, 5.10: the answer of a frozen tab holds the only valid token, although its lock is gone.
#[wasm_bindgen_test]
async fn the_late_answer_of_a_tab_whose_lock_was_stolen_is_kept() {
    let unhandled = Unhandled::new();
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(
        TOKEN,
        &[
            json!({"json": tokens(2), "hold": "late"}),
            json!({"status": 503, "hold": "second"}),
        ],
    );
    world.sign_in(1).await;
    let other = world.open();
    // No timer of the first tab fires while it makes its call: it is frozen.
    let (page, timers) = (js_sys::global().into(), global("setTimeout"));
    let deaf: Closure<dyn FnMut() -> u32> = Closure::new(|| 0);
    patch_value(&page, "setTimeout", deaf.as_ref());
    let frozen = world.core.refresh();
    until("the call", || world.server.count(TOKEN) == 1).await;
    patch_value(&page, "setTimeout", &timers);
    in_vain(&other, &clock).await;
    in_vain(&other, &clock).await;
    let second = other.core.refresh();
    settle().await;
    clock.advance(5_001.0);
    until("the second call", || world.server.count(TOKEN) == 2).await;
    assert!(
        locks_of(&world)
            .await
            .contains(&[&lock_name(&world), ":steal"].concat())
    );
    world.server.open("late");
    done(frozen, "the first call").await;
    assert!(world.in_session().unwrap().contains(&rt(2)));
    world.server.open("second");
    done(second, "the other tab has what it wanted").await;
    freed(&world).await;
    assert_eq!(world.server.count(TOKEN), 2);
    assert_eq!(unhandled.count(), 0);
    unhandled.stop();
}

// 5.4
#[wasm_bindgen_test]
async fn a_tab_whose_lock_was_stolen_starts_no_call() {
    let unhandled = Unhandled::new();
    let world = World::oauth2();
    let clock = Clock::new();
    world.begin(&tokens(1), true).await;
    let name = lock_name(&world);
    let question: Closure<dyn FnMut() -> Promise> = Closure::new(never);
    let manager = get(&global("navigator"), "locks");
    patch_value(&manager, "query", question.as_ref());
    let refresh = world.core.refresh();
    until("the question", || clock.pending() > 0).await;
    settle().await;
    let thief = Holder::new();
    let steal = js(&json!({"steal": true}));
    done(thief.take(&name, steal.unchecked_ref()), "the lock").await;
    settle().await;
    clock.advance(1_001.0);
    assert_eq!(fails_with(refresh, "refresh").await, "timeout");
    assert_eq!(world.server.count(TOKEN), 0);
    assert!(!thief.lost());
    thief.release();
    settle().await;
    assert_eq!(unhandled.count(), 0);
    unhandled.stop();
}
