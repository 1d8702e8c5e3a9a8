//! Lookups in a catalogue of 10,000 sessions and in one a hundred times as large, with four detections a
//! session, both imported in this run: median times at 4 connections, their ratio, and the memory.
//!
//! `cargo bench --bench lookup [-- --sessions N]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod support;

use std::time::Instant;

use support::catalogue::{self, APART, time};
use support::{Client, Daemon, gets, micros, quantile};

const SMALL: u64 = 10_000;
const CONNECTIONS: usize = 4;
const REQUESTS: usize = 1500;

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
    catalogue::write(&file, sessions);
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
            let mut times = gets(&daemon, CONNECTIONS, REQUESTS, target.as_ref());
            (*name, micros(quantile(&mut times, 0.5)), micros(quantile(&mut times, 0.99)))
        })
        .collect();
    let (rss, peak) = daemon.memory_kib();
    println!("  RSS {:.1} MiB, peak {:.1} MiB", rss as f64 / 1024.0, peak as f64 / 1024.0);
    results
}
