//! Answers of the auth server and of resources that are hard to read (behaviour.md §1, §2, 3.18).

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// A session whose token is taken, refreshed like this.
async fn refreshing(answers: &[Value]) -> World {
    let world = World::oauth2();
    world.server.script(TOKEN, answers);
    world.server.script(X, &[json!({"json": {}})]);
    world.sign_in(1).await;
    world
}

fn invalid_grant() -> Value {
    json!({"status": 400, "json": {"error": "invalid_grant"}})
}

// 1.1: the content type is advisory
#[wasm_bindgen_test]
async fn a_good_answer_of_the_wrong_content_type_is_taken() {
    for kind in [
        "text/html",
        "text/plain; charset=utf-8",
        "application/octet-stream",
        "",
    ] {
        let mut answer = grant(2);
        answer["headers"] = json!({"content-type": kind});
        let world = refreshing(&[answer]).await;
        done(world.core.refresh(), kind).await;
        assert!(world.in_session().unwrap().contains(&rt(2)), "{kind}");
    }
}

// 1.15, 1.14: what the browser's own parser makes of odd JSON
#[wasm_bindgen_test]
async fn odd_json_is_read_or_refused_and_never_half_of_it() {
    let good = tokens(2).to_string();
    let inside = &good[1..good.len() - 1];
    let (at9, rt9) = (at(9), rt(9));
    for (text, taken) in [
        (format!("\u{feff}{good}"), true),
        (format!(" \r\n\t{good}\n\n"), true),
        (
            format!("{{\"access_token\":\"{at9}\",\"refresh_token\":\"{rt9}\",{inside}}}"),
            true,
        ),
        (
            format!("{{\"__proto__\":{{\"access_token\":\"{at9}\"}},{inside}}}"),
            true,
        ),
        (
            format!("{{\"constructor\":5,\"unknown\":[{{}}],{inside}}}"),
            true,
        ),
        (format!("{{\"__proto__\":{good}}}"), false),
        (format!("{{\"data\":{good}}}"), false),
        (format!("{good}{good}"), false),
        (format!("{good}<!-- -->"), false),
        (format!(")]}}',\n{good}"), false),
        (format!("[{good}]"), false),
        (good.replace('"', "'"), false),
    ] {
        let world = refreshing(&[json!({"text": text})]).await;
        let before = world.record();
        let refresh = world.core.refresh();
        if taken {
            done(refresh, &text).await;
            let record = world.record();
            assert_eq!(record["access_token"], at(2), "{text}");
            assert_eq!(record["refresh_token"], rt(2), "{text}");
        } else {
            assert_eq!(fails_with(refresh, &text).await, "refresh_failed", "{text}");
            let record = world.record();
            for name in ["access_token", "refresh_token", "rotation"] {
                assert_eq!(record[name], before[name], "{text}");
            }
        }
    }
}

// 1.16, 2.5: an error under 200 is what it says
#[wasm_bindgen_test]
async fn an_error_under_200_is_classed_by_its_code() {
    for (code, said, status) in [
        ("invalid_grant", "token_expired", "reauth_required"),
        ("TOKEN_REVOKED", "token_revoked", "reauth_required"),
        ("invalid_client", "config", "degraded"),
        ("server_error", "refresh_failed", "authenticated"),
        ("temporarily_unavailable", "refresh_failed", "authenticated"),
        ("who knows", "refresh_failed", "authenticated"),
    ] {
        let world = refreshing(&[json!({"json": {"error": code}})]).await;
        assert_eq!(fails_with(world.core.refresh(), code).await, said);
        assert_eq!(world.status(), status, "{code}");
        assert_eq!(world.get_status("/x").await, 200);
        assert_eq!(world.server.tokens_at(X), [bearer(1)], "{code}");
    }
}

// 1.16, 6.11: a description is for nobody's eyes
#[wasm_bindgen_test]
async fn the_description_of_an_error_shows_up_nowhere() {
    let description = format!("{CANARY} {}", "x".repeat(100_000));
    for status in [200, 400, 401, 403, 500] {
        let body = json!({
            "error": "invalid_grant", "error_description": description, "error_uri": description
        });
        let world = refreshing(&[json!({"status": status, "json": body})]).await;
        let error = fails(world.core.refresh(), "refresh").await;
        assert!(text(&error, "message").len() < 500);
        settle().await;
        for event in world.host.events() {
            assert!(
                format!("{:?}", world.host.detail(&event)).len() < 1_000,
                "{event}"
            );
        }
        assert!(!world.in_session().unwrap_or_default().contains("xxxx"));
        // The kit looks for the canary in all that was told.
    }
}

