//! Web Storage, probed once: what it holds is untrusted input, and where it is blocked the session
//! lives in memory (behaviour.md 5.16, 6.15).

use super::js;
use super::json::{JsBody, stringify};
use super::options::{Options, Place};
use crate::policy::{Body, Field, Record, Stored, Tombstone};
use gloo_storage::{LocalStorage, SessionStorage, Storage as _};
use js_sys::{Array, Function, JsString, Object};
use std::cell::Cell;
use wasm_bindgen::prelude::*;

/// The version of the record's shape. A newer one is left alone (behaviour.md 5.16).
const VERSION: f64 = 1.0;
/// How many logins that ended are remembered, so that a page which slept through several learns of
/// its own.
const LONGEST_MEMORY: usize = 8;

/// The session record and the tombstones of one client.
pub(super) struct Storage {
    key: String,
    tombstones_key: String,
    /// Endpoint and client the session belongs to: it is good for no other (behaviour.md 6.8).
    binding: String,
    place: Place,
    session: Option<web_sys::Storage>,
    local: Option<web_sys::Storage>,
    corrupt: Cell<bool>,
    /// A session may be without an access token: it may be in a cookie.
    tokenless: bool,
}

/// What was read: for the policy, and the person as the server described them.
pub(super) struct Found {
    pub(super) stored: Stored,
    pub(super) user: JsValue,
}

impl Storage {
    /// Probes what is there. Never throws: blocked storage is memory.
    pub(super) fn open(options: &Options) -> Self {
        let own = options.adapter.as_ref();
        let own = || own.map(|own| Clone::clone(own).unchecked_into::<web_sys::Storage>());
        let refresh = options.endpoints.refresh.as_deref().unwrap_or_default();
        Self {
            tombstones_key: [&options.key, ":ended"].concat(),
            binding: [
                refresh,
                " ",
                options.client_id.as_deref().unwrap_or_default(),
            ]
            .concat(),
            session: match options.place {
                Place::Memory => None,
                Place::Custom => own(),
                _ => of_tab(),
            },
            local: match options.place {
                Place::Custom => own(),
                _ => works("localStorage").then(LocalStorage::raw),
            },
            key: options.key.clone(),
            place: options.place,
            corrupt: Cell::new(false),
            tokenless: options.policy.cookie_refreshes,
        }
    }

    /// Whether a storage that was asked for is blocked.
    pub(super) fn degraded(&self) -> bool {
        match self.place {
            Place::Memory | Place::Custom => false,
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
            (Place::Custom, _) => "custom",
            (Place::Local, _) => "local",
            (Place::Session, _) if remember => "local",
            (Place::Session, _) => "session",
        }
    }

