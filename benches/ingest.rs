//! Ingest of the 43 KB sample frame against the disk's own limit, in one run: at each number of
//! connections, rounds of both in turn. The limit is what the same number of threads reach that do
//! nothing but write one file and one log record, both `fdatasync`ed, for each "request".
//!
//! `cargo bench --bench ingest [-- --seconds N --scene NAME --connections N]` (seconds of each round, 0.5)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod support;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{Client, Daemon, ingest, micros, quantile};

const FRAME: &[u8] = include_bytes!("../tests/data/frames/frame_1.jpg");
/// Rounds of both in turn: disks have bursts, and a fair ratio has both in the same weather.
const ROUNDS: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| arguments.iter().position(|word| word == name).map(|at| arguments[at + 1].as_str());
    let seconds = option("--seconds").map_or(0.5, |value| value.parse().expect("a number"));
    let only: Option<usize> = option("--connections").map(|value| value.parse().expect("a number"));
    let length = Duration::from_secs_f64(seconds);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let daemon = Daemon::start(folder.path());
    println!("scene      conns  disk/s ingest/s  ratio  p50 µs  p99 µs");
    for (name, scene) in [("new", Scene::New), ("improving", Scene::Improving), ("steady", Scene::Steady)] {
        if option("--scene").is_some_and(|only| only != name) {
            continue;
        }
        for connections in [1, 8, 32].into_iter().filter(|connections| only.is_none_or(|only| only == *connections)) {
            let mut disk = Vec::new();
            let mut rates = Vec::new();
            let mut times = Vec::new();
            for round in 0..ROUNDS {
                let session = format!("{name}-{connections}-{round}");
                disk.push(disk_limit(folder.path(), &session, connections, length));
                let (rate, mut took) = load(&daemon, &session, connections, length, scene);
                rates.push(rate);
                times.append(&mut took);
            }
            let (disk, rate) = (median(&mut disk), median(&mut rates));
            println!(
                "{name:10} {connections:5} {disk:7.0} {rate:8.0} {:6.2} {:7.0} {:7.0}",
                rate / disk,
                micros(quantile(&mut times, 0.5)),
                micros(quantile(&mut times, 0.99)),
            );
        }
    }
    let (rss, peak) = daemon.memory_kib();
    println!("daemon: RSS {:.1} MiB, peak {:.1} MiB", rss as f64 / 1024.0, peak as f64 / 1024.0);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Files and log records a second by `threads` threads, which share the log.
fn disk_limit(folder: &Path, round: &str, threads: usize, length: Duration) -> f64 {
    // Nothing is deleted before the end: the disk would pay for it in the other's round.
    let folder = folder.join(format!("limit-{round}"));
    std::fs::create_dir_all(&folder).expect("made");
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("opened");
    let started = Instant::now();
    let done: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (folder, log) = (&folder, &log);
                scope.spawn(move || {
                    let mut done = 0;
                    while started.elapsed() < length {
                        let mut file = File::create(folder.join(format!("{thread}-{done}.jpg"))).expect("made");
                        file.write_all(FRAME).expect("written");
                        file.sync_data().expect("synced");
                        let mut log = log;
                        log.write_all(&[b'x'; 256]).expect("written");
                        log.sync_data().expect("synced");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).sum()
    });
    done as f64 / started.elapsed().as_secs_f64()
}

/// What the agents' cameras see.
#[derive(Clone, Copy, PartialEq)]
enum Scene {
    /// Every frame shows an object for the first time: its picture stays.
    New,
    /// Every frame is the best so far of one of four objects: its picture replaces another, which is deleted.
    Improving,
    /// The same four objects, never better than at first: nothing is written but a touch now and then.
    Steady,
}

/// Ingests a second by `connections` agents of one session each, and how long each took.
fn load(daemon: &Daemon, name: &str, connections: usize, length: Duration, scene: Scene) -> (f64, Vec<Duration>) {
    let mut opener = Client::new(daemon.address);
    for agent in 0..connections {
        let open = format!("{{\"sessionId\":\"{name}-{agent}\",\"devId\":\"cam-{agent}\",\"startTs\":\"2026-01-01T00:00:00Z\"}}");
        assert_eq!(opener.post_json("/sessions/open", &open), 201);
    }
    let started = Instant::now();
    let results: Vec<Vec<Duration>> = std::thread::scope(|scope| {
        let agents: Vec<_> = (0..connections)
            .map(|agent| {
                scope.spawn(move || {
                    let mut client = Client::new(daemon.address);
                    let mut times = Vec::new();
                    let mut frame = 0_u32;
                    while started.elapsed() < length {
                        let conf = if scene == Scene::Improving { f64::from(frame / 4) / 1e6 } else { 0.5 };
                        let track = if scene == Scene::New { frame } else { frame % 4 };
                        let meta = format!(
                            "{{\"sessionId\":\"{name}-{agent}\",\"seqNo\":{frame},\"captureTs\":\"2026-01-01T00:{:02}:{:02}.{:03}Z\",\"detections\":[{{\"trackId\":\"{}\",\"cls\":\"person\",\"conf\":{conf},\"bbox\":{{\"x\":0.1,\"y\":0.2,\"w\":0.3,\"h\":0.4}}}}]}}",
                            frame / 60_000 % 60, frame / 1000 % 60, frame % 1000, track
                        );
                        let request = ingest(&meta, FRAME);
                        let begun = Instant::now();
                        let (status, body) = client.send(&request);
                        times.push(begun.elapsed());
                        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
                        frame += 1;
                    }
                    times
                })
            })
            .collect();
        agents.into_iter().map(|agent| agent.join().expect("no panic")).collect()
    });
    let elapsed = started.elapsed().as_secs_f64();
    let times: Vec<Duration> = results.into_iter().flatten().collect();
    (times.len() as f64 / elapsed, times)
}
