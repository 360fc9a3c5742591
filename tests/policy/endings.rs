//! Why a session ended, and what is told of it.

use crate::*;
use keepfresh::policy::Suspicion;

/// A credential that the server refuses while the token lives.
fn refused_ahead(answer: RefreshAnswer) -> World {
    let mut world = World::login(10 * MINUTE);
    world.pass(9 * MINUTE);
    world.server.script.push_back(answer);
    world.refresh_now();
    world
}

// 2.15, 5.16: the death of the credential is in the record only, for its token still lived
#[test]
fn a_page_that_finds_a_dead_session_past_its_end_knows_why_and_when_it_ended() {
    let mut world = World::login(10 * MINUTE);
    world.bury("somebody-before", None);
    world.pass(9 * MINUTE);
    let died = world.now.wall;
    world
        .server
        .script
        .push_back(refused(400, Some("session_not_found")));
    assert_eq!(world.refresh_now(), Some(Commit::Store));
    for after in [SECOND, DAY] {
        world.reload(after);
        let ending = *world.policy.ending().expect("an ending");
        assert_eq!(ending.dead, Some(Dead::Revoked));
        assert_eq!((ending.at, ending.status), (died, Some(400)));
        assert_eq!(ending.elsewhere, None, "before this page was opened");
    }
    assert!(world.policy.session().is_none());
}

// 5.8, 2.15: another tab hears the real reason, too
#[test]
fn a_death_in_another_tab_keeps_its_reason_its_time_and_its_status() {
    let dying = World::login(10 * MINUTE);
    let mut other = copy_of(&dying);
    let mut world = refused_ahead(refused(403, Some("session_not_found")));
    let died = world.now.wall;
    world.pass(5 * SECOND);
    other.now = world.now;
    other.stored = world.stored.clone();
    other.adopt();
    assert!(
        other
            .outputs()
            .contains(&Output::Event(Event::ReauthRequired(Dead::Revoked)))
    );
    let ending = *other.policy.ending().expect("an ending");
    assert_eq!(ending.dead, Some(Dead::Revoked));
    assert_eq!((ending.at, ending.status), (died, Some(403)));
    assert_eq!(ending.elsewhere, Some(true));
}

// 2.15, known-failures 45: a session that is dead already cannot die again
#[test]
fn reauth_required_is_told_once_even_if_a_resource_calls_the_token_revoked_later() {
    let mut world = World::sanctum(10 * MINUTE);
    world.pass(9 * MINUTE);
    world
        .server
        .script
        .push_back(refused(401, Some("TOKEN_EXPIRED")));
    world.refresh_now();
    assert_eq!(world.events(), ["reauth_required"]);
    let mut attempt = world.begin();
    world.next(&mut attempt);
    world.hear(&mut attempt, 401);
    let code = Some("TOKEN_REVOKED");
    let verdict = world
        .policy
        .on_code(&mut attempt, code, answer(401), world.now);
    assert_eq!(verdict, Verdict::Over(Dead::Revoked));
    assert_eq!(world.events(), [""; 0]);
    assert_eq!(world.status(), Status::ReauthRequired);
}

fn ending(world: &World) -> keepfresh::policy::Ending {
    *world.policy.ending().expect("an ending")
}

// 2.15, 5.11: who did it, when, and what the server said
#[test]
fn an_ending_says_why_when_where_and_by_which_answer() {
    let mut world = World::login(HOUR);
    assert_eq!(world.policy.ending(), None);
    world.pass(MINUTE);
    world.policy.sign_out(world.now);
    let told = ending(&world);
    assert_eq!((told.reason(), told.elsewhere), ("signed_out", Some(false)));
    assert_eq!((told.at, told.status), (START + MINUTE, None));
    assert_eq!((told.issued_at, told.refreshes), (Some(START), Some(0)));
    // In another tab, and heard of later.
    let mut world = World::login(HOUR);
    world.pass(MINUTE);
    world.bury("ada", None);
    world.pass(MINUTE);
    world.adopt();
    let told = ending(&world);
    assert_eq!((told.reason(), told.elsewhere), ("signed_out", Some(true)));
    assert_eq!(told.at, START + MINUTE, "when it happened");
    // Refused while the token lives: it is about to end.
    let world = refused_ahead(refused(400, Some("invalid_grant")));
    let told = ending(&world);
    assert_eq!((told.reason(), told.elsewhere), ("expired", Some(false)));
    assert_eq!((told.at, told.status), (world.now.wall, Some(400)));
    assert_eq!(world.policy.ending().unwrap().refreshes, Some(0));
    // A resource says so.
    let mut world = World::sanctum(HOUR);
    let (mut attempt, _) = revoked_request(&mut world);
    world.run(&mut attempt, 401);
    let told = ending(&world);
    assert_eq!((told.reason(), told.status), ("revoked", Some(401)));
    assert_eq!(told.elsewhere, Some(false));
}

