//! Enriching without a central database.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{START, detection, frame_target, ingest, jpeg, open};
use crate::support::daemon::Daemon;
use crate::support::http::{Request, Response};
use crate::support::records::at;
use crate::support::{keys, text};

fn pending(daemon: &Daemon, query: &str) -> Value {
    daemon.get(format!("/enrichment/pending{query}")).is(200).json()
}

fn patch(daemon: &Daemon, target: &str, body: &Value, if_match: Option<&str>) -> Response {
    let request = Request::new("PATCH", target).json(body);
    daemon.send(&if_match.map_or(request.clone(), |value| request.header("If-Match", value)))
}

fn colour(name: &str) -> Value {
    json!({"color": {"name": name, "hex": "#1a3380"}})
}

#[test]
fn what_waits_is_listed_oldest_first_with_its_picture_and_leaves_the_list_once_it_was_looked_at() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    ingest(&daemon, "s", &[("none", "cup", 0.5)], START, None).is(200);
    ingest(&daemon, "s", &[("2/ä", "cup", 0.5)], START, Some(&jpeg(2))).is(200);
    let list = pending(&daemon, "");
    assert_eq!(keys(&list), ["pending", "next"]);
    let tracks: Vec<_> = list["pending"].as_array().unwrap().iter().map(|one| text(&one["detection"], "track_id")).collect();
    assert_eq!(tracks, ["1", "2/ä"], "a detection without a picture has nothing to look at");
    assert_eq!(daemon.get(frame_target(text(&list["pending"][0]["detection"], "url_frame"))).is(200).body, jpeg(1));
    let first = pending(&daemon, "?limit=1");
    assert_eq!(first["pending"].as_array().unwrap().len(), 1);
    let second = pending(&daemon, &format!("?limit=1&after={}", first["next"]));
    assert_eq!(second["pending"][0]["detection"]["track_id"], "2/ä");
    let answer = patch(&daemon, "/sessions/s/detections/2%2F%C3%A4/attributes", &colour("Rojo vivo"), None).is(200).json();
    assert_eq!(answer, detection(&daemon, "s", "2/ä"));
    assert_eq!(answer["enriched"], true);
    assert_eq!(pending(&daemon, "")["pending"].as_array().unwrap().len(), 1);
    assert_eq!(daemon.get("/sessions?color=ROJO").json()["sessions"][0]["session_id"], "s");
}

#[test]
fn attributes_are_merged_and_the_colour_moves_with_them() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "car", 0.5)], START, Some(&jpeg(1))).is(200);
    let target = "/sessions/s/detections/1/attributes";
    patch(&daemon, target, &colour("azul"), None).is(200);
    patch(&daemon, target, &json!({"plate": "X 1", "color": {"name": "verde"}}), None).is(200);
    assert_eq!(detection(&daemon, "s", "1")["attributes"], json!({"color": {"name": "verde", "hex": "#1a3380"}, "plate": "X 1"}));
    let found = |color: &str| daemon.get(format!("/sessions?color={color}")).json()["sessions"].as_array().unwrap().len();
    assert_eq!((found("azul"), found("verde")), (0, 1));
    let before = daemon.get("/changes").json()["next"].clone();
    patch(&daemon, target, &json!({"plate": "X 1"}), None).is(200);
    assert_eq!(daemon.get("/changes").json()["next"], before, "the same again changes nothing");
    patch(&daemon, target, &json!({"color": null}), None).is(200);
    assert_eq!((found("verde"), detection(&daemon, "s", "1")["attributes"].clone()), (0, json!({"plate": "X 1"})));
}

#[test]
fn an_enrichment_of_a_beaten_frame_is_409_and_the_better_one_waits_again() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "car", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    let target = "/sessions/s/detections/1/attributes";
    let one = pending(&daemon, "")["pending"][0].clone();
    let (tag, capture) = (text(&one, "etag").to_owned(), text(&one["detection"], "capture_ts").to_owned());
    patch(&daemon, target, &colour("azul"), Some(&tag)).is(200);
    patch(&daemon, target, &colour("azul"), Some(&format!("\"{capture}\""))).is(200);
    let before = daemon.get("/enrichment/pending").json();
    assert_eq!(before["pending"], json!([]));
    ingest(&daemon, "s", &[("1", "car", 0.9)], &at(0, 2), Some(&jpeg(2))).is(200);
    for old in [tag.as_str(), capture.as_str(), "\"nonsense\""] {
        let error = patch(&daemon, target, &colour("rojo"), Some(old)).is(409).error();
        assert!(error.contains("better"), "{error}");
    }
    let now = detection(&daemon, "s", "1");
    assert_eq!((&now["enriched"], &now["attributes"]["color"]["name"]), (&json!(false), &json!("azul")), "what was said stays");
    let again = pending(&daemon, &format!("?after={}", before["next"]))["pending"][0].clone();
    patch(&daemon, target, &colour("rojo"), Some(text(&again, "etag"))).is(200);
    assert_eq!(daemon.get("/sessions?color=rojo").json()["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_attributes_is_refused_and_changes_nothing() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "car", 0.5)], START, Some(&jpeg(1))).is(200);
    let before = detection(&daemon, "s", "1");
    let target = "/sessions/s/detections/1/attributes";
    patch(&daemon, target, &json!([1]), None).is(400);
    patch(&daemon, target, &json!({"note": "x".repeat(17_000)}), None).is(413);
    patch(&daemon, "/sessions/s/detections/2/attributes", &colour("x"), None).is(404);
    assert_eq!(patch(&daemon, "/sessions/t/detections/1/attributes", &colour("x"), None).is(404).error(), "Session not found");
    daemon.get(target).is(405);
    daemon.get("/enrichment/pending?after=x").is(400);
    assert_eq!(detection(&daemon, "s", "1"), before);
}

#[test]
fn a_long_poll_is_answered_when_something_waits() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let next = pending(&daemon, "")["next"].clone();
    let mut waiting = daemon.client();
    waiting.write(&Request::get(format!("/enrichment/pending?after={next}&wait_sec=20")).bytes()).unwrap();
    let begun = Instant::now();
    ingest(&daemon, "s", &[("1", "car", 0.5)], START, Some(&jpeg(1))).is(200);
    let answer = waiting.read(false).expect("an answer").is(200).json();
    assert_eq!(answer["pending"][0]["detection"]["track_id"], "1");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
