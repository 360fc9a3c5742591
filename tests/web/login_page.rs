//! `loginUrl`: who is sent to the sign-in page, and how often (behaviour.md 6.14).

use super::kit::*;
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";
const LOGIN: &str = "/sign-in?from=app#form";

fn page(name: &str) -> String {
    text(&global("location"), name)
}

/// Where a person comes to the sign-in page from.
fn here() -> String {
    let here = [page("pathname"), page("search"), page("hash")].concat();
    String::from(js_sys::encode_uri_component(&here))
}

/// The address that is gone to.
fn target() -> String {
    format!(
        "{}/sign-in?from=app&returnTo={}#form",
        page("origin"),
        here()
    )
}

async fn world(remember: bool) -> World {
    let world = World::new(&json!({"preset": "oauth2", "clientId": "demo", "loginUrl": LOGIN}));
    world.server.script(REVOKE, &[json!({})]);
    world.server.script(
        TOKEN,
        &[json!({"status": 400, "json": {"error": "invalid_grant"}})],
    );
    world.server.script(X, &[json!({"status": 401})]);
    world.begin(&tokens(1), remember).await;
    world
}

// 6.14: once the credential is dead and the token used up
#[wasm_bindgen_test]
async fn a_session_that_is_over_leads_to_the_sign_in_page_and_knows_the_way_back() {
    let world = world(false).await;
    let departures = Departures::new();
    assert_eq!(world.get_status("/x").await, 401);
    until("the departure", || !departures.all().is_empty()).await;
    settle().await;
    assert_eq!(departures.all(), [target()]);
    assert!(!departures.all().concat().contains(CANARY));
}

// 6.14: the address of the page goes along whole, in one parameter
#[wasm_bindgen_test]
async fn the_way_back_is_the_whole_address_in_one_parameter() {
    let world = world(false).await;
    let history = web_sys::window().unwrap().history().unwrap();
    let before = page("href");
    let odd = "/deep/p%C3%A4ge?a=1&returnTo=//evil.test&b=%26#frag?x&y";
    history
        .replace_state_with_url(&JsValue::NULL, "", Some(odd))
        .unwrap();
    let departures = Departures::new();
    assert_eq!(world.get_status("/x").await, 401);
    until("the departure", || !departures.all().is_empty()).await;
    let gone = departures.all();
    drop(world);
    history
        .replace_state_with_url(&JsValue::NULL, "", Some(&before))
        .unwrap();
    assert_eq!(gone.len(), 1);
    let url = web_sys::Url::new(&gone[0]).unwrap();
    assert_eq!(
        (url.origin(), url.pathname()),
        (page("origin"), "/sign-in".to_owned())
    );
    let sent = js_sys::JSON::stringify(&form_fields(&url.search())).unwrap();
    let sent: Vec<(String, String)> = serde_json::from_str(&String::from(sent)).unwrap();
    let expected = [("from", "app"), ("returnTo", odd)];
    assert_eq!(
        sent,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
    assert_eq!(url.hash(), "#form");
}

// 6.14: at most one automatic redirect per 30 s, a reload included
#[wasm_bindgen_test]
async fn nobody_is_sent_there_twice_within_half_a_minute() {
    let mut world = world(false).await;
    let clock = Clock::new();
    let departures = Departures::new();
    for (pause, expected) in [(0.0, 1), (1_000.0, 1), (28_900.0, 1), (200.0, 2)] {
        clock.jump(pause);
        world.close();
        world.start();
        world.sign_in(1).await;
        assert_eq!(world.get_status("/x").await, 401);
        until("the end", || world.host.told("reauth_required")).await;
        settle().await;
        assert_eq!(departures.all().len(), expected, "after {pause} ms");
    }
}

// 6.14, 5.11: a sign-out here is the app's own doing, one elsewhere is news
#[wasm_bindgen_test]
async fn a_sign_out_elsewhere_leads_there_and_one_here_does_not() {
    let world = world(true).await;
    let other = world.open_with(&json!({"loginUrl": "/other"}));
    let departures = Departures::new();
    done(other.core.logout(), "logout").await;
    until("the news", || world.host.told("signed_out")).await;
    until("the departure", || !departures.all().is_empty()).await;
    settle().await;
    assert_eq!(departures.all(), [target()]);
}

// 2.3, 2.4, 6.14: as long as something works, nobody is sent away
#[wasm_bindgen_test]
async fn whoever_still_has_a_token_stays_where_they_are() {
    let world = world(false).await;
    let departures = Departures::new();
    world.server.script(X, &[json!({"json": {}})]);
    fails(world.core.refresh(), "dead credential").await;
    until("the news", || world.host.told("reauth_required")).await;
    assert_eq!(world.get_status("/x").await, 200);
    world.sign_in(2).await;
    for answer in [
        json!({"status": 500}),
        json!({"network": true}),
        json!({"text": "<html>"}),
    ] {
        world.server.script(TOKEN, &[answer]);
        fails(world.core.refresh(), "passing").await;
    }
    drop(world.core.logout());
    settle().await;
    assert!(departures.all().is_empty());
}

// 6.14: the page itself, and storage that cannot remember when the last time was
#[wasm_bindgen_test]
async fn there_is_no_way_from_the_page_to_itself_or_without_a_memory() {
    let departures = Departures::new();
    for blocked in [false, true] {
        restore();
        let mut world = World::behind(&json!({
            "preset": "oauth2", "storage": "memory",
            "loginUrl": if blocked { LOGIN.to_owned() } else { page("pathname") }
        }));
        let departures = Departures::new();
        if blocked {
            patch_throwing(&js_sys::global(), "sessionStorage");
        }
        world.start();
        world.server.script(
            TOKEN,
            &[json!({"status": 400, "json": {"error": "invalid_grant"}})],
        );
        world.server.script(X, &[json!({"status": 401})]);
        world.sign_in(1).await;
        assert_eq!(world.get_status("/x").await, 401);
        until("the end", || world.host.told("reauth_required")).await;
        settle().await;
        assert!(departures.all().is_empty(), "blocked: {blocked}");
    }
    assert!(departures.all().is_empty());
}

// 6.14: without the option nobody is sent anywhere
#[wasm_bindgen_test]
async fn without_a_login_url_nobody_is_sent_anywhere() {
    let world = World::oauth2();
    let departures = Departures::new();
    world.server.script(
        TOKEN,
        &[json!({"status": 400, "json": {"error": "invalid_grant"}})],
    );
    world.server.script(X, &[json!({"status": 401})]);
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 401);
    until("the end", || world.host.told("reauth_required")).await;
    settle().await;
    assert!(departures.all().is_empty());
}
