//! How much memory the daemon holds: idle on an empty store; idle and under mixed load on one of a million sessions, plotted;
//! with `--soak` during an hour of nothing but ingest.
//!
//! `cargo bench --bench memory [-- --minutes N --sessions N --rate N --daemon PATH]` (10, 1,000,000, 50 frames a second, the binary
//! under test), `cargo bench --bench memory -- --soak [--minutes N --rate N]` (60 minutes)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::catalogue::{self, APART, time};
use support::{Client, Daemon, ingest};

const FRAME: &[u8] = include_bytes!("../tests/data/frames/frame_1.jpg");
const CAMERAS: u64 = 8;
/// A camera's session is closed and the next one opened after so many frames.
const FRAMES_A_SESSION: u64 = 500;
/// Seconds after the catalogue's beginning at which the load's sessions begin: later than all of it.
const NOW: u64 = 3 * 336 * 86_400;
/// Goals, in MiB.
const IDLE: f64 = 15.0;
const BUSY: f64 = 30.0;

struct Settings {
    minutes: f64,
    sessions: u64,
    /// Frames a second over all cameras.
    rate: f64,
    binary: Option<PathBuf>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| arguments.iter().position(|word| word == name).map(|at| arguments[at + 1].as_str());
    let is_soak = arguments.iter().any(|word| word == "--soak");
    let number = |name: &str, otherwise: f64| option(name).map_or(otherwise, |value| value.parse().expect("a number"));
    let settings = Settings {
        minutes: number("--minutes", if is_soak { 60.0 } else { 10.0 }),
        sessions: option("--sessions").map_or(1_000_000, |value| value.parse().expect("a number")),
        rate: number("--rate", 50.0),
        binary: option("--daemon").map(PathBuf::from),
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let daemon = start(folder.path(), &settings);
    println!("idle, empty store: RSS {:.1} MiB (goal {IDLE})", idle(&daemon));
    if is_soak {
        let samples = load(&daemon, &settings, false);
        return report("ingest only", &daemon, &samples, &settings);
    }
    drop(daemon);
    let file = folder.path().join("catalogue.ndjson");
    catalogue::write(&file, settings.sessions);
    Daemon::run(folder.path(), &["import", file.to_str().expect("a name")]);
    std::fs::remove_file(&file).expect("removed");
    let daemon = start(folder.path(), &settings);
    println!("idle, {} sessions: RSS {:.1} MiB", settings.sessions, idle(&daemon));
    let samples = load(&daemon, &settings, true);
    report("mixed load", &daemon, &samples, &settings);
}

fn start(folder: &Path, settings: &Settings) -> Daemon {
    Daemon::start_with(folder, folder, settings.binary.as_deref())
}

fn rss(daemon: &Daemon) -> f64 {
    daemon.memory_kib().0 as f64 / 1024.0
}

/// RSS in MiB once the first lists were answered and what runs behind the start is done.
fn idle(daemon: &Daemon) -> f64 {
    let mut client = Client::new(daemon.address);
    client.get("/health");
    client.get("/sessions?limit=50");
    std::thread::sleep(Duration::from_secs(5));
    rss(daemon)
}

/// What the clients did.
#[derive(Default)]
struct Done {
    frames: AtomicU64,
    refused: AtomicU64,
    reads: AtomicU64,
}

/// RSS in MiB, once a second, while clients work.
fn load(daemon: &Daemon, settings: &Settings, is_mixed: bool) -> Vec<f64> {
    let (done, is_over) = (&Done::default(), &AtomicBool::new(false));
    let samples = std::thread::scope(|scope| {
        for camera in 0..CAMERAS {
            let every = Duration::from_secs_f64(CAMERAS as f64 / settings.rate);
            scope.spawn(move || {
                let mut camera = Camera::new(daemon, camera);
                pace(every, is_over, |_| camera.shoot(done));
            });
        }
        if is_mixed {
            scope.spawn(move || {
                let mut reader = Reader { client: Client::new(daemon.address), sessions: settings.sessions, since: 0 };
                pace(Duration::from_millis(50), is_over, |n| {
                    reader.read(n);
                    done.reads.fetch_add(1, Ordering::Relaxed);
                });
            });
            scope.spawn(move || {
                let mut client = Client::new(daemon.address);
                pace(Duration::from_millis(500), is_over, |n| hook(&mut client, n));
            });
        }
        let mut samples = Vec::new();
        let end = Instant::now() + Duration::from_secs_f64(settings.minutes * 60.0);
        pace(Duration::from_secs(1), is_over, |_| {
            samples.push(rss(daemon));
            is_over.store(Instant::now() >= end, Ordering::Relaxed);
        });
        samples
    });
    println!(
        "{} frames ({} told to come later), {} reads",
        done.frames.load(Ordering::Relaxed),
        done.refused.load(Ordering::Relaxed),
        done.reads.load(Ordering::Relaxed)
    );
    samples
}

/// Calls `work` with 0, 1, 2 … at even intervals; what falls behind is not caught up with.
fn pace(every: Duration, is_over: &AtomicBool, mut work: impl FnMut(u64)) {
    let mut due = Instant::now();
    let mut number = 0;
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        work(number);
        number += 1;
        due = (due + every).max(Instant::now());
    }
}

