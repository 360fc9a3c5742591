//! Where the token may go, and where never (behaviour.md §4, 6.6, 7.19, 7.20).

use super::kit::*;
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";

/// A signed-in world in which everything answers 401, so that any refresh would show.
async fn hostile() -> World {
    let world = World::oauth2();
    world.server.script("GET ", &[json!({"status": 401})]);
    world.server.script("POST ", &[json!({"status": 401})]);
    world.sign_in(1).await;
    world
}

// 6.6, 7.20, known-failures 49
#[wasm_bindgen_test]
async fn lookalikes_and_other_ports_get_no_token() {
    let world = hostile().await;
    let urls = [
        "https://api.test.evil.test/x",
        "https://api.test@evil.test/x",
        "https://xapi.test/x",
        "https://apixtest/x",
        "https://api.test:8443/x",
        "http://api.test/x",
        "https://api.test./x",
        "https://evil.test/https://api.test/x",
        "https://evil.test/?https://api.test/",
        "https://evil.test\\@api.test/x",
        "https://xn--pi-xka.test/x",
        "https://test/x",
        "https://sub.api.test/x",
    ];
    let mut sent = 0;
    for url in urls {
        // URLs with user info are refused by Request itself.
        let Ok(request) = web_sys::Request::new_with_str(url) else {
            continue;
        };
        sent += 1;
        assert_eq!(status(world.fetch(&request), url).await, 401);
    }
    assert!(sent >= urls.len() - 2);
    assert_eq!(world.server.count("GET"), sent);
    assert!(world.server.tokens_at("GET").iter().all(Option::is_none));
    assert_eq!(world.server.count(TOKEN), 0);
}

// 4.17: decided on the resolved URL.
#[wasm_bindgen_test]
async fn spellings_of_the_allowed_origin_get_it() {
    let world = hostile().await;
    world.server.script("GET https://api.test/", &[only(1)]);
    let urls = [
        "HTTPS://API.test/x",
        "https://api.test:443/x",
        "https:\\\\api.test\\x",
        " https://api.test/x\n",
        "https://ap\ti.test/x",
    ];
    for url in urls {
        let request = web_sys::Request::new_with_str(url).unwrap();
        assert_eq!(status(world.fetch(&request), url).await, 200);
    }
    assert_eq!(world.server.tokens_at("GET"), vec![bearer(1); urls.len()]);
}

// 6.6
#[wasm_bindgen_test]
async fn listed_origins_get_it_and_only_those() {
    let mut world = World::empty(&json!({
        "preset": "oauth2", "allowedOrigins": ["https://files.test:8443", "https://cdn.test/"]
    }));
    world.server.script("GET ", &[json!({"json": {}})]);
    world.start();
    world.sign_in(1).await;
    for url in [
        "https://files.test:8443/x",
        "https://cdn.test/x",
        "https://files.test/x",
        "https://cdn.test:8443/x",
    ] {
        let request = web_sys::Request::new_with_str(url).unwrap();
        status(world.fetch(&request), url).await;
    }
    assert_eq!(
        world.server.tokens_at("GET"),
        [bearer(1), bearer(1), None, None]
    );
}

// 6.6: without baseUrl the page's own origin is the API.
#[wasm_bindgen_test]
async fn without_a_base_url_the_pages_own_origin_gets_it() {
    let mut world = World::empty(&json!({"preset": "oauth2"}));
    world.option("baseUrl", &JsValue::UNDEFINED);
    world.server.script("GET ", &[json!({"json": {}})]);
    world.start();
    world.sign_in(1).await;
    for url in ["/x", "https://api.test/x"] {
        let request = web_sys::Request::new_with_str(url).unwrap();
        status(world.fetch(&request), url).await;
    }
    assert_eq!(world.server.tokens_at("GET"), [bearer(1), None]);
}

