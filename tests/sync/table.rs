//! `frames = "table"`: pictures reach an enricher that shares no storage with the gateway, over the same connection as the rows.

use std::time::Duration;

use serde_json::json;

use crate::centre::Centre;
use crate::compare::{become_equal, until_health};
use crate::gateways::tables;
use crate::main_path::config;
use crate::postgres::{Db, Postgres};
use crate::proxy::Proxy;
use crate::support::agent::{detection, ingest, jpeg, jpeg_of, open};
use crate::support::daemon::Daemon;
use crate::support::http::Request;
use crate::support::records::at;
use crate::support::until;

const TABLE: &str = "frames = \"table\"\n";

fn central_url(db: &Db, track: &str) -> String {
    db.one(&format!("SELECT url_frame FROM detections WHERE track_id = '{track}'"))
}

/// Pictures that wait for `receive-frames`.
fn sent(db: &Db) -> u64 {
    db.count("session_store.frames WHERE sent = length")
}

/// Pictures that are not sent yet.
fn wanted(db: &Db) -> u64 {
    db.count("session_store.frames WHERE sent IS DISTINCT FROM length")
}

#[test]
fn a_picture_arrives_before_there_is_something_to_look_at_and_a_better_one_is_looked_at_anew() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), &format!("{TABLE}enrich_guard_sec = 1")));
    let centre = Centre::of(&postgres.url());
    open(&daemon, "s");
    let picture = jpeg_of(300_000);
    ingest(&daemon, "s", &[("1", "cup", 0.5), ("2", "cup", 0.5)], &at(0, 1), Some(&picture)).is(200);
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(20));
    until("both to be sent", Duration::from_secs(20), || (sent(&db) == 2).then_some(()));
    assert_eq!(centre.enrich(&db, "never"), Vec::<String>::new(), "nothing is there yet");
    let ran = centre.receive();
    assert!(ran.stderr.contains("2 pictures written"), "{}", ran.stderr);
    assert_eq!(std::fs::read(centre.file(&central_url(&db, "1"))).expect("there"), picture);
    assert_eq!((db.count("session_store.frames"), db.count("session_store.frame_pieces")), (0, 0), "nothing is left behind");
    assert_eq!(centre.enrich(&db, "azul").len(), 2);
    until("the colours", Duration::from_secs(10), || (detection(&daemon, "s", "2")["enriched"] == true).then_some(()));
    become_equal(&daemon, &db, Duration::from_secs(10));

    // A better one: until it is there, the row says nothing that could be looked at, and what it says is not taken for the new.
    let old = central_url(&db, "1");
    ingest(&daemon, "s", &[("1", "cup", 0.9)], &at(0, 2), Some(&jpeg_of(90_000))).is(200);
    until("the better row", Duration::from_secs(10), || (central_url(&db, "1") != old).then_some(()));
    assert_eq!(db.count("detections WHERE NOT enriched"), 0);
    until("it to be sent", Duration::from_secs(10), || (wanted(&db) == 0).then_some(()));
    db.run("UPDATE detections SET attributes = '{\"color\":{\"name\":\"gris\"}}' WHERE track_id = '1'");
    let written = db.one("SELECT clock_timestamp()");
    let pulled = format!("session_store.gateways WHERE pulled_until + interval '5 seconds' > '{written}'");
    until("a look back", Duration::from_secs(10), || (db.count(&pulled) == 1).then_some(()));
    let here = detection(&daemon, "s", "1");
    assert_eq!((here["enriched"].as_bool(), here["attributes"]["color"]["name"].as_str()), (Some(false), Some("azul")));
    assert!(centre.receive().stderr.contains("1 pictures written, 0 damaged, 1 deleted"));
    assert!(!centre.file(&old).exists(), "the beaten one is deleted");
    assert_eq!(centre.enrich(&db, "gris"), ["1"]);
    until("a last look, as the first may have been at the picture before", Duration::from_secs(10), || {
        (centre.enrich(&db, "rojo") == ["1"]).then_some(())
    });
    until("its colour", Duration::from_secs(10), || {
        (detection(&daemon, "s", "1")["attributes"]["color"]["name"] == "rojo").then_some(())
    });
    become_equal(&daemon, &db, Duration::from_secs(10));
}

