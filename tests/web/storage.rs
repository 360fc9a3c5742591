//! Where the session is kept, and what happens when that is not to be trusted (behaviour.md 5.16).

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

fn keep(world: &World, text: &str) {
    storage("sessionStorage")
        .set_item(world.key(), text)
        .unwrap();
}

// 6.3
#[wasm_bindgen_test]
async fn a_session_is_kept_in_session_storage_unless_it_is_remembered() {
    let world = World::oauth2();
    assert_eq!(world.persisted(), "session");
    world.begin(&tokens(1), false).await;
    assert!(world.in_session().is_some() && world.in_local().is_none());
    assert_eq!(world.persisted(), "session");
    world.begin(&tokens(2), true).await;
    assert!(world.in_session().is_none() && world.in_local().is_some());
    assert_eq!(world.persisted(), "local");
    world.begin(&tokens(3), false).await;
    assert!(world.in_session().is_some() && world.in_local().is_none());
}

// 6.3
#[wasm_bindgen_test]
async fn local_and_memory_storage_are_what_they_say() {
    let world = World::new(&json!({"preset": "oauth2", "storage": "local"}));
    world.begin(&tokens(1), false).await;
    assert!(world.in_session().is_none() && world.in_local().is_some());
    assert_eq!(world.persisted(), "local");
    let world = World::new(&json!({"preset": "oauth2", "storage": "memory"}));
    let session = world.begin(&tokens(1), true).await;
    assert!(world.in_session().is_none() && world.in_local().is_none());
    assert_eq!(world.persisted(), "memory");
    assert_eq!(get(&session, "remember"), JsValue::FALSE);
}

// 5.16
#[wasm_bindgen_test]
async fn the_record_has_a_version() {
    let world = World::oauth2();
    world.sign_in(1).await;
    let record: Value = serde_json::from_str(&world.in_session().unwrap()).unwrap();
    assert_eq!(record["v"], 1);
    assert!(record["sid"].as_str().unwrap().len() >= 24);
}

// Known-failures 45, 70: no event for what has not changed, no glimpse of "anonymous".
#[wasm_bindgen_test]
async fn the_next_page_load_goes_on_with_the_session() {
    let mut world = World::oauth2();
    world.server.script("GET https://api.test/", &[only(1)]);
    let signed_in = json!({"access_token": at(1), "token_type": "Bearer", "expires_in": 3600, "user": {"name": "Ada"}});
    world.begin(&signed_in, false).await;
    world.close();
    world.start();
    assert_eq!(world.status(), "authenticated");
    assert_eq!(world.get_status("/x").await, 200);
    let session = done(world.core.get_session(), "getSession").await;
    assert_eq!(text(&get(&session, "user"), "name"), "Ada");
    settle().await;
    assert!(world.host.events().is_empty());
    assert!(
        !world
            .host
            .statuses()
            .iter()
            .any(|status| status == "anonymous")
    );
}

// 5.16, 6.15, 7.25: what is stored is untrusted input.
#[wasm_bindgen_test]
async fn a_corrupt_record_is_removed_and_reported() {
    let mut world = World::oauth2();
    world
        .server
        .script("GET https://api.test/", &[json!({"json": {}})]);
    world.sign_in(1).await;
    let good: Value = serde_json::from_str(&world.in_session().unwrap()).unwrap();
    let broken = |name: &str, value: Value| {
        let mut record = good.clone();
        record[name] = value;
        record.to_string()
    };
    for corrupt in [
        "{".to_owned(),
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"x\"".to_owned(),
        "5".to_owned(),
        "{}".to_owned(),
        r#"{"v":1}"#.to_owned(),
        "[".repeat(100_000),
        "x".repeat(2_000_000),
        broken("access_token", json!("a\nb")),
        broken("access_token", json!(5)),
        broken("refresh_token", json!("ä")),
        broken("sid", json!("")),
        broken("sid", json!("x".repeat(65))),
        broken("rotation", json!(-1)),
        broken("rotation", json!("1")),
        broken("issued_at", json!("now")),
        broken("issued_at", json!(1e300)),
    ] {
        world.close();
        keep(&world, &corrupt);
        world.start();
        let head: String = corrupt.chars().take(80).collect();
        assert_eq!(world.in_session(), None, "{head}");
        assert_eq!(world.status(), "anonymous", "{head}");
        until("the report", || world.host.told("storage_degraded")).await;
        let detail = world.host.detail("storage_degraded");
        assert_eq!(text(&detail, "reason"), "corrupt", "{head}");
        assert_eq!(world.host.events(), ["storage_degraded"], "{head}");
        assert_eq!(world.get_status("/x").await, 200);
    }
    assert!(world.server.tokens_at("GET").iter().all(Option::is_none));
}

// 5.16
#[wasm_bindgen_test]
async fn a_newer_record_is_left_alone() {
    let mut world = World::empty(&json!({"preset": "oauth2"}));
    world
        .server
        .script("GET https://api.test/", &[json!({"json": {}})]);
    let newer = json!({"v": 2, "whatever": at(1)}).to_string();
    keep(&world, &newer);
    world.start();
    assert_eq!(world.status(), "anonymous");
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at("GET"), [None]);
    world.sign_in(2).await;
    assert_eq!(world.in_session(), Some(newer), "written over");
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at("GET"), [None, bearer(2)]);
}

