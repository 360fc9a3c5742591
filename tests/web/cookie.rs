//! Sessions whose tokens are cookies that no script can read (behaviour.md 6.21, 6.22, 6.26, 7.28).

use super::kit::*;
use serde_json::{Value, json};
use wasm_bindgen::JsCast;
use wasm_bindgen_test::wasm_bindgen_test;

const X: &str = "GET https://api.test/x";
const ORDER: &str = "POST https://api.test/orders";
const LOGIN: &str = "POST https://api.test/login";
const REFRESH: &str = "POST https://api.test/refresh";
const LOGOUT: &str = "POST https://api.test/logout";
const PRIME: &str = "GET https://api.test/sanctum/csrf-cookie";

fn cookies() -> World {
    World::new(&json!({"preset": "cookie"}))
}

/// An answer that also sets the CSRF cookie.
fn sets(answer: &Value, token: &str) -> Value {
    let mut answer = answer.clone();
    answer["cookies"] = json!(format!("theme=dark; XSRF-TOKEN={token}; lang=en"));
    answer
}

/// Somebody is signed in, for an hour, with this CSRF cookie.
async fn signed_in(token: &str) -> (World, CookieJar) {
    let world = cookies();
    let jar = CookieJar::new(&format!("XSRF-TOKEN={token}"));
    world.begin(&json!({"expiresIn": 3600}), false).await;
    (world, jar)
}

fn xsrf(call: &Call) -> Option<String> {
    call.header("x-xsrf-token")
}

fn xsrf_at(world: &World, route: &str) -> Vec<Option<String>> {
    world.server.calls(route).iter().map(xsrf).collect()
}

/// A call to an auth endpoint: cookies go along, and no token.
fn is_cookie_call(call: &Call) {
    is_guarded(call);
    assert_eq!(call.credentials(), "include", "{}", call.url());
    assert_eq!(call.header("authorization"), None);
    let with = call.header("x-requested-with");
    assert_eq!(with.as_deref(), Some("XMLHttpRequest"), "{}", call.url());
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "compared with what the server saw, which may be nothing"
)]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

// 6.21, 6.22, 7.28: the CSRF token is fetched where there is none, and decoded
#[wasm_bindgen_test]
async fn a_sign_in_fetches_the_csrf_token_first_and_sends_it_decoded() {
    let world = cookies();
    let _jar = CookieJar::new("theme=dark; MY-XSRF-TOKEN=wrong");
    let primed = sets(&json!({"status": 204}), "eyJpdiI6%3D%2Fone%3D%3D");
    world.server.script(PRIME, &[primed]);
    let answer = json!({"json": {"user": {"name": "Ada"}, "expires_in": 900}});
    world.server.script(LOGIN, &[answer]);
    let credentials = json!({"email": "a", "password": "b"});
    let session = done(world.core.login(object(&credentials), false), "login").await;

    let calls = world.server.calls("");
    let urls: Vec<_> = calls.iter().map(Call::url).collect();
    assert_eq!(
        urls,
        [
            "https://api.test/sanctum/csrf-cookie",
            "https://api.test/login"
        ]
    );
    calls.iter().for_each(is_cookie_call);
    assert_eq!(xsrf(&calls[0]), None);
    assert_eq!(xsrf(&calls[1]), some("eyJpdiI6=/one=="));
    let sent: Value = serde_json::from_str(&calls[1].text()).unwrap();
    assert_eq!(sent, credentials);
    assert_eq!(text(&get(&session, "user"), "name"), "Ada");
    assert!((number(&session, "lifetime") - 900_000.0).abs() < 2.0);
    assert_eq!(world.host.events(), ["signed_in"]);
}

// 1.18, 6.21, 6.26: every call is the same kind of call
#[wasm_bindgen_test]
async fn refresh_me_and_sign_out_take_the_cookies_along_and_no_token() {
    const ME: &str = "GET https://api.test/me";
    const ALL: &str = "POST https://api.test/logout-all";
    let (world, _jar) = signed_in("a%20b").await;
    for route in [REFRESH, LOGOUT, ALL] {
        world.server.script(route, &[json!({"status": 204})]);
    }
    world.server.script(ME, &[json!({"json": {"name": "Ada"}})]);
    done(world.core.refresh(), "refresh").await;
    done(world.core.me(), "me").await;
    done(world.core.logout(), "logout").await;
    world.begin(&json!({"expiresIn": 3600}), false).await;
    done(world.core.logout_all(), "logoutAll").await;
    for route in [REFRESH, LOGOUT, ALL] {
        let mut calls = world.server.calls(route);
        calls.retain(|call| route.ends_with(&call.url()));
        assert_eq!(calls.len(), 1, "{route}");
        is_cookie_call(&calls[0]);
        assert_eq!(
            (xsrf(&calls[0]), calls[0].text()),
            (some("a b"), String::new())
        );
        assert_eq!(calls[0].header("content-type"), None);
    }
    assert!(world.server.calls(LOGOUT)[0].keepalive());
    let me = &world.server.calls(ME)[0];
    assert_eq!((me.credentials().as_str(), xsrf(me)), ("include", None));
    assert_eq!(world.server.count(PRIME), 0);
}

