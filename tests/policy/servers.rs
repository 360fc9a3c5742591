//! What servers of each kind say to a refresh, and what it does to the session.

use crate::*;
use keepfresh::policy::Preset;

/// A session at a server of that kind, whose token is past its end.
fn at_server(preset: &str) -> World {
    let preset = Preset::named(preset).expect("a preset");
    let mut world = World::with(Config {
        dead_codes: preset.dead_codes,
        codes_in_body: preset.codes_in_body,
        ..Config::default()
    })
    .signed_in(MINUTE);
    world.pass(2 * MINUTE);
    world
}

fn refresh_answered(world: &mut World, answer: RefreshAnswer) -> Option<Commit> {
    world.server.script.push_back(answer);
    world.refresh_now()
}

/// Applies an answer with a roll of the dice.
fn refresh_rolled(world: &mut World, answer: RefreshAnswer, roll: f64) -> Commit {
    world.adopt();
    let wanted = world.policy.generation();
    let plan = world.policy.plan_refresh(wanted, world.now, true);
    let (timing, stored) = (world.timing(0), world.stored.clone());
    let plan = plan.expect("a plan");
    let commit = world
        .policy
        .finish_refresh(&plan, answer, timing, &stored, roll);
    world.apply(commit.clone());
    commit
}

fn counted(world: &World) -> u32 {
    world.policy.record().expect("a session").breaker.parts().0
}

// --- Another moment, please ------------------------------------------------------------------------

// 2.5: 409 says that another refresh is under way, and its token may be in storage in a moment
#[test]
fn after_a_conflict_there_is_one_retry_within_two_seconds_which_is_not_counted() {
    for (roll, pause) in [(0.0, 500), (0.5, 1_250), (0.999, 1_998)] {
        let mut world = World::login(HOUR);
        world.pass(59 * MINUTE);
        let wanted = world.policy.generation();
        let commit = refresh_rolled(&mut world, refused(409, None), roll);
        assert_eq!(commit, Commit::Store);
        // The token lives, and yet the retry is awaited.
        assert_eq!(world.policy.retry_in(wanted, world.now), Some(pause));
        assert_eq!(
            (counted(&world), world.status()),
            (0, Status::Authenticated)
        );
        world.pass(pause - 1);
        assert_eq!(world.refresh_now(), None);
        world.pass(1);
        assert_eq!(world.refresh_now(), Some(Commit::Store));
        assert_eq!(world.token().as_deref(), Some("access-2"));
    }
}

// 2.5, 5.5: what the other refresh brought is taken, and nobody is called
#[test]
fn after_a_conflict_storage_is_looked_at_before_the_server_is_called() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    refresh_answered(&mut world, refused(409, None));
    let theirs = world.other_tab_refreshes();
    let pause = world.policy.retry_in(wanted, world.now).expect("a retry");
    world.pass(pause);
    assert_eq!(world.refresh(wanted), None);
    assert_eq!(world.server.calls, ["refresh-1"]);
    assert_eq!(world.token(), Some(theirs));
    assert_eq!(world.policy.refresh_outcome(wanted, world.now), Ok(()));
}

// 2.5, 2.6: a server that says for how long is believed
#[test]
fn a_conflict_with_retry_after_waits_for_that_long() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    refresh_answered(&mut world, wait_for(409, 20 * SECOND));
    world.pass(20 * SECOND - 1);
    assert_eq!(world.refresh_now(), None);
    world.pass(1);
    assert!(world.refresh_now().is_some());
}

// 2.5, 2.10, 2.14: and nobody waits for more than one
#[test]
fn a_second_conflict_is_not_waited_out_by_callers() {
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    world.server.script.extend(vec![refused(409, None); 9]);
    world.refresh_awaited(wanted);
    assert_eq!(world.server.calls.len(), 2);
    assert_eq!(world.policy.retry_in(wanted, world.now), None);
    assert_eq!(world.refresh_now(), None, "a pause");
    assert_eq!(counted(&world), 0);
    let outcome = world.policy.refresh_outcome(wanted, world.now);
    assert_eq!(outcome.unwrap_err().status, Some(409));
}

