//! The client in a real browser, against a fake auth server in the place of `fetch` that writes down
//! every request it gets. Numbers are those of behaviour.md, "known-failures" are rows of
//! known-failures.md. Nothing here sleeps: answers are held back and let go by hand, and where time
//! matters it is moved by hand.
#![cfg(target_arch = "wasm32")]

use wasm_bindgen_test::wasm_bindgen_test_configure;

wasm_bindgen_test_configure!(run_in_browser);

mod web {
    #![allow(
        clippy::wildcard_imports,
        reason = "the kit is the language of these tests"
    )]

    mod abort;
    mod adapter;
    mod answers;
    mod auth_error;
    mod await_points;
    mod bodies;
    mod cookie;
    mod dispose;
    mod ended;
    mod handover;
    mod kit;
    mod lease;
    mod login_page;
    mod logout;
    mod news;
    mod options;
    mod outside;
    mod platform;
    mod presets;
    mod refresh_call;
    mod refresh_failures;
    mod replay;
    mod sign_in;
    mod storage;
    mod tabs;
    mod token_reach;
}
