//! What is stored, and what may be believed of what is found there.

use crate::*;
use keepfresh::policy::{Body, Record, Tombstone};
use std::collections::BTreeMap;

/// Named values, as a shell would find them in a JSON object.
#[derive(Clone, Debug)]
struct Members(BTreeMap<String, Field>);

impl Body for Members {
    fn get(&self, path: &str) -> Field {
        self.0.get(path).cloned().unwrap_or(Field::Absent)
    }
}

impl Members {
    fn of(fields: Vec<(&'static str, Field)>) -> Self {
        let named = |(name, field): (&str, Field)| (name.to_owned(), field);
        Self(fields.into_iter().map(named).collect())
    }

    fn with(&self, name: &str, value: Field) -> Self {
        let mut changed = self.clone();
        changed.0.insert(name.to_owned(), value);
        changed
    }

    fn read(&self) -> Option<Record> {
        Record::read(self, false)
    }
}

/// A record in which every member says something.
fn full() -> Record {
    let mut world = World::login(10 * MINUTE);
    world.policy.set_handover_key(secret("canary-h"));
    world.pass(9 * MINUTE);
    world.server.script.push_back(failed(Failure::Network));
    world.refresh_now();
    world.pass(SECOND);
    world.refresh_now();
    world.pass(9 * MINUTE);
    for answer in [
        failed(Failure::Timeout),
        refused(500, None),
        refused(400, Some("session_not_found")),
    ] {
        world.server.script.push_back(answer);
        world.refresh_now();
        world.pass(30 * SECOND);
    }
    let mut record = world.policy.record().expect("a session");
    record.session.deadline = None;
    record.session.remember = false;
    record.session.refresh_expires_at = Some(START + DAY);
    record.sent_at = Some(START + MINUTE);
    record
}

// 5.16, 5.5, 5.14, 2.12, 5.9
#[test]
fn a_record_comes_back_as_it_was_stored() {
    let record = full();
    let (failures, opened_at, not_before) = record.breaker.parts();
    assert!(failures > 1 && opened_at.is_some() && not_before > START);
    assert!(record.indeterminate && record.session.dead);
    assert_eq!(record.session.credential_since, 1);
    let died = record.died.expect("it died");
    assert_eq!(died.dead, Some(Dead::LostResponse));
    assert_eq!(died.status, Some(400));
    let fields = record.fields();
    assert!(fields.iter().all(|(_, field)| *field != Field::Absent));
    let back = Members::of(fields).read().expect("readable");
    assert_eq!(back.fields(), record.fields());
    assert_eq!(back.session, record.session);
    assert_eq!(back.died, record.died);
    assert_eq!(back.breaker.parts(), record.breaker.parts());
    // And one in which as little as possible is said.
    let mut bare = Record::of(World::login(HOUR).policy.session().unwrap().clone());
    bare.session.deadline = None;
    bare.session.remember = false;
    bare.session.expires_at = None;
    bare.session.refresh_token = None;
    let back = Members::of(bare.fields()).read();
    assert_eq!(back, Some(bare));
}

// 5.16, 6.15, 7.25
#[test]
fn what_a_record_cannot_do_without_is_checked() {
    let good = Members::of(full().fields());
    assert!(good.read().is_some());
    let text = |text: &str| Field::Text(text.to_owned());
    let long = "x".repeat(65);
    for (name, bad) in [
        ("sid", Field::Absent),
        ("sid", text("")),
        ("sid", text(&long)),
        ("sid", Field::Number(1.0)),
        ("sid", Field::Other),
        ("rotation", Field::Absent),
        ("rotation", text("1")),
        ("rotation", Field::Number(-1.0)),
        ("rotation", Field::Number(4_294_967_296.0)),
        ("rotation", Field::Number(f64::NAN)),
        ("rotation", Field::Number(f64::INFINITY)),
        ("rotation", Field::Flag(true)),
        ("access_token", text("")),
        ("access_token", text("a b")),
        ("access_token", text("a\r\nX-Evil: 1")),
        ("access_token", text("tökén")),
        ("access_token", Field::Number(1.0)),
        ("access_token", Field::Other),
        ("access_token", Field::Flag(true)),
        ("refresh_token", text("a\nb")),
        ("refresh_token", Field::Other),
        ("handover_key", text("a b")),
        ("handover_key", Field::Number(0.0)),
        ("issued_at", Field::Absent),
        ("issued_at", text("1763640000000")),
        ("issued_at", Field::Number(-1.0)),
        ("issued_at", Field::Number(1e14)),
        ("issued_at", Field::Number(f64::NAN)),
    ] {
        let read = good.with(name, bad.clone()).read();
        assert_eq!(read, None, "{name}: {bad:?}");
    }
}

// 5.16, 6.15, 7.25: nothing of it lasts for ever, or makes a dead session live
#[test]
fn what_a_record_can_do_without_is_dropped_when_it_makes_no_sense() {
    let good = Members::of(full().fields());
    let garbage = [
        Field::Absent,
        Field::Other,
        Field::Flag(true),
        Field::Text("9999999999999".to_owned()),
        Field::Number(-1.0),
        Field::Number(f64::NAN),
        Field::Number(f64::INFINITY),
        Field::Number(1e300),
    ];
    for bad in garbage {
        let record = [
            "expires_at",
            "refresh_expires_at",
            "failures",
            "opened_at",
            "not_before",
            "sent_at",
            "died",
            "died_at",
            "died_status",
            "credential_since",
        ]
        .iter()
        .fold(good.clone(), |members, name| {
            members.with(name, bad.clone())
        })
        .read()
        .expect("a record");
        let session = &record.session;
        assert_eq!(
            (session.expires_at, session.refresh_expires_at),
            (None, None)
        );
        assert_eq!(record.breaker.parts(), (0, None, 0), "{bad:?}");
        assert_eq!((record.sent_at, record.died), (None, None));
        // Without its number, a credential counts as new as its record.
        assert_eq!(session.credential_since, session.rotation);
        assert!(session.dead);
    }
    // Only a plain yes is a yes.
    for no in [
        Field::Absent,
        Field::Number(1.0),
        Field::Text("true".into()),
    ] {
        let record = good.with("dead", no.clone()).with("indeterminate", no);
        let record = record.read().unwrap();
        assert!(!record.session.dead && !record.indeterminate);
        assert_eq!(record.died, None, "whoever lives did not die");
    }
    // Nor is a credential newer than its record.
    let later = good.with("credential_since", Field::Number(99.0));
    let record = later.read().unwrap();
    assert_eq!(record.session.credential_since, record.session.rotation);
}

// 5.16, 6.15, 2.10: whoever can write into storage can stop no refresh for long
#[test]
fn a_hostile_pause_in_storage_ends_within_the_hour() {
    for not_before in [START + 30 * DAY, 9_999_999_999_999] {
        let mut world = World::login(MINUTE);
        let fields = world.stored.record.as_ref().unwrap().fields();
        #[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let record = Members::of(fields)
            .with("not_before", Field::Number(not_before as f64))
            .with("failures", Field::Number(4_294_967_295.0))
            .with("opened_at", Field::Number(START as f64))
            .read();
        world.stored.record = record;
        world.reload(2 * MINUTE);
        assert_eq!(world.request(), Outcome::Got(200));
        assert_eq!(world.server.calls.len(), 1);
    }
}

// 5.16, 6.26
#[test]
fn an_access_token_may_be_missing_only_where_it_may_be_a_cookie() {
    let bare = Members::of(full().fields()).with("access_token", Field::Absent);
    assert_eq!(Record::read(&bare, false), None);
    let record = Record::read(&bare, true).expect("a record");
    assert_eq!(record.session.access_token, None);
    let split = bare.with("access_token", Field::Text("a b".to_owned()));
    assert_eq!(Record::read(&split, true), None);
}

// 5.11, 5.16, 2.15
#[test]
fn a_tombstone_comes_back_as_it_was_stored() {
    for dead in [
        None,
        Some(Dead::Expired),
        Some(Dead::Revoked),
        Some(Dead::LostResponse),
        Some(Dead::Ambiguous),
    ] {
        for status in [None, Some(401)] {
            let tombstone = Tombstone {
                sid: "ada".to_owned(),
                dead,
                at: START,
                status,
            };
            let members = Members::of(tombstone.fields());
            assert_eq!(Tombstone::read(&members), Some(tombstone));
        }
    }
    for dead in [
        Dead::Expired,
        Dead::Revoked,
        Dead::LostResponse,
        Dead::Ambiguous,
    ] {
        assert_eq!(Dead::named(dead.as_str()), Some(dead));
    }
    assert_eq!(Dead::named("signed_out"), None);
}

// 5.16, 6.15, 6.16: no note without a login, and no reason that nobody gave
#[test]
fn a_tombstone_that_makes_no_sense_buries_nobody() {
    let good = Tombstone {
        sid: "ada".to_owned(),
        dead: Some(Dead::Revoked),
        at: START,
        status: Some(401),
    };
    let good = Members::of(good.fields());
    for bad in [
        Field::Absent,
        Field::Other,
        Field::Text(String::new()),
        Field::Text("x".repeat(65)),
        Field::Number(1.0),
    ] {
        assert_eq!(Tombstone::read(&good.with("sid", bad)), None);
    }
    for bad in [
        Field::Other,
        Field::Flag(true),
        Field::Text("hostile".to_owned()),
        Field::Number(-1.0),
        Field::Number(f64::NAN),
        Field::Number(1e300),
    ] {
        let members = good
            .with("dead", bad.clone())
            .with("at", bad.clone())
            .with("status", bad);
        let read = Tombstone::read(&members).expect("a tombstone");
        assert_eq!((read.dead, read.at, read.status), (None, 0, None));
    }
}

// 6.11, 7.23, known-failures 50
#[test]
fn a_record_prints_none_of_its_secrets() {
    let record = full();
    let mut secrets = Vec::new();
    for (name, field) in record.fields() {
        if let (Field::Text(text), true) = (field, name.contains("token") || name.contains("key")) {
            secrets.push(text);
        }
    }
    assert_eq!(secrets.len(), 3);
    let printed = format!("{record:?} {record:#?}");
    for secret in secrets {
        assert!(!printed.contains(&secret), "{printed}");
    }
}
