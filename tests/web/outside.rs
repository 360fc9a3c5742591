//! A session that comes from outside, read through a cache (document 001, behaviour.md 5.2).

use super::kit::*;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// A world whose `getSession` answers in turn, and how often it was asked.
struct Outside {
    world: World,
    asked: Rc<Cell<usize>>,
}

fn answering(answers: Vec<Result<Value, &'static str>>) -> (JsValue, Rc<Cell<usize>>) {
    let asked = Rc::new(Cell::new(0));
    let (count, answers) = (Rc::clone(&asked), RefCell::new(answers));
    let function = source(move || {
        count.set(count.get() + 1);
        let mut answers = answers.borrow_mut();
        let answer = if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers[0].clone()
        };
        answer
            .map(|value| js(&value))
            .map_err(|message| js_sys::Error::new(message).into())
    });
    (function, asked)
}

impl Outside {
    fn new(options: &Value, answers: Vec<Result<Value, &'static str>>) -> Self {
        let mut world = World::empty(options);
        world.server.script(X, &[json!({"json": {}})]);
        let (function, asked) = answering(answers);
        world.option("getSession", &function);
        world.start();
        Self { world, asked }
    }
}

fn supabase(n: u32) -> Value {
    json!({
        "data": {"session": {
            "access_token": at(n), "refresh_token": rt(n), "token_type": "bearer", "expires_in": 3600,
            "user": {"email": "ada@example.com"}
        }},
        "error": null
    })
}

// document 001
#[wasm_bindgen_test]
async fn ten_callers_ask_once_and_the_answer_is_believed_for_five_seconds() {
    let outside = Outside::new(&json!({}), vec![Ok(supabase(1)), Ok(supabase(2))]);
    let (world, asked) = (&outside.world, &outside.asked);
    let clock = Clock::new();
    let sent: Vec<_> = (0..10).map(|_| world.get("/x")).collect();
    for answer in sent {
        assert_eq!(status(answer, "x").await, 200);
    }
    assert_eq!(asked.get(), 1);
    clock.jump(4_900.0);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(asked.get(), 1);
    assert!(world.metric("cacheHits") >= 1.0);
    clock.jump(200.0);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(asked.get(), 2);
    let mut expected = vec![bearer(1); 11];
    expected.push(bearer(2));
    assert_eq!(world.server.tokens_at(X), expected);
}

// document 001
#[wasm_bindgen_test]
async fn clearing_the_cache_asks_again() {
    let outside = Outside::new(&json!({}), vec![Ok(supabase(1)), Ok(supabase(2))]);
    let world = &outside.world;
    assert_eq!(world.get_status("/x").await, 200);
    world.core.clear_session_cache();
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(outside.asked.get(), 2);
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
}

// document 001
#[wasm_bindgen_test]
async fn ready_asks_and_the_state_follows() {
    let outside = Outside::new(&json!({}), vec![Ok(supabase(1))]);
    let world = &outside.world;
    assert_eq!(world.status(), "loading");
    done(world.core.ready(), "ready").await;
    assert_eq!(world.status(), "authenticated");
    let session = done(world.core.get_session(), "getSession").await;
    assert_eq!(text(&get(&session, "user"), "email"), "ada@example.com");
    spill(&session);
    assert_eq!(outside.asked.get(), 1);
    assert!(world.in_session().is_none() && world.in_local().is_none());
    settle().await;
    assert!(world.host.events().is_empty());
}

// document 001
#[wasm_bindgen_test]
async fn no_session_outside_is_no_session() {
    for nothing in [
        json!(null),
        json!({"data": {"session": null}, "error": null}),
    ] {
        let outside = Outside::new(&json!({}), vec![Ok(nothing)]);
        let world = &outside.world;
        assert_eq!(world.get_status("/x").await, 200);
        assert_eq!(world.server.tokens_at(X), [None]);
        assert_eq!(world.status(), "anonymous");
    }
}

// 2.4; document 001
#[wasm_bindgen_test]
async fn a_source_that_fails_does_not_stop_requests() {
    let answers = vec![
        Err("down"),
        Ok(supabase(1)),
        Err("down"),
        Ok(json!({"garbage": 1})),
    ];
    let outside = Outside::new(&json!({"sessionCacheTtl": 0}), answers);
    let world = &outside.world;
    for _ in 0..4 {
        assert_eq!(world.get_status("/x").await, 200);
    }
    // The last session that was known goes on.
    assert_eq!(
        world.server.tokens_at(X),
        [None, bearer(1), bearer(1), bearer(1)]
    );
    let thrower = js_sys::Function::new_no_args("throw new Error('not even a promise')");
    let mut world = World::empty(&json!({}));
    world.server.script(X, &[json!({"json": {}})]);
    world.option("getSession", &thrower);
    world.start();
    assert_eq!(world.get_status("/x").await, 200);
    done(world.core.ready(), "ready").await;
}

// 2.4: supabase-js reports a failed refresh as an error beside no session: that is no sign-out.
#[wasm_bindgen_test]
async fn an_error_outside_is_not_a_sign_out() {
    let failed = json!({"data": {"session": null}, "error": {"name": "AuthRetryableFetchError"}});
    let outside = Outside::new(
        &json!({"sessionCacheTtl": 0}),
        vec![Ok(supabase(1)), Ok(failed)],
    );
    let world = &outside.world;
    for _ in 0..2 {
        assert_eq!(world.get_status("/x").await, 200);
    }
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(1)]);
    assert_eq!(world.status(), "authenticated");
}

