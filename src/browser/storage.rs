//! Web Storage, probed once: what it holds is untrusted input, and where it is blocked the session
//! lives in memory (behaviour.md 5.16, 6.15).

use super::js;
use super::json::{JsBody, stringify};
use super::options::{Options, Place};
use crate::policy::{Breaker, Dead, Record, Secret, Session, Stored, Tombstone};
use gloo_storage::{LocalStorage, SessionStorage, Storage as _};
use js_sys::{JsString, Object};
use std::cell::Cell;
use wasm_bindgen::prelude::*;

/// The version of the record's shape. A newer one is left alone (behaviour.md 5.16).
const VERSION: i64 = 1;

/// The session record and the tombstone of one client.
pub(super) struct Storage {
    key: String,
    tombstone_key: String,
    /// Endpoint and client the session belongs to: it is good for no other (behaviour.md 6.8).
    binding: String,
    place: Place,
    session: Option<web_sys::Storage>,
    local: Option<web_sys::Storage>,
    corrupt: Cell<bool>,
}

/// What was read: for the policy, and the person as the server described them.
pub(super) struct Found {
    pub(super) stored: Stored,
    pub(super) user: JsValue,
}

impl Storage {
    /// Probes what is there. Never throws: blocked storage is memory.
    pub(super) fn open(options: &Options) -> Self {
        let wanted = options.place != Place::Memory;
        let refresh = options.endpoints.refresh.as_deref().unwrap_or_default();
        Self {
            tombstone_key: [&options.key, ":ended"].concat(),
            binding: [
                refresh,
                " ",
                options.client_id.as_deref().unwrap_or_default(),
            ]
            .concat(),
            session: (wanted && works("sessionStorage")).then(SessionStorage::raw),
            local: works("localStorage").then(LocalStorage::raw),
            key: options.key.clone(),
            place: options.place,
            corrupt: Cell::new(false),
        }
    }

    /// Whether a storage that was asked for is blocked.
    pub(super) fn degraded(&self) -> bool {
        match self.place {
            Place::Memory => false,
            Place::Session => self.session.is_none(),
            Place::Local => self.local.is_none(),
        }
    }

    /// Whether a corrupt record was found and removed since the last call.
    pub(super) fn take_corrupt(&self) -> bool {
        self.corrupt.replace(false)
    }

    /// The name of the place a session is kept in, for the snapshot.
    pub(super) fn place_name(&self, remember: bool) -> &'static str {
        match (self.place, self.slot(remember)) {
            (Place::Memory, _) | (_, None) => "memory",
            (Place::Local, _) => "local",
            (Place::Session, _) if remember => "local",
            (Place::Session, _) => "session",
        }
    }

    /// Whether a session of another kind than `remember` may be there (a tab that knows of none looks
    /// in both places; one that has a session looks where that is kept).
    pub(super) fn read(&self, current: Option<bool>) -> Found {
        let tombstone = self
            .local
            .as_ref()
            .and_then(|storage| self.read_tombstone(storage));
        let buried = |sid: &str| {
            tombstone
                .as_ref()
                .is_some_and(|tombstone| tombstone.sid == sid)
        };
        let found = match current {
            Some(remember) => self.read_slot(remember),
            None => [false, true]
                .into_iter()
                .filter_map(|remember| self.read_slot(remember))
                .find(|(record, _)| !buried(&record.session.sid)),
        };
        let (record, user) = found.map_or((None, JsValue::UNDEFINED), |(record, user)| {
            (Some(record), user)
        });
        Found {
            stored: Stored { record, tombstone },
            user,
        }
    }

    /// Writes a record and reads it back; `false` = the browser did not take it.
    pub(super) fn write(&self, record: &Record, user: &JsValue) -> bool {
        let Some(storage) = self.slot(record.session.remember) else {
            return true;
        };
        let Some(text) = encode(record, user, &self.binding).filter(|_| !self.is_newer(storage))
        else {
            return false;
        };
        let text = String::from(text);
        let written = storage.set_item(&self.key, &text).is_ok();
        written && storage.get_item(&self.key).ok().flatten() == Some(text)
    }

    /// Removes the record from the place of remembered, or of other, sessions.
    pub(super) fn remove(&self, remember: bool) {
        if let Some(storage) = self
            .slot(remember)
            .filter(|storage| !self.is_newer(storage))
        {
            drop(storage.remove_item(&self.key));
        }
    }

    /// Removes the record if it still belongs to this login.
    pub(super) fn remove_login(&self, sid: &str) {
        for remember in [false, true] {
            let mine = self
                .read_slot(remember)
                .is_some_and(|(record, _)| record.session.sid == sid);
            if mine {
                self.remove(remember);
            }
        }
    }

    /// Notes that a login ended, where every tab can see it. It holds no secret.
    pub(super) fn bury(&self, sid: &str, dead: Option<Dead>) {
        let Some(storage) = &self.local else { return };
        let note = Object::new();
        js::set(&note, "v", &JsValue::from_f64(1.0));
        js::set(&note, "sid", &JsValue::from_str(sid));
        js::set(
            &note,
            "dead",
            &dead.map_or(JsValue::NULL, |dead| JsValue::from_str(dead.as_str())),
        );
        if let Ok(text) = stringify(&note) {
            drop(storage.set_item(&self.tombstone_key, &String::from(text)));
        }
    }

    /// Whether a storage event with this key is about us; no key = everything was cleared.
    pub(super) fn concerns(&self, key: Option<&str>) -> bool {
        key.is_none_or(|key| key == self.key || key == self.tombstone_key)
    }

    fn slot(&self, remember: bool) -> Option<&web_sys::Storage> {
        match self.place {
            Place::Memory => None,
            Place::Local => self.local.as_ref(),
            Place::Session if remember => self.local.as_ref(),
            Place::Session => self.session.as_ref(),
        }
    }

    /// Whether a later keepfresh wrote what is there: that is not ours to change.
    fn is_newer(&self, storage: &web_sys::Storage) -> bool {
        let text = storage.get_item(&self.key).ok().flatten();
        let body = text.and_then(|text| JsBody::parse(&JsString::from(text.as_str())));
        let version = body.and_then(|body| body.integer("v"));
        version.is_some_and(|version| version > VERSION)
    }

    fn read_slot(&self, remember: bool) -> Option<(Record, JsValue)> {
        let storage = self.slot(remember)?;
        let text = storage.get_item(&self.key).ok().flatten()?;
        let body = JsBody::parse(&JsString::from(text.as_str()));
        if body
            .as_ref()
            .and_then(|body| body.integer("v"))
            .is_some_and(|version| version > VERSION)
        {
            return None;
        }
        let record = body.as_ref().and_then(decode);
        if record.is_none() {
            drop(storage.remove_item(&self.key));
            self.corrupt.set(true);
        }
        let (mut record, body) = (record?, body?);
        if body.text("for").as_deref() != Some(self.binding.as_str()) {
            return None;
        }
        record.session.remember = self.place == Place::Local || remember;
        Some((record, body.value("user")))
    }

    fn read_tombstone(&self, storage: &web_sys::Storage) -> Option<Tombstone> {
        let text = storage.get_item(&self.tombstone_key).ok().flatten()?;
        let body = JsBody::parse(&JsString::from(text.as_str()))?;
        let dead = body.text("dead").and_then(|text| Dead::named(&text));
        Some(Tombstone {
            sid: body.text("sid")?,
            dead,
        })
    }
}

