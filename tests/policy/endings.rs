//! Why a session ended, and what is told of it.

use crate::*;

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