// 2.15: the tombstone that this page wrote itself is no news from elsewhere
#[test]
fn an_end_that_happened_here_stays_here_after_a_look_at_storage() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world
        .server
        .script
        .push_back(refused(403, Some("session_not_found")));
    world.refresh_now();
    let told = ending(&world);
    world.pass(MINUTE);
    for _ in 0..3 {
        world.adopt();
        assert_eq!(ending(&world), told);
    }
    assert_eq!((told.elsewhere, told.status), (Some(false), Some(403)));
    assert_eq!(world.events(), ["reauth_required"]);
    assert_eq!(world.status(), Status::ReauthRequired);
}

// 2.15: a new session has not ended
#[test]
fn a_new_sign_in_clears_the_ending() {
    for dies in [true, false] {
        let mut world = World::login(MINUTE);
        world.pass(2 * MINUTE);
        if dies {
            world.server.script.push_back(refused(401, None));
            world.refresh_now();
        } else {
            world.policy.sign_out(world.now);
            world.bury("ada", None);
        }
        assert!(world.policy.ending().is_some());
        world.sign_in("ada-again");
        assert_eq!(world.policy.ending(), None);
        world.adopt();
        world.request();
        assert_eq!(world.policy.ending(), None);
        // And so does one in another tab.
        world.policy.sign_out(world.now);
        world.bury("ada-again", None);
        assert!(world.policy.ending().is_some());
        world.other_tab_signs_in("grace");
        world.adopt();
        assert_eq!(world.policy.ending(), None);
        assert_eq!(world.status(), Status::Authenticated);
    }
}

// 2.15, 5.16: each login has its own end
#[test]
fn two_deaths_are_not_mixed_up() {
    let mut world = World::login(MINUTE);
    let mut ends = Vec::new();
    for (sid, status) in [("ada", 400), ("grace", 403), ("alan", 401)] {
        world.server.lifetime = MINUTE;
        world.sign_in(sid);
        world.pass(2 * MINUTE);
        let code = Some("session_expired");
        world.server.script.push_back(refused(status, code));
        let wanted = world.policy.generation();
        world.refresh(wanted);
        let told = ending(&world);
        assert_eq!(told.dead, Some(Dead::Expired));
        assert_eq!((told.at, told.status), (world.now.wall, Some(status)));
        ends.push((sid.to_owned(), told.at, told.status));
        world.adopt();
    }
    let buried = world.stored.tombstones.iter().rev();
    let buried: Vec<_> = buried
        .map(|one| (one.sid.clone(), one.at, one.status))
        .collect();
    assert_eq!(buried, ends);
    assert!(ends.windows(2).all(|two| two[0].1 < two[1].1));
}

// 2.15: a person who signs out of a session that was dead signed out
#[test]
fn a_sign_out_is_a_sign_out_though_the_credential_was_dead() {
    let mut world = refused_ahead(refused(401, None));
    assert_eq!(ending(&world).reason(), "expired");
    world.policy.sign_out(world.now);
    assert_eq!(ending(&world).reason(), "signed_out");
    assert_eq!(world.status(), Status::SignedOut);
    assert_eq!(world.events(), ["reauth_required", "signed_out"]);
}

