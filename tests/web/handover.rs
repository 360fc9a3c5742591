//! Copies of one login, each in a tab with a sessionStorage of its own (behaviour.md 5.9, 7.16,
//! known-failures 69). The server rotates: it takes every refresh token once.

use super::kit::*;
use js_sys::{Array, Promise};
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use wasm_bindgen_test::wasm_bindgen_test;
use web_sys::Storage;

const X: &str = "GET https://api.test/x";
/// How long copies are waited for, ms.
const PATIENCE: f64 = 250.0;
const DAY: f64 = 86_400_000.0;

#[wasm_bindgen(module = "/tests/web/handover.js")]
extern "C" {
    #[wasm_bindgen(js_name = ownStorage)]
    fn own_storage(key: &str, record: &str) -> Storage;
    #[wasm_bindgen(js_name = inStorage)]
    fn in_storage(storage: &Storage, run: &mut dyn FnMut());
    #[wasm_bindgen(js_name = namesIn)]
    fn names_in(prefix: &str) -> Array;
    #[wasm_bindgen(js_name = knowKey)]
    fn know_key(channel: &str, key: &str, record: &str);

    type Stranger;
    #[wasm_bindgen(constructor)]
    fn new(name: &str) -> Stranger;
    #[wasm_bindgen(method)]
    fn say(this: &Stranger, message: &JsValue);
    #[wasm_bindgen(method)]
    fn close(this: &Stranger);
    #[wasm_bindgen(method)]
    fn count(this: &Stranger, kind: &str) -> u32;
    #[wasm_bindgen(method)]
    fn last(this: &Stranger, kind: &str) -> JsValue;
    #[wasm_bindgen(method, getter)]
    fn text(this: &Stranger) -> String;
    #[wasm_bindgen(method)]
    fn forge(this: &Stranger, kinds: &JsValue);
    #[wasm_bindgen(method, setter)]
    fn set_evil(this: &Stranger, record: &str);
}

/// A tab that was duplicated from the first one, and its own storage.
struct Copy {
    tab: Option<Tab>,
    own: Storage,
    key: String,
}

impl Copy {
    fn of(world: &World) -> Self {
        Self::with(world, &world.in_session().unwrap())
    }

    fn with(world: &World, record: &str) -> Self {
        let own = own_storage(world.key(), record);
        let mut copy = Self {
            tab: None,
            own,
            key: world.key().to_owned(),
        };
        copy.load(world);
        copy
    }

    /// What a reload does.
    fn load(&mut self, world: &World) {
        self.tab = None;
        let mut opened = None;
        in_storage(&self.own, &mut || opened = Some(world.open()));
        self.tab = opened;
    }

    fn tab(&self) -> &Tab {
        self.tab.as_ref().unwrap()
    }

    fn record(&self) -> Option<String> {
        self.own.get_item(&self.key).unwrap()
    }

    /// Whether it keeps the n-th tokens.
    fn has(&self, n: u32) -> bool {
        self.field("refresh_token") == json!(rt(n)) && self.field("access_token") == json!(at(n))
    }

    fn field(&self, name: &str) -> Value {
        field(&self.record().unwrap(), name)
    }
}

/// The notes of this world, which would outlive it.
struct Notes(String);

impl Notes {
    fn of(world: &World) -> Self {
        Self([world.key(), ":rotation:"].concat())
    }

    fn names(&self) -> Vec<String> {
        strings(&names_in(&self.0))
    }

    fn name(&self, sid: &str) -> String {
        [&self.0, sid].concat()
    }

    fn write(&self, sid: &str, note: &str) {
        let local = storage("localStorage");
        local.set_item(&self.name(sid), note).unwrap();
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        for name in self.names() {
            storage("localStorage").remove_item(&name).unwrap();
        }
    }
}

fn field(record: &str, name: &str) -> Value {
    serde_json::from_str::<Value>(record).unwrap()[name].clone()
}

fn sid(world: &World) -> String {
    let sid = field(&world.in_session().unwrap(), "sid");
    sid.as_str().unwrap().to_owned()
}

fn channel(world: &World) -> String {
    [world.key(), ":copies"].concat()
}

