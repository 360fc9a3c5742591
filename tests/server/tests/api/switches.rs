//! `/__test/switches`.

use keepfresh_server::Options;
use serde_json::json;

use crate::harness::{Server, relaxed};

#[test]
fn switches_are_set_one_by_one_and_reset() {
    let server = Server::relaxed();
    let set = |change| server.json("POST /__test/switches", &change);
    set(json!({ "league": 8 })).expect(200);
    let all = set(json!({ "csrf": "django" })).expect(200).json();
    let expected = json!({
        "league": 8,
        "simplejwt_rotate": false,
        "gotrue_code": "error_code",
        "gotrue_dead": 401,
        "cookie_expires_in": true,
        "csrf": "django",
        "strict_origins": false,
    });
    assert_eq!(all, expected);
    server.send("DELETE /__test/switches", &[], "").expect(204);
    let all = set(json!({})).expect(200).json();
    assert_eq!(
        (&all["league"], &all["csrf"]),
        (&json!(9), &json!("laravel"))
    );
}

#[test]
fn mistakes_change_nothing() {
    let server = Server::relaxed();
    for change in [
        json!({ "leauge": 8 }),
        json!({ "league": 8, "gotrue_dead": 418 }),
        json!([]),
    ] {
        server.json("POST /__test/switches", &change).expect(422);
    }
    let all = server.json("POST /__test/switches", &json!({}));
    assert_eq!(all.expect(200).json()["league"], 9);
    let closed = Server::start(Options {
        faults: false,
        ..relaxed()
    });
    closed.json("POST /__test/switches", &json!({})).expect(404);
}
