//! `GET /sessions/range`.

use serde_json::{Value, json};

use crate::sessions::ids;
use crate::support::agent::{close, encode, open_at};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::{at, session_line};

const NEEDED: &str = "from and to query parameters are required and must be valid ISO dates";

fn range(daemon: &Daemon, from: &str, to: &str) -> Value {
    daemon.get(format!("/sessions/range?from={}&to={}", encode(from), encode(to))).is(200).json()
}

#[test]
fn range_needs_from_and_to_as_valid_iso_dates() {
    let daemon = Daemon::start();
    for query in [
        "",
        "?",
        "?from=2025-10-11",
        "?to=2025-10-11",
        "?from=&to=",
        "?from=2025-10-11&to=",
        "?from=yesterday&to=2025-10-12",
        "?from=2025-10-11&to=2025-02-30",
        "?from=2025-13-01&to=2025-10-12",
        "?from=1760184000000&to=2025-10-12",
        "?from=%FF&to=2025-10-12",
    ] {
        let answer = daemon.get(format!("/sessions/range{query}")).is(400);
        assert_eq!(answer.json(), json!({ "error": NEEDED }), "{query}");
    }
}

#[test]
fn range_answers_from_to_and_sessions_newest_first() {
    let daemon = Daemon::start();
    open_at(&daemon, "one", "p", "2025-10-11T12:00:00Z");
    open_at(&daemon, "two", "p", "2025-10-11T12:05:00Z");
    let answer = range(&daemon, "2025-10-11T00:00:00.000Z", "2025-10-12T00:00:00.000Z");
    assert_eq!(answer["from"], "2025-10-11T00:00:00.000Z");
    assert_eq!(answer["to"], "2025-10-12T00:00:00.000Z");
    assert_eq!(ids(&answer), ["two", "one"]);
}

#[test]
fn range_echoes_its_bounds_in_utc_with_milliseconds() {
    let daemon = Daemon::start();
    let answer = range(&daemon, "2025-10-11", "2025-10-11 14:30:00.5+02:00");
    assert_eq!(answer["from"], "2025-10-11T00:00:00.000Z");
    assert_eq!(answer["to"], "2025-10-11T12:30:00.500Z");
}

#[test]
fn a_session_is_in_the_range_when_it_starts_before_to_and_ends_at_or_after_from() {
    let daemon = Daemon::start();
    open_at(&daemon, "s", "p", "2025-10-11T12:00:00Z");
    close(&daemon, "s", "2025-10-11T12:10:00Z");
    for (from, to, inside) in [
        ("2025-10-11T11:00:00Z", "2025-10-11T12:00:00Z", false),
        ("2025-10-11T11:00:00Z", "2025-10-11T12:00:00.000001Z", true),
        ("2025-10-11T12:10:00Z", "2025-10-11T13:00:00Z", true),
        ("2025-10-11T12:10:00.000001Z", "2025-10-11T13:00:00Z", false),
        ("2025-10-11T12:04:00Z", "2025-10-11T12:05:00Z", true),
        ("2025-10-11T11:00:00Z", "2025-10-11T13:00:00Z", true),
    ] {
        assert_eq!(ids(&range(&daemon, from, to)).len(), usize::from(inside), "{from} to {to}");
    }
}

#[test]
fn a_session_that_has_no_end_is_in_every_later_range() {
    let daemon = Daemon::start();
    open_at(&daemon, "s", "p", "2025-10-11T12:00:00Z");
    assert_eq!(ids(&range(&daemon, "2030-01-01", "2030-01-02")), ["s"]);
    assert!(ids(&range(&daemon, "2025-10-10", "2025-10-11")).is_empty());
    close(&daemon, "s", "2025-10-11T12:10:00Z");
    assert!(ids(&range(&daemon, "2030-01-01", "2030-01-02")).is_empty());
}

#[test]
fn a_range_whose_from_is_not_before_its_to_is_an_empty_list() {
    let daemon = Daemon::start();
    open_at(&daemon, "s", "p", "2025-10-11T12:00:00Z");
    for (from, to) in [("2025-10-12", "2025-10-12"), ("2025-10-13", "2025-10-12")] {
        let answer = range(&daemon, from, to);
        assert_eq!(answer["sessions"], json!([]));
        assert_eq!(answer["to"], "2025-10-12T00:00:00.000Z");
    }
}

