//! What `new Core(options)` refuses, and that it names the field (behaviour.md 6.12).

use super::kit::*;
use keepfresh::browser::Core;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::wasm_bindgen_test;

fn refused(options: &JsValue) -> JsValue {
    let host: JsValue = js_sys::Object::new().into();
    match Core::new(options, host.unchecked_into()) {
        Ok(_) => JsValue::UNDEFINED,
        Err(error) => error,
    }
}

/// The options are refused with this field in the error and in its text.
fn refuses(options: &JsValue, field: &str) {
    let error = refused(options);
    let shown = format!("{options:?}");
    assert!(
        error.is_instance_of::<js_sys::Error>(),
        "{field}: {shown} was taken"
    );
    assert_eq!(text(&error, "name"), "KeepfreshError", "{shown}");
    assert_eq!(text(&error, "code"), "config", "{shown}");
    assert_eq!(text(&error, "field"), field, "{shown}");
    assert_eq!(get(&error, "retryable"), JsValue::FALSE, "{shown}");
    assert!(text(&error, "message").contains(field), "{shown}");
}

fn refuses_all(cases: &[(&str, Value)]) {
    for (field, options) in cases {
        refuses(&js(options), field);
    }
}

// 6.12
#[wasm_bindgen_test]
fn what_is_not_an_object_is_refused() {
    for value in [
        JsValue::UNDEFINED,
        JsValue::NULL,
        JsValue::from(5),
        "x".into(),
    ] {
        refuses(&value, "options");
    }
    refuses(&js(&json!([])), "options");
}

// 6.9, 6.12
#[wasm_bindgen_test]
fn unknown_keys_are_refused_by_name() {
    refuses_all(&[
        ("basUrl", json!({"basUrl": API})),
        ("BaseUrl", json!({"BaseUrl": API})),
        ("constructor", json!({"constructor": 1})),
        ("prototype", json!({"prototype": 1})),
        ("clientSecret", json!({"clientSecret": "s"})),
        ("endpoints.logn", json!({"endpoints": {"logn": "/x"}})),
        ("refreshCall.sned", json!({"refreshCall": {"sned": "json"}})),
        ("tokenFields.token", json!({"tokenFields": {"token": "x"}})),
        ("circuitBreaker.max", json!({"circuitBreaker": {"max": 1}})),
    ]);
}

// 6.12, 7.25
#[wasm_bindgen_test]
fn an_own_proto_key_is_refused() {
    refuses_all(&[
        (
            "__proto__",
            json!({"__proto__": {"baseUrl": "https://evil.test"}}),
        ),
        (
            "endpoints.__proto__",
            json!({"endpoints": {"__proto__": {"refresh": "/x"}}}),
        ),
        (
            "tokenFields.__proto__",
            json!({"tokenFields": {"__proto__": {}}}),
        ),
        (
            "refreshCall.__proto__",
            json!({"refreshCall": {"__proto__": {"send": "form"}}}),
        ),
        (
            "circuitBreaker.__proto__",
            json!({"circuitBreaker": {"__proto__": {}}}),
        ),
    ]);
}

