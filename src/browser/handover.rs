//! Between copies of one login. A window that a page opens, and a tab that is duplicated, start with
//! a copy of sessionStorage: two tabs then hold the same rotating credential and share no storage.
//! Whoever refreshes second would send a spent one, and the server would end the login everywhere
//! (behaviour.md 5.9, 7.16).
//!
//! A note in localStorage tells which credential is the newest. A tab that has fallen behind asks its
//! copies for it. What they answer is sealed with a key that only copies of one record share, so
//! nobody else can read or forge it (behaviour.md 5.8, 6.16).

use super::clock::{self, Alarm};
use super::js;
use super::json::JsBody;
use crate::policy::Secret;
use js_sys::{Array, ArrayBuffer, Function, JsString, Object, Promise, Uint8Array};
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{BroadcastChannel, MessageEvent};

/// How long the copies are waited for, ms (behaviour.md 5.9).
const PATIENCE: i64 = 250;
/// The largest record that is sealed or opened, in bytes.
const LARGEST: u32 = 2 << 20;
/// How many answers to one question are looked at: a page full of forgers costs no more than this.
const MOST_ANSWERS: u32 = 16;
/// How many questions are worked on at a time; more are not answered.
const MOST_QUESTIONS: u32 = 8;
/// The longest id in a message, in UTF-16 units.
const LONGEST_ID: u32 = 64;
/// How long a note about a login is kept without a new one, ms.
const KEPT: i64 = 30 * 86_400_000;
/// The version of messages and notes.
const VERSION: i64 = 1;

