//! A metered link: the sync waits for its window and keeps to its hour, and loses nothing by it.

use std::time::Duration;

use serde_json::json;

use crate::compare::{become_equal, health, until_health};
use crate::gateways::tables;
use crate::main_path::config;
use crate::postgres::Postgres;
use crate::support::agent::{END, START, open};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::{detection_line, session_line};

/// A window of the local day that begins `from` hours from now and ends `to` hours from now.
fn window(from: i64, to: i64) -> String {
    let at = |hours| (chrono::Local::now() + chrono::Duration::hours(hours)).format("%H:%M").to_string();
    format!("window = \"{}-{}\"", at(from), at(to))
}

#[test]
fn outside_of_its_window_nothing_is_sent_and_inside_everything() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), &window(2, 3)));
    open(&daemon, "s");
    let sync = until_health(&daemon, "to wait", |sync| sync["state"] == "waiting" && sync["lag_rows"] != 0);
    assert_eq!(sync["last_error"], json!(null), "{sync}");
    assert_eq!(daemon.get("/health").json()["status"], "ok");
    assert_eq!(postgres.db().one("SELECT to_regnamespace('session_store') IS NULL"), "t", "it was not even looked at");
    let home = daemon.stop();
    home.configure(&config(&postgres.url(), &window(-1, 1)));
    let daemon = Daemon::on(home);
    become_equal(&daemon, &tables(&postgres), Duration::from_secs(30));
}

#[test]
fn when_the_hours_bytes_are_used_the_rest_waits() {
    let postgres = Postgres::start(&[]);
    let home = Home::new("");
    let rows = (0..40).flat_map(|number| {
        let id = format!("s{number}");
        let session = session_line(&id, START, END, &["cup"], &json!({}));
        let detections = (0..100).map(move |track| detection_line(&id, &track.to_string(), "cup", START, &json!({})));
        std::iter::once(session).chain(detections)
    });
    home.import(&rows.collect::<Vec<_>>());
    home.configure(&config(&postgres.url(), "kb_per_hour = 100"));
    let daemon = Daemon::on(home);
    let db = tables(&postgres);
    until_health(&daemon, "to wait", |sync| sync["state"] == "waiting" && sync["pushed"] != 0);
    let there = db.count("detections");
    assert!(there > 0 && there < 4000, "{there} rows");
    // Longer than any pull or retry would take.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((db.count("detections"), health(&daemon)["state"].as_str()), (there, Some("waiting")));
    let home = daemon.stop();
    home.configure(&config(&postgres.url(), ""));
    let daemon = Daemon::on(home);
    become_equal(&daemon, &db, Duration::from_secs(60));
}
