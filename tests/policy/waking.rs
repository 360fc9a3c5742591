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
