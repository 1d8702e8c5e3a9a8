//! `POST /sessions/open`.

use serde_json::{Value, json};

use crate::support::agent::{START, close, ingest, jpeg, open, opening, session};
use crate::support::daemon::Daemon;
use crate::support::http::Request;
use crate::support::keys;

const FIELDS: [&str; 17] = [
    "session_id",
    "device_id",
    "path",
    "status",
    "start_ts",
    "end_ts",
    "postroll_sec",
    "reason",
    "media_connect_ts",
    "media_start_ts",
    "media_end_ts",
    "recommended_start_offset_ms",
    "configured_classes",
    "detected_classes",
    "created_at",
    "updated_at",
    "end_reason",
];

#[test]
fn open_answers_201_and_the_record_in_this_field_order() {
    let daemon = Daemon::start();
    let body = json!({
        "sessionId": "sess_cam-local_1760134453955_1", "devId": "cam-local", "streamPath": "cam-local",
        "startTs": START, "reason": "relevance", "configuredClasses": ["person", "cup"]
    });
    let answer = daemon.post("/sessions/open", &body).is(201);
    assert!(answer.must("content-type").starts_with("application/json"));
    let record = answer.json();
    assert_eq!(keys(&record), FIELDS);
    let mut expected = json!({
        "session_id": "sess_cam-local_1760134453955_1", "device_id": "cam-local", "path": "cam-local",
        "status": "open", "start_ts": START, "end_ts": null, "postroll_sec": null, "reason": "relevance",
        "media_connect_ts": null, "media_start_ts": null, "media_end_ts": null, "recommended_start_offset_ms": null,
        "configured_classes": ["person", "cup"], "detected_classes": [], "end_reason": null
    });
    for moment in ["created_at", "updated_at"] {
        let text = record[moment].as_str().expect("a time");
        assert!(text.len() == 24 && text.ends_with('Z'), "{moment} has milliseconds and Z: {text}");
        expected[moment] = record[moment].clone();
    }
    assert_eq!(record, expected);
    assert_eq!(session(&daemon, "sess_cam-local_1760134453955_1"), record);
}

#[test]
fn every_field_is_always_present_also_in_the_shortest_open() {
    let daemon = Daemon::start();
    let record = open(&daemon, "short");
    assert_eq!(keys(&record), FIELDS);
    assert_eq!(record["reason"], Value::Null);
    assert_eq!(record["configured_classes"], json!([]), "the class lists are never null");
    assert_eq!(record["detected_classes"], json!([]), "the class lists are never null");
}

#[test]
fn open_falls_back_from_path_to_stream_path_to_dev_id() {
    let daemon = Daemon::start();
    let cases = [
        (json!({"path": "p", "streamPath": "s"}), "p"),
        (json!({"streamPath": "s"}), "s"),
        (json!({}), "d"),
        (json!({"path": null, "streamPath": "s"}), "s"),
        (json!({"path": null, "streamPath": null}), "d"),
        (json!({"path": "", "streamPath": ""}), "d"),
        (json!({"path": "site/cam 1"}), "site/cam 1"),
    ];
    for (number, (given, path)) in cases.into_iter().enumerate() {
        let mut body = json!({"sessionId": format!("s{number}"), "devId": "d", "startTs": START});
        for (key, value) in given.as_object().expect("an object") {
            body[key] = value.clone();
        }
        let record = daemon.post("/sessions/open", &body).is(201).json();
        assert_eq!(record["path"], path, "{body}");
        assert_eq!(record["device_id"], "d");
    }
}

#[test]
fn open_of_a_known_id_is_200_and_the_untouched_record() {
    let daemon = Daemon::start();
    let first = open(&daemon, "again");
    let other = json!({
        "sessionId": "again", "devId": "other", "path": "other", "startTs": "2026-01-01T00:00:00Z",
        "reason": "other", "configuredClasses": ["dog"]
    });
    assert_eq!(daemon.post("/sessions/open", &other).is(200).json(), first);
    assert_eq!(session(&daemon, "again"), first);
}