/// A server that grants one token after the other, and the first tab, signed in with the first. Time
/// stands still: however busy the machine is, no copy is too late.
async fn rotating(options: &Value) -> (World, Notes, Clock) {
    let world = World::new(options);
    let clock = Clock::new();
    let grants: Vec<Value> = (2..40).map(grant).collect();
    world.server.script(TOKEN, &grants);
    world.server.script(REVOKE, &[json!({})]);
    world.sign_in(1).await;
    let notes = Notes::of(&world);
    (world, notes, clock)
}

async fn public() -> (World, Notes, Clock) {
    rotating(&json!({"preset": "oauth2", "clientId": "demo"})).await
}

/// The n-th call has to bring the n-th refresh token: none is sent twice, none is skipped.
fn each_credential_was_sent_once(world: &World) {
    for (n, call) in (1..).zip(world.server.calls(TOKEN)) {
        let sent = call.text();
        assert!(
            sent.ends_with(&rt(n)) || sent.contains(&format!("{}&", rt(n))),
            "call {n}: {sent}"
        );
    }
}

/// A tab that was left behind: it was asleep when its copy refreshed and was closed.
async fn left_behind(options: &Value) -> (World, Notes, Copy, Clock) {
    let (mut world, notes, clock) = rotating(options).await;
    let spent = world.in_session().unwrap();
    done(world.core.refresh(), "the refresh of the tab that goes").await;
    assert_eq!(world.server.count(TOKEN), 1);
    world.close();
    let copy = Copy::with(&world, &spent);
    // It has noticed, and nobody is there to tell it more.
    settle().await;
    clock.advance(PATIENCE);
    settle().await;
    (world, notes, copy, clock)
}

/// A refresh that asks copies in vain, for 250 ms and no longer. `asked` = it does. The code that it
/// fails with.
async fn asks_in_vain(tab: &Tab, clock: &Clock, asked: impl Fn() -> bool) -> String {
    let refresh = tab.core.refresh();
    let over = watch(&refresh);
    until("the question", asked).await;
    settle().await;
    clock.advance(PATIENCE - 1.0);
    settle().await;
    assert!(!over.get(), "gave up before time");
    clock.advance(1.0);
    fails_with(refresh, "the refresh").await
}

/// Moves time until the promise is settled, which has to be a rejection.
async fn fails_in_time(clock: &Clock, promise: Promise) {
    let over = watch(&promise);
    for _ in 0..2_000 {
        settle().await;
        if over.get() {
            break;
        }
        clock.advance(10.0);
    }
    fails(promise, "the refresh").await;
}

/// Whether a promise is settled.
fn watch(promise: &Promise) -> Rc<Cell<bool>> {
    let over = Rc::new(Cell::new(false));
    let (told, outcome) = (Rc::clone(&over), JsFuture::from(promise.clone()));
    spawn_local(async move {
        drop(outcome.await);
        told.set(true);
    });
    over
}

// 5.9, 7.16, known-failures 69
#[wasm_bindgen_test]
async fn copies_that_refresh_in_turn_never_send_a_spent_token() {
    let (world, _notes, _clock) = public().await;
    let copies = [Copy::of(&world), Copy::of(&world)];
    for turn in 0..10 {
        let tab = match turn % 3 {
            0 => copies[0].tab(),
            1 => &world,
            _ => copies[1].tab(),
        };
        done(tab.core.refresh(), "a refresh").await;
        done(tab.core.refresh(), "and another").await;
    }
    let calls = world.server.count(TOKEN);
    assert!((10..=20).contains(&calls), "{calls}");
    each_credential_was_sent_once(&world);
    for tab in [&world as &Tab, copies[0].tab(), copies[1].tab()] {
        assert_eq!(tab.status(), "authenticated");
        assert!(!tab.host.told("refresh_failed") && !tab.host.told("reauth_required"));
    }
}

