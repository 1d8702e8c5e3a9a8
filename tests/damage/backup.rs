//! `backup` and `restore`: what comes back is what was there, whatever goes on meanwhile and wherever it is cut.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::{catalogue, database, filled, is_well, killed_after, kinds, picture_of, verify};
use crate::support::agent::{detections, ingest, jpeg, jpeg_of, open, picture, sessions};
use crate::support::daemon::{Daemon, Home, Ran, command, run};

/// A new home with the frames folder and the database of nobody.
fn elsewhere() -> Home {
    Home::new("")
}

#[track_caller]
fn backup(home: &Home, args: &[&str]) -> Ran {
    let ran = home.run(&[&["backup"], args].concat(), b"");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

fn restore(home: &Home, from: &Path) -> Ran {
    home.run(&["restore", from.to_str().unwrap()], b"")
}

/// The generations in a backup folder, oldest first.
fn generations(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    // The one that is being made has all it needs but its name.
    let is_whole = |path: &PathBuf| !path.ends_with(".unfinished") && path.join("manifest.json").exists();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(is_whole).collect();
    all.sort();
    all
}

#[test]
fn what_is_restored_is_what_was_backed_up_field_by_field_and_byte_by_byte() {
    let (home, file) = picture_of(filled(), "shut", "2");
    let folder = home.dir().join("backup");
    let told = catalogue(&home);
    backup(&home, &[folder.to_str().unwrap()]);
    let other = elsewhere();
    let ran = restore(&other, &folder);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("all is well"), "it says what proves it: {}", ran.stdout);
    assert_eq!(catalogue(&other), told);
    let again = other.frames_dir().join(file.strip_prefix(home.frames_dir()).unwrap());
    assert_eq!(fs::read(again).unwrap(), fs::read(&file).unwrap());
    is_well(&other);
    let (before, after) = (Daemon::on(home), Daemon::on(other));
    let epoch = |daemon: &Daemon| daemon.get("/changes").is(200).json()["epoch"].clone();
    assert_ne!(epoch(&before), epoch(&after), "readers of the feed must begin again");
    assert_eq!(after.get("/health").is(200).json()["status"], "ok");
    let segment = serde_json::json!({"path": "cam-local", "segmentPath": "/r/1.mp4", "eventTs": "2025-10-11T12:00:30Z"});
    let hook = |daemon: &Daemon| daemon.post("/hooks/mediamtx/record/segment/complete", &segment).is(200).json();
    assert_eq!(hook(&before), hook(&after), "the segment is known to both");
}

#[test]
fn a_stream_is_restored_as_a_folder_is_and_one_that_is_cut_is_refused() {
    let home = filled();
    let told = catalogue(&home);
    let tape = run_binary(&home, &["backup", "-"]);
    let other = elsewhere();
    let cut = other.run(&["restore", "-"], &tape[..tape.len() / 2]);
    assert_eq!(cut.code, Some(1), "{}", cut.stderr);
    assert!(!database(&other).exists(), "nothing is in the database's place");
    let strange = other.run(&["restore", "-"], b"no archive at all, but longer than one block of it would be");
    assert_eq!(strange.code, Some(1), "{}", strange.stderr);
    let ran = other.run(&["restore", "-"], &tape);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(catalogue(&other), told);
    is_well(&other);
}

