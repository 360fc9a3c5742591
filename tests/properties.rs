//! Hostile input for every parser, and random lives for the policy as a whole. `PROPTEST_CASES`
//! scales how much of it (256 cases each by default).
#![cfg(not(target_arch = "wasm32"))]

use keepfresh::policy::{
    Answer, Attempt, Body, Breaker, Class, Commit, Config, Dead, Dialect, Event, Failure, Field,
    Generation, Lifetimes, Now, Origins, Output, Policy, Preset, Record, RefreshAnswer,
    RefreshPlan, Secret, Session, Status, Step, Stored, Timing, TokenFields, TokenSet, Tombstone,
    Unusable, Verdict, bearer_error, classify, error_code, http_date, instant, iso8601,
    jwt_payload, read_tokens, refuses_csrf, reports_error, retry_after,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::Cell;

const START: i64 = 1_763_640_000_000;
const TEN_YEARS: i64 = 10 * 365 * 86_400_000;
const HOUR: i64 = 3_600_000;

/// A JSON value as the browser's shell would look at it: own members at a dotted path.
struct Json(Value);

impl Body for Json {
    fn get(&self, path: &str) -> Field {
        let found = path
            .split('.')
            .try_fold(&self.0, |value, name| value.as_object()?.get(name));
        match found {
            Some(Value::Number(number)) => number.as_f64().map_or(Field::Other, Field::Number),
            Some(Value::String(text)) => Field::Text(text.clone()),
            Some(Value::Bool(flag)) => Field::Flag(*flag),
            None | Some(Value::Null) => Field::Absent,
            _ => Field::Other,
        }
    }
}

fn dialect(unit: i64, untyped: bool) -> Dialect {
    Dialect {
        fields: TokenFields::default(),
        unit,
        untyped,
        tokenless: false,
    }
}

fn at(wall: i64) -> Now {
    Now { wall, mono: wall }
}

// --- Token responses (behaviour.md §1) -----------------------------------------------------------

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[0-9]{1,20}".prop_map(Value::from),
        hostile_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((member_name(), inner), 0..6)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("NaN".to_owned()),
        Just("1e308".to_owned()),
        Just("-1".to_owned()),
        Just("1h".to_owned()),
        Just("a\r\nX-Evil: 1".to_owned()),
        Just("12|plaintext".to_owned()),
        Just("e30.eyJleHAiOjF9.c2ln".to_owned()),
        Just("2025-11-20T12:00:00+99:99".to_owned()),
        Just("9999-12-31T24:60:60Z".to_owned()),
        Just("9".repeat(400)),
    ]
}

/// This text with a few letters changed, removed, doubled or cut off.
fn bent(text: &'static str) -> impl Strategy<Value = String> {
    let change = (any::<u16>(), 0_u8..5, prop::char::any());
    prop::collection::vec(change, 0..5).prop_map(|changes| {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, kind, letter) in changes {
            let place = usize::from(place) % letters.len().max(1);
            match kind {
                _ if letters.is_empty() => letters.push(letter),
                0 => letters[place] = letter,
                1 => drop(letters.remove(place)),
                2 => letters.insert(place, letters[place]),
                3 => letters.insert(place, ['"', ',', '=', '.', ':', '-', '9'][place % 7]),
                _ => letters.truncate(place),
            }
        }
        letters.into_iter().collect()
    })
}

fn member_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "access_token",
            "token",
            "accessToken",
            "access",
            "refresh_token",
            "refresh",
            "expires_in",
            "expiresIn",
            "expires_in_minutes",
            "expires_at",
            "token_type",
            "refresh_expires_in",
            "__proto__",
            "constructor",
            "data",
            "error",
            "code",
        ])
        .prop_map(str::to_owned),
        ".{0,10}",
    ]
}