// Document 001: a 401 drops the cache.
#[wasm_bindgen_test]
async fn a_401_asks_again_and_replays_with_the_new_token() {
    let outside = Outside::new(&json!({}), vec![Ok(supabase(1)), Ok(supabase(2))]);
    let world = &outside.world;
    world.server.script(X, &[only(2)]);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
    assert_eq!(outside.asked.get(), 2);
}

// 2.16; document 001
#[wasm_bindgen_test]
async fn a_401_that_the_source_cannot_help_goes_to_the_caller() {
    let outside = Outside::new(&json!({}), vec![Ok(supabase(1))]);
    let world = &outside.world;
    let clock = Clock::new();
    world
        .server
        .script(X, &[json!({"status": 401, "text": "mine"})]);
    let answer = response(world.get("/x"), "x").await;
    assert_eq!(unread(&answer).await, "mine");
    assert_eq!(world.server.count(X), 1);
    // And it is not asked again and again for a token that it has not got.
    for _ in 0..20 {
        clock.advance(100.0);
        settle().await;
    }
    assert!(outside.asked.get() <= 5, "{}", outside.asked.get());
}

// 5.2: the app's function runs with no lock held, so it may use the client.
#[wasm_bindgen_test]
async fn refresh_session_renews_and_runs_without_a_lock() {
    let mut world = World::empty(&json!({}));
    world.server.script(X, &[only(2)]);
    let (read, _) = answering(vec![Ok(supabase(1))]);
    let seen = Rc::new(RefCell::new(None));
    let noted = Rc::clone(&seen);
    let renew = source(move || {
        noted.replace(Some(locks()));
        Ok(js(&supabase(2)))
    });
    world.option("getSession", &read);
    world.option("refreshSession", &renew);
    world.start();
    done(world.core.ready(), "ready").await;
    let session = done(world.core.refresh(), "refresh").await;
    assert!(session.is_object());
    let held = seen.take().unwrap();
    let held: js_sys::Array = done(held, "locks").await.unchecked_into();
    let ours = strings(&held)
        .into_iter()
        .filter(|name| name.starts_with(world.key()));
    assert_eq!(ours.count(), 0);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(2)]);
}

// document 001
#[wasm_bindgen_test]
async fn a_sign_out_outside_is_noticed() {
    let outside = Outside::new(&json!({}), vec![Ok(supabase(1)), Ok(json!(null))]);
    let world = &outside.world;
    assert_eq!(world.get_status("/x").await, 200);
    world.core.clear_session_cache();
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(1), None]);
    until("the event", || world.host.told("signed_out")).await;
    assert_eq!(world.status(), "signed_out");
}

fn of_person(n: u32) -> Value {
    json!({"access_token": at(n), "expires_in": 3600, "user": {"id": n}})
}

// 3.8, 5.12: what one person asked for is not done in the name of the next.
#[wasm_bindgen_test]
async fn a_401_after_another_person_came_is_the_callers() {
    let outside = Outside::new(&json!({}), vec![Ok(of_person(1)), Ok(of_person(2))]);
    let world = &outside.world;
    let held = json!({"status": 401, "text": "mine", "hold": "answer"});
    world.server.script(X, &[held, only(2)]);
    let answer = world.get("/x");
    until("the send", || world.server.count(X) == 1).await;
    world.core.clear_session_cache();
    world.server.open("answer");
    let answer = response(answer, "x").await;
    assert_eq!(
        (answer.status(), unread(&answer).await),
        (401, "mine".into())
    );
    assert_eq!(world.server.tokens_at(X), [bearer(1)]);
    until("the event", || world.host.told("user_changed")).await;
    assert!(!world.host.told("refreshed"));
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(1), bearer(2)]);
}

// 5.3, known-failures 34
#[wasm_bindgen_test]
async fn a_source_that_never_answers_is_given_up() {
    let mut world = World::empty(&json!({"refreshTimeout": 3_000}));
    let clock = Clock::new();
    world.server.script(X, &[json!({"json": {}})]);
    let silent = js_sys::Function::new_no_args("return new Promise(() => {})");
    world.option("getSession", &silent);
    world.start();
    let answer = world.get("/x");
    until("the deadline", || clock.pending() > 0).await;
    clock.advance(2_900.0);
    settle().await;
    assert_eq!(world.server.count(X), 0);
    clock.advance(200.0);
    assert_eq!(status(answer, "x").await, 200);
    assert_eq!(world.server.tokens_at(X), [None]);
    // Whoever asks next asks the source anew, for no longer than that.
    let ready = world.core.ready();
    until("the next deadline", || clock.pending() > 0).await;
    clock.advance(3_100.0);
    done(ready, "ready").await;
}

// 2.4
#[wasm_bindgen_test]
async fn a_source_that_fails_keeps_the_person() {
    let answers = vec![Ok(of_person(1)), Err("down")];
    let outside = Outside::new(&json!({"sessionCacheTtl": 0}), answers);
    let world = &outside.world;
    done(world.core.ready(), "ready").await;
    let person = || {
        let user = get(&get(&world.core.snapshot(), "session"), "user");
        number(&user, "id")
    };
    assert!((person() - 1.0).abs() < f64::EPSILON);
    assert_eq!(world.get_status("/x").await, 200);
    assert!(outside.asked.get() > 1);
    assert_eq!(world.status(), "authenticated");
    assert!((person() - 1.0).abs() < f64::EPSILON);
}
