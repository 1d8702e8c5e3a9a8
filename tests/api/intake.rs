//! `POST /import` and `PUT /import/frames/:id/:file`: an export's lines and pictures, piece by piece, into a running store.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::{START, detection, ingest, jpeg, open, picture, pictures, session};
use crate::support::daemon::{Daemon, ndjson};
use crate::support::http::{Request, Response};
use crate::support::until;

fn piece(daemon: &Daemon, query: &str, lines: &[Value]) -> Response {
    let request = Request::post(format!("/import{query}")).header("Content-Type", "application/x-ndjson");
    daemon.send(&request.body(ndjson(lines)))
}

fn put(target: &str, body: impl Into<Vec<u8>>) -> Request {
    Request::new("PUT", target).header("Content-Type", "image/jpeg").body(body)
}

fn session_line(id: &str) -> Value {
    json!({"session": {"session_id": id, "device_id": "d", "path": "p", "start_ts": START, "end_ts": START}})
}

fn detection_line(id: &str, track: &str, conf: f64, file: &str) -> Value {
    json!({"detection": {"session_id": id, "track_id": track, "cls": "person", "conf": conf, "bbox": {"x": 0, "y": 0, "w": 1, "h": 1},
        "url_frame": format!("/frames/{id}/{file}"), "first_ts": START, "last_ts": START, "capture_ts": START}})
}

#[test]
fn good_lines_are_taken_in_and_each_bad_one_is_named_with_its_reason() {
    let daemon = Daemon::start();
    open(&daemon, "mine");
    let lines = [
        session_line("s"),
        json!({"session_deleted": {"session_id": "mine"}}),
        json!({"segment": {"path": "p", "file": "f", "start_ts": START, "end_ts": START}}),
        json!({"nothing": 1}),
        detection_line("elsewhere", "1", 0.5, "x.jpg"),
        detection_line("s", "1", 1.5, "x.jpg"),
        detection_line("s", "2", 0.5, "x.jpg"),
        json!({"session": {"session_id": "c", "device_id": "d", "path": "p", "start_ts": START, "detected_classes": vec!["x"; 1001]}}),
    ];
    let answer = piece(&daemon, "", &lines).is(200).json();
    assert_eq!(answer["lines"], 2);
    assert_eq!((&answer["sessions"], &answer["detections"], &answer["frames_missing"]), (&json!(1), &json!(1), &json!(1)));
    let refused: Vec<_> = answer["refused"].as_array().unwrap().iter().map(|one| one["line"].as_u64().unwrap()).collect();
    let mut sorted = refused.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [2, 3, 4, 5, 6, 8], "{answer}");
    session(&daemon, "mine");
    assert!(detection(&daemon, "s", "2")["url_frame"].is_null(), "its file is not there");
    // The same again changes nothing, and nothing differs.
    let again = piece(&daemon, "", &lines).is(200).json();
    assert_eq!((&again["sessions"], &again["detections"]), (&json!(0), &json!(0)));
    assert_eq!(piece(&daemon, "?only=compare", &[lines[0].clone(), lines[6].clone()]).json(), json!({"differences": []}));
}

#[test]
fn a_picture_comes_before_its_row_and_is_asked_for_once() {
    let daemon = Daemon::start();
    let row = detection_line("s", "1", 0.5, "best.jpg");
    piece(&daemon, "", &[session_line("s")]).is(200);
    assert_eq!(piece(&daemon, "?only=frames", std::slice::from_ref(&row)).is(200).json(), json!({"frames_wanted": [1]}));
    assert_eq!(daemon.send(&put("/import/frames/s/best.jpg", jpeg(1))).is(200).json(), json!({"file": "best.jpg"}));
    assert_eq!(piece(&daemon, "?only=frames", std::slice::from_ref(&row)).json(), json!({"frames_wanted": []}));
    piece(&daemon, "", std::slice::from_ref(&row)).is(200);
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, jpeg(1));
    // A file that a row names is nobody's to replace.
    daemon.send(&put("/import/frames/s/best.jpg", jpeg(2))).is(200);
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, jpeg(1));
    // A better sighting's picture is not wanted back.
    ingest(&daemon, "s", &[("1", "person", 0.9)], START, Some(&jpeg(3))).is(200);
    assert_eq!(piece(&daemon, "?only=frames", &[row]).json(), json!({"frames_wanted": []}));
}

