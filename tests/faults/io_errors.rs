//! The disk answers reads and writes with errors for a while.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::agent::{START, close, detections, ingest, jpeg, open, opening, session};
use crate::support::daemon::{Daemon, Home};
use crate::support::until;

/// A library that fails `pwrite` and `fdatasync` of files whose path holds a word, as long as a file says so.
fn shim(home: &Home) -> PathBuf {
    let library = home.dir().join("shim.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shim.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(built.expect("a C compiler").success());
    library
}

/// A daemon under the library, and the file that says what fails.
pub fn start(config: &str) -> (Daemon, PathBuf) {
    let home = Home::new(config);
    let (library, switch) = (shim(&home), home.dir().join("failing"));
    let daemon = Daemon::on_with(home, &[("LD_PRELOAD", library.as_os_str()), ("FAILING", switch.as_os_str())]);
    (daemon, switch)
}

/// After an I/O error redb answers nothing more until it is opened again (`PreviousIo`). The first version of the store
/// would have needed a restart, in which everything that clients send once is lost.
#[test]
fn errors_of_the_database_and_its_journal_are_healed_without_a_restart() {
    for (failing, is_survived) in [("session-store.redb.journal", true), ("session-store.redb", false)] {
        let (daemon, switch) = start("");
        open(&daemon, "before");
        ingest(&daemon, "before", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
        let kept = detections(&daemon, "before");
        fs::write(&switch, failing).unwrap();
        // With its journal gone the database commits by itself; without either nothing may be acknowledged.
        let alone = daemon.post("/sessions/open", &opening("journal or database fails"));
        assert!(!is_survived || alone.status == 201, "{}", alone.text());
        fs::write(&switch, "session-store.redb").unwrap();
        let refused = daemon.post("/sessions/open", &opening("both fail"));
        assert_eq!(refused.status, 500, "{}", refused.text());
        fs::remove_file(&switch).unwrap();
        until("it is healed", Duration::from_secs(10), || {
            (daemon.post("/sessions/open", &opening("after")).status < 300).then_some(())
        });
        assert_eq!(detections(&daemon, "before"), kept);
        close(&daemon, "after", START);
        let mut daemon = daemon;
        daemon.restart();
        assert_eq!(detections(&daemon, "before"), kept);
        assert_eq!(session(&daemon, "after")["status"], "closed");
        if alone.status == 201 {
            assert_eq!(session(&daemon, "journal or database fails")["status"], "open", "it was acknowledged");
        }
    }
}

#[test]
fn a_frame_that_cannot_be_written_does_not_cost_its_detection() {
    let (daemon, switch) = start("");
    open(&daemon, "s");
    fs::write(&switch, "/frames/").unwrap();
    let answer = ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200).json();
    assert_eq!((&answer["inserted"], &answer["frameSaved"]), (&1.into(), &false.into()));
    fs::remove_file(&switch).unwrap();
    let mut conf = 0.5;
    until("frames are stored again", Duration::from_secs(10), || {
        conf += 0.001;
        let answer = ingest(&daemon, "s", &[("1", "cup", conf)], START, Some(&jpeg(2))).is(200).json();
        (answer["frameSaved"] == true).then_some(())
    });
}