/// Standard output as bytes.
fn run_binary(home: &Home, args: &[&str]) -> Vec<u8> {
    let output = command(home.dir()).arg("--config").arg(home.config()).args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn generations_share_what_has_not_changed_and_never_the_frame_itself() {
    let (home, file) = picture_of(filled(), "shut", "2");
    let name = file.strip_prefix(home.frames_dir()).unwrap().to_owned();
    let folder = home.dir().join("backup");
    let to = folder.to_str().unwrap();
    backup(&home, &[to]);
    backup(&home, &[to]);
    let enriched = jpeg_of(60_000);
    fs::write(&file, &enriched).unwrap();
    backup(&home, &[to]);
    let all = generations(&folder);
    assert_eq!(all.len(), 3);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let copies: Vec<_> = all.iter().map(|one| one.join("frames").join(&name)).collect();
    assert_eq!(inode(&copies[0]), inode(&copies[1]), "unchanged");
    assert_ne!(inode(&copies[1]), inode(&copies[2]), "rewritten by the enricher");
    assert!(copies.iter().all(|copy| inode(copy) != inode(&file)), "the enricher writes into the frame itself");
    assert_eq!(fs::read(&copies[2]).unwrap(), enriched);
    assert_eq!(fs::read(&copies[0]).unwrap(), jpeg(2));
    // The first alone is whole in itself.
    for one in &all[1..] {
        fs::remove_dir_all(one).unwrap();
    }
    let other = elsewhere();
    assert_eq!(restore(&other, &folder).code, Some(0));
    assert_eq!(fs::read(other.frames_dir().join(&name)).unwrap(), jpeg(2));
}

#[test]
fn a_backup_under_full_load_is_consistent_and_the_daemon_goes_on() {
    let daemon = Daemon::on(filled());
    let url = format!("http://{}", daemon.address);
    let folder = daemon.dir().join("backup");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for agent in 0..4 {
            let (daemon, stop) = (&daemon, &stop);
            scope.spawn(move || {
                let mut sent: u32 = 0;
                while !stop.load(Ordering::Relaxed) {
                    sent += 1;
                    let id = format!("busy-{agent}-{}", sent / 60);
                    if sent % 60 == 1 || sent == 1 {
                        drop(daemon.post("/sessions/open", &crate::support::agent::opening(&id)));
                    }
                    let conf = f64::from(sent % 10_000) / 10_000.0;
                    drop(ingest(
                        daemon,
                        &id,
                        &[("hot", "cup", conf)],
                        "2025-10-11T12:00:01Z",
                        Some(&jpeg(u8::try_from(sent % 3).unwrap() + 1)),
                    ));
                }
            });
        }
        for round in 0..2 {
            backup(daemon.home(), &[folder.to_str().unwrap(), "--from", &url]);
            let other = elsewhere();
            let ran = restore(&other, &folder);
            assert_eq!(ran.code, Some(0), "round {round}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.contains(" 0 without theirs"), "round {round}: {}", ran.stderr);
        }
        stop.store(true, Ordering::Relaxed);
    });
    // What was acknowledged before a backup began is in it.
    let before: Vec<_> = sessions(&daemon);
    backup(daemon.home(), &[folder.to_str().unwrap(), "--from", &url]);
    let other = elsewhere();
    assert_eq!(restore(&other, &folder).code, Some(0));
    let after = Daemon::on(other);
    assert_eq!(sessions(&after), before);
    for session in &before {
        let id = session["session_id"].as_str().unwrap();
        let seen = detections(&daemon, id);
        assert_eq!(detections(&after, id), seen);
        for one in seen.iter().filter(|one| !one["url_frame"].is_null()) {
            assert_eq!(picture(&after, one).is(200).body, picture(&daemon, one).is(200).body);
        }
    }
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_left_as_it_is() {
    let home = filled();
    let folder = home.dir().join("backup");
    backup(&home, &[folder.to_str().unwrap()]);
    let told = catalogue(&home);
    let ran = restore(&home, &folder);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("session-store.redb"), "{}", ran.stderr);
    assert_eq!(catalogue(&home), told);
    let other = elsewhere();
    fs::create_dir_all(other.frames_dir().join("a")).unwrap();
    fs::write(other.frames_dir().join("a/1.jpg"), jpeg(1)).unwrap();
    let ran = restore(&other, &folder);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("not empty"), "{}", ran.stderr);
    assert!(other.frames_dir().join("a/1.jpg").exists() && !database(&other).exists());
    fs::remove_dir_all(other.frames_dir()).unwrap();
    assert_eq!(restore(&other, &folder).code, Some(0), "a refusal leaves nothing in the way");
}

#[test]
fn each_damage_to_a_backup_is_noticed() {
    let (home, file) = picture_of(filled(), "shut", "2");
    let name = file.strip_prefix(home.frames_dir()).unwrap().to_owned();
    let folder = home.dir().join("backup");
    backup(&home, &[folder.to_str().unwrap()]);
    let generation = generations(&folder).remove(0);
    let lines = fs::read(generation.join("catalogue.ndjson")).unwrap();
    let mut flipped = lines.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 1;
    for bad in [&lines[..lines.len() - 20], b"", &flipped] {
        fs::write(generation.join("catalogue.ndjson"), bad).unwrap();
        let ran = restore(&elsewhere(), &folder);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains("damaged"), "{}", ran.stderr);
    }
    fs::write(generation.join("catalogue.ndjson"), &lines).unwrap();
    // A frame that is cut is restored as it is, and found by the proof.
    let copy = generation.join("frames").join(&name);
    fs::write(&copy, &jpeg(2)[..500]).unwrap();
    let ran = restore(&elsewhere(), &folder);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("truncated"), "{}", ran.stdout);
    // One that is gone is listed, and its detection comes back without it.
    fs::remove_file(&copy).unwrap();
    let other = elsewhere();
    let ran = restore(&other, &folder);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("session shut, track \"2\""), "{}", ran.stderr);
    let other = Daemon::on(other);
    assert!(crate::support::agent::detection(&other, "shut", "2")["url_frame"].is_null());
}