proptest! {
    // behaviour.md 1.1, 1.2, 1.5, 1.15, 1.16, 7.25
    #[test]
    fn any_json_is_a_token_response_or_unusable(
        body in any_json(),
        unit in prop::sample::select(vec![1, 1000]),
        untyped: bool,
    ) {
        let body = Json(body);
        if let Ok(tokens) = read_tokens(&body, &dialect(unit, untyped)) {
            prop_assert!(tokens.access_token.as_ref().unwrap().reveal().bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(!tokens.access_token.as_ref().unwrap().reveal().is_empty());
            for lifetime in [tokens.lifetimes.relative, tokens.refresh_lifetime].into_iter().flatten() {
                prop_assert!((1..=TEN_YEARS).contains(&lifetime), "{lifetime}");
            }
        }
        if let Some(code) = error_code(&body) {
            prop_assert!((1..=64).contains(&code.len()));
        }
    }

    // behaviour.md 1.1: what is not an object holds no token
    #[test]
    fn lists_texts_and_numbers_hold_no_token(body in prop_oneof![
        Just(Value::Null), any::<i64>().prop_map(Value::from), ".{0,40}".prop_map(Value::from),
        prop::collection::vec(any_json(), 0..4).prop_map(Value::from),
    ]) {
        prop_assert_eq!(read_tokens(&Json(body), &dialect(1000, true)), Err(Unusable::Malformed));
    }

    // behaviour.md 1.3
    #[test]
    fn only_bearer_tokens_are_used(kind in "[A-Za-z-]{0,10}") {
        let body = Json(json!({"access_token": "a", "token_type": kind}));
        let usable = read_tokens(&body, &dialect(1000, false)).is_ok();
        prop_assert_eq!(usable, kind.eq_ignore_ascii_case("bearer"));
    }

    // behaviour.md 1.12
    #[test]
    fn an_empty_or_strange_refresh_token_is_none(value in prop_oneof![
        Just(json!(null)), Just(json!("")), Just(json!(5)), Just(json!([])), Just(json!("a b")), Just(json!(true)),
    ]) {
        let body = Json(json!({"access_token": "a", "refresh_token": value}));
        prop_assert_eq!(read_tokens(&body, &dialect(1000, true)).unwrap().refresh_token, None);
    }

    // behaviour.md 1.5: numbers and their texts are the same lifetime
    #[test]
    fn a_lifetime_is_the_same_as_a_number_and_as_a_text(seconds in 1_i64..10_000_000) {
        for value in [json!(seconds), json!(seconds.to_string()), json!(format!(" {seconds} "))] {
            let body = Json(json!({"token": "a", "expires_in": value}));
            let tokens = read_tokens(&body, &dialect(1000, true)).unwrap();
            prop_assert_eq!(tokens.lifetimes.relative, Some(seconds * 1000));
        }
    }

    // behaviour.md 1.18: custom places, and nothing else, when they are configured
    #[test]
    fn a_configured_path_is_the_only_place(
        path in "[a-z]{1,6}(\\.[a-z]{1,6}){0,3}",
        token in "[!-~]{1,30}",
    ) {
        let inner = path.rsplit('.').fold(json!(token.clone()), |value, name| json!({name: value}));
        let fields = TokenFields { access_token: Some(path.clone()), ..TokenFields::default() };
        let dialect = Dialect { fields, ..dialect(1000, true) };
        let read = read_tokens(&Json(inner), &dialect).unwrap();
        prop_assert_eq!(read.access_token.as_ref().unwrap().reveal(), token.as_str());
        if path != "token" {
            let elsewhere = Json(json!({"token": token}));
            prop_assert_eq!(read_tokens(&elsewhere, &dialect), Err(Unusable::Malformed));
        }
    }

    // behaviour.md 1.2: nothing that could split a header
    #[test]
    fn secrets_are_visible_ascii(
        text in prop_oneof!["\\PC{0,20}", "[ -~\\r\\n\\t]{0,20}", "[!-~]{0,40}"],
    ) {
        let fine = !text.is_empty() && text.chars().all(|letter| ('!'..='~').contains(&letter));
        let secret = Secret::new(text.clone());
        prop_assert_eq!(secret.is_some(), fine);
        if let Some(secret) = secret {
            prop_assert_eq!(secret.reveal(), text.as_str());
            let printed = format!("{secret:?}");
            prop_assert_eq!(printed, "Secret(..)");
        }
    }
}

/// Any dialect, with paths that lead nowhere good.
fn any_dialect() -> impl Strategy<Value = Dialect> {
    let paths = vec![
        "data.token",
        "data.access",
        "__proto__",
        "__proto__.token",
        "constructor.name",
        "",
        ".",
        "token",
        "expires_in",
    ];
    let path = move || prop::option::weighted(0.2, prop::sample::select(paths.clone()));
    let fields = (path(), path(), path(), path());
    (fields, any::<[bool; 3]>()).prop_map(|(fields, flags)| {
        let owned = |path: Option<&str>| path.map(str::to_owned);
        Dialect {
            fields: TokenFields {
                access_token: owned(fields.0),
                refresh_token: owned(fields.1),
                expires_in: owned(fields.2),
                expires_at: owned(fields.3),
            },
            unit: if flags[0] { 1 } else { 1000 },
            untyped: flags[1],
            tokenless: flags[2],
        }
    })
}

/// A token response in which one thing or another is wrong.
fn any_token_body() -> impl Strategy<Value = Value> {
    let members = prop::collection::vec((member_name(), any_member()), 0..5);
    (members, any_json(), any::<[bool; 2]>()).prop_map(|(members, data, flags)| {
        let mut body = json!({"data": data});
        if flags[0] {
            body["access_token"] = json!("a.b.c");
        }
        if flags[1] {
            body["token_type"] = json!("bearer");
        }
        for (name, value) in members {
            body[name] = value;
        }
        body
    })
}

proptest! {
    // behaviour.md 1.1, 1.2, 1.5, 1.11, 1.18, 1.20, 6.26, 7.25
    #[test]
    fn no_token_answer_in_any_dialect_makes_a_loop(
        dialect in any_dialect(),
        body in any_token_body(),
        claims in any_token_body(),
        config in any_config(),
    ) {
        let Ok(mut tokens) = read_tokens(&Json(body), &dialect) else { return Ok(()) };
        let secrets = [&tokens.access_token, &tokens.refresh_token];
        prop_assert_eq!(dialect.tokenless, tokens.access_token.is_none());
        prop_assert!(!dialect.tokenless || tokens.refresh_token.is_none());
        for secret in secrets.into_iter().flatten() {
            prop_assert!(secret.reveal().bytes().all(|byte| byte.is_ascii_graphic()));
        }
        tokens.read_claims(&Json(claims));
        let config = Config { outside: false, cookie_refreshes: dialect.tokenless, ..config };
        let mut life = Life::new(config);
        let timing = life.timing();
        life.policy.sign_in("mine".to_owned(), tokens.clone(), timing, false);
        let mut refreshes = 0;
        for _ in 0..20 {
            life.check()?;
            let Some(wait) = life.policy.poll_timeout(life.now) else { break };
            life.now.wall += wait;
            life.now.mono += wait;
            let Some(wanted) = life.policy.handle_timeout(life.now) else { continue };
            let Some(plan) = life.policy.plan_refresh(wanted, life.now, true) else { continue };
            let timing = life.timing();
            let answer = RefreshAnswer::Tokens(tokens.clone());
            life.policy.finish_refresh(&plan, answer, timing, &Stored::default(), 0.5);
            refreshes += 1;
        }
        let took = life.now.mono - START;
        prop_assert!(took >= (refreshes - 1) * 500, "{refreshes} refreshes in {took} ms");
    }

    // behaviour.md 1.16, 7.25
    #[test]
    fn any_error_body_is_a_short_code_or_none(body in any_token_body(), status: u16) {
        let body = Json(body);
        let code = error_code(&body);
        prop_assert!(code.as_ref().is_none_or(|code| (1..=64).contains(&code.len())));
        if reports_error(&body) {
            prop_assert!(matches!(body.get("error"), Field::Text(_)));
        }
        let csrf = refuses_csrf(status, code.as_deref());
        prop_assert!(!csrf || matches!(status, 403 | 419));
    }
}

// --- Moments (behaviour.md 1.5 to 1.9, 2.6) ------------------------------------------------------

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts days one year and one month at a time.
fn naive_moment(date: (i64, i64, i64), time: (i64, i64, i64)) -> i64 {
    let years: i64 = (1970..date.0)
        .map(|year| 365 + i64::from(is_leap(year)))
        .sum();
    let months: i64 = (1..date.1).map(|month| days_in(date.0, month)).sum();
    let days = years + months + date.2 - 1;
    (((days * 24 + time.0) * 60 + time.1) * 60 + time.2) * 1000
}

fn any_date() -> impl Strategy<Value = (i64, i64, i64)> {
    (1970_i64..2400, 1_i64..=12, 1_i64..=31)
        .prop_map(|(year, month, day)| (year, month, day.min(days_in(year, month))))
}

fn any_time() -> impl Strategy<Value = (i64, i64, i64)> {
    (0_i64..24, 0_i64..60, 0_i64..60)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

proptest! {
    // behaviour.md 1.8
    #[test]
    fn iso_moments_agree_with_counting_days(
        date in any_date(),
        time in any_time(),
        ms in 0_i64..1000,
        offset in -14_i64 * 60..=14 * 60,
    ) {
        let wanted = naive_moment(date, time);
        let day = format!("{:04}-{:02}-{:02}", date.0, date.1, date.2);
        let clock = format!("{:02}:{:02}:{:02}", time.0, time.1, time.2);
        let (sign, hours, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60, offset.abs() % 60);
        for (text, expected) in [
            (format!("{day}T{clock}Z"), wanted),
            (format!("{day} {clock}"), wanted),
            (format!("{day}T{clock}.{ms:03}999Z"), wanted + ms),
            (format!("{day}t{clock},{ms:03}z"), wanted + ms),
            (format!("{day}T{clock}{sign}{hours:02}:{minutes:02}"), wanted - offset * 60_000),
            (format!("{day}T{clock}{sign}{hours:02}{minutes:02}"), wanted - offset * 60_000),
            (day.clone(), naive_moment(date, (0, 0, 0))),
        ] {
            prop_assert_eq!(iso8601(&text), Some(expected), "{}", text);
            prop_assert_eq!(instant(&Field::Text(format!(" {text} "))), Some(expected), "{}", text);
        }
    }

    // RFC 9110 5.6.7
    #[test]
    fn http_dates_agree_with_counting_days(date in any_date(), time in any_time()) {
        let wanted = naive_moment(date, time);
        let weekday = DAYS[usize::try_from(wanted / 86_400_000 % 7).unwrap()];
        let month = MONTHS[usize::try_from(date.1 - 1).unwrap()];
        let (year, day) = (date.0, date.2);
        let clock = format!("{:02}:{:02}:{:02}", time.0, time.1, time.2);
        prop_assert_eq!(http_date(&format!("{weekday}, {day:02} {month} {year} {clock} GMT")), Some(wanted));
        prop_assert_eq!(http_date(&format!("{weekday} {month} {day:>2} {clock} {year}")), Some(wanted));
        if (1970..2070).contains(&year) {
            let text = format!("{weekday}day, {day:02}-{month}-{:02} {clock} GMT", year % 100);
            prop_assert_eq!(http_date(&text), Some(wanted), "{}", text);
        }
    }

    // behaviour.md 2.6: seconds or a date, never negative, never more than an hour
    #[test]
    fn retry_after_is_within_an_hour_or_nothing(text in prop_oneof![
        ".{0,30}", "[0-9]{1,30}", "-[0-9]{1,5}", "[0-9]{1,3}\\.[0-9]", bent("Thu, 01 Jan 1970 00:01:00 GMT"),
        bent("Thursday, 20-Nov-25 12:00:00 GMT"), bent("3599"),
    ], now in 0_i64..4_000_000_000_000) {
        if let Some(ms) = retry_after(&text, now) {
            prop_assert!((0..=HOUR).contains(&ms), "{text}: {ms}");
        }
    }

    // behaviour.md 2.6
    #[test]
    fn retry_after_seconds_are_exact_up_to_an_hour(
        seconds in 0_i64..10_000,
        now in 0_i64..4_000_000_000_000,
    ) {
        prop_assert_eq!(retry_after(&seconds.to_string(), now), Some((seconds * 1000).min(HOUR)));
    }

    // behaviour.md 1.8, 2.6, 7.25
    #[test]
    fn any_text_is_a_moment_or_nothing(
        text in prop_oneof![
            ".{0,40}", "[0-9TZ:+., -]{0,30}", hostile_text(), bent("2025-11-20T12:00:00.123+05:30"),
            bent("Thu Nov 20 12:00:00 2025"), bent("1763640000"),
        ],
    ) {
        for moment in [iso8601(&text), http_date(&text), instant(&Field::Text(text.clone()))].into_iter().flatten() {
            // A zone may shift the first day of 1970 a little into the past.
            prop_assert!((-400_000_000..=1_000_000_000_000_000).contains(&moment), "{text}: {moment}");
        }
    }

    // behaviour.md 1.8, 7.25
    #[test]
    fn any_number_is_a_moment_or_nothing(number: f64) {
        if let Some(moment) = instant(&Field::Number(number)) {
            prop_assert!((0..=1_000_000_000_000_000).contains(&moment), "{number}: {moment}");
        }
    }

    // behaviour.md 1.5, 1.7, 1.9: no server can hand out a dead token or an eternal one
    #[test]
    fn a_token_that_has_just_arrived_is_not_expired_and_not_eternal(
        relative in prop::option::of(1_i64..=TEN_YEARS), absolute in any_instant(), exp in any_instant(), iat in any_instant(),
        date in any_instant(), sent in 1_000_000_000_000_i64..3_000_000_000_000, took in 0_i64..10_000,
        default in prop::option::of(10_001_i64..1_000_000_000),
    ) {
        let relative = relative.map(|ms| ms.max(took + 1));
        let lifetimes = Lifetimes { relative, absolute, jwt_exp: exp, jwt_iat: iat, unreadable: false, held: false };
        let timing = Timing { sent: at(sent), received: at(sent + took), date };
        if let Some(end) = lifetimes.expires_at(&timing, default) {
            prop_assert!(end > timing.sent.wall, "{lifetimes:?} ends {} ms ago", timing.sent.wall - end);
            prop_assert!(end <= timing.received.wall + TEN_YEARS, "{lifetimes:?} ends in {} days", (end - sent) / 86_400_000);
        } else {
            prop_assert!(relative.is_none() && default.is_none());
        }
    }

    // behaviour.md 1.9, 7.18: with a readable Date the client's clock does not matter
    #[test]
    fn an_absolute_end_does_not_depend_on_the_clients_clock(
        lifetime in 60_000_i64..86_400_000,
        error in -864_000_000_i64..864_000_000,
    ) {
        let lifetimes = Lifetimes { absolute: Some(START + lifetime), ..Lifetimes::default() };
        let timing = Timing { sent: at(START + error), received: at(START + error), date: Some(START) };
        let left = lifetimes.expires_at(&timing, None).map_or(0, |end| end - START - error);
        prop_assert!((left - lifetime).abs() <= 30_000, "{left} instead of {lifetime}");
    }
}

fn any_instant() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        Just(None),
        (0_i64..4_000_000_000_000).prop_map(Some),
        any::<f64>().prop_map(|number| instant(&Field::Number(number))),
    ]
}

