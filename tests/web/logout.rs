//! Signing out: here at once, elsewhere as well as it goes (behaviour.md 5.11, 6.18, 7.13).

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

fn nothing_is_stored(world: &World) {
    assert_eq!(world.in_session(), None);
    assert_eq!(world.in_local(), None);
    let tombstone = format!("{}:ended", world.key());
    let left = storage("localStorage").get_item(&tombstone).unwrap();
    assert!(!left.unwrap_or_default().contains(CANARY));
}

// 5.11, 6.24
#[wasm_bindgen_test]
async fn storage_is_empty_before_the_first_await() {
    for remember in [false, true] {
        let world = World::oauth2();
        world.server.script(REVOKE, &[json!({"hold": "revoke"})]);
        world.server.script(X, &[json!({"json": {}})]);
        world.begin(&tokens(1), remember).await;
        let out = world.core.logout();
        nothing_is_stored(&world);
        assert_eq!(world.status(), "signed_out");
        assert!(get(&world.core.snapshot(), "session").is_null());
        let without = world.get("/x");
        assert_eq!(world.server.tokens_at(X), [None]);
        assert_eq!(status(without, "x").await, 200);
        world.server.open("revoke");
        done(out, "logout").await;
        assert!(
            done(world.core.get_access_token(None), "token")
                .await
                .is_null()
        );
        assert_eq!(world.host.events(), ["signed_in", "signed_out"]);
        assert_eq!(
            get(&world.host.detail("signed_out"), "elsewhere"),
            JsValue::FALSE
        );
    }
}

// 1.18, 6.18
#[wasm_bindgen_test]
async fn each_preset_tells_its_server() {
    let form = format!(
        "token={}&token_type_hint=refresh_token&client_id=demo",
        rt(1)
    );
    let object = format!(r#"{{"refresh_token":"{}"}}"#, rt(1));
    let cases: [(Value, &str, String, Option<String>); 3] = [
        (
            json!({"preset": "oauth2", "clientId": "demo"}),
            REVOKE,
            form,
            None,
        ),
        (
            json!({"preset": "sanctum"}),
            "POST https://api.test/api/auth/logout",
            String::new(),
            bearer(1),
        ),
        (
            json!({"preset": "django"}),
            "POST https://api.test/auth/logout/",
            object,
            bearer(1),
        ),
    ];
    for (options, route, body, authorization) in cases {
        let world = World::new(&options);
        world.server.script(route, &[json!({"status": 204})]);
        world.sign_in(1).await;
        done(world.core.logout(), route).await;
        let calls = world.server.calls("");
        assert_eq!(calls.len(), 1, "{route}");
        assert_eq!(
            (calls[0].text(), calls[0].header("authorization")),
            (body, authorization)
        );
        assert_eq!(calls[0].credentials(), "omit");
        assert_eq!(calls[0].redirect(), "manual");
        assert!(calls[0].keepalive(), "{route}");
    }
}

// 6.18, known-failures 41: a person who signs out is signed out.
#[wasm_bindgen_test]
async fn signing_out_never_fails() {
    for answer in [
        json!({"status": 500}),
        json!({"status": 401}),
        json!({"status": 429}),
        json!({"network": true}),
    ] {
        let world = World::oauth2();
        world.server.script(REVOKE, std::slice::from_ref(&answer));
        world.sign_in(1).await;
        done(world.core.logout(), "logout").await;
        nothing_is_stored(&world);
        assert_eq!(world.host.events(), ["signed_in", "signed_out"], "{answer}");
    }
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(REVOKE, &[json!({"hold": "never"})]);
    world.sign_in(1).await;
    let out = world.core.logout();
    until("the call", || world.server.count(REVOKE) == 1).await;
    clock.advance(10_001.0);
    done(out, "logout").await;
    // Nobody is signed in: nothing to tell, nothing to call.
    done(world.core.logout(), "again").await;
    assert_eq!(world.server.count(REVOKE), 1);
}

// 5.11, 7.13, known-failures 38, 40
#[wasm_bindgen_test]
async fn a_refresh_that_lands_after_the_logout_is_discarded_and_revoked() {
    let world = World::oauth2();
    world
        .server
        .script(TOKEN, &[json!({"json": tokens(2), "hold": "refresh"})]);
    world.server.script(REVOKE, &[json!({})]);
    world
        .server
        .script(X, &[json!({"status": 401, "text": "mine"})]);
    world.sign_in(1).await;
    let answer = world.get("/x");
    let by_hand = world.core.refresh();
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    done(world.core.logout(), "logout").await;
    world.server.open("refresh");
    assert_eq!(fails_with(by_hand, "refresh").await, "signed_out");
    let answer = response(answer, "x").await;
    assert_eq!(unread(&answer).await, "mine");
    until("both revocations", || {
        [1, 2].iter().all(|n| world.server.got(REVOKE, &rt(*n)))
    })
    .await;
    assert_eq!(world.server.count(REVOKE), 2);
    nothing_is_stored(&world);
    assert_eq!(world.server.count(X), 1);
    assert_eq!(world.status(), "signed_out");
    // No "session expired" on the way.
    assert_eq!(world.host.events(), ["signed_in", "signed_out"]);
}

// 7.13: while the refresh waits for its turn.
#[wasm_bindgen_test]
async fn a_logout_before_the_refresh_call_prevents_it() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(REVOKE, &[json!({})]);
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let waiting = world.get("/x");
    let out = world.core.logout();
    assert_eq!(fails_with(waiting, "x").await, "signed_out");
    done(out, "logout").await;
    until("the end of the refresh", || clock.pending() == 0).await;
    assert_eq!((world.server.count(TOKEN), world.server.count(X)), (0, 0));
    nothing_is_stored(&world);
}

