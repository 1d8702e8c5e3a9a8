//! Lookups in a catalogue of 10,000 sessions and in one a hundred times as large, with four detections a
//! session, both imported in this run: median times at 4 connections, their ratio, and the memory.
//!
//! `cargo bench --bench lookup [-- --sessions N]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod support;

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use support::{Client, Daemon, micros, quantile};

const SMALL: u64 = 10_000;
const CONNECTIONS: usize = 4;
const REQUESTS: usize = 1500;
/// Sessions begin so many seconds apart.
const APART: u64 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let large = arguments
        .iter()
        .position(|word| word == "--sessions")
        .map_or(1_000_000, |at| arguments[at + 1].parse().expect("a number"));
    let small = measure(SMALL);
    let large = measure(large);
    println!("{:26} {:>10} {:>10} {:>6}  {:>10}", "lookup", "small µs", "large µs", "ratio", "p99 µs");
    for ((name, small, _), (_, large, p99)) in small.iter().zip(&large) {
        println!("{name:26} {small:10.0} {large:10.0} {:6.2}  {p99:10.0}", large / small);
    }
}

/// A request's target, by its number.
type Target = Box<dyn Fn(u64) -> String + Sync>;

/// Median and 99th percentile of each lookup, in microseconds.
fn measure(sessions: u64) -> Vec<(&'static str, f64, f64)> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("catalogue.ndjson");
    write_catalogue(&file, sessions);
    // The first start makes the configuration; the import needs the store to itself.
    drop(Daemon::start(folder.path()));
    let took = Daemon::run(folder.path(), &["import", file.to_str().expect("a name")]);
    let lines = sessions * 5;
    println!(
        "{sessions} sessions: {lines} lines imported in {:.1} s, {:.0} a second",
        took.as_secs_f64(),
        lines as f64 / took.as_secs_f64()
    );
    let bytes = std::fs::metadata(folder.path().join("store.redb")).expect("the store").len();
    std::fs::remove_file(&file).expect("removed");

    let mut daemon = Daemon::start(folder.path());
    daemon.kill();
    let started = Instant::now();
    let daemon = Daemon::start(folder.path());
    Client::new(daemon.address).get("/sessions?limit=1");
    println!(
        "  {:.1} MiB; {} ms from exec after kill -9 to the first list",
        bytes as f64 / 1_048_576.0,
        started.elapsed().as_millis()
    );

    let time = |second: u64| {
        let (day, rest) = (second / 86_400, second % 86_400);
        let (year, day) = (2024 + day / 336, day % 336);
        format!("{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", day / 28 + 1, day % 28 + 1, rest / 3600, rest / 60 % 60, rest % 60)
    };
    let window = move |n: u64| {
        let from = (n * 7919) % sessions * APART;
        format!("from={}&to={}", time(from), time(from + 600))
    };
    let lookups: Vec<(&str, Target)> = vec![
        ("list, newest 50", Box::new(|_| "/sessions?limit=50".into())),
        ("range, 10 minutes", Box::new(move |n| format!("/sessions/range?{}&limit=50", window(n)))),
        ("class, common", Box::new(|_| "/sessions?classes=person&limit=50".into())),
        ("class, rare (1 in 1,000)", Box::new(|_| "/sessions?classes=giraffe&limit=5".into())),
        ("two classes", Box::new(|_| "/sessions?classes=person,cup&limit=20".into())),
        ("class in a window", Box::new(move |n| format!("/sessions/range?{}&classes=cup", window(n)))),
        ("colour", Box::new(|_| "/sessions?color=ROJ&limit=20".into())),
        ("colour and class", Box::new(|_| "/sessions?color=rojo&classes=cup&limit=20".into())),
        ("path", Box::new(|n| format!("/sessions?path=cam-{}&limit=20", n % 16))),
        ("one session", Box::new(move |n| format!("/sessions/sess_{}", n * 7919 % sessions))),
        ("its detections", Box::new(move |n| format!("/ingest/detections/sess_{}", n * 7919 % sessions))),
    ];
    let results = lookups
        .iter()
        .map(|(name, target)| {
            let mut times = run(&daemon, target.as_ref());
            (*name, micros(quantile(&mut times, 0.5)), micros(quantile(&mut times, 0.99)))
        })
        .collect();
    let (rss, peak) = daemon.memory_kib();
    println!("  RSS {:.1} MiB, peak {:.1} MiB", rss as f64 / 1024.0, peak as f64 / 1024.0);
    results
}