#[test]
fn a_backup_killed_at_any_moment_is_never_taken_for_whole() {
    let home = many();
    let folder = home.dir().join("backup");
    let to = folder.to_str().unwrap();
    for delay in [1, 5, 10, 20, 30, 50, 80, 120] {
        let before = generations(&folder).len();
        let status = killed_after(&home, &["backup", to], delay);
        let after = generations(&folder);
        assert!(after.len() == before || after.len() == before + 1, "killed after {delay} ms");
        assert!(status != Some(0) || after.len() == before + 1, "what said that it is done is there");
        if let Some(newest) = after.last() {
            let other = elsewhere();
            let ran = restore(&other, newest);
            assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
            assert!(ran.stderr.starts_with("2 sessions, 122 detections, 122 "), "{}", ran.stderr);
        }
    }
    backup(&home, &[to]);
    assert!(!folder.join(".unfinished").exists(), "what was interrupted is swept");
}

#[test]
fn a_restore_killed_at_any_moment_is_simply_run_again() {
    let home = many();
    let folder = home.dir().join("backup");
    backup(&home, &[folder.to_str().unwrap()]);
    let tape = home.dir().join("backup.tar");
    fs::write(&tape, run_binary(&home, &["backup", "-"])).unwrap();
    for delay in [1, 5, 10, 20, 30, 50, 80, 120, 200] {
        let other = elsewhere();
        let status = killed_after(&other, &["restore", folder.to_str().unwrap()], delay);
        if database(&other).exists() {
            // It was in its place already; whoever starts on it finds it whole.
            let daemon = Daemon::on(other);
            assert_eq!(daemon.get("/health").is(200).json()["status"], "ok", "killed after {delay} ms");
            is_well(&daemon.stop());
            continue;
        }
        assert_ne!(status, Some(0));
        let ran =
            if delay % 20 == 0 { restore(&other, &folder) } else { other.run(&["restore", "-"], &fs::read(&tape).unwrap()) };
        assert_eq!(ran.code, Some(0), "killed after {delay} ms: {}{}", ran.stdout, ran.stderr);
        is_well(&other);
    }
}

/// A store with a few hundred frames.
fn many() -> Home {
    let daemon = Daemon::start();
    for id in ["one", "two"] {
        open(&daemon, id);
        let mut client = daemon.client();
        for track in 0..61 {
            let form = crate::support::http::Multipart::new().field(
                "meta",
                crate::support::agent::meta(
                    id,
                    "2025-10-11T12:00:01Z",
                    &[crate::support::agent::sighting(&format!("t{track}"), "cup", 0.5)],
                )
                .to_string(),
            );
            client.send(&form.frame(jpeg(1)).request()).is(200);
        }
    }
    daemon.stop()
}

#[test]
fn a_frame_that_the_store_has_lost_is_told_of_and_does_not_stop_the_backup() {
    let (home, file) = picture_of(filled(), "shut", "2");
    fs::remove_file(&file).unwrap();
    assert_eq!(kinds(&verify(&home, &["--json"])), ["frame_missing"]);
    let folder = home.dir().join("backup");
    let ran = backup(&home, &[folder.to_str().unwrap()]);
    assert!(ran.stderr.contains("1 detections name frames that the store itself has lost"), "{}", ran.stderr);
    assert_eq!(restore(&elsewhere(), &folder).code, Some(0));
}

#[test]
fn a_backup_of_another_folder_than_the_daemons_is_refused() {
    let daemon = Daemon::on(filled());
    let other = filled();
    let ran =
        other.run(&["backup", other.dir().join("b").to_str().unwrap(), "--from", &format!("http://{}", daemon.address)], b"");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("belongs to another store"), "{}", ran.stderr);
    let nowhere = run(command(other.dir()).args(["restore", "nowhere"]), b"");
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);
}

/// A link under the name of the mark counted as the mark of an interrupted restore, and all that lay beside it was swept.
#[test]
fn a_restore_follows_no_link_in_its_folder_and_sweeps_none_but_its_own() {
    let home = filled();
    let folder = home.dir().join("backup");
    backup(&home, &[folder.to_str().unwrap()]);
    let other = elsewhere();
    let (frames, outside) = (other.frames_dir(), other.dir().join("outside"));
    fs::create_dir_all(frames.join("evidence")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(frames.join("evidence/x.jpg"), "x").unwrap();
    fs::write(outside.join("y.jpg"), "y").unwrap();
    let mark = frames.join("\\restoring");
    symlink(&outside, &mark).unwrap();
    let ran = restore(&other, &folder);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(fs::read(frames.join("evidence/x.jpg")).unwrap(), b"x");

    // What an interrupted one left, with links in it.
    fs::remove_file(&mark).unwrap();
    fs::create_dir(&mark).unwrap();
    symlink(&outside, mark.join("frames")).unwrap();
    symlink(&outside, frames.join("shut")).unwrap();
    let ran = restore(&other, &folder);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(catalogue(&other), catalogue(&home));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was put there or taken away");
    is_well(&other);
}