    /// Whether a session of another kind than `remember` may be there (a tab that knows of none looks
    /// in both places; one that has a session looks where that is kept).
    pub(super) fn read(&self, current: Option<bool>) -> Found {
        let tombstones = self.read_tombstones();
        let buried = |sid: &str| tombstones.iter().any(|tombstone| tombstone.sid == sid);
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
            stored: Stored { record, tombstones },
            user,
        }
    }

    /// The record of this tab's own storage as text, for a copy of this tab.
    pub(super) fn own_text(&self) -> Option<JsString> {
        let text = read_item(self.slot(false)?, &self.key)?;
        Some(JsString::from(text))
    }

    /// What a copy of this tab handed over. It is no better than what is found in storage.
    pub(super) fn read_copy(&self, text: &JsString) -> Option<Found> {
        let body = JsBody::parse(text).filter(|body| !is_newer(body))?;
        let record = Record::read(&body, self.tokenless)?;
        let ours = body.text("for").as_deref() == Some(self.binding.as_str());
        ours.then(|| Found {
            stored: Stored {
                record: Some(record),
                tombstones: self.read_tombstones(),
            },
            user: body.value("user"),
        })
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
        written && read_item(storage, &self.key) == Some(text)
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

    /// Notes that a login ended, where every tab can see it.
    pub(super) fn bury(&self, tombstone: Tombstone) {
        let Some(storage) = &self.local else { return };
        let mut ended = self.read_tombstones();
        ended.retain(|other| other.sid != tombstone.sid);
        ended.insert(0, tombstone);
        ended.truncate(LONGEST_MEMORY);
        let list: Array = ended.iter().map(|one| object_of(one.fields())).collect();
        let note = Object::new();
        js::set(&note, "v", &JsValue::from_f64(VERSION));
        js::set(&note, "ended", &list);
        if let Ok(text) = stringify(&note) {
            drop(storage.set_item(&self.tombstones_key, &String::from(text)));
        }
    }

    /// Whether a storage event with this key is about us; no key = everything was cleared.
    pub(super) fn concerns(&self, key: Option<&str>) -> bool {
        key.is_none_or(|key| key == self.key || key == self.tombstones_key)
    }

    fn slot(&self, remember: bool) -> Option<&web_sys::Storage> {
        match self.place {
            Place::Memory => None,
            Place::Local => self.local.as_ref(),
            Place::Session if remember => self.local.as_ref(),
            Place::Session | Place::Custom => self.session.as_ref(),
        }
    }

    /// Whether a later keepfresh wrote what is there: that is not ours to change.
    fn is_newer(&self, storage: &web_sys::Storage) -> bool {
        let body = read_item(storage, &self.key).and_then(|text| parse(&text));
        body.is_some_and(|body| is_newer(&body))
    }

    fn read_slot(&self, remember: bool) -> Option<(Record, JsValue)> {
        let storage = self.slot(remember)?;
        let text = read_item(storage, &self.key)?;
        let body = parse(&text);
        if body.as_ref().is_some_and(is_newer) {
            return None;
        }
        let Some((body, mut record)) = body.and_then(|body| {
            let record = Record::read(&body, self.tokenless)?;
            Some((body, record))
        }) else {
            drop(storage.remove_item(&self.key));
            self.corrupt.set(true);
            return None;
        };
        if body.text("for").as_deref() != Some(self.binding.as_str()) {
            return None;
        }
        record.session.remember = self.place == Place::Local || remember;
        Some((record, body.value("user")))
    }

    fn read_tombstones(&self) -> Vec<Tombstone> {
        let storage = self.local.as_ref();
        let text = storage.and_then(|storage| read_item(storage, &self.tombstones_key));
        let ended = text
            .and_then(|text| parse(&text))
            .map(|body| body.value("ended"));
        let Some(Ok(list)) = ended.map(JsCast::dyn_into::<Array>) else {
            return Vec::new();
        };
        let read = |one: JsValue| JsBody::of(&one).and_then(|one| Tombstone::read(&one));
        list.iter().take(LONGEST_MEMORY).filter_map(read).collect()
    }
}

/// The tab's own storage, where there is one.
pub(super) fn of_tab() -> Option<web_sys::Storage> {
    works("sessionStorage").then(SessionStorage::raw)
}

/// What is stored there as text: an adapter of the app's may give anything.
fn read_item(storage: &web_sys::Storage, key: &str) -> Option<String> {
    let get: Function = js::get(storage, "getItem").dyn_into().ok()?;
    let item = get.call1(storage, &JsValue::from_str(key)).ok()?;
    item.as_string()
}

/// gloo's `raw()` throws where storage is blocked, and some browsers only throw on use.
fn works(name: &str) -> bool {
    const PROBE: &str = "keepfresh:probe";
    let storage = js::global(name).and_then(|storage| storage.dyn_into::<web_sys::Storage>().ok());
    storage.is_some_and(|storage| {
        storage.set_item(PROBE, "1").is_ok() && storage.remove_item(PROBE).is_ok()
    })
}

/// The record as text, with what is not the policy's: whose session it is, and the person.
fn encode(record: &Record, user: &JsValue, binding: &str) -> Option<JsString> {
    let object = object_of(record.fields());
    js::set(&object, "v", &JsValue::from_f64(VERSION));
    js::set(&object, "for", &JsValue::from_str(binding));
    js::set(&object, "user", user);
    stringify(&object).ok()
}

fn object_of(fields: Vec<(&'static str, Field)>) -> Object {
    let object = Object::new();
    for (name, field) in fields {
        let value = match field {
            Field::Absent | Field::Other => continue,
            Field::Flag(flag) => JsValue::from_bool(flag),
            Field::Number(number) => JsValue::from_f64(number),
            Field::Text(text) => JsValue::from_str(&text),
        };
        js::set(&object, name, &value);
    }
    object
}

fn parse(text: &str) -> Option<JsBody> {
    JsBody::parse(&JsString::from(text))
}

/// Whether a later keepfresh wrote it.
fn is_newer(body: &JsBody) -> bool {
    matches!(body.get("v"), Field::Number(version) if version > VERSION)
}
