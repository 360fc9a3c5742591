//! Why a session ended, and other things that people ask about afterwards.

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// `state.ended` of a tab.
fn ended(tab: &Tab) -> JsValue {
    get(&tab.core.snapshot(), "ended")
}

/// `(reason, status, elsewhere)`.
fn summary(tab: &Tab) -> (String, Option<f64>, Option<bool>) {
    let end = ended(tab);
    assert!(!text(&end, "message").is_empty(), "{end:?}");
    let elsewhere = get(&end, "elsewhere");
    assert!(elsewhere.is_null() || elsewhere.as_bool().is_some());
    (
        text(&end, "reason"),
        get(&end, "status").as_f64(),
        elsewhere.as_bool(),
    )
}

fn entry(
    reason: &str,
    status: Option<f64>,
    elsewhere: Option<bool>,
) -> (String, Option<f64>, Option<bool>) {
    (reason.to_owned(), status, elsewhere)
}

/// One tenth of an hour past the end of the token, refreshed like this and refused by the resource.
async fn over(options: &Value, route: &str, answers: &[Value]) -> (World, Clock) {
    let world = World::new(options);
    let clock = Clock::new();
    world.server.script(route, answers);
    world.server.script(X, &[json!({"status": 401})]);
    world.sign_in(1).await;
    clock.jump(3_960_000.0);
    (world, clock)
}

fn oauth2() -> Value {
    json!({"preset": "oauth2", "clientId": "demo"})
}

// 2.15, 5.11: a sign-out says so, also after a reload
#[wasm_bindgen_test]
async fn a_sign_out_is_remembered_until_somebody_signs_in() {
    let mut world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(REVOKE, &[json!({})]);
    assert!(ended(&world).is_null());
    world.sign_in(1).await;
    done(world.core.refresh(), "refresh").await;
    assert!(ended(&world).is_null());
    clock.jump(5_000.0);
    done(world.core.logout(), "logout").await;
    assert_eq!(summary(&world), entry("signed_out", None, Some(false)));
    let end = ended(&world);
    assert!((number(&end, "at") - clock.now()).abs() < 2.0);
    assert!((number(&end, "issuedAt") - clock.now() + 5_000.0).abs() < 2.0);
    assert!((number(&end, "refreshes") - 1.0).abs() < f64::EPSILON);
    spill(&end);

    clock.jump(60_000.0);
    world.close();
    world.start();
    assert_eq!(summary(&world), entry("signed_out", None, None));
    assert!((number(&ended(&world), "at") - clock.now() + 60_000.0).abs() < 2.0);
    world.sign_in(2).await;
    assert!(ended(&world).is_null());
    world.close();
    world.start();
    assert_eq!(world.status(), "authenticated");
    assert!(ended(&world).is_null());
}

// 2.1, 2.15: each way for a credential to die has its name and its status, also after a reload
#[wasm_bindgen_test]
async fn a_dead_credential_is_remembered_by_its_reason_and_status() {
    let grant_refused = json!({"status": 400, "json": {"error": "invalid_grant"}});
    let not_found = json!({"status": 400, "json": {"code": "refresh_token_not_found"}});
    let lost = json!({"network": true});
    let page = json!({"text": "<html>"});
    for (answers, reason, status) in [
        (vec![grant_refused.clone()], "expired", Some(400.0)),
        (vec![json!({"status": 401})], "expired", Some(401.0)),
        (vec![not_found], "revoked", Some(400.0)),
        (vec![lost, grant_refused], "lost_response", Some(400.0)),
        (vec![page], "ambiguous", None),
    ] {
        let (mut world, clock) = over(&oauth2(), TOKEN, &answers).await;
        for _ in 0..8 {
            let answer = world.get("/x");
            clock.pass_until(&answer).await;
            assert_eq!(response(answer, reason).await.status(), 401);
            // Past the breaker's longest pause.
            clock.jump(400_000.0);
        }
        until(reason, || world.host.told("reauth_required")).await;
        assert_eq!(summary(&world), entry(reason, status, Some(false)));
        assert_eq!(world.status(), "reauth_required");
        world.close();
        world.start();
        assert_eq!(summary(&world), entry(reason, status, None));
    }
}

// 3.15: the server's word on a resource
#[wasm_bindgen_test]
async fn a_revoked_session_is_remembered_as_that() {
    let revoked = json!({"status": 401, "json": {"code": "TOKEN_REVOKED"}});
    let mut world = World::sanctum();
    world.server.script(X, &[revoked]);
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 401);
    assert_eq!(summary(&world), entry("revoked", Some(401.0), Some(false)));
    world.close();
    world.start();
    assert_eq!(summary(&world), entry("revoked", Some(401.0), None));
}