// 2.5, 2.10, known-failures 26, 35: however long it lasts
#[test]
fn waiting_as_asked_is_no_loop() {
    for answer in [refused(409, None), refused(429, None)] {
        let mut world = World::login(MINUTE);
        let endless = vec![answer.clone(); 10_000];
        world.server.script.extend(endless);
        while world.now.wall < START + DAY {
            world.pass(SECOND);
            world.request();
            world.timer_tick();
        }
        let calls = world.server.calls.len();
        assert!(calls <= 24 * 12 + 20, "{answer:?}: {calls} calls in a day");
        assert!(world.policy.session().is_some_and(|session| !session.dead));
        assert!(!world.events().contains(&"circuit_opened"));
    }
}

// 2.5: RFC 8470 §5.2
#[test]
fn an_early_request_goes_out_once_more_at_once_and_then_it_is_a_fault_like_any_other() {
    let mut world = World::login(HOUR);
    world.pass(59 * MINUTE);
    let wanted = world.policy.generation();
    world.server.script.extend(vec![refused(425, None); 2]);
    world.refresh(wanted);
    assert_eq!(world.policy.retry_in(wanted, world.now), Some(0));
    assert_eq!(
        (counted(&world), world.policy.retry_at(world.now)),
        (0, None)
    );
    world.refresh(wanted);
    assert_eq!(world.server.calls.len(), 2);
    // The token lives, so nobody waits for a third.
    assert_eq!(world.policy.retry_in(wanted, world.now), None);
    assert_eq!(counted(&world), 1);
    assert_eq!(world.refresh_now(), None, "backoff");
    world.pass(SECOND);
    world.refresh_now();
    // With the new credential it may be too early once more.
    world.server.script.push_back(refused(425, None));
    let wanted = world.policy.generation();
    world.refresh(wanted);
    assert_eq!(world.policy.retry_in(wanted, world.now), Some(0));
    assert_eq!(counted(&world), 0);
}

// 2.10, 2.12: one probe, whatever it is answered
#[test]
fn a_probe_that_is_too_early_is_not_repeated_at_once() {
    let mut world = World::login(HOUR);
    opened(&mut world);
    world.pass(30 * SECOND);
    let wanted = world.policy.generation();
    refresh_answered(&mut world, refused(425, None));
    assert_eq!(world.policy.retry_in(wanted, world.now), None);
}

// --- The codes of each kind ------------------------------------------------------------------------

/// What a refusal is taken for.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Over(Dead),
    Config,
    Counted,
    NotCounted,
}

fn seen(preset: &str, answer: RefreshAnswer) -> Seen {
    let mut world = at_server(preset);
    let commit = refresh_answered(&mut world, answer);
    if let Some(Commit::Clear(_, dead)) = commit {
        let reauth = Output::Event(Event::ReauthRequired(dead));
        assert!(world.outputs().contains(&reauth));
        return Seen::Over(dead);
    }
    assert_eq!(commit, Some(Commit::Store));
    let error = world.policy.last_failure().expect("a failure");
    match error.code {
        Code::Config => Seen::Config,
        _ if counted(&world) > 0 => Seen::Counted,
        _ => Seen::NotCounted,
    }
}

// 1.18, 2.5, 2.10
#[test]
fn each_kind_of_server_has_its_own_words_for_a_dead_credential() {
    use Dead::{Expired, Revoked};
    for (preset, status, code, expected) in [
        ("oauth2", 400, "invalid_grant", Seen::Over(Expired)),
        ("oauth2", 401, "invalid_request", Seen::Config),
        ("oauth2", 400, "invalid_request", Seen::Config),
        ("oauth2", 401, "invalid_client", Seen::Config),
        // Passport on league/oauth2-server 9.x, then 8.x.
        ("passport", 400, "invalid_grant", Seen::Over(Expired)),
        ("passport", 401, "invalid_request", Seen::Over(Expired)),
        ("passport", 400, "invalid_request", Seen::Config),
        ("passport", 401, "invalid_client", Seen::Config),
        ("passport", 401, "access_denied", Seen::Over(Expired)),
        ("sanctum", 401, "TOKEN_EXPIRED", Seen::Over(Expired)),
        ("sanctum", 401, "TOKEN_REVOKED", Seen::Over(Revoked)),
        ("sanctum", 401, "Unauthenticated.", Seen::Over(Expired)),
        ("django", 401, "", Seen::Over(Expired)),
        ("simplejwt", 401, "token_not_valid", Seen::Over(Expired)),
        ("simplejwt", 401, "no_active_account", Seen::Over(Revoked)),
        ("simplejwt", 401, "password_changed", Seen::Over(Revoked)),
        (
            "supabase",
            400,
            "refresh_token_not_found",
            Seen::Over(Revoked),
        ),
        (
            "supabase",
            400,
            "refresh_token_already_used",
            Seen::Over(Revoked),
        ),
        ("supabase", 400, "session_expired", Seen::Over(Expired)),
        ("supabase", 400, "session_not_found", Seen::Over(Revoked)),
        ("supabase", 403, "session_expired", Seen::Over(Expired)),
        ("supabase", 403, "session_not_found", Seen::Over(Revoked)),
        ("supabase", 400, "validation_failed", Seen::Config),
        ("supabase", 409, "conflict", Seen::NotCounted),
        ("supabase", 429, "over_request_rate_limit", Seen::NotCounted),
        ("supabase", 429, "session_not_found", Seen::NotCounted),
        ("supabase", 500, "session_not_found", Seen::Counted),
        ("cookie", 401, "", Seen::Over(Expired)),
    ] {
        let code = Some(code).filter(|code| !code.is_empty());
        let got = seen(preset, refused(status, code));
        assert_eq!(got, expected, "{preset}: {status} {code:?}");
    }
}