// 3.8: the 401 of a request that was on its way.
#[wasm_bindgen_test]
async fn a_401_after_the_logout_is_the_callers() {
    let world = World::oauth2();
    world.server.script(REVOKE, &[json!({})]);
    world.server.script(
        X,
        &[json!({"status": 401, "text": "mine", "hold": "answer"})],
    );
    world.sign_in(1).await;
    let answer = world.get("/x");
    done(world.core.logout(), "logout").await;
    world.sign_in(2).await;
    world.server.open("answer");
    let answer = response(answer, "x").await;
    assert_eq!(unread(&answer).await, "mine");
    assert_eq!((world.server.count(TOKEN), world.server.count(X)), (0, 1));
    assert_eq!(world.status(), "authenticated");
}

// 5.11, known-failures 41
#[wasm_bindgen_test]
async fn logging_out_everywhere_reports_what_the_server_said() {
    const ALL: &str = "POST https://api.test/api/auth/logout-all";
    let world = World::sanctum();
    world
        .server
        .script(ALL, &[json!({"json": {"revoked_count": 3}})]);
    world.sign_in(1).await;
    let result = done(world.core.logout_all(), "logoutAll").await;
    assert_eq!(get(&result, "confirmed"), JsValue::TRUE);
    assert!((number(&result, "revokedCount") - 3.0).abs() < f64::EPSILON);
    assert_eq!(world.server.tokens_at(ALL), [bearer(1)]);
    nothing_is_stored(&world);
    for answer in [json!({"status": 500}), json!({"network": true})] {
        world.server.script(ALL, &[answer]);
        world.sign_in(2).await;
        let result = done(world.core.logout_all(), "logoutAll").await;
        assert_eq!(get(&result, "confirmed"), JsValue::FALSE);
        assert!(get(&result, "revokedCount").is_null());
        nothing_is_stored(&world);
        assert_eq!(world.status(), "signed_out");
    }
}

// 5.7, known-failures 44: coming back from the back-forward cache after a logout elsewhere.
#[wasm_bindgen_test]
async fn a_page_that_comes_back_looks_into_storage_first() {
    let world = World::new(&json!({"preset": "oauth2", "crossTab": false}));
    world.server.script(REVOKE, &[json!({})]);
    world.server.script(X, &[json!({"json": {}})]);
    world.sign_in(1).await;
    let other = world.open();
    done(other.core.logout(), "logout").await;
    let back = web_sys::Event::new("pageshow").unwrap();
    put(&back, "persisted", &JsValue::TRUE);
    let page: web_sys::EventTarget = js_sys::global().unchecked_into();
    page.dispatch_event(&back).unwrap();
    assert_eq!(world.status(), "signed_out");
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [None]);
}

// 5.11: the answer of one person's logout does not end the session of the next.
#[wasm_bindgen_test]
async fn logging_out_everywhere_leaves_the_next_person_signed_in() {
    const ALL: &str = "POST https://api.test/api/auth/logout-all";
    let world = World::sanctum();
    let held = json!({"json": {"revoked_count": 1}, "hold": "answer"});
    world.server.script(ALL, &[held]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    let out = world.core.logout_all();
    until("the call", || world.server.count(ALL) == 1).await;
    world.sign_in(2).await;
    world.server.open("answer");
    let result = done(out, "logoutAll").await;
    assert_eq!(get(&result, "confirmed"), JsValue::TRUE);
    settle().await;
    assert_eq!(world.status(), "authenticated");
    assert!(!world.host.told("signed_out"));
    assert!(world.in_session().unwrap().contains(&at(2)));
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(ALL), [bearer(1)]);
}
