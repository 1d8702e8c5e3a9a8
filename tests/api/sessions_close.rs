//! `POST /sessions/close`.

use serde_json::{Value, json};

use crate::support::agent::{END, START, close, ingest, open, session};
use crate::support::daemon::Daemon;

#[test]
fn close_answers_200_and_the_record() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let body = json!({"sessionId": "s", "endTs": END, "postrollSec": 5});
    let closed = daemon.post("/sessions/close", &body).is(200).json();
    let mut expected = opened;
    expected["status"] = json!("closed");
    expected["end_ts"] = json!(END);
    expected["postroll_sec"] = json!(5);
    expected["end_reason"] = json!("client");
    expected["updated_at"] = closed["updated_at"].clone();
    assert_eq!(closed, expected);
    assert_eq!(session(&daemon, "s"), closed);
}

#[test]
fn close_of_an_unknown_session_is_404_session_not_found() {
    let daemon = Daemon::start();
    let answer = daemon.post("/sessions/close", &json!({"sessionId": "nobody", "endTs": END})).is(404);
    assert_eq!(answer.json(), json!({"error": "Session not found"}));
    daemon.get("/sessions/nobody").is(404);
}

#[test]
fn the_last_close_wins_also_when_it_ends_earlier() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for (end, postroll) in [("2025-10-11T12:05:00.000Z", 5), ("2025-10-11T12:09:00.000Z", 7), ("2025-10-11T12:01:00.000Z", 0)] {
        let body = json!({"sessionId": "s", "endTs": end, "postrollSec": postroll});
        let record = daemon.post("/sessions/close", &body).is(200).json();
        assert_eq!(record["end_ts"], end);
        assert_eq!(record["postroll_sec"], postroll);
        assert_eq!(record["status"], "closed");
        assert_eq!(record["end_reason"], "client");
        assert_eq!(session(&daemon, "s"), record);
    }
}

#[test]
fn the_last_close_is_also_the_one_that_lists_and_ranges_see() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    close(&daemon, "s", "2025-10-11T13:00:00Z");
    close(&daemon, "s", "2025-10-11T12:10:00Z");
    let found = |from: &str, to: &str| {
        let answer = daemon.get(format!("/sessions/range?from={from}&to={to}")).is(200).json();
        answer["sessions"].as_array().expect("a list").len()
    };
    assert_eq!(found("2025-10-11T12:30:00Z", "2025-10-11T14:00:00Z"), 0, "the first close is forgotten");
    assert_eq!(found("2025-10-11T12:09:00Z", "2025-10-11T14:00:00Z"), 1);
}

#[test]
fn the_agent_spells_it_post_roll_sec_accept_both() {
    let daemon = Daemon::start();
    for (id, spelling) in [("a", "postrollSec"), ("b", "postRollSec")] {
        open(&daemon, id);
        let mut body = json!({"sessionId": id, "endTs": END});
        body[spelling] = json!(12);
        assert_eq!(daemon.post("/sessions/close", &body).is(200).json()["postroll_sec"], 12, "{spelling}");
    }
}

#[test]
fn a_postroll_that_is_no_whole_number_from_0_on_is_stored_as_null_not_refused() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for spelling in ["postrollSec", "postRollSec"] {
        for bad in [json!(-1), json!(2.5), json!("soon"), json!(true), json!([5]), json!({"s": 5}), Value::Null] {
            let mut body = json!({"sessionId": "s", "endTs": END});
            body[spelling] = json!(5);
            assert_eq!(daemon.post("/sessions/close", &body).is(200).json()["postroll_sec"], 5);
            body[spelling] = bad;
            let record = daemon.post("/sessions/close", &body).is(200).json();
            assert_eq!(record["postroll_sec"], Value::Null, "{body}");
            assert_eq!(record["status"], "closed");
        }
    }
}

#[test]
fn postroll_0_and_a_whole_number_written_with_a_point_are_kept() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for (given, kept) in [(json!(0), 0), (json!(5.0), 5), (json!(86400), 86400)] {
        let body = json!({"sessionId": "s", "endTs": END, "postrollSec": given});
        assert_eq!(daemon.post("/sessions/close", &body).is(200).json()["postroll_sec"], json!(kept));
    }
}

#[test]
fn a_postroll_beyond_every_bound_does_not_cost_the_close() {
    let daemon = Daemon::start();
    for (number, huge) in ["99999999999", "1e300", "18446744073709551616"].into_iter().enumerate() {
        let id = format!("s{number}");
        open(&daemon, &id);
        let body = format!(r#"{{"sessionId":"{id}","endTs":"{END}","postrollSec":{huge}}}"#);
        let request = crate::support::http::Request::post("/sessions/close").body(body);
        assert_eq!(daemon.send(&request).is(200).json()["status"], "closed", "{huge}");
    }
}

#[test]
fn a_close_without_postroll_has_none() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    assert_eq!(close(&daemon, "s", END)["postroll_sec"], Value::Null);
}

#[test]
fn an_end_before_the_start_is_stored_as_sent() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let record = close(&daemon, "s", "2025-10-11T11:00:00.000Z");
    assert_eq!(record["start_ts"], START);
    assert_eq!(record["end_ts"], "2025-10-11T11:00:00.000Z");
    assert_eq!(record["status"], "closed");
}

#[test]
fn close_without_a_required_field_is_400_names_it_and_changes_nothing() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    for field in ["sessionId", "endTs"] {
        for bad in [None, Some(Value::Null), Some(json!("")), Some(json!([]))] {
            let mut body = json!({"sessionId": "s", "endTs": END, "postrollSec": 5});
            match bad {
                Some(value) => body[field] = value,
                None => drop(body.as_object_mut().expect("an object").remove(field)),
            }
            let error = daemon.post("/sessions/close", &body).is(400).error();
            assert!(error.contains(field), "{body}: {error}");
        }
    }
    assert_eq!(session(&daemon, "s"), opened);
}

#[test]
fn updated_at_moves_with_every_change_and_not_without_one() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    let moment = |record: &Value| record["updated_at"].as_str().expect("a time").to_owned();
    let closed = close(&daemon, "s", END);
    assert!(moment(&closed) >= moment(&opened));
    assert_eq!(closed["created_at"], opened["created_at"]);
    assert_eq!(close(&daemon, "s", END), closed, "the same close again changes nothing");
    let seq = || daemon.get("/changes").is(200).json()["next"].clone();
    let before = seq();
    close(&daemon, "s", END);
    assert_eq!(seq(), before, "nor does it move the feed");
    close(&daemon, "s", "2025-10-11T12:11:00Z");
    assert_ne!(seq(), before);
    ingest(&daemon, "s", &[("1", "dog", 0.4)], START, None).is(200);
    let seen = session(&daemon, "s");
    assert!(moment(&seen) >= moment(&closed));
    assert_eq!(seen["detected_classes"], json!(["dog"]));
}

#[test]
fn an_open_session_has_no_end_reason() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let record = session(&daemon, "s");
    assert_eq!((&record["end_reason"], &record["end_ts"]), (&Value::Null, &Value::Null));
}
