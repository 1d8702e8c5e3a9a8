//! The journal in front of the database, as an operator meets it: after a kill, and with files that do not fit.

use std::fs;
use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::support::agent::{START, detections, ingest, meta, open, session, sighting};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::Multipart;

const DATABASE: &str = "data/session-store.redb";
const JOURNAL: &str = "data/session-store.redb.journal";

fn epoch(daemon: &Daemon) -> Value {
    daemon.get("/changes?since=0").is(200).json()["epoch"].clone()
}

/// More changes than the journal has room for, so that the database is committed in between.
#[test]
fn nothing_is_lost_where_the_journal_was_emptied_meanwhile() {
    let mut daemon = Daemon::start();
    open(&daemon, "s");
    let mut client = daemon.client();
    for n in 0..1500_usize {
        let track = n.to_string();
        let body = meta("s", START, &[sighting(&track, "cup", 0.5)]);
        let form = Multipart::new().field("meta", body.to_string());
        client.send(&form.request()).is(200);
    }
    let before = detections(&daemon, "s");
    assert_eq!(before.len(), 1500);
    daemon.restart();
    assert_eq!(detections(&daemon, "s"), before);
}

#[test]
fn a_copy_of_the_database_catches_up_with_the_journal_beside_it() {
    let daemon = Daemon::start();
    open(&daemon, "before");
    let home = daemon.stop();
    let copy = fs::read(home.dir().join(DATABASE)).unwrap();
    let daemon = Daemon::on(home);
    ingest(&daemon, "before", &[("1", "cup", 0.5)], START, None).is(200);
    let (detection, epoch_before) = (detections(&daemon, "before"), epoch(&daemon));
    let home = daemon.stop();
    fs::write(home.dir().join(DATABASE), copy).unwrap();
    let daemon = Daemon::on(home);
    assert_eq!(detections(&daemon, "before"), detection);
    assert_eq!(epoch(&daemon), epoch_before);
}

/// An operator puts last week's copy of the database back and leaves the journal as it is: what the journal holds does
/// not follow on the copy, and the numbers of the feed are given a second time. Readers must be told to begin again.
#[test]
fn a_database_older_than_its_journal_begins_a_new_epoch() {
    let daemon = Daemon::start();
    open(&daemon, "kept");
    let epoch_before = epoch(&daemon);
    let home = daemon.stop();
    let copy = fs::read(home.dir().join(DATABASE)).unwrap();
    let daemon = Daemon::on(home);
    open(&daemon, "gone with the copy");
    let daemon = Daemon::on(daemon.stop());
    open(&daemon, "in the journal alone");
    let home = daemon.stop();
    fs::write(home.dir().join(DATABASE), copy).unwrap();
    let mut daemon = Daemon::on(home);
    assert!(daemon.logs().iter().any(|line| line.contains("older than its journal")), "{:?}", daemon.logs());
    assert_ne!(epoch(&daemon), epoch_before);
    daemon.get("/sessions/in%20the%20journal%20alone").is(404);
    open(&daemon, "new");
    daemon.restart();
    assert_eq!(session(&daemon, "kept")["status"], "open");
    assert_eq!(session(&daemon, "new")["status"], "open");
}

#[test]
fn a_database_that_is_gone_is_not_begun_anew_beside_its_journal() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let home = daemon.stop();
    fs::remove_file(home.dir().join(DATABASE)).unwrap();
    let ran = home.run(&["serve"], b"");
    assert_eq!(ran.code, Some(1));
    assert!((ran.stdout + &ran.stderr).contains("To begin a new store, move the journal away"));
    fs::remove_file(home.dir().join(JOURNAL)).unwrap();
    Daemon::on(home).get("/health").is(200);
}

/// A damaged journal holds what was acknowledged: it must be refused, never silently cut.
#[test]
fn a_damaged_journal_is_refused_with_the_way_out() {
    let mut daemon = Daemon::start();
    for id in ["a", "b", "c"] {
        open(&daemon, id);
    }
    daemon.kill9();
    let path = daemon.dir().join(JOURNAL);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 45] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = daemon.home().run(&["serve"], b"");
    assert_eq!(ran.code, Some(1));
    let said = ran.stdout + &ran.stderr;
    assert!(said.contains("is damaged behind change") && said.contains("put a backup back"), "{said}");
}

/// Puts a kept file of `tests/data/stores` into the home's data folder.
fn unpack(home: &Home, name: &str, place: &str) {
    let packed = fs::File::open(format!("{}/tests/data/stores/{name}.gz", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    fs::create_dir_all(home.dir().join("data")).unwrap();
    fs::write(home.dir().join(place), bytes).unwrap();
}

/// Format 1 had no journal. `format-1.redb.gz` was written by the version before it came.
#[test]
fn a_store_of_format_1_is_read() {
    let home = Home::new("");
    unpack(&home, "format-1.redb", DATABASE);
    let mut daemon = Daemon::on(home);
    assert_eq!(session(&daemon, "kept_1")["end_ts"], "2025-10-11T12:05:00.000Z");
    let kept = detections(&daemon, "kept_1");
    assert_eq!(kept[1]["conf"], 0.9);
    assert_eq!(kept[1]["last_ts"], "2025-10-11T12:01:03.500Z");
    ingest(&daemon, "kept_2", &[("9", "dog", 0.5)], START, None).is(200);
    daemon.restart();
    assert_eq!(detections(&daemon, "kept_2").len(), 3);
}

/// Format 2 had no index of segments by time. `format-2.*` were left by a `kill -9`: one segment stands in the database, the
/// other in its journal alone.
#[test]
fn a_store_of_format_2_is_read_with_what_its_journal_holds() {
    let home = Home::new("");
    unpack(&home, "format-2.redb", DATABASE);
    unpack(&home, "format-2.redb.journal", JOURNAL);
    let mut daemon = Daemon::on(home);
    for _ in 0..2 {
        for (id, file) in [("kept_1", "/recordings/cam-local/a.mp4"), ("kept_2", "/recordings/cam-2/b.mp4")] {
            let recorded = daemon.get(format!("/sessions/{id}/recordings")).is(200).json();
            assert_eq!(
                (&recorded["segments"][0]["file"], &recorded["segments"][0]["state"]),
                (&json!(file), &json!("estimated"))
            );
        }
        assert_eq!(detections(&daemon, "kept_1").len(), 2);
        daemon.restart();
    }
    // Of the frames folder it knows another one; the rows are as they should be.
    let ran = daemon.killed().run(&["verify"], b"");
    assert!(!(ran.stdout.clone() + &ran.stderr).contains("segments"), "{}{}", ran.stdout, ran.stderr);
}

/// Format 3 knew no holds, and no queue of folders. `format-3.*` were left by a `kill -9`.
#[test]
fn a_store_of_format_3_is_read_and_its_sessions_can_be_held() {
    let home = Home::new("");
    unpack(&home, "format-3.redb", DATABASE);
    unpack(&home, "format-3.redb.journal", JOURNAL);
    let mut daemon = Daemon::on(home);
    assert_eq!(session(&daemon, "kept_1")["end_ts"], "2025-10-11T12:05:00.000Z");
    assert_eq!(detections(&daemon, "kept_1").len(), 1);
    daemon.post("/sessions/kept_1/hold", &json!({"reason": "kept through the change"})).is(200);
    daemon.restart();
    assert_eq!(daemon.get("/holds").is(200).json()["holds"][0]["session_id"], "kept_1");
}
