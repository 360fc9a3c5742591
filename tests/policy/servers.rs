//! What servers of each kind say, and what it does to the session.

use crate::*;

// 2.5, 2.10, known-failures 26, 35: however long it lasts
#[test]
fn waiting_as_asked_is_no_loop() {
    for answer in [refused(409, None), refused(429, None)] {
        let mut world = World::login(MINUTE);
        let endless = vec![answer.clone(); 10_000];
        world.server.script.extend(endless);
        let mut calls = 0;
        while world.now.wall < START + DAY {
            world.pass(SECOND);
            world.request();
            world.timer_tick();
            calls = world.server.calls.len();
        }
        assert!(calls <= 24 * 12 + 20, "{answer:?}: {calls} calls in a day");
        assert!(world.policy.session().is_some_and(|session| !session.dead));
        assert!(!world.events().contains(&"circuit_opened"));
    }
}
