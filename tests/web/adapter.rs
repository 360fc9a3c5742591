//! Storage of the app's own (behaviour.md 5.16): what it gives back is untrusted like any other.

use super::kit::*;
use js_sys::Function;
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// An adapter whose methods are what this expression makes of a `Map`.
fn adapter(source: &str) -> JsValue {
    let make = Function::new_with_args("kept", &["return ", source].concat());
    make.call1(&JsValue::UNDEFINED, &js_sys::Map::new())
        .unwrap()
}

const GOOD: &str = "{ kept, getItem(key) { return this.kept.get(key) ?? null },
    setItem(key, value) { this.kept.set(key, value) }, removeItem(key) { this.kept.delete(key) } }";

fn in_it(own: &JsValue) -> String {
    let kept: js_sys::Map = get(own, "kept").unchecked_into();
    let values = js_sys::Array::from(&kept.values());
    String::from(values.join("\n"))
}

fn with(own: &JsValue) -> World {
    let mut world = World::empty(&json!({"preset": "oauth2", "clientId": "demo"}));
    world.option("storage", own);
    world.start();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(REVOKE, &[json!({})]);
    world.server.script(X, &[only(2)]);
    world
}

// 5.16, 6.3: the record is there, and nowhere else
#[wasm_bindgen_test]
async fn a_session_is_kept_in_the_apps_own_storage_and_nowhere_else() {
    for remember in [false, true] {
        let own = adapter(GOOD);
        let mut world = with(&own);
        world.begin(&tokens(1), remember).await;
        assert_eq!(world.persisted(), "custom");
        assert!(in_it(&own).contains(&at(1)));
        assert_eq!(world.get_status("/x").await, 200);
        assert!(in_it(&own).contains(&rt(2)) && !in_it(&own).contains(&rt(1)));
        assert_eq!((world.in_session(), world.in_local()), (None, None));
        world.close();
        world.start();
        assert_eq!(world.status(), "authenticated");
        assert_eq!(world.get_status("/x").await, 200);
        done(world.core.logout(), "logout").await;
        assert!(!in_it(&own).contains(CANARY));
        world.close();
        world.start();
        let ended = get(&world.core.snapshot(), "ended");
        assert_eq!(text(&ended, "reason"), "signed_out");
        assert!(world.server.got(REVOKE, &rt(2)));
        assert!(!world.host.told("storage_degraded"));
        for place in ["sessionStorage", "localStorage"] {
            let note = [world.key(), ":ended"].concat();
            assert_eq!(storage(place).get_item(&note).unwrap(), None, "{place}");
        }
    }
}

// 5.16: two clients on one adapter are two tabs
#[wasm_bindgen_test]
async fn two_clients_on_one_storage_follow_each_other() {
    let own = adapter(GOOD);
    let world = with(&own);
    world.sign_in(1).await;
    let other = world.open();
    assert_eq!(other.status(), "authenticated");
    done(world.core.refresh(), "refresh").await;
    until("the news", || other.host.told("refreshed")).await;
    assert_eq!(other.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
    done(other.core.logout(), "logout").await;
    until("the news", || world.host.told("signed_out")).await;
}

// 5.16, known-failures 24: whatever it does, the session lives in memory and requests go on
#[wasm_bindgen_test]
async fn storage_that_does_not_keep_its_word_is_memory() {
    for source in [
        "{ getItem() { throw 1 }, setItem() { throw 2 }, removeItem() { throw 3 } }",
        "{ getItem() { return null }, setItem() { throw 2 }, removeItem() {} }",
        "{ getItem() { return null }, setItem() {}, removeItem() {} }",
        "{ async getItem(key) { return kept.get(key) }, async setItem(key, value) { kept.set(key, value) },
           async removeItem(key) { kept.delete(key) } }",
        "{ getItem() { return Promise.resolve(null) }, setItem() { return Promise.resolve() }, removeItem() {} }",
        "{ getItem() { return 5 }, setItem() {}, removeItem() {} }",
        "{ getItem() { return { v: 1 } }, setItem() {}, removeItem() {} }",
        "{ getItem() { return '[' }, setItem() {}, removeItem() {} }",
        "{ getItem() { return undefined }, setItem() {}, removeItem() {} }",
        "{ getItem() { return new String('{}') }, setItem() {}, removeItem() {} }",
    ] {
        let own = adapter(source);
        let world = with(&own);
        let session = world.begin(&tokens(1), true).await;
        assert!(session.is_object(), "{source}");
        assert_eq!(world.persisted(), "memory", "{source}");
        let error = get(&world.core.snapshot(), "error");
        assert_eq!(error.as_string().as_deref(), Some("storage"), "{source}");
        assert_eq!(world.get_status("/x").await, 200, "{source}");
        assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)], "{source}");
        until("the report", || world.host.told("storage_degraded")).await;
        let detail = world.host.detail("storage_degraded");
        assert!(["blocked", "corrupt"].contains(&text(&detail, "reason").as_str()));
        done(world.core.logout(), "logout").await;
        assert_eq!(world.status(), "signed_out", "{source}");
        settle().await;
    }
}

// 6.12, 5.2: the methods are called on the object itself, while nothing of ours is borrowed
#[wasm_bindgen_test]
async fn storage_may_call_the_client_back() {
    let source = "{ kept, getItem(key) { globalThis.calledBack?.(); return kept.get(key) ?? null },
        setItem(key, value) { globalThis.calledBack?.(); kept.set(key, value) },
        removeItem(key) { globalThis.calledBack?.(); kept.delete(key) } }";
    let own = adapter(source);
    let world = std::rc::Rc::new(with(&own));
    let weak = std::rc::Rc::downgrade(&world);
    let callback = Closure::<dyn FnMut()>::new(move || {
        if let Some(world) = weak.upgrade() {
            world.core.snapshot();
            world.core.metrics();
            drop(world.core.get_session());
        }
    });
    patch_value(&js_sys::global(), "calledBack", callback.as_ref());
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 200);
    done(world.core.logout(), "logout").await;
    settle().await;
    patch_value(&js_sys::global(), "calledBack", &JsValue::UNDEFINED);
    assert_eq!(world.status(), "signed_out");
}