/// The queue of beaten frames has their names in memory. A row that named such a file again, one that two tracks share say,
/// would have seen it deleted a moment later.
#[test]
fn a_file_that_waits_to_be_deleted_is_not_named_again() {
    let daemon = Daemon::start();
    piece(&daemon, "", &[session_line("s")]).is(200);
    for round in 0..10 {
        let (one, two) = (format!("{round}a"), format!("{round}b"));
        let file = format!("{round}.jpg");
        let at = format!("/import/frames/s/{file}");
        daemon.send(&put(&at, jpeg(1))).is(200);
        piece(&daemon, "", &[detection_line("s", &one, 0.5, &file)]).is(200);
        ingest(&daemon, "s", &[(&one, "person", 0.9)], START, None).is(200);
        ingest(&daemon, "s", &[(&one, "person", 0.95)], START, Some(&jpeg(2))).is(200);
        let name = daemon.send(&put(&at, jpeg(1))).is(200).json()["file"].as_str().unwrap().to_owned();
        assert_ne!(name, file, "it waits to be deleted");
        let answer = piece(&daemon, "", &[detection_line("s", &two, 0.5, &name), detection_line("s", "early", 0.1, &file)]);
        assert_eq!(answer.is(200).json()["frames_missing"], 1);
    }
    until("the beaten ones are gone", Duration::from_secs(20), || (pictures(&daemon, "s").len() == 20).then_some(()));
    for round in 0..10 {
        assert_eq!(picture(&daemon, &detection(&daemon, "s", &format!("{round}b"))).is(200).body, jpeg(1));
    }
    let verdicts = daemon.get("/verify?deep=1").is(200).text();
    assert!(verdicts.contains("\"findings\":0"), "{verdicts}");
}

#[test]
fn what_is_no_import_is_refused_and_changes_nothing() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let lines = |body: &str| Request::post("/import").header("Content-Type", "application/x-ndjson").body(body);
    for (request, status, says) in [
        (Request::get("/import"), 405, "POST"),
        (Request::post("/import/frames/s/a.jpg").body("x"), 405, "PUT"),
        (Request::post("/import").header("Content-Type", "application/json").body("{}"), 415, "x-ndjson"),
        (lines("{}").header("Content-Encoding", "gzip"), 415, "compressed"),
        (Request::post("/import"), 411, "Content-Length"),
        (lines(&"x".repeat((1 << 20) + 1)), 413, "1048576"),
        (lines(&"{}\n".repeat(501)), 400, "500 lines"),
        (Request::post("/import").body("{}"), 415, "x-ndjson"),
        (
            Request::post("/import?only=nothing").header("Content-Type", "application/x-ndjson").body("{}"),
            400,
            "frames or compare",
        ),
        (put("/import/frames/s/a.jpg", "no picture"), 400, "JPEG"),
        (put("/import/frames/s/a.jpg", &jpeg(1)[..1000]), 400, "truncated"),
        (put("/import/frames/s/a%2Fb.jpg", jpeg(1)), 400, "file"),
        (put("/import/frames/%2E%2E/a.jpg", jpeg(1)), 400, "sessionId"),
        (put("/import/frames/nobody/a.jpg", jpeg(1)), 404, "Session not found"),
        (put("/import/frames/s/a.jpg", vec![0; (5 << 20) + 1]), 413, "5242880"),
        (Request::new("PUT", "/import/frames/s/a.jpg").header("Content-Type", "text/plain").body(jpeg(1)), 415, "image/jpeg"),
    ] {
        let answer = daemon.send(&request).is(status);
        assert!(answer.error().contains(says), "{says}: {}", answer.text());
    }
    assert!(pictures(&daemon, "s").is_empty());
    assert!(piece(&daemon, "", &[]).is(200).json()["refused"].as_array().unwrap().is_empty());
}
