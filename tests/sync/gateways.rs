//! Many gateways, one database.

use std::time::Duration;

use serde_json::json;

use crate::compare::{become_equal, health, until_health};
use crate::main_path::{config, sharing};
use crate::postgres::{Db, Postgres, enrich};
use crate::support::agent::{END, START, close, detection, ingest, jpeg, open, open_at};
use crate::support::daemon::{Daemon, Home, Ran};
use crate::support::records::{at, colour, detection_line, session_line};
use crate::support::until;

/// A connection, once the daemon has made the tables.
#[track_caller]
pub fn tables(postgres: &Postgres) -> Db {
    until("the tables", Duration::from_secs(30), || {
        let db = postgres.db();
        db.try_rows("SELECT 1 FROM detections").ok().map(|_| db)
    })
}

pub fn sync(daemon: &Daemon, what: &str) -> Ran {
    daemon.home().run(&["sync", "--url", &format!("http://{}", daemon.address), what], b"")
}

#[test]
fn fifty_gateways_start_at_once_on_an_empty_database() {
    let postgres = Postgres::start(&[]);
    let homes: Vec<Home> = (0..50)
        .map(|number| {
            let home = Home::new(&config(&postgres.url(), &format!("gateway_id = \"gate {number}\"")));
            let id = format!("gate {number} session");
            home.import(&[
                session_line(&id, START, END, &["cup"], &json!({})),
                detection_line(&id, "1", "cup", START, &colour("rojo")),
                detection_line(&id, "2", "cup", START, &json!({})),
            ]);
            home
        })
        .collect();
    let daemons: Vec<Daemon> = std::thread::scope(|scope| {
        let started: Vec<_> = homes.into_iter().map(|home| scope.spawn(|| Daemon::on(home))).collect();
        started.into_iter().map(|one| one.join().expect("started")).collect()
    });
    for daemon in &daemons {
        until("all to be central", Duration::from_secs(120), || {
            let sync = health(daemon);
            (sync["state"] == "up to date" && sync["lag_rows"] == 0).then_some(())
        });
    }
    let db = postgres.db();
    assert_eq!((db.count("sessions"), db.count("detections")), (50, 100));
    assert_eq!(db.count("session_store.gateways WHERE place > 0"), 50);
    assert_eq!(db.one("SELECT max(version) = count(*) FROM session_store.migrations"), "t", "each was made once");
    assert_eq!(db.count("detections WHERE enriched AND attributes IS NOT NULL"), 50, "what was enriched before goes along");
}

#[test]
fn a_session_belongs_to_the_gateway_that_had_it_first_and_the_second_is_told() {
    let postgres = Postgres::start(&[]);
    let first = Daemon::with(&config(&postgres.url(), "gateway_id = \"first\""));
    open(&first, "same");
    ingest(&first, "same", &[("1", "cup", 0.5)], START, None).is(200);
    let db = tables(&postgres);
    become_equal(&first, &db, Duration::from_secs(20));
    let second = Daemon::with(&config(&postgres.url(), "gateway_id = \"second\""));
    open_at(&second, "same", "another path", &at(9, 0));
    ingest(&second, "same", &[("1", "dog", 0.9)], START, None).is(200);
    open(&second, "own");
    until_health(&second, "to be told", |sync| sync["foreign_sessions"] == 1 && sync["lag_rows"] == 0);
    let reasons = second.get("/health").json()["reasons"].to_string();
    assert!(reasons.contains("another gateway"), "{reasons}");
    assert_eq!(second.logs().iter().filter(|line| line.contains("belong to another gateway")).count(), 1);
    assert_eq!(db.one("SELECT path || cls FROM sessions JOIN detections USING (session_id)"), "cam-localcup");
    assert_eq!(db.count("sessions WHERE session_id = 'own'"), 1);
    let ran = sync(&second, "status");
    assert!(ran.stdout.contains("foreign") && ran.stdout.contains("first: 1 sessions"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn rows_of_an_earlier_service_belong_to_the_gateway_that_holds_them_and_its_colours_come_back() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), ""));
    drop(tables(&postgres));
    let home = daemon.stop();
    let db = postgres.db();
    for (id, device) in [("mine", "cam-local"), ("other", "another device")] {
        db.run(&format!(
            "INSERT INTO sessions (session_id, device_id, path, start_ts) VALUES ('{id}', '{device}', 'old', '{START}');
             INSERT INTO detections (session_id, track_id, cls, conf, bbox, first_ts, last_ts, capture_ts, ingest_ts, attributes, enriched)
             VALUES ('{id}', '1', 'cup', 0.5, '{{\"x\":0.1,\"y\":0.2,\"w\":0.3,\"h\":0.4}}', '{START}', '{START}', '{START}', '{START}',
                     '{{\"color\":{{\"name\":\"verde\"}}}}', TRUE)"
        ));
    }
    let daemon = Daemon::on(home);
    for id in ["mine", "other"] {
        open(&daemon, id);
        ingest(&daemon, id, &[("1", "cup", 0.5)], START, None).is(200);
    }
    until_health(&daemon, "to be told", |sync| sync["foreign_sessions"] == 1 && sync["lag_rows"] == 0);
    until("the colour", Duration::from_secs(10), || (detection(&daemon, "mine", "1")["enriched"] == true).then_some(()));
    assert_eq!(detection(&daemon, "other", "1")["enriched"], false);
    assert_eq!(db.one("SELECT path FROM sessions WHERE session_id = 'mine'"), "cam-local");
    assert_eq!(db.one("SELECT path FROM sessions WHERE session_id = 'other'"), "old");
}