// 2.5: a 403 with a code is an answer, one without is a firewall's
#[wasm_bindgen_test]
async fn a_403_is_the_end_only_if_it_says_so() {
    for (body, said) in [
        (
            json!({"status": 403, "json": {"code": "session_expired"}}),
            "token_expired",
        ),
        (
            json!({"status": 403, "json": {"error_code": "session_not_found"}}),
            "token_revoked",
        ),
        (
            json!({"status": 403, "json": {"error": "blocked"}}),
            "refresh_failed",
        ),
        (
            json!({"status": 403, "text": "<html>Attention required"}),
            "refresh_failed",
        ),
    ] {
        let world = refreshing(std::slice::from_ref(&body)).await;
        assert_eq!(
            fails_with(world.core.refresh(), "refresh").await,
            said,
            "{body}"
        );
        assert_eq!(world.server.count(TOKEN), 1, "{body}");
    }
}

// 2.5: an answer that comes after the time is up and says no is not news any more
#[wasm_bindgen_test]
async fn a_late_refusal_changes_nothing() {
    for late in [
        invalid_grant(),
        json!({"status": 500}),
        json!({"text": "<html>"}),
        json!({"network": true}),
    ] {
        let mut held = late.clone();
        held["hold"] = json!("late");
        let world = refreshing(&[held, grant(2)]).await;
        let clock = Clock::new();
        let refresh = world.core.refresh();
        until("the call", || world.server.count(TOKEN) == 1).await;
        clock.advance(10_001.0);
        assert_eq!(fails_with(refresh, "refresh").await, "timeout");
        settle().await;
        let (before, told) = (world.record(), world.host.all());
        world.server.open("late");
        settle().await;
        assert_eq!(world.record(), before, "{late}");
        assert_eq!(world.host.all(), told, "{late}");
        assert_eq!(world.status(), "authenticated");
        clock.jump(60_000.0);
        done(world.core.refresh(), "afterwards").await;
        assert!(world.server.calls(TOKEN)[1].text().contains(&rt(1)));
    }
}

// 2.5, 1.1: a late token is one that nobody else has, unless a newer one is there
#[wasm_bindgen_test]
async fn a_late_token_does_not_replace_a_newer_one() {
    let world = refreshing(&[json!({"json": tokens(2), "hold": "late"})]).await;
    let clock = Clock::new();
    let refresh = world.core.refresh();
    until("the call", || world.server.count(TOKEN) == 1).await;
    clock.advance(10_001.0);
    fails(refresh, "refresh").await;
    world.refreshed_elsewhere(3);
    happens("focus");
    assert_eq!(world.get_status("/x").await, 200);
    world.server.open("late");
    settle().await;
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [bearer(3), bearer(3)]);
    assert_eq!(world.record()["refresh_token"], rt(3));
}

// 2.6: an HTTP date is the server's; a clock here that is ten minutes off changes nothing about the pause
#[wasm_bindgen_test]
async fn a_retry_after_date_is_measured_by_the_servers_own_clock() {
    for off in [-600_000.0, 0.0, 600_000.0] {
        let world = World::oauth2();
        let clock = Clock::new();
        let server = clock.now() + off;
        let date = |ms: f64| {
            let date = js_sys::Date::new(&ms.into());
            String::from(date.to_utc_string())
        };
        let busy = json!({
            "status": 503, "headers": {"date": date(server), "retry-after": date(server + 120_000.0)}
        });
        world.server.script(TOKEN, &[busy, grant(2)]);
        world.sign_in(1).await;
        let error = fails(world.core.refresh(), "busy").await;
        let pause = number(&error, "retryAt") - clock.now();
        assert!((119_000.0..=121_000.0).contains(&pause), "{off}: {pause}");
        clock.jump(pause - 2_000.0);
        fails(world.core.refresh(), "too early").await;
        assert_eq!(world.server.count(TOKEN), 1);
        clock.jump(3_000.0);
        done(world.core.refresh(), "in time").await;
    }
}

// 2.6: whatever else stands there is the usual pause, and an hour is the longest
#[wasm_bindgen_test]
async fn nonsense_in_retry_after_is_the_usual_pause() {
    for (header, least, most) in [
        ("-5", 0.0, 10_000.0),
        ("soon", 0.0, 10_000.0),
        ("1.5", 0.0, 10_000.0),
        ("", 0.0, 10_000.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0, 10_000.0),
        ("99999999999999999999", 3_599_000.0, 3_601_000.0),
        ("86400", 3_599_000.0, 3_601_000.0),
    ] {
        let busy = json!({"status": 429, "headers": {"retry-after": header}});
        let world = refreshing(&[busy]).await;
        let clock = Clock::new();
        let error = fails(world.core.refresh(), header).await;
        let pause = number(&error, "retryAt") - clock.now();
        assert!((least..=most).contains(&pause), "{header}: {pause}");
        assert!(!world.host.told("circuit_opened"));
    }
}