// --- JWT, WWW-Authenticate, origins, classes -----------------------------------------------------

fn base64url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = 0_u32;
        for index in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..=chunk.len() {
            let six = bits >> (18 - 6 * index) & 63;
            text.push(char::from(LETTERS[usize::try_from(six).unwrap()]));
        }
    }
    text
}

proptest! {
    // behaviour.md 1.20
    #[test]
    fn jwt_payloads_come_back_as_they_were(payload in "\\PC{1,60}", padded: bool) {
        let pad = if padded { "=" } else { "" };
        let token = format!("e30.{}{pad}.c2ln", base64url(payload.as_bytes()));
        prop_assert_eq!(jwt_payload(&token), Some(payload));
    }

    // behaviour.md 1.20, 7.25
    #[test]
    fn any_token_is_a_jwt_or_opaque(
        token in prop_oneof![
            "\\PC{0,60}", "[A-Za-z0-9_=+/-]{0,9}(\\.[A-Za-z0-9_=+/-]{0,9}){0,5}",
            bent("e30.eyJleHAiOjE3NjM2NDAwMDAsInN1YiI6ImEifQ.c2ln"),
        ],
    ) {
        if jwt_payload(&token).is_some() {
            prop_assert_eq!(token.matches('.').count(), 2);
        }
    }

    // behaviour.md 3.1, 3.2, 7.25
    #[test]
    fn any_challenge_is_read_or_ignored(
        header in prop_oneof![
            "\\PC{0,80}", r#"[a-zA-Z=", \\;]{0,60}"#,
            bent(r#"Basic realm="a, \"b\"", Bearer realm="api", error="invalid_token", Negotiate abc=="#),
        ],
    ) {
        if let Some(error) = bearer_error(&header) {
            prop_assert!(header.to_ascii_lowercase().contains("bearer"));
            prop_assert!(error.len() <= header.len());
        }
    }

    // behaviour.md 3.2: wherever the Bearer challenge stands, however its value is written
    #[test]
    fn the_bearer_error_is_found_among_other_challenges(
        before in prop::collection::vec(other_challenge(), 0..4), after in prop::collection::vec(other_challenge(), 0..4),
        error in "[a-z_]{1,20}", realm in "[a-z ,]{0,12}", quoted: bool, spaced in "[ ]{0,2}",
    ) {
        let value = if quoted { format!("\"{error}\"") } else { error.clone() };
        let ours = format!("BeArEr realm=\"{realm}\", error{spaced}={spaced}{value}");
        let mut all = before;
        all.push(ours);
        all.extend(after);
        prop_assert_eq!(bearer_error(&all.join(", ")), Some(error));
    }

    // behaviour.md 4.17, 6.6, 7.20: exactly this origin
    #[test]
    fn only_urls_of_an_allowed_origin_carry_the_token(
        host in "[a-z]{1,8}\\.example", other in "[a-z]{1,8}\\.example", rest in "[!-~]{0,20}", glue in "[.@:%\\\\?#a-z0-9-]{1,8}", port in 1_u16..,
    ) {
        let origins = Origins::new(&[format!("https://{host}")], vec![]);
        let (path, other_port, other_host) = (format!("https://{host}/{rest}"), format!("https://{host}:{port}/{rest}"), format!("https://{other}/{rest}"));
        prop_assert!(origins.allows(&path));
        prop_assert!(!origins.allows(&other_port));
        prop_assert_eq!(origins.allows(&other_host), host == other);
        for url in [format!("https://{host}{glue}/{rest}"), format!("http://{host}/{rest}"), format!("https://{glue}{host}/"), format!("https://{host}")] {
            prop_assert!(!origins.allows(&url), "{url}");
        }
    }

    // behaviour.md 2.5: every answer has a class, and only these are the end of a session
    #[test]
    fn every_failure_has_a_class_and_server_faults_are_never_terminal(status: u16, code in prop::option::of(prop_oneof![
        ".{0,20}", Just("invalid_grant".to_owned()), Just("TOKEN_REVOKED".to_owned()), Just("invalid_client".to_owned()),
    ])) {
        let class = classify(&Failure::Status(status, code.clone()), &[]);
        if status >= 500 || matches!(status, 408 | 409 | 425 | 429) {
            let passing = matches!(class, Class::Transient { .. } | Class::Conflict | Class::TooEarly) || status == 501 && class == Class::Config;
            prop_assert!(passing, "{status} {code:?}: {class:?}");
        }
        if matches!(class, Class::Terminal(_)) {
            prop_assert!(status == 401 || code.is_some(), "{status} {code:?}");
        }
    }
}

proptest! {
    // behaviour.md 1.18, 2.1, 2.5: a preset's own codes are dead with their status, and nothing else changes
    #[test]
    fn a_presets_own_codes_change_nothing_but_their_own_answers(
        preset in prop::sample::select(PRESETS.to_vec()),
        status in prop_oneof![400_u16..410, 300_u16..600, any::<u16>()],
        code in prop_oneof!["[a-z_]{0,12}", prop::sample::select(CODES.to_vec()).prop_map(str::to_owned)],
    ) {
        let own = Preset::named(preset).unwrap().dead_codes;
        let failure = Failure::Status(status, Some(code.clone()));
        let (usual, here) = (classify(&failure, &[]), classify(&failure, own));
        if own.contains(&(status, code.as_str())) {
            prop_assert_eq!(here, Class::Terminal(Dead::Expired));
        } else {
            prop_assert_eq!(here, usual);
        }
        let passing = matches!(status, 408 | 409 | 425 | 429 | 500..);
        prop_assert!(!passing || !matches!(here, Class::Terminal(_)), "{}: {:?}", status, here);
    }
}

const PRESETS: [&str; 7] = [
    "oauth2",
    "passport",
    "sanctum",
    "django",
    "simplejwt",
    "supabase",
    "cookie",
];
const CODES: [&str; 8] = [
    "invalid_request",
    "invalid_grant",
    "TOKEN_REVOKED",
    "session_expired",
    "refresh_token_already_used",
    "server_error",
    "invalid_client",
    "validation_failed",
];

fn other_challenge() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Negotiate abc==".to_owned()),
        Just("Basic realm=\"a, Bearer error=\\\"no\\\"\"".to_owned()),
        Just("DPoP algs=\"ES256\", error=\"use_dpop_nonce\"".to_owned()),
        Just("Digest qop=auth, error=x".to_owned()),
        Just(String::new()),
    ]
}

