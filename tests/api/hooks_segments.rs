//! `POST /hooks/mediamtx/record/segment/complete`, where no recording can be read.

use serde_json::{Value, json};

use crate::support::agent::{START, close, open, open_at, session};
use crate::support::daemon::Daemon;
use crate::support::records::at;

const SEGMENT: &str = "/hooks/mediamtx/record/segment/complete";
const CONFIG: &str = "[mediamtx]\nsegment_duration_sec = 60\n";

/// Posts a segment of `cam-local`; empty texts are left out.
fn complete(daemon: &Daemon, event: &str, start: &str, end: &str) -> Value {
    let mut body = json!({"path": "cam-local", "segmentPath": "/recordings/cam-local/a.mp4"});
    for (key, value) in [("eventTs", event), ("segmentStartTs", start), ("segmentEndTs", end)] {
        if !value.is_empty() {
            body[key] = json!(value);
        }
    }
    daemon.post(SEGMENT, &body).is(200).json()
}

fn media(daemon: &Daemon, id: &str) -> [Value; 2] {
    let record = session(daemon, id);
    [record["media_start_ts"].clone(), record["media_end_ts"].clone()]
}

/// A daemon with session `s` of `cam-local`, open since 12:00.
fn opened() -> Daemon {
    let daemon = Daemon::with(CONFIG);
    open(&daemon, "s");
    daemon
}

#[test]
fn a_segment_answers_ok_and_sets_media_start_and_media_end() {
    let daemon = opened();
    let answer = complete(&daemon, &at(2, 5), &at(1, 0), &at(2, 0));
    assert_eq!(answer, json!({"status": "ok", "session_id": "s"}));
    assert_eq!(media(&daemon, "s"), ["2025-10-11T12:01:00.000Z", "2025-10-11T12:02:00.000Z"]);
    let record = session(&daemon, "s");
    assert_eq!(record["media_connect_ts"], Value::Null);
    assert_eq!(record["recommended_start_offset_ms"], Value::Null);
}

#[test]
fn a_later_segment_leaves_media_start_and_moves_media_end_forward() {
    let daemon = opened();
    complete(&daemon, &at(2, 0), &at(1, 0), &at(2, 0));
    complete(&daemon, &at(3, 0), &at(2, 0), &at(3, 0));
    assert_eq!(media(&daemon, "s"), ["2025-10-11T12:01:00.000Z", "2025-10-11T12:03:00.000Z"]);
}

#[test]
fn media_end_never_moves_back() {
    let daemon = opened();
    complete(&daemon, &at(5, 0), &at(4, 0), &at(5, 0));
    complete(&daemon, &at(4, 0), &at(3, 30), &at(4, 0));
    assert_eq!(media(&daemon, "s")[1], "2025-10-11T12:05:00.000Z");
}

#[test]
fn the_same_segment_seen_twice_changes_nothing() {
    let daemon = opened();
    complete(&daemon, &at(2, 0), &at(1, 0), &at(2, 0));
    let before = session(&daemon, "s");
    assert_eq!(complete(&daemon, &at(2, 0), &at(1, 0), &at(2, 0))["status"], "ok");
    assert_eq!(session(&daemon, "s"), before);
}

#[test]
fn the_end_is_segment_end_ts_else_event_ts() {
    let daemon = opened();
    complete(&daemon, &at(3, 0), &at(1, 0), "");
    assert_eq!(media(&daemon, "s"), ["2025-10-11T12:01:00.000Z", "2025-10-11T12:03:00.000Z"]);
}

#[test]
fn without_any_end_it_is_now() {
    let daemon = opened();
    let before = session(&daemon, "s")["created_at"].clone();
    assert_eq!(complete(&daemon, "", "", "")["status"], "ok");
    let [start, end] = media(&daemon, "s");
    assert!(end.as_str().unwrap() >= before.as_str().unwrap(), "{end} after {before}");
    assert!(start.as_str().unwrap() < end.as_str().unwrap());
}

#[test]
fn an_empty_segment_start_ts_makes_the_start_the_end_less_segment_duration_sec() {
    let daemon = opened();
    let body = json!({
        "path": "cam-local", "segmentPath": "/r/a.mp4", "eventTs": "2025-10-11T12:05:00Z",
        "segmentStartTs": "", "segmentEndTs": ""
    });
    daemon.post(SEGMENT, &body).is(200);
    assert_eq!(media(&daemon, "s"), ["2025-10-11T12:04:00.000Z", "2025-10-11T12:05:00.000Z"]);
}

#[test]
fn a_segment_start_is_believed_only_before_the_end_by_at_most_twice_the_duration() {
    for (start, believed) in [
        (at(8, 0), "2025-10-11T12:08:00.000Z"),
        (at(7, 59), "2025-10-11T12:09:00.000Z"),
        (at(9, 59), "2025-10-11T12:09:59.000Z"),
        (at(10, 0), "2025-10-11T12:09:00.000Z"),
        (at(10, 1), "2025-10-11T12:09:00.000Z"),
        ("2025-10-11T14:09:30+00:00".to_owned(), "2025-10-11T12:09:00.000Z"),
    ] {
        let daemon = opened();
        complete(&daemon, &at(10, 0), &start, "");
        assert_eq!(media(&daemon, "s"), [believed, "2025-10-11T12:10:00.000Z"], "{start}");
    }
}

