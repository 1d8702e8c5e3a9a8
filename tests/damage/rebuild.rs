//! `repair --from-files`: after the loss of the database, what lies beside the frames comes back, and nothing is made up.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::store::{catalogue, database, filled_with, is_well, killed_after, verify};
use crate::support::agent::{close, detection, detections, ingest, jpeg, open, picture, session, sessions};
use crate::support::daemon::{Daemon, Home, Ran};
use crate::support::until;

const AT_ONCE: &str = "[frames]\nsidecar_delay_sec = 0\n";

fn sidecar(home: &Home, id: &str) -> PathBuf {
    home.frames_dir().join(id).join("\\session.ndjson")
}

fn from_files(home: &Home) -> Ran {
    home.run(&["repair", "--from-files"], b"")
}

/// A stopped store whose closed sessions are written beside their frames, then deprived of its database.
fn bereft() -> Home {
    let daemon = Daemon::on(filled_with(AT_ONCE));
    for id in ["shut", "coloured"] {
        // The last thing that happened to both.
        until("a sidecar", Duration::from_secs(10), || {
            let lines = fs::read_to_string(sidecar(daemon.home(), id)).ok()?;
            (lines.contains("\"media_end_ts\":\"2025") && lines.contains("\"closed\"")).then_some(())
        });
    }
    let home = daemon.stop();
    is_well(&home);
    home
}

fn lose_database(home: &Home) {
    fs::remove_file(database(home)).unwrap();
}

#[test]
fn closed_sessions_come_back_with_detections_and_frames_and_the_rest_is_listed() {
    let home = bereft();
    let mut told = catalogue(&home);
    assert!(!sidecar(&home, "open").exists(), "an open session has no record yet");
    lose_database(&home);
    let ran = from_files(&home);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("open: 1 files, captured from 20251011T120003000000Z"), "{}", ran.stdout);
    assert!(ran.stderr.contains("2 sessions, 5 detections, 2 of them with their frames"), "{}", ran.stderr);
    assert!(ran.stderr.contains("has not come back"), "{}", ran.stderr);
    is_well(&home);
    told.retain(|key, _| !key.contains("\"open\""));
    let back = catalogue(&home);
    assert!(back == told, "{back:#?}");
    let quarantined = fs::read_dir(home.frames_dir().join("\\quarantine/open")).unwrap().count();
    assert_eq!(quarantined, 1, "its frame is not deleted");
    let daemon = Daemon::on(home);
    assert_eq!(daemon.get("/health").is(200).json()["reasons"], json!([]), "the frames folder is its own");
    assert_eq!(picture(&daemon, &detection(&daemon, "shut", "2")).is(200).body, jpeg(2));
    assert_eq!(daemon.get("/sessions?color=azul").is(200).json()["sessions"][0]["session_id"], "coloured");
}

#[test]
fn a_frame_that_is_gone_or_cut_is_listed_and_its_detection_comes_back() {
    let home = bereft();
    let mut files: Vec<_> = fs::read_dir(home.frames_dir().join("shut")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "jpg"));
    files.sort();
    fs::remove_file(&files[0]).unwrap();
    fs::write(&files[1], &jpeg(2)[..900]).unwrap();
    lose_database(&home);
    let ran = from_files(&home);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("session shut, track \"1\"") && ran.stderr.contains("session shut, track \"2\""),
        "{}",
        ran.stderr
    );
    is_well(&home);
    let daemon = Daemon::on(home);
    assert!(detections(&daemon, "shut").iter().all(|one| one["url_frame"].is_null()));
}

#[test]
fn a_record_that_makes_no_sense_is_told_of_and_kept() {
    let home = bereft();
    let whole = fs::read_to_string(sidecar(&home, "shut")).unwrap();
    let strange = [
        whole[..whole.len() - 30].to_owned(),
        String::new(),
        "{\"session_deleted\":{\"session_id\":\"coloured\"}}\n".to_owned(),
        fs::read_to_string(sidecar(&home, "coloured")).unwrap(),
    ];
    lose_database(&home);
    for (number, lines) in strange.into_iter().enumerate() {
        fs::write(sidecar(&home, "shut"), &lines).unwrap();
        let ran = from_files(&home);
        assert_eq!(ran.code, Some(0), "{number}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("session shut: the record beside its frames cannot be used"), "{number}: {}", ran.stdout);
        let kept = home.frames_dir().join("\\quarantine/shut/\\session.ndjson");
        assert_eq!(fs::read_to_string(kept).unwrap(), lines, "{number}");
        fs::remove_dir_all(home.frames_dir().join("\\quarantine/shut")).unwrap();
        let ran = verify(&home, &[]);
        assert_eq!(ran.code, Some(0), "{number}: {}", ran.stdout);
        lose_database(&home);
    }
}

#[test]
fn sidecars_follow_what_changes_after_the_close_and_go_with_their_session() {
    let daemon = Daemon::on(filled_with(AT_ONCE));
    let holds = |id: &str, what: &str| {
        until(what, Duration::from_secs(10), || {
            fs::read_to_string(sidecar(daemon.home(), id)).ok().filter(|lines| lines.contains(what))
        });
    };
    open(&daemon, "late");
    close(&daemon, "late", "2025-10-11T12:05:00Z");
    holds("late", "2025-10-11T12:05:00.000000Z");
    ingest(&daemon, "late", &[("1", "zebra", 0.5)], "2025-10-11T12:00:01Z", Some(&jpeg(1))).is(200);
    holds("late", "zebra");
    close(&daemon, "late", "2025-10-11T12:06:00Z");
    holds("late", "2025-10-11T12:06:00.000000Z");
    let url = format!("http://{}", daemon.address);
    let ran = verify(daemon.home(), &["--deep", "--from", &url]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(daemon.get("/frames/late/%5Csession.ndjson").status, 400, "it is nobody's picture");
    let home = daemon.stop();
    home.import(&[json!({"session_deleted": {"session_id": "late"}})]);
    is_well(&home);
    let daemon = Daemon::on(home);
    until("its end", Duration::from_secs(10), || (!sidecar(daemon.home(), "late").exists()).then_some(()));
    is_well(&daemon.stop());
}

#[test]
fn a_database_that_is_there_is_never_replaced() {
    let home = bereft();
    let before = fs::read(database(&home)).unwrap();
    let ran = from_files(&home);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("Move it away"), "{}", ran.stderr);
    assert_eq!(fs::read(database(&home)).unwrap(), before);
    let nowhere = Home::new("");
    let ran = from_files(&nowhere);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no frames folder"), "{}", ran.stderr);
}

#[test]
fn a_rebuilding_killed_at_any_moment_is_run_again_or_repaired() {
    let home = bereft();
    for number in 0..200 {
        fs::write(home.frames_dir().join(format!("shut/planted-{number}.jpg")), jpeg(1)).unwrap();
    }
    for delay in [1, 5, 10, 20, 30, 40, 60, 90] {
        drop(fs::remove_file(database(&home)));
        killed_after(&home, &["repair", "--from-files"], delay);
        let ran = if database(&home).exists() { home.run(&["repair"], b"") } else { from_files(&home) };
        assert_eq!(ran.code, Some(0), "killed after {delay} ms: {}{}", ran.stdout, ran.stderr);
        is_well(&home);
    }
    let daemon = Daemon::on(home);
    assert_eq!(sessions(&daemon).len(), 2);
    assert_eq!(session(&daemon, "shut")["end_reason"], "client");
    assert_eq!(daemon.get("/health").is(200).json()["status"], "ok");
}
