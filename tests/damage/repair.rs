//! `repair`: what `verify` finds is put in order, what can't be is kept and told of, and a kill does no harm.

use std::collections::BTreeMap;
use std::fs;

use redb::ReadableTable as _;
use serde_json::Value;

use crate::forge::{self, forge};
use crate::store::{catalogue, contents, database, filled, is_well, killed_after, kinds, picture_of, verify};
use crate::support::agent::{detection, ingest, jpeg, open, picture, sessions};
use crate::support::daemon::{Daemon, Home, Ran};

#[track_caller]
fn repair(home: &Home, args: &[&str]) -> Ran {
    let ran = home.run(&[&["repair"], args].concat(), b"");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    ran
}

/// The epoch of the feed, and its numbers with what stands there.
fn feed(daemon: &Daemon) -> (String, Vec<(u64, String)>) {
    let answer = daemon.get("/changes?limit=1000").is(200).json();
    let entries = answer["changes"].as_array().unwrap().iter().map(|entry| {
        let what = format!("{} {} {}", entry["type"], entry["session_id"], entry["detection"]["track_id"]);
        (entry["seq"].as_u64().unwrap(), what)
    });
    (answer["epoch"].as_str().unwrap().to_owned(), entries.collect())
}

fn lists(daemon: &Daemon) -> Vec<Value> {
    ["classes=cup,dog", "color=ROJ", "color=azul", "path=cam-local", "device_id=cam-local", "status=open", "status=closed"]
        .map(|filter| daemon.get(format!("/sessions?{filter}")).is(200).json())
        .to_vec()
}

#[test]
fn what_can_be_wrong_with_an_index_is_mended_from_the_records() {
    let daemon = Daemon::on(filled());
    let (told, (epoch, numbers)) = (lists(&daemon), feed(&daemon));
    let mut home = daemon.stop();
    let records = catalogue(&home);
    let whole = fs::read(database(&home)).unwrap();
    for (what, damage, keeps_records) in forge::DAMAGES {
        let mut records = records.clone();
        fs::write(database(&home), &whole).unwrap();
        forge(&home, damage);
        repair(&home, &[]);
        let ran = verify(&home, &["--deep"]);
        // Frames of detections that are lost are in quarantine: nothing is there for a finding.
        assert_eq!(ran.code, Some(0), "{what}: {}{}", ran.stdout, ran.stderr);
        if keeps_records {
            let mut mended = catalogue(&home);
            if what == "frames lost" {
                // What a frame's hash was when it was stored, no one else knows.
                forget_hashes(&mut records);
                forget_hashes(&mut mended);
            }
            assert!(mended == records, "{what}: {mended:#?}");
            let daemon = Daemon::on(home);
            assert_eq!(lists(&daemon), told, "{what}");
            let (new_epoch, new_numbers) = feed(&daemon);
            assert_ne!(new_epoch, epoch, "{what}: readers must begin again");
            let is_same = |entries: &[(u64, String)]| {
                entries.iter().filter(|entry| !entry.1.contains("deleted")).cloned().collect::<Vec<_>>()
            };
            assert_eq!(is_same(&new_numbers), is_same(&numbers), "{what}");
            home = daemon.stop();
        } else {
            // Back from quarantine, for the next damage.
            back_from_quarantine(&home);
            drop(fs::remove_file(database(&home).with_extension("redb.set-aside.ndjson")));
        }
    }
}

fn forget_hashes(catalogue: &mut BTreeMap<String, Value>) {
    for line in catalogue.values_mut() {
        if let Some(extra) = line.pointer_mut("/detection/extra").and_then(Value::as_object_mut) {
            extra.remove("frame_hash");
        }
    }
}

fn back_from_quarantine(home: &Home) {
    let quarantine = home.frames_dir().join("\\quarantine");
    let Ok(folders) = fs::read_dir(&quarantine) else { return };
    for folder in folders {
        let folder = folder.unwrap();
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            fs::rename(file.path(), home.frames_dir().join(folder.file_name()).join(file.file_name())).unwrap();
        }
    }
    fs::remove_dir_all(quarantine).unwrap();
}

#[test]
fn a_repaired_store_goes_on_with_new_numbers() {
    let home = filled();
    forge(&home, |txn| forge::empty(txn, forge::FEED));
    repair(&home, &[]);
    let daemon = Daemon::on(home);
    let (_, before) = feed(&daemon);
    open(&daemon, "new");
    ingest(&daemon, "new", &[("1", "cup", 0.5)], "2025-10-11T12:00:01Z", Some(&jpeg(1))).is(200);
    let (_, after) = feed(&daemon);
    assert!(after.len() == before.len() + 2 && after.last() > before.last());
    is_well(&daemon.stop());
}

#[test]
fn a_frame_that_is_gone_or_not_whole_is_taken_from_its_detection_which_stays() {
    for (what, args) in [("gone", &[][..]), ("cut", &[]), ("zeroed", &["--deep"])] {
        let (home, file) = picture_of(filled(), "shut", "2");
        match what {
            "gone" => fs::remove_file(&file).unwrap(),
            "cut" => fs::write(&file, &jpeg(2)[..700]).unwrap(),
            _ => fs::write(&file, vec![0; jpeg(2).len()]).unwrap(),
        }
        let ran = repair(&home, args);
        assert!(ran.stdout.contains("session shut, track \"2\""), "{what}: {}", ran.stdout);
        assert!(!file.exists(), "{what}");
        if what != "gone" {
            let kept = home.frames_dir().join("\\quarantine/shut").join(file.file_name().unwrap());
            assert!(kept.exists(), "{what}: nothing is deleted");
        }
        is_well(&home);
        let daemon = Daemon::on(home);
        let record = detection(&daemon, "shut", "2");
        assert!(record["url_frame"].is_null() && record["conf"] == 0.9, "{what}: {record}");
        assert_eq!(picture(&daemon, &detection(&daemon, "shut", "1")).is(200).body, jpeg(1), "{what}");
        // It may get a picture again.
        ingest(&daemon, "shut", &[("2", "dog", 0.6)], "2025-10-11T12:00:01Z", Some(&jpeg(3))).is(200);
        assert_eq!(picture(&daemon, &detection(&daemon, "shut", "2")).is(200).body, jpeg(3), "{what}");
    }
}

