//! Links planted in the frames and tracks folders: never followed out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::agent::{
    END, FINISHED, START, close, copy_tracks_as, counts, detection, ingest, jpeg, open, picture, pictures, pictures_become,
};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::{at, detection_line, session_line};
use crate::support::until;

const SECRET: &str = "{\"segments\":[],\"secret\":true}\n";

/// A folder outside with files of every name that could be asked for.
fn outside(home: &Home) -> PathBuf {
    let outside = home.dir().join("outside");
    fs::create_dir_all(outside.join("tracks")).unwrap();
    for file in ["index.json", "meta.json", "seg-0000.jsonl", "tracks/seg-0000.jsonl", "x.jpg"] {
        fs::write(outside.join(file), SECRET).unwrap();
    }
    outside
}

/// The store's own folder of unfinished frames, and its mark.
const TEMPORARY: &str = "\\tmp";
const MARK: &str = "\\store";

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_link_in_the_tracks_folder_is_as_good_as_nothing() {
    let home = Home::new("");
    let outside = outside(&home);
    let tracks = home.tracks_dir();
    // A session's folder, the folder in the middle, and the files themselves; out of the folder and within it; and absolute,
    // relative and broken ones.
    for (id, link, to) in [
        ("folder", "", outside.clone()),
        ("relative", "", PathBuf::from("../outside")),
        ("sideways", "", PathBuf::from("whole")),
        ("up", "", PathBuf::from("..")),
        ("itself", "", PathBuf::from("itself")),
        ("middle", "tracks", outside.join("tracks")),
        ("segment", "tracks/seg-0000.jsonl", outside.join("seg-0000.jsonl")),
        ("index", "index.json", outside.join("index.json")),
        ("meta", "meta.json", outside.join("meta.json")),
        ("device", "meta.json", PathBuf::from("/dev/zero")),
        ("proc", "meta.json", PathBuf::from("/proc/self/environ")),
    ] {
        if link.is_empty() {
            fs::create_dir_all(&tracks).unwrap();
            symlink(to, tracks.join(id)).unwrap();
        } else {
            let folder = copy_tracks_as(&home, FINISHED, id);
            let place = folder.join(link);
            if place.is_dir() {
                fs::remove_dir_all(&place).unwrap();
            } else {
                fs::remove_file(&place).unwrap();
            }
            symlink(to, place).unwrap();
        }
    }
    copy_tracks_as(&home, FINISHED, "whole");
    let daemon = Daemon::on(home);
    let all = ["index", "index.json", "meta", "meta.json", "seg-0000.jsonl"];
    for (id, gone) in [
        ("folder", &all[..]),
        ("relative", &all),
        ("sideways", &all),
        ("up", &all),
        ("itself", &all),
        ("middle", &all[4..]),
        ("segment", &all[4..]),
        ("index", &all[..2]),
        ("meta", &all[2..4]),
        ("device", &all[2..4]),
        ("proc", &all[2..4]),
        ("whole", &[]),
    ] {
        for name in all {
            let answer = daemon.get(format!("/sessions/{id}/tracks/{name}"));
            assert_eq!(answer.status, if gone.contains(&name) { 404 } else { 200 }, "{id}/{name}: {}", answer.text());
            assert!(!answer.text().contains("secret"), "{id}/{name}");
        }
    }
}

#[test]
fn a_frame_that_is_a_link_is_not_served() {
    let daemon = Daemon::start();
    let outside = outside(daemon.home());
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let seen = detection(&daemon, "s", "1");
    picture(&daemon, &seen).is(200);
    let folder = daemon.frames_dir().join("s");
    let file = pictures(&daemon, "s")[0].clone();
    fs::remove_file(folder.join(&file)).unwrap();
    symlink(outside.join("x.jpg"), folder.join(&file)).unwrap();
    picture(&daemon, &seen).is(404);
    fs::remove_dir_all(&folder).unwrap();
    fs::copy(outside.join("x.jpg"), outside.join(&file)).unwrap();
    symlink(&outside, &folder).unwrap();
    picture(&daemon, &seen).is(404);
}

/// A frame went through a linked folder to wherever that led: written there, and deleted there when it was beaten.
#[test]
fn a_frame_is_never_written_nor_deleted_through_a_linked_session_folder() {
    let daemon = Daemon::start();
    let outside = outside(daemon.home());
    open(&daemon, "s");
    symlink(&outside, daemon.frames_dir().join("s")).unwrap();
    let before = names(&outside);
    let kept = counts(ingest(&daemon, "s", &[("1", "cup", 0.4)], START, Some(&jpeg(1))));
    assert_eq!(kept, (1, 0, 0, 1, false), "the detection without its picture");
    assert_eq!(names(&outside), before);
    let temporary = daemon.frames_dir().join(TEMPORARY);
    let left: usize = names(&temporary).iter().map(|lane| names(&temporary.join(lane)).len()).sum();
    assert_eq!(left, 0, "nothing is left behind");
    // With the link gone all is well again.
    fs::remove_file(daemon.frames_dir().join("s")).unwrap();
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1)))), (1, 1, 0, 1, true));
    // The folder moved away and linked: what lies there is somebody else's now.
    let (folder, moved) = (daemon.frames_dir().join("s"), daemon.dir().join("moved"));
    fs::rename(&folder, &moved).unwrap();
    let kept = names(&moved);
    symlink(&moved, &folder).unwrap();
    ingest(&daemon, "s", &[("1", "cup", 0.6)], START, None).is(200);
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "cup", 0.7)], START, Some(&jpeg(2)))), (1, 1, 0, 1, false));
    open(&daemon, "other");
    ingest(&daemon, "other", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    ingest(&daemon, "other", &[("1", "cup", 0.6)], START, Some(&jpeg(2))).is(200);
    pictures_become(&daemon, "other", 1);
    assert_eq!(names(&moved), kept);
}

