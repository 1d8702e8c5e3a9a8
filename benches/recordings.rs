//! The first scan of many recordings against `find -ls` of the same tree, in one run; a scan with nothing changed; what it costs
//! in memory; and lookups in a year of one-minute segments.
//!
//! `cargo bench --bench recordings [-- --files N]` (100,000 in 400 folders)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Client, Daemon, gets, micros, quantile};

const SAMPLE: &[u8] = include_bytes!("../tests/data/recordings/cam-local/2026-11-23_08-32-35-013765.mp4");
const FOLDERS: usize = 400;
/// 2026-01-01T00:00:00Z in seconds.
const BEGIN: i64 = 1_767_225_600;
const YEAR_OF_MINUTES: i64 = 525_600;
const REQUESTS: usize = 1500;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let files =
        arguments.iter().position(|word| word == "--files").map_or(100_000, |at| arguments[at + 1].parse().expect("a number"));
    scan(files);
    lookups();
}

fn scan(files: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let root = folder.path().join("recordings");
    make(&root, files);
    // Both read what is in memory already.
    find(&root);
    let mut finds: Vec<Duration> = (0..3).map(|_| find(&root)).collect();
    let find = quantile(&mut finds, 0.5);
    let mut idle = Daemon::start(folder.path());
    let idle_rss = idle.memory_kib().0;
    idle.stop();
    let more = format!("[mediamtx]\ntime_zone = \"UTC\"\nrecord_path = \"{}/%path/%Y-%m-%d_%H-%M-%S-%f\"\n", root.display());
    let started = Instant::now();
    let mut daemon = Daemon::start_configured(folder.path(), &more);
    let (mut client, mut slowest) = (Client::new(daemon.address), Duration::ZERO);
    let first = loop {
        let begun = Instant::now();
        let health: Value = serde_json::from_slice(&client.get("/health")).expect("JSON");
        slowest = slowest.max(begun.elapsed());
        if health["recordings"]["scans"].as_u64().unwrap_or(0) > 0 {
            break health;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    let (rss, peak) = daemon.memory_kib();
    println!("{files} segments in {FOLDERS} folders");
    println!("  find -ls            {:8.0} ms", find.as_secs_f64() * 1e3);
    println!(
        "  first scan          {:8.0} ms, {:.2} times that; {} from exec; {} files read; slowest /health meanwhile {:.1} ms",
        first["recordings"]["scan_ms"].as_f64().unwrap(),
        first["recordings"]["scan_ms"].as_f64().unwrap() / (find.as_secs_f64() * 1e3),
        format_args!("{:.0} ms", took.as_secs_f64() * 1e3),
        first["recordings"]["files_read"],
        slowest.as_secs_f64() * 1e3,
    );
    println!(
        "  memory              {:8.1} MiB, peak {:.1}, {:.1} more than an idle daemon's {:.1}",
        mib(rss),
        mib(peak),
        mib(peak) - mib(idle_rss),
        mib(idle_rss)
    );
    assert_eq!(first["segments"], files);
    daemon.stop();
    let daemon = Daemon::start_configured(folder.path(), &more);
    let mut client = Client::new(daemon.address);
    let again = loop {
        let health: Value = serde_json::from_slice(&client.get("/health")).expect("JSON");
        if health["recordings"]["scans"].as_u64().unwrap_or(0) > 0 {
            break health;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    println!(
        "  scan, nothing new   {:8.0} ms, {:.2} times that; {} files read",
        again["recordings"]["scan_ms"].as_f64().unwrap(),
        again["recordings"]["scan_ms"].as_f64().unwrap() / (find.as_secs_f64() * 1e3),
        again["recordings"]["files_read"],
    );
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn find(root: &Path) -> Duration {
    let started = Instant::now();
    let done = Command::new("find").arg(root).arg("-ls").stdout(Stdio::null()).status().expect("find runs");
    assert!(done.success());
    started.elapsed()
}

/// Closed segments of a minute, one after the other, a path for each folder: the sample's header with its place in the stream.
fn make(root: &Path, files: usize) {
    let header = SAMPLE.windows(4).position(|four| four == b"moof").expect("a part") - 4;
    let mtxi = SAMPLE.windows(4).position(|four| four == b"mtxi").expect("MediaMTX's own box") + 8;
    let each = files.div_ceil(FOLDERS);
    let mut bytes = SAMPLE[..header + 4096].to_vec();
    for path in 0..FOLDERS {
        let folder = root.join(format!("cam-{path}"));
        std::fs::create_dir_all(&folder).expect("made");
        bytes[mtxi..mtxi + 16].fill(u8::try_from(path % 251).expect("small"));
        for number in 0..each.min(files - (path * each).min(files)) {
            let second = BEGIN + i64::try_from(number).expect("small") * 60;
            let number = u64::try_from(number).expect("small");
            bytes[mtxi + 16..mtxi + 24].copy_from_slice(&number.to_be_bytes());
            bytes[mtxi + 24..mtxi + 32].copy_from_slice(&(number * 60_000_000_000).to_be_bytes());
            bytes[mtxi + 32..mtxi + 40].copy_from_slice(&(second * 1_000_000_000).to_be_bytes());
            let name = chrono::DateTime::from_timestamp(second, 0).expect("a moment").format("%Y-%m-%d_%H-%M-%S-000000.mp4");
            std::fs::write(folder.join(name.to_string()), &bytes).expect("written");
        }
    }
}

fn lookups() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut lines = String::new();
    for minute in 0..YEAR_OF_MINUTES {
        let time =
            |second: i64| chrono::DateTime::from_timestamp(second, 0).expect("a moment").format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let start = BEGIN + minute * 60;
        writeln!(
            lines,
            "{{\"segment\":{{\"path\":\"cam\",\"file\":\"cam/{start}.mp4\",\"start_ts\":\"{}\",\"end_ts\":\"{}\",\"state\":\"complete\",\"bytes\":1000000,\"modified_nanos\":1,\"stream_id\":\"ff21e766-0000-4000-8000-000000000000\",\"number\":{minute},\"dts_nanos\":{},\"ntp_nanos\":{}}}}}",
            time(start),
            time(start + 60),
            minute * 60_000_000_000,
            start * 1_000_000_000,
        )
        .expect("written");
    }
    let file = folder.path().join("segments.ndjson");
    std::fs::write(&file, lines).expect("written");
    drop(Daemon::start(folder.path()));
    let took = Daemon::run(folder.path(), &["import", file.to_str().expect("a name")]);
    println!("a year of one-minute segments of one path, imported in {:.1} s", took.as_secs_f64());
    let daemon = Daemon::start(folder.path());
    for (name, minutes, connections) in [("an hour", 60, 1), ("an hour", 60, 4), ("a day", 1440, 1)] {
        let mut times = ask(&daemon, minutes, connections);
        println!(
            "  {name:8} p50 {:.0} µs, p99 {:.0} µs at {connections} connections",
            micros(quantile(&mut times, 0.5)),
            micros(quantile(&mut times, 0.99))
        );
    }
}

fn ask(daemon: &Daemon, minutes: i64, connections: usize) -> Vec<Duration> {
    let time =
        |second: i64| chrono::DateTime::from_timestamp(second, 0).expect("a moment").format("%Y-%m-%dT%H:%M:%SZ").to_string();
    gets(daemon, connections, REQUESTS, &|number| {
        let from = BEGIN + i64::try_from(number).expect("small") * 7919 % (YEAR_OF_MINUTES - minutes) * 60;
        format!("/recordings?path=cam&from={}&to={}", time(from), time(from + minutes * 60))
    })
}
