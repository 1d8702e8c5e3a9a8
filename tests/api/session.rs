//! `GET /sessions/:id`.

use serde_json::json;

use crate::support::agent::{close, encode, open, session};
use crate::support::daemon::Daemon;

#[test]
fn one_session_is_its_record() {
    let daemon = Daemon::start();
    let opened = open(&daemon, "s");
    assert_eq!(daemon.get("/sessions/s").is(200).json(), opened);
    let closed = close(&daemon, "s", "2025-10-11T12:01:00Z");
    assert_eq!(daemon.get("/sessions/s").is(200).json(), closed);
}

#[test]
fn an_unknown_session_is_404_session_not_found() {
    let daemon = Daemon::start();
    let answer = daemon.get("/sessions/nobody").is(404);
    assert_eq!(answer.json(), json!({"error": "Session not found"}));
}

#[test]
fn ids_in_a_url_arrive_percent_encoded() {
    let daemon = Daemon::start();
    for id in ["a b", "a+b", "100%", "a%2Fb", "ü-ñ-日本-😀", "a?b#c", "a&b=c", "\"q\"", "a:b@c", "~'()*!$,;", "x\ty\nz"] {
        open(&daemon, id);
        assert_eq!(session(&daemon, id)["session_id"], id);
    }
    assert_eq!(daemon.get("/sessions/%61%20%62").is(200).json()["session_id"], "a b");
    assert_eq!(daemon.get("/sessions/a+b").is(200).json()["session_id"], "a+b", "a plus in a path is a plus");
    assert_eq!(daemon.get("/sessions/~'()*!$,;").is(200).json()["session_id"], "~'()*!$,;");
}

#[test]
fn an_id_is_decoded_once() {
    let daemon = Daemon::start();
    open(&daemon, "a%20b");
    assert_eq!(daemon.get("/sessions/a%2520b").is(200).json()["session_id"], "a%20b");
    daemon.get("/sessions/a%20b").is(404);
}

#[test]
fn ids_differ_by_case_and_by_spaces() {
    let daemon = Daemon::start();
    open(&daemon, "Cam");
    for other in ["cam", "Cam ", " Cam", "CAM"] {
        daemon.get(format!("/sessions/{}", encode(other))).is(404);
        open(&daemon, other);
    }
    assert_eq!(daemon.get("/sessions").is(200).json()["sessions"].as_array().unwrap().len(), 5);
}

#[test]
fn ids_with_dots_that_are_no_dot_segments_are_fine() {
    let daemon = Daemon::start();
    for id in ["...", ".hidden", "a..b", "..a", "a..", "a.", "index.html"] {
        open(&daemon, id);
        assert_eq!(daemon.get(format!("/sessions/{id}")).is(200).json()["session_id"], id);
    }
}

#[test]
fn a_query_behind_the_id_is_ignored() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    assert_eq!(daemon.get("/sessions/s?t=1&x=../..").is(200).json()["session_id"], "s");
}
