//! What the tabs share through storage, and when one tab believes another.

use super::event::{Event, Log};
use super::expiry::Now;
use super::record::{Record, Tombstone};
use super::{Ended, Ending, Policy};

/// What storage holds at one moment. Messages between tabs are only hints to look here
/// (behaviour.md 5.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The session record, validated; `None` = no record.
    pub record: Option<Record>,
    /// The notes that logins ended, the latest first; they outlive the records so that late tabs
    /// learn of it.
    pub tombstones: Vec<Tombstone>,
}

impl Stored {
    fn buries(&self, sid: &str) -> Option<&Tombstone> {
        self.tombstones
            .iter()
            .find(|tombstone| tombstone.sid == sid)
    }

    /// The stored session, if it is not buried.
    fn unburied(&self) -> Option<&Record> {
        let record = self.record.as_ref()?;
        self.buries(&record.session.sid).is_none().then_some(record)
    }

    /// The stored session of this login, if it is there and not buried.
    pub(super) fn alive(&self, sid: &str) -> Option<&Record> {
        self.unburied().filter(|record| record.session.sid == sid)
    }

    /// Another login has taken the place of this one.
    pub(super) fn holds_another(&self, sid: &str) -> bool {
        let other = self
            .record
            .as_ref()
            .map(|record| record.session.sid.as_str());
        other.is_some_and(|other| other != sid && !self.ended(other))
    }

    /// The login that was the last to end; empty = none has.
    fn beside(&self) -> String {
        let latest = self.tombstones.first();
        latest
            .map(|tombstone| tombstone.sid.clone())
            .unwrap_or_default()
    }

    pub(super) fn ended(&self, sid: &str) -> bool {
        self.buries(sid).is_some()
    }
}

impl Policy {
    /// What belongs into storage now.
    pub fn record(&self) -> Option<Record> {
        let session = self.session.clone()?;
        // To those who read it, it happened elsewhere.
        let died = self.died.and(self.ending).map(|ending| Ending {
            elsewhere: Some(true),
            ..ending
        });
        Some(Record {
            session,
            breaker: self.breaker,
            sent_at: self.sent_at,
            indeterminate: self.indeterminate,
            died,
        })
    }

    /// Compares memory with storage and takes over what is newer: a refresh, a sign-out or a sign-in
    /// of another tab. Call it before a refresh, on every hint and when the page wakes.
    pub fn adopt(&mut self, stored: &Stored, now: Now) {
        let sid = self.session.as_ref().map(|session| session.sid.clone());
        match sid {
            Some(sid) => self.adopt_over(&sid, stored, now),
            None => self.adopt_into_nothing(stored, now, true),
        }
    }

    /// Takes the session that storage held when the page was opened. No event: nothing changed.
    pub fn load(&mut self, stored: &Stored, now: Now) {
        self.loaded = true;
        self.touch();
        self.adopt_into_nothing(stored, now, false);
        if self.session.is_none() {
            let buried = stored.tombstones.first().map(Ending::read);
            let unburied = stored.unburied().and_then(|record| record.death(now.wall));
            self.ending = unburied.into_iter().chain(buried).max_by_key(|end| end.at);
        }
        if let Some(ending) = &mut self.ending {
            ending.elsewhere = None;
        }
    }

    fn adopt_over(&mut self, sid: &str, stored: &Stored, now: Now) {
        if self.ended_elsewhere(sid, stored) {
            self.end_as(stored.buries(sid), now);
            return self.adopt_into_nothing(stored, now, true);
        }
        let Some(record) = &stored.record else { return };
        if record.session.sid == sid {
            self.adopt_rotation(record, now);
            self.kept_beside = Some(stored.beside());
        } else if !stored.ended(&record.session.sid) {
            self.next_login();
            self.install(record.clone(), now);
            self.kept_beside = Some(stored.beside());
            self.tell(Event::UserChanged);
            self.tell_if_dead();
        }
    }

