//! Sleep, hidden tabs, throttled timers and clocks that jump.

use crate::*;

/// Timers as a hidden tab gets them: once a minute, never before they are due. Returns how often the
/// server was called in so much time.
fn once_a_minute(world: &mut World, duration: i64, mut each: impl FnMut(&mut World)) -> usize {
    let before = world.server.calls.len();
    for _ in 0..duration / MINUTE {
        let due = world.policy.poll_timeout(world.now);
        world.pass(MINUTE);
        if due.is_some_and(|wait| wait <= MINUTE)
            && let Some(wanted) = world.policy.handle_timeout(world.now)
        {
            world.refresh(wanted);
        }
        each(world);
    }
    world.server.calls.len() - before
}

fn count_failures(world: &World) -> u32 {
    world.policy.record().expect("a session").breaker.parts().0
}

// 5.17, 2.10, known-failures 35: a timer that comes late because the tab is hidden is no waking up
#[test]
fn a_hidden_tab_without_a_network_tries_no_more_often_than_the_breaker_allows() {
    for visible in [true, false] {
        let mut world = World::login(HOUR);
        world.request();
        world.policy.set_visible(visible, 0.0);
        let down = vec![failed(Failure::Network); 1_000];
        world.server.script.extend(down);
        let calls = once_a_minute(&mut world, 7 * HOUR, |_| ());
        // Four while the pauses grow, then one in five minutes, which may come a minute late.
        assert!((60..=80).contains(&calls), "{calls} calls, {visible}");
    }
}

// 5.17, 5.18, 5.21, 7.17
#[test]
fn timers_once_a_minute_are_enough_for_a_hidden_tab_that_is_used() {
    for lifetime in [300 * SECOND, 3_600 * SECOND] {
        for roll in [0.0, 0.999] {
            let mut world = World::login(lifetime);
            world.server.lifetime = lifetime;
            world.policy.set_visible(false, roll);
            let ask = |world: &mut World| assert_eq!(world.request(), Outcome::Got(200));
            let calls = once_a_minute(&mut world, HOUR, ask);
            let most = usize::try_from(HOUR / (lifetime - 2 * MINUTE)).unwrap();
            assert!((1..=most).contains(&calls), "{lifetime}: {calls} refreshes");
            assert_eq!(world.server.statuses(401), 0);
            assert_eq!(world.server.seen.len(), 60);
        }
    }
}

// 5.18
#[test]
fn a_hidden_idle_tab_refreshes_with_its_next_request() {
    let mut world = World::login(HOUR);
    world.policy.set_visible(false, 0.5);
    let calls = once_a_minute(&mut world, 3 * HOUR, |_| ());
    assert_eq!(calls, 0);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.server.sends_of("access-1"), 0);
}

// 5.18, 1.11: hidden tabs spread out, and none of them comes too late
#[test]
fn a_hidden_tab_adds_at_most_ten_seconds_and_never_more_than_half_of_the_lead() {
    for (lifetime, lead) in [(HOUR, 2 * MINUTE), (20 * SECOND, 10 * SECOND)] {
        let mut world = World::login(lifetime);
        world.request();
        let due = lifetime - lead;
        for (visible, roll, delay) in [
            (true, 0.9, 0),
            (false, 0.0, 0),
            (false, 0.3, 3 * SECOND),
            (false, 0.999, 9_990),
        ] {
            world.policy.set_visible(visible, roll);
            let wait = world.policy.poll_timeout(world.now).expect("a timer");
            assert_eq!(wait, due + delay.min(lead / 2), "{lifetime} {roll}");
            assert!(wait < lifetime);
        }
    }
}

// 5.19, 2.10, known-failures 25
#[test]
fn after_waking_failures_are_retried_after_one_three_and_seven_seconds_and_not_counted() {
    let down = || failed(Failure::Network);
    let mut world = World::login(MINUTE);
    world.pass(3 * HOUR);
    world.policy.woke(world.now, true);
    world.server.script.extend(vec![down(); 5]);
    let wanted = world.policy.generation();
    for pause in [SECOND, 3 * SECOND, 7 * SECOND] {
        assert!(world.refresh_now().is_some());
        assert_eq!(count_failures(&world), 0);
        assert_eq!(world.policy.retry_in(wanted, world.now), Some(pause));
        world.pass(pause - 1);
        assert_eq!(world.refresh_now(), None);
        world.pass(1);
    }
    assert_eq!(world.status(), Status::Authenticated);
    world.refresh_now();
    assert_eq!(count_failures(&world), 1, "eleven seconds later");
    world.pass(SECOND);
    world.refresh_now();
    assert_eq!(world.status(), Status::Degraded);
    assert!(world.events().contains(&"circuit_opened"));
    // The next time it begins anew.
    world.policy.woke(world.now, true);
    world.pass(30 * SECOND);
    world.policy.woke(world.now, true);
    world.server.script.push_back(down());
    world.refresh_now();
    assert_eq!(
        world.policy.retry_at(world.now),
        Some(world.now.wall + SECOND)
    );
}