#[test]
fn a_row_that_the_database_refuses_is_set_aside_and_holds_up_no_other() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), ""));
    let db = tables(&postgres);
    db.run("ALTER TABLE detections ADD CONSTRAINT someone CHECK (cls <> 'dog')");
    for id in ["a", "b"] {
        open(&daemon, id);
        for track in 0..20 {
            let cls = if track == 7 && id == "a" { "dog" } else { "cup" };
            ingest(&daemon, id, &[(&track.to_string(), cls, 0.5)], START, None).is(200);
        }
    }
    // JSON may hold a NUL, a text of Postgres cannot.
    let request = crate::support::http::Request::new("PATCH", "/sessions/b/detections/3/attributes").json(&json!({"a": "\0"}));
    daemon.send(&request).is(200);
    until_health(&daemon, "all the others", |sync| sync["set_aside"] == 2 && sync["lag_rows"] == 0);
    until("all the others", Duration::from_secs(10), || (db.count("detections WHERE cls = 'cup'") >= 38).then_some(()));
    close(&daemon, "b", END);
    until("what comes later", Duration::from_secs(10), || (db.count("sessions WHERE status = 'closed'") == 1).then_some(()));
    let ran = sync(&daemon, "status");
    assert!(ran.stdout.contains("session a, track 7") && ran.stdout.contains("someone"), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, Some(1));
    db.run("ALTER TABLE detections DROP CONSTRAINT someone");
    assert_eq!(sync(&daemon, "retry").code, Some(0));
    until_health(&daemon, "the one that can be", |sync| sync["set_aside"] == 1);
    assert_eq!(db.count("detections WHERE cls = 'dog'"), 1);
}

#[test]
fn a_better_frame_is_looked_at_anew_and_what_comes_too_soon_is_not_taken() {
    let postgres = Postgres::start(&[]);
    let daemon = sharing(&postgres.url(), "enrich_guard_sec = 6");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    let db = tables(&postgres);
    until("the first look", Duration::from_secs(10), || (enrich(&db, 9, "azul") == 1).then_some(()));
    until("its colour", Duration::from_secs(10), || (detection(&daemon, "s", "1")["enriched"] == true).then_some(()));
    let old = db.one("SELECT url_frame FROM detections");
    ingest(&daemon, "s", &[("1", "cup", 0.9)], &at(0, 2), Some(&jpeg(2))).is(200);
    assert_eq!(detection(&daemon, "s", "1")["enriched"], false);
    // The enricher may have opened the first picture; it says so of the second.
    until("the second look", Duration::from_secs(10), || (enrich(&db, 9, "gris") == 1).then_some(()));
    let file = |url: &str| daemon.dir().join("shared").join(url.strip_prefix("/frames/").unwrap());
    assert!(file(&db.one("SELECT url_frame FROM detections")).is_file());
    until("the beaten copy to go", Duration::from_secs(10), || (!file(&old).exists()).then_some(()));
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(detection(&daemon, "s", "1")["attributes"]["color"]["name"], "azul", "too soon");
        std::thread::sleep(Duration::from_millis(100));
    }
    until("the third look", Duration::from_secs(15), || {
        assert_eq!(daemon.get("/sessions?color=gris").json()["sessions"], json!([]));
        (enrich(&db, 9, "rojo") == 1).then_some(())
    });
    until("its colour", Duration::from_secs(10), || {
        (detection(&daemon, "s", "1")["attributes"]["color"]["name"] == "rojo").then_some(())
    });
    become_equal(&daemon, &db, Duration::from_secs(10));
    assert_eq!(enrich(&db, 9, "nothing more"), 0);
}

