//! `GET /sessions`.

use serde_json::{Value, json};

use crate::support::agent::{close, open_at};
use crate::support::daemon::{Daemon, Home};
use crate::support::keys;
use crate::support::records::{at, session_line};

/// The ids of an answer's sessions, in order.
pub fn ids(answer: &Value) -> Vec<String> {
    let list = answer["sessions"].as_array().unwrap_or_else(|| panic!("no sessions in {answer}"));
    list.iter().map(|record| record["session_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn an_empty_store_lists_no_sessions() {
    let daemon = Daemon::start();
    let answer = daemon.get("/sessions").is(200).json();
    assert_eq!(answer["sessions"], json!([]));
    assert_eq!(answer["next"], Value::Null);
}

#[test]
fn sessions_come_newest_start_ts_first_whatever_the_order_of_the_opens() {
    let daemon = Daemon::start();
    for (id, start) in [
        ("c", "2025-10-11T12:00:02Z"),
        ("a", "2025-10-11T12:00:00.000001Z"),
        ("e", "2025-10-11T15:00:04+02:00"),
        ("b", "2025-10-11T12:00:00.000002Z"),
        ("d", "2025-10-11T12:00:03Z"),
    ] {
        open_at(&daemon, id, "p", start);
    }
    assert_eq!(ids(&daemon.get("/sessions").is(200).json()), ["e", "d", "c", "b", "a"]);
    close(&daemon, "a", "2026-01-01");
    assert_eq!(ids(&daemon.get("/sessions").is(200).json()), ["e", "d", "c", "b", "a"]);
}

#[test]
fn sessions_before_1970_and_far_ahead_are_in_order_too() {
    let daemon = Daemon::start();
    for (id, start) in [("old", "1969-12-31T23:59:59.5Z"), ("older", "0001-01-01"), ("far", "9999-12-31")] {
        open_at(&daemon, id, "p", start);
    }
    let answer = daemon.get("/sessions").is(200).json();
    assert_eq!(ids(&answer), ["far", "old", "older"]);
    assert_eq!(answer["sessions"][1]["start_ts"], "1969-12-31T23:59:59.500Z");
    assert_eq!(answer["sessions"][2]["start_ts"], "0001-01-01T00:00:00.000Z");
}

#[test]
fn the_list_holds_whole_records() {
    let daemon = Daemon::start();
    let record = open_at(&daemon, "s", "p", "2025-10-11T12:00:00Z");
    let answer = daemon.get("/sessions").is(200).json();
    assert_eq!(answer["sessions"], json!([record]));
}

#[test]
fn the_web_page_asks_sessions_with_a_trailing_slash() {
    let daemon = Daemon::start();
    open_at(&daemon, "s", "p", "2025-10-11T12:00:00Z");
    let plain = daemon.get("/sessions?limit=50").is(200).json();
    assert_eq!(daemon.get("/sessions/?limit=50").is(200).json(), plain);
    assert_eq!(daemon.get("/sessions/").is(200).json(), plain);
    let range = "from=2025-10-11&to=2025-10-12";
    assert_eq!(
        daemon.get(format!("/sessions/range/?{range}")).is(200).json(),
        daemon.get(format!("/sessions/range?{range}")).is(200).json()
    );
}

#[test]
fn classes_and_color_are_left_out_when_not_asked_for_never_null() {
    let daemon = Daemon::start();
    for target in ["/sessions", "/sessions/range?from=2025-10-11&to=2025-10-12"] {
        let keys = keys(&daemon.get(target).is(200).json());
        assert!(!keys.contains(&"classes".to_owned()) && !keys.contains(&"color".to_owned()), "{keys:?}");
    }
    let bare = daemon.get("/sessions?classes=").is(200).json();
    assert!(bare.get("classes").is_none(), "a bare classes= asks for nothing");
}

#[test]
fn limit_is_1_to_1000_more_is_1000_and_anything_else_is_50() {
    let home = Home::new("");
    let end = "2025-10-12T12:00:00Z";
    let lines: Vec<Value> =
        (0..1005).map(|n| session_line(&format!("s{n:04}"), &at(n / 60, n % 60), end, &[], &json!({}))).collect();
    home.import(&lines);
    let daemon = Daemon::on(home);
    let mut client = daemon.client();
    let range = "/sessions/range?from=2025-10-11&to=2025-10-13&";
    for base in ["/sessions?", range] {
        for (limit, count) in [
            ("limit=1", 1),
            ("limit=7", 7),
            ("limit=999", 999),
            ("limit=1000", 1000),
            ("limit=1001", 1000),
            ("limit=5000", 1000),
            ("limit=99999999999999999999", 1000),
            ("limit=0", 50),
            ("limit=-1", 50),
            ("limit=-99999999999999999999", 50),
            ("limit=abc", 50),
            ("limit=", 50),
            ("limit=NaN", 50),
            ("", 50),
        ] {
            let request = crate::support::http::Request::get(format!("{base}{limit}"));
            let answer = client.send(&request).is(200).json();
            assert_eq!(ids(&answer).len(), count, "{base}{limit}");
            assert_eq!(ids(&answer)[0], "s1004", "{base}{limit}");
        }
    }
}

#[test]
fn unknown_query_parameters_are_ignored() {
    let daemon = Daemon::start();
    open_at(&daemon, "s", "p", "2025-10-11T12:00:00Z");
    assert_eq!(ids(&daemon.get("/sessions?_=1760184000&limit=5&x").is(200).json()), ["s"]);
    assert_eq!(ids(&daemon.get("/sessions?&&limit=5&").is(200).json()), ["s"]);
}

#[test]
fn concurrent_opens_all_appear() {
    let daemon = Daemon::start();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                for number in 0..10 {
                    open_at(daemon, &format!("w{worker}-{number}"), "p", &at(number, worker));
                }
            });
        }
    });
    let answer = daemon.get("/sessions?limit=1000").is(200).json();
    assert_eq!(ids(&answer).len(), 40);
    let starts: Vec<&str> = answer["sessions"].as_array().unwrap().iter().map(|one| one["start_ts"].as_str().unwrap()).collect();
    assert!(starts.is_sorted_by(|a, b| a >= b), "{starts:?}");
}
