//! The frames folder's volume goes away under the daemon, and comes back.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::agent::{START, detection, ingest, jpeg, open, picture};
use crate::support::daemon::{Daemon, Home};
use crate::support::until;
use crate::support::volume::Volume;

fn bind(from: &Path, to: &Path) {
    assert!(Command::new("mount").arg("--bind").args([from, to]).status().unwrap().success());
}

fn is_degraded(daemon: &Daemon) -> Option<()> {
    let health = daemon.get("/health").is(200).json();
    health["reasons"].to_string().contains("The frames folder").then_some(())
}

/// An empty mount point must not be taken for an empty store, nor its missing files for deleted ones.
#[test]
fn without_its_frames_folder_the_daemon_keeps_detections_and_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // Only a place to mount from; says whether mounting is possible.
    let disk = dir.path().join("disk");
    let Some(_volume) = Volume::mount(&disk, 16) else { return };
    let home = Home::new("");
    let frames = home.frames_dir();
    std::fs::create_dir_all(&frames).unwrap();
    bind(&disk, &frames);
    let _unmounted = Unmount(&frames);
    let daemon = Daemon::on(home);
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5), ("2", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let kept = detection(&daemon, "s", "2");
    assert!(Command::new("umount").arg("--lazy").arg(&frames).status().unwrap().success());

    let answer = ingest(&daemon, "s", &[("1", "cup", 0.7)], START, Some(&jpeg(2))).is(200).json();
    assert_eq!((&answer["inserted"], &answer["frameSaved"]), (&1.into(), &false.into()), "the client would not send it again");
    until("health tells", Duration::from_secs(10), || is_degraded(&daemon));
    assert_eq!(std::fs::read_dir(&frames).unwrap().count(), 0, "nothing is put into the empty mount point");
    picture(&daemon, &kept).is(404);

    bind(&disk, &frames);
    until("health is well", Duration::from_secs(10), || is_degraded(&daemon).is_none().then_some(()));
    assert_eq!(picture(&daemon, &kept).is(200).body, jpeg(1));
    let answer = ingest(&daemon, "s", &[("1", "cup", 0.9)], START, Some(&jpeg(3))).is(200).json();
    assert_eq!(answer["frameSaved"], true);
    let home = daemon.stop();
    let verified = home.run(&["verify", "--deep"], b"");
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

struct Unmount<'p>(&'p Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