// 1.17, 1.16, 2.5: codes of another endpoint, and errors in the clothes of a success
#[test]
fn an_error_is_an_error_whatever_status_it_comes_with() {
    for (status, code, expected) in [
        (400, "server_error", Seen::Counted),
        (400, "temporarily_unavailable", Seen::Counted),
        (401, "temporarily_unavailable", Seen::Counted),
        (503, "temporarily_unavailable", Seen::Counted),
        (200, "server_error", Seen::Counted),
        (200, "invalid_grant", Seen::Over(Dead::Expired)),
        (200, "invalid_client", Seen::Config),
        (200, "whatever", Seen::Counted),
    ] {
        let got = seen("oauth2", refused(status, Some(code)));
        assert_eq!(got, expected, "{status} {code}");
    }
}

// 2.3, 1.18: where the token is the credential, a revoked credential is a revoked token
#[test]
fn a_revoked_sanctum_token_is_dropped_at_once_and_an_expired_credential_is_not() {
    let mut world = World::sanctum(HOUR);
    world.pass(59 * MINUTE);
    let gone = refresh_answered(&mut world, refused(401, Some("TOKEN_REVOKED")));
    assert_eq!(gone, Some(Commit::Clear("ada".to_owned(), Dead::Revoked)));
    assert!(world.policy.session().is_none() && world.stored.record.is_none());
    assert_eq!(world.events(), ["reauth_required"]);
    let mut attempt = world.begin();
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: false });
    let told = world.policy.ending().expect("an ending");
    assert_eq!((told.dead, told.status), (Some(Dead::Revoked), Some(401)));
    // Everywhere else the access token is another token than the one that was refused.
    for mut world in [World::login(HOUR), cookies(HOUR)] {
        world.pass(59 * MINUTE);
        let kept = refresh_answered(&mut world, refused(401, Some("TOKEN_REVOKED")));
        assert_eq!(kept, Some(Commit::Store));
        assert_eq!(world.request(), Outcome::Got(200));
        assert_eq!(world.events(), ["reauth_required"]);
    }
}

// --- What the app says of an answer ----------------------------------------------------------------

fn told(status: u16, auth_error: bool) -> Answer<'static> {
    Answer {
        auth_error: Some(auth_error),
        ..answer(status)
    }
}

// 2.7, known-failures 53
#[test]
fn an_app_may_call_another_status_an_error_of_the_token_and_a_401_none() {
    let mut world = World::login(HOUR);
    let mut attempt = world.begin();
    world.next(&mut attempt);
    let verdict = world
        .policy
        .on_response(&mut attempt, told(401, false), world.now);
    assert_eq!(verdict, Verdict::Done);
    assert_eq!(world.policy.metrics().unauthorized, 0);
    assert_eq!(
        world.request(),
        Outcome::Got(200),
        "nothing is held against it"
    );
    assert_eq!(world.server.calls.len(), 0);
    let mut attempt = world.begin();
    world.next(&mut attempt);
    let verdict = world
        .policy
        .on_response(&mut attempt, told(403, true), world.now);
    assert_eq!(verdict, Verdict::Again);
    assert_eq!(world.run(&mut attempt, 403), Outcome::Got(200));
    assert_eq!(world.server.calls, ["refresh-1"]);
    assert_eq!(world.policy.metrics().replays, 1);
}