// behaviour.md 1.15, 3.2: on a million letters of nonsense, a parser that is not linear would sit for hours
#[test]
fn parsers_take_linear_time() {
    for letter in [
        ",",
        "\"",
        "\\",
        "Bearer ",
        "a=",
        "\"\\\"",
        "=,",
        "Bearer error=\"",
        "Bearer,",
        ".",
        "1",
        " ",
        ":",
        "-",
        "GMT ",
        "A",
    ] {
        for length in [500_000, 1_000_000] {
            let long = letter.repeat(length / letter.len());
            bearer_error(&long);
            http_date(&long);
            iso8601(&long);
            retry_after(&long, START);
            jwt_payload(&long);
            instant(&Field::Text(long.clone()));
            Secret::new(long);
        }
    }
}

// behaviour.md 3.2: however much stands before it
#[test]
fn the_bearer_error_is_found_behind_a_million_letters() {
    for before in [
        ",",
        " ,",
        "Basic ,",
        "DPoP x=y,",
        "Negotiate abc==,",
        "Bearer,",
    ] {
        let header = [
            &before.repeat(1_000_000 / before.len()),
            "Bearer error=late",
        ]
        .concat();
        assert_eq!(bearer_error(&header).as_deref(), Some("late"), "{before}");
    }
}

/// Counts how often somebody looks into it.
struct Counting(Json, Cell<u32>);

impl Body for Counting {
    fn get(&self, path: &str) -> Field {
        self.1.set(self.1.get() + 1);
        self.0.get(path)
    }
}

// behaviour.md 1.14, 1.15, 6.12: by name, so that size and depth cost nothing
#[test]
fn a_large_or_deep_answer_is_looked_into_as_often_as_a_small_one() {
    let looks = |value: Value| {
        let body = Counting(Json(value), Cell::new(0));
        let tokens = read_tokens(&body, &dialect(1000, true));
        error_code(&body);
        reports_error(&body);
        Record::read(&body, true);
        Tombstone::read(&body);
        (body.1.get(), tokens.map(|tokens| tokens.access_token))
    };
    let wide = |members: usize| {
        let mut body = json!({"access_token": "a", "__proto__": {"access_token": "b"}});
        for member in 0..members {
            body[format!("m{member}")] = json!("x".repeat(16));
        }
        body
    };
    let deep = |levels: usize| {
        let inner = (0..levels).fold(json!("x"), |inner, _| json!({"access_token": inner}));
        json!({"access_token": "a", "data": inner})
    };
    let long = |length: usize| json!({"access_token": "a", "scope": "x".repeat(length)});
    let small = looks(json!({"access_token": "a"}));
    for body in [wide(20_000), wide(40_000), deep(500), deep(1_000)] {
        assert_eq!(looks(body), small);
    }
    for body in [long(1 << 20), long(1 << 21)] {
        assert_eq!(looks(body), small);
    }
    let only_inherited = json!({"__proto__": {"access_token": "b"}});
    assert_eq!(looks(only_inherited).1, Err(Unusable::Malformed));
}

// --- The policy as a whole -----------------------------------------------------------------------

