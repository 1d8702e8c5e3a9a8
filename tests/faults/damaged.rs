//! The database is damaged under the running daemon: cut off, or bits of it flipped.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::agent::{END, START, close, opening};
use crate::support::daemon::{Daemon, Home, command, run};
use crate::support::http::Request;
use crate::support::records::{at, detection_line, session_line};

const CONFIG: &str = "[database]\ncache_mb = 1\nreserve_mb = 0\n";
/// More than the daemon's cache holds.
const SESSIONS: usize = 6000;
const DATA: &str = "data/session-store.redb";
const QUESTIONS: [&str; 6] = [
    "/sessions?limit=1000",
    "/sessions?classes=cup&limit=1000",
    "/sessions/range?from=2025-10-11T13:00:00Z&to=2025-10-11T14:00:00Z&limit=1000",
    "/sessions/s3700",
    "/ingest/detections/s1800",
    "/changes?limit=1000",
];

/// A stopped store.
fn full() -> Home {
    let home = Home::new(CONFIG);
    let lines: Vec<Value> = (0..SESSIONS)
        .flat_map(|n| {
            let (id, start) = (format!("s{n}"), at(n / 60, n % 60));
            let end = at(n / 60 + 1, n % 60);
            [session_line(&id, &start, &end, &["cup"], &json!({})), detection_line(&id, "1", "cup", &start, &json!({}))]
        })
        .collect();
    home.import(&lines);
    home
}

fn copy_of(home: &Home) -> Home {
    let copy = Home::new(CONFIG);
    fs::create_dir_all(copy.dir().join("data")).unwrap();
    fs::create_dir_all(copy.frames_dir()).unwrap();
    for name in [DATA.to_owned(), format!("{DATA}.journal"), "frames/\\store".to_owned()] {
        if home.dir().join(&name).exists() {
            fs::copy(home.dir().join(&name), copy.dir().join(&name)).unwrap();
        }
    }
    copy
}

/// Whole and cut off, flipped here and there, all of it.
type Harm = fn(&File, u64);
const HARMS: [(&str, Harm); 5] = [
    ("emptied", |file, _| file.set_len(0).unwrap()),
    ("cut in half", |file, length| file.set_len(length / 2).unwrap()),
    ("a bit in every page", |file, length| {
        for page in 1..length / 4096 {
            flip(file, page * 4096 + page * 37 % 4096);
        }
    }),
    ("the first bytes of every page", |file, length| {
        for page in 1..length / 4096 {
            (0..8).for_each(|byte| flip(file, page * 4096 + byte));
        }
    }),
    ("zeros", |file, length| file.write_all_at(&vec![0; usize::try_from(length).unwrap() - 8192], 8192).unwrap()),
];

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << (at % 8)], at).unwrap();
}

/// redb looks at the checksums of its pages only after a crash; otherwise it panics where one makes no sense. That ended the writer and with
/// it the daemon, again at each start, with the source line of a library for an explanation.
#[test]
fn damage_under_the_daemon_is_told_with_the_way_out_and_never_ends_it() {
    let whole = full();
    for (name, harm) in HARMS {
        let mut daemon = Daemon::on(copy_of(&whole));
        let path = daemon.dir().join(DATA);
        let length = fs::metadata(&path).unwrap().len();
        harm(&File::options().read(true).write(true).open(&path).unwrap(), length);
        let mut requests: Vec<Request> = QUESTIONS.map(Request::get).into();
        for n in 0..10 {
            requests.push(Request::post("/sessions/open").json(&opening(&format!("new {n}"))));
            let closing = json!({"sessionId": format!("s{}", n * 590), "endTs": START});
            requests.push(Request::post("/sessions/close").json(&closing));
        }
        // Side by side: where the file is gone, each waits for some seconds.
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let daemon = &daemon;
            let asked: Vec<_> = requests.iter().map(|request| scope.spawn(move || told(daemon, name, request))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let health = daemon.get("/health").is(200).json();
        let reasons = health["reasons"].to_string();
        assert!(answers.contains(&500), "{name}: nobody has met it");
        assert!(
            health["status"] == "degraded" && reasons.contains("damaged") && reasons.contains("`restore`"),
            "{name}: {health}"
        );
        let (status, _) = daemon.terminate();
        assert!(status.success(), "{name}: ended with {status}");
        let home = daemon.killed();
        told_at_start(&home, name);
    }
}

/// An answer of the store, or a failure; nothing that only looks like an answer.
fn told(daemon: &Daemon, name: &str, request: &Request) -> u16 {
    let answer = daemon.send(request);
    match answer.status {
        200 | 201 => {
            let json = answer.json();
            if let Some(sessions) = json["sessions"].as_array() {
                assert!(!sessions.is_empty(), "{name}: an empty list is not the truth");
            }
        }
        500 => assert_eq!(answer.error(), "Internal server error"),
        other => panic!("{name}: {other}: {}", answer.text()),
    }
    answer.status
}

/// Started again, it either serves or says what to do; `verify` finds it in any case.
fn told_at_start(home: &Home, name: &str) {
    let mut verify = command(home.dir());
    verify.arg("verify").arg("--config").arg(home.config());
    let verified = run(&mut verify, b"");
    assert!(matches!(verified.code, Some(1 | 2)), "{name}: {}{}", verified.stdout, verified.stderr);
    let said = verified.stdout.clone() + &verified.stderr;
    assert!(!said.contains("panicked"), "{name}: {said}");
    let before = content(&home.dir().join(DATA));
    let mut serve = std::process::Command::new("timeout");
    serve.arg("3").arg(crate::support::daemon::binary()).arg("--config").arg(home.config()).current_dir(home.dir());
    let served = run(&mut serve, b"");
    if served.code == Some(1) {
        assert!(served.stderr.contains("is damaged") && served.stderr.contains("`restore`"), "{name}: {}", served.stderr);
        assert!(content(&home.dir().join(DATA)) == before, "{name}: refused, and changed all the same");
    }
}

fn content(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// The journal is the other half of the database.
#[test]
fn a_journal_that_is_damaged_under_the_daemon_loses_nothing_of_a_clean_stop() {
    let daemon = Daemon::start();
    for n in 0..20 {
        daemon.post("/sessions/open", &opening(&format!("s{n}"))).is(201);
    }
    let journal = daemon.dir().join("data/session-store.redb.journal");
    let file = File::options().read(true).write(true).open(&journal).unwrap();
    (0..20).for_each(|page| flip(&file, page * 4096 + 100));
    close(&daemon, "s3", END);
    let daemon = Daemon::on(daemon.stop());
    assert_eq!(daemon.get("/sessions?limit=50").is(200).json()["sessions"].as_array().unwrap().len(), 20);
    assert_eq!(daemon.get("/sessions/s3").is(200).json()["status"], "closed");
}
