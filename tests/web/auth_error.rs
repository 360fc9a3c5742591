//! `isAuthError`: the app says which answers refuse the token (behaviour.md 2.7, known-failures 53, 54).

use super::kit::*;
use js_sys::Function;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// Somebody is signed in, the n-th refresh brings token 2, and the app judges by this function body.
async fn judged_by(source: &str) -> World {
    let mut world = World::empty(&json!({"preset": "oauth2", "clientId": "demo"}));
    let judge = Function::new_with_args("response", source);
    world.option("isAuthError", &judge);
    world.start();
    world.server.script(TOKEN, &[grant(2)]);
    world.sign_in(1).await;
    world
}

/// A refusal by status, until token 2 comes along.
fn refusal(status: u16) -> Value {
    json!({"status": status, "text": "mine", "headers": {"content-type": "text/plain"}})
}

/// `(calls of the resource, refreshes)`.
fn counts(world: &World) -> (usize, usize) {
    (world.server.count(X), world.server.count(TOKEN))
}

// 2.7, known-failures 53: an expired token answered 403
#[wasm_bindgen_test]
async fn a_403_that_the_app_calls_an_auth_error_is_refreshed_and_replayed() {
    for source in [
        "return response.status === 403",
        "return Promise.resolve(response.status === 403)",
        "return response.json().then(({ code }) => code === 'EXPIRED')",
    ] {
        let world = judged_by(source).await;
        let expired = json!({"status": 403, "json": {"code": "EXPIRED"}});
        world.server.script(X, &[expired, only(2)]);
        assert_eq!(world.get_status("/x").await, 200, "{source}");
        assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
        assert_eq!(world.server.count(TOKEN), 1);
    }
}

// 2.7, known-failures 4: and a 401 that is about something else is not
#[wasm_bindgen_test]
async fn a_401_that_the_app_calls_something_else_goes_to_the_caller() {
    for source in [
        "return response.status === 403",
        "return Promise.resolve(false)",
        "return response.text().then(() => false)",
    ] {
        let world = judged_by(source).await;
        world.server.script(X, &[refusal(401)]);
        let answer = response(world.get("/x"), source).await;
        assert_eq!(answer.status(), 401);
        assert_eq!(unread(&answer).await, "mine", "{source}");
        assert_eq!(counts(&world), (1, 0), "{source}");
        assert_eq!(world.status(), "authenticated");
    }
}

// 2.7: what is no answer leaves it to the status
#[wasm_bindgen_test]
async fn a_judge_without_a_yes_or_no_leaves_it_to_the_status() {
    for source in [
        "throw new Error('broken')",
        "return Promise.reject(new Error('broken'))",
        "return 'yes'",
        "return 1",
        "return null",
        "",
        "response.body.getReader(); throw 1",
    ] {
        let world = judged_by(source).await;
        world.server.script(X, &[refusal(403)]);
        let answer = response(world.get("/x"), source).await;
        assert_eq!(
            (answer.status(), unread(&answer).await.as_str()),
            (403, "mine")
        );
        assert_eq!(counts(&world), (1, 0), "{source}");
        world.server.script(X, &[refusal(401), only(2)]);
        assert_eq!(world.get_status("/x").await, 200, "{source}");
        assert_eq!(world.server.count(TOKEN), 1, "{source}");
    }
}

// 5.3, known-failures 34: every wait has an end
#[wasm_bindgen_test]
async fn a_judge_that_never_answers_is_waited_for_two_seconds() {
    for (status, expected) in [(403, 403), (401, 200)] {
        let world = judged_by("return new Promise(() => {})").await;
        let clock = Clock::new();
        world.server.script(X, &[refusal(status), only(2)]);
        let answer = world.get("/x");
        until("the answer", || world.server.count(X) == 1).await;
        // The judge is asked a few turns after the answer is in.
        for _ in 0..10 {
            settle().await;
        }
        clock.advance(1_999.0);
        settle().await;
        assert_eq!(counts(&world), (1, 0));
        clock.advance(2.0);
        assert_eq!(response(answer, "x").await.status(), expected);
    }
}

// 2.7, 4.13: the judge reads a copy
#[wasm_bindgen_test]
async fn the_judge_gets_a_copy_and_the_callers_body_stays_unread() {
    for source in [
        "return response.text().then((text) => text !== 'mine')",
        "response.body.cancel(); return false",
        "const reader = response.body.getReader(); reader.read(); return false",
    ] {
        let world = judged_by(source).await;
        world.server.script(X, &[refusal(500)]);
        let answer = response(world.get("/x"), source).await;
        assert_eq!(unread(&answer).await, "mine", "{source}");
    }
}

// 2.7: asked about errors of requests that carried the token, and about nothing else
#[wasm_bindgen_test]
async fn the_judge_is_not_asked_about_what_is_no_error_or_not_ours() {
    let world = judged_by("globalThis.judged = (globalThis.judged ?? 0) + 1; return true").await;
    let judged = || global("judged").as_f64().unwrap_or(0.0);
    for answer in [
        json!({"json": {}}),
        json!({"status": 204}),
        json!({"type": "opaqueredirect"}),
    ] {
        world.server.script(X, &[answer]);
        done(world.get("/x"), "no error").await;
    }
    world
        .server
        .script("GET https://other.test/", &[refusal(401)]);
    let foreign = request_with("https://other.test/", &js(&json!({})));
    assert_eq!(status(world.fetch(&foreign), "foreign").await, 401);
    world.server.script(X, &[refusal(401)]);
    let bare = world.fetch_with(&request("/x"), &js(&json!({"auth": false})));
    assert_eq!(status(bare, "auth: false").await, 401);
    assert!(judged().abs() < f64::EPSILON);
    assert_eq!(world.server.count(TOKEN), 0);
    assert_eq!(world.get_status("/x").await, 401);
    // The answer, and the one to the replay.
    assert!((judged() - 2.0).abs() < f64::EPSILON);
    js_sys::Reflect::delete_property(&js_sys::global(), &"judged".into()).unwrap();
}

// 3.10, 2.13: a judge that always says yes is no loop
#[wasm_bindgen_test]
async fn a_judge_that_always_says_yes_costs_one_replay() {
    let world = judged_by("return true").await;
    world.server.script(X, &[refusal(403)]);
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(
        (answer.status(), unread(&answer).await.as_str()),
        (403, "mine")
    );
    assert_eq!(counts(&world), (2, 1));
}

// known-failures 54: step-up (RFC 9470): the token is fine, the person has to prove more
#[wasm_bindgen_test]
async fn a_401_that_asks_for_another_step_reaches_the_caller_unread_without_a_refresh() {
    let world = World::oauth2();
    world.sign_in(1).await;
    let challenge =
        r#"Bearer error="insufficient_user_authentication", acr_values="myACR", max_age="5""#;
    let answer = json!({"status": 401, "text": "mine", "headers": {"www-authenticate": challenge}});
    world.server.script(X, &[answer]);
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(
        (answer.status(), unread(&answer).await.as_str()),
        (401, "mine")
    );
    let said = answer.headers().get("www-authenticate").unwrap();
    assert_eq!(said.as_deref(), Some(challenge));
    assert_eq!(counts(&world), (1, 0));
    assert_eq!(world.status(), "authenticated");
}
