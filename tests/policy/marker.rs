//! Answers that get lost: the marker of a call on its way, and what may be sent again.

use crate::*;

/// A refresh call goes out and its page is gone before the answer is here; another is opened so long
/// after the call.
fn gone_while_calling(mut world: World, after: i64) -> World {
    let wanted = world.policy.generation();
    let plan = world.policy.plan_refresh(wanted, world.now, true);
    let credential = plan.expect("a plan").credential;
    world.server.refresh(credential.as_ref());
    world.write_ahead();
    world.reload(after);
    world.events();
    world
}

/// Inside its lead, with so much life left.
fn nearly_over(left: i64) -> World {
    let mut world = World::login(HOUR);
    world.pass(HOUR - left);
    world
}

fn marker(world: &World) -> Option<i64> {
    world.stored.record.as_ref().expect("a record").sent_at
}

// 5.5, 5.14: what is written ahead, and for how long
#[test]
fn the_marker_is_in_the_record_while_a_call_is_on_its_way_and_no_longer() {
    for answer in [
        RefreshAnswer::Tokens(tokens("second", Some("second-r"), Some(HOUR))),
        refused(500, None),
        refused(404, None),
        refused(409, None),
        refused(425, None),
        refused(403, None),
        refused(400, Some("invalid_grant")),
        failed(Failure::Timeout),
        failed(Failure::Network),
    ] {
        let mut world = nearly_over(MINUTE);
        assert_eq!(marker(&world), None);
        let wanted = world.policy.generation();
        let plan = world.policy.plan_refresh(wanted, world.now, true);
        world.write_ahead();
        assert_eq!(marker(&world), Some(world.now.wall));
        world.adopt();
        let (timing, stored) = (world.timing(0), world.stored.clone());
        let plan = plan.expect("a plan");
        let commit = world
            .policy
            .finish_refresh(&plan, answer.clone(), timing, &stored, 0.0);
        world.apply(commit);
        assert_eq!(marker(&world), None, "{answer:?}");
        world.adopt();
        assert_eq!(world.policy.record().unwrap().sent_at, None);
    }
}

// 5.14, 7.15, known-failures 28: the reload in the middle of a refresh
#[test]
fn a_page_that_comes_after_one_that_was_calling_says_lost_response() {
    let mut world = gone_while_calling(nearly_over(MINUTE), 2 * MINUTE);
    world
        .server
        .script
        .push_back(refused(400, Some("invalid_grant")));
    let over = Commit::Clear("ada".to_owned(), Dead::LostResponse);
    assert_eq!(world.refresh_now(), Some(over));
    assert_eq!(world.server.calls, ["refresh-1", "refresh-1"]);
    assert_eq!(world.policy.ending().unwrap().reason(), "lost_response");
    // A server that grants a second try is none the worse for it.
    let mut world = gone_while_calling(nearly_over(MINUTE), 2 * MINUTE);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls, ["refresh-1", "refresh-1"]);
    assert_eq!(world.events(), ["refreshed"]);
}

// 5.14: nor is it forgotten if the page saw that its answer was lost, and was closed then
#[test]
fn a_lost_answer_is_remembered_in_storage() {
    for fault in [Failure::Timeout, Failure::Network] {
        let mut world = nearly_over(MINUTE);
        world.server.script.push_back(failed(fault));
        world.refresh_now();
        world.reload(DAY);
        world.server.script.push_back(refused(401, None));
        let over = Commit::Clear("ada".to_owned(), Dead::LostResponse);
        assert_eq!(world.refresh_now(), Some(over));
    }
}

// 5.14: an answer is an answer, though it brought no token
#[test]
fn a_refusal_after_calls_that_were_answered_is_no_lost_response() {
    let mut world = nearly_over(MINUTE);
    for status in [500, 429, 409] {
        world.server.script.push_back(refused(status, None));
        world.refresh_now();
        world.pass(MINUTE);
    }
    world.reload(SECOND);
    world.server.script.push_back(refused(401, None));
    let over = Commit::Clear("ada".to_owned(), Dead::Expired);
    assert_eq!(world.refresh_now(), Some(over));
    // What was lost concerned another credential.
    let mut world = nearly_over(MINUTE);
    world.server.script.push_back(failed(Failure::Timeout));
    world.refresh_now();
    world.pass(2 * SECOND);
    world.refresh_now();
    world.pass(2 * HOUR);
    world.server.script.push_back(refused(401, None));
    let over = Commit::Clear("ada".to_owned(), Dead::Expired);
    assert_eq!(world.refresh_now(), Some(over));
}

// 5.14, 5.5: the answer may still come, to a page that is merely frozen
#[test]
fn a_token_that_lives_is_used_while_the_call_of_another_page_may_be_answered() {
    let mut world = gone_while_calling(nearly_over(MINUTE), SECOND);
    for second in 1..10 {
        assert_eq!(world.server.accepted, ["access-2"], "it rotated");
        world.server.accepted.push("access-1".to_owned());
        let wait = world.policy.poll_timeout(world.now).expect("a timer");
        assert_eq!(wait, (10 - second) * SECOND);
        assert_eq!(world.policy.handle_timeout(world.now), None);
        assert_eq!(world.request(), Outcome::Got(200));
        world.server.accepted.pop();
        world.pass(SECOND);
    }
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.server.sends_of("access-1"), 9);
    assert!(world.policy.handle_timeout(world.now).is_some());
    world.request();
    assert_eq!(world.server.calls, ["refresh-1", "refresh-1"]);
}