/// The queue of beaten frames deleted `<frames>/<session>/<file>` wherever that led, and the sweep at the start all that a
/// linked `\tmp` showed it.
#[test]
fn neither_the_queue_nor_the_sweep_deletes_through_a_link() {
    let home = Home::new("");
    let outside = outside(&home);
    let frames = home.frames_dir();
    let file = "20251011T120000000000Z-0123456789abcdef.jpg";
    fs::create_dir_all(frames.join("s")).unwrap();
    fs::write(frames.join("s").join(file), jpeg(1)).unwrap();
    fs::write(outside.join(file), jpeg(1)).unwrap();
    let url = serde_json::json!({ "url_frame": format!("/frames/s/{file}") });
    let seen = detection_line("s", "1", "cup", &at(0, 0), &url);
    home.import(&[session_line("s", &at(0, 0), &at(1, 0), &["cup"], &serde_json::json!({})), seen]);
    let mut daemon = Daemon::on(home);
    until("the frames folder is paired", Duration::from_secs(10), || {
        ingest(&daemon, "s", &[("2", "cup", 0.5)], START, None);
        frames.join(TEMPORARY).exists().then_some(())
    });
    daemon.kill9();
    let folder = frames.join("s");
    fs::remove_dir_all(&folder).unwrap();
    symlink(&outside, &folder).unwrap();
    fs::remove_dir_all(frames.join(TEMPORARY)).unwrap();
    symlink(&outside, frames.join(TEMPORARY)).unwrap();
    let before = names(&outside);
    daemon.restart();
    // A better sighting with a picture cannot be written anywhere.
    let answer = ingest(&daemon, "s", &[("1", "cup", 0.9)], START, Some(&jpeg(2)));
    assert!(answer.status == 500 || !counts(answer).4, "a picture was written");
    let health = daemon.get("/health").is(200).json();
    assert_eq!(health["status"], "degraded", "{health}");
    assert_eq!(names(&outside), before);
    // The operator takes the links away, and it recovers by itself.
    fs::remove_file(frames.join(TEMPORARY)).unwrap();
    fs::remove_file(&folder).unwrap();
    until("the frames folder is used again", Duration::from_secs(10), || {
        let health = daemon.get("/health").is(200).json();
        (health["status"] == "ok").then_some(())
    });
    open(&daemon, "t");
    assert!(counts(ingest(&daemon, "t", &[("1", "cup", 0.5)], START, Some(&jpeg(2)))).4);
    assert_eq!(names(&outside), before);
}

#[test]
fn a_linked_mark_is_no_mark_and_its_target_is_left_alone() {
    let home = Home::new("");
    let target = home.dir().join("precious");
    fs::write(&target, "precious").unwrap();
    fs::create_dir_all(home.frames_dir()).unwrap();
    symlink(&target, home.frames_dir().join(MARK)).unwrap();
    let daemon = Daemon::on(home);
    open(&daemon, "s");
    assert!(counts(ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1)))).4);
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    assert!(fs::symlink_metadata(daemon.frames_dir().join(MARK)).unwrap().is_file(), "the mark is a file of its own");
}

/// An operator may well link the whole folder to another volume.
#[test]
fn the_folder_itself_may_be_a_link() {
    let home = Home::new("");
    let volume = home.dir().join("volume");
    fs::create_dir_all(&volume).unwrap();
    symlink(&volume, home.frames_dir()).unwrap();
    let daemon = Daemon::on(home);
    open(&daemon, "s");
    assert!(counts(ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1)))).4);
    picture(&daemon, &detection(&daemon, "s", "1")).is(200);
    assert_eq!(names(&volume.join("s")).len(), 1);
}

/// The worker's group may write in the tracks folder: what it links to must outlive the session.
#[test]
fn retention_deletes_nothing_through_a_link() {
    let home = Home::new("[retention]\nkeep = \"1d\"\ninterval_sec = 1\n[sessions]\nidle_close_sec = 0\n");
    let outside = outside(&home);
    fs::create_dir_all(home.tracks_dir().join("inner")).unwrap();
    symlink(&outside, home.tracks_dir().join("whole")).unwrap();
    symlink(&outside, home.tracks_dir().join("inner/tracks")).unwrap();
    let daemon = Daemon::on(home);
    for id in ["whole", "inner"] {
        open(&daemon, id);
        close(&daemon, id, END);
    }
    let is_gone = |name: &str| fs::symlink_metadata(daemon.tracks_dir().join(name)).is_err();
    until("the sessions' tracks are gone", Duration::from_secs(20), || (is_gone("whole") && is_gone("inner")).then_some(()));
    assert_eq!(fs::read_to_string(outside.join("tracks/seg-0000.jsonl")).unwrap(), SECRET);
    assert_eq!(names(&outside).len(), 5, "four files and a folder");
}
