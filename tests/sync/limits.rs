//! A metered link: the sync waits for its window and keeps to its hour, and loses nothing by it.

use std::time::Duration;

use serde_json::json;

use crate::compare::{become_equal, health, until_health};
use crate::gateways::tables;
use crate::main_path::config;
use crate::postgres::Postgres;
use crate::proxy::Proxy;
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

#[test]
fn rows_of_given_classes_go_first_and_none_goes_twice_or_is_forgotten() {
    let postgres = Postgres::start(&[]);
    let home = Home::new("");
    let rows = (0..300).flat_map(|number| {
        let id = format!("s{number:03}");
        let cls = if number % 2 == 0 { "cup" } else { "person" };
        let session = session_line(&id, START, END, &[cls], &json!({}));
        let detections = (0..10).map(move |track| detection_line(&id, &track.to_string(), cls, START, &json!({})));
        std::iter::once(session).chain(detections)
    });
    home.import(&rows.collect::<Vec<_>>());
    let first = "first_classes = [\"person\"]\n";
    home.configure(&config(&postgres.url(), &format!("{first}kb_per_hour = 100")));
    let daemon = Daemon::on(home);
    let db = tables(&postgres);
    let sync = until_health(&daemon, "to wait", |sync| sync["state"] == "waiting" && sync["pushed"] != 0);
    let pushed = sync["pushed"].as_u64().expect("a number");
    assert!(db.count("detections WHERE cls = 'person'") > 100);
    assert_eq!(db.count("detections WHERE cls <> 'person'"), 0, "{sync}");
    let home = daemon.stop();
    home.configure(&config(&postgres.url(), first));
    let daemon = Daemon::on(home);
    become_equal(&daemon, &db, Duration::from_secs(60));
    let sync = until_health(&daemon, "all", |sync| sync["lag_rows"] == 0);
    let pushed = pushed + sync["pushed"].as_u64().expect("a number");
    // A session goes along with the first of its detections on a connection.
    assert!((3300..3300 + 300 + 50).contains(&pushed), "{pushed} rows were sent");
    // Other classes from now on: what went first is not known of them.
    let home = daemon.stop();
    let more = [session_line("late", START, END, &["cup"], &json!({})), detection_line("late", "1", "cup", START, &json!({}))];
    home.import(&more);
    home.configure(&config(&postgres.url(), "first_classes = [\"dog\", \"cup\"]"));
    let daemon = Daemon::on(home);
    become_equal(&daemon, &db, Duration::from_secs(30));
}

/// An hour of 100 kB was passed by megabytes on a day without news: what came back was asked for every few seconds, and not counted.
#[test]
fn a_metered_link_that_carries_nothing_is_not_used_up_by_questions() {
    let postgres = Postgres::start(&[]);
    let proxy = Proxy::to(postgres.port);
    // 5 kB a second; without a limit a pull a second takes half of that.
    let daemon = Daemon::with(&config(&Postgres::url_at(proxy.port), "kb_per_hour = 18_000"));
    open(&daemon, "s");
    become_equal(&daemon, &tables(&postgres), Duration::from_secs(20));
    until_health(&daemon, "the connection to be paid for", |sync| sync["state"] == "up to date" && sync["lag_rows"] == 0);
    let before = proxy.carried();
    std::thread::sleep(Duration::from_secs(10));
    let carried = proxy.carried() - before;
    assert!(carried < 9000, "{carried} bytes");
    // What is to be sent does not wait for a question.
    open(&daemon, "live");
    become_equal(&daemon, &tables(&postgres), Duration::from_secs(10));
}
