//! A year of 16 cameras on a volume of 1 GB, day by day: whether retention keeps it from filling, holds stay whole, and what
//! ingest pays for it. Every eighth day the same load goes to a daemon without rules, on a volume of its own, in the same minute.
//!
//! The clock of both daemons is Debian's `faketime`, moved on a day at a time. Needs root (loop devices), e2fsprogs and faketime.
//!
//! A day takes a second, which is 10 MB/s of frames: some seven times what 16 cameras with two frames a second bring.
//!
//! `cargo bench --bench retention [-- --days N --seconds-a-day S]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use support::{Client, Daemon, ingest, micros, quantile};

const FRAME: &[u8] = include_bytes!("../tests/data/frames/frame_1.jpg");
const CAMERAS: u64 = 16;
const SESSIONS_A_DAY: u64 = 6;
const FRAMES: u64 = 2;
/// The first day: the clock must not stand before the program's making.
const FIRST_DAY: i64 = 20_790;
const PLAIN_EVERY: u64 = 8;
/// One session in so many is held.
const HELD_EVERY: u64 = 500;
const RULES: &str = "[retention]\nmin_free = \"10%\"\ninterval_sec = 5\n[[retention.rule]]\nclasses = [\"person\"]\n";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| arguments.iter().position(|word| word == name).map(|at| arguments[at + 1].as_str());
    let days: u64 = option("--days").map_or(365, |value| value.parse().expect("a number"));
    let pace = Duration::from_secs_f64(option("--seconds-a-day").map_or(1.0, |value| value.parse().expect("a number")));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let kept = Gateway::start(folder.path(), "kept", RULES);
    let plain = Gateway::start(folder.path(), "plain", "");
    let (mut with, mut before_full, mut without) = (Vec::new(), Vec::new(), Vec::new());
    let (mut held, mut least_free, mut refused) = (Vec::new(), u64::MAX, 0);
    let began = Instant::now();
    for day in 0..days {
        std::thread::sleep((pace * u32::try_from(day).expect("few")).saturating_sub(began.elapsed()));
        let mut load = kept.day(day);
        refused += load.refused;
        held.append(&mut load.held);
        least_free = least_free.min(load.least_free);
        if day.is_multiple_of(PLAIN_EVERY) {
            let mut load = plain.day(day);
            assert_eq!(load.refused, 0, "the volume without rules is full: fewer days");
            without.append(&mut load.took);
            // The same day with rules, for a pair in the same weather.
            let of_pair = if kept.deleted() == 0 { &mut before_full } else { &mut with };
            of_pair.append(&mut kept.day_again(day).took);
        }
    }
    let total = statvfs(&kept.volume).expect("asked");
    let total = total.f_blocks * total.f_frsize;
    println!("{days} days of {CAMERAS} cameras in {:.0} s", began.elapsed().as_secs_f64());
    println!("sessions posted {}, deleted by retention {}", days * CAMERAS * SESSIONS_A_DAY, kept.deleted());
    println!(
        "least free {:.1} % of {} MB; frames refused {refused}",
        100.0 * least_free as f64 / total as f64,
        total / 1_000_000
    );
    let whole = held.iter().filter(|id| kept.is_whole(id)).count();
    println!("sessions held {}, of these whole at the end {whole}", held.len());
    println!("ingest           p50 µs  p99 µs");
    for (name, times) in [("without rules", &mut without), ("before it is full", &mut before_full), ("deleting", &mut with)] {
        if !times.is_empty() {
            println!("{name:16} {:7.0} {:7.0}", micros(quantile(times, 0.5)), micros(quantile(times, 0.99)));
        }
    }
    if !with.is_empty() {
        println!("p99 deleting / without rules {:.2}", micros(quantile(&mut with, 0.99)) / micros(quantile(&mut without, 0.99)));
    }
    let (rss, peak) = kept.daemon.memory_kib();
    println!("daemon: RSS {:.1} MiB, peak {:.1} MiB", rss as f64 / 1024.0, peak as f64 / 1024.0);
}

/// A volume and a daemon on it.
struct Gateway {
    daemon: Daemon,
    volume: PathBuf,
    clock: PathBuf,
}

/// What one day was like.
struct Day {
    took: Vec<Duration>,
    held: Vec<String>,
    refused: u64,
    least_free: u64,
}

