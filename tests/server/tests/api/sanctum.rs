//! `/api/auth/*`: the five endpoints of the seed document.

use std::sync::Barrier;
use std::thread;

use keepfresh_server::{Lifetimes, Options};
use serde_json::{Value, json};

use crate::harness::{ADA, GRACE, Server, TempFolder, members, relaxed, text};

fn credentials(remember_me: bool, device: Option<&str>) -> Value {
    let mut body = json!({ "email": ADA.0, "password": ADA.1, "remember_me": remember_me, "device_name": "Firefox on Linux" });
    if let Some(device) = device {
        body["device_id"] = json!(device);
    }
    body
}

#[test]
fn login_has_every_field() {
    let server = Server::relaxed();
    let body = server
        .json("POST /api/auth/login", &credentials(false, None))
        .expect(201)
        .json();
    let names = [
        "device_id",
        "expires_at",
        "expires_in_minutes",
        "expires_in_seconds",
        "message",
        "token",
        "type",
        "user",
    ];
    assert_eq!(members(&body), names);
    assert_eq!(body["type"], "short_lived");
    assert_eq!(body["expires_in_minutes"], 60);
    assert_eq!(body["expires_in_seconds"], 3600);
    assert_eq!(
        body["user"],
        json!({ "id": 1, "name": "Ada Lovelace", "email": "ada@example.com" })
    );
    assert_eq!(text(&body["device_id"]).len(), 36);
    let token = text(&body["token"]);
    let (id, secret) = token.split_once('|').unwrap();
    assert_eq!((id, secret.len()), ("1", 40));
    let end = text(&body["expires_at"]);
    assert!(end.len() == 20 && end.ends_with('Z'), "{end}");
}

#[test]
fn remember_me_lives_long() {
    let server = Server::relaxed();
    let body = server
        .json("POST /api/auth/login", &credentials(true, Some("d-1")))
        .expect(201)
        .json();
    assert_eq!(body["type"], "long_lived");
    assert_eq!(body["expires_in_seconds"], 2_592_000);
    assert_eq!(body["device_id"], "d-1");
    let refreshed = server
        .bearer("POST /api/auth/refresh", &text(&body["token"]))
        .expect(200)
        .json();
    assert_eq!(refreshed["type"], "long_lived");
    assert_eq!(refreshed["expires_in_minutes"], 43_200);
}

#[test]
fn wrong_credentials_are_refused() {
    let server = Server::relaxed();
    for (email, password) in [(ADA.0, "wrong"), ("nobody@example.com", ADA.1)] {
        let reply = server
            .json(
                "POST /api/auth/login",
                &json!({ "email": email, "password": password }),
            )
            .expect(401);
        assert_eq!(members(&reply.json()), ["message"]);
    }
    let missing = server
        .json("POST /api/auth/login", &json!({ "email": ADA.0 }))
        .expect(422)
        .json();
    assert!(missing["errors"]["password"].is_array());
    server
        .send("POST /api/auth/login", &[], "{oops")
        .expect(422);
}

#[test]
fn an_expired_token_says_so() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    server.clock(3601);
    let body = server
        .bearer("GET /api/bookings", &token)
        .expect(401)
        .json();
    assert_eq!(members(&body), ["code", "expires_at", "message"]);
    assert_eq!(body["code"], "TOKEN_EXPIRED");
    let refused = server
        .bearer("POST /api/auth/refresh", &token)
        .expect(401)
        .json();
    assert_eq!(members(&refused), ["code", "message"]);
    assert_eq!(refused["code"], "TOKEN_EXPIRED");
    server.clock(0);
    server.bearer("GET /api/bookings", &token).expect(200);
}

#[test]
fn a_short_life_ends_by_itself() {
    let lifetimes = Lifetimes {
        short_lived: 1,
        ..Lifetimes::default()
    };
    let server = Server::start(Options {
        lifetimes,
        ..relaxed()
    });
    let token = server.sanctum(ADA);
    server.bearer("GET /api/bookings", &token).expect(200);
    thread::sleep(std::time::Duration::from_millis(1050));
    server.bearer("GET /api/bookings", &token).expect(401);
}

