//! `import` merges as ingest does.

use serde_json::{Value, json};

use crate::sessions::ids;
use crate::support::agent::{close, detection, ingest, open, session};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::{at, colour, detection_line, session_line};

/// The only detection after these lines were imported one import each.
fn merged(imports: &[Value]) -> Value {
    let home = Home::new("");
    home.import(&[session_line("s", &at(0, 0), &at(9, 0), &["cup"], &json!({}))]);
    for line in imports {
        home.import(std::slice::from_ref(line));
    }
    detection(&Daemon::on(home), "s", "1")
}

fn line(cls: &str, at: &str, conf: f64, change: &Value) -> Value {
    let mut line = detection_line("s", "1", cls, at, change);
    line["detection"]["conf"] = json!(conf);
    line
}

#[test]
fn a_higher_conf_wins_and_first_and_last_widen_in_both_orders() {
    let low = line("cup", &at(1, 0), 0.5, &json!({"last_ts": at(8, 0)}));
    let high = line("dog", &at(2, 0), 0.9, &json!({"first_ts": at(0, 30)}));
    for order in [[low.clone(), high.clone()], [high, low]] {
        let kept = merged(&order);
        assert_eq!((&kept["cls"], &kept["conf"]), (&json!("dog"), &json!(0.9)));
        assert_eq!(kept["capture_ts"], "2025-10-11T12:02:00.000Z");
        assert_eq!(kept["first_ts"], "2025-10-11T12:00:30.000Z");
        assert_eq!(kept["last_ts"], "2025-10-11T12:08:00.000Z");
    }
}

#[test]
fn an_equal_conf_keeps_what_was_there() {
    let kept = merged(&[line("cup", &at(1, 0), 0.5, &json!({})), line("dog", &at(2, 0), 0.5, &json!({}))]);
    assert_eq!((&kept["cls"], &kept["last_ts"]), (&json!("cup"), &json!("2025-10-11T12:02:00.000Z")));
}

#[test]
fn attributes_of_the_same_capture_ts_are_kept() {
    let enriched = line("cup", &at(1, 0), 0.5, &colour("rojo"));
    let plain = line("cup", &at(1, 0), 0.5, &json!({}));
    for order in [[enriched.clone(), plain.clone()], [plain, enriched]] {
        let kept = merged(&order);
        assert_eq!((&kept["attributes"]["color"]["name"], &kept["enriched"]), (&json!("rojo"), &json!(true)));
    }
}

#[test]
fn a_closed_session_is_not_reopened() {
    let open_line =
        session_line("s", &at(0, 0), &at(9, 0), &["dog"], &json!({"status": "open", "end_ts": null, "end_reason": null}));
    let home = Home::new("");
    home.import(&[session_line("s", &at(0, 0), &at(9, 0), &["cup"], &json!({}))]);
    home.import(&[open_line]);
    let record = session(&Daemon::on(home), "s");
    assert_eq!((&record["status"], &record["end_ts"]), (&json!("closed"), &json!("2025-10-11T12:09:00.000Z")));
    assert_eq!(record["end_reason"], "client");
}

#[test]
fn an_open_session_is_closed_by_its_closed_line() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let home = daemon.stop();
    home.import(&[session_line("s", &at(0, 0), &at(9, 0), &[], &json!({"postroll_sec": 5}))]);
    let daemon = Daemon::on(home);
    let record = session(&daemon, "s");
    assert_eq!((&record["status"], &record["end_ts"]), (&json!("closed"), &json!("2025-10-11T12:09:00.000Z")));
    let later = daemon.get("/sessions/range?from=2025-10-11T12:30:00Z&to=2025-10-12").is(200).json();
    assert!(ids(&later).is_empty(), "the window's index follows");
}

#[test]
fn imported_records_are_found_by_every_list_and_go_on_living() {
    let home = Home::new("");
    home.import(&[
        session_line(
            "s",
            &at(0, 0),
            &at(9, 0),
            &["cup"],
            &json!({"status": "open", "end_ts": null, "end_reason": null, "path": "p"}),
        ),
        detection_line("s", "1", "cup", &at(1, 0), &colour("rojo")),
    ]);
    let daemon = Daemon::on(home);
    for query in ["", "?classes=cup", "?color=ROJO", "?path=p", "?status=open"] {
        assert_eq!(ids(&daemon.get(format!("/sessions{query}")).is(200).json()), ["s"], "{query}");
    }
    ingest(&daemon, "s", &[("1", "dog", 0.9)], &at(2, 0), None).is(200);
    let kept = detection(&daemon, "s", "1");
    assert_eq!((&kept["cls"], &kept["first_ts"]), (&json!("dog"), &json!("2025-10-11T12:01:00.000Z")));
    assert_eq!(session(&daemon, "s")["detected_classes"], json!(["cup", "dog"]));
    assert_eq!(close(&daemon, "s", &at(9, 0))["end_reason"], "client");
}