#[wasm_bindgen]
extern "C" {
    /// `crypto.subtle`; missing in an insecure context.
    #[derive(Clone)]
    type Subtle;
    #[wasm_bindgen(method, structural, catch, js_name = importKey)]
    fn import_key(
        this: &Subtle,
        format: &str,
        key: &Uint8Array,
        algorithm: &str,
        extractable: bool,
        usages: &Array,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn encrypt(
        this: &Subtle,
        algorithm: &Object,
        key: &JsValue,
        data: &Uint8Array,
    ) -> Result<Promise, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn decrypt(
        this: &Subtle,
        algorithm: &Object,
        key: &JsValue,
        data: &Uint8Array,
    ) -> Result<Promise, JsValue>;
}

/// What a tab can tell the copies of its login.
pub(super) struct Held {
    /// The rotation in which its credential came.
    pub(super) rotation: u32,
    /// The secret of the login.
    pub(super) key: Secret,
    /// The record as it is stored.
    pub(super) record: JsString,
}

/// The notes and the channel of one client.
pub(super) struct Copies {
    /// What the name of a note starts with; the login follows.
    prefix: String,
    local: Option<web_sys::Storage>,
    /// The name of the channel and what seals what goes over it, if the tabs are to talk.
    channel: Option<(String, Subtle)>,
    on_message: Rc<dyn Fn(MessageEvent)>,
    line: RefCell<Option<Line>>,
}

impl Copies {
    /// Notes under the client's storage key. If the tabs are to talk (`cross_tab`), copies that ask
    /// are answered with what is `held` of the login that they name.
    pub(super) fn open(
        key: &str,
        cross_tab: bool,
        held: impl Fn(&str) -> Option<Held> + 'static,
    ) -> Self {
        // Taken once: a page whose `crypto` is replaced later gets no record (behaviour.md 6.13).
        let subtle = subtle().filter(|_| cross_tab);
        let channel = subtle.map(|subtle| ([key, ":copies"].concat(), subtle));
        let working = Rc::new(Cell::new(0_u32));
        let asked = channel.clone();
        let on_message = move |message: MessageEvent| {
            let free = working.get() < MOST_QUESTIONS;
            let Some(ask) = Ask::read(&message.data()).filter(|_| free) else {
                return;
            };
            let newer = held(&ask.sid).filter(|held| held.rotation > ask.rotation);
            let (Some(held), Some(target)) = (newer, message.target()) else {
                return;
            };
            let Some((name, subtle)) = asked.clone() else {
                return;
            };
            let working = Rc::clone(&working);
            working.set(working.get().saturating_add(1));
            spawn_local(async move {
                answer(subtle, &name, &ask, &held, target.unchecked_ref()).await;
                working.set(working.get().saturating_sub(1));
            });
        };
        let copies = Self {
            prefix: [key, ":rotation:"].concat(),
            local: js::global("localStorage").and_then(|storage| storage.dyn_into().ok()),
            on_message: Rc::new(on_message),
            channel,
            line: RefCell::new(None),
        };
        copies.resume();
        copies
    }

    /// Asks the copies of this login for a record whose credential came in a later rotation than
    /// `rotation`. Call it under the lock. `key` is the secret of the login. What is returned was
    /// stored by a copy; it still has to be validated like everything from storage.
    pub(super) async fn ask(&self, sid: &str, rotation: u32, key: &Secret) -> Option<JsString> {
        let (name, subtle) = self.channel.clone()?;
        let ask = Ask {
            id: clock::random_id(),
            sid: sid.to_owned(),
            rotation,
        };
        let patience = Alarm::after(PATIENCE);
        let asking = pin!(put(ask, subtle, &name, key));
        js::first_of(asking, JsFuture::from(patience.promise().clone())).await?
    }

    /// Notes that a credential of this login came in this rotation, unless a newer one is noted. Call
    /// it under the lock, before the record is written: a page may die in between.
    pub(super) fn note(&self, sid: &str, rotation: u32) {
        let Some(local) = &self.local else { return };
        if self.noted(sid) > Some(rotation) {
            return;
        }
        let at = clock::now().wall.to_string();
        let rotation = rotation.to_string();
        let note = [r#"{"v":1,"rotation":"#, &rotation, r#","at":"#, &at, "}"].concat();
        drop(local.set_item(&self.note_name(sid), &note));
    }

    /// The rotation in which the newest credential of this login came, where somebody noted it.
    pub(super) fn noted(&self, sid: &str) -> Option<u32> {
        let note = read_note(self.local.as_ref()?, &self.note_name(sid))?;
        Some(note.rotation)
    }

    /// Removes the note: the login is over.
    pub(super) fn forget(&self, sid: &str) {
        if let Some(local) = &self.local {
            drop(local.remove_item(&self.note_name(sid)));
        }
    }

    /// Removes the notes about logins that nobody signed out of. `now` is in ms since the epoch.
    pub(super) fn prune(&self, now: i64) {
        let Some(local) = &self.local else { return };
        let names: Vec<String> = (0..local.length().unwrap_or(0))
            .filter_map(|index| local.key(index).ok().flatten())
            .filter(|name| name.starts_with(&self.prefix))
            .collect();
        for name in names {
            // What is no note is not ours: another storage key may start like this.
            let old = |note: &Note| now.saturating_sub(note.at).saturating_abs() > KEPT;
            if read_note(local, &name).as_ref().is_some_and(old) {
                drop(local.remove_item(&name));
            }
        }
    }

    /// Whether a storage event with this key is about a note; no key = everything was cleared.
    pub(super) fn concerns(&self, key: Option<&str>) -> bool {
        key.is_some_and(|key| key.starts_with(&self.prefix))
    }

    /// Stops listening until `resume`: a page in the back-forward cache must hold no channel, and one
    /// that was disposed of has nothing to say.
    pub(super) fn suspend(&self) {
        self.line.replace(None);
    }

    /// Listens again.
    pub(super) fn resume(&self) {
        let Some((name, _)) = &self.channel else {
            return;
        };
        if self.line.borrow().is_none() {
            let on_message = Rc::clone(&self.on_message);
            let line = Line::open(name, move |message| on_message(message));
            self.line.replace(line);
        }
    }

    fn note_name(&self, sid: &str) -> String {
        [&self.prefix, sid].concat()
    }
}

/// A channel and what hears it; dropping it closes it.
struct Line {
    channel: BroadcastChannel,
    /// Kept for as long as the channel calls it.
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Line {
    fn open(name: &str, on_message: impl Fn(MessageEvent) + 'static) -> Option<Self> {
        js::global("BroadcastChannel")?;
        let channel = BroadcastChannel::new(name).ok()?;
        let on_message = Closure::new(on_message);
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Some(Self {
            channel,
            _on_message: on_message,
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        self.channel.close();
    }
}

/// A note in localStorage. It holds no secret.
struct Note {
    rotation: u32,
    at: i64,
}

fn read_note(local: &web_sys::Storage, name: &str) -> Option<Note> {
    let text = local.get_item(name).ok().flatten()?;
    let note = JsBody::parse(&JsString::from(text))?;
    let at = note.integer("at").filter(|at| *at >= 0)?;
    let rotation = rotation_of(&note)?;
    Some(Note { rotation, at })
}

/// The rotation in a note or a message of this version.
fn rotation_of(body: &JsBody) -> Option<u32> {
    let rotation = body.integer("rotation")?;
    is_current(body).then(|| u32::try_from(rotation).ok())?
}

fn is_current(body: &JsBody) -> bool {
    body.integer("v") == Some(VERSION)
}

/// A short text in a message: an id. Longer ones do not enter wasm.
fn id_of(body: &JsBody, name: &str) -> Option<String> {
    let text: JsString = body.value(name).dyn_into().ok()?;
    let short = (1..=LONGEST_ID).contains(&text.length());
    short.then(|| String::from(text))
}

/// The question of a tab that has fallen behind.
struct Ask {
    id: String,
    sid: String,
    rotation: u32,
}

impl Ask {
    fn read(message: &JsValue) -> Option<Self> {
        let body = JsBody::of(message)?;
        let rotation = rotation_of(&body)?;
        let fits = id_of(&body, "type")? == "ask";
        let ask = Self {
            id: id_of(&body, "id")?,
            sid: id_of(&body, "sid")?,
            rotation,
        };
        fits.then_some(ask)
    }

    fn message(&self) -> Object {
        let message = message("ask", &self.id);
        js::set(&message, "sid", &JsValue::from_str(&self.sid));
        js::set(
            &message,
            "rotation",
            &JsValue::from_f64(f64::from(self.rotation)),
        );
        message
    }

    /// What the seal of an answer is bound to: an answer to another question does not open.
    fn about(&self, channel: &str) -> Uint8Array {
        bytes(&[channel, "\n", &self.sid, "\n", &self.id].concat())
    }
}

fn message(kind: &str, id: &str) -> Object {
    let message = Object::new();
    js::set(&message, "v", &JsValue::from_f64(1.0));
    js::set(&message, "type", &JsValue::from_str(kind));
    js::set(&message, "id", &JsValue::from_str(id));
    message
}

/// Puts the question, and waits for an answer for as long as it takes.
async fn put(ask: Ask, subtle: Subtle, name: &str, key: &Secret) -> Option<JsString> {
    let seal = Seal::new(subtle, key).await?;
    let (message, about) = (ask.message(), ask.about(name));
    let mut found = None;
    let answered = Promise::new(&mut |resolve, _| found = Some(resolve));
    let found = found?;
    let looked_at = Cell::new(0_u32);
    let line = Line::open(name, move |message| {
        let Some(sealed) = Sealed::read(&message.data(), &ask.id) else {
            return;
        };
        if looked_at.replace(looked_at.get().saturating_add(1)) < MOST_ANSWERS {
            spawn_local(look(seal.clone(), about.clone(), sealed, found.clone()));
        }
    })?;
    line.channel.post_message(&message).ok()?;
    JsFuture::from(answered).await.ok()?.dyn_into().ok()
}

/// Tries to open one answer.
async fn look(seal: Seal, about: Uint8Array, sealed: Sealed, found: Function) {
    if let Some(record) = seal.open(&about, &sealed).await {
        drop(found.call1(&JsValue::UNDEFINED, &record));
    }
}

/// Answers a copy; nobody waits for it longer than that copy does.
async fn answer(subtle: Subtle, name: &str, ask: &Ask, held: &Held, channel: &BroadcastChannel) {
    let patience = Alarm::after(PATIENCE);
    let sealing = pin!(async {
        let seal = Seal::new(subtle, &held.key).await?;
        seal.close(&ask.about(name), &held.record).await
    });
    let sealed = js::first_of(sealing, JsFuture::from(patience.promise().clone())).await;
    let Some(sealed) = sealed.flatten() else {
        return;
    };
    let message = message("answer", &ask.id);
    js::set(&message, "iv", &sealed.iv);
    js::set(&message, "data", &sealed.data);
    // Throws if the channel was closed meanwhile: then nobody needs to hear from this tab.
    drop(channel.post_message(&message));
}

/// A record that only copies of its login can open.
struct Sealed {
    iv: Uint8Array,
    data: Uint8Array,
}

impl Sealed {
    fn read(message: &JsValue, id: &str) -> Option<Self> {
        let body = JsBody::of(message)?;
        let fits = is_current(&body) && id_of(&body, "type")? == "answer";
        let mine = id_of(&body, "id")? == id;
        let iv: Uint8Array = body.value("iv").dyn_into().ok()?;
        let data: Uint8Array = body.value("data").dyn_into().ok()?;
        let sizes = iv.length() == 12 && data.length() <= LARGEST;
        (fits && mine && sizes).then_some(Self { iv, data })
    }
}

/// AES-GCM with the secret of one login.
#[derive(Clone)]
struct Seal {
    subtle: Subtle,
    key: JsValue,
}

impl Seal {
    async fn new(subtle: Subtle, key: &Secret) -> Option<Self> {
        let key = Uint8Array::from(from_hex(key.reveal())?.as_slice());
        let usages = Array::of2(&JsValue::from_str("encrypt"), &JsValue::from_str("decrypt"));
        let imported = subtle.import_key("raw", &key, "AES-GCM", false, &usages);
        let key = JsFuture::from(imported.ok()?).await.ok()?;
        Some(Self { subtle, key })
    }

    async fn close(&self, about: &Uint8Array, record: &JsString) -> Option<Sealed> {
        let mut iv = [0; 12];
        js::fill_random(&mut iv);
        let iv = Uint8Array::from(iv.as_slice());
        let record = bytes(&String::from(record));
        let sealed = self
            .subtle
            .encrypt(&algorithm(&iv, about), &self.key, &record);
        let data = finished(sealed)
            .await
            .filter(|data| data.length() <= LARGEST)?;
        Some(Sealed { iv, data })
    }

    async fn open(&self, about: &Uint8Array, sealed: &Sealed) -> Option<JsString> {
        let opened = self
            .subtle
            .decrypt(&algorithm(&sealed.iv, about), &self.key, &sealed.data);
        let record = String::from_utf8(finished(opened).await?.to_vec()).ok()?;
        Some(JsString::from(record))
    }
}

/// The tag's length is said, so that a polluted prototype cannot shorten it (behaviour.md 6.12).
fn algorithm(iv: &Uint8Array, about: &Uint8Array) -> Object {
    let algorithm = Object::new();
    js::set(&algorithm, "name", &JsValue::from_str("AES-GCM"));
    js::set(&algorithm, "iv", iv);
    js::set(&algorithm, "additionalData", about);
    js::set(&algorithm, "tagLength", &JsValue::from_f64(128.0));
    algorithm
}

async fn finished(started: Result<Promise, JsValue>) -> Option<Uint8Array> {
    let done = JsFuture::from(started.ok()?).await.ok()?;
    let done: ArrayBuffer = done.dyn_into().ok()?;
    Some(Uint8Array::new(&done))
}

fn subtle() -> Option<Subtle> {
    let subtle = js::get_some(&js::global("crypto")?, "subtle")?;
    Some(subtle.unchecked_into())
}

fn bytes(text: &str) -> Uint8Array {
    Uint8Array::from(text.as_bytes())
}

/// 256 bits; everything else is no key.
fn from_hex(key: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    let key = Some(key).filter(|key| key.len() == 64)?;
    key.as_bytes().chunks(2).map(byte).collect()
}