// 5.7, 5.8, known-failures 71: both ends are in storage, and only one of them is this tab's
#[test]
fn a_tab_that_slept_through_two_logouts_learns_of_its_own() {
    for dead in [None, Some(Dead::Revoked)] {
        let mut world = World::login(HOUR);
        world.pass(MINUTE);
        world.bury("ada", dead);
        let at = world.now.wall;
        world.pass(MINUTE);
        world.other_tab_signs_in("grace");
        world.pass(MINUTE);
        // Grace's end is of the other kind.
        let other = Some(Dead::Expired).filter(|_| dead.is_none());
        world.bury("grace", other);
        assert_eq!(world.stored.tombstones.len(), 2);
        world.adopt();
        let told = ending(&world);
        assert_eq!((told.dead, told.at, told.elsewhere), (dead, at, Some(true)));
        let (event, status) = match dead {
            None => ("signed_out", Status::SignedOut),
            Some(_) => ("reauth_required", Status::ReauthRequired),
        };
        assert_eq!(world.events(), [event]);
        assert_eq!(world.status(), status);
        assert!(world.policy.session().is_none());
    }
}

// 5.16, 2.15, known-failures 70: the page that comes afterwards can still say why
#[test]
fn a_page_that_is_opened_after_the_end_reads_it_from_the_latest_tombstone() {
    let mut world = World::login(HOUR);
    world.bury("grace", Some(Dead::Expired));
    world.pass(MINUTE);
    world.bury("ada", None);
    let at = world.now.wall;
    world.reload(DAY);
    let told = ending(&world);
    assert_eq!((told.reason(), told.at), ("signed_out", at));
    assert_eq!((told.elsewhere, told.status), (None, None));
    assert_eq!((told.issued_at, told.refreshes), (None, None));
    assert_eq!(world.status(), Status::Anonymous);
    assert_eq!(world.events(), [""; 0]);
    // A living session beside it has not ended.
    let mut world = World::login(HOUR);
    world.bury("grace", Some(Dead::Expired));
    world.reload(MINUTE);
    assert_eq!(world.status(), Status::Authenticated);
    assert_eq!(world.policy.ending(), None);
}

// 6.11, 2.15: names are public, sentences are for people
#[test]
fn every_ending_has_a_name_and_a_sentence_of_its_own() {
    let mut told = Vec::new();
    for dead in [
        None,
        Some(Dead::Expired),
        Some(Dead::Revoked),
        Some(Dead::LostResponse),
        Some(Dead::Ambiguous),
    ] {
        let mut world = World::login(HOUR);
        world.bury("ada", dead);
        world.adopt();
        let told_now = ending(&world);
        assert!(told_now.message().ends_with('.'));
        told.push((told_now.reason(), told_now.message()));
    }
    let names: Vec<&str> = told.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "signed_out",
            "expired",
            "revoked",
            "lost_response",
            "ambiguous"
        ]
    );
    told.sort_by_key(|(_, sentence)| *sentence);
    told.dedup_by_key(|(_, sentence)| *sentence);
    assert_eq!(told.len(), 5);
}

// --- What looks strange --------------------------------------------------------------------------------

fn suspicions(world: &mut World) -> Vec<(Suspicion, u32)> {
    let reason = |output: &Output| match output {
        Output::Event(Event::SuspiciousActivity { reason, refreshes }) => {
            Some((*reason, *refreshes))
        }
        _ => None,
    };
    world.outputs().iter().filter_map(reason).collect()
}

// RFC 9700 §4.14.2; 5.14: somebody else may have the credential, unless it was ourselves
#[test]
fn a_credential_that_was_used_before_is_suspicious_unless_our_own_answer_was_lost() {
    let used = || refused(400, Some("refresh_token_already_used"));
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.push_back(used());
    world.refresh_now();
    let reuse = Suspicion::Reuse;
    assert_eq!(suspicions(&mut world), [(reuse, 1)]);
    assert_eq!(reuse.as_str(), "token_reused");
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.push_back(failed(Failure::Timeout));
    world.refresh_now();
    world.pass(SECOND);
    world.server.script.push_back(used());
    let over = Commit::Clear("ada".to_owned(), Dead::LostResponse);
    assert_eq!(world.refresh_now(), Some(over));
    assert_eq!(suspicions(&mut world), []);
    // Nor if another tab was faster (2.2).
    let (mut world, commit) = overtaken_by(
        |world| {
            world.other_tab_refreshes();
        },
        used(),
    );
    assert_eq!(commit, Commit::Keep);
    assert_eq!(suspicions(&mut world), []);
}