#[test]
fn an_enrichment_in_a_long_transaction_is_not_missed_whatever_its_clock_says() {
    let postgres = Postgres::start(&[]);
    let daemon = sharing(&postgres.url(), "");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5), ("2", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(10));
    // It writes the moment of its begin, and shows it only at its end.
    let slow = postgres.db();
    slow.run("BEGIN; SELECT now()");
    assert_eq!(enrich(&db, 1, "azul"), 1);
    until("the quick one", Duration::from_secs(10), || {
        let all = [detection(&daemon, "s", "1"), detection(&daemon, "s", "2")];
        all.iter().any(|one| one["enriched"] == true).then_some(())
    });
    let before = health(&daemon)["pulled"].clone();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(health(&daemon)["pulled"], before);
    assert_eq!(enrich(&slow, 9, "rojo"), 1);
    slow.run("COMMIT");
    until("the slow one", Duration::from_secs(10), || {
        (daemon.get("/sessions?color=rojo").json()["sessions"].as_array()?.len() == 1).then_some(())
    });
    become_equal(&daemon, &db, Duration::from_secs(10));
}

#[test]
fn a_steady_scene_is_pushed_now_and_then_and_nothing_is_forgotten() {
    let postgres = Postgres::start(&[]);
    let url = serde_json::to_string(&postgres.url()).unwrap();
    let daemon = Daemon::with(&format!(
        "[sync]\nenabled = true\nurl = {url}\npull_interval_sec = 1\ntouch_interval_sec = 4\n[database]\ntouch_interval_ms = 50\n"
    ));
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.9)], &at(0, 1), None).is(200);
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(10));
    let pushes = || db.count("session_store.pushes");
    let before = pushes();
    for second in 2..42 {
        ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, second), None).is(200);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(pushes() - before <= 2, "{} pushes", pushes() - before);
    become_equal(&daemon, &db, Duration::from_secs(10));
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 50), None).is(200);
    let mut daemon = daemon;
    daemon.restart();
    become_equal(&daemon, &db, Duration::from_secs(10));
}

#[test]
fn a_deleted_session_goes_where_that_is_asked_for() {
    let postgres = Postgres::start(&[]);
    let home = Home::new("");
    home.import(&[session_line("gone", START, END, &[], &json!({})), session_line("kept", START, END, &[], &json!({}))]);
    home.configure(&config(&postgres.url(), "on_delete = \"delete\""));
    let daemon = Daemon::on(home);
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(10));
    let home = daemon.stop();
    home.import(&[json!({"session_deleted": {"session_id": "gone"}})]);
    let daemon = Daemon::on(home);
    become_equal(&daemon, &db, Duration::from_secs(10));
    assert_eq!(db.count("sessions"), 1);
    // The other way round: what is deleted there stays here, and comes again when it changes.
    db.run("DELETE FROM sessions");
    ingest(&daemon, "kept", &[("1", "cup", 0.5)], START, None).is(200);
    become_equal(&daemon, &db, Duration::from_secs(10));
}

#[test]
fn a_rebuild_compares_everything_and_a_restored_gateway_takes_its_sessions_over() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), "gateway_id = \"old\""));
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, None).is(200);
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(20));
    db.run("DELETE FROM detections; UPDATE sessions SET path = 'spoiled'");
    assert_eq!(sync(&daemon, "rebuild").code, Some(0));
    become_equal(&daemon, &db, Duration::from_secs(30));
    let home = daemon.stop();
    home.configure(&config(&postgres.url(), "gateway_id = \"new\""));
    let daemon = Daemon::on(home);
    until_health(&daemon, "to be told", |sync| sync["foreign_sessions"] == 1);
    let url = format!("http://{}", daemon.address);
    let ran = daemon.home().run(&["sync", "--url", &url, "take-over", "old"], b"");
    assert!(ran.stdout.starts_with("1 sessions of old"), "{}{}", ran.stdout, ran.stderr);
    close(&daemon, "s", END);
    become_equal(&daemon, &db, Duration::from_secs(30));
    until_health(&daemon, "all well", |sync| sync["foreign_sessions"] == 0);
}
