//! A disk that was full before retention could act.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::{START, close, detections, ingest, jpeg, open, open_at, picture, sessions};
use crate::support::daemon::{Daemon, Home};
use crate::support::until;
use crate::support::volume::Volume;

#[test]
fn a_disk_that_is_completely_full_is_freed_oldest_first_and_frames_are_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(volume) = Volume::mount(dir.path(), 48) else { return };
    let home = Home::new(&format!(
        "[database]\nreserve_mb = 2\npath = \"{0}/store.redb\"\n[frames]\nstorage_path = \"{0}/frames\"\n\
         [retention]\nmin_free = \"1500 kB\"\n",
        dir.path().display()
    ));
    let daemon = Daemon::on(home);
    for n in 10..50 {
        let (id, start) = (format!("s{n}"), format!("2025-10-11T12:{n}:00.000Z"));
        open_at(&daemon, &id, "front", &start);
        ingest(&daemon, &id, &[("1", "cup", 0.5)], &start, Some(&jpeg(1))).is(200);
        close(&daemon, &id, &start);
    }
    open(&daemon, "now");
    daemon.post("/sessions/s10/hold", &json!({"reason": "case 7"})).is(200);
    volume.fill_up_to(0);
    let refused = ingest(&daemon, "now", &[("1", "cup", 0.9)], START, Some(&jpeg(2)));
    assert_eq!(refused.status, 507, "{}", refused.text());
    until("room is made, and a frame is taken", Duration::from_secs(30), || {
        (ingest(&daemon, "now", &[("1", "cup", 0.9)], START, Some(&jpeg(2))).status == 200).then_some(())
    });
    let left: Vec<_> = sessions(&daemon).iter().map(|session| session["session_id"].as_str().unwrap().to_owned()).collect();
    assert!(left.len() > 2, "it stops where enough is free: {left:?}");
    assert!(left.contains(&"s10".to_owned()), "a hold beats pressure: {left:?}");
    // What is left besides is the newest.
    let oldest = left.iter().filter(|id| *id != "s10" && *id != "now").min().unwrap();
    let gone = oldest[1..].parse::<usize>().unwrap() - 11;
    assert_eq!(left.len(), 42 - 1 - gone, "oldest first: {left:?}");
    picture(&daemon, &detections(&daemon, "s10")[0]).is(200);
    let home = daemon.stop();
    let verified = home.run(&["verify", "--deep"], b"");
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

/// The volume of the frames was not mounted: the room of the one below it was measured, and the rows of frames went that lay
/// untouched on the other.
#[test]
fn while_the_frames_folder_is_not_there_nothing_is_deleted() {
    let daemon = Daemon::with("[retention]\ninterval_sec = 1\n");
    open_at(&daemon, "old", "front", START);
    ingest(&daemon, "old", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    close(&daemon, "old", START);
    let (frames, away) = (daemon.frames_dir(), daemon.dir().join("away"));
    std::fs::rename(&frames, &away).unwrap();
    std::fs::create_dir(&frames).unwrap();
    daemon.home().configure("[retention]\nkeep = \"1d\"\nmin_free = \"1000TB\"\ninterval_sec = 1\n");
    daemon.signal("HUP");
    let is_said = || daemon.get("/health").is(200).json()["reasons"].to_string().contains("Retention deletes nothing while");
    until("health says so", Duration::from_secs(20), || is_said().then_some(()));
    assert_eq!(sessions(&daemon).len(), 1);
    std::fs::remove_dir(&frames).unwrap();
    std::fs::rename(&away, &frames).unwrap();
    until("the folder is back, and retention goes on", Duration::from_secs(20), || sessions(&daemon).is_empty().then_some(()));
}