// 2.5, 7.28, known-failures 55: 419 is Laravel's word, 403 Django's
#[wasm_bindgen_test]
async fn a_refused_csrf_token_is_one_fetch_and_one_more_try() {
    for refusal in [
        json!({"status": 419}),
        json!({"status": 403, "text": "CSRF Failed", "headers": {"content-type": "text/html"}}),
    ] {
        let (world, _jar) = signed_in("stale").await;
        let primed = sets(&json!({"status": 204}), "fresh");
        world.server.script(PRIME, &[primed]);
        let good = json!({"status": 204});
        for route in [REFRESH, LOGIN] {
            world.server.script(route, &[refusal.clone(), good.clone()]);
        }
        done(world.core.refresh(), "refresh").await;
        assert_eq!(xsrf_at(&world, REFRESH), [some("stale"), some("fresh")]);
        assert_eq!(world.server.count(PRIME), 1, "{refusal}");
        done(world.core.login(object(&json!({})), false), "login").await;
        assert_eq!(xsrf_at(&world, LOGIN), [some("fresh"), some("fresh")]);
        assert_eq!(world.server.count(PRIME), 2, "{refusal}");
        world.server.calls("").iter().for_each(is_cookie_call);
    }
}

// 2.5, 7.28: and no more than that
#[wasm_bindgen_test]
async fn a_csrf_token_that_is_always_refused_is_no_loop() {
    for status in [419, 403] {
        let (world, _jar) = signed_in("stale").await;
        let primed = sets(&json!({"status": 204}), "fresh");
        world.server.script(PRIME, &[primed]);
        for route in [REFRESH, LOGIN] {
            world.server.script(route, &[json!({"status": status})]);
        }
        let refresh = world.core.refresh();
        assert_eq!(fails_with(refresh, "refresh").await, "refresh_failed");
        assert_eq!(
            (world.server.count(REFRESH), world.server.count(PRIME)),
            (2, 1)
        );
        let refused = fails(world.core.login(object(&json!({})), false), "login").await;
        assert_eq!(text(&refused, "code"), "rejected");
        assert!((number(&refused, "status") - f64::from(status)).abs() < f64::EPSILON);
        assert_eq!(
            (world.server.count(LOGIN), world.server.count(PRIME)),
            (2, 2)
        );
        assert_eq!(world.status(), "authenticated");
    }
}

// 2.5: a 403 that names its reason is not about CSRF
#[wasm_bindgen_test]
async fn a_403_with_a_known_code_is_taken_at_its_word() {
    let (world, _jar) = signed_in("good").await;
    let dead = json!({"status": 403, "json": {"code": "session_expired"}});
    world.server.script(REFRESH, &[dead]);
    assert_eq!(
        fails_with(world.core.refresh(), "refresh").await,
        "token_expired"
    );
    assert_eq!(
        (world.server.count(REFRESH), world.server.count(PRIME)),
        (1, 0)
    );
}

// 7.28, known-failures 55, 4.9: 419 after idle
#[wasm_bindgen_test]
async fn a_resources_419_is_primed_for_and_the_request_sent_again_byte_for_byte() {
    for kind in [
        "string",
        "FormData",
        "Blob",
        "URLSearchParams",
        "ArrayBuffer",
        "Uint8Array",
    ] {
        let (world, _jar) = signed_in("stale").await;
        let primed = sets(&json!({"status": 204}), "fresh");
        world.server.script(PRIME, &[primed]);
        let answers = [json!({"status": 419, "spy": true}), json!({"json": {}})];
        world.server.script(ORDER, &answers);
        let sent = world.fetch(&post("/orders", &body(kind)));
        assert_eq!(status(sent, kind).await, 200);
        let calls = world.server.calls(ORDER);
        assert_eq!((calls.len(), world.server.count(PRIME)), (2, 1), "{kind}");
        assert_eq!(calls[0].body().to_vec(), calls[1].body().to_vec(), "{kind}");
        assert!(!calls[0].body().to_vec().is_empty(), "{kind}");
        assert_eq!(
            calls[0].header("content-type"),
            calls[1].header("content-type")
        );
        assert_eq!(xsrf_at(&world, ORDER), [some("stale"), some("fresh")]);
        until("the replaced answer is dropped", || calls[0].cancelled()).await;
        assert_eq!(world.server.count(REFRESH), 0);
    }
}