/// An edge agent: opens, sends frames, closes, opens the next.
struct Camera {
    client: Client,
    number: u64,
    frames: u64,
}

impl Camera {
    fn new(daemon: &Daemon, number: u64) -> Self {
        Self { client: Client::new(daemon.address), number, frames: 0 }
    }

    /// One frame: of ten, one shows a new object, four a better sighting, five nothing better.
    fn shoot(&mut self, done: &Done) {
        let (number, frame) = (self.number, self.frames);
        let id = |session: u64| format!("live_{number}_{session}");
        let (session, within) = (frame / FRAMES_A_SESSION, frame % FRAMES_A_SESSION);
        // Four frames a second, whatever the rate is.
        let now = time(NOW + frame / 4);
        if within == 0 {
            if session > 0 {
                let close = format!("{{\"sessionId\":\"{}\",\"endTs\":\"{now}\",\"postRollSec\":5}}", id(session - 1));
                assert_eq!(self.client.post_json("/sessions/close", &close), 200);
            }
            let open = format!("{{\"sessionId\":\"{}\",\"devId\":\"cam-{number}\",\"startTs\":\"{now}\"}}", id(session));
            assert_eq!(self.client.post_json("/sessions/open", &open), 201);
        }
        let (track, conf) = match frame % 10 {
            0 => (10 + within / 10, 0.5),
            1..=4 => (frame % 2, 0.2 + within as f64 / 1e4),
            _ => (2, 0.1),
        };
        let class = ["person", "cup", "dog"][usize::try_from(track % 3).expect("small")];
        let sighting = |track: u64, class: &str, conf: f64| {
            format!(
                "{{\"trackId\":\"{track}\",\"cls\":\"{class}\",\"conf\":{conf},\"bbox\":{{\"x\":0.1,\"y\":0.2,\"w\":0.3,\"h\":0.4}}}}"
            )
        };
        let meta = format!(
            "{{\"sessionId\":\"{}\",\"seqNo\":{frame},\"captureTs\":\"{now}\",\"detections\":[{},{}]}}",
            id(session),
            sighting(track, class, conf),
            sighting(3, "cat", 0.3)
        );
        let (status, body) = self.client.send(&ingest(&meta, FRAME));
        assert!(matches!(status, 200 | 429), "{}", String::from_utf8_lossy(&body));
        done.frames.fetch_add(1, Ordering::Relaxed);
        done.refused.fetch_add(u64::from(status == 429), Ordering::Relaxed);
        self.frames += 1;
    }
}

/// MediaMTX.
fn hook(client: &mut Client, number: u64) {
    let path = format!("cam-{}", number % CAMERAS);
    let begun = NOW + number / 2 / 60 * 60;
    let (target, body) = if number.is_multiple_of(8) {
        ("publish", format!("{{\"path\":\"{path}\",\"eventTs\":\"{}\"}}", time(begun)))
    } else {
        let body = format!(
            "{{\"path\":\"{path}\",\"segmentPath\":\"/recordings/{path}/{number}.mp4\",\"segmentStartTs\":\"{}\",\"eventTs\":\"{}\"}}",
            time(begun),
            time(begun + 60)
        );
        ("record/segment/complete", body)
    };
    assert_eq!(client.post_json(&format!("/hooks/mediamtx/{target}"), &body), 200);
}

