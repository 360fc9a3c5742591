//! What a replay carries (behaviour.md 4.9, 4.10, 7.21, known-failures 8 and 9).

use super::kit::*;
use js_sys::{Object, Reflect};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const SAVE: &str = "POST https://api.test/save";

async fn refused_once() -> World {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(SAVE, &[only(2)]);
    world.sign_in(1).await;
    world
}

// 4.9, 7.21, known-failures 8, 9
#[wasm_bindgen_test]
async fn every_kind_of_body_is_replayed_byte_for_byte() {
    for kind in [
        "string",
        "FormData",
        "Blob",
        "URLSearchParams",
        "ArrayBuffer",
        "Uint8Array",
    ] {
        let world = refused_once().await;
        let answer = world.fetch(&post("/save", &body(kind)));
        assert_eq!(status(answer, kind).await, 200, "{kind}");
        let calls = world.server.calls(SAVE);
        let [first, second] = &calls[..] else {
            panic!("{kind}: {} sends", calls.len());
        };
        assert!(!first.body().to_vec().is_empty(), "{kind}");
        assert_eq!(first.body().to_vec(), second.body().to_vec(), "{kind}");
        assert_eq!(
            first.header("content-type"),
            second.header("content-type"),
            "{kind}"
        );
        assert_eq!(first.header("authorization"), bearer(1));
        assert_eq!(second.header("authorization"), bearer(2));
    }
}

// 4.9, known-failures 9
#[wasm_bindgen_test]
async fn a_request_that_waits_for_a_refresh_keeps_its_body() {
    let world = refused_once().await;
    let clock = Clock::new();
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let answer = world.fetch(&post("/save", &body("FormData")));
    assert_eq!(status(answer, "save").await, 200);
    let calls = world.server.calls(SAVE);
    assert_eq!(calls.len(), 1);
    assert!(calls[0].text().contains("Ada Lovelace"));
}

// 4.9: the body is the one at the time of the call.
#[wasm_bindgen_test]
async fn changing_a_body_after_the_call_changes_nothing() {
    let world = refused_once().await;
    let form = body("FormData");
    let answer = world.fetch(&post("/save", &form));
    let append: js_sys::Function = get(&form, "append").unchecked_into();
    append.call2(&form, &"late".into(), &"late".into()).unwrap();
    assert_eq!(status(answer, "save").await, 200);
    for call in world.server.calls(SAVE) {
        assert!(!call.text().contains("late"));
    }
}

// 4.7: method, headers and modes are the caller's on both sends.
#[wasm_bindgen_test]
async fn a_replay_is_the_same_request() {
    const PUT: &str = "PUT https://api.test/save";
    let world = refused_once().await;
    world.server.script(PUT, &[only(2)]);
    let init = json!({
        "method": "PUT", "body": "{}", "credentials": "include", "redirect": "error", "cache": "reload",
        "referrerPolicy": "origin", "headers": {"X-Mine": "1", "Content-Type": "application/json"}
    });
    let sent = request_with("https://api.test/save", &js(&init));
    assert_eq!(status(world.fetch(&sent), "save").await, 200);
    let calls = world.server.calls(PUT);
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call.text(), "{}");
        assert_eq!(call.credentials(), "include");
        assert_eq!(call.redirect(), "error");
        assert_eq!(call.cache(), "reload");
        assert_eq!(call.referrer_policy(), "origin");
        assert_eq!(call.header("x-mine").as_deref(), Some("1"));
        assert_eq!(
            call.header("content-type").as_deref(),
            Some("application/json")
        );
    }
}

// 4.8: a second use of the caller's Request fails as it does natively.
#[wasm_bindgen_test]
async fn the_callers_request_is_used_up_at_once() {
    let world = refused_once().await;
    let sent = post("/save", &"x".into());
    let answer = world.fetch(&sent);
    assert_eq!(
        Reflect::get(&sent, &"bodyUsed".into()).unwrap(),
        JsValue::TRUE
    );
    assert_eq!(status(answer, "save").await, 200);
}

// 3.11, 4.10, 7.21, known-failures 9: a stream is not replayed; the 401 comes back unread, and the next call works.
#[wasm_bindgen_test]
async fn the_401_of_a_stream_is_the_callers() {
    let world = refused_once().await;
    world
        .server
        .script(SAVE, &[json!({"status": 401, "text": "mine"}), only(2)]);
    let extra = js(&json!({"stream": true}));
    let answer = response(
        world.fetch_with(&streamed("https://api.test/save"), &extra),
        "save",
    )
    .await;
    assert_eq!(answer.status(), 401);
    assert!(Object::is(&answer, &world.server.calls(SAVE)[0].response()));
    assert_eq!(unread(&answer).await, "mine");
    assert_eq!(world.server.calls(SAVE)[0].text(), "in pieces");
    let next = world.fetch_with(&streamed("https://api.test/save"), &extra);
    assert_eq!(status(next, "next").await, 200);
    assert_eq!(world.server.tokens_at(SAVE), [bearer(1), bearer(2)]);
    assert_eq!(world.server.count(TOKEN), 1);
}