impl Gateway {
    fn start(folder: &Path, name: &str, rules: &str) -> Self {
        let (volume, image, clock) =
            (folder.join(name), folder.join(format!("{name}.image")), folder.join(format!("{name}.clock")));
        fs::create_dir(&volume).expect("made");
        fs::File::create(&image).expect("made").set_len(1_000_000_000).expect("sized");
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&volume));
        fs::write(&clock, moment(0, 0)).expect("written");
        let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
        assert!(Path::new(&library).exists(), "faketime is not installed");
        let variables = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", clock.to_str().expect("a text")),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("TZ", "UTC"),
        ];
        let daemon = Daemon::start_under(&volume, rules, &variables);
        Self { daemon, volume, clock }
    }

    fn day(&self, day: u64) -> Day {
        fs::write(&self.clock, moment(day, 0)).expect("written");
        self.load(day, "")
    }

    fn day_again(&self, day: u64) -> Day {
        self.load(day, "again-")
    }

    fn load(&self, day: u64, prefix: &str) -> Day {
        let cameras: Vec<Day> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..CAMERAS).map(|camera| scope.spawn(move || self.camera(camera, day, prefix))).collect();
            all.into_iter().map(|camera| camera.join().expect("no panic")).collect()
        });
        let mut whole = Day { took: Vec::new(), held: Vec::new(), refused: 0, least_free: u64::MAX };
        for mut one in cameras {
            whole.took.append(&mut one.took);
            whole.held.append(&mut one.held);
            whole.refused += one.refused;
            whole.least_free = whole.least_free.min(one.least_free);
        }
        whole
    }

    fn camera(&self, camera: u64, day: u64, prefix: &str) -> Day {
        let mut client = Client::new(self.daemon.address);
        let mut seen = Day { took: Vec::new(), held: Vec::new(), refused: 0, least_free: u64::MAX };
        for n in 0..SESSIONS_A_DAY {
            let number = (day * CAMERAS + camera) * SESSIONS_A_DAY + n;
            let (id, start) = (format!("{prefix}s{number}"), iso(day, n * 3600 + camera));
            let open = format!("{{\"sessionId\":\"{id}\",\"devId\":\"cam-{camera}\",\"startTs\":\"{start}\"}}");
            assert_eq!(client.post_json("/sessions/open", &open), 201);
            let class = if number.is_multiple_of(5) { "person" } else { "cup" };
            for frame in 0..FRAMES {
                let capture = iso(day, n * 3600 + camera + frame);
                let meta = format!(
                    "{{\"sessionId\":\"{id}\",\"captureTs\":\"{capture}\",\"detections\":[{{\"trackId\":\"{frame}\",\"cls\":\"{class}\",\
                     \"conf\":0.5,\"bbox\":{{\"x\":0.1,\"y\":0.2,\"w\":0.3,\"h\":0.4}}}}]}}"
                );
                let request = ingest(&meta, FRAME);
                let begun = Instant::now();
                let (status, _) = client.send(&request);
                seen.took.push(begun.elapsed());
                assert!(status == 200 || status == 507, "{status}");
                seen.refused += u64::from(status == 507);
            }
            let tracks = self.volume.join("tracks").join(&id);
            if fs::create_dir_all(&tracks).and_then(|()| fs::write(tracks.join("index.json"), [b' '; 2000])).is_err() {
                seen.refused += 1;
            }
            let close = format!("{{\"sessionId\":\"{id}\",\"endTs\":\"{}\"}}", iso(day, n * 3600 + camera + 60));
            assert_eq!(client.post_json("/sessions/close", &close), 200);
            if number.is_multiple_of(HELD_EVERY) && prefix.is_empty() {
                assert_eq!(client.post_json(&format!("/sessions/{id}/hold"), "{\"reason\":\"case\"}"), 200);
                seen.held.push(id);
            }
            let free = statvfs(&self.volume).expect("asked");
            seen.least_free = seen.least_free.min(free.f_bavail * free.f_frsize);
        }
        seen
    }

    fn deleted(&self) -> u64 {
        let health: serde_json::Value = serde_json::from_slice(&Client::new(self.daemon.address).get("/health")).expect("JSON");
        health["retention"]["sessions_deleted"].as_u64().unwrap_or(0)
    }

    /// Whether a session is there with its detections, pictures and tracks.
    fn is_whole(&self, id: &str) -> bool {
        let mut client = Client::new(self.daemon.address);
        let detections = client.get(&format!("/ingest/detections/{id}"));
        let detections: serde_json::Value = serde_json::from_slice(&detections).expect("JSON");
        let all = detections["detections"].as_array().expect("a list");
        let has_picture = |detection: &serde_json::Value| {
            let url = detection["url_frame"].as_str().unwrap_or_default();
            client.send(format!("GET {url} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes()).1 == FRAME
        };
        all.len() as u64 == FRAMES
            && all.iter().all(has_picture)
            && self.volume.join("tracks").join(id).join("index.json").exists()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.daemon.kill();
        let _ = Command::new("umount").arg("--lazy").arg(&self.volume).status();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().expect("it runs").success(), "{command:?}");
}

fn at(day: u64, second: u64) -> chrono::DateTime<chrono::Utc> {
    let seconds = (FIRST_DAY + day.cast_signed()) * 86_400 + second.cast_signed();
    chrono::DateTime::from_timestamp(seconds, 0).expect("a time")
}

/// As faketime reads it: from then on the clock goes on.
fn moment(day: u64, second: u64) -> String {
    at(day, second).format("@%Y-%m-%d %H:%M:%S").to_string()
}

fn iso(day: u64, second: u64) -> String {
    at(day, second).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
