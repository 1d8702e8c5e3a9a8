//! `POST /ingest`: how later, earlier, repeated and racing sightings of one track merge.

use serde_json::{Value, json};

use crate::support::agent::{counts, detection, detections, ingest, jpeg, open, picture, pictures, pictures_become, session};
use crate::support::daemon::Daemon;
use crate::support::records::at;
use crate::support::text;

const T1: &str = "2025-10-11T12:00:01.000Z";
const T2: &str = "2025-10-11T12:00:02.000Z";
const T3: &str = "2025-10-11T12:00:03.000Z";

fn opened() -> Daemon {
    let daemon = Daemon::start();
    open(&daemon, "s");
    daemon
}

/// One sighting of track 1.
fn see(daemon: &Daemon, conf: f64, at: &str, frame: Option<u8>) -> (u64, u64, u64, u64, bool) {
    let frame = frame.map(jpeg);
    counts(ingest(daemon, "s", &[("1", "cup", conf)], at, frame.as_deref()))
}

/// `first_ts`, `last_ts` and `capture_ts` of track 1.
fn moments(daemon: &Daemon) -> [String; 3] {
    let seen = detection(daemon, "s", "1");
    ["first_ts", "last_ts", "capture_ts"].map(|key| text(&seen, key).to_owned())
}

#[test]
fn inserted_counts_new_or_better_updated_those_not_new_skipped_the_rest() {
    let daemon = opened();
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "a", 0.5), ("2", "a", 0.5)], T1, None)), (2, 0, 0, 2, false));
    let mixed = [("1", "a", 0.9), ("2", "a", 0.4), ("3", "a", 0.1)];
    assert_eq!(counts(ingest(&daemon, "s", &mixed, T2, None)), (2, 1, 1, 3, false));
}

#[test]
fn only_a_strictly_higher_conf_replaces_the_best_sighting() {
    let daemon = opened();
    ingest(&daemon, "s", &[("1", "cup", 0.5)], T1, Some(&jpeg(1))).is(200);
    let first = detection(&daemon, "s", "1");
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "dog", 0.5)], T2, Some(&jpeg(2)))), (0, 0, 1, 1, false));
    let equal = detection(&daemon, "s", "1");
    for kept in ["cls", "conf", "bbox", "url_frame", "capture_ts", "first_ts", "ingest_ts", "created_at"] {
        assert_eq!(equal[kept], first[kept], "{kept}");
    }
    assert_eq!(equal["last_ts"], T2);
    let higher = 0.500_000_000_001;
    assert_eq!(counts(ingest(&daemon, "s", &[("1", "dog", higher)], T3, Some(&jpeg(3)))), (1, 1, 0, 1, true));
    let better = detection(&daemon, "s", "1");
    assert_eq!((&better["cls"], &better["capture_ts"], &better["first_ts"]), (&json!("dog"), &json!(T3), &json!(T1)));
    assert_eq!(better["created_at"], first["created_at"]);
    assert_eq!(picture(&daemon, &better).is(200).body, jpeg(3));
}

#[test]
fn every_sighting_widens_first_ts_and_last_ts_whatever_their_order() {
    let daemon = opened();
    see(&daemon, 0.5, T2, None);
    assert_eq!(moments(&daemon), [T2, T2, T2]);
    assert_eq!(see(&daemon, 0.3, T3, None), (0, 0, 1, 1, false));
    assert_eq!(moments(&daemon), [T2, T3, T2]);
    assert_eq!(see(&daemon, 0.3, T1, None), (0, 0, 1, 1, false));
    assert_eq!(moments(&daemon), [T1, T3, T2]);
    assert_eq!(see(&daemon, 0.9, "2025-10-11T12:00:00.500Z", None), (1, 1, 0, 1, false));
    assert_eq!(moments(&daemon), ["2025-10-11T12:00:00.500Z", T3, "2025-10-11T12:00:00.500Z"]);
    see(&daemon, 0.1, T2, None);
    assert_eq!(moments(&daemon), ["2025-10-11T12:00:00.500Z", T3, "2025-10-11T12:00:00.500Z"]);
}