// 4.21, known-failures 57: even an empty one.
#[wasm_bindgen_test]
async fn an_authorization_of_the_callers_own_is_left_alone() {
    let world = hostile().await;
    let clock = Clock::new();
    world.sign_in(1).await;
    for expired in [false, true] {
        if expired {
            clock.jump(3_700_000.0);
        }
        for (name, value) in [
            ("Authorization", "Basic abc"),
            ("AUTHORIZATION", "Bearer mine"),
            ("authorization", ""),
        ] {
            let own = request_with(
                "https://api.test/x",
                &js(&json!({"headers": {name: value}})),
            );
            assert_eq!(status(world.fetch(&own), value).await, 401);
            let seen = world
                .server
                .calls(X)
                .last()
                .unwrap()
                .header("authorization");
            assert_eq!(seen.as_deref(), Some(value));
        }
    }
    assert_eq!((world.server.count(X), world.server.count(TOKEN)), (6, 0));
}

// 3.9, 4.1
#[wasm_bindgen_test]
async fn auth_false_and_no_cors_go_without() {
    let world = hostile().await;
    let clock = Clock::new();
    world.sign_in(1).await;
    clock.jump(3_700_000.0);
    let without = world.fetch_with(&request("/x"), &js(&json!({"auth": false})));
    assert_eq!(status(without, "auth: false").await, 401);
    let blind = request_with("https://api.test/x", &js(&json!({"mode": "no-cors"})));
    assert_eq!(status(world.fetch(&blind), "no-cors").await, 401);
    assert_eq!(world.server.tokens_at(X), [None, None]);
    assert_eq!(world.server.count(TOKEN), 0);
}

// 3.7: the browser dropped the header on the way, so this 401 says nothing about the token.
#[wasm_bindgen_test]
async fn the_401_of_another_origin_after_a_redirect_does_not_refresh() {
    let world = hostile().await;
    let away = json!({"status": 401, "redirected": true, "url": "https://evil.test/x"});
    let home = json!({"status": 401, "redirected": true, "url": "https://api.test/elsewhere"});
    world.server.script(X, &[away, home, only(2)]);
    assert_eq!(world.get_status("/x").await, 401);
    assert_eq!((world.server.count(X), world.server.count(TOKEN)), (1, 0));
    world.server.script(TOKEN, &[grant(2)]);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
}

// 3.7: nor does that of another origin that may have the token: the browser dropped the header all the same
#[wasm_bindgen_test]
async fn the_401_of_another_allowed_origin_after_a_redirect_does_not_refresh() {
    let world = World::new(&json!({
        "preset": "oauth2", "clientId": "demo", "allowedOrigins": ["https://other.test"]
    }));
    world.sign_in(1).await;
    let away = json!({"status": 401, "redirected": true, "url": "https://other.test/x"});
    world.server.script(X, &[away, only(1)]);
    assert_eq!(world.get_status("/x").await, 401);
    assert_eq!((world.server.count(X), world.server.count(TOKEN)), (1, 0));
    assert_eq!(world.get_status("/x").await, 200);
}

// 4.25
#[wasm_bindgen_test]
async fn the_token_is_in_the_header_and_nowhere_else() {
    let world = hostile().await;
    world.server.script("POST https://api.test/x", &[only(1)]);
    assert_eq!(
        status(world.fetch(&post("/x", &"body".into())), "x").await,
        200
    );
    let call = &world.server.calls("POST https://api.test/x")[0];
    assert_eq!(call.header("authorization"), bearer(1));
    assert_eq!(call.url(), "https://api.test/x");
    assert_eq!(call.text(), "body");
    assert_eq!(call.credentials(), "same-origin");
}

// 1.14: token sizes are unbounded.
#[wasm_bindgen_test]
async fn a_token_of_32_kib_goes_out_whole() {
    let world = hostile().await;
    let long = format!("{CANARY}{}", "x".repeat(32 * 1024));
    world
        .begin(&json!({"access_token": long, "expires_in": 60}), false)
        .await;
    world.server.script(X, &[json!({"json": {}})]);
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.tokens_at(X), [Some(format!("Bearer {long}"))]);
}
