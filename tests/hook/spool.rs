//! Hooks that find no daemon wait for one.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::command::{
    COMPLETE, CREATE, LIMIT, PUBLISH, complained, configure, home, hook, requests, spool, start, waiting, waiting_hook,
};
use crate::support::agent::{open_at, session};
use crate::support::daemon::{Daemon, Home};
use crate::support::until;

/// A daemon may take so long to notice a file.
const SOON: Duration = Duration::from_secs(15);

fn emptied(home: &Home) {
    until("the waiting hooks taken", SOON, || waiting(home).is_empty().then_some(()));
}

/// A waiting hook by hand.
fn put(home: &Home, name: &str, content: impl AsRef<[u8]>) {
    fs::create_dir_all(spool(home)).unwrap();
    fs::write(spool(home).join(name), content).unwrap();
}

fn publish_at(path: &str, event: &str) -> String {
    json!({"version": 1, "hook": "publish", "path": path, "eventTs": event}).to_string()
}

#[test]
fn without_a_daemon_each_kind_waits_whole_and_is_applied_at_the_next_start() {
    let daemon = Daemon::on(home(""));
    open_at(&daemon, "s", "cam-local", "2025-10-11T12:00:00Z");
    let home = daemon.stop();
    let before = SystemTime::now();
    let kinds = [("publish", PUBLISH), ("segment-create", CREATE), ("segment-complete", COMPLETE)];
    std::thread::scope(|scope| {
        for (kind, variables) in kinds {
            let home = &home;
            scope.spawn(move || {
                let said = complained(&mut hook(home, kind, variables));
                assert!(said.contains(kind) && said.contains(spool(home).to_str().unwrap()), "it says where it waits: {said}");
            });
        }
    });
    let names = waiting(&home);
    assert_eq!(names.len(), 3);
    assert_eq!(fs::read_dir(spool(&home)).unwrap().count(), 3, "nothing else is left there");
    for (kind, variables) in kinds {
        let name = names.iter().find(|name| name.contains(kind)).unwrap_or_else(|| panic!("{kind} in {names:?}"));
        let waits = waiting_hook(&home, name);
        assert_eq!((&waits["version"], &waits["hook"], &waits["path"]), (&json!(1), &json!(kind), &json!("cam-local")));
        let file = variables.iter().find(|(name, _)| *name == "MTX_SEGMENT_PATH").map(|(_, file)| *file);
        assert_eq!(waits["segmentPath"].as_str(), file);
        let event = chrono::DateTime::parse_from_rfc3339(waits["eventTs"].as_str().unwrap()).unwrap();
        let event = SystemTime::from(event);
        assert!(before <= event && event < before + Duration::from_secs(4), "the time of the event, not of the file: {waits}");
        assert_eq!(waits["eventTs"].as_str().unwrap().len(), "2025-10-11T12:00:00.000000Z".len(), "microseconds: {waits}");
        assert_eq!(waits["segmentEndTs"], Value::Null, "no end is made up: {waits}");
    }
    let event = waiting_hook(&home, names.iter().find(|name| name.contains("publish")).unwrap())["eventTs"].clone();
    let daemon = Daemon::on(home);
    emptied(daemon.home());
    let record = session(&daemon, "s");
    let (connected, event) = (record["media_connect_ts"].as_str().unwrap(), event.as_str().unwrap());
    assert_eq!(connected[..23], event[..23], "when it happened, not when it was heard: {record}");
    assert!(record["media_end_ts"].is_string(), "{record}");
}

#[test]
fn what_waits_is_applied_in_the_order_of_its_events() {
    let daemon = Daemon::on(home(""));
    open_at(&daemon, "s", "cam-local", "2025-10-11T12:00:00Z");
    let home = daemon.stop();
    // A publish sets only what is still null: the first that is applied stays.
    for second in [7, 5, 9, 6] {
        let name = format!("20251011T12000{second}000000Z-publish-{}.json", 9 - second);
        put(&home, &name, publish_at("cam-local", &format!("2025-10-11T12:00:0{second}Z")));
    }
    let daemon = Daemon::on(home);
    emptied(daemon.home());
    assert_eq!(session(&daemon, "s")["media_connect_ts"], "2025-10-11T12:00:05.000Z");
}

