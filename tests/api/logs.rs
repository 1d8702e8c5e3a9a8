//! Log lines: one structured record per request, and no secret in any.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::{START, ingest, jpeg, open};
use crate::support::daemon::Daemon;
use crate::support::http::{Request, Response};
use crate::support::until;

/// The records of requests, told by their method and status.
fn requests(daemon: &Daemon) -> Vec<Value> {
    let lines = daemon.logs();
    let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|record| record["method"].is_string() && record["status"].is_number()).collect()
}

/// The one record of this answer.
#[track_caller]
fn record_of(daemon: &Daemon, answer: &Response) -> Value {
    let id = answer.must("x-request-id");
    until("the request's record", Duration::from_secs(5), || {
        requests(daemon).into_iter().find(|record| record["request_id"] == id)
    })
}

#[test]
fn a_request_is_logged_with_ts_method_path_status_elapsed_ms_and_ip() {
    let daemon = Daemon::start();
    let answer = daemon.get("/sessions?limit=5&classes=a%2Cb").is(200);
    let record = record_of(&daemon, &answer);
    assert_eq!(record["method"], "GET");
    assert_eq!(record["path"], "/sessions?limit=5&classes=a%2Cb", "with its query, as it came");
    assert_eq!(record["status"], 200);
    assert!(record["elapsed_ms"].is_u64(), "{record}");
    assert_eq!(record["ip"], "127.0.0.1");
    let ts = record["ts"].as_str().expect("a time");
    assert!(ts.len() >= 20 && ts.ends_with('Z') && &ts[10..11] == "T", "{ts}");
}

#[test]
fn there_is_one_record_per_request_whatever_its_answer() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for (request, status) in [
        (Request::get("/health"), 200),
        (Request::get("/nothing?a=b"), 404),
        (Request::get("/sessions/a%20b"), 404),
        (Request::get("/sessions/%2e%2e"), 400),
        (Request::head("/sessions/s"), 200),
        (Request::new("DELETE", "/sessions/s"), 405),
        (Request::new("OPTIONS", "/sessions"), 204),
        (Request::post("/sessions/open"), 411),
        (Request::post("/sessions/open").header("Content-Length", "9999999"), 413),
        (Request::post("/sessions/open").header("Content-Type", "a/b").body("x"), 415),
        (Request::post("/sessions/open").json(&json!({})), 400),
    ] {
        let answer = daemon.send(&request);
        let record = record_of(&daemon, &answer);
        assert_eq!(record["status"], answer.status, "{record}");
        if status != 204 {
            assert_eq!(answer.status, status, "{record}");
        }
        let sent = String::from_utf8_lossy(&request.bytes()).into_owned();
        let mut words = sent.split(' ');
        assert_eq!(record["method"], words.next().unwrap());
        assert_eq!(record["path"], words.next().unwrap());
    }
    let last = record_of(&daemon, &daemon.get("/health"));
    let ids: Vec<Value> = requests(&daemon).iter().map(|record| record["request_id"].clone()).collect();
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len(), "none twice");
    assert_eq!(ids.len(), 13, "{last}");
}

#[test]
fn a_304_is_logged_as_such() {
    let daemon = Daemon::start();
    let etag = daemon.get("/sessions").must("etag").to_owned();
    let answer = daemon.send(&Request::get("/sessions").header("If-None-Match", &etag)).is(304);
    assert_eq!(record_of(&daemon, &answer)["status"], 304);
}

#[test]
fn every_line_of_a_json_log_is_one_object() {
    let daemon = Daemon::start();
    open(&daemon, "line\nbreak\"\u{7f}");
    daemon.get("/sessions/line%0Abreak%22%7F").is(200);
    daemon.get("/a\"b\\c{}").is(404);
    ingest(&daemon, "line\nbreak\"\u{7f}", &[("1\n2", "cup\n", 0.5)], START, Some(&jpeg(1)));
    let last = daemon.get("/health").is(200);
    record_of(&daemon, &last);
    for line in daemon.logs() {
        let parsed: Result<Value, _> = serde_json::from_str(&line);
        assert!(parsed.is_ok_and(|record| record.is_object()), "{line}");
    }
}

#[test]
fn elapsed_ms_counts_the_wait_of_the_answer() {
    let daemon = Daemon::start();
    let next = daemon.get("/changes").is(200).json()["next"].clone();
    let answer = daemon.get(format!("/changes?since={next}&wait_sec=1")).is(200);
    let elapsed = record_of(&daemon, &answer)["elapsed_ms"].as_u64().unwrap();
    assert!((900..10_000).contains(&elapsed), "{elapsed}");
}

#[test]
fn no_token_password_or_url_user_info_is_in_any_log_line() {
    let mut daemon = Daemon::with(
        "[server]\nnode_env = \"production\"\nnonsense = \"x\"\n\
         [database]\nurl = \"postgres://dbuser:dbsecret@host.invalid:5432/session_store\"\n\
         [mediamtx]\nhook_token = \"hooksecret\"\nplayback_base_url = \"http://mtxuser:mtxsecret@mediamtx:9996\"\n",
    );
    open(&daemon, "s");
    let body = json!({"path": "cam-local", "eventTs": START});
    for token in ["hooksecret", "wrongsecret"] {
        daemon.send(&Request::post("/hooks/mediamtx/publish").json(&body).header("X-Hook-Token", token));
    }
    let answer = daemon.send(&Request::get("/health").header("Authorization", "Bearer authsecret"));
    record_of(&daemon, &answer);
    daemon.terminate();
    let all = daemon.logs().join("\n");
    assert!(all.contains("/hooks/mediamtx/publish"));
    assert!(!all.contains("secret"), "{}", all.lines().find(|line| line.contains("secret")).unwrap_or_default());
}

#[test]
fn requests_are_logged_at_level_info() {
    let daemon = Daemon::with("[log]\nlevel = \"info\"\n");
    let answer = daemon.get("/health").is(200);
    record_of(&daemon, &answer);
}