// 2.9: a newer token of another tab is a new start
#[wasm_bindgen_test]
async fn a_token_from_another_tab_closes_the_breaker() {
    let world = World::new(&json!({
        "preset": "oauth2", "clientId": "demo", "circuitBreaker": {"maxFailures": 1}
    }));
    world
        .server
        .script(TOKEN, &[json!({"status": 500}), grant(3)]);
    world.server.script(X, &[only(2)]);
    world.sign_in(1).await;
    fails(world.core.refresh(), "500").await;
    assert_eq!(
        fails_with(world.core.refresh(), "paused").await,
        "circuit_open"
    );
    assert_eq!(world.status(), "degraded");
    world.refreshed_elsewhere(2);
    happens("focus");
    until("the news", || world.host.told("circuit_closed")).await;
    assert_eq!(world.status(), "authenticated");
    assert!(get(&world.core.snapshot(), "retryAt").is_null());
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
    done(world.core.refresh(), "refresh").await;
    assert!(world.server.calls(TOKEN)[1].text().contains(&rt(2)));
}

// 2.12: after the pause one tab tries for all of them, and what it learns holds for all of them
#[wasm_bindgen_test]
async fn after_a_pause_one_probe_is_sent_for_all_tabs() {
    let world = World::new(&json!({
        "preset": "oauth2", "clientId": "demo", "circuitBreaker": {"maxFailures": 1}
    }));
    let clock = Clock::new();
    let down = json!({"status": 500});
    let probe = json!({"status": 500, "hold": "probe"});
    world.server.script(TOKEN, &[down, probe, grant(2)]);
    world.server.script(X, &[only(2)]);
    world.begin(&tokens(1), true).await;
    let tabs: Vec<_> = (0..5).map(|_| world.open()).collect();
    clock.jump(3_700_000.0);
    fails(world.core.refresh(), "down").await;
    let pause = |tab: &Tab| number(&get_snapshot(tab), "retryAt") - clock.now();
    for tab in &tabs {
        until("the pause is known", || pause(tab) > 0.0).await;
    }
    clock.jump(pause(&world) + 1.0);

    let waiting: Vec<_> = tabs.iter().map(|tab| tab.get("/x")).collect();
    until("the probe", || world.server.count(TOKEN) == 2).await;
    settle().await;
    assert_eq!(world.server.count(TOKEN), 2);
    world.server.open("probe");
    for answer in waiting {
        assert_eq!(status(answer, "after a failed probe").await, 401);
    }
    assert_eq!(world.server.count(TOKEN), 2);
    for tab in &tabs {
        assert_eq!(
            fails_with(tab.core.refresh(), "paused").await,
            "circuit_open"
        );
    }

    clock.jump(pause(&world) + 1.0);
    let waiting: Vec<_> = tabs.iter().map(|tab| tab.get("/x")).collect();
    for answer in waiting {
        assert_eq!(status(answer, "after a good probe").await, 200);
    }
    assert_eq!(world.server.count(TOKEN), 3);
}

fn get_snapshot(tab: &Tab) -> wasm_bindgen::JsValue {
    tab.core.snapshot()
}

// 2.12, 5.7: coming back is a reason to try again once the pause is 5 s old
#[wasm_bindgen_test]
async fn a_page_that_comes_back_may_try_before_the_pause_is_over() {
    for event in ["online", "focus", "visibilitychange", "pageshow", "resume"] {
        let world = World::new(&json!({
            "preset": "oauth2", "clientId": "demo", "circuitBreaker": {"maxFailures": 1}
        }));
        let clock = Clock::new();
        world
            .server
            .script(TOKEN, &[json!({"status": 500}), grant(2)]);
        world.sign_in(1).await;
        fails(world.core.refresh(), "500").await;
        clock.jump(4_000.0);
        happens(event);
        assert_eq!(
            fails_with(world.core.refresh(), event).await,
            "circuit_open"
        );
        clock.jump(1_500.0);
        assert_eq!(
            fails_with(world.core.refresh(), event).await,
            "circuit_open"
        );
        happens(event);
        done(world.core.refresh(), event).await;
        assert_eq!(world.server.count(TOKEN), 2, "{event}");
    }
}

// 3.9: the revocation endpoint, called by hand
#[wasm_bindgen_test]
async fn the_revocation_endpoint_never_refreshes() {
    let world = World::oauth2();
    let clock = Clock::new();
    world.server.script(REVOKE, &[json!({"status": 401})]);
    world.sign_in(1).await;
    for pause in [0.0, 3_700_000.0] {
        clock.jump(pause);
        let answer = world.fetch(&post("/oauth/revoke", &"token=x".into()));
        assert_eq!(status(answer, "by hand").await, 401);
    }
    assert_eq!(
        (world.server.count(REVOKE), world.server.count(TOKEN)),
        (2, 0)
    );
}

