//! `GET /ingest/detections/:sessionId`.

use serde_json::{Value, json};

use crate::support::agent::{encode, ingest, open};
use crate::support::daemon::{Daemon, Home};
use crate::support::keys;
use crate::support::records::{at, colour, detection_line, session_line};

fn tracks(daemon: &Daemon, id: &str) -> Vec<String> {
    let answer = daemon.get(format!("/ingest/detections/{}", encode(id))).is(200).json();
    let list = answer["detections"].as_array().expect("a list");
    assert_eq!(answer["count"], list.len());
    list.iter().map(|one| one["track_id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn detections_answer_session_id_count_and_detections() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5), ("2", "cup", 0.5)], &at(0, 1), None).is(200);
    let answer = daemon.get("/ingest/detections/s").is(200).json();
    assert_eq!(keys(&answer)[..3], ["sessionId", "count", "detections"]);
    assert_eq!((&answer["sessionId"], &answer["count"]), (&json!("s"), &json!(2)));
    assert!(answer["detections"].as_array().unwrap().iter().all(|one| one["session_id"] == "s"));
}

#[test]
fn an_unknown_session_gives_count_0() {
    let daemon = Daemon::start();
    let expected = json!({"sessionId": "no body", "count": 0, "detections": []});
    assert_eq!(daemon.get("/ingest/detections/no%20body").is(200).json(), expected);
    open(&daemon, "empty");
    assert_eq!(daemon.get("/ingest/detections/empty").is(200).json()["count"], 0);
}

#[test]
fn detections_come_by_last_ts_ascending() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for (track, second) in [("b", 20), ("a", 30), ("c", 10), ("10", 40), ("9", 50)] {
        ingest(&daemon, "s", &[(track, "cup", 0.5)], &at(0, second), None).is(200);
    }
    assert_eq!(tracks(&daemon, "s"), ["c", "b", "a", "10", "9"]);
    ingest(&daemon, "s", &[("c", "cup", 0.1)], &at(0, 55), None).is(200);
    assert_eq!(tracks(&daemon, "s"), ["b", "a", "10", "9", "c"], "a sighting that only widens counts too");
}

#[test]
fn sessions_whose_ids_begin_alike_are_kept_apart() {
    let daemon = Daemon::start();
    for id in ["s", "s ", "s1", "s\u{1}", "S"] {
        open(&daemon, id);
        ingest(&daemon, id, &[(&format!("of-{id}"), "cup", 0.5)], &at(0, 1), None).is(200);
    }
    for id in ["s", "s ", "s1", "s\u{1}", "S"] {
        assert_eq!(tracks(&daemon, id), [format!("of-{id}")]);
    }
}

#[test]
fn attributes_are_the_enrichers_json_as_it_is() {
    let home = Home::new("");
    let mut change = colour("azul oscuro");
    change["attributes"]["more"] = json!({"z": [1, null, 2.5, "ñ"], "a": {}});
    home.import(&[
        session_line("s", &at(0, 0), &at(9, 0), &["person"], &json!({})),
        detection_line("s", "1", "person", &at(1, 0), &change),
        detection_line("s", "2", "person", &at(2, 0), &json!({})),
    ]);
    let daemon = Daemon::on(home);
    let answer = daemon.get("/ingest/detections/s").is(200).json();
    let [first, second] = [&answer["detections"][0], &answer["detections"][1]];
    assert_eq!(first["attributes"].to_string(), change["attributes"].to_string());
    assert_eq!(first["enriched"], true);
    assert_eq!((&second["attributes"], &second["enriched"]), (&Value::Null, &json!(false)));
}