// Document 002 of product.md: an expired one is refreshed on load.
#[wasm_bindgen_test]
async fn an_expired_stored_token_is_refreshed_on_load() {
    let mut world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script("GET https://api.test/", &[only(2)]);
    world.sign_in(1).await;
    world.close();
    world.tamper(|record| record["expires_at"] = json!(1_000));
    world.start();
    until("the refresh", || world.host.told("refreshed")).await;
    assert_eq!(world.server.count(TOKEN), 1);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at("GET"), [bearer(2)]);
    assert_eq!(world.host.events(), ["refreshed"]);
    assert_eq!(world.status(), "authenticated");
}

// 1.11: also where the token has waited in storage.
#[wasm_bindgen_test]
async fn a_stored_token_inside_its_lead_is_refreshed_on_load() {
    let mut world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    world.close();
    world.tamper(|record| {
        let issued = record["issued_at"].as_i64().unwrap();
        record["issued_at"] = json!(issued - 3_540_000);
        record["expires_at"] = json!(issued + 60_000);
    });
    world.start();
    until("the refresh", || world.host.told("refreshed")).await;
    assert_eq!(world.server.count(TOKEN), 1);
}

// 6.8: a session is good for the endpoint and the client that issued it, and for no other.
#[wasm_bindgen_test]
async fn a_record_of_another_endpoint_or_client_is_not_used() {
    let world = World::oauth2();
    world
        .server
        .script("GET https://api.test/", &[json!({"json": {}})]);
    world.sign_in(1).await;
    for other in [
        json!({"clientId": "other"}),
        json!({"endpoints": {"refresh": "https://auth.test/token"}}),
        json!({"baseUrl": "https://api.test:8443"}),
    ] {
        let tab = world.open_with(&other);
        assert_eq!(tab.status(), "anonymous", "{other}");
        assert_eq!(tab.get_status("/other").await, 200);
    }
    let seen = world.server.tokens_at("GET https://api.test/other");
    assert_eq!(seen, [None, None, None]);
}

// 5.16, known-failures 23: a full storage never breaks fetch.
#[wasm_bindgen_test]
async fn full_storage_means_memory_and_requests_go_on() {
    restore();
    let mut world = World::behind(&json!({"preset": "oauth2"}));
    fill_storage();
    world.server.script("GET https://api.test/", &[only(2)]);
    world.server.script(TOKEN, &[grant(2)]);
    world.start();
    let session = world.begin(&tokens(1), true).await;
    assert!(session.is_object());
    assert_eq!(world.persisted(), "memory");
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at("GET"), [bearer(1), bearer(2)]);
    assert_eq!(
        text(&world.host.detail("storage_degraded"), "reason"),
        "blocked"
    );
    let told = world.host.events();
    assert_eq!(
        told.iter()
            .filter(|event| *event == "storage_degraded")
            .count(),
        1
    );
}

// 5.16, known-failures 23
#[wasm_bindgen_test]
async fn storage_that_fills_up_later_is_reported_once() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2), grant(3)]);
    world.server.script("GET https://api.test/", &[only(3)]);
    world.sign_in(1).await;
    fill_storage();
    done(world.core.refresh(), "first").await;
    done(world.core.refresh(), "second").await;
    assert_eq!(world.get_status("/x").await, 200);
    let told = world.host.events();
    assert_eq!(
        told.iter()
            .filter(|event| *event == "storage_degraded")
            .count(),
        1
    );
    assert_eq!(
        text(&world.host.detail("storage_degraded"), "reason"),
        "blocked"
    );
}

// 5.16, known-failures 24: blocked cookies make the very access throw.
#[wasm_bindgen_test]
async fn blocked_storage_means_memory() {
    restore();
    let mut world = World::behind(&json!({"preset": "oauth2"}));
    patch_throwing(&js_sys::global(), "sessionStorage");
    patch_throwing(&js_sys::global(), "localStorage");
    world.server.script("GET https://api.test/", &[only(1)]);
    world.start();
    world.sign_in(1).await;
    assert_eq!(world.persisted(), "memory");
    assert_eq!(world.get_status("/x").await, 200);
    assert!(world.host.told("storage_degraded"));
    world.server.script(REVOKE, &[json!({})]);
    done(world.core.logout(), "logout").await;
}

// 2.4: a passing failure never clears storage.
#[wasm_bindgen_test]
async fn a_failed_refresh_leaves_the_record() {
    let world = World::oauth2();
    world.sign_in(1).await;
    for answer in [
        json!({"status": 500}),
        json!({"status": 429}),
        json!({"network": true}),
    ] {
        world.server.script(TOKEN, &[answer]);
        world.core.clear_session_cache();
        fails(world.core.refresh(), "refresh").await;
        assert!(world.in_session().unwrap().contains(&rt(1)));
    }
    assert!(!world.host.told("signed_out"));
}

// 6.15: the client tries out storage under a key that no app can choose.
#[wasm_bindgen_test]
async fn a_storage_key_of_probe_keeps_its_session() {
    for remember in [false, true] {
        let mut world = World::new(&json!({"preset": "oauth2", "storageKey": "probe"}));
        world.server.script("GET https://api.test/", &[only(1)]);
        world.begin(&tokens(1), remember).await;
        let other = world.open();
        assert_eq!(other.status(), "authenticated");
        drop(other);
        world.close();
        world.start();
        assert_eq!(world.status(), "authenticated");
        assert_eq!(world.get_status("/x").await, 200);
    }
}