#[test]
fn cut_off_and_killed_on_both_sides_every_picture_arrives_whole() {
    let postgres = Postgres::start(&[]);
    let proxy = Proxy::to(postgres.port);
    let mut daemon = Daemon::with(&config(&Postgres::url_at(proxy.port), &format!("{TABLE}enrich_guard_sec = 0")));
    let mut centre = Centre::of(&postgres.url());
    open(&daemon, "s");
    for track in 0..30_u32 {
        let picture = jpeg_of(50_000 + 20_000 * track as usize);
        ingest(&daemon, "s", &[(&track.to_string(), "cup", 0.5)], &at(0, track as usize), Some(&picture)).is(200);
        match track % 10 {
            3 => proxy.cut_after(150_000),
            5 => daemon.restart(),
            7 => {
                centre.kill9();
                centre.start();
            }
            _ => {}
        }
    }
    let db = tables(&postgres);
    let mut seen = Vec::new();
    until("all to be looked at", Duration::from_secs(60), || {
        seen.extend(centre.enrich(&db, "verde"));
        (seen.len() >= 30).then_some(())
    });
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 30, "each once");
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert_eq!(db.count("session_store.frames"), 0);
    assert_eq!(db.count("detections WHERE attributes ->> 'color' IS NULL"), 0);
}

#[test]
fn a_metered_link_carries_rows_first_and_then_the_newest_pictures_as_fast_as_it_may() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::start();
    open(&daemon, "s");
    for track in 0..30_u32 {
        ingest(&daemon, "s", &[(&track.to_string(), "cup", 0.5)], &at(0, track as usize), Some(&jpeg(1))).is(200);
    }
    let home = daemon.stop();
    // 200 kB a second: the 30 pictures of 43 kB take 6 s.
    home.configure(&config(&postgres.url(), &format!("{TABLE}frames_kb_per_hour = 720_000")));
    let daemon = Daemon::on(home);
    let db = tables(&postgres);
    become_equal(&daemon, &db, Duration::from_secs(30));
    let begun = std::time::Instant::now();
    let order = "SELECT track_id FROM session_store.frames WHERE sent = length ORDER BY capture_ts DESC";
    let some = until("some to be sent", Duration::from_secs(20), || Some(db.rows(order)).filter(|rows| rows.len() >= 5));
    let newest: Vec<String> = (0..some.len()).map(|at| (29 - at).to_string()).collect();
    assert_eq!(some.iter().map(|row| row[0].clone().unwrap()).collect::<Vec<_>>(), newest, "the newest first");
    // Rows do not wait for them.
    open(&daemon, "live");
    until("a live row", Duration::from_secs(5), || (db.count("sessions WHERE session_id = 'live'") == 1).then_some(()));
    assert!(wanted(&db) > 0, "it overtook pictures");
    until("all", Duration::from_secs(30), || (wanted(&db) == 0).then_some(()));
    assert!(begun.elapsed() > Duration::from_secs(3), "as slowly as is asked for");
}