// document 003; 2.13
#[test]
fn a_fresh_token_that_is_refused_is_suspicious_once_per_storm() {
    let mut world = World::login(DAY);
    for _ in 0..3 {
        always_401(&mut world);
    }
    assert_eq!(suspicions(&mut world), [(Suspicion::FreshTokenRefused, 1)]);
    assert_eq!(Suspicion::FreshTokenRefused.as_str(), "fresh_token_refused");
    world.busy(2 * MINUTE, false);
    always_401(&mut world);
    assert_eq!(suspicions(&mut world).len(), 1, "the next storm");
    // A 401 of a token that was taken before is an everyday thing.
    let mut world = World::login(DAY);
    for _ in 0..3 {
        world.request();
        world.server_forgets();
        world.request();
        world.pass(HOUR);
    }
    assert_eq!(suspicions(&mut world), []);
}

// document 003
#[test]
fn the_report_of_too_many_refreshes_says_how_many() {
    let mut world = World::login(HOUR);
    for _ in 0..11 {
        world.pass(MINUTE);
        world.refresh_now();
    }
    assert_eq!(suspicions(&mut world), [(Suspicion::Frequency, 11)]);
    assert_eq!(Suspicion::Frequency.as_str(), "refresh_frequency");
}

// --- What the log says ---------------------------------------------------------------------------------

fn logs(world: &mut World) -> Vec<Log> {
    let entry = |output| match output {
        Output::Log(log) => Some(log),
        Output::Event(_) => None,
    };
    world.outputs().into_iter().filter_map(entry).collect()
}

// 6.18, known-failures 41: RFC 7009 §2.2
#[test]
fn a_sign_out_that_the_server_did_not_confirm_is_reported_and_changes_nothing() {
    let mut world = World::login(HOUR);
    world.policy.sign_out(world.now);
    logs(&mut world);
    for confirmed in [200, 204, 401] {
        world.policy.sign_out_answered(Some(confirmed));
        assert_eq!(logs(&mut world), [], "{confirmed}");
    }
    for status in [None, Some(429), Some(500), Some(503), Some(302), Some(403)] {
        world.policy.sign_out_answered(status);
        assert_eq!(logs(&mut world), [Log::SignOutUnconfirmed { status }]);
        assert_eq!(world.status(), Status::SignedOut);
    }
    let (level, name, _) = Log::SignOutUnconfirmed { status: None }.parts();
    assert_eq!((level, name), ("warn", "sign_out_unconfirmed"));
}

// 1.5, 1.7: at a sign-in and at a refresh alike
#[test]
fn lifetimes_that_cannot_be_read_or_contradict_each_other_are_reported() {
    let simple = Lifetimes {
        relative: Some(HOUR),
        ..Lifetimes::default()
    };
    let unreadable = Lifetimes {
        unreadable: true,
        ..Lifetimes::default()
    };
    let disagreeing = Lifetimes {
        absolute: Some(START + 30 * MINUTE),
        ..simple
    };
    let nearly = Lifetimes {
        absolute: Some(START + 59 * MINUTE),
        ..simple
    };
    for (lifetimes, told, ends) in [
        (simple, None, HOUR),
        (nearly, None, HOUR),
        (unreadable, Some(Log::LifetimeUnreadable), 15 * MINUTE),
        (disagreeing, Some(Log::LifetimesDisagree), 30 * MINUTE),
    ] {
        let is_diagnostic =
            |log: &Log| matches!(log, Log::LifetimeUnreadable | Log::LifetimesDisagree);
        let mut set = tokens("access-0", Some("refresh-0"), None);
        set.lifetimes = lifetimes;
        let mut world = World::new();
        let timing = world.timing(0);
        world
            .policy
            .sign_in("ada".to_owned(), set.clone(), timing, true);
        let mut said = logs(&mut world);
        said.retain(is_diagnostic);
        assert_eq!(said, told.clone().into_iter().collect::<Vec<_>>());
        let end = world.policy.session().unwrap().expires_at;
        assert_eq!(end, Some(START + ends), "and the session lives");
        let answer = RefreshAnswer::Tokens(set);
        let wanted = world.policy.generation();
        let plan = world.policy.plan_refresh(wanted, world.now, true).unwrap();
        world
            .policy
            .finish_refresh(&plan, answer, timing, &Stored::default(), 0.0);
        let mut said = logs(&mut world);
        said.retain(is_diagnostic);
        assert_eq!(said, told.into_iter().collect::<Vec<_>>());
    }
}