// 3.10, 2.13, known-failures 4: an app that calls everything an error makes no loop
#[test]
fn an_app_that_always_says_yes_costs_one_refresh_and_one_replay_and_then_a_pause() {
    let mut world = World::login(HOUR);
    for _ in 0..50 {
        let mut attempt = world.begin();
        let mut sends = 0;
        loop {
            match world.next(&mut attempt) {
                Step::Refresh(wanted) => {
                    world.refresh(wanted);
                }
                Step::Send { .. } => {
                    sends += 1;
                    let said = told(403, true);
                    let verdict = world.policy.on_response(&mut attempt, said, world.now);
                    if verdict == Verdict::Done {
                        break;
                    }
                }
                Step::Return => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(sends <= 2, "{sends}");
    }
    assert_eq!(world.server.calls.len(), 3);
    assert!(world.policy.session().is_some());
}

// 2.13, 2.7: nor is an answer that the app calls fine, or an error, a token that was taken
#[test]
fn only_a_success_shows_that_a_token_is_taken() {
    let mut world = World::login(HOUR);
    let (mut first, mut second) = (world.begin(), world.begin());
    world.next(&mut first);
    world.next(&mut second);
    assert_eq!(world.hear(&mut first, 401), Verdict::Again);
    for said in [told(401, false), answer(403), answer(500)] {
        world.policy.on_response(&mut second, said, world.now);
        let asked = world.policy.token_for(None, world.now);
        assert!(asked.is_err(), "the token is still refused: {said:?}");
    }
    world
        .policy
        .on_response(&mut second, answer(204), world.now);
    assert!(world.policy.token_for(None, world.now).is_ok());
}

// 3.5, known-failures 54: RFC 9470, and 3.14
#[test]
fn a_challenge_for_another_step_reaches_the_caller_and_refreshes_nothing() {
    for error in ["insufficient_user_authentication", "insufficient_scope"] {
        let mut world = World::login(HOUR);
        let challenge = format!(r#"Bearer error="{error}", acr_values="myACR", max_age=5"#);
        for _ in 0..3 {
            let mut attempt = world.begin();
            assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
            let asked = Answer {
                challenge: Some(&challenge),
                ..answer(401)
            };
            let verdict = world.policy.on_response(&mut attempt, asked, world.now);
            assert_eq!(verdict, Verdict::Done, "{error}");
        }
        assert_eq!(world.request(), Outcome::Got(200), "with the same token");
        assert_eq!(world.server.calls.len(), 0);
        assert_eq!(world.events(), [""; 0]);
    }
}

// --- Cookies ---------------------------------------------------------------------------------------

/// Somebody whose tokens are cookies.
fn cookies(lifetime: i64) -> World {
    let mut world = World::with(Config {
        cookie_refreshes: true,
        csrf: true,
        ..Config::default()
    });
    world.server.cookie = Some(String::new());
    world.signed_in(lifetime)
}

// 6.26, 3.17: the token is never here, and all rules hold
#[test]
fn where_tokens_are_cookies_a_401_refreshes_and_replays_all_the_same() {
    let mut world = cookies(HOUR);
    assert_eq!(world.request(), Outcome::Got(200));
    world.server_forgets();
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.calls, ["access-1"]);
    assert_eq!(world.server.statuses(401), 1);
    world.pass(2 * HOUR);
    assert_eq!(world.request(), Outcome::Got(200));
    assert_eq!(world.server.statuses(401), 1, "refreshed ahead");
    let session = world.policy.session().expect("a session");
    assert_eq!(
        (&session.access_token, &session.refresh_token),
        (&None, &None)
    );
    assert_eq!(session.rotation, 2);
    assert_eq!(world.policy.token_for(None, world.now), Ok(None));
    assert_eq!(world.events(), ["refreshed", "refreshed"]);
}

// 6.26, 5.5, 5.8: what tells the tabs apart is the rotation
#[test]
fn where_tokens_are_cookies_a_tab_takes_over_the_refresh_of_another() {
    let mut world = cookies(MINUTE);
    let mut other = copy_of(&world);
    world.pass(2 * MINUTE);
    world.refresh_now();
    other.now = world.now;
    other.stored = world.stored.clone();
    let wanted = other.policy.generation();
    assert_eq!(other.refresh(wanted), None, "done already");
    assert_eq!(other.policy.refresh_outcome(wanted, other.now), Ok(()));
    assert_eq!(other.events(), ["refreshed"]);
    for noted in [None, Some(0), Some(1), Some(9)] {
        assert!(!world.policy.is_behind(noted), "one jar for all tabs");
    }
}

// 6.26, 2.10: the end of such a session
#[test]
fn where_tokens_are_cookies_a_refused_refresh_ends_the_session_once() {
    let mut world = cookies(MINUTE);
    world.pass(2 * MINUTE);
    let over = refresh_answered(&mut world, refused(401, None));
    assert_eq!(over, Some(Commit::Clear("ada".to_owned(), Dead::Expired)));
    world.adopt();
    for _ in 0..5 {
        world.request();
        world.timer_tick();
        world.pass(MINUTE);
    }
    assert_eq!(world.server.calls.len(), 1);
    assert_eq!(world.events(), ["reauth_required"]);
    assert_eq!(world.status(), Status::ReauthRequired);
}

// 6.26, 5.11, known-failures 38, 39: what came too late is to be undone at the server
#[test]
fn where_tokens_are_cookies_a_refresh_that_returns_after_a_logout_is_revoked() {
    let mut world = cookies(MINUTE);
    world.pass(2 * MINUTE);
    let plan = world
        .policy
        .plan_refresh(world.policy.generation(), world.now, true)
        .expect("a plan");
    assert_eq!(plan.credential, None);
    world.policy.sign_out(world.now);
    world.bury("ada", None);
    let late = RefreshAnswer::Tokens(world.server.issue());
    let (timing, stored) = (world.timing(0), world.stored.clone());
    let commit = world
        .policy
        .finish_refresh(&plan, late, timing, &stored, 0.0);
    assert!(matches!(commit, Commit::Revoke(_)), "{commit:?}");
    assert_eq!(world.status(), Status::SignedOut);
}

// 6.22, 2.5, known-failures 55
#[test]
fn a_419_primes_once_and_leaves_the_budget_for_a_401_alone() {
    let mut world = cookies(HOUR);
    let mut attempt = world.begin();
    world.next(&mut attempt);
    assert_eq!(world.hear(&mut attempt, 419), Verdict::Prime);
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Again);
    world.server_forgets();
    assert_eq!(world.run(&mut attempt, 401), Outcome::Got(200));
    assert_eq!(world.server.calls.len(), 1);
    // The other way round, and twice.
    let mut attempt = world.begin();
    world.next(&mut attempt);
    assert_eq!(world.hear(&mut attempt, 401), Verdict::Again);
    let Step::Refresh(wanted) = world.next(&mut attempt) else {
        panic!("it refreshes");
    };
    world.refresh(wanted);
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
    assert_eq!(world.hear(&mut attempt, 419), Verdict::Prime);
    assert_eq!(world.next(&mut attempt), Step::Send { bearer: true });
    assert_eq!(world.hear(&mut attempt, 419), Verdict::Done, "once only");
    assert_eq!(world.server.calls.len(), 2);
}

// 2.7, 6.22, 4.10, 3.7
#[test]
fn a_419_is_the_callers_where_no_csrf_token_can_help() {
    let spent = Answer {
        replayable: false,
        ..answer(419)
    };
    let away = Answer {
        redirected_away: true,
        ..answer(419)
    };
    for (mut world, answer) in [
        (World::login(HOUR), answer(419)),
        (cookies(HOUR), spent),
        (cookies(HOUR), away),
    ] {
        let mut attempt = world.begin();
        world.next(&mut attempt);
        let verdict = world.policy.on_response(&mut attempt, answer, world.now);
        assert_eq!(verdict, Verdict::Done, "{answer:?}");
    }
}

// 3.8, 7.14: nor is the request of one person primed and sent as another
#[test]
fn a_request_that_was_primed_while_somebody_else_signed_in_returns_its_419() {
    let mut world = cookies(HOUR);
    let mut attempt = world.begin();
    world.next(&mut attempt);
    assert_eq!(world.hear(&mut attempt, 419), Verdict::Prime);
    world.sign_in("grace");
    assert_eq!(world.next(&mut attempt), Step::Return);
}

// --- Sessions without a refresh credential -----------------------------------------------------------

/// Somebody whose server gave an access token only.
fn keyless(strict: bool) -> World {
    let mut world = World::with(Config {
        strict,
        ..Config::default()
    });
    world.server.single = true;
    world.signed_in(HOUR)
}

// 1.12, 2.15
#[test]
fn a_401_without_a_refresh_credential_asks_for_a_sign_in_once_and_a_success_takes_it_back() {
    let mut world = keyless(false);
    world.server_forgets();
    for _ in 0..3 {
        assert_eq!(world.request(), Outcome::Got(401));
    }
    assert_eq!(world.events(), ["reauth_required"]);
    assert_eq!(world.status(), Status::ReauthRequired);
    assert_eq!(world.policy.poll_timeout(world.now), None);
    assert_eq!(world.server.calls.len(), 0);
    world.server.accepted.push("access-1".to_owned());
    assert_eq!(world.request(), Outcome::Got(200), "one endpoint said so");
    assert_eq!(world.status(), Status::Authenticated);
    assert_eq!(world.policy.ending(), None);
}

// 1.12, 2.11: what is told of it is not that a later try may help
#[test]
fn strict_mode_says_that_a_session_without_a_refresh_credential_is_over() {
    let mut world = keyless(true);
    world.server_forgets();
    assert_eq!(world.request(), Outcome::Got(401));
    assert_eq!(world.request(), Outcome::Failed(Code::TokenExpired));
    assert!(!Code::TokenExpired.retryable());
    assert_eq!(world.server.seen.len(), 1);
}

// --- Copies of a tab ---------------------------------------------------------------------------------

// 5.9, known-failures 69
#[test]
fn only_a_newer_credential_makes_a_copy_fall_behind() {
    // This server rotates, the next one gives access tokens only.
    let mut world = World::login(HOUR);
    world.refresh_now();
    let session = world.policy.session().expect("a session");
    assert_eq!((session.rotation, session.credential_since), (1, 1));
    assert!(!world.policy.is_behind(None));
    assert!(!world.policy.is_behind(Some(1)));
    assert!(world.policy.is_behind(Some(2)));
    let mut world = World::login(HOUR);
    for number in 2..5 {
        let bare = tokens(&format!("access-{number}"), None, Some(HOUR));
        refresh_answered(&mut world, RefreshAnswer::Tokens(bare));
    }
    let session = world.policy.session().expect("a session");
    assert_eq!((session.rotation, session.credential_since), (3, 0));
    assert!(!world.policy.is_behind(Some(0)));
    // With Sanctum the access token is the credential.
    let mut world = World::sanctum(HOUR);
    world.refresh_now();
    assert_eq!(world.policy.session().unwrap().credential_since, 1);
    assert!(
        !World::new().policy.is_behind(Some(1)),
        "nobody is signed in"
    );
}

// 5.9, 7.16, known-failures 69: its own credential is spent, so the server is not called
#[test]
fn a_copy_that_nobody_helps_keeps_its_token_and_gives_itself_up_alone() {
    let mut world = World::login(10 * MINUTE);
    world.pass(8 * MINUTE + SECOND);
    let wanted = world.policy.generation();
    let mut commits = Vec::new();
    for _ in 0..3 {
        commits.push(world.policy.left_behind(wanted, world.now, 0.0));
        let again = world.policy.left_behind(wanted, world.now, 0.0);
        assert_eq!(again, Commit::Keep, "not before the pause is over");
        assert_eq!(world.request(), Outcome::Got(200), "its token lives");
        world.pass(31 * SECOND);
    }
    assert_eq!(commits, [Commit::Store, Commit::Store, Commit::Store]);
    assert_eq!(world.server.calls.len(), 0);
    assert_eq!(world.policy.metrics().refreshes, 0);
    assert_eq!(world.status(), Status::ReauthRequired);
    // Without a token that lives there is nothing to keep; the login itself is not over.
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    for commit in [
        Commit::Store,
        Commit::Store,
        Commit::Abandon("ada".to_owned()),
    ] {
        assert_eq!(world.policy.left_behind(wanted, world.now, 0.0), commit);
        world.pass(5 * MINUTE);
    }
    // Somebody who moved on meanwhile is not behind.
    let mut world = World::login(MINUTE);
    world.pass(2 * MINUTE);
    let wanted = world.policy.generation();
    world.refresh_now();
    let late = world.policy.left_behind(wanted, world.now, 0.0);
    assert_eq!(late, Commit::Keep);
    assert_eq!(world.status(), Status::Authenticated);
}