/// The web page, and a reader of the feed that begins at 0.
struct Reader {
    client: Client,
    sessions: u64,
    since: u64,
}

impl Reader {
    fn read(&mut self, number: u64) {
        let some = number * 7919 % self.sessions;
        let window = format!("from={}&to={}", time(some * APART), time(some * APART + 600));
        let target = match number % 12 {
            0 => "/sessions?limit=50".to_owned(),
            1 => format!("/sessions/range?{window}&limit=50"),
            2 => "/sessions?classes=person,cup&limit=50".to_owned(),
            3 => "/sessions?color=ROJ&limit=20".to_owned(),
            4 => format!("/sessions/range?{window}&classes=cup&color=azul"),
            5 => format!("/sessions/sess_{some}"),
            6 => format!("/ingest/detections/sess_{some}"),
            7 => return self.follow(),
            8 => return self.look_at_picture(number),
            9 => format!("/sessions?path=cam-{}&limit=1000", number % 16),
            10 => "/sessions?status=open".to_owned(),
            _ => "/health".to_owned(),
        };
        self.client.get(&target);
    }

    fn follow(&mut self) {
        let page = self.client.get(&format!("/changes?since={}&limit=1000", self.since));
        let page = String::from_utf8(page).expect("text");
        let next = page.rsplit_once("\"next\":").expect("a next").1.trim_end_matches('}');
        self.since = next.parse().expect("a number");
    }

    /// A picture of a session that is open now.
    fn look_at_picture(&mut self, number: u64) {
        let open = String::from_utf8(self.client.get("/sessions?status=open&limit=1000")).expect("text");
        let mut ids = open.split("\"session_id\":\"").skip(1).filter_map(|rest| rest.split('"').next());
        let Some(id) = ids.find(|id| id.starts_with(&format!("live_{}", number % CAMERAS))) else { return };
        let rows = String::from_utf8(self.client.get(&format!("/ingest/detections/{id}"))).expect("text");
        let Some(frame) = rows.split("\"url_frame\":\"").nth(1).and_then(|rest| rest.split('"').next()) else { return };
        // It may have been beaten and deleted since.
        let (status, _) = self.client.send(format!("GET {frame} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes());
        assert!(matches!(status, 200 | 404), "{frame}: {status}");
    }
}

fn report(name: &str, daemon: &Daemon, samples: &[f64], settings: &Settings) {
    plot(samples);
    let third = samples.len() / 3;
    let (first, last) = (median(&samples[..third]), median(&samples[samples.len() - third..]));
    let peak = daemon.memory_kib().1 as f64 / 1024.0;
    println!(
        "{name}, {:.0} minutes: RSS first third {first:.1} MiB, last third {last:.1} MiB, ratio {:.3}, peak {peak:.1} MiB (goal {BUSY})",
        settings.minutes,
        last / first
    );
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// RSS over time, the highest sample of each column.
fn plot(samples: &[f64]) {
    const COLUMNS: usize = 72;
    const STEP: f64 = 2.0;
    let columns: Vec<f64> = (0..COLUMNS.min(samples.len()))
        .map(|column| {
            let at = |column: usize| column * samples.len() / COLUMNS.min(samples.len());
            samples[at(column)..at(column + 1)].iter().copied().fold(0.0, f64::max)
        })
        .collect();
    let top = columns.iter().copied().fold(BUSY, f64::max);
    let mut level = (top / STEP).ceil() * STEP;
    while level > 0.0 {
        let sign = |value: &f64| match value {
            value if *value > level - STEP && *value <= level => '*',
            _ if (level - BUSY).abs() < STEP / 2.0 => '-',
            _ => ' ',
        };
        let row: String = columns.iter().map(sign).collect();
        println!("{level:4.0} MiB |{}", row.trim_end());
        level -= STEP;
    }
    println!("         +{}", "-".repeat(columns.len()));
}