fn run(daemon: &Daemon, target: &(dyn Fn(u64) -> String + Sync)) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|connection| {
                scope.spawn(move || {
                    let mut client = Client::new(daemon.address);
                    (0..REQUESTS / CONNECTIONS)
                        .map(|request| {
                            let target = target((request * CONNECTIONS + connection) as u64);
                            let begun = Instant::now();
                            client.get(&target);
                            begun.elapsed()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    })
}

/// Sessions of a minute on 16 cameras, a rare one of a month; four detections each; one in ten has a colour.
fn write_catalogue(file: &Path, sessions: u64) {
    let mut out = BufWriter::new(std::fs::File::create(file).expect("made"));
    let time = |second: u64| {
        let (day, rest) = (second / 86_400, second % 86_400);
        let (year, day) = (2024 + day / 336, day % 336);
        format!(
            "{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}.123456Z",
            day / 28 + 1,
            day % 28 + 1,
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        )
    };
    for n in 0..sessions {
        let start = n * APART;
        let length = if n % 50_000 == 7 { 30 * 86_400 } else { 20 + n % 80 };
        let (begin, end) = (time(start), time(start + length));
        let second = match n % 1000 {
            500 => "giraffe",
            m if m % 3 == 0 => "cup",
            _ => "dog",
        };
        let camera = n % 16;
        writeln!(out, "{{\"session\":{{\"session_id\":\"sess_{n}\",\"device_id\":\"cam-{camera}\",\"path\":\"cam-{camera}\",\"status\":\"closed\",\"start_ts\":\"{begin}\",\"end_ts\":\"{end}\",\"postroll_sec\":5,\"reason\":\"relevance\",\"media_connect_ts\":null,\"media_start_ts\":\"{begin}\",\"media_end_ts\":\"{end}\",\"recommended_start_offset_ms\":200,\"configured_classes\":[\"person\",\"cup\"],\"detected_classes\":[\"person\",\"{second}\"],\"created_at\":\"{begin}\",\"updated_at\":\"{end}\",\"end_reason\":\"client\",\"extra\":{{}}}}}}").expect("written");
        for track in 0..4 {
            let class = if track == 3 { second } else { "person" };
            let (attributes, enriched) = match (n % 10, track) {
                (0, 0) => ("{\"color\":{\"name\":\"rojo\",\"hex\":\"#aa0000\",\"confidence\":0.9}}", true),
                (5, 0) => ("{\"color\":{\"name\":\"azul oscuro\",\"hex\":\"#1a3380\",\"confidence\":0.9}}", true),
                _ => ("null", false),
            };
            writeln!(out, "{{\"detection\":{{\"session_id\":\"sess_{n}\",\"track_id\":\"{track}\",\"cls\":\"{class}\",\"conf\":0.{},\"bbox\":{{\"x\":0.1,\"y\":0.2,\"w\":0.3,\"h\":0.4}},\"url_frame\":null,\"first_ts\":\"{begin}\",\"last_ts\":\"{end}\",\"capture_ts\":\"{begin}\",\"ingest_ts\":\"{begin}\",\"created_at\":\"{begin}\",\"updated_at\":\"{end}\",\"attributes\":{attributes},\"enriched\":{enriched},\"extra\":{{}}}}}}", 50 + n % 50).expect("written");
        }
    }
    out.flush().expect("written");
}