/// One thing that happens to a tab.
#[derive(Clone, Debug)]
enum Act {
    Pass(i64),
    Jump(i64),
    SignIn(Option<i64>, bool),
    SignOut,
    Begin(bool),
    Next(usize),
    Answer(usize, u16, bool),
    Code(usize, Option<&'static str>),
    Plan(bool),
    Finish(usize, Ended),
    Adopt(Other),
    Woke(bool),
    Timer,
    Visible(bool),
    Outside(Option<bool>),
}

/// How a refresh call ends.
#[derive(Clone, Debug)]
enum Ended {
    Tokens(Option<i64>, bool),
    Status(u16, Option<i64>),
    Network,
    Nobody,
}

/// What another tab did to storage.
#[derive(Clone, Debug)]
enum Other {
    Nothing,
    Refreshed,
    SignedOut,
    SignedIn,
    Died,
    Cleared,
}

fn any_act() -> impl Strategy<Value = Act> {
    let lifetime = prop_oneof![
        Just(None),
        prop::sample::select(vec![1_i64, 5_000, 60_000, 120_000, HOUR, TEN_YEARS]).prop_map(Some)
    ];
    let ended = prop_oneof![
        4 => (lifetime.clone(), any::<bool>()).prop_map(|(lifetime, bare)| Ended::Tokens(lifetime, bare)),
        3 => (prop::sample::select(vec![400_u16, 401, 403, 404, 409, 429, 500, 503]), prop::option::of(0_i64..HOUR))
            .prop_map(|(status, wait)| Ended::Status(status, wait)),
        1 => Just(Ended::Network),
        1 => Just(Ended::Nobody),
    ];
    let other = prop_oneof![
        Just(Other::Nothing),
        Just(Other::Refreshed),
        Just(Other::SignedOut),
        Just(Other::SignedIn),
        Just(Other::Died),
        Just(Other::Cleared),
    ];
    prop_oneof![
        4 => (0_i64..200_000).prop_map(Act::Pass),
        1 => prop_oneof![-100 * HOUR..100 * HOUR, -1_000_000 * HOUR..1_000_000 * HOUR].prop_map(Act::Jump),
        1 => (lifetime, any::<bool>()).prop_map(|(lifetime, bare)| Act::SignIn(lifetime, bare)),
        1 => Just(Act::SignOut),
        4 => any::<bool>().prop_map(Act::Begin),
        8 => (0_usize..8).prop_map(Act::Next),
        8 => (0_usize..8, prop::sample::select(vec![0_u16, 200, 204, 401, 401, 403, 500]), any::<bool>())
            .prop_map(|(index, status, replayable)| Act::Answer(index, status, replayable)),
        2 => (0_usize..8, prop::sample::select(vec![None, Some("TOKEN_EXPIRED"), Some("TOKEN_REVOKED"), Some("x")]))
            .prop_map(|(index, code)| Act::Code(index, code)),
        4 => any::<bool>().prop_map(Act::Plan),
        6 => (0_usize..4, ended).prop_map(|(index, ended)| Act::Finish(index, ended)),
        3 => other.prop_map(Act::Adopt),
        1 => any::<bool>().prop_map(Act::Woke),
        3 => Just(Act::Timer),
        1 => any::<bool>().prop_map(Act::Visible),
        1 => prop::option::of(any::<bool>()).prop_map(Act::Outside),
    ]
}

fn any_config() -> impl Strategy<Value = Config> {
    (
        any::<[bool; 5]>(),
        prop::option::of(1_i64..HOUR),
        0_i64..HOUR,
    )
        .prop_map(|(flags, default, buffer)| Config {
            strict: flags[0],
            outside: flags[1],
            access_token_refreshes: flags[2],
            codes_in_body: flags[3],
            debug: flags[4],
            default_lifetime: default,
            expiry_buffer: buffer,
            ..Config::default()
        })
}

/// A request, and what the test knows of it.
struct Request {
    attempt: Attempt,
    in_flight: bool,
    sends: u32,
    sid: Option<String>,
}

/// A tab that lives through a list of acts, checked after each.
struct Life {
    policy: Policy,
    now: Now,
    stored: Stored,
    requests: Vec<Request>,
    plans: Vec<RefreshPlan>,
    issued: u32,
    refused: Vec<Secret>,
    generation: Generation,
    strict: bool,
    cookies: bool,
}

impl Life {
    fn new(config: Config) -> Self {
        let (strict, cookies) = (config.strict, config.cookie_refreshes);
        let mut policy = Policy::new(config);
        policy.load(&Stored::default(), at(START));
        Self {
            policy,
            now: at(START),
            stored: Stored::default(),
            requests: Vec::new(),
            plans: Vec::new(),
            issued: 0,
            refused: Vec::new(),
            generation: Generation::default(),
            strict,
            cookies,
        }
    }

    fn tokens(&mut self, lifetime: Option<i64>, bare: bool) -> TokenSet {
        self.issued += 1;
        let secret =
            |kind: &str, number: u32| Secret::new(format!("canary-{kind}-{number}")).unwrap();
        TokenSet {
            access_token: Some(secret("a", self.issued)),
            refresh_token: (!bare).then(|| secret("r", self.issued)),
            lifetimes: Lifetimes {
                relative: lifetime,
                ..Lifetimes::default()
            },
            refresh_lifetime: None,
            subject: None,
        }
    }

    fn timing(&self) -> Timing {
        Timing {
            sent: self.now,
            received: self.now,
            date: None,
        }
    }

    fn sid(&self) -> Option<String> {
        self.policy.session().map(|session| session.sid.clone())
    }

    fn live(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Pass(ms) => {
                self.now.wall = self.now.wall.saturating_add(ms);
                self.now.mono = self.now.mono.saturating_add(ms);
            }
            Act::Jump(ms) => self.now.wall = self.now.wall.saturating_add(ms),
            Act::SignIn(lifetime, bare) => self.sign_in(lifetime, bare),
            Act::SignOut => self.sign_out(),
            Act::Begin(unloading) => self.begin(unloading),
            Act::Next(index) => self.next(index)?,
            Act::Answer(index, status, replayable) => self.answer(index, status, replayable)?,
            Act::Code(index, code) => self.code(index, code),
            Act::Plan(online) => self.plan(online)?,
            Act::Finish(index, ended) => self.finish(index, ended)?,
            Act::Adopt(other) => self.other_tab(&other),
            Act::Woke(asleep) => self.policy.woke(self.now, asleep),
            Act::Timer => self.timer()?,
            Act::Visible(visible) => self.policy.set_visible(visible, 0.5),
            Act::Outside(answer) => self.outside(answer),
        }
        self.check()
    }

    fn sign_in(&mut self, lifetime: Option<i64>, bare: bool) {
        let tokens = self.tokens(lifetime, bare);
        let sid = format!("login-{}", self.issued);
        self.policy.sign_in(sid, tokens, self.timing(), false);
        self.stored.record = self.policy.record();
    }

    fn sign_out(&mut self) {
        let Some(session) = self.policy.sign_out(self.now) else {
            return;
        };
        self.stored.record = None;
        self.bury(&session.sid, None);
    }

    fn begin(&mut self, unloading: bool) {
        if self.requests.len() < 8 {
            let request = Request {
                attempt: self.policy.begin(unloading),
                in_flight: false,
                sends: 0,
                sid: None,
            };
            self.requests.push(request);
        }
    }

    fn next(&mut self, index: usize) -> Result<(), TestCaseError> {
        let (sid, now) = (self.sid(), self.now);
        let dead = self
            .policy
            .session()
            .is_some_and(|session| session.expired(now));
        let Some(request) = self.requests.get_mut(index) else {
            return Ok(());
        };
        if request.in_flight {
            return Ok(());
        }
        let step = self.policy.next(&mut request.attempt, now, || false);
        match step {
            Step::Send { bearer } => {
                request.in_flight = true;
                request.sends += 1;
                prop_assert!(request.sends <= 2, "sent {} times", request.sends);
                prop_assert!(!bearer || sid.is_some(), "a token out of nowhere");
                prop_assert!(
                    !(bearer && dead && self.strict),
                    "strict sends no dead token"
                );
                let same = request.sends == 1 || request.sid == sid;
                prop_assert!(same, "replayed as {sid:?}, first sent as {:?}", request.sid);
                request.sid = sid;
            }
            Step::Refresh(wanted) => prop_assert_eq!(wanted, self.policy.generation()),
            Step::Return => {
                prop_assert_eq!(request.sends, 1, "there is a 401 to return");
                self.requests.remove(index);
            }
            Step::Fail(error) => {
                prop_assert!(request.sends <= 1, "{error:?}");
                self.requests.remove(index);
            }
            Step::Load => {}
        }
        Ok(())
    }