// 6.12, 6.15
#[wasm_bindgen_test]
fn texts_of_the_wrong_kind_are_refused() {
    for field in [
        "baseUrl",
        "preset",
        "clientId",
        "scope",
        "lifetimeUnit",
        "storage",
        "storageKey",
        "logLevel",
    ] {
        for wrong in [
            json!(5),
            json!(""),
            json!(null),
            json!({}),
            json!(["x"]),
            json!(true),
        ] {
            refuses(&js(&json!({field: wrong})), field);
        }
    }
    refuses_all(&[
        ("preset", json!({"preset": "sactum"})),
        ("lifetimeUnit", json!({"lifetimeUnit": "h"})),
        ("storage", json!({"storage": "cookie"})),
        ("logLevel", json!({"logLevel": "loud"})),
        ("storageKey", json!({"storageKey": "a b"})),
        ("storageKey", json!({"storageKey": "../x"})),
        ("storageKey", json!({"storageKey": "x".repeat(65)})),
        ("endpoints.login", json!({"endpoints": {"login": 5}})),
        (
            "endpoints.logoutAll",
            json!({"endpoints": {"logoutAll": null}}),
        ),
        ("tokenFields", json!({"tokenFields": {"accessToken": 5}})),
        ("refreshCall", json!({"refreshCall": {"send": 5}})),
        ("apiKey", json!({"apiKey": "two words"})),
        ("csrf.header", json!({"csrf": {"header": "two words"}})),
        ("csrf.cookie", json!({"csrf": {"cookie": "a=b"}})),
        (
            "loginUrl",
            json!({"loginUrl": "https://elsewhere.test/login"}),
        ),
        ("loginUrl", json!({"loginUrl": "javascript:alert(1)"})),
        ("storage", json!({"storage": {"getItem": 1}})),
    ]);
}

// 6.12
#[wasm_bindgen_test]
fn objects_lists_flags_and_functions_of_the_wrong_kind_are_refused() {
    for field in [
        "endpoints",
        "refreshCall",
        "tokenFields",
        "circuitBreaker",
        "csrf",
    ] {
        for wrong in [json!(5), json!("x"), json!([]), json!(null), json!(true)] {
            refuses(&js(&json!({field: wrong})), field);
        }
    }
    for field in ["strict", "crossTab"] {
        for wrong in [json!("yes"), json!(1), json!(null), json!({})] {
            refuses(&js(&json!({field: wrong})), field);
        }
    }
    for field in [
        "parseTokens",
        "getSession",
        "refreshSession",
        "isAuthError",
        "fetch",
    ] {
        for wrong in [json!("x"), json!(1), json!(null), json!({}), json!(true)] {
            refuses(&js(&json!({field: wrong})), field);
        }
    }
    for wrong in [json!("https://a.test"), json!([5]), json!({}), json!(null)] {
        refuses(&js(&json!({"allowedOrigins": wrong})), "allowedOrigins");
    }
}

// 6.12
#[wasm_bindgen_test]
fn times_and_counts_out_of_range_are_refused() {
    for field in [
        "expiryBuffer",
        "sessionCacheTtl",
        "defaultTokenLifetime",
        "refreshTimeout",
    ] {
        for wrong in [
            json!(-1),
            json!(-0.5),
            json!("1000"),
            json!(1e13),
            json!(null),
            json!({}),
        ] {
            refuses(&js(&json!({field: wrong})), field);
        }
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let options = js(&json!({}));
            put(&options, field, &wrong.into());
            refuses(&options, field);
        }
        assert!(refused(&js(&json!({field: 0, "storageKey": "options-ok"}))).is_undefined());
    }
    refuses_all(&[
        (
            "circuitBreaker.maxFailures",
            json!({"circuitBreaker": {"maxFailures": 0}}),
        ),
        (
            "circuitBreaker.maxFailures",
            json!({"circuitBreaker": {"maxFailures": -1}}),
        ),
        (
            "circuitBreaker.maxFailures",
            json!({"circuitBreaker": {"maxFailures": "2"}}),
        ),
        (
            "circuitBreaker.cooldown",
            json!({"circuitBreaker": {"cooldown": -1}}),
        ),
    ]);
}