// 2.3: told ahead, while the token still works, and the same after a reload
#[wasm_bindgen_test]
async fn a_session_that_is_about_to_end_says_why() {
    let mut world = World::oauth2();
    let refused = json!({"status": 400, "json": {"error": "invalid_grant"}});
    world.server.script(TOKEN, &[refused]);
    world.sign_in(1).await;
    fails(world.core.refresh(), "refresh").await;
    assert_eq!(world.status(), "reauth_required");
    assert!(get(&world.core.snapshot(), "session").is_object());
    assert_eq!(summary(&world), entry("expired", Some(400.0), Some(false)));
    world.close();
    world.start();
    assert_eq!(world.status(), "reauth_required");
    assert_eq!(summary(&world), entry("expired", Some(400.0), None));
}

// 5.8, 5.11: what happened in another tab is told as that
#[wasm_bindgen_test]
async fn an_end_in_another_tab_is_told_as_that() {
    let world = World::oauth2();
    world.server.script(REVOKE, &[json!({})]);
    world.begin(&tokens(1), true).await;
    let other = world.open();
    done(other.core.logout(), "logout").await;
    until("the news", || world.host.told("signed_out")).await;
    assert_eq!(summary(&other), entry("signed_out", None, Some(false)));
    assert_eq!(summary(&world), entry("signed_out", None, Some(true)));

    let refused = json!({"status": 400, "json": {"error": "invalid_grant"}});
    world.server.script(TOKEN, &[refused]);
    world.server.script(X, &[json!({"status": 401})]);
    world.begin(&tokens(2), true).await;
    until("the sign-in", || other.status() == "authenticated").await;
    assert!(ended(&other).is_null());
    assert_eq!(other.get_status("/x").await, 401);
    until("the news", || world.host.told("reauth_required")).await;
    assert_eq!(summary(&other), entry("expired", Some(400.0), Some(false)));
    assert_eq!(summary(&world), entry("expired", Some(400.0), Some(true)));
}

// 2.3, 5.8: the same while the token still works
#[wasm_bindgen_test]
async fn a_credential_that_died_in_another_tab_is_told_as_that() {
    let world = World::oauth2();
    let refused = json!({"status": 400, "json": {"error": "invalid_grant"}});
    world.server.script(TOKEN, &[refused]);
    world.begin(&tokens(1), true).await;
    let other = world.open();
    fails(world.core.refresh(), "refresh").await;
    until("the news", || other.host.told("reauth_required")).await;
    assert_eq!(summary(&world), entry("expired", Some(400.0), Some(false)));
    assert_eq!(summary(&other), entry("expired", Some(400.0), Some(true)));
}

// 6.15: notes of another key are another login's
#[wasm_bindgen_test]
async fn an_end_under_another_key_is_no_end_here() {
    let world = World::oauth2();
    world.server.script(REVOKE, &[json!({})]);
    world.sign_in(1).await;
    let other = world.open_with(&json!({"storageKey": "somebody-else"}));
    done(world.core.logout(), "logout").await;
    assert!(ended(&other).is_null());
    for note in ["keepfresh.somebody-else", "keepfresh.somebody-else:ended"] {
        storage("localStorage").remove_item(note).unwrap();
    }
}

// 5.16: hostile notes are nobody's end
#[wasm_bindgen_test]
async fn a_note_that_nobody_could_have_written_is_ignored() {
    let mut world = World::oauth2();
    let note = |end: &Value| json!({"v": 1, "ended": [end]}).to_string();
    for text in [
        "{".to_owned(),
        "[]".to_owned(),
        json!({"v": 1, "ended": {"sid": "x"}}).to_string(),
        note(&json!(5)),
        note(&json!({"sid": "", "at": 1})),
        note(&json!({"sid": 5, "at": 1})),
        note(&json!({"sid": "x".repeat(65), "at": 1})),
    ] {
        world.close();
        let key = [world.key(), ":ended"].concat();
        storage("localStorage").set_item(&key, &text).unwrap();
        world.start();
        assert_eq!(world.status(), "anonymous", "{text}");
        assert!(ended(&world).is_null(), "{text}");
    }
}

// 6.18, known-failures 41: an unconfirmed sign-out is said, not hidden
#[wasm_bindgen_test]
async fn a_sign_out_that_the_server_did_not_confirm_is_logged() {
    for (answer, said) in [
        (json!({"status": 200}), None),
        (json!({"status": 204}), None),
        (json!({"status": 401}), None),
        (json!({"status": 429}), Some(Some(429.0))),
        (json!({"status": 503}), Some(Some(503.0))),
        (json!({"network": true}), Some(None)),
    ] {
        let world = World::oauth2();
        world.server.script(REVOKE, std::slice::from_ref(&answer));
        world.sign_in(1).await;
        done(world.core.logout(), "logout").await;
        settle().await;
        let entry = world.host.entry("sign_out_unconfirmed");
        assert_eq!(entry.is_undefined(), said.is_none(), "{answer}");
        if let Some(status) = said {
            assert_eq!(text(&entry, "level"), "warn");
            assert_eq!(get(&entry, "status").as_f64(), status, "{answer}");
        }
    }
}

