//! Signing out at every point at which a refresh waits for something (behaviour.md 5.11, 7.13), and what else
//! happens around those points (5.2, 5.3, 5.10).

use super::kit::*;
use js_sys::{Array, Function, Promise};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

fn oauth2() -> Value {
    json!({"preset": "oauth2", "clientId": "demo"})
}

/// Somebody is signed in with token 1; requests want token 2.
async fn signed_in(remember: bool, answers: &[Value]) -> World {
    let world = World::oauth2();
    world.server.script(TOKEN, answers);
    world.server.script(REVOKE, &[json!({})]);
    world.server.script(X, &[only(2)]);
    world.begin(&tokens(1), remember).await;
    world
}

/// The locks of this world that are held or waited for.
async fn held(world: &World) -> Vec<String> {
    let mut names = strings(done(locks(), "locks").await.unchecked_ref::<Array>());
    names.retain(|name| name.starts_with(world.key()));
    names
}

/// Waits until the lock manager knows such a lock.
async fn shows_up(world: &World, part: &str) {
    for _ in 0..50 {
        if held(world).await.iter().any(|name| name.contains(part)) {
            return;
        }
        settle().await;
    }
    panic!("no lock {part}");
}

/// Waits until the lock manager knows of no lock of this world.
async fn lets_go(world: &World) {
    for _ in 0..50 {
        if held(world).await.is_empty() {
            return;
        }
        settle().await;
    }
    panic!("still there: {:?}", held(world).await);
}

/// The person signs out now. Whatever comes later, nobody is signed in and the server knows of it.
async fn is_out_for_good(world: &World, refresh: Promise, late: impl FnOnce(), revoked: &[u32]) {
    let out = world.core.logout();
    assert_eq!((world.in_session(), world.in_local()), (None, None));
    late();
    done(out, "logout").await;
    assert_eq!(fails_with(refresh, "refresh").await, "signed_out");
    until("the revocations", || {
        revoked.iter().all(|n| world.server.got(REVOKE, &rt(*n)))
    })
    .await;
    settle().await;
    assert_eq!(world.server.count(REVOKE), revoked.len());
    assert_eq!((world.in_session(), world.in_local()), (None, None));
    assert_eq!(world.status(), "signed_out");
    let token = done(world.core.get_access_token(None), "token").await;
    assert!(token.is_null());
    assert_eq!(world.host.events().last().unwrap(), "signed_out");
    assert_eq!(world.host.times("signed_out"), 1);
    assert!(!world.host.told("reauth_required"));
}

// 5.11, 7.13: while another tab holds the lock
#[wasm_bindgen_test]
async fn a_sign_out_while_the_refresh_waits_for_the_lock() {
    let world = signed_in(false, &[grant(2)]).await;
    let sid = world.record()["sid"].as_str().unwrap().to_owned();
    let lock = [world.key(), ":refresh:", &sid].concat();
    let release: Function = done(hold_lock(&lock), "lock").await.unchecked_into();
    let refresh = world.core.refresh();
    settle().await;
    let late = || drop(release.call0(&JsValue::UNDEFINED));
    is_out_for_good(&world, refresh, late, &[1]).await;
    assert_eq!(world.server.count(TOKEN), 0);
}

// 5.11, 7.13: while the lock manager is asked for notes of other tabs
#[wasm_bindgen_test]
async fn a_sign_out_while_the_notes_are_read() {
    let world = signed_in(true, &[grant(2)]).await;
    let release: Rc<RefCell<Option<Function>>> = Rc::default();
    let slot = Rc::clone(&release);
    let query = Closure::<dyn FnMut() -> Promise>::new(move || {
        Promise::new(&mut |resolve, _| *slot.borrow_mut() = Some(resolve))
    });
    let manager = get(&global("navigator"), "locks");
    patch_value(&manager, "query", query.as_ref());
    let refresh = world.core.refresh();
    until("the question", || release.borrow().is_some()).await;
    let late = || {
        let none = js(&json!({"held": [], "pending": []}));
        drop(
            release
                .borrow()
                .as_ref()
                .unwrap()
                .call1(&JsValue::UNDEFINED, &none),
        );
    };
    is_out_for_good(&world, refresh, late, &[1]).await;
    assert_eq!(world.server.count(TOKEN), 0);
    restore();
}