// 7.28: the second 419 is the caller's, unread
#[wasm_bindgen_test]
async fn a_resource_that_always_says_419_is_asked_twice() {
    let (world, _jar) = signed_in("stale").await;
    world.server.script(PRIME, &[json!({"status": 204})]);
    let refusal = json!({"status": 419, "text": "Page Expired"});
    world.server.script(ORDER, std::slice::from_ref(&refusal));
    let answer = response(world.fetch(&post("/orders", &"x".into())), "order").await;
    assert_eq!(
        (answer.status(), unread(&answer).await.as_str()),
        (419, "Page Expired")
    );
    assert_eq!(
        (world.server.count(ORDER), world.server.count(PRIME)),
        (2, 1)
    );
    // A stream cannot be sent twice: its 419 is the caller's at once.
    let request = streamed("https://api.test/orders");
    let stream = js(&json!({"stream": true}));
    let answer = response(world.fetch_with(&request, &stream), "stream").await;
    assert_eq!(unread(&answer).await, "Page Expired");
    assert_eq!(
        (world.server.count(ORDER), world.server.count(PRIME)),
        (3, 1)
    );
}

// 2.7: where the tokens are no cookies, a 419 is none of our business
#[wasm_bindgen_test]
async fn without_cookies_a_419_goes_to_the_caller() {
    let world = World::oauth2();
    let _jar = CookieJar::new("XSRF-TOKEN=one");
    world.server.script(ORDER, &[json!({"status": 419})]);
    world.sign_in(1).await;
    assert_eq!(
        status(world.fetch(&post("/orders", &"x".into())), "order").await,
        419
    );
    assert_eq!(world.server.count(""), 1);
    assert_eq!(xsrf_at(&world, ORDER), [None]);
}

// 3.17, 6.22: a refresh may change the CSRF token
#[wasm_bindgen_test]
async fn a_replay_after_a_refresh_carries_the_new_csrf_token() {
    let (world, _jar) = signed_in("old").await;
    let renewed = sets(&json!({"status": 204}), "new");
    world.server.script(REFRESH, &[renewed]);
    world
        .server
        .script(ORDER, &[json!({"status": 401}), json!({"json": {}})]);
    let order = world.fetch(&post("/orders", &"two bags".into()));
    assert_eq!(status(order, "order").await, 200);
    assert_eq!(xsrf_at(&world, ORDER), [some("old"), some("new")]);
    assert_eq!(xsrf_at(&world, REFRESH), [some("old")]);
    let bodies: Vec<_> = world.server.calls(ORDER).iter().map(Call::text).collect();
    assert_eq!(bodies, ["two bags", "two bags"]);
    assert_eq!(world.server.tokens_at(""), [None, None, None]);
}