/// gloo's `raw()` throws where storage is blocked, and some browsers only throw on use.
fn works(name: &str) -> bool {
    const PROBE: &str = "keepfresh:probe";
    let storage = js::global(name).and_then(|storage| storage.dyn_into::<web_sys::Storage>().ok());
    storage.is_some_and(|storage| {
        storage.set_item(PROBE, "1").is_ok() && storage.remove_item(PROBE).is_ok()
    })
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ms since the epoch are exact in f64"
)]
fn encode(record: &Record, user: &JsValue, binding: &str) -> Option<JsString> {
    let session = &record.session;
    let (failures, opened_at, not_before) = record.breaker.parts();
    let object = Object::new();
    let number = |name: &str, value: i64| js::set(&object, name, &JsValue::from_f64(value as f64));
    let maybe =
        |name: &str, value: Option<i64>| value.into_iter().for_each(|value| number(name, value));
    number("v", VERSION);
    number("rotation", i64::from(session.rotation));
    number("issued_at", session.issued_at);
    maybe("expires_at", session.expires_at);
    maybe("refresh_expires_at", session.refresh_expires_at);
    number("failures", i64::from(failures));
    maybe("opened_at", opened_at);
    number("not_before", not_before);
    js::set(&object, "sid", &JsValue::from_str(&session.sid));
    js::set(&object, "for", &JsValue::from_str(binding));
    js::set(&object, "dead", &JsValue::from_bool(session.dead));
    js::set(
        &object,
        "access_token",
        &JsValue::from_str(session.access_token.reveal()),
    );
    if let Some(token) = &session.refresh_token {
        js::set(&object, "refresh_token", &JsValue::from_str(token.reveal()));
    }
    js::set(&object, "user", user);
    stringify(&object).ok()
}

/// Believes nothing: types, sizes and the characters of tokens are checked.
fn decode(body: &JsBody) -> Option<Record> {
    const LATEST: i64 = 10_000_000_000_000;
    let moment = |name: &str| body.integer(name).filter(|at| (0..=LATEST).contains(at));
    let small = |name: &str| {
        body.integer(name)
            .and_then(|number| u32::try_from(number).ok())
    };
    let sid = body
        .text("sid")
        .filter(|sid| !sid.is_empty() && sid.len() <= 64)?;
    let refresh_token = match body.text("refresh_token") {
        None => None,
        Some(token) => Some(Secret::new(token)?),
    };
    let session = Session {
        sid,
        rotation: small("rotation")?,
        access_token: Secret::new(body.text("access_token")?)?,
        refresh_token,
        issued_at: moment("issued_at")?,
        expires_at: moment("expires_at"),
        deadline: None,
        refresh_expires_at: moment("refresh_expires_at"),
        remember: false,
        dead: body.value("dead") == JsValue::TRUE,
    };
    let breaker = Breaker::stored(
        small("failures").unwrap_or(0),
        moment("opened_at"),
        moment("not_before").unwrap_or(0),
    );
    Some(Record { session, breaker })
}