// 3.18: what is too long is not looked into, whether or not its length is announced
#[wasm_bindgen_test]
async fn a_401_of_more_than_64_kib_is_not_decided_on() {
    for (padding, looked_into) in [
        (1_000, true),
        (64_000, true),
        (70_000, false),
        (2_000_000, false),
    ] {
        let world = World::sanctum();
        let body = json!({"code": "TOKEN_REVOKED", "message": "x".repeat(padding)});
        let refused = json!({"status": 401, "json": body});
        world.server.script(X, &[refused, only(2)]);
        world.server.script(SANCTUM, &[grant(2)]);
        world.sign_in(1).await;
        let answer = response(world.get("/x"), "x").await;
        if looked_into {
            assert_eq!(unread(&answer).await, body.to_string());
            assert_eq!(world.status(), "reauth_required", "{padding}");
            assert_eq!(world.server.count(SANCTUM), 0, "{padding}");
        } else {
            assert_eq!(answer.status(), 200, "{padding}");
            assert_eq!(world.server.count(SANCTUM), 1, "{padding}");
        }
    }
}

// 3.18: a body that never ends is given up, and nothing goes on reading it
#[wasm_bindgen_test]
async fn a_401_that_never_ends_is_looked_into_for_two_seconds_and_let_go() {
    let world = World::sanctum();
    let clock = Clock::new();
    let endless =
        json!({"status": 401, "spy": true, "headers": {"content-type": "application/json"}});
    world.server.script(X, &[endless, only(2)]);
    world.server.script(SANCTUM, &[grant(2)]);
    world.sign_in(1).await;
    let answer = world.get("/x");
    until("the 401", || world.server.count(X) == 1).await;
    settle().await;
    clock.advance(1_999.0);
    settle().await;
    assert_eq!(world.server.count(SANCTUM), 0);
    clock.advance(2.0);
    assert_eq!(status(answer, "x").await, 200);
    until("the connection is free", || {
        world.server.calls(X)[0].cancelled()
    })
    .await;
}

// 3.18: nor is it kept when the 401 goes to the caller after all
#[wasm_bindgen_test]
async fn a_401_that_goes_to_the_caller_is_the_callers_alone() {
    let world = World::sanctum();
    let body = json!({"code": "TOKEN_EXPIRED"});
    world
        .server
        .script(X, &[json!({"status": 401, "json": body})]);
    world.server.script(SANCTUM, &[json!({"status": 500})]);
    world.sign_in(1).await;
    let clock = Clock::new();
    let answer = world.get("/x");
    until("the first try", || world.host.told("refresh_failed")).await;
    settle().await;
    clock.advance(2_000.0);
    let answer = response(answer, "x").await;
    assert_eq!(
        (answer.status(), unread(&answer).await),
        (401, body.to_string())
    );
}

// 1.10: an end that lies beyond the token's lifetime (the clock was set back since) is not believed
#[wasm_bindgen_test]
async fn a_stored_end_beyond_the_lifetime_is_not_believed() {
    let mut world = World::oauth2();
    let clock = Clock::new();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[json!({"json": {}})]);
    world.sign_in(1).await;
    world.close();
    // The clock said a day later when this was stored.
    world.tamper(|record| {
        for name in ["issued_at", "expires_at"] {
            let at = record[name].as_i64().unwrap();
            record[name] = json!(at + 86_400_000);
        }
    });
    world.start();
    assert_eq!(world.get_status("/x").await, 200);
    clock.advance(3_700_000.0);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X).last().unwrap(), &bearer(2));
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.5, 5.14: a page that loads while a call of the last page is under way waits for its answer's time
#[wasm_bindgen_test]
async fn a_reload_in_the_middle_of_a_refresh_does_not_spend_the_credential_again_at_once() {
    let mut world = World::oauth2();
    let clock = Clock::new();
    let held = json!({"json": tokens(2), "hold": "for ever"});
    world.server.script(TOKEN, &[held, invalid_grant()]);
    world.server.script(X, &[only(1)]);
    world.sign_in(1).await;
    clock.jump(3_500_000.0);
    let refresh = world.core.refresh();
    until("the call", || world.server.count(TOKEN) == 1).await;
    world.close();
    drop(refresh);
    world.start();
    assert_eq!(world.get_status("/x").await, 200);
    settle().await;
    assert_eq!(world.server.count(TOKEN), 1);
    // Its time is up and storage says nothing new: the credential is tried again, and known to be lost.
    for _ in 0..20 {
        clock.advance(1_000.0);
        settle().await;
    }
    assert_eq!(world.server.count(TOKEN), 2);
    until("the end", || world.host.told("reauth_required")).await;
    assert_eq!(
        text(&world.host.detail("reauth_required"), "reason"),
        "lost_response"
    );
}
