//! `POST /hooks/mediamtx/publish`, and the token of all hooks.

use serde_json::{Value, json};

use crate::support::agent::{END, START, close, open, open_at, session};
use crate::support::daemon::Daemon;
use crate::support::http::Request;
use crate::support::records::at;

const PUBLISH: &str = "/hooks/mediamtx/publish";
const CREATED: &str = "/hooks/mediamtx/record/segment/create";
const SEGMENT: &str = "/hooks/mediamtx/record/segment/complete";

fn publish(daemon: &Daemon, path: &str, at: &str) -> Value {
    daemon.post(PUBLISH, &json!({"path": path, "eventTs": at})).is(200).json()
}

#[test]
fn publish_answers_ok_and_sets_media_connect_ts_and_the_offset() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let answer = publish(&daemon, "cam-local", "2025-10-11T12:00:05Z");
    assert_eq!(answer, json!({"status": "ok", "session_id": "s"}));
    let record = session(&daemon, "s");
    assert_eq!(record["media_connect_ts"], "2025-10-11T12:00:05.000Z");
    assert_eq!(record["recommended_start_offset_ms"], 200, "200 if unset");
    assert_eq!(record["media_start_ts"], Value::Null);
}

#[test]
fn the_offset_is_playback_start_offset_ms() {
    let daemon = Daemon::with("[playback]\nstart_offset_ms = 1000\nextra_seconds = 1\n");
    open(&daemon, "s");
    publish(&daemon, "cam-local", START);
    assert_eq!(session(&daemon, "s")["recommended_start_offset_ms"], 1000);
}

#[test]
fn a_second_publish_leaves_what_is_no_longer_null() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    publish(&daemon, "cam-local", "2025-10-11T12:00:05Z");
    let first = session(&daemon, "s");
    for later in ["2025-10-11T12:00:09Z", "2025-10-11T12:00:01Z"] {
        assert_eq!(publish(&daemon, "cam-local", later), json!({"status": "ok", "session_id": "s"}));
    }
    assert_eq!(session(&daemon, "s"), first, "updated_at included");
}

#[test]
fn publish_is_for_the_paths_newest_open_session() {
    let daemon = Daemon::start();
    // Of several devices: one that opens a newer session has ended its older one.
    for (id, path, minute) in [("newest", "p", 20), ("older", "p", 10), ("elsewhere", "q", 30), ("closed", "p", 40)] {
        let open = json!({"sessionId": id, "devId": format!("device of {id}"), "path": path, "startTs": at(minute, 0)});
        daemon.post("/sessions/open", &open).is(201);
    }
    close(&daemon, "closed", &at(50, 0));
    assert_eq!(publish(&daemon, "p", &at(21, 0))["session_id"], "newest");
    for id in ["older", "elsewhere", "closed"] {
        assert_eq!(session(&daemon, id)["media_connect_ts"], Value::Null, "{id}");
    }
    close(&daemon, "newest", &at(50, 0));
    assert_eq!(publish(&daemon, "p", &at(22, 0))["session_id"], "older");
}

#[test]
fn publish_without_an_open_session_is_200_no_session() {
    let daemon = Daemon::start();
    assert_eq!(publish(&daemon, "cam-local", START), json!({"status": "no_session"}));
    open(&daemon, "s");
    assert_eq!(publish(&daemon, "cam", START), json!({"status": "no_session"}), "no prefix of a path");
    assert_eq!(publish(&daemon, "cam-local2", START), json!({"status": "no_session"}));
    close(&daemon, "s", END);
    assert_eq!(publish(&daemon, "cam-local", START), json!({"status": "no_session"}));
}

#[test]
fn paths_with_slashes_and_other_text_are_found() {
    let daemon = Daemon::start();
    for (number, path) in ["site/one/cam 1", "ü", "a%2Fb"].into_iter().enumerate() {
        let id = format!("s{number}");
        open_at(&daemon, &id, path, START);
        assert_eq!(publish(&daemon, path, START)["session_id"], id.as_str(), "{path}");
    }
}

#[test]
fn missing_fields_of_publish_are_400_missing_required_fields_path_event_ts() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for bad in [
        json!({}),
        json!({"path": "cam-local"}),
        json!({"eventTs": START}),
        json!({"path": "", "eventTs": START}),
        json!({"path": "cam-local", "eventTs": ""}),
        json!({"path": null, "eventTs": null}),
        json!({"path": "cam-local", "eventTs": null}),
    ] {
        let answer = daemon.post(PUBLISH, &bad).is(400);
        assert_eq!(answer.json(), json!({"error": "Missing required fields: path, eventTs"}), "{bad}");
    }
    assert_eq!(session(&daemon, "s")["media_connect_ts"], Value::Null);
}

#[test]
fn with_hook_token_set_x_hook_token_must_equal_it_or_401() {
    let daemon = Daemon::with("[mediamtx]\nhook_token = \"s3cret token\"\n");
    open(&daemon, "s");
    for target in [PUBLISH, CREATED, SEGMENT] {
        let body = json!({"path": "cam-local", "segmentPath": "/r/a.mp4", "eventTs": at(1, 0)});
        let request = || Request::post(target).json(&body);
        for wrong in ["", "s3cret", "s3cret token2", "S3CRET TOKEN", "Bearer s3cret token", "\"s3cret token\""] {
            let answer = daemon.send(&request().header("X-Hook-Token", wrong)).is(401);
            assert_eq!(answer.json(), json!({"error": "Unauthorized"}), "{wrong:?}");
        }
        assert_eq!(daemon.send(&request()).is(401).error(), "Unauthorized", "none at all");
        assert_eq!(daemon.post(format!("{target}?token=s3cret%20token"), &body).status, 401);
        assert_eq!(session(&daemon, "s")["media_end_ts"], Value::Null, "refused requests change nothing");
        for name in ["X-Hook-Token", "x-hook-token"] {
            let answer = daemon.send(&request().header(name, "s3cret token")).is(200);
            assert_eq!(answer.json()["status"], "ok");
        }
    }
}

#[test]
fn without_the_token_nothing_else_is_said_about_the_request() {
    let daemon = Daemon::with("[mediamtx]\nhook_token = \"t\"\n");
    for body in ["{}", "{", ""] {
        let request = Request::post(PUBLISH).header("Content-Type", "application/json").body(body);
        assert_eq!(daemon.send(&request).is(401).error(), "Unauthorized", "{body:?}");
    }
}

#[test]
fn the_token_is_for_the_hooks_alone() {
    let daemon = Daemon::with("[mediamtx]\nhook_token = \"t\"\n");
    open(&daemon, "s");
    daemon.get("/sessions").is(200);
    daemon.get("/health").is(200);
}

#[test]
fn an_empty_hook_token_is_none_and_without_one_any_header_is_ignored() {
    for config in ["[mediamtx]\nhook_token = \"\"\n", ""] {
        let daemon = Daemon::with(config);
        open(&daemon, "s");
        assert_eq!(publish(&daemon, "cam-local", START)["status"], "ok");
        let body = json!({"path": "cam-local", "eventTs": START});
        for token in ["", "anything"] {
            daemon.send(&Request::post(PUBLISH).json(&body).header("X-Hook-Token", token)).is(200);
        }
    }
}
