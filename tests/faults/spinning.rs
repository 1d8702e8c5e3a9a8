//! Where something cannot be done for a while, the writer waits rather than trying without a pause.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{START, detection, ingest, open, post_meta, sighting};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::at;
use crate::support::until;
use crate::support::volume::Volume;

/// Ticks of `/proc/PID/stat` in a second.
const TICKS: u64 = 100;

/// Processor time that the daemon has used.
fn used(daemon: &Daemon) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Asserts that over some time the daemon says `words` seldom, and uses little of a core. On a busy machine a spinning thread gets
/// little of it too, but says it a thousand times.
fn waits(daemon: &Daemon, words: &str) {
    let said = || daemon.logs().iter().filter(|line| line.contains(words)).count();
    let (used_before, said_before, begun) = (used(daemon), said(), Instant::now());
    std::thread::sleep(Duration::from_millis(1500));
    let share = used(daemon).saturating_sub(used_before).as_secs_f64() / begun.elapsed().as_secs_f64();
    let times = said() - said_before;
    let most = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    assert!(times <= most && share < 0.7, "{words}: {times} times, {share:.2} of a core");
}

/// A checkpoint that failed on a full disk was due again at once: the writer opened the database anew, caught up with its journal and
/// failed again, without a pause, and the box's one core was gone for as long as the disk was full.
#[test]
fn a_checkpoint_that_failed_is_not_tried_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(volume) = Volume::mount(dir.path(), 24) else { return };
    let home = Home::new(&format!("[database]\nreserve_mb = 0\npath = \"{}/store.redb\"\n", dir.path().display()));
    let daemon = Daemon::on(home);
    open(&daemon, "s");
    volume.fill_up_to(0);
    // More keys than half of what the journal may hold, so that the database is to be committed as soon as nothing waits.
    let sightings: Vec<Value> = (0..3300).map(|track| sighting(&track.to_string(), "cup", 0.5)).collect();
    post_meta(&daemon, &json!({"sessionId": "s", "captureTs": START, "detections": sightings}), None).is(200);
    until("a checkpoint has failed", Duration::from_secs(20), || {
        daemon.logs().iter().any(|line| line.contains("the database cannot be committed")).then_some(())
    });
    waits(&daemon, "the database cannot be committed");
    volume.empty();
    until("it is well again", Duration::from_secs(20), || {
        (post_meta(&daemon, &json!({"sessionId": "s", "captureTs": START, "detections": [sighting("1", "cup", 0.9)]}), None)
            .status
            == 200)
            .then_some(())
    });
    assert_eq!(detection(&daemon, "s", "1")["conf"], 0.9);
    let verified = daemon.stop().run(&["verify"], b"");
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

/// While the database's file was gone, touches that were due could not be committed and stayed due: the writer tried without a pause.
#[test]
fn touches_that_cannot_be_committed_wait() {
    let daemon = Daemon::with("[database]\ntouch_interval_ms = 1\n");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, None).is(200);
    let (path, aside) = (daemon.dir().join("data/session-store.redb"), daemon.dir().join("aside"));
    fs::rename(&path, &aside).unwrap();
    ingest(&daemon, "s", &[("1", "cup", 0.4)], &at(5, 0), None).is(200);
    until("a commit has failed", Duration::from_secs(10), || {
        daemon.logs().iter().any(|line| line.contains("a commit failed")).then_some(())
    });
    waits(&daemon, "a commit failed");
    fs::rename(&aside, &path).unwrap();
    until("the touch is committed", Duration::from_secs(10), || {
        let feed = daemon.get("/changes").is(200).json();
        (feed.to_string().contains("\"last_ts\":\"2025-10-11T12:05:00.000Z\"")).then_some(())
    });
}