#[test]
fn open_of_a_closed_session_does_not_open_it_again() {
    let daemon = Daemon::start();
    open(&daemon, "shut");
    ingest(&daemon, "shut", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let closed = close(&daemon, "shut", "2025-10-11T12:01:00Z");
    assert_eq!(daemon.post("/sessions/open", &opening("shut")).is(200).json(), closed);
}

#[test]
fn classes_are_trimmed_empties_dropped_and_duplicates_removed_in_order() {
    let daemon = Daemon::start();
    let mut body = opening("classes");
    body["configuredClasses"] = json!([" person ", "cup", "", "person", "   ", "dog\t", "cup "]);
    let record = daemon.post("/sessions/open", &body).is(201).json();
    assert_eq!(record["configured_classes"], json!(["person", "cup", "dog"]));
}

#[test]
fn configured_classes_is_accepted_as_a_second_spelling() {
    let daemon = Daemon::start();
    let mut body = opening("second");
    body["configured_classes"] = json!([" b ", "a", "b"]);
    let record = daemon.post("/sessions/open", &body).is(201).json();
    assert_eq!(record["configured_classes"], json!(["b", "a"]));
}

#[test]
fn configured_classes_null_is_an_empty_list() {
    let daemon = Daemon::start();
    let mut body = opening("null");
    body["configuredClasses"] = Value::Null;
    assert_eq!(daemon.post("/sessions/open", &body).is(201).json()["configured_classes"], json!([]));
}

#[test]
fn open_without_a_required_field_is_400_and_names_it() {
    let daemon = Daemon::start();
    for field in ["sessionId", "devId", "startTs"] {
        for bad in [None, Some(Value::Null), Some(json!("")), Some(json!({})), Some(json!(["a"])), Some(json!(true))] {
            let mut body = opening("bad");
            match bad {
                Some(value) => body[field] = value,
                None => drop(body.as_object_mut().expect("an object").remove(field)),
            }
            let error = daemon.post("/sessions/open", &body).is(400).error();
            assert!(error.contains(field), "{body}: {error}");
        }
    }
    assert_eq!(daemon.get("/sessions").is(200).json()["sessions"], json!([]), "a bad request changes nothing");
}

#[test]
fn open_with_classes_that_are_no_list_is_400_and_names_the_field() {
    let daemon = Daemon::start();
    for bad in [json!("person"), json!(5), json!({"a": 1})] {
        let mut body = opening("bad");
        body["configuredClasses"] = bad;
        let error = daemon.post("/sessions/open", &body).is(400).error();
        assert!(error.contains("configuredClasses"), "{error}");
    }
    daemon.get("/sessions/bad").is(404);
}

#[test]
fn open_ignores_fields_that_it_does_not_know() {
    let daemon = Daemon::start();
    let mut body = opening("more");
    body["firmware"] = json!({"version": [1, 2]});
    body["status"] = json!("closed");
    let record = daemon.post("/sessions/open", &body).is(201).json();
    assert_eq!(record["status"], "open");
    assert!(record.get("firmware").is_none());
}

#[test]
fn several_sessions_of_one_path_may_be_open_at_once() {
    let daemon = Daemon::start();
    for id in ["one", "two"] {
        open(&daemon, id);
    }
    assert_eq!(session(&daemon, "one")["status"], "open");
    assert_eq!(session(&daemon, "two")["status"], "open");
}

#[test]
fn concurrent_opens_of_one_id_give_one_201_and_the_same_record() {
    let daemon = Daemon::start();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| daemon.post("/sessions/open", &opening("race")))).collect();
        racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
    });
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 7);
    let record = session(&daemon, "race");
    assert!(answers.iter().all(|answer| answer.json() == record));
}

#[test]
fn text_that_is_no_json_object_is_400() {
    let daemon = Daemon::start();
    for body in
        ["", "{", "null", "5", "\"text\"", "[]", "[{\"sessionId\":\"a\"}]", "{\"sessionId\":\"a\"} x", "\u{feff}\u{feff}{}"]
    {
        let request = Request::post("/sessions/open").header("Content-Type", "application/json").body(body);
        let error = daemon.send(&request).is(400).error();
        assert!(!error.is_empty(), "{body:?}");
    }
    let bytes = [b"{\"sessionId\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat();
    daemon.send(&Request::post("/sessions/open").header("Content-Type", "application/json").body(bytes)).is(400);
}

#[test]
fn json_nested_without_end_is_400_and_the_daemon_lives() {
    let daemon = Daemon::start();
    let body = "[".repeat(100_000);
    daemon.send(&Request::post("/sessions/open").header("Content-Type", "application/json").body(body)).is(400);
    daemon.get("/health").is(200);
}

#[test]
fn open_is_answered_under_a_trailing_charset_and_without_a_content_type() {
    let daemon = Daemon::start();
    let types = [
        Some("application/json; charset=utf-8"),
        Some("APPLICATION/JSON"),
        Some("application/json;charset=UTF-8"),
        Some("application/vnd.agent+json"),
        None,
    ];
    for (number, media_type) in types.into_iter().enumerate() {
        let mut request = Request::post("/sessions/open").body(opening(&format!("t{number}")).to_string());
        if let Some(media_type) = media_type {
            request = request.header("Content-Type", media_type);
        }
        daemon.send(&request).is(201);
    }
}

#[test]
fn session_ids_of_255_bytes_open_and_of_256_are_400() {
    let daemon = Daemon::start();
    for id in ["x".repeat(255), "é".repeat(127) + "x"] {
        assert_eq!(open(&daemon, &id)["session_id"], id.as_str());
        assert_eq!(session(&daemon, &id)["session_id"], id.as_str());
    }
    for id in ["x".repeat(256), "é".repeat(128)] {
        let error = daemon.post("/sessions/open", &opening(&id)).is(400).error();
        assert!(error.contains("sessionId"), "{error}");
    }
}