// 1.5, 1.7: an answer that is hard to believe is said in the log, once for each answer
#[wasm_bindgen_test]
async fn lifetimes_that_make_no_sense_are_logged() {
    let world = World::oauth2();
    let clock = Clock::new();
    let seconds = (clock.now() / 1_000.0).floor();
    let bad = |n: u32, more: Value| {
        let mut answer = tokens(n);
        for (name, value) in more.as_object().unwrap() {
            answer[name] = value.clone();
        }
        json!({"json": answer})
    };
    world.sign_in(1).await;
    for (n, (more, event)) in (2..).zip([
        (json!({"expires_in": "1h"}), Some("lifetime_unreadable")),
        (json!({"expires_in": -5}), Some("lifetime_unreadable")),
        (json!({"expires_at": "soon"}), Some("lifetime_unreadable")),
        (
            json!({"expires_at": seconds + 600.0}),
            Some("lifetimes_disagree"),
        ),
        (json!({"expires_at": seconds + 3_600.0}), None),
        (json!({"expires_in": null}), None),
        (json!({}), None),
    ]) {
        world.host.forget();
        world.server.script(TOKEN, &[bad(n, more.clone())]);
        let session = done(world.core.refresh(), "refresh").await;
        assert!(number(&session, "lifetime") > 0.0, "{more}");
        settle().await;
        let logs = world.host.logs();
        let strange: Vec<_> = logs
            .iter()
            .filter(|log| log.starts_with("lifetime"))
            .collect();
        assert_eq!(strange, event.iter().collect::<Vec<_>>(), "{more}");
        if let Some(event) = event {
            assert_eq!(text(&world.host.entry(event), "level"), "warn");
        }
    }
    // Earliest wins where they disagree.
    world
        .server
        .script(TOKEN, &[bad(20, json!({"expires_at": seconds + 600.0}))]);
    let session = done(world.core.refresh(), "refresh").await;
    assert!(number(&session, "lifetime") <= 600_000.0);
}

// 5.16: what the app is shown while nothing can be stored
#[wasm_bindgen_test]
async fn a_session_that_could_not_be_stored_says_storage() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2), grant(3)]);
    let error = |world: &World| get(&world.core.snapshot(), "error").as_string();
    world.sign_in(1).await;
    assert_eq!(error(&world), None);
    fill_storage();
    done(world.core.refresh(), "full").await;
    assert_eq!(error(&world).as_deref(), Some("storage"));
    assert_eq!(world.persisted(), "memory");
    assert_eq!(world.status(), "authenticated");
    restore();
    done(world.core.refresh(), "space again").await;
    assert_eq!(error(&world), None);
    assert_eq!(world.persisted(), "session");
}

/// What came with `suspicious_activity`.
fn suspicion(world: &World) -> (String, f64) {
    let detail = world.host.detail("suspicious_activity");
    (text(&detail, "reason"), number(&detail, "refreshes"))
}

// README: States, events, errors
#[wasm_bindgen_test]
async fn a_refresh_token_that_was_used_before_is_suspicious() {
    let world = World::new(&json!({"preset": "supabase"}));
    let reused = json!({"status": 400, "json": {"error_code": "refresh_token_already_used"}});
    world
        .server
        .script("POST https://api.test/auth/v1/token", &[reused]);
    world.sign_in(1).await;
    fails(world.core.refresh(), "refresh").await;
    until("the news", || world.host.told("suspicious_activity")).await;
    assert_eq!(suspicion(&world), ("token_reused".to_owned(), 1.0));
    assert_eq!(world.host.times("suspicious_activity"), 1);
}

// 2.13
#[wasm_bindgen_test]
async fn a_token_that_is_refused_right_after_its_refresh_is_suspicious() {
    let world = World::oauth2();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[json!({"status": 401})]);
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 401);
    until("the news", || world.host.told("suspicious_activity")).await;
    assert_eq!(suspicion(&world), ("fresh_token_refused".to_owned(), 1.0));
    assert_eq!(world.host.times("suspicious_activity"), 1);
}

// README: States, events, errors
#[wasm_bindgen_test]
async fn more_than_ten_refreshes_an_hour_are_suspicious_by_that_name() {
    let world = World::oauth2();
    let clock = Clock::new();
    world
        .server
        .script(TOKEN, &(2..20).map(grant).collect::<Vec<_>>());
    world.sign_in(1).await;
    for _ in 0..11 {
        done(world.core.refresh(), "refresh").await;
        clock.jump(10_000.0);
    }
    until("the news", || world.host.told("suspicious_activity")).await;
    assert_eq!(suspicion(&world), ("refresh_frequency".to_owned(), 11.0));
}
