//! Protected resources and the static listener.

use keepfresh_server::Options;
use serde_json::json;

use crate::gotrue;
use crate::harness::{ADA, GRACE, Server, TempFolder, pair, relaxed};

#[test]
fn bookings_are_the_persons_own() {
    let server = Server::relaxed();
    let ada = server
        .bearer("GET /api/bookings", &server.sanctum(ADA))
        .expect(200)
        .json();
    let grace = server
        .bearer("GET /api/bookings", &server.django(GRACE).0)
        .expect(200)
        .json();
    assert_eq!(ada["data"].as_array().unwrap().len(), 3);
    assert_eq!(grace["data"].as_array().unwrap().len(), 2);
}

#[test]
fn no_token_is_challenged_without_an_error() {
    let server = Server::relaxed();
    for line in [
        "GET /api/bookings",
        "POST /api/echo",
        "GET /api/slow",
        "GET /api/redirect?to=/x",
    ] {
        let reply = server.send(line, &[], "").expect(401);
        assert_eq!(
            reply.header("www-authenticate"),
            Some("Bearer realm=\"keepfresh\""),
            "{line}"
        );
        assert_eq!(reply.json(), json!({ "message": "Unauthenticated." }));
    }
    let reply = server.bearer("GET /api/bookings", "who-knows").expect(401);
    assert_eq!(
        reply.header("www-authenticate"),
        Some("Bearer realm=\"keepfresh\", error=\"invalid_token\"")
    );
}

#[test]
fn echo_describes_the_request() {
    let server = Server::relaxed();
    let bearer = format!("Bearer {}", server.sanctum(ADA));
    for method in ["POST", "PUT"] {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "text/plain"),
        ];
        let body = server
            .send(&format!("{method} /api/echo?a=1&b=%20"), &headers, "abc")
            .expect(200)
            .json();
        let expected = json!({
            "method": method,
            "query": "a=1&b=%20",
            "content_type": "text/plain",
            "length": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "user": { "id": 1, "name": "Ada Lovelace", "email": "ada@example.com" },
        });
        assert_eq!(body, expected);
    }
    for method in ["GET", "DELETE"] {
        let body = server
            .send(
                &format!("{method} /api/echo"),
                &[("authorization", &bearer)],
                "",
            )
            .expect(200)
            .json();
        assert_eq!(
            (&body["length"], &body["content_type"]),
            (&json!(0), &json!(null))
        );
    }
}

#[test]
fn slow_always_401_and_redirect() {
    let server = Server::relaxed();
    let token = server.sanctum(ADA);
    let started = std::time::Instant::now();
    server.bearer("GET /api/slow?ms=120", &token).expect(200);
    assert!(started.elapsed().as_millis() >= 120);
    server.bearer("GET /api/always-401", &token).expect(401);
    let to = "http://127.0.0.1:9/x";
    let reply = server
        .bearer(&format!("GET /api/redirect?to={to}"), &token)
        .expect(302);
    assert_eq!(reply.header("location"), Some(to));
    server
        .bearer(&format!("POST /api/redirect?to={to}&status=307"), &token)
        .expect(307);
    server
        .bearer(&format!("GET /api/redirect?to={to}&status=200"), &token)
        .expect(422);
    server.send("GET /nowhere", &[], "").expect(404);
}

#[test]
fn the_date_follows_the_clock() {
    let server = Server::relaxed();
    let real = server
        .send("GET /nowhere", &[], "")
        .header("date")
        .unwrap()
        .to_owned();
    server.clock(400 * 86_400);
    let moved = server
        .send("GET /nowhere", &[], "")
        .header("date")
        .unwrap()
        .to_owned();
    assert_ne!(real[7..16], moved[7..16]);
    assert!(moved.ends_with(" GMT"));
}

#[test]
fn static_files_have_their_types() {
    let folder = TempFolder::new("static");
    folder.write("index.html", "<p>hello");
    folder.write("app.js", "1");
    folder.write("x.wasm", "\0asm");
    folder.write("secret", "outside");
    let options = Options {
        www: Some(folder.0.join("www")),
        pkg: Some(folder.0.join("www")),
        ..relaxed()
    };
    let server = Server::start(options);
    let www = server.running.www.unwrap();
    let get = |path: &str| server.send(&format!("GET http://{www}{path}"), &[], "");
    let index = get("/").expect(200);
    assert_eq!(
        index.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(index.header("cache-control"), Some("no-cache"));
    assert_eq!(
        get("/app.js").header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(
        get("/keepfresh/x.wasm").header("content-type"),
        Some("application/wasm")
    );
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "//etc/passwd",
        "/keepfresh//etc/passwd",
        "/none",
    ] {
        get(path).expect(404);
    }
    let demo = get("/demo.json").expect(200).json();
    assert_eq!(demo["api"], format!("http://{}", server.running.api));
    assert_eq!(
        (&demo["short_lived"], &demo["faults"]),
        (&json!(3600), &json!(true))
    );
}

#[test]
fn a_database_file_outlives_the_server_and_holds_no_token() {
    let folder = TempFolder::new("db");
    let db = folder.0.join("test.sqlite");
    let options = || Options {
        db: Some(db.clone()),
        ..relaxed()
    };
    let (sanctum, (access, refresh), (jwt, parent), successor) = {
        let server = Server::start(options());
        let (jwt, parent) = gotrue::login(&server, ADA);
        let (_, successor) = pair(&gotrue::refresh(&server, &parent).expect(200).json());
        (
            server.sanctum(ADA),
            server.django(ADA),
            (jwt, parent),
            successor,
        )
    };
    let server = Server::start(options());
    server.bearer("GET /api/bookings", &jwt).expect(200);
    let again = gotrue::refresh(&server, &parent).expect(200).json();
    assert_eq!(pair(&again).1, successor);
    server.bearer("GET /api/bookings", &sanctum).expect(200);
    server.bearer("GET /api/bookings", &access).expect(200);
    drop(server);
    let content: Vec<u8> = std::fs::read_dir(&folder.0)
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with("test.sqlite")
        })
        .flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!content.is_empty());
    for token in [&sanctum, &access, &refresh, &jwt, &parent, &successor] {
        let secret = &token.as_bytes()[token.len() - 40..];
        assert!(!content.windows(40).any(|window| window == secret));
    }
}