    fn answer(&mut self, index: usize, status: u16, replayable: bool) -> Result<(), TestCaseError> {
        let Some(request) = self.requests.get_mut(index) else {
            return Ok(());
        };
        if !request.in_flight {
            return Ok(());
        }
        let answer = Answer {
            status,
            replayable,
            ..Answer::default()
        };
        let verdict = self
            .policy
            .on_response(&mut request.attempt, answer, self.now);
        prop_assert!(
            verdict == Verdict::Done || status == 401,
            "{status}: {verdict:?}"
        );
        match verdict {
            Verdict::Again => {
                prop_assert!(replayable && request.sends == 1);
                request.in_flight = false;
            }
            Verdict::Peek | Verdict::Prime => {}
            Verdict::Done | Verdict::Over(_) => {
                self.requests.remove(index);
            }
        }
        Ok(())
    }

    fn code(&mut self, index: usize, code: Option<&str>) {
        let Some(request) = self.requests.get_mut(index) else {
            return;
        };
        if !request.in_flight || request.sends != 1 || request.sid.is_none() {
            return;
        }
        let answer = Answer {
            status: 401,
            replayable: true,
            ..Answer::default()
        };
        // Only after a Peek; a first look that says otherwise ends the request.
        let verdict = match self
            .policy
            .on_response(&mut request.attempt, answer, self.now)
        {
            Verdict::Peek => self
                .policy
                .on_code(&mut request.attempt, code, answer, self.now),
            verdict => verdict,
        };
        if verdict == Verdict::Again {
            request.in_flight = false;
        } else {
            self.requests.remove(index);
        }
    }

    fn plan(&mut self, online: bool) -> Result<(), TestCaseError> {
        if self.plans.len() >= 4 {
            return Ok(());
        }
        let wanted = self.policy.generation();
        if let Some(plan) = self.policy.plan_refresh(wanted, self.now, online) {
            prop_assert!(online, "nobody is called while offline");
            let session = self.policy.session().expect("a plan is about a session");
            prop_assert!(!session.dead, "a dead credential is never sent again");
            if let (Some(credential), None) = (&plan.credential, &plan.known) {
                prop_assert!(
                    !self.refused.contains(credential),
                    "a refused credential is sent again"
                );
            }
            self.plans.push(plan);
        }
        Ok(())
    }

    fn finish(&mut self, index: usize, ended: Ended) -> Result<(), TestCaseError> {
        if index >= self.plans.len() {
            return Ok(());
        }
        let plan = self.plans.remove(index);
        let answer = match (&plan.known, ended) {
            (Some(known), _) => known.clone(),
            (None, Ended::Tokens(lifetime, bare)) => {
                RefreshAnswer::Tokens(self.tokens(lifetime, bare))
            }
            (None, Ended::Status(status, wait)) => {
                RefreshAnswer::Failed(Failure::Status(status, None), wait)
            }
            (None, Ended::Network) => RefreshAnswer::Failed(Failure::Network, None),
            (None, Ended::Nobody) => RefreshAnswer::NoSession,
        };
        let refused = matches!(&answer, RefreshAnswer::Failed(Failure::Status(401, _), _));
        let before = self.stored.clone();
        let commit = self
            .policy
            .finish_refresh(&plan, answer, self.timing(), &before, 0.5);
        if refused && matches!(commit, Commit::Store | Commit::Clear(..)) {
            self.refused.extend(plan.credential.clone());
        }
        self.commit(commit, &before)
    }

    /// What is stored takes the place of nothing newer, of nobody else and of no tombstone.
    fn commit_over(&self, commit: &Commit, before: &Stored) -> Result<(), TestCaseError> {
        if *commit != Commit::Store {
            return Ok(());
        }
        let ours = self.policy.session();
        prop_assert!(ours.is_some(), "there is something to store");
        let ended = |sid: &str| {
            let mut tombstones = before.tombstones.iter();
            tombstones.any(|tombstone| tombstone.sid == sid)
        };
        let theirs = before.record.as_ref().map(|record| &record.session);
        // Without a token it is not a session of this client's, whoever put it there.
        let fits = |theirs: &Session| self.cookies || theirs.access_token.is_some();
        let theirs = theirs.filter(|theirs| !ended(&theirs.sid) && fits(theirs));
        if let (Some(theirs), Some(ours)) = (theirs, ours) {
            prop_assert_eq!(&theirs.sid, &ours.sid, "another login is overwritten");
            let newer =
                (theirs.credential_since, theirs.rotation) > (ours.credential_since, ours.rotation);
            prop_assert!(!newer, "a newer token is overwritten");
        }
        prop_assert!(
            ours.is_none_or(|ours| !ended(&ours.sid)),
            "the dead are stored again"
        );
        Ok(())
    }

    fn commit(&mut self, commit: Commit, before: &Stored) -> Result<(), TestCaseError> {
        self.commit_over(&commit, before)?;
        match commit {
            Commit::Store => self.stored.record = self.policy.record(),
            Commit::Clear(sid, dead) => self.bury(&sid, Some(dead)),
            Commit::Keep | Commit::Abandon(_) | Commit::Revoke(_) => {}
        }
        Ok(())
    }

    fn bury(&mut self, sid: &str, dead: Option<Dead>) {
        let sid = sid.to_owned();
        self.stored.record = self
            .stored
            .record
            .take()
            .filter(|record| record.session.sid != sid);
        self.stored.tombstones.insert(
            0,
            Tombstone {
                sid,
                dead,
                ..Tombstone::default()
            },
        );
    }

    fn other_tab(&mut self, other: &Other) {
        let sid = self
            .stored
            .record
            .as_ref()
            .map(|record| record.session.sid.clone());
        let tokens = self.tokens(Some(HOUR), false);
        match (other, sid) {
            (Other::Nothing, _) | (Other::Refreshed | Other::SignedOut | Other::Died, None) => {}
            (Other::Refreshed, Some(_)) => {
                let record = self.stored.record.as_mut().expect("checked");
                record.session.rotation += 1;
                record.session.credential_since = record.session.rotation;
                record.session.access_token = tokens.access_token;
                record.session.refresh_token = tokens.refresh_token;
                record.session.dead = false;
                record.session.expires_at = Some(self.now.wall.saturating_add(HOUR));
            }
            (Other::SignedOut, Some(sid)) => self.bury(&sid, None),
            (Other::Died, Some(sid)) => self.bury(&sid, Some(Dead::Expired)),
            (Other::SignedIn, _) => {
                let mut tab = Policy::new(Config::default());
                tab.sign_in(
                    format!("other-{}", self.issued),
                    tokens,
                    self.timing(),
                    false,
                );
                self.stored.record = tab.record();
            }
            (Other::Cleared, _) => self.stored = Stored::default(),
        }
        self.policy.adopt(&self.stored, self.now);
    }

    fn timer(&mut self) -> Result<(), TestCaseError> {
        let due = self.policy.poll_timeout(self.now);
        let wanted = self.policy.handle_timeout(self.now);
        prop_assert!(wanted.is_none() || wanted == Some(self.policy.generation()));
        if due == Some(0) && wanted.is_none() {
            prop_assert!(
                self.policy.poll_timeout(self.now) != Some(0),
                "the timer spins"
            );
        }
        Ok(())
    }

    fn outside(&mut self, answer: Option<bool>) {
        let answer = match answer {
            None => Err(()),
            Some(false) => Ok(None),
            Some(true) => Ok(Some(self.tokens(Some(HOUR), true))),
        };
        let sid = format!("outside-{}", self.issued);
        self.policy.outside_answered(answer, sid, self.timing());
        self.stored.record = self.policy.record();
    }