#[test]
fn what_is_gone_or_is_no_picture_is_given_up_and_holds_up_no_other() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), &format!("{TABLE}frames_kb_per_hour = 1")));
    open(&daemon, "s");
    for track in ["lost", "broken", "well", "first"] {
        let second = if track == "first" { 9 } else { 1 };
        ingest(&daemon, "s", &[(track, "cup", 0.5)], &at(0, second), Some(&jpeg(1))).is(200);
    }
    let db = tables(&postgres);
    // The first has used the link up; so the others are not sent yet.
    until("the first", Duration::from_secs(20), || (db.count("detections") == 4 && wanted(&db) == 3).then_some(()));
    let home = daemon.stop();
    let file = |track: &str| {
        let url = central_url(&db, track);
        let (stem, _) = url.rsplit_once('~').expect("a copy's name");
        home.frames_dir().join(format!("{}.jpg", stem.strip_prefix("/frames/").expect("a frame's URL")))
    };
    std::fs::remove_file(file("lost")).expect("removed");
    std::fs::write(file("broken"), b"no picture").expect("written");
    home.configure(&config(&postgres.url(), TABLE));
    let daemon = Daemon::on(home);
    until("all that can be sent", Duration::from_secs(20), || (wanted(&db) == 0).then_some(()));
    // One that was spoiled on its way, and ones that lead out of the folder.
    let whole = jpeg(1);
    let sent = [
        ("s", "/frames/s/spoiled~0.jpg", &whole[..1000]),
        ("..", "/frames/../out~0.jpg", &whole),
        ("s", "/frames/s/../../out~0.jpg", &whole),
    ];
    for (session, url, bytes) in sent {
        let hex: String = bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
            .collect();
        db.run(&format!(
            "WITH frame AS (INSERT INTO session_store.frames
                (gateway_id, session_id, track_id, url_frame, capture_ts, guard_sec, sent, length)
                VALUES ('another', '{session}', '{url}', '{url}', now(), 0, {length}, {length}) RETURNING id)
             INSERT INTO session_store.frame_pieces SELECT id, 0, decode('{hex}', 'hex') FROM frame",
            length = bytes.len()
        ));
    }
    let centre = Centre::of(&postgres.url());
    let ran = centre.receive();
    assert!(ran.stderr.contains("2 pictures written, 3 damaged"), "{}", ran.stderr);
    assert!(!centre.folder().join("../out~0.jpg").exists());
    let mut seen = centre.enrich(&db, "azul");
    seen.sort();
    assert_eq!(seen, ["first", "well"]);
    become_equal(&daemon, &db, Duration::from_secs(10));
}

#[test]
fn where_nobody_writes_pictures_out_no_more_are_sent_and_that_is_told() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), TABLE));
    let db = tables(&postgres);
    db.run(
        "INSERT INTO session_store.frames (gateway_id, session_id, track_id, url_frame, capture_ts, guard_sec, sent, length)
         SELECT 'another', 's', n::text, '/frames/s/' || n, now(), 0, 1, 1 FROM generate_series(1, 10000) n",
    );
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    until_health(&daemon, "to be told", |sync| sync["frames_held_up"] == true && sync["lag_rows"] == 0);
    assert!(daemon.get("/health").json()["reasons"].to_string().contains("receive-frames"));
    assert_eq!((wanted(&db), db.count("detections")), (1, 1), "rows go on");
    db.run("DELETE FROM session_store.frames WHERE gateway_id = 'another'");
    until("it to be sent", Duration::from_secs(20), || (wanted(&db) == 0).then_some(()));
    until_health(&daemon, "all well", |sync| sync["frames_held_up"] == false);
}

#[test]
fn with_its_session_a_picture_goes_too() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), &format!("{TABLE}on_delete = \"delete\"")));
    let centre = Centre::of(&postgres.url());
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    ingest(&daemon, "s", &[("2", "cup", 0.5)], &at(0, 2), Some(&jpeg(2))).is(200);
    let db = tables(&postgres);
    until("both to be sent", Duration::from_secs(20), || (sent(&db) == 2).then_some(()));
    assert!(centre.receive().stderr.contains("2 pictures written"));
    let file = centre.file(&central_url(&db, "1"));
    assert!(file.is_file());
    let home = daemon.stop();
    home.import(&[json!({"session_deleted": {"session_id": "s"}})]);
    let daemon = Daemon::on(home);
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert!(centre.receive().stderr.contains("2 deleted"));
    assert!(!centre.folder().join("s").exists(), "nor is its folder left");
    assert_eq!(db.count("session_store.frames") + db.count("session_store.guards"), 0);
}

