//! What we know of the recordings is what MediaMTX's playback server lists, whoever was killed meanwhile and whatever it told.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::recorder::{ENCODED, PATH, PATIENCE, Recorder, is_there, micros, spans};
use crate::support::agent::open_at;
use crate::support::daemon::Daemon;
use crate::support::until;

/// Spans may differ by so much.
const CLOSE_MICROS: u64 = 1000;

fn agree(ours: &[(i64, i64)], theirs: &[(i64, i64)]) -> bool {
    let is_close = |a: i64, b: i64| a.abs_diff(b) <= CLOSE_MICROS;
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| is_close(a.0, b.0) && is_close(a.1, b.1))
}

/// The path's recordings over a day around now.
fn recordings(daemon: &Daemon) -> Value {
    let now = chrono::DateTime::parse_from_rfc3339(daemon.get("/health").json()["timestamp"].as_str().unwrap()).unwrap().to_utc();
    let at = |hours| (now + chrono::Duration::hours(hours)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    daemon.get(format!("/recordings?path={ENCODED}&from={}&to={}", at(-12), at(12))).is(200).json()
}

fn count(list: &Value, field: &str, wanted: &str) -> usize {
    list.as_array().unwrap().iter().filter(|one| one[field] == wanted).count()
}

/// Kills both in turn. Gives what the daemon knows in the end, once that agrees with the playback server.
fn killed_in_turn(with_hooks: bool) -> (Recorder, Daemon, Value) {
    let (mut recorder, home) = Recorder::new(with_hooks);
    let mut daemon = Daemon::on(home);
    recorder.start();
    recorder.record(3);
    daemon.kill9();
    recorder.record(2);
    daemon.restart();
    recorder.record(2);
    recorder.kill9();
    recorder.start();
    recorder.record(2);
    // While the daemon is away, the recorder is killed and comes back.
    daemon.kill9();
    recorder.kill9();
    recorder.start();
    recorder.record(2);
    daemon.restart();
    // The camera goes, and comes back.
    recorder.unplug();
    recorder.plug();
    recorder.record(2);
    recorder.unplug();
    let agreed = until_agreed(&recorder, &daemon);
    (recorder, daemon, agreed)
}

#[track_caller]
fn until_agreed(recorder: &Recorder, daemon: &Daemon) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let (listed, known) = (recorder.list(), recordings(daemon));
        // Nothing is written any more once no segment is live.
        let is_settled = count(&known["segments"], "state", "live") == 0;
        if is_settled && agree(&spans(&known["playback"]), &listed) {
            return known;
        }
        assert!(Instant::now() < end, "they list {listed:?}, we know {known}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn with_both_killed_in_turn_the_ledger_is_what_the_playback_server_lists() {
    if !is_there("ledger") {
        return;
    }
    let (recorder, daemon, known) = killed_in_turn(true);
    let listed = recorder.list();
    assert_eq!(listed.len(), 4, "one span for each life of MediaMTX and of the camera: {listed:?}");
    let segments = known["segments"].as_array().unwrap();
    assert_eq!(segments.len(), recorder.files(), "every file is known: {known}");
    assert_eq!(count(&known["segments"], "state", "truncated"), 2, "each kill cut one: {known}");
    assert_eq!(count(&known["segments"], "state", "complete"), segments.len() - 2, "{known}");
    assert!(segments.windows(2).all(|two| micros(&two[0]["start"]) < micros(&two[1]["start"])), "{known}");
    assert_eq!(count(&known["gaps"], "cause", "truncated"), 2, "behind each cut: {known}");
    assert_eq!(count(&known["gaps"], "cause", "recorder_restart"), 1, "between the cameras: {known}");
    let covered: i64 = listed.iter().map(|(_, length)| length / 1000).sum();
    assert!(known["covered_ms"].as_i64().unwrap().abs_diff(covered) <= 4, "{covered} ms are listed: {known}");
    for span in known["playback"].as_array().unwrap() {
        assert!(recorder.plays(span["url"].as_str().unwrap()), "{span}");
    }
    // The same by a session that holds all of it.
    let start = known["segments"][0]["start"].as_str().unwrap();
    open_at(&daemon, "s", PATH, start);
    let of_session = until("the session's recordings", PATIENCE, || {
        let answer = daemon.get("/sessions/s/recordings").is(200).json();
        (answer["segments"] == known["segments"]).then_some(answer)
    });
    assert_eq!(
        (&of_session["session_id"], &of_session["path"], &of_session["complete"]),
        (&"s".into(), &PATH.into(), &false.into())
    );
}

/// A hook is a hint: files alone tell the same.
#[test]
fn without_any_hook_it_is_the_same() {
    if !is_there("ledger without hooks") {
        return;
    }
    let (recorder, _daemon, known) = killed_in_turn(false);
    assert_eq!(known["segments"].as_array().unwrap().len(), recorder.files(), "{known}");
    assert_eq!(count(&known["segments"], "state", "truncated"), 2, "{known}");
}