    /// What holds whatever happened.
    fn check(&mut self) -> Result<(), TestCaseError> {
        let wait = self.policy.poll_timeout(self.now);
        prop_assert!(
            wait.is_none_or(|wait| (0..=12 * HOUR).contains(&wait)),
            "{wait:?}"
        );
        prop_assert!(
            self.policy.generation() >= self.generation,
            "generations only grow"
        );
        self.generation = self.policy.generation();
        let signed_in = self.policy.session().is_some();
        let status = self.policy.status(self.now);
        let gone = matches!(status, Status::Anonymous | Status::SignedOut);
        prop_assert!(!(gone && signed_in), "{status:?} with a session");
        prop_assert!(
            self.policy
                .retry_at(self.now)
                .is_none_or(|at| at > self.now.wall)
        );
        let outputs: Vec<_> = std::iter::from_fn(|| self.policy.poll_output()).collect();
        prop_assert!(outputs.len() < 20, "{outputs:?}");
        let printed = format!("{outputs:?}{:?}{:?}", self.policy, self.plans);
        prop_assert!(
            !printed.contains("canary"),
            "a token is in print: {printed}"
        );
        Ok(())
    }
}

proptest! {
    // behaviour.md 2.5, 2.7, 2.10, 2.11, 2.15, 3.8, 3.10, 5.10, 5.11, 5.12, 5.20, 6.11, 7.25
    #[test]
    fn no_life_of_a_tab_breaks_the_rules(
        config in any_config(),
        acts in prop::collection::vec(any_act(), 1..120),
    ) {
        let mut life = Life::new(config);
        for act in acts {
            life.live(act)?;
        }
    }
}

// --- What storage holds (behaviour.md 5.16, 6.15) ------------------------------------------------

/// The latest moment that a record may name: the year 2286, ms since the epoch.
const LATEST: i64 = 10_000_000_000_000;

fn any_record() -> impl Strategy<Value = Record> {
    let token = || prop::option::of("[!-~]{1,12}".prop_map(|text| Secret::new(text).unwrap()));
    let some = || prop::option::of(any_moment());
    let counts = (0_u32..4, prop_oneof![0_u32..4, any::<u32>()], 0_u32..4);
    let moments = (any_moment(), some(), some(), some(), any_moment(), some());
    (
        any_sid(),
        counts,
        (token(), token(), token()),
        moments,
        any::<[bool; 2]>(),
    )
        .prop_map(|(sid, counts, tokens, moments, flags)| Record {
            session: Session {
                sid,
                rotation: counts.1,
                access_token: tokens.0,
                refresh_token: tokens.1,
                credential_since: counts.0.min(counts.1),
                handover_key: tokens.2,
                issued_at: moments.0,
                expires_at: moments.1,
                deadline: None,
                refresh_expires_at: moments.2,
                remember: false,
                dead: flags[0],
            },
            breaker: Breaker::stored(counts.2, moments.3, moments.4),
            sent_at: moments.5,
            indeterminate: flags[1],
            died: None,
        })
}

/// Few logins, so that they meet; and one that is nobody's.
fn any_sid() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("mine".to_owned()),
        3 => Just("other".to_owned()),
        1 => "\\PC{1,16}",
        1 => Just("x".repeat(64)),
    ]
}

fn any_moment() -> impl Strategy<Value = i64> {
    prop_oneof![START - HOUR..START + HOUR, 0_i64..=LATEST, Just(LATEST)]
}

/// A value that somebody could put into storage.
fn any_member() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        Just(-1.0),
        Just(0.5),
        Just(1e13),
        Just(1.000_000_1e13),
        Just(4_294_967_295.0),
        Just(4_294_967_296.0),
        Just(9.1e15),
        Just(1.8e19),
        Just(1e308),
        Just(-1e308),
        any::<f64>(),
    ];
    let text = prop_oneof![
        hostile_text(),
        any_sid(),
        Just("\u{0}".to_owned()),
        Just("a\u{7f}".to_owned()),
        Just("a\u{2028}b".to_owned()),
        Just("x".repeat(65)),
        Just("revoked".to_owned()),
        Just("lost_response".to_owned()),
    ];
    prop_oneof![
        4 => number.prop_map(Value::from),
        4 => text.prop_map(Value::from),
        2 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => any_json(),
    ]
}

/// The text of a record in which members were replaced (a later one of the same name counts),
/// removed, or cut off.
fn any_record_text() -> impl Strategy<Value = String> {
    let names: Vec<_> = [
        "sid",
        "rotation",
        "access_token",
        "refresh_token",
        "credential_since",
        "handover_key",
        "issued_at",
        "expires_at",
        "refresh_expires_at",
        "dead",
        "failures",
        "opened_at",
        "not_before",
        "sent_at",
        "indeterminate",
        "at",
        "status",
        "__proto__",
    ]
    .into();
    let name = prop::sample::select(names);
    let change = (name, prop::option::weighted(0.8, any_member()));
    let changes = prop::collection::vec(change, 0..4);
    (
        any_record(),
        changes,
        prop::option::weighted(0.05, any::<u16>()),
    )
        .prop_map(|(record, changes, cut)| {
            let mut object = json_of(record.fields());
            let removed = changes.iter().filter(|(_, value)| value.is_none());
            for (name, _) in removed {
                object.as_object_mut().unwrap().remove(*name);
            }
            let mut text = object.to_string();
            for (name, value) in changes {
                let Some(value) = value else { continue };
                text.pop();
                let gap = if text.len() > 1 { "," } else { "" };
                text = format!("{text}{gap}\"{name}\":{value}}}");
            }
            let end = cut.map_or(text.len(), |cut| usize::from(cut) % (text.len() + 1));
            String::from_utf8_lossy(&text.as_bytes()[..end]).into_owned()
        })
}