/// A picture that was to be sent, while the one before had a colour; then storage became common, and nothing looked at it any more: the
/// row had a colour, and was under a guard that nobody lifted.
#[test]
fn pictures_that_were_on_their_way_when_the_way_was_changed_are_looked_at_all_the_same() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), &format!("{TABLE}enrich_guard_sec = 0")));
    let centre = Centre::of(&postgres.url());
    open(&daemon, "s");
    for track in ["1", "2"] {
        ingest(&daemon, "s", &[(track, "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    }
    let db = tables(&postgres);
    until("both to be seen", Duration::from_secs(20), || {
        centre.receive();
        centre.enrich(&db, "azul");
        (db.count("detections WHERE attributes IS NOT NULL") == 2).then_some(())
    });
    become_equal(&daemon, &db, Duration::from_secs(10));
    ingest(&daemon, "s", &[("1", "cup", 0.9)], &at(0, 2), Some(&jpeg(2))).is(200);
    until("it to be wanted", Duration::from_secs(10), || (db.count("session_store.frames") == 1).then_some(()));
    let home = daemon.stop();
    let shared = format!("frames = \"shared\"\nshared_path = \"{}\"\nenrich_guard_sec = 0", centre.folder().display());
    home.configure(&config(&postgres.url(), &shared));
    let daemon = Daemon::on(home);
    until("it to be seen", Duration::from_secs(20), || (centre.enrich(&db, "rojo") == ["1"]).then_some(()));
    become_equal(&daemon, &db, Duration::from_secs(20));
    assert_eq!(detection(&daemon, "s", "1")["attributes"]["color"]["name"], "rojo");
    assert_eq!(db.count("session_store.frames") + db.count("session_store.guards"), 0);
}

#[test]
fn what_the_gateways_own_enricher_has_seen_is_not_sent_nor_looked_at_where_it_is_not() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), &format!("{TABLE}enrich_guard_sec = 1\nframes_kb_per_hour = 1")));
    let centre = Centre::of(&postgres.url());
    open(&daemon, "s");
    ingest(&daemon, "s", &[("first", "cup", 0.5)], &at(0, 9), Some(&jpeg(1))).is(200);
    let db = tables(&postgres);
    until("the first to be sent", Duration::from_secs(20), || (sent(&db) == 1).then_some(()));
    // The link is used up.
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    until("the second to be wanted", Duration::from_secs(20), || (wanted(&db) == 1).then_some(()));
    let seen = json!({"color": {"name": "verde"}});
    daemon.send(&Request::new("PATCH", "/sessions/s/detections/1/attributes").json(&seen)).is(200);
    until("it to be wanted no more", Duration::from_secs(10), || (wanted(&db) == 0).then_some(()));
    // A better one, and seen at once.
    ingest(&daemon, "s", &[("1", "cup", 0.9)], &at(0, 2), Some(&jpeg(2))).is(200);
    daemon.send(&Request::new("PATCH", "/sessions/s/detections/1/attributes").json(&seen)).is(200);
    until("its row", Duration::from_secs(10), || {
        (db.one("SELECT conf FROM detections WHERE track_id = '1'") == "0.9").then_some(())
    });
    until("no guard", Duration::from_secs(10), || (db.count("session_store.guards") == 0).then_some(()));
    centre.receive();
    assert_eq!(centre.enrich(&db, "azul"), ["first"]);
    become_equal(&daemon, &db, Duration::from_secs(10));
}

/// The push looked at a row, saw that its picture was not there yet, and so set no guard for the one that came behind it. Meanwhile the
/// picture was written out and looked at, and its colour was taken for that of the next.
#[test]
fn a_picture_that_is_written_out_while_a_better_ones_row_comes_gives_that_one_no_colour() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), TABLE));
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    let db = tables(&postgres);
    until("it to be sent", Duration::from_secs(20), || (sent(&db) == 1).then_some(()));
    become_equal(&daemon, &db, Duration::from_secs(10));
    let old = central_url(&db, "1");
    // What receive-frames does, just before its commit.
    let receiver = postgres.db();
    receiver.run("BEGIN; UPDATE detections SET enriched = FALSE; DELETE FROM session_store.frames");
    ingest(&daemon, "s", &[("1", "cup", 0.9)], &at(0, 2), Some(&jpeg(2))).is(200);
    until("the push to wait", Duration::from_secs(10), || {
        (db.count("pg_stat_activity WHERE wait_event_type = 'Lock'") > 0).then_some(())
    });
    receiver.run("COMMIT");
    until("the better row", Duration::from_secs(10), || (central_url(&db, "1") != old).then_some(()));
    assert_eq!(db.count("session_store.guards WHERE until = 'infinity'"), 1, "somebody may be looking at the first");
}

