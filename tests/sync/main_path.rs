//! What the sync is for: rows get there, the enricher's words come back, no outage breaks it.

use std::time::Duration;

use serde_json::json;

use crate::compare::{become_equal, health, until_health};
use crate::gateways::{sync, tables};
use crate::postgres::{Postgres, enrich};
use crate::support::agent::{END, START, close, detection, ingest, jpeg, open, open_at};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::at;
use crate::support::until;

/// A configuration that syncs with `url`, quickly; `more` belongs to the section.
pub fn config(url: &str, more: &str) -> String {
    let url = serde_json::to_string(url).expect("text");
    format!("[sync]\nenabled = true\nurl = {url}\npull_interval_sec = 1\ntouch_interval_sec = 1\n{more}\n")
}

/// A shared folder for frames in the daemon's home.
pub fn shared(home: &Home) -> std::path::PathBuf {
    let path = home.dir().join("shared");
    std::fs::create_dir_all(&path).expect("made");
    path
}

/// A daemon that shares frames with the enricher.
pub fn sharing(url: &str, more: &str) -> Daemon {
    let home = Home::new("");
    let shared = shared(&home);
    home.configure(&config(url, &format!("frames = \"shared\"\nshared_path = \"{}\"\n{more}", shared.display())));
    Daemon::on(home)
}

#[test]
fn what_is_seen_gets_there_and_a_colour_comes_back_and_works_with_postgres_stopped() {
    let mut postgres = Postgres::start(&[]);
    let daemon = sharing(&postgres.url(), "enrich_guard_sec = 0");
    open_at(&daemon, "a", "cam-1", START);
    open(&daemon, "b");
    ingest(&daemon, "a", &[("1", "person", 0.910_000_000_000_000_1), ("2", "cup", 0.3)], START, Some(&jpeg(1))).is(200);
    ingest(&daemon, "b", &[("x", "cup", 0.1)], &at(0, 7), Some(&jpeg(2))).is(200);
    close(&daemon, "b", END);
    let db = until("the tables", Duration::from_secs(20), || {
        let db = postgres.db();
        db.try_rows("SELECT 1 FROM detections").ok().map(|_| db)
    });
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert_eq!(db.one("SELECT conf FROM detections WHERE session_id = 'a' AND track_id = '1'"), "0.9100000000000001");
    // Each has a picture of its own, so that one track's box spoils no other's colour.
    let urls = db.rows("SELECT url_frame FROM detections WHERE session_id = 'a' ORDER BY track_id");
    assert_ne!(urls[0], urls[1]);
    let shared = daemon.dir().join("shared");
    for url in urls.iter().map(|row| row[0].clone().unwrap()) {
        let file = shared.join(url.strip_prefix("/frames/").unwrap());
        assert_eq!(std::fs::read(&file).expect("the enricher opens it"), jpeg(1));
    }
    assert_eq!(enrich(&db, 10, "Azul oscuro"), 3);
    until("the colour", Duration::from_secs(10), || {
        (daemon.get("/sessions?color=azul").json()["sessions"].as_array()?.len() == 2).then_some(())
    });
    become_equal(&daemon, &db, Duration::from_secs(10));
    let feed = daemon.get("/changes?since=0").json();
    assert!(feed["changes"].as_array().unwrap().iter().any(|one| one["detection"]["enriched"] == true), "{feed}");
    let updated = db.rows("SELECT updated_at FROM detections ORDER BY 1");
    postgres.stop();
    let found = daemon.get("/sessions?color=OSCURO").json();
    assert_eq!(found["sessions"].as_array().unwrap().len(), 2, "{found}");
    until_health(&daemon, "a word about it", |sync| sync["state"] == "unreachable" && !sync["last_error"].is_null());
    // Offline is normal.
    assert_eq!(daemon.get("/health").json()["status"], "ok");
    let mut daemon = daemon;
    daemon.restart();
    ingest(&daemon, "a", &[("3", "dog", 0.5)], &at(0, 9), Some(&jpeg(3))).is(200);
    postgres.up();
    let db = postgres.db();
    become_equal(&daemon, &db, Duration::from_secs(20));
    // What came from there is not pushed back.
    let again = db.rows("SELECT updated_at FROM detections WHERE (session_id, track_id) <> ('a', '3') ORDER BY 1");
    assert_eq!(again, updated);
}

#[test]
fn postgres_is_killed_and_comes_back_and_one_that_was_restored_from_an_older_backup_is_caught_up() {
    let mut postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), ""));
    open(&daemon, "a");
    let db = until("the tables", Duration::from_secs(20), || {
        let db = postgres.db();
        db.try_rows("SELECT 1 FROM detections").ok().map(|_| db)
    });
    become_equal(&daemon, &db, Duration::from_secs(20));
    drop(db);
    postgres.stop();
    postgres.save("last night");
    postgres.up();
    ingest(&daemon, "a", &[("1", "person", 0.5)], START, None).is(200);
    become_equal(&daemon, &postgres.db(), Duration::from_secs(30));
    postgres.db().run("CREATE TABLE of_today ()");
    postgres.kill9();
    ingest(&daemon, "a", &[("2", "person", 0.5)], START, None).is(200);
    close(&daemon, "a", END);
    postgres.up();
    become_equal(&daemon, &postgres.db(), Duration::from_secs(30));
    postgres.stop();
    postgres.put_back("last night");
    postgres.up();
    // The gateway may have caught up already, so the rows do not tell.
    assert_eq!(postgres.db().one("SELECT to_regclass('of_today') IS NULL"), "t", "it is last night's");
    open(&daemon, "b");
    become_equal(&daemon, &postgres.db(), Duration::from_secs(30));
}