#[test]
fn the_same_request_sent_again_changes_nothing() {
    let daemon = opened();
    let both = [("1", "cup", 0.5), ("2", "dog", 0.7)];
    assert_eq!(counts(ingest(&daemon, "s", &both, T1, Some(&jpeg(1)))), (2, 0, 0, 2, true));
    let before = (session(&daemon, "s"), detections(&daemon, "s"), pictures(&daemon, "s"));
    let feed = daemon.get("/changes").is(200).json();
    for _ in 0..3 {
        assert_eq!(counts(ingest(&daemon, "s", &both, T1, Some(&jpeg(1)))), (0, 0, 2, 2, false));
    }
    assert_eq!((session(&daemon, "s"), detections(&daemon, "s"), pictures(&daemon, "s")), before);
    assert_eq!(daemon.get("/changes").is(200).json(), feed);
}

#[test]
fn duplicate_track_ids_in_one_request_are_merged_in_order_each_counted() {
    let daemon = opened();
    let three = [("1", "cup", 0.5), ("1", "dog", 0.9), ("1", "cat", 0.7)];
    assert_eq!(counts(ingest(&daemon, "s", &three, T1, Some(&jpeg(1)))), (2, 1, 1, 3, true));
    let seen = detections(&daemon, "s");
    assert_eq!(seen.len(), 1);
    assert_eq!((&seen[0]["cls"], &seen[0]["conf"]), (&json!("dog"), &json!(0.9)));
    assert_eq!(session(&daemon, "s")["detected_classes"], json!(["cup", "dog", "cat"]));
    assert_eq!(pictures(&daemon, "s").len(), 1);
}

#[test]
fn a_frame_that_is_no_longer_any_tracks_best_sighting_is_deleted() {
    let daemon = opened();
    see(&daemon, 0.5, T1, Some(1));
    let old = detection(&daemon, "s", "1");
    assert_eq!(see(&daemon, 0.6, T2, Some(2)), (1, 1, 0, 1, true));
    let new = detection(&daemon, "s", "1");
    assert_ne!(old["url_frame"], new["url_frame"], "a frame's name is written once");
    assert_eq!(picture(&daemon, &new).is(200).body, jpeg(2));
    pictures_become(&daemon, "s", 1);
    picture(&daemon, &old).is(404);
}

#[test]
fn a_frame_stays_while_one_track_still_has_it() {
    let daemon = opened();
    ingest(&daemon, "s", &[("1", "cup", 0.5), ("2", "dog", 0.5)], T1, Some(&jpeg(1))).is(200);
    let shared = detection(&daemon, "s", "2");
    assert_eq!(shared["url_frame"], detection(&daemon, "s", "1")["url_frame"]);
    ingest(&daemon, "s", &[("1", "cup", 0.6)], T2, Some(&jpeg(2))).is(200);
    assert_eq!(picture(&daemon, &shared).is(200).body, jpeg(1));
    assert_eq!(detection(&daemon, "s", "2"), shared);
    ingest(&daemon, "s", &[("2", "dog", 0.6)], T3, Some(&jpeg(3))).is(200);
    pictures_become(&daemon, "s", 2);
    picture(&daemon, &shared).is(404);
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, jpeg(2));
}

#[test]
fn a_frame_that_improves_nothing_is_not_kept() {
    let daemon = opened();
    see(&daemon, 0.9, T1, Some(1));
    assert_eq!(see(&daemon, 0.5, T2, Some(2)), (0, 0, 1, 1, false));
    assert_eq!(pictures(&daemon, "s").len(), 1);
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, jpeg(1));
}

#[test]
fn url_frame_stays_when_a_better_sighting_brings_none() {
    let daemon = opened();
    see(&daemon, 0.5, T1, Some(1));
    let pictured = detection(&daemon, "s", "1");
    assert_eq!(see(&daemon, 0.9, T2, None), (1, 1, 0, 1, false));
    let better = detection(&daemon, "s", "1");
    assert_eq!((&better["conf"], &better["capture_ts"]), (&json!(0.9), &json!(T2)));
    assert_eq!(better["url_frame"], pictured["url_frame"]);
    assert_eq!(picture(&daemon, &better).is(200).body, jpeg(1));
}