    /// Whether storage says that this login is over: by its tombstone, or because its record is gone
    /// and the tombstone is another than the one that lay beside it, so that a later login came and
    /// went (known-failures 71). A record that merely vanished is no sign-out: storage gets lost.
    pub(super) fn ended_elsewhere(&self, sid: &str, stored: &Stored) -> bool {
        let latest = stored.beside();
        let later = !latest.is_empty()
            && self
                .kept_beside
                .as_ref()
                .is_some_and(|seen| *seen != latest);
        // Only localStorage is shared: what another login did to its own tab's storage is no news here.
        let shared = self
            .session
            .as_ref()
            .is_some_and(|session| session.remember);
        let replaced = shared && stored.record.is_none() && later;
        stored.ended(sid) || replaced
    }

    fn end_as(&mut self, tombstone: Option<&Tombstone>, now: Now) {
        let known = self.session.as_ref().is_some_and(|session| session.dead);
        let dead = tombstone.and_then(|tombstone| tombstone.dead);
        // The tombstone may be our own, of a death that was noted when it happened here.
        let noted = self.ending().filter(|noted| known && noted.dead == dead);
        let elsewhere = noted.map_or(Some(true), |noted| noted.elsewhere);
        self.end(dead.map_or(Ended::SignedOut, Ended::Dead), now);
        if let (Some(ending), Some(tombstone)) = (&mut self.ending, tombstone) {
            (ending.at, ending.status) = (tombstone.at, tombstone.status);
        }
        if let Some(ending) = &mut self.ending {
            ending.elsewhere = elsewhere;
        }
        self.metrics.sign_outs += u32::from(dead.is_none());
        match dead {
            None => self.tell(Event::SignedOut { elsewhere: true }),
            // The app was told when the credential died.
            Some(_) if known => {}
            Some(dead) => self.tell(Event::ReauthRequired(dead)),
        }
    }

    fn adopt_rotation(&mut self, record: &Record, now: Now) {
        let Some(session) = &self.session else { return };
        if record.session.order() < session.order() {
            return;
        }
        if record.session.order() == session.order()
            && record.session.access_token == session.access_token
            && record.session.refresh_token == session.refresh_token
        {
            // Same credential: only what other tabs learnt about it is new.
            let newly_dead = record.death(now.wall).filter(|_| !session.dead);
            self.indeterminate |= record.indeterminate;
            if !self.in_flight {
                self.sent_at = record.sent_at;
            }
            if self.breaker.learn(record.breaker, now.wall) {
                self.rearm = true;
                self.touch();
            }
            if let Some((ending, dead)) = newly_dead.and_then(|end| Some((end, end.dead?))) {
                self.mark_dead(dead, ending.status, now);
                self.ending = Some(ending);
            }
            return;
        }
        let expires_at = record.session.expires_at;
        self.install(record.clone(), now);
        self.metrics.adopted += 1;
        self.log(Log::Adopted);
        self.tell(Event::Refreshed {
            elsewhere: true,
            expires_at,
        });
        self.tell_if_dead();
    }

    fn adopt_into_nothing(&mut self, stored: &Stored, now: Now, tell: bool) {
        let Some(record) = &stored.record else { return };
        let over = record.session.dead && record.session.expired(now);
        if over || stored.ended(&record.session.sid) {
            return;
        }
        self.next_login();
        self.install(record.clone(), now);
        self.kept_beside = Some(stored.beside());
        if tell {
            self.tell(Event::SignedIn { elsewhere: true });
            self.tell_if_dead();
        }
    }

    /// The record that was taken over says that its credential is dead: that is news of its own.
    fn tell_if_dead(&mut self) {
        if let Some(dead) = self.died {
            self.tell(Event::ReauthRequired(dead));
        }
    }

    /// Puts a stored record in place of the current session.
    fn install(&mut self, record: Record, now: Now) {
        let death = record.death(now.wall);
        let mut session = record.session;
        session.anchor(now);
        self.replace(session);
        (self.died, self.ending) = (death.and_then(|end| end.dead), death);
        self.sent_at = record.sent_at;
        self.indeterminate = record.indeterminate;
        self.breaker.learn(record.breaker, now.wall);
    }
}