// 5.14, 2.11: a token that is dead, or refused, is no reason to wait
#[test]
fn a_token_past_its_end_is_renewed_though_another_page_was_calling() {
    let mut world = gone_while_calling(nearly_over(SECOND), 2 * SECOND);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 2);
    assert_eq!(world.server.seen.len(), 1);
    let mut world = gone_while_calling(nearly_over(MINUTE), SECOND);
    assert_eq!(world.request(), Outcome::Got(200), "after one 401");
    assert_eq!(world.server.calls.len(), 2);
}

// 5.14, 7.27: where the token is the credential, it dies in a moment
#[test]
fn a_sanctum_token_is_renewed_though_another_page_was_calling() {
    let mut world = World::sanctum(HOUR);
    world.pass(59 * MINUTE);
    let mut world = gone_while_calling(world, SECOND);
    assert!(world.policy.handle_timeout(world.now).is_some());
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls, ["access-1", "access-1"]);
}

// 5.14, 1.10, 7.17: the marker's clock may be another one
#[test]
fn a_marker_of_another_time_holds_nobody_up() {
    for jump in [-HOUR, HOUR, DAY] {
        let world = gone_while_calling(nearly_over(90 * SECOND), SECOND);
        let mut copy = copy_of(&world);
        let record = copy.stored.record.as_mut().unwrap();
        record.sent_at = record.sent_at.map(|at| at - jump);
        copy.reload(0);
        assert!(copy.policy.handle_timeout(copy.now).is_some(), "{jump}");
    }
}

// 5.5, 5.14: whoever waited for the lock finds the token, and no reason to speak of lost answers
#[test]
fn a_marker_whose_answer_arrived_in_another_tab_means_nothing() {
    let mut world = World::login(MINUTE);
    let mut other = copy_of(&world);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    let plan = world.policy.plan_refresh(wanted, world.now, true).unwrap();
    world.write_ahead();
    other.now = world.now;
    other.stored = world.stored.clone();
    other.adopt();
    assert_eq!(other.policy.record().unwrap().sent_at, Some(world.now.wall));
    let (timing, stored) = (world.timing(0), world.stored.clone());
    let fault = refused(500, None);
    let commit = world
        .policy
        .finish_refresh(&plan, fault, timing, &stored, 0.0);
    world.apply(commit);
    other.stored = world.stored.clone();
    other.pass(SECOND);
    other.server.script.push_back(refused(401, None));
    let over = Commit::Clear("ada".to_owned(), Dead::Expired);
    assert_eq!(other.refresh_now(), Some(over));
}

// 5.14, 5.3: a lock that was given up with its page, while the page's call goes on
#[test]
fn an_own_call_on_its_way_does_not_hold_its_own_page_up() {
    let mut world = nearly_over(MINUTE);
    let wanted = world.policy.generation();
    let plan = world.policy.plan_refresh(wanted, world.now, true).unwrap();
    world.write_ahead();
    world.adopt();
    let wait = world.policy.poll_timeout(world.now);
    assert_eq!(wait, Some(0), "its own marker says nothing to it");
    let late = RefreshAnswer::Tokens(world.server.issue());
    let (timing, stored) = (world.timing(0), world.stored.clone());
    let commit = world
        .policy
        .finish_refresh(&plan, late, timing, &stored, 0.0);
    assert_eq!(commit, Commit::Store);
}

// 5.14, 2.10, 2.14, known-failures 29: the credential may be spent, and each try may be its last
#[test]
fn after_a_lost_answer_the_credential_goes_out_once_more_and_then_not_before_the_breaker_allows() {
    for fault in [Failure::Network, Failure::Timeout] {
        let mut world = World::login(MINUTE);
        world.pass(2 * MINUTE);
        world.server_forgets();
        let lost = vec![failed(fault.clone()); 1_000];
        world.server.script.extend(lost);
        let mut sent_at: Vec<i64> = Vec::new();
        for _ in 0..60 * 10 {
            // Everybody who could ask for it does, all the time.
            world.request();
            world.timer_tick();
            world.refresh_now();
            sent_at.resize(world.server.calls.len(), world.now.wall);
            world.pass(100);
        }
        let gaps: Vec<i64> = sent_at.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(gaps, [SECOND, 30 * SECOND], "{fault:?}");
    }
}

// 5.14, 5.5, known-failures 28, 29: before it goes out again, storage is looked at
#[test]
fn after_a_lost_answer_a_token_that_another_tab_found_is_taken_and_nothing_is_sent_again() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.server.script.push_back(failed(Failure::Timeout));
    let wanted = world.policy.generation();
    world.refresh(wanted);
    let theirs = world.other_tab_refreshes();
    let pause = world.policy.retry_in(wanted, world.now).expect("a retry");
    assert!(pause >= SECOND);
    world.pass(pause);
    assert_eq!(world.refresh(wanted), None);
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.token(), Some(theirs));
}