// 5.11, 7.13: while storage has yet to show what another tab noted
#[wasm_bindgen_test]
async fn a_sign_out_while_storage_catches_up() {
    let world = signed_in(true, &[grant(2)]).await;
    let sid = world.record()["sid"].as_str().unwrap().to_owned();
    let note = [world.key(), ":stored:", &sid, ":5"].concat();
    let release: Function = done(hold_lock(&note), "note").await.unchecked_into();
    let clock = Clock::new();
    let refresh = world.core.refresh();
    shows_up(&world, ":refresh:").await;
    until("the pause", || clock.pending() == 1).await;
    settle().await;
    let late = || {
        drop(release.call0(&JsValue::UNDEFINED));
        clock.advance(2_000.0);
    };
    is_out_for_good(&world, refresh, late, &[1]).await;
    assert_eq!(world.server.count(TOKEN), 0);
}

// 5.11, 7.13, known-failures 38: while the server thinks
#[wasm_bindgen_test]
async fn a_sign_out_while_the_call_is_under_way() {
    for remember in [false, true] {
        let held = json!({"json": tokens(2), "hold": "call"});
        let world = signed_in(remember, &[held]).await;
        let refresh = world.core.refresh();
        until("the call", || world.server.count(TOKEN) == 1).await;
        is_out_for_good(&world, refresh, || world.server.open("call"), &[1, 2]).await;
    }
}

// 5.11, 7.13: between the halves of the answer
#[wasm_bindgen_test]
async fn a_sign_out_while_the_answer_is_half_read() {
    for remember in [false, true] {
        let halved = json!({"json": tokens(2), "half": "body"});
        let world = signed_in(remember, &[halved]).await;
        let refresh = world.core.refresh();
        until("the answer", || {
            world
                .server
                .calls(TOKEN)
                .iter()
                .any(|call| !call.response().is_undefined())
        })
        .await;
        settle().await;
        is_out_for_good(&world, refresh, || world.server.open("body"), &[1, 2]).await;
    }
}

/// A `parseTokens` whose answer waits until it is let go.
fn parser() -> (JsValue, Rc<RefCell<Option<Function>>>) {
    let release: Rc<RefCell<Option<Function>>> = Rc::default();
    let slot = Rc::clone(&release);
    let parse = Closure::<dyn FnMut() -> Promise>::new(move || {
        Promise::new(&mut |resolve, _| *slot.borrow_mut() = Some(resolve))
    });
    (parse.into_js_value(), release)
}

// 5.11, 7.13: while the app reads the answer
#[wasm_bindgen_test]
async fn a_sign_out_while_parse_tokens_runs() {
    let (parse, release) = parser();
    let mut world = World::empty(&oauth2());
    world.option("parseTokens", &parse);
    world.start();
    world.server.script(TOKEN, &[json!({"json": {}})]);
    world.server.script(REVOKE, &[json!({})]);
    world.begin(&tokens(1), true).await;
    let refresh = world.core.refresh();
    until("the parser", || release.borrow().is_some()).await;
    let late = || {
        let read = release.borrow();
        drop(
            read.as_ref()
                .unwrap()
                .call1(&JsValue::UNDEFINED, &js(&tokens(2))),
        );
    };
    is_out_for_good(&world, refresh, late, &[1, 2]).await;
}

// 5.11, 7.13: between a failure and the second try
#[wasm_bindgen_test]
async fn a_sign_out_in_the_pause_before_the_second_try() {
    let world = signed_in(false, &[json!({"status": 500}), grant(2)]).await;
    let clock = Clock::new();
    clock.jump(3_700_000.0);
    let refresh = world.core.refresh();
    until("the failure", || world.host.told("refresh_failed")).await;
    settle().await;
    assert!(clock.pending() > 0);
    is_out_for_good(&world, refresh, || clock.advance(10_000.0), &[1]).await;
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(clock.pending(), 0);
}