// 5.9, 7.16: it goes on with the token that it was handed, in its requests and in its own storage; even
// when the window that refreshed is closed.
#[wasm_bindgen_test]
async fn a_copy_catches_up_at_once() {
    let (mut world, _notes, _clock) = public().await;
    world.server.script(X, &[only(3)]);
    let user = json!({"access_token": at(1), "refresh_token": rt(1), "expires_in": 3600, "user": {"name": "Ada"}});
    world.begin(&user, false).await;
    let mut copy = Copy::of(&world);
    let key = copy.field("handover_key");
    done(world.core.refresh(), "one").await;
    done(world.core.refresh(), "two").await;
    until("catching up", || copy.has(3)).await;
    world.close();
    assert_eq!(copy.tab().get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 2);
    assert_eq!(world.server.tokens_at(X), [bearer(3)]);
    assert_eq!(copy.field("handover_key"), key);
    let detail = copy.tab().host.detail("refreshed");
    assert_eq!(get(&detail, "elsewhere"), JsValue::TRUE);
    copy.load(&world);
    assert_eq!(copy.tab().get_status("/x").await, 200);
    let session = done(copy.tab().core.get_session(), "getSession").await;
    assert_eq!(text(&get(&session, "user"), "name"), "Ada");
    done(copy.tab().core.refresh(), "on its own").await;
    each_credential_was_sent_once(&world);
}

// 5.9: the note is heard of where no message is; messages get lost.
#[wasm_bindgen_test]
async fn a_copy_catches_up_when_the_note_arrives() {
    let (world, notes, _clock) = public().await;
    let spent = world.in_session().unwrap();
    done(world.core.refresh(), "mine").await;
    let name = notes.name(&sid(&world));
    let local = storage("localStorage");
    let note = local.get_item(&name).unwrap().unwrap();
    local.remove_item(&name).unwrap();
    let stranger = Stranger::new(&channel(&world));
    let copy = Copy::with(&world, &spent);
    settle().await;
    assert_eq!(stranger.count("ask"), 0);
    local.set_item(&name, &note).unwrap();
    let event = web_sys::Event::new("storage").unwrap();
    put(&event, "key", &name.into());
    let page: web_sys::EventTarget = js_sys::global().unchecked_into();
    page.dispatch_event(&event).unwrap();
    until("catching up", || copy.has(2)).await;
    assert_eq!(world.server.count(TOKEN), 1);
    stranger.close();
}

// 5.9: whoever could not be reached before is asked again under the lock, before a token is sent. What is
// asked for is the newest: a copy that is itself behind has nothing to give.
#[wasm_bindgen_test]
async fn a_copy_asks_again_before_it_would_send_a_spent_token() {
    let (mut world, _notes, clock) = public().await;
    let spent = world.in_session().unwrap();
    done(world.core.refresh(), "one").await;
    done(world.core.refresh(), "two").await;
    let newest = world.in_session().unwrap();
    world.close();
    let copy = Copy::with(&world, &spent);
    settle().await;
    clock.advance(PATIENCE);
    settle().await;
    let stranger = Stranger::new(&channel(&world));
    let key = field(&spent, "handover_key");
    know_key(&channel(&world), key.as_str().unwrap(), &newest);
    stranger.forge(&js(&json!(["true"])));
    done(copy.tab().core.refresh(), "the one behind").await;
    assert!(copy.has(3));
    assert_eq!(stranger.count("ask"), 1);
    assert!((number(&stranger.last("ask"), "rotation") - 1.0).abs() < f64::EPSILON);
    assert_eq!(world.server.count(TOKEN), 2);
    stranger.close();
}

