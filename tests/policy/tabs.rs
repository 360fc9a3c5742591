//! What tabs do with what they find in storage.

use crate::*;

/// The other tab looks at the storage of the first.
fn look(other: &mut World, world: &World) {
    other.now = world.now;
    other.stored = world.stored.clone();
    other.adopt();
}

// 2.9: what was known of the old credential does not hold for the new one
#[test]
fn a_token_from_another_tab_closes_the_breaker() {
    let mut world = World::login(HOUR);
    opened(&mut world);
    world.events();
    let theirs = world.other_tab_refreshes();
    let record = world.stored.record.as_mut().unwrap();
    record.breaker = keepfresh::policy::Breaker::default();
    world.adopt();
    assert_eq!(world.events(), ["circuit_closed", "refreshed"]);
    assert_eq!(world.status(), Status::Authenticated);
    assert_eq!(world.policy.retry_at(world.now), None);
    assert_eq!(world.policy.last_failure(), None);
    assert_eq!(world.token(), Some(theirs));
    assert!(world.refresh_now().is_some(), "and the next one may go out");
}

// 2.12, 2.10: under the lock, each looks at storage first
#[test]
fn after_the_pause_one_tab_probes_for_all_and_its_failure_holds_them_all_back() {
    let mut world = World::login(HOUR);
    let mut others = [copy_of(&world), copy_of(&world), copy_of(&world)];
    opened(&mut world);
    for pause in [30, 60, 120] {
        for other in &mut others {
            look(other, &world);
            assert_eq!(other.status(), Status::Degraded);
        }
        world.pass(pause * SECOND);
        world.server.script.push_back(refused(503, None));
        let calls = world.server.calls.len();
        assert!(world.refresh_now().is_some());
        for other in &mut others {
            other.now = world.now;
            other.stored = world.stored.clone();
            assert_eq!(other.refresh_now(), None);
            assert_eq!(
                other.policy.retry_at(other.now),
                world.policy.retry_at(world.now)
            );
        }
        assert_eq!(world.server.calls.len(), calls + 1);
    }
    world.pass(240 * SECOND);
    assert!(world.refresh_now().is_some());
    for other in &mut others {
        look(other, &world);
        assert_eq!(other.status(), Status::Authenticated);
        assert_eq!(other.token(), world.token());
        assert_eq!(other.server.calls.len(), 0);
    }
}

// 5.4: the lock was not to be had, and its holder did the work
#[test]
fn a_token_that_came_while_the_lock_was_waited_for_in_vain_is_no_failure() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let mut attempt = world.begin();
    let Step::Refresh(wanted) = world.next(&mut attempt) else {
        panic!("it waits");
    };
    world.pass(10 * SECOND);
    let theirs = world.other_tab_refreshes();
    world.adopt();
    world.policy.refresh_not_started(wanted);
    assert_eq!(world.policy.refresh_outcome(wanted, world.now), Ok(()));
    assert_eq!(world.policy.last_failure(), None);
    assert_eq!(world.policy.retry_in(wanted, world.now), None);
    assert_eq!(world.run(&mut attempt, 0), Outcome::Got(200));
    assert_eq!(world.server.sends_of(&theirs), 1);
    assert_eq!(world.server.calls.len(), 0);
    assert_eq!(world.events(), ["refreshed"]);
}

// 5.3, 5.4, 2.10: one wait is enough, whatever failed before
#[test]
fn nobody_waits_for_the_lock_twice() {
    let mut world = World::with(Config {
        limits: keepfresh::policy::Limits {
            max_failures: 9,
            cooldown: MINUTE,
        },
        ..Config::default()
    })
    .signed_in(MINUTE);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    world.server.script.push_back(refused(500, None));
    world.refresh(wanted);
    assert!(world.policy.retry_in(wanted, world.now).is_some());
    world.pass(MINUTE);
    world.policy.refresh_not_started(wanted);
    assert_eq!(world.policy.retry_in(wanted, world.now), None);
    // Nor does anybody wait for a network that is not there.
    world.server.script.push_back(refused(500, None));
    world.refresh(wanted);
    world.pass(MINUTE);
    world.online = false;
    world.refresh(wanted);
    assert_eq!(world.policy.retry_in(wanted, world.now), None);
}

// 5.10: storage was lost, or never there; nobody signed out
#[test]
fn a_refresh_is_committed_into_a_slot_that_is_empty() {
    for emptied_before in [true, false] {
        let mut world = World::login(MINUTE);
        world.pass(2 * MINUTE);
        if emptied_before {
            world.stored = Stored::default();
            world.adopt();
        }
        let wanted = world.policy.generation();
        let plan = world.policy.plan_refresh(wanted, world.now, true).unwrap();
        let answer = RefreshAnswer::Tokens(world.server.issue());
        let (timing, empty) = (world.timing(0), Stored::default());
        let commit = world
            .policy
            .finish_refresh(&plan, answer, timing, &empty, 0.0);
        assert_eq!(commit, Commit::Store);
        assert_eq!(world.token().as_deref(), Some("access-2"));
        assert_eq!(world.policy.record().unwrap().session.rotation, 1);
    }
}

// 5.10: nobody hears of a token that is not in the record yet
#[test]
fn when_refreshed_is_told_the_record_holds_the_token() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    let plan = world.policy.plan_refresh(wanted, world.now, true).unwrap();
    assert_eq!(world.events(), [""; 0], "not when the call goes out");
    let answer = RefreshAnswer::Tokens(world.server.issue());
    let (timing, stored) = (world.timing(0), world.stored.clone());
    world
        .policy
        .finish_refresh(&plan, answer, timing, &stored, 0.0);
    // The shell writes this before it hands out news.
    let record = world.policy.record().unwrap();
    assert_eq!(record.session.access_token, Some(secret("access-2")));
    assert_eq!(world.events(), ["refreshed"]);
}

// 2.11, 2.14, known-failures 6: they fail together, with one error, and are not sent
#[test]
fn strict_requests_that_waited_for_a_failed_refresh_are_rejected_alike_and_not_sent() {
    let mut world = World::strict(MINUTE);
    world.pass(2 * MINUTE);
    let mut attempts: Vec<Attempt> = (0..50).map(|_| world.begin()).collect();
    let wanted = world.policy.generation();
    for attempt in &mut attempts {
        assert_eq!(world.next(attempt), Step::Refresh(wanted));
    }
    world.server.script.extend(vec![refused(500, None); 2]);
    world.refresh_awaited(wanted);
    let steps: Vec<Step> = attempts
        .iter_mut()
        .map(|attempt| world.next(attempt))
        .collect();
    let Step::Fail(error) = &steps[0] else {
        panic!("{:?}", steps[0]);
    };
    assert_eq!(error.code, Code::CircuitOpen);
    assert_eq!(error.retry_at, Some(world.now.wall + 30 * SECOND));
    assert!(steps.iter().all(|step| *step == steps[0]));
    assert_eq!(world.server.seen, []);
    assert_eq!(world.server.calls.len(), 2);
}