#[test]
fn media_start_is_no_earlier_than_the_start_less_preroll_sec() {
    for (config, start) in [
        (CONFIG, "2025-10-11T11:59:50.000Z"),
        ("[mediamtx]\nsegment_duration_sec = 60\npreroll_sec = 4\n", "2025-10-11T11:59:56.000Z"),
    ] {
        let daemon = Daemon::with(config);
        open(&daemon, "s");
        complete(&daemon, "2025-10-11T12:00:30Z", "2025-10-11T11:59:30Z", "");
        assert_eq!(media(&daemon, "s"), [start, "2025-10-11T12:00:30.000Z"]);
    }
    let daemon = opened();
    complete(&daemon, "2025-10-11T12:00:30Z", "2025-10-11T11:59:55Z", "");
    assert_eq!(media(&daemon, "s")[0], "2025-10-11T11:59:55.000Z", "the stream comes up before the session opens");
}

#[test]
fn no_session_of_the_path_overlaps_is_no_session() {
    let daemon = Daemon::with(CONFIG);
    let none = json!({"status": "no_session"});
    assert_eq!(complete(&daemon, START, "", ""), none);
    open_at(&daemon, "other", "q", START);
    assert_eq!(complete(&daemon, &at(5, 0), &at(4, 0), ""), none, "another path");
    open_at(&daemon, "s", "cam-local", START);
    close(&daemon, "s", &at(10, 0));
    assert_eq!(complete(&daemon, &at(20, 0), &at(19, 0), ""), none, "after its end");
    assert_eq!(complete(&daemon, "2025-10-11T11:30:00Z", "2025-10-11T11:29:00Z", ""), none, "before its start");
    assert_eq!(complete(&daemon, &at(10, 30), &at(9, 30), "")["session_id"], "s", "it overlaps the end");
    assert_eq!(media(&daemon, "s"), ["2025-10-11T12:09:30.000Z", "2025-10-11T12:10:30.000Z"]);
}

#[test]
fn a_closed_session_still_takes_the_segment_that_overlaps_it() {
    let daemon = opened();
    close(&daemon, "s", &at(3, 0));
    open_at(&daemon, "later", "cam-local", &at(30, 0));
    assert_eq!(complete(&daemon, &at(2, 0), &at(1, 0), "")["session_id"], "s");
    assert_eq!(media(&daemon, "later"), [Value::Null, Value::Null]);
    assert_eq!(session(&daemon, "s")["status"], "closed");
}

#[test]
fn a_segment_over_two_sessions_is_answered_for_the_newest() {
    let daemon = opened();
    close(&daemon, "s", &at(2, 0));
    open_at(&daemon, "next", "cam-local", &at(2, 10));
    assert_eq!(complete(&daemon, &at(2, 30), &at(1, 30), "")["session_id"], "next");
    assert_eq!(media(&daemon, "next")[1], "2025-10-11T12:02:30.000Z");
}

#[test]
fn missing_fields_are_400_missing_required_fields_path_segment_path() {
    let daemon = opened();
    for bad in [
        json!({}),
        json!({"path": "cam-local", "eventTs": START}),
        json!({"segmentPath": "/r/a.mp4", "eventTs": START}),
        json!({"path": "", "segmentPath": "/r/a.mp4"}),
        json!({"path": "cam-local", "segmentPath": ""}),
        json!({"path": null, "segmentPath": null}),
    ] {
        let answer = daemon.post(SEGMENT, &bad).is(400);
        assert_eq!(answer.json(), json!({"error": "Missing required fields: path, segmentPath"}), "{bad}");
    }
}

#[test]
fn an_invalid_event_ts_of_a_segment_is_400_and_names_it() {
    let daemon = opened();
    let body = json!({"path": "cam-local", "segmentPath": "/r/a.mp4", "eventTs": "soon"});
    let error = daemon.post(SEGMENT, &body).is(400).error();
    assert!(error.contains("eventTs"), "{error}");
    assert_eq!(media(&daemon, "s"), [Value::Null, Value::Null], "a bad request changes nothing");
}

/// A script that could not parse the file's name must not cost the segment.
#[test]
fn an_unreadable_start_or_end_of_a_segment_is_as_not_given() {
    let daemon = opened();
    let body = json!({"path": "cam-local", "segmentPath": "/r/a.mp4", "eventTs": at(1, 0), "segmentStartTs": "soon", "segmentEndTs": "x"});
    assert_eq!(daemon.post(SEGMENT, &body).is(200).json()["session_id"], "s");
    assert_eq!(media(&daemon, "s")[1], "2025-10-11T12:01:00.000Z");
}
