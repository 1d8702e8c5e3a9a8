//! A backlog on its way into Postgres, against `COPY` of the same rows into the same tables of the same server; the memory
//! meanwhile, and how far behind live changes are.
//!
//! `cargo bench --bench sync [-- --detections N]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss, missing_docs)]

#[path = "../tests/sync/postgres.rs"]
mod postgres;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use postgres::Postgres;
use support::daemon::{Daemon, Home};
use support::records::{detection_line, session_line};

const PER_SESSION: u64 = 5;
const INGESTS: u32 = 3000;

fn main() {
    without_postgres();
    let arguments: Vec<String> = std::env::args().collect();
    let detections: u64 = arguments
        .iter()
        .position(|word| word == "--detections")
        .map_or(100_000, |at| arguments[at + 1].parse().expect("a number"));
    let home = Home::new("");
    let file = home.dir().join("catalogue.ndjson");
    write_catalogue(&file, detections / PER_SESSION);
    let mut command = support::daemon::command(home.dir());
    let status = command.args(["import", "--config"]).arg(home.config()).arg(&file).status().expect("imports");
    assert!(status.success());
    std::fs::remove_file(&file).expect("removed");

    let postgres = Postgres::start(&["max_wal_size=4GB"]);
    let url = serde_json::to_string(&postgres.url()).expect("text");
    home.configure(&format!("[sync]\nenabled = true\nurl = {url}\npull_interval_sec = 1\n"));
    let begun = Instant::now();
    let daemon = Daemon::on(home);
    let stop = Arc::new(AtomicBool::new(false));
    let live = live_changes(&daemon, &postgres, &stop);
    loop {
        let sync = daemon.get("/health").json()["sync"].clone();
        if sync["state"] == "up to date" && begun.elapsed() > Duration::from_millis(500) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(3600), "{sync}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pushing = begun.elapsed();
    stop.store(true, Ordering::SeqCst);
    let behind = live.join().expect("live changes");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("its status");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim().to_owned();
    drop(daemon);

    let db = postgres.db();
    let rows = db.count("detections");
    assert!(rows >= detections, "{rows} rows");
    let at = |name: &str| postgres.dir().join(name).display().to_string();
    db.run(&format!("COPY sessions TO '{}'", at("sessions")));
    db.run(&format!("COPY detections TO '{}'", at("detections")));
    db.run("TRUNCATE sessions CASCADE");
    let begun = Instant::now();
    db.run(&format!("COPY sessions FROM '{}'", at("sessions")));
    db.run(&format!("COPY detections FROM '{}'", at("detections")));
    let copying = begun.elapsed();
    let rate = |time: Duration| rows as f64 / time.as_secs_f64();
    println!(
        "{rows} detections: sync {:.0} a second, COPY {:.0} a second, ratio {:.2}",
        rate(pushing),
        rate(copying),
        rate(pushing) / rate(copying)
    );
    println!("the daemon's memory at its highest: {rss}; live changes behind: at most {behind:.1?}");
}

/// Ingests on two daemons in turn: one does not sync, the other's Postgres is gone.
fn without_postgres() {
    // A port of nobody.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").port();
    let gone = format!("[sync]\nenabled = true\nurl = \"postgres://u:p@127.0.0.1:{nobody}/d\"\n");
    let daemons = [Daemon::with(""), Daemon::with(&gone)];
    let picture = support::agent::jpeg(1);
    let mut times = [Vec::new(), Vec::new()];
    let mut clients = daemons.each_ref().map(Daemon::client);
    for daemon in &daemons {
        support::agent::open(daemon, "s");
    }
    for number in 0..INGESTS {
        let sighting =
            support::agent::sighting(&(number % 500).to_string(), "cup", 0.1 + f64::from(number) / f64::from(2 * INGESTS));
        let form = support::http::Multipart::new()
            .field("meta", support::agent::meta("s", &support::records::at(1, 0), &[sighting]).to_string());
        let request = form.frame(&picture).request();
        for (client, times) in clients.iter_mut().zip(&mut times) {
            let begun = Instant::now();
            client.send(&request).is(200);
            times.push(begun.elapsed());
        }
    }
    let [mut alone, mut syncing] = times;
    alone.sort();
    syncing.sort();
    let at = |times: &[Duration], part: usize| times[times.len() * part / 100];
    for part in [50, 99] {
        let (alone, syncing) = (at(&alone, part), at(&syncing, part));
        let ratio = syncing.as_secs_f64() / alone.as_secs_f64();
        println!("ingest, {part}th percentile: {alone:.2?} without a sync, {syncing:.2?} with Postgres gone, ratio {ratio:.2}");
    }
}

/// Opens sessions, and tells how long the slowest took to be central.
fn live_changes(daemon: &Daemon, postgres: &Postgres, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Duration> {
    let (address, stop) = (daemon.address, Arc::clone(stop));
    let db = support::until("Postgres", Duration::from_secs(10), || Some(postgres.db()));
    std::thread::spawn(move || {
        let mut client = support::http::Client::connect(address);
        let (mut slowest, mut number) = (Duration::ZERO, 0);
        while !stop.load(Ordering::SeqCst) {
            let id = format!("live {number}");
            number += 1;
            client.send(&support::http::Request::post("/sessions/open").json(&support::agent::opening(&id))).is(201);
            let begun = Instant::now();
            while db.try_rows(&format!("SELECT 1 FROM sessions WHERE session_id = '{id}'")).is_ok_and(|rows| rows.is_empty())
                && begun.elapsed() < Duration::from_secs(60)
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            slowest = slowest.max(begun.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
        slowest
    })
}

fn write_catalogue(path: &std::path::Path, sessions: u64) {
    let mut file = BufWriter::new(std::fs::File::create(path).expect("made"));
    for number in 0..sessions {
        let id = format!("sess_cam-{}_{number:08}", number % 7);
        let day = number / 2000;
        let at = format!("2025-{:02}-{:02}T{:02}:{:02}:10.123456Z", 1 + day / 28 % 12, 1 + day % 28, number % 24, number % 60);
        writeln!(file, "{}", session_line(&id, &at, &at, &["person", "cup"], &json!({}))).expect("written");
        for track in 0..PER_SESSION {
            let conf = (number * 7919 + track * 104_729) % 1_000_000;
            let change = json!({"conf": conf as f64 / 1e6, "url_frame": null});
            writeln!(file, "{}", detection_line(&id, &track.to_string(), "person", &at, &change)).expect("written");
        }
    }
    file.flush().expect("written");
}
