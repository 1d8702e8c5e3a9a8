//! `verify`: every damage is found, what is no damage is not, and nothing is changed.

use std::fs;

use redb::ReadableTable as _;
use serde_json::Value;

use crate::forge::{self, forge};
use crate::store::{contents, database, filled, is_well, kinds, picture_of, verify};
use crate::support::agent::{ingest, jpeg, open};
use crate::support::daemon::{Daemon, Home};

#[test]
fn a_store_without_damage_is_well_stopped_or_running_and_is_not_changed() {
    let home = filled();
    let before = contents(home.dir());
    for args in [&[][..], &["--deep"], &["--json"]] {
        let ran = verify(&home, args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}{}", ran.stdout, ran.stderr);
    }
    let ran = verify(&home, &["--json", "--deep"]);
    let summary: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    let summary = &summary["summary"];
    assert_eq!((summary["frames"].as_u64(), summary["findings"].as_u64()), (Some(3), Some(0)), "{summary}");
    let names = |files: &[(std::path::PathBuf, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    let after = contents(home.dir());
    assert_eq!(names(&before), names(&after));
    for (one, other) in before.iter().zip(&after) {
        // Opening alone writes into the database's head.
        assert!(one.1 == other.1 || one.0 == database(&home), "{} was changed", one.0.display());
    }
    let daemon = Daemon::on(home);
    let ran = verify(daemon.home(), &["--deep", "--json", "--from", &format!("http://{}", daemon.address)]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let running: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(running["summary"]["frames"], 3, "{running}");
}

#[test]
fn each_index_row_that_is_lost_or_too_many_is_found() {
    let home = filled();
    let whole = fs::read(database(&home)).unwrap();
    for (what, damage, _) in forge::DAMAGES {
        fs::write(database(&home), &whole).unwrap();
        forge(&home, damage);
        let ran = verify(&home, &["--json"]);
        assert_eq!(ran.code, Some(1), "{what}: {}{}", ran.stdout, ran.stderr);
        assert!(kinds(&ran).contains(&"database".to_owned()), "{what}: {}", ran.stdout);
        let spoken = verify(&home, &[]);
        assert!(spoken.stdout.lines().count() > 1 && !spoken.stdout.contains('{'), "{what}: {}", spoken.stdout);
    }
    fs::write(database(&home), &whole).unwrap();
    is_well(&home);
}

/// A table, and what is done to a record of it.
type RecordDamage = (&'static str, fn(&redb::WriteTransaction));

#[test]
fn a_record_that_cannot_be_read_is_found_in_each_table() {
    let home = filled();
    let whole = fs::read(database(&home)).unwrap();
    let damages: [RecordDamage; 4] = [
        ("sessions", |txn| {
            let mut table = txn.open_table(forge::SESSIONS).unwrap();
            let key = table.first().unwrap().unwrap().0.value();
            table.insert(key, &b"\x01\xff\xff"[..]).unwrap();
        }),
        ("detections", |txn| {
            let mut table = txn.open_table(forge::DETECTIONS).unwrap();
            let (number, track) = table.first().unwrap().map(|(key, _)| (key.value().0, key.value().1.to_owned())).unwrap();
            table.insert((number, track.as_str()), &b"\x02"[..]).unwrap();
        }),
        ("frames", |txn| {
            let mut table = txn.open_table(forge::FRAMES).unwrap();
            let (number, file) = table.first().unwrap().map(|(key, _)| (key.value().0, key.value().1.to_owned())).unwrap();
            table.insert((number, file.as_str()), &b""[..]).unwrap();
        }),
        ("feed", |txn| {
            let mut table = txn.open_table(forge::FEED).unwrap();
            let key = table.first().unwrap().unwrap().0.value();
            table.insert(key, &b"\x01\x09"[..]).unwrap();
        }),
    ];
    for (table, damage) in damages {
        fs::write(database(&home), &whole).unwrap();
        forge(&home, damage);
        let ran = verify(&home, &[]);
        assert_eq!(ran.code, Some(1), "{table}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("cannot be read"), "{table}: {}", ran.stdout);
    }
}

/// What is done to a frame's file, and what is found by existence and length, and deep.
type FrameDamage = (&'static str, fn(&std::path::Path), &'static [&'static str], &'static [&'static str]);

#[test]
fn frames_are_looked_at_by_existence_and_length_and_deep_by_their_bytes() {
    let (home, file) = picture_of(filled(), "shut", "2");
    let whole = fs::read(&file).unwrap();
    let damages: [FrameDamage; 6] = [
        ("deleted", |file| fs::remove_file(file).unwrap(), &["frame_missing"], &["frame_missing"]),
        (
            "a folder in its place",
            |file| {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            },
            &["frame_missing"],
            &["frame_missing"],
        ),
        (
            "truncated",
            |file| fs::File::options().write(true).open(file).unwrap().set_len(1000).unwrap(),
            &["frame_damaged"],
            &["frame_damaged"],
        ),
        ("emptied", |file| fs::write(file, b"").unwrap(), &["frame_damaged"], &["frame_damaged"]),
        (
            "overwritten by zeros of the same length",
            |file| {
                let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
                fs::write(file, vec![0; length]).unwrap();
            },
            &[],
            &["frame_damaged"],
        ),
        ("rewritten in place by the enricher", |file| fs::write(file, jpeg(3)).unwrap(), &[], &[]),
    ];
    for (what, damage, shallow, deep) in damages {
        damage(&file);
        for (args, expected) in [(&["--json"][..], shallow), (&["--json", "--deep"], deep)] {
            let ran = verify(&home, args);
            assert_eq!(kinds(&ran), expected, "{what} {args:?}: {}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.code, Some(i32::from(!expected.is_empty())), "{what}");
            let is_changed = ran.stdout.contains("\"changed\":{\"file\"");
            assert_eq!(is_changed, what.starts_with("rewritten"), "{what} {args:?}: {}", ran.stdout);
        }
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        }
        fs::write(&file, &whole).unwrap();
    }
    is_well(&home);
}

#[test]
fn what_no_row_names_is_listed_and_the_stores_own_names_are_not() {
    let home = filled();
    let frames = home.frames_dir();
    fs::create_dir_all(frames.join("stranger/deeper")).unwrap();
    for planted in ["shut/planted.jpg", "stranger/1.jpg", "at-the-root.jpg", "stranger/deeper/x"] {
        fs::write(frames.join(planted), jpeg(1)).unwrap();
    }
    fs::write(frames.join("\\tmp/half"), b"half").unwrap();
    fs::create_dir(frames.join("\\of-tomorrow")).unwrap();
    let ran = verify(&home, &["--json"]);
    assert_eq!(ran.code, Some(1));
    let mut files: Vec<_> = ran
        .stdout
        .lines()
        .filter_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["finding"]["file"].as_str().map(ToOwned::to_owned)
        })
        .collect();
    files.sort();
    assert_eq!(files, ["at-the-root.jpg", "shut/planted.jpg", "stranger/1.jpg", "stranger/deeper"]);
}

#[test]
fn a_database_cut_short_or_with_a_flipped_bit_is_a_sentence_or_a_finding_and_never_a_panic() {
    let home = filled();
    let path = database(&home);
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    let cuts = [0, 1, 100, 4096, 5000, whole.len() / 2, whole.len() - 4096, whole.len() - 1];
    let flips = (0..48).map(|n| n * whole.len() / 48 + n * 131 % 997).chain(0..48);
    let damaged = cuts.map(|cut| (format!("cut at {cut}"), whole[..cut].to_vec())).into_iter();
    for (what, bytes) in damaged.chain(flips.map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        (format!("a bit flipped at {at}"), bytes)
    })) {
        fs::write(&path, &bytes).unwrap();
        let ran = verify(&home, &[]);
        assert!(matches!(ran.code, Some(0..=2)), "{what}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{what}: {}", ran.stderr);
        if ran.code == Some(2) {
            assert!(ran.stderr.contains("restore") && ran.stderr.contains("session-store.redb"), "{what}: {}", ran.stderr);
        }
        found += usize::from(ran.code != Some(0));
        assert!(!what.starts_with("cut") || ran.code == Some(2), "{what}: {ran:?}");
    }
    // Free pages have no checksum and hold nothing.
    assert!(found > 15, "only {found} of these damages were seen");
}

#[test]
fn where_there_is_nothing_to_look_at_the_exit_status_is_2() {
    let home = Home::new("");
    assert_eq!(verify(&home, &[]).code, Some(2), "no store");
    assert!(!database(&home).exists(), "and none is made");
    assert_eq!(verify(&home, &["--from", "http://127.0.0.1:1"]).code, Some(2), "nobody answers");
    let home = filled();
    fs::rename(home.frames_dir(), home.dir().join("elsewhere")).unwrap();
    fs::create_dir(home.frames_dir()).unwrap();
    let ran = verify(&home, &[]);
    assert_eq!(ran.code, Some(2), "an empty mount point: {ran:?}");
    assert!(ran.stderr.contains("mounted"), "{}", ran.stderr);
    fs::write(home.config(), "[server]\nport = \"x\"\n").unwrap();
    assert_eq!(verify(&home, &[]).code, Some(2), "a mistake in the configuration");
}

#[test]
fn a_running_store_is_verified_under_load_without_a_false_finding() {
    let daemon = Daemon::on(filled());
    let url = format!("http://{}", daemon.address);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for agent in 0..3 {
            let (daemon, stop) = (&daemon, &stop);
            scope.spawn(move || {
                let id = format!("busy-{agent}");
                open(daemon, &id);
                let mut sent: u32 = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    sent += 1;
                    let conf = f64::from(sent % 10_000) / 10_000.0;
                    let track = format!("t{}", sent / 20);
                    ingest(
                        daemon,
                        &id,
                        &[(&track, "cup", conf)],
                        "2025-10-11T12:00:01Z",
                        Some(&jpeg(u8::try_from(sent % 3).unwrap() + 1)),
                    )
                    .is(200);
                }
            });
        }
        let ran: Vec<_> = (0..8).map(|_| verify(daemon.home(), &["--deep", "--from", &url])).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for ran in ran {
            assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        }
    });
    let planted = daemon.frames_dir().join("shut/planted.jpg");
    fs::write(&planted, jpeg(1)).unwrap();
    let ran = verify(daemon.home(), &["--from", &url]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("planted.jpg"), "{}", ran.stdout);
}