/// An older backup was put back. It had the word on the first picture; the gateway already had that on a better one, and pushed the better
/// picture as looked at. So the first one's colour counted for the second, on both sides, and nobody looked again.
#[test]
fn a_word_on_the_first_picture_does_not_count_for_the_second_when_an_older_backup_is_put_back() {
    let mut postgres = Postgres::start(&[]);
    let daemon = sharing(&postgres.url(), "enrich_guard_sec = 0");
    open(&daemon, "a");
    ingest(&daemon, "a", &[("1", "cup", 0.5), ("2", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    let color = |track: &str| detection(&daemon, "a", track)["attributes"]["color"]["name"].clone();
    until("the first look", Duration::from_secs(20), || (enrich(&tables(&postgres), 9, "azul") == 2).then_some(()));
    until("its colour", Duration::from_secs(10), || (color("1") == "azul" && color("2") == "azul").then_some(()));
    postgres.stop();
    postgres.save("last night");
    postgres.up();
    ingest(&daemon, "a", &[("1", "cup", 0.9)], &at(0, 2), Some(&jpeg(2))).is(200);
    until("the second look", Duration::from_secs(20), || (enrich(&postgres.db(), 9, "gris") == 1).then_some(()));
    until("its colour", Duration::from_secs(10), || (color("1") == "gris").then_some(()));
    postgres.stop();
    postgres.put_back("last night");
    postgres.up();
    become_equal(&daemon, &postgres.db(), Duration::from_secs(30));
    let db = postgres.db();
    assert_eq!(enrich(&db, 9, "gris"), 1, "{:?}", db.rows("SELECT track_id, attributes, enriched, url_frame FROM detections"));
    until("its colour", Duration::from_secs(10), || (color("1") == "gris" && color("2") == "azul").then_some(()));
    become_equal(&daemon, &db, Duration::from_secs(10));
}

/// A page of the feed showed touches that were still held in memory. The sync pushed them along with another change, the daemon was
/// killed before they were committed, and from then on `last_ts` was further centrally than here.
#[test]
fn a_touch_that_a_crash_can_take_back_is_not_pushed() {
    let postgres = Postgres::start(&[]);
    let mut daemon = Daemon::with(&format!("{}[database]\ntouch_interval_ms = 60000\n", config(&postgres.url(), "")));
    open(&daemon, "a");
    ingest(&daemon, "a", &[("1", "person", 0.5)], &at(0, 1), None).is(200);
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(20));
    ingest(&daemon, "a", &[("1", "person", 0.4)], &at(9, 0), None).is(200);
    assert_eq!(detection(&daemon, "a", "1")["last_ts"], "2025-10-11T12:09:00.000Z");
    db.run("UPDATE sessions SET path = 'spoiled'; DELETE FROM detections");
    assert_eq!(sync(&daemon, "rebuild").code, Some(0));
    until("all to be pushed again", Duration::from_secs(30), || {
        (db.count("sessions JOIN detections USING (session_id) WHERE path <> 'spoiled'") == 1).then_some(())
    });
    daemon.restart();
    assert_eq!(detection(&daemon, "a", "1")["last_ts"], "2025-10-11T12:00:01.000Z", "it was held, and is lost");
    become_equal(&daemon, &db, Duration::from_secs(10));
}

#[test]
fn without_frames_the_enricher_is_given_nothing_to_fail_at() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), ""));
    open(&daemon, "a");
    ingest(&daemon, "a", &[("1", "person", 0.5)], START, Some(&jpeg(1))).is(200);
    let db = until("the tables", Duration::from_secs(20), || {
        let db = postgres.db();
        db.try_rows("SELECT 1 FROM detections").ok().map(|_| db)
    });
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert_eq!(enrich(&db, 10, "rojo"), 0);
    assert_eq!(detection(&daemon, "a", "1")["enriched"], json!(false));
    // A frame is delivered: now there is something to look at.
    let home = daemon.stop();
    let shared = shared(&home);
    home.configure(&config(&postgres.url(), &format!("frames = \"shared\"\nshared_path = \"{}\"", shared.display())));
    let daemon = Daemon::on(home);
    until("something to look at", Duration::from_secs(20), || (enrich(&db, 10, "rojo") == 1).then_some(()));
    until("the colour", Duration::from_secs(10), || {
        (daemon.get("/sessions?color=rojo").json()["sessions"].as_array()?.len() == 1).then_some(())
    });
    become_equal(&daemon, &db, Duration::from_secs(10));
    assert_eq!(health(&daemon)["set_aside"], 0);
}
