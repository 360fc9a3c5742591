//! Between copies of one login. A window that a page opens, and a tab that is duplicated, start with
//! a copy of sessionStorage: two tabs then hold the same rotating credential and share no storage.
//! Whoever refreshes second would send a spent one, and the server would end the login everywhere
//! (behaviour.md 5.9, 7.16).
//!
//! A note in localStorage tells which credential is the newest. A tab that has fallen behind asks its
//! copies for it. What they answer is sealed with a key that only copies of one record share, so
//! nobody else can read or forge it (behaviour.md 5.8, 6.16).

use super::clock;
use super::js;
use super::json::JsBody;
use crate::policy::Secret;
use js_sys::{Array, JsString, Object, Promise, Uint8Array};
use std::cell::{Cell, RefCell};
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
        algorithm: &Object,
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

    type TextDecoder;
    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<TextDecoder, JsValue>;
    #[wasm_bindgen(method, structural, catch)]
    fn decode(this: &TextDecoder, bytes: &JsValue) -> Result<JsString, JsValue>;
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
    /// Only if the tabs are to talk.
    talk: Option<Talk>,
    on_message: Closure<dyn FnMut(MessageEvent)>,
    channel: RefCell<Option<Channel>>,
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
        let talk = subtle.map(|subtle| Talk {
            name: [key, ":copies"].concat().into(),
            subtle,
        });
        let working = Rc::new(Cell::new(0_u32));
        let talking = talk.clone();
        let on_message = move |message: MessageEvent| {
            let free = working.get() < MOST_QUESTIONS;
            let asked = Ask::read(&message.data()).filter(|_| free);
            let (Some(ask), Some(talk)) = (asked, &talking) else {
                return;
            };
            let newer = held(&ask.sid).filter(|held| held.rotation > ask.rotation);
            if let (Some(held), Some(channel)) = (newer, message.target()) {
                talk.answer(&ask, &held, channel.unchecked_into(), &working);
            }
        };
        let copies = Self {
            prefix: [key, ":rotation:"].concat(),
            local: js::global("localStorage").and_then(|storage| storage.dyn_into().ok()),
            on_message: Closure::new(on_message),
            talk,
            channel: RefCell::new(None),
        };
        copies.resume();
        copies
    }

    /// Asks the copies of this login for a record whose credential came in a later rotation than
    /// `rotation`. `key` is the secret of the login. What is returned was stored by a copy; it still
    /// has to be validated like everything from storage.
    pub(super) async fn ask(&self, sid: &str, rotation: u32, key: &Secret) -> Option<JsString> {
        let question = self.talk.as_ref()?.ask(sid, rotation, key)?;
        let answer = clock::within(&question.answered, PATIENCE).await;
        answer.ok()?.dyn_into().ok()
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
        let (rotation, _) = read_note(self.local.as_ref()?, &self.note_name(sid))?;
        Some(rotation)
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
        // From the last on, because those after one that is removed move up.
        for index in (0..local.length().unwrap_or(0)).rev() {
            let name = local.key(index).ok().flatten().unwrap_or_default();
            let ours = name.starts_with(&self.prefix);
            // What is no note is not ours: another storage key may start like this.
            let noted = read_note(local, &name).filter(|_| ours);
            if noted.is_some_and(|(_, at)| now.saturating_sub(at).saturating_abs() > KEPT) {
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
        self.channel.replace(None);
    }

    /// Listens again.
    pub(super) fn resume(&self) {
        if let Some(talk) = &self.talk {
            // The earlier one closes.
            let channel = Channel::open(&talk.name, &self.on_message);
            self.channel.replace(channel);
        }
    }

    fn note_name(&self, sid: &str) -> String {
        [&self.prefix, sid].concat()
    }
}

/// A channel that is listened on; dropping it closes it.
struct Channel(BroadcastChannel);

impl Channel {
    fn open(name: &str, on_message: &Closure<dyn FnMut(MessageEvent)>) -> Option<Self> {
        js::global("BroadcastChannel")?;
        let channel = BroadcastChannel::new(name).ok()?;
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Some(Self(channel))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.0.set_onmessage(None);
        self.0.close();
    }
}

/// The rotation in a note in localStorage, and when it was written. A note holds no secret.
fn read_note(local: &web_sys::Storage, name: &str) -> Option<(u32, i64)> {
    let text = local.get_item(name).ok().flatten()?;
    let note = JsBody::parse(&JsString::from(text))?;
    let at = note.integer("at").filter(|at| *at >= 0)?;
    Some((rotation_of(&note)?, at))
}

/// The rotation in a note or a message of this version.
fn rotation_of(body: &JsBody) -> Option<u32> {
    let rotation = body.integer("rotation").filter(|_| is_current(body))?;
    u32::try_from(rotation).ok()
}

fn is_current(body: &JsBody) -> bool {
    body.integer("v") == Some(VERSION)
}

/// A message of this kind, with its id.
fn read_message(message: &JsValue, kind: &str) -> Option<(JsBody, String)> {
    let body = JsBody::of(message).filter(is_current)?;
    let id = id_of(&body, "id")?;
    (id_of(&body, "type")? == kind).then_some((body, id))
}

/// A short text in a message: an id. Longer ones do not enter wasm.
fn id_of(body: &JsBody, name: &str) -> Option<String> {
    let text: JsString = body.value(name).dyn_into().ok()?;
    let short = (1..=LONGEST_ID).contains(&text.length());
    short.then(|| String::from(text))
}

fn new_message(kind: &str, id: &str) -> Object {
    let message = Object::new();
    js::set(&message, "v", &JsValue::from_f64(1.0));
    js::set(&message, "type", &JsValue::from_str(kind));
    js::set(&message, "id", &JsValue::from_str(id));
    message
}

/// What a tab asks that has fallen behind.
struct Ask {
    id: String,
    sid: String,
    rotation: u32,
}

impl Ask {
    fn read(message: &JsValue) -> Option<Self> {
        let (body, id) = read_message(message, "ask")?;
        Some(Self {
            id,
            sid: id_of(&body, "sid")?,
            rotation: rotation_of(&body)?,
        })
    }

    fn message(&self) -> Object {
        let message = new_message("ask", &self.id);
        let rotation = JsValue::from_f64(self.rotation.into());
        js::set(&message, "sid", &JsValue::from_str(&self.sid));
        js::set(&message, "rotation", &rotation);
        message
    }
}

/// A question that was put: answers are heard for as long as it is kept.
struct Question {
    answered: Promise,
    _channel: Channel,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

/// How copies talk: where, and what seals it.
#[derive(Clone)]
struct Talk {
    name: Rc<str>,
    subtle: Subtle,
}

impl Talk {
    fn ask(&self, sid: &str, rotation: u32, key: &Secret) -> Option<Question> {
        let ask = Ask {
            id: clock::random_id(),
            sid: sid.to_owned(),
            rotation,
        };
        let message = ask.message();
        let mut found = None;
        let answered = Promise::new(&mut |resolve, _| found = Some(resolve));
        let (found, talk, key) = (found?, self.clone(), key.clone());
        let looked_at = Cell::new(0_u32);
        let on_message = Closure::new(move |message: MessageEvent| {
            let Some((iv, data)) = read_answer(&message.data(), &ask.id) else {
                return;
            };
            if looked_at.replace(looked_at.get().saturating_add(1)) >= MOST_ANSWERS {
                return;
            }
            let algorithm = talk.algorithm(&ask, &iv);
            let found = found.clone();
            talk.seal(false, &key, algorithm, data, move |opened| {
                let text = opened.and_then(|bytes| TextDecoder::new().ok()?.decode(&bytes).ok());
                if let Some(text) = text {
                    drop(found.call1(&JsValue::UNDEFINED, &text));
                }
            });
        });
        let channel = Channel::open(&self.name, &on_message)?;
        channel.0.post_message(&message).ok()?;
        Some(Question {
            answered,
            _channel: channel,
            _on_message: on_message,
        })
    }

    fn answer(&self, ask: &Ask, held: &Held, channel: BroadcastChannel, working: &Rc<Cell<u32>>) {
        let record = String::from(&held.record);
        if record.len() > LARGEST as usize {
            return;
        }
        let mut iv = [0; 12];
        js::fill_random(&mut iv);
        let iv = Uint8Array::from(iv.as_slice());
        let message = new_message("answer", &ask.id);
        js::set(&message, "iv", &iv);
        let working = Rc::clone(working);
        working.set(working.get().saturating_add(1));
        let algorithm = self.algorithm(ask, &iv);
        self.seal(true, &held.key, algorithm, bytes(&record), move |sealed| {
            working.set(working.get().saturating_sub(1));
            if let Some(sealed) = sealed {
                js::set(&message, "data", &Uint8Array::new(&sealed));
                // Throws if the channel was closed meanwhile: then this tab has nothing to say.
                drop(channel.post_message(&message));
            }
        });
    }

    /// What a seal is bound to: an answer to another question does not open. The tag's length is
    /// said, so that a polluted prototype cannot shorten it (behaviour.md 6.12).
    fn algorithm(&self, ask: &Ask, iv: &Uint8Array) -> Object {
        let about = bytes(&[&self.name, "\n", &ask.sid, "\n", &ask.id].concat());
        let algorithm = Object::new();
        js::set(&algorithm, "name", &JsValue::from_str("AES-GCM"));
        js::set(&algorithm, "iv", iv);
        js::set(&algorithm, "additionalData", &about);
        js::set(&algorithm, "tagLength", &JsValue::from_f64(128.0));
        algorithm
    }

    /// Seals (`close`) or opens with the secret of a login, and hands on what came of it.
    fn seal(
        &self,
        close: bool,
        key: &Secret,
        algorithm: Object,
        data: Uint8Array,
        then: impl FnOnce(Option<JsValue>) + 'static,
    ) {
        let sealing = run(
            self.subtle.clone(),
            close,
            from_hex(key.reveal()),
            algorithm,
            data,
        );
        let then: Box<dyn FnOnce(Option<JsValue>)> = Box::new(then);
        spawn_local(finish(sealing, then));
    }
}

async fn finish(
    sealing: impl Future<Output = Option<JsValue>>,
    then: Box<dyn FnOnce(Option<JsValue>)>,
) {
    then(sealing.await);
}

async fn run(
    subtle: Subtle,
    close: bool,
    key: Option<Uint8Array>,
    algorithm: Object,
    data: Uint8Array,
) -> Option<JsValue> {
    let usage = JsValue::from_str(if close { "encrypt" } else { "decrypt" });
    let imported = subtle.import_key("raw", &key?, &algorithm, false, &Array::of1(&usage));
    let key = JsFuture::from(imported.ok()?).await.ok()?;
    let done = if close {
        subtle.encrypt(&algorithm, &key, &data)
    } else {
        subtle.decrypt(&algorithm, &key, &data)
    };
    JsFuture::from(done.ok()?).await.ok()
}

/// What is sealed in an answer to this question.
fn read_answer(message: &JsValue, asked: &str) -> Option<(Uint8Array, Uint8Array)> {
    let (body, id) = read_message(message, "answer")?;
    let iv: Uint8Array = body.value("iv").dyn_into().ok()?;
    let data: Uint8Array = body.value("data").dyn_into().ok()?;
    let fits = id == asked && iv.length() == 12 && data.length() <= LARGEST;
    fits.then_some((iv, data))
}

fn subtle() -> Option<Subtle> {
    let subtle = js::get_some(&js::global("crypto")?, "subtle")?;
    Some(subtle.unchecked_into())
}

fn bytes(text: &str) -> Uint8Array {
    Uint8Array::from(text.as_bytes())
}

/// 256 bits; everything else is no key.
fn from_hex(key: &str) -> Option<Uint8Array> {
    let mut key_bytes = [0_u8; 32];
    let mut digits = key.chars().map(|digit| digit.to_digit(16));
    for byte in &mut key_bytes {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    let full = digits.next().is_none();
    full.then(|| Uint8Array::from(key_bytes.as_slice()))
}