fn json_of(fields: Vec<(&'static str, Field)>) -> Value {
    let mut object = serde_json::Map::new();
    for (name, field) in fields {
        let value = match field {
            Field::Absent | Field::Other => continue,
            Field::Flag(flag) => Value::from(flag),
            Field::Number(number) => Value::from(number),
            Field::Text(text) => Value::from(text),
        };
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

fn parsed(text: &str) -> Option<Json> {
    serde_json::from_str(text).ok().map(Json)
}

fn is_within_bounds(record: &Record) -> Result<(), TestCaseError> {
    let session = &record.session;
    prop_assert!((1..=64).contains(&session.sid.len()));
    prop_assert!(session.credential_since <= session.rotation);
    let tokens = [
        &session.access_token,
        &session.refresh_token,
        &session.handover_key,
    ];
    for token in tokens.into_iter().flatten() {
        let text = token.reveal();
        prop_assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let (_, opened_at, not_before) = record.breaker.parts();
    let moments = [
        Some(session.issued_at),
        session.expires_at,
        session.refresh_expires_at,
        opened_at,
        Some(not_before),
        record.sent_at,
    ];
    for moment in moments.into_iter().flatten() {
        prop_assert!((0..=LATEST).contains(&moment), "{moment}");
    }
    Ok(())
}

/// A tab that is signed in as "mine" and looks into storage time and again.
struct Looking {
    life: Life,
    /// The login whose tombstone lay on top when our record was seen; `None` = it never was.
    beside: Option<String>,
}

impl Looking {
    fn new(mut config: Config, lifetime: i64, remember: bool) -> Self {
        config.outside = false;
        let mut life = Life::new(config);
        let tokens = life.tokens(Some(lifetime), false);
        let timing = life.timing();
        life.policy
            .sign_in("mine".to_owned(), tokens, timing, remember);
        while life.policy.poll_output().is_some() {}
        Self { life, beside: None }
    }

    fn look(&mut self, stored: &Stored) -> Result<(), TestCaseError> {
        let policy = &mut self.life.policy;
        let before = policy.session().cloned();
        policy.adopt(stored, self.life.now);
        let told: Vec<_> = std::iter::from_fn(|| policy.poll_output())
            .filter_map(|output| match output {
                Output::Event(event) => Some(event),
                Output::Log(_) => None,
            })
            .collect();
        let after = policy.session().cloned();
        self.judge(stored, before.as_ref(), after.as_ref(), &told)?;
        let latest = stored.tombstones.first();
        let latest = latest.map(|tombstone| tombstone.sid.clone());
        let kept = stored.record.as_ref().map(|record| &record.session.sid);
        let ours = after.as_ref().map(|session| &session.sid);
        if ours.is_none() || before.map(|session| session.sid).as_ref() != ours {
            self.beside = None;
        }
        if ours.is_some() && kept == ours {
            self.beside = Some(latest.unwrap_or_default());
        }
        self.life.check()
    }

    fn judge(
        &self,
        stored: &Stored,
        before: Option<&Session>,
        after: Option<&Session>,
        told: &[Event],
    ) -> Result<(), TestCaseError> {
        let ended = |sid: &str| {
            let mut tombstones = stored.tombstones.iter();
            tombstones.any(|tombstone| tombstone.sid == sid)
        };
        let has = |wanted: fn(&Event) -> bool| told.iter().any(wanted);
        let dead = |event: &Event| matches!(event, Event::ReauthRequired(_));
        if let Some(after) = after {
            prop_assert!(
                before.is_some_and(|before| before.sid == after.sid) || !ended(&after.sid)
            );
            let newly =
                after.dead && before.is_none_or(|before| before.sid != after.sid || !before.dead);
            prop_assert!(
                !newly || has(dead),
                "the credential is dead, and not a word: {told:?}"
            );
        }
        match (before, after) {
            (Some(before), Some(after)) if before.sid == after.sid => {
                prop_assert!(!ended(&before.sid), "a tombstone is final");
                let older = (after.credential_since, after.rotation)
                    < (before.credential_since, before.rotation);
                prop_assert!(!older, "an older token took the place of a newer one");
                let same = before.access_token == after.access_token
                    && before.refresh_token == after.refresh_token;
                let renewed = has(|event| {
                    matches!(
                        event,
                        Event::Refreshed {
                            elsewhere: true,
                            ..
                        }
                    )
                });
                prop_assert!(
                    same || renewed,
                    "the token changed without a word: {told:?}"
                );
            }
            (Some(before), _) => {
                let latest = stored.tombstones.first().map(|tombstone| &tombstone.sid);
                let came_and_went = before.remember
                    && stored.record.is_none()
                    && latest.is_some()
                    && self.beside.is_some()
                    && self.beside.as_ref() != latest;
                let replaced = after.is_some_and(|after| after.sid != before.sid);
                prop_assert!(
                    ended(&before.sid) || came_and_went || replaced,
                    "signed out for nothing"
                );
                let gone = |event: &Event| {
                    matches!(
                        event,
                        Event::SignedOut { elsewhere: true }
                            | Event::ReauthRequired(_)
                            | Event::UserChanged
                    )
                };
                prop_assert!(
                    told.iter().any(gone) || before.dead,
                    "nobody was told: {told:?}"
                );
                let arrived = has(|event| {
                    matches!(
                        event,
                        Event::UserChanged | Event::SignedIn { elsewhere: true }
                    )
                });
                prop_assert!(
                    after.is_none() || arrived,
                    "another person, and not a word: {told:?}"
                );
            }
            (None, Some(_)) => {
                let arrived = has(|event| matches!(event, Event::SignedIn { elsewhere: true }));
                prop_assert!(arrived, "{told:?}");
            }
            (None, None) => prop_assert!(told.is_empty(), "{told:?}"),
        }
        Ok(())
    }

    /// A refresh with whatever is in memory, committed against this storage.
    fn refresh(&mut self, stored: &Stored, fails: bool) -> Result<(), TestCaseError> {
        let life = &mut self.life;
        let wanted = life.policy.generation();
        let Some(plan) = life.policy.plan_refresh(wanted, life.now, true) else {
            return Ok(());
        };
        let answer = if fails {
            RefreshAnswer::Failed(Failure::Network, None)
        } else {
            RefreshAnswer::Tokens(life.tokens(Some(HOUR), false))
        };
        let timing = life.timing();
        let commit = life
            .policy
            .finish_refresh(&plan, answer, timing, stored, 0.5);
        // Judged here; what to do with storage is another property's.
        life.commit_over(&commit, stored)?;
        life.check()
    }
}

fn any_tombstones() -> impl Strategy<Value = Vec<Tombstone>> {
    prop::collection::vec(any_record_text(), 0..3).prop_map(|texts| {
        let read = |text: &String| Tombstone::read(&parsed(text)?);
        texts.iter().filter_map(read).collect()
    })
}

fn any_stored() -> impl Strategy<Value = Stored> {
    (
        prop::option::weighted(0.8, any_record_text()),
        prop_oneof![2 => Just(Vec::new()), 1 => any_tombstones()],
        any::<bool>(),
    )
        .prop_map(|(text, tombstones, remember)| {
            let record = text.and_then(|text| Record::read(&parsed(&text)?, true));
            let record = record.map(|mut record| {
                record.session.remember = remember;
                record
            });
            Stored { record, tombstones }
        })
}

proptest! {
    // behaviour.md 5.16: what a tab stores, another reads
    #[test]
    fn a_record_reads_back_as_it_was_written(record in any_record()) {
        let read = Record::read(&Json(json_of(record.fields())), true);
        prop_assert_eq!(read, Some(record));
    }

    // behaviour.md 1.2, 5.16, 6.15, 7.25
    #[test]
    fn stored_text_is_a_record_within_bounds_or_nothing(text in any_record_text()) {
        let Some(body) = parsed(&text) else { return Ok(()) };
        if let Some(record) = Record::read(&body, true) {
            is_within_bounds(&record)?;
            let again = Record::read(&Json(json_of(record.fields())), true);
            prop_assert_eq!(again, Some(record));
        }
        if let Some(tombstone) = Tombstone::read(&body) {
            prop_assert!((1..=64).contains(&tombstone.sid.len()));
            prop_assert!((0..=LATEST).contains(&tombstone.at));
            let again = Tombstone::read(&Json(json_of(tombstone.fields())));
            prop_assert_eq!(again, Some(tombstone));
        }
    }

    // behaviour.md 5.16, 7.25
    #[test]
    fn any_json_is_a_record_within_bounds_or_nothing(body in any_json()) {
        let body = Json(body);
        if let Some(record) = Record::read(&body, true) {
            is_within_bounds(&record)?;
        }
        if let Some(tombstone) = Tombstone::read(&body) {
            prop_assert!((0..=LATEST).contains(&tombstone.at));
        }
    }

    // behaviour.md 5.11, 5.12, 6.15, 7.25, known-failures 71
    #[test]
    fn no_storage_ends_a_session_without_a_tombstone_or_changes_the_person_silently(
        config in any_config(),
        lifetime in prop::sample::select(vec![5_000_i64, 60_000, HOUR]),
        remember: bool,
        looks in prop::collection::vec((any_stored(), 0_i64..HOUR / 8, prop::option::of(any::<bool>())), 1..6),
    ) {
        let mut tab = Looking::new(config, lifetime, remember);
        for (stored, later, refresh) in looks {
            tab.life.now.wall += later;
            tab.life.now.mono += later;
            tab.look(&stored)?;
            if let Some(fails) = refresh {
                tab.refresh(&stored, fails)?;
            }
        }
    }
}
