//! Files that come, grow, move and go while the daemon runs.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::site::{self, FROM, SAMPLES, TO, causes, recordings, recordings_become, states};
use crate::support::daemon::{Daemon, Home};
use crate::support::until;

const FIRST: &str = "2026-11-23_08-32-35-013765.mp4";
const SECOND: &str = "2026-11-23_08-32-39-909135.mp4";
/// "Appears within 2 s."
const APPEARS_WITHIN: Duration = Duration::from_secs(2);

fn sample(name: &str) -> Vec<u8> {
    fs::read(format!("{SAMPLES}/cam-local/{name}")).unwrap()
}

fn watching(more: &str) -> Daemon {
    let daemon = Daemon::on(site::home(more));
    site::scanned(&daemon);
    daemon
}

fn folder(daemon: &Daemon) -> PathBuf {
    let folder = daemon.dir().join("local/cam-local");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file that is written as MediaMTX writes it: the header with a duration of 0 and the first part, further parts, and at last
/// the true duration.
pub struct Recorder {
    file: File,
    parts: Vec<Vec<u8>>,
    duration_at: u64,
    duration: [u8; 4],
}

impl Recorder {
    pub fn begin(place: &Path, sample: &[u8]) -> Self {
        let mut boxes: Vec<(String, Vec<u8>)> = Vec::new();
        let mut rest = sample;
        while !rest.is_empty() {
            let length = usize::try_from(u32::from_be_bytes(rest[..4].try_into().unwrap())).unwrap();
            boxes.push((String::from_utf8_lossy(&rest[4..8]).into_owned(), rest[..length].to_vec()));
            rest = &rest[length..];
        }
        let first_part = boxes.iter().position(|(kind, _)| kind == "moof").unwrap();
        let mut header: Vec<u8> = boxes[..first_part].iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let mvhd = header.windows(4).position(|four| four == b"mvhd").unwrap();
        // Type, version and flags, creation, modification, timescale; then the duration (ISO/IEC 14496-12, 8.2.2).
        let duration_at = mvhd + 4 + 4 + 4 + 4 + 4;
        let duration = header[duration_at..duration_at + 4].try_into().unwrap();
        header[duration_at..duration_at + 4].fill(0);
        let pairs = boxes[first_part..].chunks(2);
        let mut parts: Vec<Vec<u8>> = pairs.map(|pair| pair.iter().flat_map(|(_, bytes)| bytes.clone()).collect()).collect();
        let mut file = File::create(place).unwrap();
        header.extend(parts.remove(0));
        file.write_all(&header).unwrap();
        Self { file, parts, duration_at: duration_at as u64, duration }
    }

    /// Looks as if it were written to.
    pub fn touch(&mut self) {
        self.file.set_modified(std::time::SystemTime::now()).unwrap();
    }

    /// Writes one more part; says whether there was one.
    fn part(&mut self) -> bool {
        if self.parts.is_empty() {
            return false;
        }
        let part = self.parts.remove(0);
        self.file.write_all(&part).unwrap();
        true
    }

    fn finish(mut self) {
        while self.part() {}
        self.file.write_all_at(&self.duration, self.duration_at).unwrap();
    }
}

#[track_caller]
fn within_2s(what: &str, daemon: &Daemon, check: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    let recorded = recordings_become(what, daemon, "cam-local", check);
    assert!(begun.elapsed() < APPEARS_WITHIN, "{what} took {:?}", begun.elapsed());
    recorded
}

fn segments(recorded: &Value) -> usize {
    recorded["segments"].as_array().unwrap().len()
}

#[test]
fn a_file_being_written_is_live_and_grows_until_it_is_closed() {
    let daemon = watching("");
    let mut recorder = Recorder::begin(&folder(&daemon).join(FIRST), &sample(FIRST));
    let live = within_2s("the first part", &daemon, |now| states(now) == ["live"]);
    assert_eq!(live["segments"][0]["duration_ms"], 1000, "{live}");
    assert_eq!(causes(&live), ["not_started", "not_yet"]);
    assert_eq!(live["complete"], false);
    assert!(recorder.part() && recorder.part());
    // The file itself is asked: no event need have come.
    let grown = recordings(&daemon, "cam-local", FROM, TO);
    assert_eq!((states(&grown), &grown["segments"][0]["duration_ms"]), (vec![json!("live")], &json!(3000)));
    recorder.finish();
    let closed = within_2s("closed", &daemon, |now| states(now) == ["complete"]);
    assert_eq!(closed["segments"][0]["duration_ms"], 5000);
    assert_eq!(closed["covered_ms"], 5000);
}

#[test]
fn a_file_cut_in_the_middle_of_a_part_is_truncated_with_what_it_has() {
    let daemon = watching("");
    let place = folder(&daemon).join(FIRST);
    let mut recorder = Recorder::begin(&place, &sample(FIRST));
    recorder.part();
    let half = recorder.parts[0].len() / 2;
    recorder.file.write_all(&recorder.parts[0][..half]).unwrap();
    drop(recorder);
    within_2s("it appears", &daemon, |now| segments(now) == 1);
    let cut =
        recordings_become("it is silent for two parts and a second", &daemon, "cam-local", |now| states(now) == ["truncated"]);
    assert_eq!(cut["segments"][0]["duration_ms"], 2000, "{cut}");
}

/// A five-minute file was known by its first second until it was closed, and a session that began in its middle had no video.
#[test]
fn a_session_that_begins_within_a_live_file_has_its_video() {
    let daemon = watching("");
    let mut recorder = Recorder::begin(&folder(&daemon).join(FIRST), &sample(FIRST));
    within_2s("the first part", &daemon, |now| states(now) == ["live"]);
    while recorder.part() {}
    let begin = "2026-11-23T11:32:37.500000Z";
    let middle = recordings(&daemon, "cam-local", begin, "2026-11-23T11:32:39Z");
    assert_eq!((states(&middle), &middle["covered_ms"]), (vec![json!("live")], &json!(1500)), "{middle}");
    assert_eq!(middle["playback"][0]["start"], "2026-11-23T11:32:36.500000Z");
    assert_eq!(middle["playback"][0]["duration"], 3.5);
}

/// Two patterns may share a folder: the old one of a recorder and its new one. Only the first was watched.
#[test]
fn patterns_that_share_a_folder_are_both_watched() {
    let home = site::home("");
    let pattern = |rest: &str| format!("{:?}", format!("{}/local/%path/{rest}", home.dir().display()));
    let both = [pattern("%s-%f"), pattern("%Y-%m-%d_%H-%M-%S-%f")].join(", ");
    home.configure(&format!("[mediamtx]\ntime_zone = \"{}\"\nrecord_path = [{both}]\n", site::ZONE));
    let daemon = Daemon::on(home);
    site::scanned(&daemon);
    fs::write(folder(&daemon).join(FIRST), sample(FIRST)).unwrap();
    within_2s("of the second pattern", &daemon, |now| states(now) == ["complete"]);
}

/// MediaMTX writes one file of a path at a time: an unclosed one is cut as soon as a newer one begins.
#[test]
fn a_newer_file_settles_an_older_one_at_once() {
    let daemon = watching("settle_ms = 600000\n");
    let folder = folder(&daemon);
    let mut first = Recorder::begin(&folder.join(FIRST), &sample(FIRST));
    first.part();
    within_2s("live", &daemon, |now| states(now) == ["live"]);
    let _second = Recorder::begin(&folder.join(SECOND), &sample(SECOND));
    let both = within_2s("cut", &daemon, |now| states(now) == ["truncated", "live"]);
    assert_eq!(both["segments"][0]["duration_ms"], 2000);
}

#[test]
fn renamed_it_is_one_segment_and_deleted_it_is_a_gap_on_record() {
    let daemon = watching("");
    let folder = folder(&daemon);
    fs::write(folder.join("unfinished.part"), sample(FIRST)).unwrap();
    fs::write(folder.join(SECOND), sample(SECOND)).unwrap();
    within_2s("the second", &daemon, |now| segments(now) == 1);
    fs::rename(folder.join("unfinished.part"), folder.join(FIRST)).unwrap();
    within_2s("renamed into place", &daemon, |now| states(now) == ["complete", "complete"]);
    // MediaMTX' names carry microseconds; another name with the same stream and number is the same segment.
    fs::rename(folder.join(FIRST), folder.join("2026-11-23_08-32-35-013766.mp4")).unwrap();
    let renamed = within_2s("renamed", &daemon, |now| now["segments"][0]["file"] == "cam-local/2026-11-23_08-32-35-013766.mp4");
    assert_eq!(states(&renamed), ["complete", "complete"], "{renamed}");
    // The other way round, the new name is met before the old one is missed.
    fs::rename(folder.join("2026-11-23_08-32-35-013766.mp4"), folder.join("2026-11-23_08-32-35-013764.mp4")).unwrap();
    within_2s("renamed back", &daemon, |now| {
        now["segments"][0]["file"] == "cam-local/2026-11-23_08-32-35-013764.mp4" && states(now) == ["complete", "complete"]
    });
    fs::remove_file(folder.join("2026-11-23_08-32-35-013764.mp4")).unwrap();
    let deleted = within_2s("deleted", &daemon, |now| states(now) == ["deleted", "complete"]);
    assert_eq!(causes(&deleted), ["not_started", "deleted", "no_recording"]);
    assert_eq!(deleted["covered_ms"], 5000);
    fs::remove_dir_all(&folder).unwrap();
    within_2s("the folder with all in it", &daemon, |now| states(now) == ["deleted", "deleted"]);
}

/// What is made in a new folder before its watch exists is not told of by the system.
#[test]
fn folders_of_new_paths_and_dates_join_by_themselves() {
    let daemon = watching("");
    let nested = daemon.dir().join("nested/site/gate/2026/11/23");
    fs::create_dir_all(&nested).unwrap();
    for entry in fs::read_dir(format!("{SAMPLES}/site/gate/2026/11/23")).unwrap() {
        let entry = entry.unwrap();
        fs::write(nested.join(entry.file_name()), fs::read(entry.path()).unwrap()).unwrap();
    }
    recordings_become("all four", &daemon, "site/gate", |now| segments(now) == 4);
    // The same folder, gone and made anew, is watched anew.
    fs::remove_dir_all(daemon.dir().join("nested/site")).unwrap();
    recordings_become("all gone", &daemon, "site/gate", |now| states(now).iter().all(|state| state == "deleted"));
    fs::create_dir_all(&nested).unwrap();
    let name = "08-32-35-033740-0300.mp4";
    fs::copy(format!("{SAMPLES}/site/gate/2026/11/23/{name}"), nested.join(name)).unwrap();
    recordings_become("one is back", &daemon, "site/gate", |now| states(now)[0] == "complete");
}

/// The system keeps so many events for a reader that does not read, and then drops them.
#[test]
fn what_the_system_dropped_is_found_by_a_scan() {
    let daemon = watching("");
    let folder = folder(&daemon);
    within_2s("the folder is watched", &daemon, |_| true);
    let mut header = sample(FIRST)[..4096].to_vec();
    // `mtxi`: type, version and flags, stream id; then the number, DTS and NTP.
    let number = header.windows(4).position(|four| four == b"mtxi").unwrap() + 4 + 4 + 16;
    let begin = i64::from_be_bytes(header[number + 16..number + 24].try_into().unwrap());
    let kept: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    // Creating, writing and closing are three events.
    let files = kept / 3 + 1000;
    daemon.signal("STOP");
    for file in 0..files {
        let nanos = i64::try_from(file).unwrap() * 5_000_000_000;
        header[number..number + 8].copy_from_slice(&(file as u64).to_be_bytes());
        header[number + 8..number + 16].copy_from_slice(&nanos.to_be_bytes());
        header[number + 16..number + 24].copy_from_slice(&(begin + nanos).to_be_bytes());
        fs::write(folder.join(format!("2026-11-23_08-32-35-{file:06}.mp4")), &header).unwrap();
    }
    daemon.signal("CONT");
    until("all are found", Duration::from_secs(30), || (daemon.get("/health").json()["segments"] == files).then_some(()));
}

/// Without a watch for every folder changes are looked for, and the operator is told how to get more.
#[test]
fn without_watches_changes_are_looked_for() {
    let home = site::home("");
    let limited = "echo 1 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let under = ["unshare", "--user", "--map-root-user", "sh", "-c", limited];
    let daemon = Daemon::under(home, under.map(Into::into).to_vec());
    let health = site::scanned(&daemon);
    assert_eq!(health["recordings"]["mode"], "polling", "{health}");
    assert!(health["reasons"].to_string().contains("max_user_watches"), "{health}");
    fs::write(folder(&daemon).join(FIRST), sample(FIRST)).unwrap();
    recordings_become("found", &daemon, "cam-local", |now| states(now) == ["complete"]);
}

/// While nobody watched, files came and went.
#[test]
fn a_restart_finds_what_changed_meanwhile_and_reads_nothing_else() {
    let mut daemon = site::of_samples("");
    let before = recordings(&daemon, "cam-local", FROM, TO);
    daemon.restart();
    let health = site::scanned(&daemon);
    assert_eq!(health["recordings"]["files_read"], 0, "{health}");
    assert!(health["recordings"]["files"].as_u64().unwrap() >= 14);
    assert_eq!(recordings(&daemon, "cam-local", FROM, TO), before);
    daemon.kill9();
    fs::remove_file(daemon.dir().join("local/cam-local").join(FIRST)).unwrap();
    daemon.restart();
    site::scanned(&daemon);
    assert_eq!(states(&recordings(&daemon, "cam-local", FROM, TO))[0], "deleted");
}

/// An empty mount point is no reason to call everything deleted.
#[test]
fn a_root_that_is_not_mounted_is_waited_for() {
    let daemon = site::of_samples("scan_interval_sec = 1\n");
    let (root, away) = (daemon.dir().join("local"), daemon.dir().join("away"));
    let before = recordings(&daemon, "cam-local", FROM, TO);
    fs::rename(&root, &away).unwrap();
    let reason = |daemon: &Daemon| daemon.get("/health").json()["reasons"].to_string();
    until("missing", Duration::from_secs(10), || reason(&daemon).contains("is not there").then_some(()));
    fs::create_dir(&root).unwrap();
    until("empty", Duration::from_secs(10), || reason(&daemon).contains("is empty").then_some(()));
    assert_eq!(recordings(&daemon, "cam-local", FROM, TO), before);
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    until("well again", Duration::from_secs(10), || (daemon.get("/health").json()["reasons"] == json!([])).then_some(()));
    assert_eq!(recordings(&daemon, "cam-local", FROM, TO), before);
    fs::write(root.join("cam-local").join("2026-11-23_08-40-00-000000.mp4"), b"").unwrap();
}

#[test]
fn a_root_that_comes_later_is_waited_for() {
    let home = Home::new("");
    home.configure(&site::config(home.dir(), ""));
    let daemon = Daemon::on(home);
    let health = site::scanned(&daemon);
    assert!(health["reasons"].to_string().contains("is not there"), "{health}");
    for root in ["local", "nested", "epoch"] {
        fs::create_dir_all(daemon.dir().join(root)).unwrap();
    }
    site::put_samples(daemon.dir());
    recordings_become("found", &daemon, "cam-local", |now| segments(now) == 6);
}

/// At the end of summer time an hour comes twice. In Berlin 02:30 was at 00:30 and at 01:30 UTC; of files without MediaMTX's
/// own box only names tell.
#[test]
fn the_hour_that_comes_twice_is_settled_by_the_file() {
    let home = site::home("");
    let pattern = format!("{}/local/%path/%Y-%m-%d_%H-%M-%S-%f", home.dir().display());
    home.configure(&format!("[mediamtx]\ntime_zone = \"Europe/Berlin\"\nrecord_path = {pattern:?}\n"));
    let folder = home.dir().join("local/cam-local");
    fs::create_dir_all(&folder).unwrap();
    let mut old = sample(FIRST);
    let mtxi = old.windows(4).position(|four| four == b"mtxi").unwrap();
    old[mtxi..mtxi + 4].copy_from_slice(b"free");
    for (name, written) in [
        ("2026-10-25_02-30-00-000000.mp4", "2026-10-25T00:30:05Z"),
        ("2026-10-25_02-40-00-000000.mp4", "2026-10-25T01:40:05Z"),
        ("2026-03-29_02-30-00-000000.mp4", "2026-03-29T01:30:05Z"),
    ] {
        fs::write(folder.join(name), &old).unwrap();
        let moment = chrono::DateTime::parse_from_rfc3339(written).unwrap();
        File::options().write(true).open(folder.join(name)).unwrap().set_modified(moment.into()).unwrap();
    }
    let daemon = Daemon::on(home);
    site::scanned(&daemon);
    let recorded = recordings(&daemon, "cam-local", "2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z");
    let starts = site::field(&recorded["segments"], "start");
    assert_eq!(starts, ["2026-10-25T00:30:00.000000Z", "2026-10-25T01:40:00.000000Z"]);
    let spring = recordings(&daemon, "cam-local", "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z");
    let reason = spring["unreadable"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("a local time that there was not in Europe/Berlin"), "{spring}");
}

#[test]
fn what_is_no_recording_is_listed_with_its_reason_and_never_fatal() {
    let daemon = watching("");
    let folder = folder(&daemon);
    fs::write(folder.join("2026-11-23_08-32-00-000000.mp4"), b"").unwrap();
    fs::write(folder.join("2026-11-23_08-33-00-000000.mp4"), vec![7; 50_000]).unwrap();
    fs::write(folder.join("2026-11-23_25-33-00-000000.mp4"), sample(FIRST)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("2026-11-23_08-34-00-000000.mp4")).unwrap();
    fs::write(folder.join("notes.txt"), b"").unwrap();
    let recorded = recordings_become("both are given up", &daemon, "cam-local", |now| {
        now["unreadable"].as_array().is_some_and(|all| all.len() == 2)
    });
    for one in recorded["unreadable"].as_array().unwrap() {
        assert!(one["reason"].as_str().unwrap().len() > 10, "{one}");
    }
    // Its own box says when it was, whatever its name says.
    assert_eq!(states(&recorded), ["complete"]);
    assert_eq!(daemon.get("/health").json()["status"], "ok");
}