#[test]
fn what_comes_while_the_daemon_runs_is_taken_soon() {
    let daemon = Daemon::on(home(""));
    open_at(&daemon, "s", "cam-local", "2025-10-11T12:00:00Z");
    // Its mode is set once it is made, which the daemon does behind its first answer.
    until("the folder made, for the daemon's user and group alone", SOON, || {
        let mode = fs::metadata(spool(daemon.home())).ok()?.permissions().mode() & 0o777;
        (mode == 0o770).then_some(())
    });
    put(daemon.home(), "20251011T120005000000Z-publish-1.json", publish_at("cam-local", "2025-10-11T12:00:05Z"));
    emptied(daemon.home());
    assert_eq!(session(&daemon, "s")["media_connect_ts"], "2025-10-11T12:00:05.000Z");
}

#[test]
fn a_daemon_that_starts_while_the_hook_tries_is_told() {
    let daemon = Daemon::on(home(""));
    open_at(&daemon, "s", "cam-local", "2025-10-11T12:00:00Z");
    let home = daemon.stop();
    let mut hook = start(&mut hook(&home, "publish", PUBLISH));
    // It is kept long before it gives up.
    until("the hook kept", Duration::from_secs(4), || (waiting(&home).len() == 1).then_some(()));
    assert!(hook.try_wait().unwrap().is_none(), "and goes on trying");
    let daemon = Daemon::on(home);
    assert!(until("its end", LIMIT, || hook.try_wait().unwrap()).success());
    emptied(daemon.home());
    assert!(session(&daemon, "s")["media_connect_ts"].is_string());
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap().success());
}

/// MediaMTX interrupts `runOnReady` when the stream goes, and a stop of the system terminates every process.
#[test]
fn a_hook_that_is_told_to_end_is_kept_first() {
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let home = home("");
        let mut hook = start(&mut hook(&home, "publish", PUBLISH));
        until("the signals handled", LIMIT, || {
            let status = fs::read_to_string(format!("/proc/{}/status", hook.id())).ok()?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
            (u64::from_str_radix(caught, 16).ok()? >> (number - 1) & 1 == 1).then_some(())
        });
        let begin = Instant::now();
        signal(&hook, name);
        assert!(until("its end", LIMIT, || hook.try_wait().unwrap()).success(), "{name}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{name} is heard at once");
        assert_eq!(waiting(&home).len(), 1, "{name}");
    }
}

/// Killed as its file is written, as it is synced, before it has its name: what is left is nobody's hook, and is swept.
#[test]
fn a_hook_that_is_killed_as_it_writes_leaves_no_half_file_that_counts() {
    let daemon = Daemon::on(home(""));
    open_at(&daemon, "s", "cam-local", "2025-10-11T12:00:00Z");
    let home = daemon.stop();
    let listed = || -> Vec<_> { fs::read_dir(spool(&home)).unwrap().map(|entry| entry.unwrap().path()).collect() };
    fs::remove_dir_all(spool(&home)).unwrap();
    fs::create_dir(spool(&home)).unwrap();
    for (call, left) in [("fchmod", 1), ("fsync", 2), ("renameat,renameat2,rename", 3)] {
        let plain = hook(&home, "publish", PUBLISH);
        let mut killed = Command::new("strace");
        killed.args(["-f", "-o", "/dev/null", "-e"]).arg(format!("trace={call}"));
        killed.arg("-e").arg(format!("inject={call}:signal=KILL:when=1"));
        killed.arg(plain.get_program()).args(plain.get_args()).envs(PUBLISH.iter().copied()).current_dir(home.dir());
        let mut child = start(&mut killed);
        let status = until("the hook killed", LIMIT, || child.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9), "{call}: {status}");
        assert_eq!(waiting(&home), [""; 0], "{call}");
        assert_eq!(listed().len(), left, "{call}: it was killed in the midst of it");
    }
    let unready = listed();
    let daemon = Daemon::on(home);
    open_at(&daemon, "later", "other", "2025-10-11T12:00:00Z");
    put(daemon.home(), "20251011T120005000000Z-publish-1.json", publish_at("other", "2025-10-11T12:00:05Z"));
    emptied(daemon.home());
    assert_eq!(session(&daemon, "s")["media_connect_ts"], Value::Null);
    assert!(unready.iter().all(|file| file.exists()), "they might still be written");
    let home = daemon.stop();
    for file in &unready {
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
    }
    let _daemon = Daemon::on(home);
    until("the leavings swept", SOON, || unready.iter().all(|file| !file.exists()).then_some(()));
}