// 5.9: two copies at the same moment.
#[wasm_bindgen_test]
async fn copies_that_refresh_at_once_send_one_token() {
    let (world, _notes, _clock) = public().await;
    let held = json!({"json": tokens(2), "hold": "refresh"});
    world.server.script(TOKEN, &[held, grant(3)]);
    world.server.script(X, &[only(2)]);
    let copy = Copy::of(&world);
    let (mine, theirs) = (world.get("/x"), copy.tab().get("/x"));
    until("the refresh", || world.server.count(TOKEN) == 1).await;
    settle().await;
    world.server.open("refresh");
    assert_eq!(status(mine, "mine").await, 200);
    assert_eq!(status(theirs, "theirs").await, 200);
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.9: a server that does not rotate gives no refresh token, so none is ever spent.
#[wasm_bindgen_test]
async fn copies_of_a_credential_that_does_not_rotate_need_nobody() {
    let (world, notes, _clock) = public().await;
    let keep =
        |n| json!({"json": {"access_token": at(n), "token_type": "Bearer", "expires_in": 3600}});
    world.server.script(TOKEN, &[keep(2), keep(3), keep(4)]);
    let copy = Copy::of(&world);
    let stranger = Stranger::new(&channel(&world));
    done(world.core.refresh(), "mine").await;
    done(copy.tab().core.refresh(), "theirs").await;
    done(world.core.refresh(), "mine again").await;
    settle().await;
    assert_eq!(world.server.count(TOKEN), 3);
    assert!(
        world
            .server
            .calls(TOKEN)
            .iter()
            .all(|call| call.text().contains(&rt(1)))
    );
    assert_eq!((stranger.count("ask"), notes.names().len()), (0, 0));
    stranger.close();
}

// 5.9: between two rotations each copy may have had any number of access tokens.
#[wasm_bindgen_test]
async fn what_counts_between_copies_is_the_credential() {
    let (world, _notes, _clock) = public().await;
    let keep =
        |n| json!({"json": {"access_token": at(n), "token_type": "Bearer", "expires_in": 3600}});
    world
        .server
        .script(TOKEN, &[keep(2), keep(3), keep(4), grant(5), grant(6)]);
    world.server.script(X, &[only(5)]);
    let copy = Copy::of(&world);
    for _ in 0..3 {
        done(world.core.refresh(), "an access token").await;
    }
    done(copy.tab().core.refresh(), "a rotation").await;
    until("catching up", || {
        world.in_session().unwrap().contains(&rt(5))
    })
    .await;
    assert_eq!(world.get_status("/x").await, 200);
    assert_eq!(world.server.count(TOKEN), 4);
    done(world.core.refresh(), "going on").await;
    let sent: Vec<_> = world.server.calls(TOKEN).iter().map(Call::text).collect();
    assert!(sent[..4].iter().all(|call| call.contains(&rt(1))));
    assert!(sent[4].contains(&rt(5)));
}

// 5.9: the lock is handed on faster than the note under it arrives.
#[wasm_bindgen_test]
async fn a_note_that_is_late_is_not_missed() {
    let (world, notes, _clock) = public().await;
    let spent = world.in_session().unwrap();
    done(world.core.refresh(), "mine").await;
    let name = notes.name(&sid(&world));
    storage("localStorage").remove_item(&name).unwrap();
    let copy = Copy::with(&world, &spent);
    done(copy.tab().core.refresh(), "theirs").await;
    assert!(copy.has(2));
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.9: a record of an earlier version has no key, so nobody can answer it; its token is as spent.
#[wasm_bindgen_test]
async fn a_copy_without_a_key_does_not_send_its_spent_token() {
    let (world, _notes, _clock) = public().await;
    world.tamper(|record| {
        let fields = record.as_object_mut().unwrap();
        fields.remove("handover_key");
        fields.remove("credential_since");
    });
    let copy = Copy::of(&world);
    let other = Copy::of(&world);
    done(other.tab().core.refresh(), "the one ahead").await;
    let code = fails_with(copy.tab().core.refresh(), "the one behind").await;
    assert_eq!(code, "refresh_failed");
    assert_eq!(world.server.count(TOKEN), 1);
}

// 5.9, 7.16: better a failed refresh than a family that is revoked.
#[wasm_bindgen_test]
async fn one_that_was_left_behind_does_not_send_its_spent_token() {
    let (world, _notes, copy, clock) = left_behind(&json!({"preset": "oauth2"})).await;
    let stranger = Stranger::new(&channel(&world));
    let asked = || stranger.count("ask") == 1;
    let code = asks_in_vain(copy.tab(), &clock, asked).await;
    assert_eq!(code, "refresh_failed");
    assert_eq!(world.server.count(TOKEN), 1);
    // What it has still works: it is not signed out for this.
    world.server.script(X, &[only(1)]);
    assert_eq!(copy.tab().get_status("/x").await, 200);
    assert!(!copy.tab().host.told("signed_out") && !copy.tab().host.told("reauth_required"));
    assert!(copy.record().is_some());
    stranger.close();
}

// 5.9: the login is over for a tab that is left behind for good, and for that tab alone.
#[wasm_bindgen_test]
async fn giving_up_in_one_copy_ends_the_login_in_no_other() {
    let (mut world, _notes, copy, clock) = left_behind(&json!({"preset": "oauth2"})).await;
    clock.jump(3_700_000.0);
    for _ in 0..3 {
        clock.jump(120_000.0);
        fails_in_time(&clock, copy.tab().core.refresh()).await;
    }
    assert_eq!(copy.tab().status(), "reauth_required");
    let dead = |record: String| field(&record, "dead") == json!(true);
    assert!(copy.record().is_none_or(dead));
    assert_eq!(world.server.count(TOKEN), 1);
    // The tab that was ahead had only been asleep.
    world.start();
    assert_eq!(world.status(), "authenticated");
    done(world.core.refresh(), "the one ahead").await;
    each_credential_was_sent_once(&world);
    // Now that it is back it is heard of.
    until("going on", || copy.tab().status() == "authenticated").await;
    assert!(copy.has(3));
}

// 5.8, 6.16, 7.25: nobody without the key of the login can give a copy a token, or keep a true one
// from it.
#[wasm_bindgen_test]
async fn forged_answers_change_nothing() {
    let (mut world, _notes, _clock) = public().await;
    let spent = world.in_session().unwrap();
    let stranger = Stranger::new(&channel(&world));
    done(world.core.refresh(), "the one ahead").await;
    let first = Copy::with(&world, &spent);
    until("an answer to repeat", || stranger.count("answer") == 1).await;
    until("catching up", || first.has(2)).await;
    drop(first);
    world.close();
    stranger.set_evil(&renewed(&spent, 66));
    let key = field(&spent, "handover_key");
    know_key(&channel(&world), key.as_str().unwrap(), &renewed(&spent, 9));
    for kind in [
        "clear",
        "noise",
        "empty",
        "nothing",
        "shortIv",
        "buffers",
        "huge",
        "newer",
        "deep",
        "longId",
        "replayed",
        "wrongKey",
        "wrongQuestion",
        "forOthers",
    ] {
        stranger.forge(&js(&json!([kind, "true"])));
        let copy = Copy::with(&world, &spent);
        done(copy.tab().core.refresh(), kind).await;
        assert_eq!(copy.field("access_token"), json!(at(9)), "{kind}");
        assert_eq!(copy.field("refresh_token"), json!(rt(9)), "{kind}");
        assert_eq!(copy.tab().status(), "authenticated", "{kind}");
    }
    assert_eq!(world.server.count(TOKEN), 1);
    stranger.close();
}

// 6.16: the worst that forgers can do is to be in the way of a true answer.
#[wasm_bindgen_test]
async fn a_flood_of_forged_answers_ends_no_session() {
    let (world, _notes, copy, clock) = left_behind(&json!({"preset": "oauth2"})).await;
    let record = copy.record().unwrap();
    let stranger = Stranger::new(&channel(&world));
    stranger.forge(&js(&json!(["flood"])));
    let asked = || stranger.count("ask") == 1;
    let code = asks_in_vain(copy.tab(), &clock, asked).await;
    assert_eq!(code, "refresh_failed");
    assert_eq!(copy.field("refresh_token"), field(&record, "refresh_token"));
    assert_eq!(copy.tab().status(), "authenticated");
    assert_eq!(world.server.count(TOKEN), 1);
    stranger.close();
}

// 5.16, 6.15: what a true copy sends is checked like anything from storage.
#[wasm_bindgen_test]
async fn a_record_that_makes_no_sense_is_not_taken_over() {
    let (world, _notes, copy, clock) = left_behind(&json!({"preset": "oauth2"})).await;
    let stranger = Stranger::new(&channel(&world));
    let spent = copy.record().unwrap();
    let key = field(&spent, "handover_key");
    let key = key.as_str().unwrap();
    let change = |name: &str, value: Value| {
        let mut record: Value = serde_json::from_str(&renewed(&spent, 9)).unwrap();
        record[name] = value;
        record.to_string()
    };
    for wrong in [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "x".repeat(1_500_000),
        spent.clone(),
        change("sid", json!("other")),
        change("v", json!(2)),
        change("for", json!("https://elsewhere.test/token")),
        change("access_token", json!("a\nb")),
        change("refresh_token", json!(5)),
        change("rotation", json!(-1)),
    ] {
        know_key(&channel(&world), key, &wrong);
        stranger.forge(&js(&json!(["true"])));
        let copy = Copy::with(&world, &spent);
        let head: String = wrong.chars().take(200).collect();
        fails_in_time(&clock, copy.tab().core.refresh()).await;
        assert_eq!(copy.field("access_token"), json!(at(1)), "{head}");
        assert_eq!(copy.field("refresh_token"), json!(rt(1)), "{head}");
        assert_eq!(copy.tab().status(), "authenticated", "{head}");
    }
    assert_eq!(world.server.count(TOKEN), 1);
    stranger.close();
}

// 5.8: whoever listens learns that there is a login, and nothing of it.
#[wasm_bindgen_test]
async fn no_secret_is_said_in_clear() {
    let (world, notes, _clock) = public().await;
    let stranger = Stranger::new(&channel(&world));
    let copy = Copy::of(&world);
    for tab in [&world as &Tab, copy.tab()] {
        done(tab.core.refresh(), "refresh").await;
        done(tab.core.refresh(), "refresh").await;
    }
    until("the answers", || stranger.count("answer") > 0).await;
    let ask = |rotation| json!({"v": 1, "type": "ask", "id": "me", "sid": sid(&world), "rotation": rotation});
    stranger.say(&js(&ask(0)));
    let before = stranger.count("answer");
    until("an answer to a stranger", || {
        stranger.count("answer") > before
    })
    .await;
    let key = copy.field("handover_key");
    let key = key.as_str().unwrap();
    assert_eq!(key.len(), 64);
    for secret in [CANARY, key, "refresh_token", "Bearer"] {
        assert!(!stranger.text().contains(secret), "{secret}");
    }
    // The note, too, tells of no token.
    let note = storage("localStorage")
        .get_item(&notes.name(&sid(&world)))
        .unwrap()
        .unwrap();
    let note: Value = serde_json::from_str(&note).unwrap();
    let names: Vec<_> = note.as_object().unwrap().keys().collect();
    assert_eq!(names, ["at", "rotation", "v"]);
    stranger.close();
}

// 6.16, 7.25
#[wasm_bindgen_test]
async fn only_a_question_about_this_login_by_one_that_is_behind_is_answered() {
    let (world, _notes, _clock) = public().await;
    done(world.core.refresh(), "refresh").await;
    let stranger = Stranger::new(&channel(&world));
    let good = json!({"v": 1, "type": "ask", "id": "good", "sid": sid(&world), "rotation": 0});
    let with = |name: &str, value: Value| {
        let mut ask = good.clone();
        ask["id"] = json!("bad");
        ask[name] = value;
        ask
    };
    for bad in [
        json!(null),
        json!("ask"),
        json!([good]),
        json!({}),
        with("v", json!(2)),
        with("v", json!("1")),
        with("type", json!("answer")),
        with("type", json!(["ask"])),
        with("id", json!("")),
        with("id", json!(5)),
        with("id", json!("x".repeat(65))),
        with("sid", json!("other")),
        with("sid", json!({})),
        with("sid", json!("x".repeat(1_000_000))),
        with("rotation", json!(1)),
        with("rotation", json!(4_294_967_295_u32)),
        with("rotation", json!(1e300)),
        with("rotation", json!(-1)),
        with("rotation", json!(null)),
        with("rotation", json!("0")),
    ] {
        stranger.say(&js(&bad));
    }
    stranger.say(&js(&good));
    until("the answer", || stranger.count("answer") > 0).await;
    settle().await;
    assert_eq!(stranger.count("answer"), 1);
    assert_eq!(text(&stranger.last("answer"), "id"), "good");
    assert_eq!(world.status(), "authenticated");
    stranger.close();
}

// 5.9: a session that every tab finds in localStorage has no copies
#[wasm_bindgen_test]
async fn a_remembered_session_is_handed_to_nobody() {
    let (world, notes, _clock) = public().await;
    world.begin(&tokens(1), true).await;
    let stranger = Stranger::new(&channel(&world));
    let other = world.open();
    done(world.core.refresh(), "mine").await;
    done(other.core.refresh(), "theirs").await;
    let sid = field(&world.in_local().unwrap(), "sid");
    stranger.say(&js(
        &json!({"v": 1, "type": "ask", "id": "me", "sid": sid, "rotation": 0}),
    ));
    settle().await;
    assert_eq!((stranger.count("ask"), stranger.count("answer")), (0, 0));
    assert_eq!(notes.names().len(), 0);
    each_credential_was_sent_once(&world);
    stranger.close();
}

// 5.9: without WebCrypto nobody is asked, and a spent token still goes nowhere.
#[wasm_bindgen_test]
async fn without_web_crypto_or_cross_tab_nothing_is_said() {
    for (crypto, options) in [
        (false, json!({"preset": "oauth2"})),
        (true, json!({"preset": "oauth2", "crossTab": false})),
    ] {
        restore();
        let mut world = World::behind(&options);
        if !crypto {
            patch_value(&global("crypto"), "subtle", &JsValue::UNDEFINED);
        }
        world.server.script(TOKEN, &[grant(2)]);
        world.start();
        let notes = Notes::of(&world);
        let stranger = Stranger::new(&channel(&world));
        world.sign_in(1).await;
        let copy = Copy::of(&world);
        done(world.core.refresh(), "mine").await;
        assert_eq!(notes.names().len(), 1);
        let code = fails_with(copy.tab().core.refresh(), "theirs").await;
        assert_eq!(code, "refresh_failed");
        stranger.say(&js(
            &json!({"v": 1, "type": "ask", "id": "me", "sid": sid(&world), "rotation": 0}),
        ));
        settle().await;
        assert_eq!((stranger.count("ask"), stranger.count("answer")), (0, 0));
        assert_eq!(world.server.count(TOKEN), 1);
        stranger.close();
    }
}

// 5.3: every wait has an end, whatever the browser does.
#[wasm_bindgen_test]
async fn a_browser_that_never_finishes_opening_delays_a_refresh_for_no_longer() {
    let (world, _notes, copy, clock) = left_behind(&json!({"preset": "oauth2"})).await;
    let stranger = Stranger::new(&channel(&world));
    stranger.forge(&js(&json!(["noise"])));
    let opening = never_finishing();
    let code = asks_in_vain(copy.tab(), &clock, || opening.get() == 1).await;
    assert_eq!(code, "refresh_failed");
    stranger.close();
}

// 6.16, 7.25: a few questions are worked on at a time.
#[wasm_bindgen_test]
async fn questions_that_pile_up_are_not_all_worked_on() {
    let (world, _notes, _clock) = public().await;
    done(world.core.refresh(), "refresh").await;
    let stranger = Stranger::new(&channel(&world));
    let ask = json!({"v": 1, "type": "ask", "id": "me", "sid": sid(&world), "rotation": 0});
    let sealing = never_finishing();
    for _ in 0..50 {
        stranger.say(&js(&ask));
    }
    until("the first", || sealing.get() == 8).await;
    settle().await;
    assert_eq!(sealing.get(), 8);
    stranger.close();
}

// 5.7: a page in the back-forward cache answers nobody; when it is back, it does.
#[wasm_bindgen_test]
async fn a_page_that_went_away_is_silent_until_it_is_back() {
    let (world, _notes, _clock) = public().await;
    done(world.core.refresh(), "mine").await;
    let stranger = Stranger::new(&channel(&world));
    let ask = json!({"v": 1, "type": "ask", "id": "me", "sid": sid(&world), "rotation": 0});
    happens("pagehide");
    stranger.say(&js(&ask));
    settle().await;
    assert_eq!(stranger.count("answer"), 0);
    happens("pageshow");
    stranger.say(&js(&ask));
    until("the answer", || stranger.count("answer") == 1).await;
    stranger.close();
}

// 5.9, known-failures 47: a client that was disposed of has nothing to say
#[wasm_bindgen_test]
async fn after_dispose_nobody_is_answered() {
    let (world, _notes, _clock) = public().await;
    done(world.core.refresh(), "mine").await;
    let stranger = Stranger::new(&channel(&world));
    let ask = json!({"v": 1, "type": "ask", "id": "me", "sid": sid(&world), "rotation": 0});
    stranger.say(&js(&ask));
    until("the answer", || stranger.count("answer") == 1).await;
    world.core.dispose();
    happens("pageshow");
    stranger.say(&js(&ask));
    settle().await;
    assert_eq!(stranger.count("answer"), 1);
    stranger.close();
}

// 6.15: a note is untrusted input. What is no note is nobody's business.
#[wasm_bindgen_test]
async fn a_note_that_makes_no_sense_is_as_good_as_none() {
    let (world, notes, _clock) = public().await;
    let sid = sid(&world);
    let stranger = Stranger::new(&channel(&world));
    for (n, garbage) in (1..).zip([
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "7".to_owned(),
        "[7]".to_owned(),
        json!({"v": 1, "rotation": 99}).to_string(),
        json!({"v": 1, "rotation": 99, "at": -1}).to_string(),
        json!({"v": 1, "rotation": "99", "at": 1}).to_string(),
        json!({"v": 1, "rotation": -1, "at": 1}).to_string(),
        json!({"v": 1, "rotation": 1e300, "at": 1}).to_string(),
        json!({"v": 2, "rotation": 99, "at": 1}).to_string(),
        "[".repeat(100_000),
        "x".repeat(2_000_000),
    ]) {
        notes.write(&sid, &garbage);
        done(
            world.core.refresh(),
            &garbage.chars().take(80).collect::<String>(),
        )
        .await;
        assert_eq!(world.server.count(TOKEN), n);
    }
    assert_eq!(stranger.count("ask"), 0);
    each_credential_was_sent_once(&world);
    stranger.close();
}

// 5.9, 6.24
#[wasm_bindgen_test]
async fn a_note_goes_with_its_login() {
    let (world, notes, _clock) = public().await;
    done(world.core.refresh(), "refresh").await;
    assert_eq!(notes.names(), [notes.name(&sid(&world))]);
    done(world.core.logout(), "logout").await;
    assert!(notes.names().is_empty());
}

// 5.9
#[wasm_bindgen_test]
async fn old_notes_are_removed_at_the_next_sign_in() {
    let (world, notes, clock) = public().await;
    let now = clock.now();
    let note = |at: f64| json!({"v": 1, "rotation": 3, "at": at}).to_string();
    notes.write("old", &note(now - 31.0 * DAY));
    notes.write("ahead", &note(now + 31.0 * DAY));
    notes.write("recent", &note(now - 29.0 * DAY));
    notes.write(
        "newer",
        &json!({"v": 2, "rotation": 3, "at": 1}).to_string(),
    );
    notes.write("other", "somebody else's");
    world.sign_in(2).await;
    let mut left = notes.names();
    left.sort();
    assert_eq!(
        left,
        ["newer", "other", "recent"].map(|sid| notes.name(sid))
    );
}

/// The record after some refreshes: the n-th tokens.
fn renewed(record: &str, n: u32) -> String {
    let mut record: Value = serde_json::from_str(record).unwrap();
    record["access_token"] = json!(at(n));
    record["refresh_token"] = json!(rt(n));
    record["rotation"] = json!(n);
    record["credential_since"] = json!(n);
    record.to_string()
}

/// From now on `crypto.subtle` never finishes. How often it was called.
fn never_finishing() -> Rc<Cell<u32>> {
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let never = Closure::<dyn FnMut() -> Promise>::new(move || {
        counted.set(counted.get() + 1);
        Promise::new(&mut |_, _| {})
    });
    let subtle = get(&global("crypto"), "subtle");
    patch_value(&subtle, "importKey", &never.into_js_value());
    calls
}