// 5.19: a look at the page is no waking up
#[test]
fn failures_count_when_a_tab_was_merely_looked_at() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    world.policy.woke(world.now, false);
    world.server.script.push_back(refused(500, None));
    world.refresh_now();
    assert_eq!(count_failures(&world), 1);
}

// 5.19, 2.6: a server that says for how long was reached
#[test]
fn after_waking_a_server_that_says_for_how_long_is_believed() {
    let mut world = World::login(MINUTE);
    world.pass(3 * HOUR);
    world.policy.woke(world.now, true);
    world.server.script.push_back(wait_for(503, 40 * SECOND));
    world.refresh_now();
    assert_eq!(
        world.policy.retry_at(world.now),
        Some(world.now.wall + 40 * SECOND)
    );
}

// 5.19, 5.7, known-failures 32: no event tells, and the monotonic clock stood still
#[test]
fn a_timer_that_comes_hours_too_late_is_a_waking_up() {
    for (late, counted) in [(3 * HOUR, 0), (5 * SECOND, 1)] {
        let mut world = World::login(HOUR);
        let wait = world.policy.poll_timeout(world.now).expect("a timer");
        world.pass(wait);
        world.now.wall += late;
        let wanted = world.policy.handle_timeout(world.now).expect("it is time");
        world.server.script.push_back(failed(Failure::Network));
        world.refresh(wanted);
        assert_eq!(count_failures(&world), counted, "{late} ms late");
    }
}

// 5.19, 2.1, known-failures 25: the portal of a hotel stands in the way
#[test]
fn answers_that_make_no_sense_do_not_count_right_after_waking() {
    let mut world = World::login(MINUTE);
    world.pass(3 * HOUR);
    world.policy.woke(world.now, true);
    let portal = failed(Failure::Malformed(Unusable::Malformed));
    world.server.script.extend(vec![portal; 3]);
    for pause in [SECOND, 3 * SECOND, 7 * SECOND] {
        assert!(world.refresh_now().is_some());
        let retry_at = world.policy.retry_at(world.now);
        assert_eq!(retry_at, Some(world.now.wall + pause));
        world.pass(pause);
    }
    assert_eq!(world.status(), Status::Authenticated);
    assert_eq!(world.request(), Outcome::Got(200));
}

// 2.12, 5.7: visible, pageshow, resume and online alike
#[test]
fn whatever_wakes_the_page_probes_a_breaker_that_has_been_open_for_five_seconds() {
    for asleep in [true, false] {
        let mut world = World::login(HOUR);
        opened(&mut world);
        world.pass(4_999);
        world.policy.woke(world.now, asleep);
        assert_eq!(world.refresh_now(), None);
        world.pass(1);
        world.policy.woke(world.now, asleep);
        world.server.script.push_back(refused(500, None));
        assert!(world.refresh_now().is_some(), "{asleep}");
        assert_eq!(world.refresh_now(), None, "one probe");
        assert_eq!(world.server.calls.len(), 3);
    }
}

// --- The life of the refresh token -------------------------------------------------------------------

/// A session whose refresh token ends, too.
fn ending_in(refresh: i64, access: i64) -> World {
    let mut world = World::new();
    let mut tokens = world.server.issue();
    tokens.lifetimes.relative = Some(access);
    tokens.refresh_lifetime = Some(refresh);
    let timing = world.timing(0);
    world.policy.sign_in("ada".to_owned(), tokens, timing, true);
    world.store();
    world.events();
    world
}

// 1.13, 2.15, 2.3
#[test]
fn past_the_end_of_the_refresh_token_a_sign_in_is_asked_for_once_and_the_token_is_used_up() {
    let mut world = ending_in(59 * MINUTE, HOUR);
    world.pass(57 * MINUTE);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.events(), [""; 0]);
    world.pass(2 * MINUTE + SECOND);
    for _ in 0..50 {
        assert_eq!(world.request(), Outcome::Got(200));
        world.timer_tick();
        world.pass(SECOND);
    }
    assert_eq!(world.events(), ["reauth_required"]);
    assert_eq!(world.status(), Status::ReauthRequired);
    let ending = world.policy.ending().expect("an ending");
    assert_eq!((ending.dead, ending.status), (Some(Dead::Expired), None));
    world.pass(MINUTE);
    world.server_forgets();
    world.request();
    assert_eq!(world.server.calls.len(), 0);
    assert_eq!(world.server.sends_of("access-1"), 51);
    assert_eq!(world.events(), [""; 0]);
}