#[test]
fn what_no_row_names_goes_to_quarantine_and_nothing_of_it_is_lost() {
    let home = filled();
    let frames = home.frames_dir();
    fs::create_dir_all(frames.join("stranger/deeper")).unwrap();
    let planted = ["shut/planted.jpg", "stranger/1.jpg", "at-the-root.jpg", "stranger/deeper/x"];
    for round in ["first", "second"] {
        fs::create_dir_all(frames.join("stranger/deeper")).unwrap();
        for planted in planted {
            fs::write(frames.join(planted), format!("{round} {planted}")).unwrap();
        }
        let before = contents(&frames);
        let ran = repair(&home, &[]);
        assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);
        let bytes = |all: Vec<(std::path::PathBuf, Vec<u8>)>| {
            let mut bytes: Vec<_> = all.into_iter().map(|file| file.1).collect();
            bytes.sort();
            bytes
        };
        assert_eq!(bytes(contents(&frames)), bytes(before), "{round}");
        is_well(&home);
    }
    assert!(frames.join("\\quarantine/stranger/1.jpg.1").exists());
    assert_eq!(repair(&home, &[]).stdout, "");
}

#[test]
fn a_record_that_cannot_be_read_is_set_aside_and_told_of() {
    let home = filled();
    let records = catalogue(&home);
    forge(&home, |txn| {
        let mut table = txn.open_table(forge::DETECTIONS).unwrap();
        let (number, track) = table.first().unwrap().map(|(key, _)| (key.value().0, key.value().1.to_owned())).unwrap();
        table.insert((number, track.as_str()), &b"\x01\xfe\xca"[..]).unwrap();
    });
    let ran = repair(&home, &[]);
    assert!(ran.stdout.contains("set aside"), "{}", ran.stdout);
    let aside = fs::read_to_string(database(&home).with_extension("redb.set-aside.ndjson")).unwrap();
    let line: Value = serde_json::from_str(aside.lines().next().unwrap()).unwrap();
    assert_eq!((line["table"].as_str(), line["record"].as_str()), (Some("detections"), Some("01feca")), "{line}");
    is_well(&home);
    assert_eq!(catalogue(&home).len(), records.len() - 1);
    // A session takes its detections along.
    forge(&home, |txn| {
        let mut table = txn.open_table(forge::SESSIONS).unwrap();
        let key = table.last().unwrap().unwrap().0.value();
        table.insert(key, &b"\x09"[..]).unwrap();
    });
    repair(&home, &[]);
    is_well(&home);
    let aside = fs::read_to_string(database(&home).with_extension("redb.set-aside.ndjson")).unwrap();
    assert!(aside.lines().count() >= 3 && aside.contains("\"sessions\""), "{aside}");
}

#[test]
fn a_repair_killed_at_any_moment_is_simply_run_again() {
    let (mut home, file) = picture_of(filled(), "shut", "2");
    fs::remove_file(&file).unwrap();
    for number in 0..300 {
        fs::write(home.frames_dir().join(format!("shut/planted-{number}.jpg")), jpeg(1)).unwrap();
    }
    forge(&home, |txn| {
        forge::empty(txn, forge::BY_CLASS);
        forge::empty(txn, forge::FEED);
    });
    for delay in [1, 5, 10, 15, 20, 25, 30, 40, 60] {
        killed_after(&home, &["repair"], delay);
        let ran = verify(&home, &["--json"]);
        assert!(matches!(ran.code, Some(0 | 1)), "killed after {delay} ms: {}", ran.stderr);
    }
    repair(&home, &[]);
    is_well(&home);
    let quarantined = fs::read_dir(home.frames_dir().join("\\quarantine/shut")).unwrap().count();
    assert_eq!(quarantined, 300);
    let daemon = Daemon::on(home);
    assert_eq!(sessions(&daemon).len(), 3);
    home = daemon.stop();
    is_well(&home);
}

#[test]
fn repair_is_refused_where_it_would_do_harm() {
    let daemon = Daemon::on(filled());
    let ran = daemon.home().run(&["repair"], b"");
    assert_eq!(ran.code, Some(1), "a daemon has it: {ran:?}");
    assert!(ran.stderr.contains("in use"), "{}", ran.stderr);
    let home = daemon.stop();
    let before = fs::read(database(&home)).unwrap();
    fs::rename(home.frames_dir(), home.dir().join("elsewhere")).unwrap();
    fs::create_dir(home.frames_dir()).unwrap();
    let ran = home.run(&["repair"], b"");
    assert_eq!(ran.code, Some(1), "an empty mount point would cost every picture: {ran:?}");
    fs::remove_dir(home.frames_dir()).unwrap();
    fs::rename(home.dir().join("elsewhere"), home.frames_dir()).unwrap();
    is_well(&home);
    let mut cut = before.clone();
    cut.truncate(before.len() / 2);
    fs::write(database(&home), &cut).unwrap();
    let ran = home.run(&["repair"], b"");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("restore") && ran.stderr.contains("--from-files"), "the way out: {}", ran.stderr);
    assert_eq!(fs::read(database(&home)).unwrap(), cut, "nothing was changed");
    assert_eq!(kinds(&verify(&filled(), &["--json"])), [""; 0]);
}
