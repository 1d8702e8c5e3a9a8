//! Why there is no video.

use std::fs;

use serde_json::json;

use crate::site::{self, FROM, SAMPLES, TO, causes, close, open, recordings, states};
use crate::support::daemon::Daemon;

/// The samples of `cam-local` but for those whose names begin so.
fn without(missing: &[&str]) -> Daemon {
    let home = site::home("");
    site::put_samples(home.dir());
    for name in missing {
        fs::remove_file(home.dir().join("local/cam-local").join(name)).unwrap();
    }
    let daemon = Daemon::on(home);
    site::scanned(&daemon);
    daemon
}

#[test]
fn a_number_that_was_skipped_is_a_missing_segment() {
    let daemon = without(&["2026-11-23_08-32-39-909135.mp4"]);
    let recorded = recordings(&daemon, "cam-local", "2026-11-23T11:32:36Z", "2026-11-23T11:32:48Z");
    assert_eq!(causes(&recorded), ["missing_segment"]);
    assert_eq!(recorded["gaps"][0]["start"], "2026-11-23T11:32:40.013765Z");
    assert_eq!(recorded["gaps"][0]["end"], "2026-11-23T11:32:44.909135Z");
}

#[test]
fn another_stream_is_a_restart_of_the_recorder() {
    let daemon = without(&["2026-11-23_08-32-49-909059.mp4"]);
    let recorded = recordings(&daemon, "cam-local", "2026-11-23T11:32:45Z", "2026-11-23T11:34:10Z");
    assert_eq!(causes(&recorded), ["recorder_restart"]);
    // Also where the stretch lies in the middle of the gap.
    let within = recordings(&daemon, "cam-local", "2026-11-23T11:33:00Z", "2026-11-23T11:33:30Z");
    assert_eq!((causes(&within), &within["covered_ms"]), (vec![json!("recorder_restart")], &json!(0)));
}

#[test]
fn nothing_known_is_no_recording_and_an_early_session_has_not_started() {
    let daemon = site::of_samples("");
    let recorded = recordings(&daemon, "nobody", FROM, TO);
    assert_eq!((causes(&recorded), states(&recorded)), (vec![json!("no_recording")], vec![]));
    assert_eq!(recorded["playback"], json!([]));
    open(&daemon, "early", "cam-local", "2026-11-23T11:32:30Z");
    close(&daemon, "early", "2026-11-23T11:32:38Z");
    let recorded = daemon.get("/sessions/early/recordings").json();
    assert_eq!(causes(&recorded), ["not_started"]);
    assert_eq!(recorded["gaps"][0]["end"], "2026-11-23T11:32:35.013765Z");
}

/// The segment's own clock: the wall clock was set forward an hour between two numbers of one stream.
#[test]
fn a_clock_that_was_set_is_a_jump() {
    let home = site::home("");
    let folder = home.dir().join("local/cam-local");
    fs::create_dir_all(&folder).unwrap();
    let first = fs::read(format!("{SAMPLES}/cam-local/2026-11-23_08-32-35-013765.mp4")).unwrap();
    let mut second = fs::read(format!("{SAMPLES}/cam-local/2026-11-23_08-32-39-909135.mp4")).unwrap();
    // `mtxi`: type, version and flags, stream id, number, DTS, NTP.
    let ntp = second.windows(4).position(|four| four == b"mtxi").unwrap() + 4 + 4 + 16 + 8 + 8;
    let moment = i64::from_be_bytes(second[ntp..ntp + 8].try_into().unwrap()) + 3600 * 1_000_000_000;
    second[ntp..ntp + 8].copy_from_slice(&moment.to_be_bytes());
    for (name, bytes) in [("2026-11-23_08-32-35-013765.mp4", first), ("2026-11-23_09-32-39-909135.mp4", second)] {
        fs::write(folder.join(name), bytes).unwrap();
        site::set_old(&folder.join(name));
    }
    let daemon = Daemon::on(home);
    site::scanned(&daemon);
    let recorded = recordings(&daemon, "cam-local", "2026-11-23T11:32:36Z", "2026-11-23T12:32:42Z");
    assert_eq!(causes(&recorded), ["clock_jump"]);
}