#[test]
fn a_refresh_revokes_the_old_token() {
    let server = Server::relaxed();
    let old = server.sanctum(ADA);
    let body = server
        .bearer("POST /api/auth/refresh", &old)
        .expect(200)
        .json();
    let names = [
        "expires_at",
        "expires_in_minutes",
        "message",
        "old_token_status",
        "token",
        "type",
        "user",
    ];
    assert_eq!(members(&body), names);
    assert_eq!(body["old_token_status"], "revoked");
    server
        .bearer("GET /api/bookings", &text(&body["token"]))
        .expect(200);
    for line in [
        "GET /api/bookings",
        "POST /api/auth/refresh",
        "POST /api/auth/logout",
    ] {
        assert_eq!(
            server.bearer(line, &old).expect(401).json()["code"],
            "TOKEN_REVOKED",
            "{line}"
        );
    }
}

#[test]
fn an_unknown_or_missing_token_is_unauthenticated() {
    let server = Server::relaxed();
    let known = server.sanctum(ADA);
    let other_id = known.replacen("1|", "2|", 1);
    for token in ["1|nonsense", "nonsense", "|", other_id.as_str()] {
        for line in [
            "POST /api/auth/refresh",
            "GET /api/auth/me",
            "POST /api/auth/logout-all",
        ] {
            let reply = server.bearer(line, token).expect(401);
            assert_eq!(
                reply.json(),
                json!({ "message": "Unauthenticated." }),
                "{line} {token}"
            );
        }
    }
    server.send("POST /api/auth/refresh", &[], "").expect(401);
}

#[test]
fn of_twenty_parallel_refreshes_one_wins() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    let start = Barrier::new(20);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let refresh = || {
            start.wait();
            server.bearer("POST /api/auth/refresh", &token).status
        };
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(refresh)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(statuses.iter().filter(|&&status| status == 200).count(), 1);
    assert_eq!(statuses.iter().filter(|&&status| status == 401).count(), 19);
    let wire = server.wire();
    assert_eq!(
        (&wire["refreshes"], &wire["refreshes_ok"]),
        (&json!(20), &json!(1))
    );
    assert_eq!(wire["refreshes_rejected"], 19);
}

#[test]
fn two_servers_on_one_database_agree_on_the_winner() {
    let folder = TempFolder::new("shared");
    let options = || Options {
        db: Some(folder.0.join("shared.sqlite")),
        ..relaxed()
    };
    let servers = [Server::start(options()), Server::start(options())];
    for _ in 0..5 {
        let token = servers[0].sanctum(ADA);
        let start = Barrier::new(8);
        let won: usize = thread::scope(|scope| {
            let (start, token, servers) = (&start, &token, &servers);
            let refresh = move |server: &Server| {
                start.wait();
                usize::from(server.bearer("POST /api/auth/refresh", token).status == 200)
            };
            let threads: Vec<_> = (0..8)
                .map(|n| scope.spawn(move || refresh(&servers[n % 2])))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .sum()
        });
        assert_eq!(won, 1);
    }
}

#[test]
fn one_login_is_refreshed_ten_times_an_hour() {
    let server = Server::start(Options {
        max_refreshes_per_hour: 10,
        ..relaxed()
    });
    let mut token = server.sanctum(ADA);
    for _ in 0..10 {
        token = text(
            &server
                .bearer("POST /api/auth/refresh", &token)
                .expect(200)
                .json()["token"],
        );
    }
    let reply = server.bearer("POST /api/auth/refresh", &token).expect(429);
    assert_eq!(reply.json()["code"], "TOO_MANY_REFRESHES");
    let wait: u32 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((3590..=3600).contains(&wait), "{wait}");
    server.bearer("GET /api/bookings", &token).expect(200);
    server
        .json("POST /__test/lifetimes", &json!({ "short_lived": 9000 }))
        .expect(200);
    let fresh = server.sanctum(ADA);
    server.bearer("POST /api/auth/refresh", &fresh).expect(200);
}

#[test]
fn the_hourly_window_ends() {
    let lifetimes = Lifetimes {
        short_lived: 9000,
        ..Lifetimes::default()
    };
    let server = Server::start(Options {
        max_refreshes_per_hour: 1,
        lifetimes,
        ..relaxed()
    });
    let token = server.sanctum(ADA);
    let token = text(
        &server
            .bearer("POST /api/auth/refresh", &token)
            .expect(200)
            .json()["token"],
    );
    server.bearer("POST /api/auth/refresh", &token).expect(429);
    server.clock(3601);
    server.bearer("POST /api/auth/refresh", &token).expect(200);
}