// 5.11, 7.13: while the note of the new token is written: the newest token is the one to revoke
#[wasm_bindgen_test]
async fn a_sign_out_while_the_note_is_written() {
    let world = signed_in(true, &[grant(2)]).await;
    let refresh = world.core.refresh();
    until("the token is stored", || {
        world.in_local().unwrap().contains(&rt(2))
    })
    .await;
    done(world.core.logout(), "logout").await;
    drop(refresh);
    settle().await;
    assert_eq!((world.in_session(), world.in_local()), (None, None));
    assert_eq!(world.server.count(REVOKE), 1);
    assert!(world.server.got(REVOKE, &rt(2)));
    assert_eq!(world.status(), "signed_out");
}

// 5.11, 7.13: while a sign-in is read, too
#[wasm_bindgen_test]
async fn a_sign_out_while_parse_tokens_reads_a_sign_in() {
    let (parse, release) = parser();
    let mut world = World::empty(&oauth2());
    world.option("parseTokens", &parse);
    world.start();
    world.server.script(TOKEN, &[json!({"json": {}})]);
    world.server.script(REVOKE, &[json!({})]);
    let login = world.core.login(object(&json!({"code": "x"})), true);
    until("the parser", || release.borrow().is_some()).await;
    done(world.core.logout(), "logout").await;
    drop(
        release
            .borrow()
            .as_ref()
            .unwrap()
            .call1(&JsValue::UNDEFINED, &js(&tokens(2))),
    );
    assert_eq!(fails_with(login, "login").await, "signed_out");
    assert!(world.server.got(REVOKE, &rt(2)));
    assert_eq!((world.in_session(), world.in_local()), (None, None));
}

// 6.24: nothing of ours is left behind
#[wasm_bindgen_test]
async fn after_a_sign_out_no_timer_runs_and_no_lock_is_held() {
    for remember in [false, true] {
        let world = signed_in(remember, &[grant(2)]).await;
        let clock = Clock::new();
        assert_eq!(world.get_status("/x").await, 200);
        if remember {
            shows_up(&world, ":stored:").await;
        }
        done(world.core.logout(), "logout").await;
        settle().await;
        clock.advance(3_000.0);
        lets_go(&world).await;
        assert_eq!(clock.pending(), 0);
        assert_eq!((world.in_session(), world.in_local()), (None, None));
    }
}

// 5.10, 5.2: when the app hears of a token, storage has it, and the lock is on its way back
#[wasm_bindgen_test]
async fn whoever_hears_of_a_refresh_finds_it_in_storage_and_may_refresh_again() {
    for remember in [false, true] {
        let world = Rc::new(signed_in(remember, &[grant(2), grant(3)]).await);
        let again: Rc<RefCell<Option<(bool, Promise)>>> = Rc::default();
        let (weak, noted) = (Rc::downgrade(&world), Rc::clone(&again));
        let callback = Closure::<dyn FnMut(String)>::new(move |name: String| {
            let Some(world) = weak.upgrade() else { return };
            if name == "refreshed" && noted.borrow().is_none() {
                let kept = [world.in_session(), world.in_local()];
                let stored = kept.into_iter().flatten().any(|text| text.contains(&rt(2)));
                *noted.borrow_mut() = Some((stored, world.core.refresh()));
            }
        });
        world.host.set_on_event(callback.as_ref());
        // Time stands still: nothing here ends because some patience does.
        let clock = Clock::new();
        done(world.core.refresh(), "refresh").await;
        until("the news", || again.borrow().is_some()).await;
        let (stored, promise) = again.take().unwrap();
        assert!(stored, "remember: {remember}");
        *again.borrow_mut() = Some((true, promise.clone()));
        done(promise, "from within").await;
        world.host.set_on_event(&JsValue::UNDEFINED);
        assert_eq!(world.server.count(TOKEN), 2);
        settle().await;
        clock.advance(3_000.0);
        lets_go(&world).await;
    }
}

// 5.10: a slot that was empty when the refresh began may be filled
#[wasm_bindgen_test]
async fn a_record_that_vanished_before_the_refresh_is_there_again_after_it() {
    let world = signed_in(false, &[grant(2)]).await;
    storage("sessionStorage").remove_item(world.key()).unwrap();
    done(world.core.refresh(), "refresh").await;
    assert_eq!(world.record()["refresh_token"], rt(2));
    assert_eq!(world.get_status("/x").await, 200);
    assert!(!world.host.told("signed_out"));
}

