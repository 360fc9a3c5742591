//! What a tab does about copies of itself: windows that it opened, and duplicates, which started with a
//! copy of its sessionStorage (behaviour.md 5.9). Each notes the credential that it was given; whoever
//! sees that it has fallen behind asks the others, at once, and again before it would send a spent one.

use super::clock;
use super::handover::Held;
use super::inner::Inner;
use super::js;
use super::options::Place;
use crate::policy::{Generation, Session};
use js_sys::JsString;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

impl Inner {
    /// What a copy of this tab that has fallen behind may be given.
    pub(super) fn held(&self, sid: &str) -> Option<Held> {
        let session = self.with(|policy| policy.session().cloned())?;
        let own = session.sid == sid && !session.remember && !session.dead;
        Some(Held {
            rotation: session.credential_since,
            key: session.handover_key.clone().filter(|_| own)?,
            record: self.storage.own_text()?,
        })
    }

    /// Notes for copies of this tab that its credential is the newest, if it was ever renewed.
    pub(super) fn note_credential(&self) {
        let renewed = |session: &&Session| session.credential_since > 0;
        let session = self.with(|policy| policy.session().filter(renewed).cloned());
        if let Some(session) = session.filter(|_| self.may_have_copies()) {
            self.copies.note(&session.sid, session.credential_since);
        }
    }

    /// What other tabs have to know of the current token, if they hold it too: its rotation, or,
    /// where each of them has a storage of its own, the one that brought the refresh credential.
    pub(super) fn notable(&self) -> Option<u32> {
        let copies = self.may_have_copies();
        self.with(|policy| {
            let session = policy.session()?;
            let rotation = session.remember.then_some(session.rotation);
            rotation.or(Some(session.credential_since).filter(|_| copies))
        })
    }

    /// Catches up with the copy that is ahead, if there is one: it may be gone before this tab needs
    /// a token.
    pub(super) fn look_at_copies(&self) {
        let busy = self.refreshing.borrow().is_some() || self.catching_up.borrow().is_some();
        let Some(newest) = self.newest(None).filter(|_| !busy && !self.disposed.get()) else {
            return;
        };
        let Some(inner) = self.myself.upgrade() else {
            return;
        };
        let asking = js::promise(async move {
            inner.ask_copies(newest).await;
            inner.catching_up.replace(None);
            Ok(JsValue::UNDEFINED)
        });
        self.catching_up.replace(Some(asking));
    }

    /// Whether this tab's credential may be sent; call it under the lock. If a copy of this tab has
    /// used it up, the new one is asked for there, not at the server: reuse ends the login everywhere.
    pub(super) async fn copies_caught_up(self: &Rc<Self>, wanted: Generation, sid: &str) -> bool {
        if !self.may_have_copies() {
            return true;
        }
        let running = self.catching_up.borrow().clone();
        if let Some(running) = running {
            drop(JsFuture::from(running).await);
        }
        // A note may still be on its way from another process; the mark in the lock manager is there.
        let marked = self.tabs.marked(sid).await;
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
        let sid = self.sid().filter(|_| self.may_have_copies())?;
        let noted = self.copies.noted(&sid).max(marked);
        noted.filter(|_| self.with(|policy| policy.is_behind(noted)))
    }

    async fn ask_copies(&self, newest: u32) {
        let Some(session) = self.with(|policy| policy.session().cloned()) else {
            return;
        };
        let Some(key) = &session.handover_key else {
            return;
        };
        // Anything older than the newest is spent, too.
        let older = newest.saturating_sub(1);
        if let Some(handed) = self.copies.ask(&session.sid, older, key).await {
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
        let before = self.with(|policy| policy.generation());
        self.with(|policy| policy.adopt(&found.stored, clock::now()));
        if self.with(|policy| policy.generation()) != before {
            self.take_user(&found);
            self.write_storage();
        }
    }

    /// Whether the session is kept where a new tab may start with a copy of it.
    fn may_have_copies(&self) -> bool {
        self.options.place == Place::Session && self.remembered() == Some(false)
    }
}