#[test]
fn requests_per_minute_are_limited() {
    let options = Options {
        login_per_minute: 2,
        refresh_per_minute: 1,
        requests_per_minute: 3,
        ..relaxed()
    };
    let server = Server::start(options);
    let token = server.sanctum(ADA);
    let other = server.sanctum(GRACE);
    let reply = server
        .json("POST /api/auth/login", &credentials(false, None))
        .expect(429);
    assert_eq!(reply.header("x-ratelimit-limit"), Some("2"));
    assert!(reply.header("retry-after").is_some());
    let token = text(
        &server
            .bearer("POST /api/auth/refresh", &token)
            .expect(200)
            .json()["token"],
    );
    server.bearer("POST /api/auth/refresh", &token).expect(429);
    server.bearer("POST /api/auth/refresh", &other).expect(200);
    for status in [200, 200, 200, 429] {
        server.bearer("GET /api/bookings", &token).expect(status);
    }
    server.clock(61);
    server.bearer("GET /api/bookings", &token).expect(200);
    server.bearer("POST /api/auth/refresh", &token).expect(200);
}

#[test]
fn the_flags_defaults_hold() {
    let server = Server::start(Options::default());
    for status in [201, 201, 201, 201, 201, 429] {
        server
            .json("POST /api/auth/login", &credentials(false, None))
            .expect(status);
    }
}

#[test]
fn a_login_revokes_other_devices_only() {
    let server = Server::relaxed();
    let login = |device| {
        text(
            &server
                .json("POST /api/auth/login", &credentials(false, Some(device)))
                .expect(201)
                .json()["token"],
        )
    };
    let (phone, laptop, grace) = (login("phone"), login("laptop"), server.sanctum(GRACE));
    assert_eq!(
        server.bearer("GET /api/auth/me", &phone).expect(401).json()["code"],
        "TOKEN_REVOKED"
    );
    let again = login("laptop");
    for token in [&laptop, &again, &grace] {
        server.bearer("GET /api/auth/me", token).expect(200);
    }
}

#[test]
fn several_devices_when_allowed() {
    let server = Server::start(Options {
        single_device: false,
        ..relaxed()
    });
    let tokens = [
        server.sanctum(ADA),
        server.sanctum(ADA),
        server.sanctum(ADA),
    ];
    for token in &tokens {
        server.bearer("GET /api/auth/me", token).expect(200);
    }
    let body = server
        .bearer("POST /api/auth/logout-all", &tokens[0])
        .expect(200)
        .json();
    assert_eq!(members(&body), ["message", "revoked_count"]);
    assert_eq!(body["revoked_count"], 3);
    for token in &tokens {
        server.bearer("GET /api/auth/me", token).expect(401);
    }
}

#[test]
fn logout_ends_one_token() {
    let server = Server::start(Options {
        single_device: false,
        ..relaxed()
    });
    let (here, there) = (server.sanctum(ADA), server.sanctum(ADA));
    let body = server
        .bearer("POST /api/auth/logout", &here)
        .expect(200)
        .json();
    assert_eq!(members(&body), ["message", "revoked_at"]);
    assert_eq!(
        server.bearer("GET /api/bookings", &here).expect(401).json()["code"],
        "TOKEN_REVOKED"
    );
    server.bearer("GET /api/bookings", &there).expect(200);
}

#[test]
fn me_tells_about_person_and_token() {
    let server = Server::relaxed();
    let token = server.sanctum(GRACE);
    server.clock(900);
    let body = server.bearer("GET /api/auth/me", &token).expect(200).json();
    assert_eq!(
        body["user"],
        json!({ "id": 2, "name": "Grace Hopper", "email": "grace@example.com" })
    );
    let about = &body["token"];
    let names = [
        "created_at",
        "device_id",
        "expires_at",
        "expires_in_minutes",
        "expires_in_seconds",
        "last_used_at",
        "name",
        "type",
    ];
    assert_eq!(members(about), names);
    assert_eq!(
        (&about["name"], &about["type"]),
        (&json!("test"), &json!("short_lived"))
    );
    assert_eq!(about["expires_in_minutes"], 44);
    assert_ne!(about["created_at"], about["last_used_at"]);
}
