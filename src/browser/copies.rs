//! What a tab does about copies of itself: windows that it opened, and duplicates, which started with a
//! copy of its sessionStorage (behaviour.md 5.9). Each notes the credential that it was given; whoever
//! sees that it has fallen behind asks the others, at once, and again before it would send a spent one.

use super::clock;
use super::handover::Held;
use super::inner::Inner;
use super::options::Place;
use crate::policy::{Generation, Secret};
use js_sys::JsString;
use std::rc::Rc;
use wasm_bindgen_futures::spawn_local;

/// The login of this tab, of which there may be copies.
struct Copied {
    sid: String,
    /// The rotation in which the credential came.
    since: u32,
    /// What only copies know; a record of an earlier version has none.
    key: Option<Secret>,
    /// The server takes the credential no longer.
    dead: bool,
}

impl Inner {
    /// What a copy of this tab that has fallen behind may be given.
    pub(super) fn held(&self, sid: &str) -> Option<Held> {
        let login = self.copied().filter(|login| login.sid == sid)?;
        Some(Held {
            rotation: login.since,
            key: login.key.filter(|_| !login.dead)?,
            record: self.storage.own_text()?,
        })
    }

    /// Notes for copies of this tab that its credential is the newest, if it was ever renewed.
    pub(super) fn note_credential(&self) {
        if let Some(login) = self.copied().filter(|login| login.since > 0) {
            self.copies.note(&login.sid, login.since);
        }
    }

    /// What other tabs have to know of the current token, if they hold it too: its rotation, or,
    /// where each of them has a storage of its own, the one that brought the refresh credential.
    pub(super) fn notable(&self) -> Option<u32> {
        if self.remembered() == Some(true) {
            return self.rotation();
        }
        Some(self.copied()?.since)
    }

    /// Catches up with the copy that is ahead, if there is one: it may be gone before this tab needs
    /// a token.
    pub(super) fn look_at_copies(&self) {
        let busy = self.refreshing.borrow().is_some() || self.catching_up.get();
        let newest = self.newest(None).filter(|_| !busy && !self.disposed.get());
        let (Some(newest), Some(inner)) = (newest, self.myself.upgrade()) else {
            return;
        };
        self.catching_up.set(true);
        spawn_local(async move {
            inner.ask_copies(newest).await;
            inner.catching_up.set(false);
        });
    }

    /// Whether this tab's credential may be sent; call it under the lock. If a copy of this tab has
    /// used it up, the new one is asked for there, not at the server: reuse ends the login everywhere.
    pub(super) async fn copies_caught_up(self: &Rc<Self>, wanted: Generation) -> bool {
        let Some(login) = self.copied() else {
            return true;
        };
        // A note may still be on its way from another process; the mark in the lock manager is there.
        let marked = self.tabs.marked(&login.sid).await;
        let Some(newest) = self.newest(marked) else {
            return true;
        };
        self.ask_copies(newest).await;
        if self.newest(marked).is_none() {
            return true;
        }
        let commit = self.with(|policy| policy.left_behind(wanted, clock::now(), clock::roll()));
        self.apply(commit);
        false
    }

    /// The rotation in which the newest credential of this login came, if it is not the one here.
    fn newest(&self, marked: Option<u32>) -> Option<u32> {
        let noted = self.copies.noted(&self.copied()?.sid).max(marked);
        noted.filter(|_| self.with(|policy| policy.is_behind(noted)))
    }

    async fn ask_copies(&self, newest: u32) {
        let Some(login) = self.copied() else { return };
        let Some(key) = &login.key else { return };
        // Anything older than the newest is spent, too.
        let older = newest.saturating_sub(1);
        if let Some(handed) = self.copies.ask(&login.sid, older, key).await {
            self.take_handed(&handed);
        }
    }

    /// Takes over what a copy of this tab handed over, if it is newer.
    fn take_handed(&self, text: &JsString) {
        let Some(found) = self.storage.read_copy(text) else {
            return;
        };
        let theirs = found.stored.record.as_ref();
        if theirs.map(|record| &record.session.sid) != self.sid().as_ref() {
            return;
        }
        let newer = self.with(|policy| {
            let before = policy.generation();
            policy.adopt(&found.stored, clock::now());
            policy.generation() != before
        });
        if newer {
            self.take_user(&found);
            self.write_storage();
        }
    }

    /// The login, if it is kept where a new tab may start with a copy of it.
    fn copied(&self) -> Option<Copied> {
        if self.options.place != Place::Session {
            return None;
        }
        self.with(|policy| {
            let session = policy.session().filter(|session| !session.remember)?;
            Some(Copied {
                sid: session.sid.clone(),
                since: session.credential_since,
                key: session.handover_key.clone(),
                dead: session.dead,
            })
        })
    }
}