// 5.2, known-failures 17: the one function of the app that runs under the lock cannot hang on it
#[wasm_bindgen_test]
async fn parse_tokens_that_waits_for_the_refresh_it_is_part_of_ends_with_the_timeout() {
    for method in ["refresh", "getSession", "fetch"] {
        let asked: Rc<RefCell<Option<Promise>>> = Rc::default();
        let home: Rc<RefCell<std::rc::Weak<World>>> = Rc::default();
        let (slot, place) = (Rc::clone(&asked), Rc::clone(&home));
        let parse = Closure::<dyn FnMut() -> Promise>::new(move || {
            let Some(world) = place.borrow().upgrade() else {
                return Promise::resolve(&JsValue::NULL);
            };
            let waited = match method {
                "refresh" => world.core.refresh(),
                "getSession" => world.core.get_session(),
                _ => world.get("/x"),
            };
            *slot.borrow_mut() = Some(waited.clone());
            waited
        });
        let mut world = World::empty(&oauth2());
        world.option("parseTokens", parse.as_ref());
        world.start();
        world.server.script(TOKEN, &[json!({"json": {}})]);
        world.server.script(X, &[json!({"json": {}})]);
        world.begin(&tokens(1), true).await;
        let world = Rc::new(world);
        *home.borrow_mut() = Rc::downgrade(&world);
        let clock = Clock::new();
        clock.jump(3_700_000.0);
        let refresh = world.core.refresh();
        until("the parser", || asked.borrow().is_some()).await;
        clock.pass_until(&refresh).await;
        let said = fails_with(refresh, method).await;
        assert!(
            ["timeout", "circuit_open"].contains(&said.as_str()),
            "{method}: {said}"
        );
        let inside = asked.borrow().clone().unwrap();
        done(Promise::all_settled(&Array::of1(&inside)), method).await;
        settle().await;
        assert!(
            !held(&world)
                .await
                .iter()
                .any(|name| name.contains(":refresh:")),
            "{method}"
        );
        assert!(world.record()["refresh_token"] == rt(1));
        *home.borrow_mut() = std::rc::Weak::new();
    }
}

// 5.3, 5.4, known-failures 15: a tab whose refresh never ends holds the others up for no longer than that
#[wasm_bindgen_test]
async fn a_refresh_that_never_ends_in_one_tab_is_made_by_the_next() {
    for never in ["headers", "body", "parseTokens"] {
        let mut world = World::empty(&oauth2());
        let (parse, _never) = parser();
        if never == "parseTokens" {
            world.option("parseTokens", &parse);
        }
        world.start();
        let stuck = match never {
            "headers" => json!({"hold": "never"}),
            "body" => json!({"json": tokens(2), "half": "never"}),
            _ => json!({"json": {}}),
        };
        world.server.script(TOKEN, &[stuck, grant(2)]);
        world.server.script(X, &[only(2)]);
        world.begin(&tokens(1), true).await;
        let parse = Function::new_with_args("body", "return body");
        world.option("parseTokens", &parse);
        let other = world.open();
        let clock = Clock::new();
        clock.jump(3_700_000.0);
        let first = world.core.refresh();
        until("the call", || world.server.count(TOKEN) == 1).await;
        settle().await;
        clock.advance(1_000.0);
        let waiting = other.get("/x");
        settle().await;
        assert_eq!(world.server.count(TOKEN), 1, "{never}");
        clock.advance(9_001.0);
        // Both may try again after a moment's pause: one of them does.
        clock.pass_until(&first).await;
        clock.pass_until(&waiting).await;
        done(Promise::all_settled(&Array::of1(&first)), never).await;
        let answer = status(waiting, never).await;
        assert_eq!(world.server.count(TOKEN), 2, "{never}");
        let sent: Vec<_> = world.server.calls(TOKEN).iter().map(Call::text).collect();
        assert_eq!(sent[0], sent[1], "{never}");
        assert!(
            answer == 200 || other.get_status("/x").await == 200,
            "{never}"
        );
    }
}