#[test]
fn what_is_no_hook_is_moved_aside_once_with_its_reason_and_holds_up_nothing() {
    let home = home("");
    let secret = home.dir().join("secret");
    fs::write(&secret, publish_at("cam-local", "2025-10-11T12:00:01Z")).unwrap();
    put(&home, "0-half.json", r#"{"version":1,"hook":"publi"#);
    put(&home, "0-newer.json", r#"{"version":7,"hook":"publish","path":"cam-local","eventTs":"2025-10-11T12:00:01Z"}"#);
    put(&home, "0-huge.json", vec![b' '; 1 << 20]);
    put(&home, "0-empty.json", "");
    put(&home, "0-fileless.json", r#"{"version":1,"hook":"segment-create","path":"cam-local","eventTs":"2025-10-11T12:00:01Z"}"#);
    fs::create_dir(spool(&home).join("0-folder.json")).unwrap();
    symlink(&secret, spool(&home).join("0-link.json")).unwrap();
    assert!(Command::new("mkfifo").arg(spool(&home).join("0-pipe.json")).status().unwrap().success());
    put(&home, "notes.txt", "an operator's");
    put(&home, "1-good.json", publish_at("cam-local", "2025-10-11T12:00:05Z"));
    let daemon = Daemon::on(home);
    emptied(daemon.home());
    let aside = spool(daemon.home()).join("refused");
    let names = ["half", "newer", "huge", "empty", "fileless", "folder", "link", "pipe"].map(|name| format!("0-{name}.json"));
    for name in &names {
        assert!(aside.join(name).symlink_metadata().is_ok(), "{name}");
        let said = daemon.logs().iter().filter(|line| line.contains(name.as_str())).count();
        assert_eq!(said, 1, "{name} in {:?}", daemon.logs());
    }
    assert!(daemon.logs().iter().any(|line| line.contains("0-newer.json") && line.contains("version 7")));
    assert!(spool(daemon.home()).join("notes.txt").exists());
    assert!(requests(&daemon).is_empty());
    // They are nobody's any more.
    let daemon = Daemon::on(daemon.stop());
    put(daemon.home(), "2-good.json", publish_at("cam-local", "2025-10-11T12:00:05Z"));
    emptied(daemon.home());
    assert!(!daemon.logs().iter().any(|line| line.contains("0-")), "{:?}", daemon.logs());
}

#[test]
fn a_relative_folder_is_warned_of_since_mediamtx_has_another_working_directory() {
    let home = Home::new("");
    configure(&home, "");
    let text = fs::read_to_string(home.config()).unwrap();
    fs::write(home.config(), text.replace(spool(&home).to_str().unwrap(), "waiting")).unwrap();
    let said = complained(&mut hook(&home, "publish", PUBLISH));
    assert!(said.contains("waiting/") && said.contains("absolute"), "{said}");
    assert_eq!(fs::read_dir(home.dir().join("waiting")).unwrap().count(), 1);
}