/// The store was restored from a backup in which a track's best sighting was an earlier one. The better one's picture had been sent whole
/// and was struck off; and when pictures came by common storage, the row said that there was something to look at, but named another.
#[test]
fn a_gateway_that_was_restored_says_nothing_of_a_better_picture_that_it_does_not_know() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), TABLE));
    let centre = Centre::of(&postgres.url());
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), Some(&jpeg(1))).is(200);
    let db = tables(&postgres);
    until("it to be sent", Duration::from_secs(20), || (sent(&db) == 1).then_some(()));
    become_equal(&daemon, &db, Duration::from_secs(10));
    // As if it had forgotten a better one.
    db.run(
        "UPDATE detections SET conf = 0.9, url_frame = replace(url_frame, '~', 'x~');
         UPDATE session_store.frames SET url_frame = replace(url_frame, '~', 'x~')",
    );
    let ran = daemon.home().run(&["sync", "--url", &format!("http://{}", daemon.address), "rebuild"], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    until("all to be compared", Duration::from_secs(20), || {
        (db.count("session_store.gateways WHERE place > 0") == 1).then_some(())
    });
    assert!(centre.receive().stderr.contains("1 pictures written"));
    assert_eq!(centre.enrich(&db, "azul"), ["1"]);
    // And another that never got there.
    let home = daemon.stop();
    db.run(
        "UPDATE detections SET conf = 0.95, url_frame = replace(url_frame, 'x~', 'y~'), attributes = NULL, enriched = TRUE;
         UPDATE session_store.gateways SET place = -1",
    );
    home.configure(&config(&postgres.url(), &format!("frames = \"shared\"\nshared_path = \"{}\"", centre.folder().display())));
    let daemon = Daemon::on(home);
    until_health(&daemon, "all to be compared", |sync| sync["lag_rows"] == 0);
    assert_eq!(centre.enrich(&db, "never"), Vec::<String>::new());
}

#[test]
fn a_sessions_folder_that_cannot_be_written_to_holds_up_no_other() {
    let postgres = Postgres::start(&[]);
    let daemon = Daemon::with(&config(&postgres.url(), TABLE));
    let centre = Centre::of(&postgres.url());
    for (id, second) in [("well", 1), ("blocked", 9)] {
        open(&daemon, id);
        ingest(&daemon, id, &[(id, "cup", 0.5)], &at(0, second), Some(&jpeg(1))).is(200);
    }
    let db = tables(&postgres);
    until("both to be sent", Duration::from_secs(20), || (sent(&db) == 2).then_some(()));
    std::fs::write(centre.folder().join("blocked"), b"").expect("written");
    let ran = centre.receive();
    assert!(ran.code == Some(1) && ran.stderr.contains("blocked is a link or a file"), "{}", ran.stderr);
    assert_eq!(centre.enrich(&db, "azul"), ["well"]);
    std::fs::remove_file(centre.folder().join("blocked")).expect("removed");
    assert!(centre.receive().stderr.contains("1 pictures written"));
    assert_eq!(centre.enrich(&db, "azul"), ["blocked"]);
}

#[test]
fn a_folder_that_is_not_there_is_told_and_nothing_is_lost() {
    let postgres = Postgres::start(&[]);
    let centre = Centre::of(&postgres.url());
    let ran = centre.receive_into("/nowhere");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("/nowhere is no folder"), "{}", ran.stderr);
}