// 7.28, 4.9: both refusals on one request
#[wasm_bindgen_test]
async fn a_419_and_then_a_401_are_three_sends_of_the_same_bytes() {
    let (world, _jar) = signed_in("one").await;
    world
        .server
        .script(PRIME, &[sets(&json!({"status": 204}), "two")]);
    world
        .server
        .script(REFRESH, &[sets(&json!({"status": 204}), "three")]);
    let answers = [
        json!({"status": 419}),
        json!({"status": 401}),
        json!({"json": {}}),
    ];
    world.server.script(ORDER, &answers);
    let order = world.fetch(&post("/orders", &body("FormData")));
    assert_eq!(status(order, "order").await, 200);
    let calls = world.server.calls(ORDER);
    let bodies: Vec<_> = calls.iter().map(|call| call.body().to_vec()).collect();
    assert!(bodies[0].len() > 50 && bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(
        xsrf_at(&world, ORDER),
        [some("one"), some("two"), some("three")]
    );
    assert_eq!(
        (world.server.count(PRIME), world.server.count(REFRESH)),
        (1, 1)
    );
}

// 6.22, 4.24, 4.4: a header of ours would survive a redirect to another origin
#[wasm_bindgen_test]
async fn a_request_with_the_csrf_header_follows_no_redirect_and_is_else_unchanged() {
    let (world, _jar) = signed_in("one").await;
    for route in [ORDER, X] {
        world.server.script(route, &[json!({"json": {}})]);
    }
    let init = json!({"method": "POST", "referrer": "/somewhere", "referrerPolicy": "origin"});
    let request = request_with("https://api.test/orders", &js(&init));
    let referrer = request.referrer();
    assert!(referrer.ends_with("/somewhere"), "{referrer}");
    let extra =
        json!({"init": {"priority": "high", "referrer": referrer, "referrerPolicy": "origin"}});
    done(world.fetch_with(&request, &js(&extra)), "with priority").await;
    let plain = request_with("https://api.test/orders", &js(&init));
    done(world.fetch(&plain), "without").await;
    let manual = json!({"method": "POST", "redirect": "manual"});
    done(
        world.fetch(&request_with("https://api.test/orders", &js(&manual))),
        "manual",
    )
    .await;
    done(world.get("/x"), "safe").await;

    let calls = world.server.calls(ORDER);
    for call in &calls[..2] {
        let beside = call.init();
        assert_eq!(text(&beside, "redirect"), "error");
        assert_eq!(text(&beside, "referrer"), referrer);
        assert_eq!(text(&beside, "referrerPolicy"), "origin");
    }
    assert_eq!(text(&calls[0].init(), "priority"), "high");
    assert!(get(&calls[1].init(), "priority").is_undefined());
    // Who follows no redirect anyway needs nothing of ours.
    assert!(get(&calls[2].init(), "redirect").is_undefined());
    assert_eq!(calls[2].redirect(), "manual");
    assert!(world.server.calls(X)[0].init().is_undefined());
}

// 6.22, 7.28: to its own origin, and only where something changes
#[wasm_bindgen_test]
async fn the_csrf_token_goes_to_its_own_origin_and_not_along_with_safe_requests() {
    let options = json!({"preset": "cookie", "allowedOrigins": ["https://files.test"]});
    let world = World::new(&options);
    let _jar = CookieJar::new("XSRF-TOKEN=one");
    world.server.script("", &[json!({"json": {}})]);
    world.begin(&json!({"expiresIn": 3600}), false).await;
    for (method, url, expected) in [
        ("POST", "https://api.test/a", some("one")),
        ("PUT", "https://api.test/a", some("one")),
        ("PATCH", "https://api.test/a", some("one")),
        ("DELETE", "https://api.test/a", some("one")),
        ("GET", "https://api.test/a", None),
        ("HEAD", "https://api.test/a", None),
        ("OPTIONS", "https://api.test/a", None),
        ("POST", "https://files.test/a", None),
        ("POST", "https://elsewhere.test/a", None),
        ("POST", "https://api.test.evil.test/a", None),
        ("POST", "https://api.test:8443/a", None),
    ] {
        let request = request_with(url, &js(&json!({"method": method})));
        done(world.fetch(&request), url).await;
        let calls = world.server.calls("");
        let call = calls.last().unwrap();
        assert_eq!(xsrf(call), expected, "{method} {url}");
        // Whether cookies go along with a request of the app is the app's to say.
        assert_eq!(call.credentials(), "same-origin", "{method} {url}");
        assert_eq!(call.header("authorization"), None, "{method} {url}");
        assert_eq!(call.header("x-requested-with"), None, "{method} {url}");
    }
    let own = json!({"method": "POST", "headers": {"X-XSRF-TOKEN": "mine"}});
    done(
        world.fetch(&request_with("https://api.test/a", &js(&own))),
        "own",
    )
    .await;
    assert_eq!(xsrf(world.server.calls("").last().unwrap()), some("mine"));
}

// 6.22: Django's names
#[wasm_bindgen_test]
async fn the_names_of_the_csrf_token_can_be_the_servers_own() {
    let csrf = json!({"cookie": "csrftoken", "header": "X-CSRFToken"});
    let world = World::new(&json!({
        "preset": "cookie", "csrf": csrf, "endpoints": {"csrf": "/csrf/"}
    }));
    let _jar = CookieJar::new("XSRF-TOKEN=laravel; csrftoken=django");
    world.server.script("", &[json!({"status": 204})]);
    world.begin(&json!({"expiresIn": 3600}), false).await;
    done(world.core.refresh(), "refresh").await;
    done(world.fetch(&post("/orders", &"x".into())), "order").await;
    for call in world.server.calls("") {
        assert_eq!(call.header("x-csrftoken"), some("django"), "{}", call.url());
        assert_eq!(xsrf(&call), None);
    }
}

// 6.22: what stands in the cookie is anybody's who can set one
#[wasm_bindgen_test]
async fn odd_csrf_cookies_do_not_stop_a_refresh() {
    for (cookie, expected) in [
        ("XSRF-TOKEN=%E0%A4%A", some("%E0%A4%A")),
        ("XSRF-TOKEN=a=b=c", some("a=b=c")),
        ("a=1;XSRF-TOKEN=tight", some("tight")),
        ("XSRF-TOKEN=%E2%82%AC", None),
        ("XSRF-TOKEN=a%0D%0AX-Evil:%201", None),
    ] {
        let world = cookies();
        let _jar = CookieJar::new(cookie);
        world.server.script(REFRESH, &[json!({"status": 204})]);
        world.begin(&json!({"expiresIn": 3600}), false).await;
        done(world.core.refresh(), cookie).await;
        let call = &world.server.calls(REFRESH)[0];
        assert_eq!(xsrf(call), expected, "{cookie}");
        assert_eq!(call.header("x-evil"), None);
    }
}

// 1.1, 1.18: the empty 204 is a success, a page of HTML is not
#[wasm_bindgen_test]
async fn an_empty_answer_is_a_success_and_a_page_of_html_is_not() {
    for answer in [
        json!({"status": 204}),
        json!({"status": 200}),
        json!({"json": {}}),
        json!({"json": {"expires_in": 600}}),
    ] {
        let (world, _jar) = signed_in("one").await;
        world.server.script(REFRESH, std::slice::from_ref(&answer));
        let session = done(world.core.refresh(), &answer.to_string()).await;
        assert!(number(&session, "lifetime") > 0.0);
        assert!(world.host.told("refreshed"), "{answer}");
    }
    for answer in [
        json!({"text": "<!doctype html><title>Sign in</title>"}),
        json!({"text": "{\"expires_in\": 6"}),
        json!({"json": []}),
        json!({"json": {"error": "server_error"}}),
        json!({"type": "opaqueredirect"}),
    ] {
        let (world, _jar) = signed_in("one").await;
        let before = world.record();
        world.server.script(REFRESH, std::slice::from_ref(&answer));
        let refresh = world.core.refresh();
        assert_eq!(
            fails_with(refresh, "refresh").await,
            "refresh_failed",
            "{answer}"
        );
        assert_eq!(
            world.record()["expires_at"],
            before["expires_at"],
            "{answer}"
        );
        assert_eq!(world.record()["rotation"], before["rotation"], "{answer}");
        assert_eq!(world.status(), "authenticated", "{answer}");
    }
}

// 6.26, 7.28: a server that also shows its tokens is not believed to mean it
#[wasm_bindgen_test]
async fn a_token_in_an_answer_is_kept_nowhere() {
    for remember in [false, true] {
        let world = cookies();
        let _jar = CookieJar::new("XSRF-TOKEN=one");
        world.server.script(LOGIN, &[grant(1)]);
        world.server.script(REFRESH, &[grant(2)]);
        world.server.script(LOGOUT, &[json!({"status": 204})]);
        world.server.script(X, &[json!({"json": {}})]);
        let session = done(world.core.login(object(&json!({})), remember), "login").await;
        spill(&session);
        let kept = |world: &World| {
            [world.in_session(), world.in_local()]
                .map(Option::unwrap_or_default)
                .concat()
        };
        assert!(!kept(&world).is_empty() && !kept(&world).contains(CANARY));
        let renewed = done(world.core.refresh(), "refresh").await;
        spill(&renewed);
        assert!(!kept(&world).contains(CANARY));
        assert!(!kept(&world).contains("_token"), "{}", kept(&world));
        for validity in [None, Some(60_000.0)] {
            let token = done(world.core.get_access_token(validity), "token").await;
            assert!(token.is_null());
        }
        assert_eq!(world.get_status("/x").await, 200);
        world.begin(&tokens(3), remember).await;
        assert!(!kept(&world).contains(CANARY), "setSession");
        done(world.core.logout(), "logout").await;
        assert!(world.server.tokens_at("").iter().all(Option::is_none));
        let texts = world
            .server
            .calls("")
            .iter()
            .map(Call::text)
            .collect::<String>();
        assert!(!texts.contains(CANARY));
    }
}

// 6.26: what is known is who, and until when
#[wasm_bindgen_test]
async fn a_cookie_session_survives_a_reload_and_is_renewed_ahead_of_its_end() {
    let (mut world, _jar) = signed_in("one").await;
    let clock = Clock::new();
    world
        .server
        .script(REFRESH, &[json!({"json": {"expires_in": 3600}})]);
    world.server.script(X, &[json!({"json": {}})]);
    let known = json!({"expiresIn": 600, "user": {"name": "Ada"}});
    world.begin(&known, false).await;
    world.close();
    world.start();
    assert_eq!(world.status(), "authenticated");
    let session = get(&world.core.snapshot(), "session");
    assert_eq!(text(&get(&session, "user"), "name"), "Ada");
    assert!((number(&session, "expiresAt") - clock.now() - 600_000.0).abs() < 2.0);
    assert_eq!(world.get_status("/x").await, 200);
    clock.advance(481_000.0);
    until("the refresh", || world.host.told("refreshed")).await;
    assert_eq!(world.server.count(REFRESH), 1);
}

// known-failures 59: cookies outlive the storage of scripts
#[wasm_bindgen_test]
async fn refresh_brings_back_a_session_of_which_only_the_cookies_are_left() {
    let world = cookies();
    let _jar = CookieJar::new("XSRF-TOKEN=one");
    let answer = json!({"json": {"expires_in": 600, "user": {"name": "Ada"}}, "hold": "answer"});
    world.server.script(REFRESH, &[answer]);
    let (first, second) = (world.core.refresh(), world.core.refresh());
    until("the call", || world.server.count(REFRESH) == 1).await;
    settle().await;
    world.server.open("answer");
    for refresh in [first, second] {
        let session = done(refresh, "refresh").await;
        assert_eq!(text(&get(&session, "user"), "name"), "Ada");
    }
    let calls = world.server.calls("");
    assert_eq!(calls.len(), 1);
    is_cookie_call(&calls[0]);
    assert_eq!(
        (xsrf(&calls[0]), calls[0].text()),
        (some("one"), String::new())
    );
    assert_eq!(world.status(), "authenticated");
    assert_eq!(world.host.events(), ["signed_in"]);
    assert!(world.in_local().is_some());
}

// 3.8, 5.12: the cookies are the browser's, so every tab has to know whose they are
#[wasm_bindgen_test]
async fn another_persons_sign_in_reaches_every_tab_because_the_cookies_do() {
    let (world, _jar) = signed_in("one").await;
    let other = world.open();
    assert_eq!(other.status(), "authenticated");
    let answer = json!({"json": {"expires_in": 600, "user": {"name": "Grace"}}});
    world.server.script(LOGIN, &[answer]);
    world
        .server
        .script("POST https://api.test/logout", &[json!({"status": 204})]);
    let grace = js(&json!({"email": "grace@example.com"})).unchecked_into();
    done(world.core.login(grace, false), "login").await;
    until("the other tab", || other.host.told("user_changed")).await;
    done(world.core.logout(), "logout").await;
    until("the sign-out", || other.host.told("signed_out")).await;
}

// known-failures 59
#[wasm_bindgen_test]
async fn without_cookies_refresh_finds_nobody() {
    let world = cookies();
    let _jar = CookieJar::new("XSRF-TOKEN=one");
    for (answer, code) in [
        (json!({"status": 401}), "not_signed_in"),
        (json!({"status": 500}), "rejected"),
        (json!({"network": true}), "network"),
        (json!({"text": "<html>"}), "invalid_response"),
    ] {
        world.server.script(REFRESH, std::slice::from_ref(&answer));
        let refresh = world.core.refresh();
        assert_eq!(fails_with(refresh, "refresh").await, code, "{answer}");
        assert_eq!(world.status(), "anonymous", "{answer}");
        assert_eq!(world.in_session(), None, "{answer}");
    }
    assert!(world.host.events().is_empty());
}

// 1.18: the method of the refresh call is the same when it restores
#[wasm_bindgen_test]
async fn a_session_is_brought_back_by_the_refresh_call_as_it_is_configured() {
    let world = World::new(&json!({"preset": "cookie", "refreshCall": {"method": "GET"}}));
    let _jar = CookieJar::new("XSRF-TOKEN=one");
    world
        .server
        .script("GET https://api.test/refresh", &[json!({"status": 204})]);
    done(world.core.refresh(), "restored").await;
    done(world.core.refresh(), "renewed").await;
    assert_eq!(world.server.count("GET https://api.test/refresh"), 2);
    assert_eq!(world.server.count(""), 2);
}

// known-failures 39: the cookies of the refresh must not land after those of the sign-out
#[wasm_bindgen_test]
async fn a_sign_out_waits_for_the_refresh_under_way() {
    let (world, _jar) = signed_in("one").await;
    let held = sets(&json!({"status": 204, "hold": "refresh"}), "two");
    world.server.script(REFRESH, &[held]);
    world.server.script(LOGOUT, &[json!({"status": 204})]);
    let refresh = world.core.refresh();
    until("the refresh", || world.server.count(REFRESH) == 1).await;
    let out = world.core.logout();
    assert_eq!(world.in_session(), None);
    assert_eq!(world.status(), "signed_out");
    settle().await;
    assert_eq!(world.server.count(LOGOUT), 0);
    world.server.open("refresh");
    done(out, "logout").await;
    assert_eq!(fails_with(refresh, "refresh").await, "signed_out");
    settle().await;
    assert!(world.server.count(LOGOUT) >= 1);
    for call in world.server.calls(LOGOUT) {
        is_cookie_call(&call);
        assert_eq!(xsrf(&call), some("two"));
    }
    assert_eq!(
        (world.in_session(), world.status().as_str()),
        (None, "signed_out")
    );
    assert_eq!(world.host.events(), ["signed_in", "signed_out"]);
}

// known-failures 39, 5.11: a refresh that nobody waits for any more is undone when it lands
#[wasm_bindgen_test]
async fn cookies_that_land_after_the_sign_out_are_signed_out_too() {
    let (world, _jar) = signed_in("one").await;
    let clock = Clock::new();
    world
        .server
        .script(REFRESH, &[json!({"status": 204, "hold": "refresh"})]);
    world.server.script(LOGOUT, &[json!({"status": 204})]);
    let refresh = world.core.refresh();
    until("the refresh", || world.server.count(REFRESH) == 1).await;
    clock.advance(10_001.0);
    fails(refresh, "refresh").await;
    done(world.core.logout(), "logout").await;
    let before = world.server.count(LOGOUT);
    world.server.open("refresh");
    until("another sign-out", || {
        world.server.count(LOGOUT) == before + 1
    })
    .await;
    settle().await;
    assert_eq!(
        (world.in_session(), world.status().as_str()),
        (None, "signed_out")
    );
}

// known-failures 39, 5.12: the sign-out of one person must not end the session of the next
#[wasm_bindgen_test]
async fn a_sign_in_waits_for_the_sign_out_before_it() {
    let (world, _jar) = signed_in("one").await;
    world
        .server
        .script(REFRESH, &[json!({"status": 204, "hold": "refresh"})]);
    world.server.script(
        LOGOUT,
        &[
            json!({"status": 204}),
            json!({"status": 204, "hold": "out"}),
        ],
    );
    world
        .server
        .script(LOGIN, &[json!({"json": {"expires_in": 60}})]);
    let refresh = world.core.refresh();
    until("the refresh", || world.server.count(REFRESH) == 1).await;
    let out = world.core.logout();
    let login = world.core.login(js(&json!({})).unchecked_into(), false);
    settle().await;
    assert_eq!(world.server.count(LOGIN), 0);
    world.server.open("refresh");
    until("the sign-outs", || world.server.count(LOGOUT) == 2).await;
    settle().await;
    assert_eq!(world.server.count(LOGIN), 0);
    world.server.open("out");
    done(out, "logout").await;
    done(login, "login").await;
    fails(refresh, "refresh").await;
    settle().await;
    assert_eq!(
        (world.server.count(LOGIN), world.server.count(LOGOUT)),
        (1, 2)
    );
    assert_eq!(world.status(), "authenticated");
}

// known-failures 39, 5.12: nor that of one whose cookies came from elsewhere
#[wasm_bindgen_test]
async fn a_sign_out_that_comes_too_late_does_not_end_the_next_session() {
    let (world, _jar) = signed_in("one").await;
    let clock = Clock::new();
    world.server.script(REFRESH, &[json!({"hold": "never"})]);
    world.server.script(LOGOUT, &[json!({"status": 204})]);
    let refresh = world.core.refresh();
    until("the refresh", || world.server.count(REFRESH) == 1).await;
    let out = world.core.logout();
    world.begin(&json!({"expiresIn": 3600}), false).await;
    clock.advance(10_001.0);
    done(out, "logout").await;
    drop(refresh);
    assert_eq!(world.server.count(LOGOUT), 0);
    assert_eq!(world.status(), "authenticated");
}

// 5.3, 5.5: tabs that know nothing of each other share the refresh cookie all the same
#[wasm_bindgen_test]
async fn tabs_with_logins_of_their_own_refresh_one_at_a_time() {
    for session in [true, false] {
        let world = World::new(&json!({"preset": "cookie", "storage": "memory"}));
        let _jar = CookieJar::new("XSRF-TOKEN=one");
        let other = world.open();
        if session {
            world.begin(&json!({"expiresIn": 3600}), false).await;
            other.begin(&json!({"expiresIn": 3600}), false).await;
        }
        let held = json!({"status": 204, "hold": "refresh"});
        world
            .server
            .script(REFRESH, &[held, json!({"status": 204})]);
        let mine = world.core.refresh();
        until("the call", || world.server.count(REFRESH) == 1).await;
        let theirs = other.core.refresh();
        settle().await;
        assert_eq!(world.server.count(REFRESH), 1, "one cookie, one call");
        world.server.open("refresh");
        done(mine, "mine").await;
        done(theirs, "theirs").await;
        assert_eq!(world.server.count(REFRESH), 2);
    }
}

// 2.5, 5.3: a refresh call whose CSRF cookie came too late would go out without the lock
#[wasm_bindgen_test]
async fn a_refresh_that_was_given_up_does_not_go_out_later() {
    let world = cookies();
    let _jar = CookieJar::new("");
    world.begin(&json!({"expiresIn": 3600}), false).await;
    let clock = Clock::new();
    world
        .server
        .script(PRIME, &[json!({"status": 204, "hold": "csrf"})]);
    world.server.script(REFRESH, &[json!({"status": 204})]);
    let refresh = world.core.refresh();
    until("the call for the cookie", || world.server.count(PRIME) == 1).await;
    clock.advance(10_001.0);
    fails(refresh, "refresh").await;
    world.server.open("csrf");
    settle().await;
    assert_eq!(world.server.count(REFRESH), 0);
}

// 2.5, 5.3: an endpoint for the CSRF cookie that never answers holds nobody up for longer than a refresh
#[wasm_bindgen_test]
async fn a_csrf_cookie_that_never_comes_is_a_timeout() {
    let world = cookies();
    let _jar = CookieJar::new("");
    let clock = Clock::new();
    world.server.script(PRIME, &[json!({"hold": "never"})]);
    let login = world.core.login(object(&json!({})), false);
    until("the call", || world.server.count(PRIME) == 1).await;
    clock.advance(10_001.0);
    assert_eq!(fails_with(login, "login").await, "timeout");
    settle().await;
    assert_eq!(world.server.count(LOGIN), 0);
}

// 6.21: a server that nothing is known of may not allow headers of ours
#[wasm_bindgen_test]
async fn a_cookie_call_of_ones_own_carries_no_header_of_ours() {
    let world = World::new(&json!({
        "endpoints": {"refresh": "/renew"}, "refreshCall": {"send": "cookie", "method": "GET"}
    }));
    let _jar = CookieJar::new("XSRF-TOKEN=one");
    world
        .server
        .script("GET https://api.test/renew", &[grant(2)]);
    world.server.script(ORDER, &[only(2)]);
    world
        .begin(&json!({"access_token": at(1), "expires_in": 3600}), false)
        .await;
    done(world.core.refresh(), "refresh").await;
    let call = &world.server.calls("GET https://api.test/renew")[0];
    is_guarded(call);
    assert_eq!(call.credentials(), "include");
    for name in [
        "x-requested-with",
        "x-xsrf-token",
        "authorization",
        "content-type",
    ] {
        assert_eq!(call.header(name), None, "{name}");
    }
    assert_eq!(
        status(world.fetch(&post("/orders", &"x".into())), "order").await,
        200
    );
    assert_eq!(world.server.tokens_at(ORDER), [bearer(2)]);
    assert_eq!(xsrf_at(&world, ORDER), [None]);
}

// known-failures 58: refreshes that succeed and change nothing
#[wasm_bindgen_test]
async fn cookies_that_cannot_be_written_are_one_clear_event_and_no_loop() {
    let (world, _jar) = signed_in("one").await;
    let clock = Clock::new();
    world.server.script(REFRESH, &[json!({"status": 204})]);
    world.server.script(X, &[json!({"status": 401})]);
    for _ in 0..12 {
        assert_eq!(world.get_status("/x").await, 401);
        clock.jump(1_000.0);
    }
    assert!(
        world.server.count(REFRESH) <= 3,
        "{}",
        world.server.count(REFRESH)
    );
    assert_eq!(world.host.times("circuit_opened"), 1);
    let opened = world.host.detail("circuit_opened");
    assert_eq!(text(&opened, "reason"), "fresh_token_rejected");
    assert_eq!(world.status(), "degraded");
    assert!(world.in_local().is_some());
}

// 6.3: cookies are read for the CSRF token, and never written
#[wasm_bindgen_test]
async fn no_cookie_is_ever_written_by_script() {
    let (world, jar) = signed_in("one").await;
    world.server.script("", &[json!({"status": 204})]);
    done(world.core.login(object(&json!({})), true), "login").await;
    done(world.core.refresh(), "refresh").await;
    done(world.fetch(&post("/orders", &"x".into())), "order").await;
    done(world.core.logout(), "logout").await;
    let world = World::behind(&json!({"preset": "oauth2", "clientId": "demo"}));
    let mut world = world;
    world.start();
    world.server.script(TOKEN, &[grant(2)]);
    world.server.script(X, &[only(2)]);
    world.server.script(REVOKE, &[json!({})]);
    world.begin(&tokens(1), true).await;
    assert_eq!(world.get_status("/x").await, 200);
    done(world.core.logout(), "logout").await;
    assert_eq!(jar.writes(), 0);
}