#[test]
fn a_session_that_ended_before_its_start_is_found_by_the_two_rules_as_they_stand() {
    let daemon = Daemon::start();
    open_at(&daemon, "s", "p", "2025-10-11T12:00:00Z");
    close(&daemon, "s", "2025-10-11T11:00:00Z");
    assert_eq!(ids(&range(&daemon, "2025-10-11T10:30:00Z", "2025-10-11T12:30:00Z")), ["s"]);
    assert!(ids(&range(&daemon, "2025-10-11T11:30:00Z", "2025-10-11T12:30:00Z")).is_empty());
    assert!(ids(&range(&daemon, "2025-10-11T10:30:00Z", "2025-10-11T11:30:00Z")).is_empty());
}

#[test]
fn an_old_window_finds_a_session_that_lasted_a_month() {
    let daemon = Daemon::start();
    open_at(&daemon, "month", "p", "2025-09-01T00:00:00Z");
    close(&daemon, "month", "2025-10-01T00:00:00Z");
    for day in 1..=9 {
        let id = format!("day{day}");
        open_at(&daemon, &id, "p", &format!("2025-09-0{day}T12:00:00Z"));
        close(&daemon, &id, &format!("2025-09-0{day}T12:01:00Z"));
    }
    assert_eq!(ids(&range(&daemon, "2025-09-20", "2025-09-21")), ["month"]);
    assert_eq!(ids(&range(&daemon, "2025-09-05", "2025-09-06")), ["day5", "month"]);
}

#[test]
fn every_range_equals_a_plain_filter_over_the_same_sessions() {
    let home = Home::new("");
    let mut seed = 7_u64;
    let mut next = |bound: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((seed >> 33) % bound).unwrap()
    };
    let sessions: Vec<(String, usize, usize)> = (0..120)
        .map(|n| {
            let start = next(500);
            let length = if n % 10 == 0 { next(200) } else { next(8) };
            (format!("s{n:03}"), start, start + length)
        })
        .collect();
    let lines: Vec<Value> =
        sessions.iter().map(|(id, start, end)| session_line(id, &at(*start, 0), &at(*end, 0), &[], &json!({}))).collect();
    home.import(&lines);
    let daemon = Daemon::on(home);
    for _ in 0..60 {
        let from = next(650);
        let to = from + next(40);
        let query = format!("/sessions/range?limit=1000&from={}&to={}", at(from, 0), at(to, 0));
        let mut found = ids(&daemon.get(query).is(200).json());
        found.sort();
        let inside = |(id, start, end): &(String, usize, usize)| (from < to && *start < to && *end >= from).then(|| id.clone());
        assert_eq!(found, sessions.iter().filter_map(inside).collect::<Vec<_>>(), "{from} to {to}");
    }
}

#[test]
fn range_takes_the_limit_of_the_newest() {
    let daemon = Daemon::start();
    for minute in 0..5 {
        open_at(&daemon, &format!("s{minute}"), "p", &at(minute, 0));
    }
    let answer = daemon.get("/sessions/range?from=2025-10-11&to=2025-10-12&limit=2").is(200).json();
    assert_eq!(ids(&answer), ["s4", "s3"]);
}

#[test]
fn a_space_written_as_plus_stands_for_the_t() {
    let daemon = Daemon::start();
    let answer = daemon.get("/sessions/range?from=2025-10-11+12:00:00Z&to=2025-10-11%2013:00:00Z").is(200).json();
    assert_eq!(answer["from"], "2025-10-11T12:00:00.000Z");
    assert_eq!(answer["to"], "2025-10-11T13:00:00.000Z");
}

#[test]
fn a_raw_plus_in_an_offset_is_never_misread() {
    let daemon = Daemon::start();
    let answer = daemon.get("/sessions/range?from=2025-10-11T12:00:00+02:00&to=2025-10-12");
    match answer.status {
        200 => assert_eq!(answer.json()["from"], "2025-10-11T10:00:00.000Z"),
        _ => assert_eq!(answer.is(400).error(), NEEDED),
    }
    let escaped = daemon.get("/sessions/range?from=2025-10-11T12:00:00%2B02:00&to=2025-10-12").is(200).json();
    assert_eq!(escaped["from"], "2025-10-11T10:00:00.000Z");
}