// 4.17, 4.26, 6.6: tokens do not travel in clear; no user info, no wildcards.
#[wasm_bindgen_test]
fn addresses_that_cannot_carry_a_token_are_refused() {
    for wrong in [
        "ftp://api.test",
        "javascript:alert(1)",
        "blob:https://api.test/1",
        "api.test",
        "//api.test",
        "/api",
        "https://",
        "https://ada:secret@api.test",
        "https://ada@api.test",
        "http://api.test",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test:80",
    ] {
        refuses(&js(&json!({"baseUrl": wrong})), "baseUrl");
    }
    for wrong in [
        "http://auth.test/refresh",
        "https://ada:secret@auth.test/",
        "ftp://auth.test/",
    ] {
        let options = json!({"baseUrl": API, "endpoints": {"refresh": wrong}});
        refuses(&js(&options), "endpoints.refresh");
    }
    for wrong in [
        "https://other.test/path",
        "https://*.other.test",
        "*",
        "null",
        "http://other.test",
        "https://ada@other.test",
        "https://other.test?x",
        "other.test",
    ] {
        refuses(&js(&json!({"allowedOrigins": [wrong]})), "allowedOrigins");
    }
    for fine in [
        "https://api.test",
        "http://localhost:8000/api",
        "http://127.0.0.1:1",
        "http://[::1]:80",
    ] {
        let options = json!({"baseUrl": fine, "storageKey": "options-ok"});
        assert!(refused(&js(&options)).is_undefined(), "{fine}");
    }
}

// README: Options
#[wasm_bindgen_test]
fn refresh_calls_that_make_no_sense_are_refused() {
    refuses_all(&[
        (
            "refreshCall.send",
            json!({"refreshCall": {"send": "header"}}),
        ),
        (
            "refreshCall.method",
            json!({"refreshCall": {"method": "PUT"}}),
        ),
        (
            "refreshCall.method",
            json!({"refreshCall": {"method": "GET", "send": "form"}}),
        ),
        (
            "refreshCall.method",
            json!({"refreshCall": {"method": "GET", "send": "json"}}),
        ),
    ]);
}

// 6.12, 7.25: a polluted prototype is nobody's configuration.
#[wasm_bindgen_test]
async fn a_polluted_prototype_changes_nothing() {
    let mut world = World::empty(&json!({
        "preset": "django", "endpoints": {}, "refreshCall": {}, "tokenFields": {}, "circuitBreaker": {}
    }));
    for (name, value) in [
        ("headers", json!({"X-Evil": "1"})),
        ("baseURL", json!("https://evil.test")),
        ("baseUrl", json!("https://evil.test")),
        ("storage", json!("local")),
        ("storageKey", json!("evil")),
        ("allowedOrigins", json!(["https://evil.test"])),
        ("preset", json!("sanctum")),
        ("refresh", json!("https://evil.test/refresh")),
        ("endpoints", json!({"refresh": "https://evil.test/refresh"})),
        ("send", json!("form")),
        ("method", json!("GET")),
        ("field", json!("evil")),
        ("accessToken", json!("evil")),
        ("maxFailures", json!(0)),
        ("auth", json!(false)),
    ] {
        pollute(name, &js(&value));
    }
    pollute("fetch", &js_sys::Function::new_no_args("throw 1").into());
    world
        .server
        .script("GET https://api.test/", &[json!({"json": {}})]);
    world
        .server
        .script("GET https://evil.test/", &[json!({"json": {}})]);
    world
        .server
        .script("POST https://api.test/auth/refresh/", &[grant(2)]);
    world.start();
    world.sign_in(1).await;
    assert_eq!(world.get_status("/x").await, 200);
    let evil = request_with("https://evil.test/", &js(&json!({})));
    assert_eq!(status(world.fetch(&evil), "evil").await, 200);
    done(world.core.refresh(), "refresh").await;
    let key = world.key().to_owned();
    let (session, local) = (world.in_session(), world.in_local());
    restore();

    assert_eq!(
        world.server.tokens_at("GET https://api.test/x"),
        [bearer(1)]
    );
    assert_eq!(world.server.tokens_at("GET https://evil.test/"), [None]);
    let call = &world.server.calls("POST https://api.test/auth/refresh/")[0];
    assert_eq!(call.text(), format!(r#"{{"refresh_token":"{}"}}"#, rt(1)));
    assert_eq!(call.header("x-evil"), None);
    assert_eq!(call.credentials(), "omit");
    assert!(session.is_some() && local.is_none(), "{key}");
}
