//! A volume that takes no writes, because an operator or an error of its disk made it so.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::io_errors::start;
use crate::support::agent::{START, detection, detections, ingest, jpeg, open, opening, picture, pictures, session};
use crate::support::daemon::{Daemon, Home};
use crate::support::records::at;
use crate::support::until;
use crate::support::volume::Volume;

fn is_degraded(daemon: &Daemon, word: &str) -> Option<()> {
    let health = daemon.get("/health").is(200).json();
    (health["status"] == "degraded" && health["reasons"].to_string().contains(word)).then_some(())
}

/// Linux refuses this for a volume on which files are open for writing, so it can only be the frames'.
#[test]
fn frames_on_a_volume_remounted_read_only_keep_their_detections_until_it_is_remounted() {
    let dir = tempfile::tempdir().unwrap();
    let frames = dir.path().join("frames");
    let Some(volume) = Volume::ext4(&frames, 32) else { return };
    let daemon = Daemon::with(&format!("[frames]\nstorage_path = \"{}/of store\"\n", frames.display()));
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5), ("2", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let kept = detection(&daemon, "s", "2");
    until("nothing is open for writing", Duration::from_secs(10), || volume.remount("ro").then_some(()));

    let answer = ingest(&daemon, "s", &[("1", "cup", 0.7)], START, Some(&jpeg(2))).is(200).json();
    assert_eq!((&answer["updated"], &answer["frameSaved"]), (&1.into(), &false.into()), "the client would not send it again");
    until("health tells", Duration::from_secs(10), || is_degraded(&daemon, "The frames folder"));
    assert_eq!(picture(&daemon, &kept).is(200).body, jpeg(1), "reads go on");
    open(&daemon, "meanwhile");

    assert!(volume.remount("rw"));
    let mut conf = 0.8;
    until("pictures are stored again", Duration::from_secs(10), || {
        conf += 0.00001;
        let answer = ingest(&daemon, "s", &[("1", "cup", conf), ("2", "cup", conf)], START, Some(&jpeg(3))).is(200).json();
        (answer["frameSaved"] == true).then_some(())
    });
    let folder = frames.join("of store/s");
    until("the beaten one is deleted", Duration::from_secs(10), || (fs::read_dir(&folder).unwrap().count() == 1).then_some(()));
    assert_eq!(picture(&daemon, &detection(&daemon, "s", "2")).is(200).body, jpeg(3));
    let verified = daemon.stop().run(&["verify", "--deep"], b"");
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

fn on_volume(at: &Path) -> Home {
    Home::new(&format!(
        "[database]\nreserve_mb = 2\ntouch_interval_ms = 100\npath = \"{0}/store/store.redb\"\n[frames]\nstorage_path = \"{0}/frames\"\n",
        at.display()
    ))
}

/// An error of its disk makes ext4 read-only with all that is open on it. The first version of the store let redb run into it, which then
/// answered no reads either, and could not be opened again for want of writing: there was nothing left of the daemon but `/health`.
#[test]
fn when_an_error_makes_the_whole_volume_read_only_reads_and_backups_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let at_volume = dir.path().join("volume");
    let Some(volume) = Volume::ext4(&at_volume, 64) else { return };
    let daemon = Daemon::on(on_volume(&at_volume));
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let kept = detections(&daemon, "s");
    if !volume.remount("abort") {
        return eprintln!("skipped: this kernel cannot play an error of ext4");
    }
    for n in 0..3 {
        let begun = Instant::now();
        let refused = daemon.post("/sessions/open", &opening("not stored"));
        assert_eq!(refused.status, 500, "{}", refused.text());
        assert!(begun.elapsed() < Duration::from_secs(2), "it is told at once");
        let refused = ingest(&daemon, "s", &[("1", "cup", 0.8)], &at(1, n), None);
        assert_eq!(refused.status, 500, "{}", refused.text());
        assert_eq!(detections(&daemon, "s"), kept);
        assert_eq!(picture(&daemon, &kept[0]).is(200).body, jpeg(1));
    }
    is_degraded(&daemon, "read-only").expect("health tells");
    daemon.get("/sessions/not stored".replace(' ', "%20")).is(404);
    let (backup, url) = (daemon.dir().join("backup"), format!("http://{}", daemon.address));
    let ran = daemon.home().run(&["backup", "--from", &url, backup.to_str().unwrap()], b"");
    assert_eq!(ran.code, Some(0), "what is there can be saved: {}", ran.stderr);
    let home = daemon.stop();

    let volume = volume.recover();
    let daemon = Daemon::on(home);
    assert_eq!(detections(&daemon, "s"), kept, "what was acknowledged is there");
    open(&daemon, "after");
    ingest(&daemon, "s", &[("1", "cup", 0.9)], START, Some(&jpeg(2))).is(200);
    let verified = daemon.stop().run(&["verify", "--deep"], b"");
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    drop(volume);
}

/// The same, played by a library, since only so it can end while the daemon runs.
#[test]
fn a_database_whose_volume_can_be_written_again_goes_on_by_itself() {
    let (mut daemon, switch) = start("[database]\ntouch_interval_ms = 100\n");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, None).is(200);
    fs::write(&switch, "!session-store.redb").unwrap();
    ingest(&daemon, "s", &[("1", "cup", 0.4)], &at(5, 0), None).is(200);
    until("the held touch cannot be committed", Duration::from_secs(10), || is_degraded(&daemon, "read-only"));
    assert_eq!(daemon.post("/sessions/open", &opening("refused")).status, 500);
    assert_eq!(detection(&daemon, "s", "1")["last_ts"], "2025-10-11T12:05:00.000Z", "reads go on, and show what is held");
    fs::remove_file(&switch).unwrap();
    open(&daemon, "after");
    until("health is well", Duration::from_secs(10), || is_degraded(&daemon, "read-only").is_none().then_some(()));
    until("the touch is committed", Duration::from_secs(10), || {
        let feed = daemon.get("/changes?limit=1000").is(200).json();
        let last = feed["changes"].as_array().unwrap().last().unwrap().clone();
        (last["detection"]["last_ts"] == "2025-10-11T12:05:00.000Z").then_some(())
    });
    daemon.restart();
    assert_eq!(session(&daemon, "after")["status"], "open");
    assert_eq!(detection(&daemon, "s", "1")["last_ts"], "2025-10-11T12:05:00.000Z");
    daemon.get("/sessions/refused").is(404);
    assert_eq!(pictures(&daemon, "s").len(), 0);
}
