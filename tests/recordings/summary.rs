//! `GET /recordings/summary`.

use serde_json::json;

use crate::site::{self, close, field, open};
use crate::support::agent::ingest;

#[test]
fn an_hour_says_what_is_covered_and_what_was_seen() {
    let daemon = site::of_samples("");
    open(&daemon, "s", "cam-local", "2026-11-23T11:32:36Z");
    ingest(&daemon, "s", &[("1", "person", 0.5), ("2", "dog", 0.5)], "2026-11-23T11:32:40Z", None).is(200);
    close(&daemon, "s", "2026-11-23T12:10:00Z");
    let hours = daemon
        .get("/recordings/summary?from=2026-11-23T11:00:00Z&to=2026-11-23T13:00:00Z&bucket=hour&path=cam-local")
        .is(200)
        .json();
    assert_eq!(hours["bucket"], "hour");
    assert_eq!(field(&hours["buckets"], "start"), ["2026-11-23T11:00:00.000Z", "2026-11-23T12:00:00.000Z"]);
    assert_eq!(field(&hours["buckets"], "covered_ms"), [23_807, 0]);
    assert_eq!(field(&hours["buckets"], "sessions"), [1, 1]);
    assert_eq!(field(&hours["buckets"], "detections"), [2, 0]);
    assert_eq!(hours["buckets"][0]["covered_minutes"], 0.39);
    // A day of the cameras' time zone, UTC-3; all paths together.
    let days = daemon.get("/recordings/summary?from=2026-11-23T11:00:00Z&to=2026-11-23T13:00:00Z&bucket=day").is(200).json();
    assert_eq!(field(&days["buckets"], "start"), ["2026-11-23T03:00:00.000Z"]);
    assert!(days["buckets"][0]["covered_ms"].as_i64().unwrap() > 50_000, "{days}");
    assert_eq!(days["path"], json!(null));
}

#[test]
fn a_window_of_too_many_buckets_is_refused() {
    let daemon = site::of_samples("");
    for query in [
        "from=2000-01-01T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&bucket=week",
        "to=x",
    ] {
        let answer = daemon.get(format!("/recordings/summary?{query}")).is(400).json();
        assert!(answer["error"].as_str().unwrap().len() > 10, "{answer}");
    }
}
