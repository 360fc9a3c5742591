//! Refreshes that bring tokens which nobody takes.

use crate::*;
use keepfresh::policy::Limits;

// 2.13, 2.15: calm weather, whenever it comes, is told and seen
#[test]
fn a_storm_that_calms_down_while_refreshing_is_paused_ends_when_the_pause_does() {
    let mut world = World::with(Config {
        limits: Limits {
            max_failures: 2,
            cooldown: 5 * MINUTE,
        },
        ..Config::default()
    })
    .signed_in(DAY);
    for _ in 0..3 {
        always_401(&mut world);
    }
    world.events();
    world.busy(4 * MINUTE, false);
    assert_eq!(world.status(), Status::Degraded);
    world.busy(2 * MINUTE, false);
    assert_eq!(world.events(), ["circuit_closed"]);
    assert_eq!(world.status(), Status::Authenticated);
}

// 2.13, 2.12, 2.15: what storage remembers of a storm that is over does not bring it back
#[test]
fn a_look_at_storage_does_not_reopen_the_circuit_of_a_storm_that_is_over() {
    let mut world = World::login(DAY);
    for _ in 0..3 {
        always_401(&mut world);
    }
    world.pass(31 * SECOND);
    always_401(&mut world);
    let (_, opened_at, _) = world.stored.record.as_ref().unwrap().breaker.parts();
    assert!(opened_at.is_some(), "storage knows of it");
    world.busy(2 * MINUTE, false);
    assert_eq!(world.status(), Status::Authenticated);
    world.events();
    for _ in 0..3 {
        world.adopt();
        assert_eq!(world.request(), Outcome::Got(200));
    }
    assert_eq!(world.status(), Status::Authenticated);
    assert_eq!(world.events(), [""; 0]);
    assert!(world.refresh_now().is_some());
}