#[test]
fn url_frame_is_the_picture_of_the_best_sighting_that_brought_one() {
    let daemon = opened();
    assert_eq!(see(&daemon, 0.9, T1, None), (1, 0, 0, 1, false));
    assert_eq!(see(&daemon, 0.5, T2, Some(1)), (0, 0, 1, 1, true), "the first picture, though not the best sighting");
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "1")).is(200).body, jpeg(1));
    assert_eq!(see(&daemon, 0.4, T2, Some(2)), (0, 0, 1, 1, false));
    assert_eq!(see(&daemon, 0.5, T3, Some(2)), (0, 0, 1, 1, false), "not strictly higher");
    assert_eq!(see(&daemon, 0.6, T3, Some(3)), (0, 0, 1, 1, true), "a better picture");
    let seen = detection(&daemon, "s", "1");
    assert_eq!((&seen["conf"], &seen["capture_ts"]), (&json!(0.9), &json!(T1)), "the best sighting is still the first");
    assert_eq!(picture(&daemon, &seen).is(200).body, jpeg(3));
    pictures_become(&daemon, "s", 1);
}

#[test]
fn racing_ingests_of_one_track_keep_the_best_whatever_their_order() {
    let daemon = opened();
    std::thread::scope(|scope| {
        for worker in 0..4_usize {
            let daemon = &daemon;
            scope.spawn(move || {
                for n in 0..12_usize {
                    let rank = (n * 4 + worker) * 7 % 48;
                    let conf = 0.5 + f64::from(u8::try_from(rank).unwrap()) / 100.0;
                    let frame = jpeg(u8::try_from(rank % 3 + 1).unwrap());
                    ingest(daemon, "s", &[("1", "cup", conf), ("2", "cup", 1.0 - conf)], &at(1, rank), Some(&frame)).is(200);
                }
            });
        }
    });
    let first = detection(&daemon, "s", "1");
    assert_eq!((&first["conf"], &first["capture_ts"]), (&json!(0.97), &json!("2025-10-11T12:01:47.000Z")));
    let second = detection(&daemon, "s", "2");
    assert_eq!((&second["conf"], &second["capture_ts"]), (&json!(0.5), &json!("2025-10-11T12:01:00.000Z")));
    for (seen, frame) in [(&first, 3), (&second, 1)] {
        assert_eq!(seen["first_ts"], "2025-10-11T12:01:00.000Z");
        assert_eq!(seen["last_ts"], "2025-10-11T12:01:47.000Z");
        assert_eq!(picture(&daemon, seen).is(200).body, jpeg(frame));
    }
    pictures_become(&daemon, "s", 2);
}

#[test]
fn a_request_that_comes_twice_at_once_counts_once() {
    let daemon = opened();
    let sent: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..6).map(|_| scope.spawn(|| see(&daemon, 0.5, T1, Some(1)))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(sent.iter().map(|counts| counts.0).sum::<u64>(), 1, "{sent:?}");
    assert_eq!(sent.iter().filter(|counts| counts.4).count(), 1, "{sent:?}");
    pictures_become(&daemon, "s", 1);
}

#[test]
fn random_confidences_leave_exactly_the_files_that_rows_name() {
    let daemon = opened();
    let mut seed = 1_u64;
    for n in 0..60 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let conf = f64::from(u32::try_from(seed >> 32).unwrap()) / f64::from(u32::MAX);
        let track = (seed % 5).to_string();
        ingest(&daemon, "s", &[(&track, "cup", conf)], &at(n, 0), Some(&jpeg(1))).is(200);
    }
    let mut named: Vec<String> =
        detections(&daemon, "s").iter().map(|one| text(one, "url_frame").replace("/frames/s/", "")).collect();
    named.sort();
    pictures_become(&daemon, "s", named.len());
    let mut files = pictures(&daemon, "s");
    files.sort();
    assert_eq!(files, named);
}

#[test]
fn updated_at_of_a_detection_moves_and_created_at_stays() {
    let daemon = opened();
    see(&daemon, 0.5, T1, None);
    let first = detection(&daemon, "s", "1");
    see(&daemon, 0.6, T2, None);
    let second = detection(&daemon, "s", "1");
    assert_eq!(second["created_at"], first["created_at"]);
    assert!(text(&second, "updated_at") >= text(&first, "updated_at"));
    assert!(text(&second, "ingest_ts") >= text(&first, "ingest_ts"));
    assert_eq!(second["attributes"], Value::Null);
}