// 1.13: the token that a rotation brings does not live longer than the first one
#[test]
fn a_rotation_does_not_extend_the_life_of_the_refresh_token() {
    let mut world = ending_in(HOUR, 10 * MINUTE);
    world.server.lifetime = 10 * MINUTE;
    for _ in 0..6 {
        world.pass(9 * MINUTE);
        assert_eq!(world.request(), Outcome::Got(200));
    }
    assert_eq!(world.server.calls.len(), 6);
    let end = world.policy.session().unwrap().refresh_expires_at;
    assert_eq!(end, Some(START + HOUR));
    world.pass(9 * MINUTE);
    world.request();
    assert_eq!(world.server.calls.len(), 6, "past its end nobody is called");
    assert_eq!(world.status(), Status::ReauthRequired);
    // Unless the server says so.
    let mut world = ending_in(HOUR, 10 * MINUTE);
    world.pass(9 * MINUTE);
    let mut longer = world.server.issue();
    longer.refresh_lifetime = Some(2 * HOUR);
    world.server.script.push_back(RefreshAnswer::Tokens(longer));
    world.request();
    let end = world.policy.session().unwrap().refresh_expires_at;
    assert_eq!(end, Some(world.now.wall - 100 + 2 * HOUR));
}

// 1.13, 1.10, 7.17: one clock may jump, both do not
#[test]
fn a_wall_clock_set_forward_does_not_end_the_life_of_the_refresh_token() {
    let mut world = ending_in(DAY, HOUR);
    world.pass(MINUTE);
    world.now.wall += 365 * DAY;
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls, ["refresh-1"]);
    assert_eq!(world.status(), Status::Authenticated);
}

// --- Every lifetime under every clock ------------------------------------------------------------------

/// What happens to the clocks of a page, or to its timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weather {
    Fair,
    /// The wall clock is set to another time.
    Jump(i64),
    /// The monotonic clock stands still (it does on some systems) or goes on.
    Sleep {
        still: bool,
    },
    NoTimers,
    HiddenOnceAMinute,
}

/// One life of a page: a request every so often. No request may carry a token that was known to be
/// past its end, unless a clock jumped within the time that lies between two refreshes (1.11). Returns
/// the refresh calls.
fn live(world: &mut World, weather: Weather, step: i64, duration: i64) -> usize {
    let (mut changed, mut refreshed) = (false, world.now.mono);
    let hidden = weather == Weather::HiddenOnceAMinute;
    world.policy.set_visible(!hidden, 0.5);
    let mut tick = world.now.mono;
    for awake in 0..duration / step {
        world.pass(step);
        if !changed && awake * step >= duration / 2 {
            changed = true;
            match weather {
                Weather::Jump(by) => world.now.wall += by,
                Weather::Sleep { still: true } => world.now.wall += 3 * HOUR,
                Weather::Sleep { still: false } => world.pass(3 * HOUR),
                _ => {}
            }
        }
        let timer = match weather {
            Weather::NoTimers => false,
            Weather::HiddenOnceAMinute => world.now.mono >= tick + MINUTE,
            _ => true,
        };
        if timer {
            tick = world.now.mono;
            world.timer_tick();
        }
        let attempt = &mut world.begin();
        loop {
            match world.next(attempt) {
                Step::Refresh(wanted) => {
                    world.refresh(wanted);
                    refreshed = world.now.mono;
                }
                Step::Send { bearer } => {
                    let session = world.policy.session().expect("a session");
                    let fresh = world.now.mono - refreshed < 5 * SECOND && changed;
                    assert!(
                        !session.expired(world.now) || fresh,
                        "{weather:?}: a dead token"
                    );
                    assert_eq!(world.send(bearer), 200, "{weather:?}");
                    world.hear(attempt, 200);
                    break;
                }
                other => panic!("{weather:?}: {other:?}"),
            }
        }
    }
    world.server.calls.len()
}

// 7.17, 1.10, 1.11, 5.17, 5.18, 5.20, 5.21, known-failures 31, 32, 33, 67
#[test]
fn no_lifetime_loops_and_no_dead_token_is_sent_whatever_the_clocks_do() {
    for seconds in [1, 5, 60, 119, 120, 121, 300, 3_600, 31_536_000] {
        for weather in [
            Weather::Fair,
            Weather::Jump(HOUR),
            Weather::Jump(-HOUR),
            Weather::Jump(DAY),
            Weather::Sleep { still: true },
            Weather::Sleep { still: false },
            Weather::NoTimers,
            Weather::HiddenOnceAMinute,
        ] {
            let lifetime = seconds * SECOND;
            let mut world = World::login(lifetime);
            world.server.lifetime = lifetime;
            // Out of step with every lifetime, so that no clock changes right after a refresh.
            let step = if seconds == 1 { 350 } else { 1_700 };
            let duration = (4 * lifetime).clamp(10 * MINUTE, 3 * HOUR);
            let calls = live(&mut world, weather, step, duration);
            let lead = if seconds < 10 {
                0
            } else {
                (lifetime / 2).min(2 * MINUTE)
            };
            // The jump may cost one, and the end of a life may fall into the last step.
            let most = usize::try_from(duration / (lifetime - lead)).unwrap() + 2;
            assert!(calls <= most, "{seconds} s, {weather:?}: {calls} > {most}");
            let least = usize::try_from(duration / (lifetime + 2 * step)).unwrap();
            assert!(
                calls >= least,
                "{seconds} s, {weather:?}: {calls} < {least}"
            );
            assert_eq!(world.server.statuses(401), 0);
        }
    }
}
