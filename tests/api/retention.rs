//! Retention: what goes, what stays, in which order, and what is said of it.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::{
    FINISHED, close, copy_tracks_as, detection, detections, ingest, jpeg, open_at, picture_file, sessions,
};
use crate::support::daemon::{Daemon, Home, binary, faketime};
use crate::support::records::session_line;
use crate::support::{copy, until};

const LONG: Duration = Duration::from_secs(20);
/// Long over, whenever this runs.
const OLD: &str = "2025-10-11T12:00:00.000Z";

/// A closed session at `start` that saw one `class`, with a picture and tracks.
fn seen(daemon: &Daemon, id: &str, path: &str, class: &str, start: &str) {
    open_at(daemon, id, path, start);
    ingest(daemon, id, &[("1", class, 0.9)], start, Some(&jpeg(1))).is(200);
    copy_tracks_as(daemon.home(), FINISHED, id);
    close(daemon, id, start);
}

fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    chrono::DateTime::from_timestamp_millis(i64::try_from(now.as_millis()).unwrap()).unwrap().to_rfc3339()
}

/// Stops, gives the configuration, starts.
fn reconfigured(daemon: Daemon, config: &str) -> Daemon {
    let home = daemon.stop();
    home.configure(config);
    Daemon::on(home)
}

fn ids(daemon: &Daemon) -> Vec<String> {
    let mut ids: Vec<_> = sessions(daemon).iter().map(|session| session["session_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[track_caller]
fn ids_become(daemon: &Daemon, wanted: &[&str]) {
    until(&format!("only {wanted:?} left"), LONG, || (ids(daemon) == wanted).then_some(()));
}

fn folders(folder: &Path) -> Vec<String> {
    let Ok(all) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = all.filter_map(|entry| entry.unwrap().file_name().into_string().ok()).collect();
    names.retain(|name| !name.starts_with('\\'));
    names.sort();
    names
}

/// Nothing is left of sessions but of those named.
#[track_caller]
fn folders_become(home: &Home, wanted: &[&str]) {
    for root in [home.frames_dir(), home.tracks_dir()] {
        until(&format!("only {wanted:?} below {}", root.display()), LONG, || (folders(&root) == wanted).then_some(()));
    }
}

#[test]
fn what_was_kept_long_enough_goes_whole_and_all_else_stays() {
    let daemon = Daemon::start();
    seen(&daemon, "old", "front", "cup", OLD);
    seen(&daemon, "young", "front", "cup", &now());
    open_at(&daemon, "open", "front", OLD);
    ingest(&daemon, "open", &[("1", "cup", 0.9)], OLD, Some(&jpeg(2))).is(200);
    copy_tracks_as(daemon.home(), FINISHED, "open");
    // Of nobody the store knows.
    copy_tracks_as(daemon.home(), FINISHED, "foreign");
    let head = daemon.get("/changes").is(200).json()["next"].as_u64().unwrap();

    let daemon = reconfigured(daemon, "[retention]\nkeep = \"30d\"\ninterval_sec = 1\n[sessions]\nidle_close_sec = 0\n");
    ids_become(&daemon, &["open", "young"]);
    assert!(detections(&daemon, "old").is_empty());
    until("its frames' folder is gone", LONG, || (folders(&daemon.frames_dir()) == ["open", "young"]).then_some(()));
    until("its tracks are gone", LONG, || (folders(&daemon.tracks_dir()) == ["foreign", "open", "young"]).then_some(()));
    for id in ["open", "young"] {
        assert!(picture_file(daemon.home(), &detection(&daemon, id, "1")).exists());
    }
    let changes = daemon.get(format!("/changes?since={head}")).is(200).json();
    let gone: Vec<_> =
        changes["changes"].as_array().unwrap().iter().filter(|change| change["type"] == "session_deleted").collect();
    assert_eq!(gone.len(), 1, "a tombstone: {changes}");
    let logs = daemon.logs();
    let line = logs.iter().find(|line| line.contains("is deleted by")).expect("a line for it");
    assert!(line.contains("\"session_id\":\"old\"") && line.contains("kept for 720 h"), "{line}");
    let health = daemon.get("/health").is(200).json();
    assert_eq!((&health["status"], &health["retention"]["sessions_deleted"]), (&json!("ok"), &json!(1)), "{health}");
    let verified = daemon.stop().run(&["verify"], b"");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn a_hold_beats_age_and_pressure_until_it_ends_or_is_released() {
    let daemon = Daemon::start();
    for id in ["a", "b", "c"] {
        seen(&daemon, id, "front", "cup", OLD);
    }
    daemon.post("/sessions/a/hold", &json!({"reason": "case 7"})).is(200);
    daemon.post("/sessions/b/hold", &json!({"reason": "case 8", "until": "2099-01-01T00:00:00Z"})).is(200);
    let daemon = reconfigured(daemon, "[retention]\nkeep = \"1d\"\nmin_free = \"1000 TB\"\ninterval_sec = 1\n");
    ids_become(&daemon, &["a", "b"]);
    let reason = until("health says so", LONG, || {
        let health = daemon.get("/health").is(200).json();
        health["reasons"]
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .find(|reason| reason.contains("min_free"))
            .map(str::to_owned)
    });
    assert!(reason.contains("cannot be reached") && reason.contains("held"), "{reason}");
    // Word from before the session went on being held counts, later word does not bring it back.
    daemon.send(&crate::support::http::Request::new("DELETE", "/sessions/a/hold")).is(200);
    ids_become(&daemon, &["b"]);
    folders_become(daemon.home(), &["b"]);
}

#[test]
fn an_ended_hold_holds_no_more() {
    let daemon = Daemon::with("[retention]\nkeep = \"1d\"\ninterval_sec = 1\n");
    open_at(&daemon, "s", "front", OLD);
    let until_ts = chrono::DateTime::parse_from_rfc3339(&now()).unwrap() + chrono::TimeDelta::milliseconds(4000);
    daemon.post("/sessions/s/hold", &json!({"reason": "soon over", "until": until_ts.to_rfc3339()})).is(200);
    close(&daemon, "s", OLD);
    assert_eq!(ids(&daemon), ["s"]);
    assert_eq!(daemon.get("/holds").is(200).json()["holds"].as_array().unwrap().len(), 1);
    ids_become(&daemon, &[]);
    assert!(now() >= until_ts.to_rfc3339(), "not before its end");
    assert!(daemon.get("/holds").is(200).json()["holds"].as_array().unwrap().is_empty());
}

#[test]
fn each_rule_has_its_own_age_and_the_first_that_fits_counts() {
    let daemon = Daemon::start();
    seen(&daemon, "person", "front", "person", OLD);
    seen(&daemon, "yard", "yard-2", "cup", OLD);
    seen(&daemon, "cup", "front", "cup", OLD);
    let rules = "[retention]\nkeep = \"1d\"\ninterval_sec = 86400\n[[retention.rule]]\nclasses = [\"person\", \"dog\"]\nkeep = \"3650d\"\n\
                 [[retention.rule]]\npaths = [\"yard*\"]\n";
    let daemon = reconfigured(daemon, rules);
    ids_become(&daemon, &["person", "yard"]);
    // A rule without an age keeps for good; a reload changes that at once, not at the next look.
    daemon.home().configure(&rules.replace("[\"yard*\"]\n", "[\"yard*\"]\nkeep = \"10d\"\n"));
    daemon.signal("HUP");
    ids_become(&daemon, &["person"]);
    folders_become(daemon.home(), &["person"]);
}

#[test]
fn under_pressure_the_oldest_of_the_least_valuable_go_first() {
    let daemon = Daemon::start();
    for (day, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        seen(&daemon, &format!("cup-{id}"), "front", "cup", &format!("2025-10-1{day}T12:00:00.000Z"));
        seen(&daemon, &format!("person-{id}"), "front", "person", &format!("2025-10-0{}T12:00:00.000Z", day + 1));
    }
    let home = daemon.stop();
    let plan = |max_bytes: u64| {
        home.configure(&format!(
            "[retention]\nmax_bytes = \"{max_bytes}B\"\ninterval_sec = 1\n[[retention.rule]]\nclasses = [\"person\"]\n"
        ));
        let ran = home.run(&["retention", "--dry-run", "--json"], b"");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str::<Value>(&ran.stdout).unwrap()
    };
    let all = plan(1);
    assert_eq!(all["sessions"], 8, "{all}");
    let named: Vec<_> = all["first"].as_array().unwrap().iter().map(|gone| gone["session_id"].as_str().unwrap()).collect();
    let order = ["cup-a", "cup-b", "cup-c", "cup-d", "person-a", "person-b", "person-c", "person-d"];
    assert_eq!(named, order);
    let (bytes, each) = (all["bytes"].as_u64().unwrap(), all["first"][0]["bytes"].as_u64().unwrap());
    // Room for two and a half of the eight.
    let limit = bytes - 5 * each - each / 2;
    let some = plan(limit);
    assert_eq!((&some["sessions"], &some["by"][0]["why"]), (&json!(6), &json!("max_bytes")), "{some}");
    assert_eq!(some["by"][0]["rule"], "retention");
    let told = home.run(&["retention", "--dry-run"], b"").stdout;
    assert!(told.contains("person-b of 2025-10-02") && told.contains("6 sessions with"), "{told}");

    let daemon = Daemon::on(home);
    ids_become(&daemon, &["person-c", "person-d"]);
    folders_become(daemon.home(), &["person-c", "person-d"]);
    let settled = daemon.get("/retention/plan").is(200).json();
    assert_eq!((&settled["sessions"], &settled["impossible"]), (&json!(0), &json!([])), "{settled}");
}

/// What lets a daemon believe that it is `moment`.
fn at_moment(moment: &str) -> Option<Vec<OsString>> {
    let library = faketime()?;
    let variables = [("LD_PRELOAD", library.as_str()), ("FAKETIME", moment), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    Some(std::iter::once("env".into()).chain(variables.map(|(name, value)| format!("{name}={value}").into())).collect())
}

/// A box without a battery began in 1970, and one with a broken one in 2038: everything looked older than it may become.
#[test]
fn a_clock_that_cannot_be_right_deletes_nothing() {
    let config = "[retention]\nkeep = \"30d\"\ninterval_sec = 1\n[sessions]\nidle_close_sec = 0\n";
    for moment in ["@1970-01-01 00:00:10", "@2038-01-18 00:00:00"] {
        let Some(under) = at_moment(moment) else { return };
        let daemon = Daemon::start();
        seen(&daemon, "old", "front", "cup", OLD);
        seen(&daemon, "young", "front", "cup", &now());
        let home = daemon.stop();
        home.configure(config);
        let daemon = Daemon::under(home, under);
        // What comes with that clock does not make it right.
        open_at(&daemon, "new", "front", &now());
        let reason = until("health says that nothing is deleted", LONG, || {
            let health = daemon.get("/health").is(200).json();
            health["reasons"].as_array()?.iter().filter_map(Value::as_str).find(|it| it.contains("Retention")).map(str::to_owned)
        });
        assert!(reason.contains("the clock shows") && reason.contains(&moment[1..5]), "{reason}");
        let plan = daemon.get("/retention/plan").is(200).json();
        assert!(plan["waits_for"].is_string(), "{plan}");
        assert_eq!(ids(&daemon), ["new", "old", "young"]);
        // The clock is right again.
        let daemon = Daemon::on(daemon.stop());
        if moment.starts_with("@1970") {
            ids_become(&daemon, &["new", "young"]);
            continue;
        }
        // A record of 2038 is there now: a person has to say what is right.
        until("it asks", LONG, || {
            daemon.get("/health").is(200).json()["reasons"].to_string().contains("trust_clock").then_some(())
        });
        daemon.home().configure(&config.replace("[sessions]", "trust_clock = true\n[sessions]"));
        daemon.signal("HUP");
        ids_become(&daemon, &["new", "young"]);
    }
}

#[test]
fn an_old_archive_that_was_imported_is_not_deleted_before_a_person_says_that_the_clock_is_right() {
    let config = "[retention]\nkeep = \"30d\"\ninterval_sec = 1\n";
    let home = Home::new(config);
    home.import(&[session_line("s", OLD, OLD, &[], &json!({}))]);
    let ran = home.run(&["retention", "--dry-run"], b"");
    assert!(ran.stdout.contains("Nothing is deleted for now") && ran.stdout.contains("1 sessions"), "{ran:?}");
    let daemon = Daemon::on(home);
    until("it waits", LONG, || daemon.get("/health").is(200).json()["reasons"].to_string().contains("trust_clock").then_some(()));
    assert_eq!(ids(&daemon), ["s"]);
    open_at(&daemon, "t", "front", &now());
    daemon.home().configure(&format!("{config}trust_clock = true\n"));
    daemon.signal("HUP");
    ids_become(&daemon, &["t"]);
}

#[test]
fn rules_that_make_no_sense_are_refused_by_line() {
    let home = Home::new("");
    let text = "[retention]\nkeep = \"90\"\nmax_bytes = \"lots\"\nmin_free = \"100%\"\n[[retention.rule]]\nclasses = \"person\"\n\
                keep = \"1d\"\n[[retention.rule]]\nkeap = \"1d\"\n";
    fs::write(home.config(), text).unwrap();
    let ran = home.run(&["check-config"], b"");
    assert_eq!(ran.code, Some(1));
    for mistake in [
        "line 2: retention.keep",
        "line 3: retention.max_bytes",
        "line 4: retention.min_free",
        "line 6: retention.rule[0].classes",
    ] {
        assert!(ran.stderr.contains(mistake) || ran.stdout.contains(mistake), "{mistake} in {ran:?}");
    }
    fs::write(home.config(), "[retention]\n[[retention.rule]]\nkeap = \"1d\"\n").unwrap();
    let ran = home.run(&["check-config"], b"");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("retention.rule[0].keap") && ran.stderr.contains("keep"), "{ran:?}");
    assert!(ran.stdout.contains("rule = [{"), "{ran:?}");
}

/// Killed at each of its steps, the next start must end what was begun: no session half there, no folder of one that is gone.
#[test]
fn a_crash_at_any_step_leaves_nothing_half_deleted() {
    if !Path::new("/usr/bin/strace").exists() {
        return eprintln!("skipped: strace is not installed");
    }
    let full = Daemon::start();
    for id in ["a", "b"] {
        seen(&full, id, "front", "cup", OLD);
    }
    seen(&full, "young", "front", "cup", &now());
    full.post("/sessions/young/hold", &json!({"reason": "to be compared"})).is(200);
    let full = full.stop();
    let deaths: Vec<usize> = std::thread::scope(|scope| {
        let calls = ["unlinkat", "fdatasync", "fsync"].map(|call| scope.spawn(|| crashes_at(call, full.dir())));
        calls.map(|rounds| rounds.join().unwrap()).to_vec()
    });
    assert!(deaths.iter().all(|deaths| *deaths > 1), "{deaths:?} of its steps were met");
}

/// Kills a daemon that deletes two of three sessions at its first calls of `call`, and looks what the next one makes of it.
/// Returns how often it was killed.
fn crashes_at(call: &str, full: &Path) -> usize {
    // Where room is short, files are deleted at once.
    let config = "[retention]\nkeep = \"30d\"\nmin_free = \"1000TB\"\ninterval_sec = 1\n";
    let mut deaths = 0;
    // strace counts by thread: a few numbers reach every call there is.
    for number in 1..=5 {
        let home = Home::new(config);
        copy(full, home.dir());
        home.configure(config);
        let inject = format!("inject={call}:signal=KILL:when={number}");
        // -D: the daemon is the child, and strace ends with it.
        let mut traced = Command::new("strace");
        traced.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject]).arg(binary()).args(["serve", "--config"]);
        let mut traced = traced.arg(home.config()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let is_done = || folders(&home.frames_dir()) == ["young"] && folders(&home.tracks_dir()) == ["young"];
        let died = until("its death, or its end", LONG, || match traced.try_wait().unwrap() {
            Some(_) => Some(true),
            None => is_done().then_some(false),
        });
        traced.kill().unwrap();
        traced.wait().unwrap();
        deaths += usize::from(died);
        let daemon = Daemon::on(home);
        ids_become(&daemon, &["young"]);
        folders_become(daemon.home(), &["young"]);
        assert!(picture_file(daemon.home(), &detection(&daemon, "young", "1")).exists());
    }
    deaths
}
