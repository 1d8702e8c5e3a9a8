//! Limits against slow and hostile clients. The slow ones run side by side in one daemon.

use std::sync::OnceLock;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::{START, jpeg_of, meta, open, opening, sighting};
use crate::support::daemon::Daemon;
use crate::support::http::{BOUNDARY, Client, Multipart, Request, Response};

const JSON: &str = "Content-Type: application/json\r\n";

/// How a slow connection ended.
struct End {
    after: Duration,
    said: String,
}

/// What the slow clients saw.
struct Slow {
    half_head: End,
    trickled_head: End,
    half_body: End,
    half_frame: End,
    trickled_body: Result<u16, String>,
}

/// Lets every slow client run once, all at the same time.
fn slow() -> &'static Slow {
    static SLOW: OnceLock<Slow> = OnceLock::new();
    SLOW.get_or_init(|| {
        let daemon = Daemon::start();
        open(&daemon, "s");
        let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let form = Multipart::new().field("meta", meta("s", START, &[]).to_string()).frame(jpeg_of(2 << 20)).bytes();
        let upload = Request::post("/ingest").header("Content-Type", &media_type).body(form).bytes();
        let half_head = silent(daemon.client(), b"GET /health HTTP/1.1\r\nHo".to_vec());
        let half_body = silent(
            daemon.client(),
            format!("POST /sessions/open HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 100\r\n\r\n{{\"sess").into_bytes(),
        );
        let half_frame = silent(daemon.client(), upload[..upload.len() / 2].to_vec());
        let trickled_head = trickle_head(daemon.client());
        let trickled_body = trickle_body(daemon.client());
        Slow {
            half_head: half_head.join().unwrap(),
            trickled_head: trickled_head.join().unwrap(),
            half_body: half_body.join().unwrap(),
            half_frame: half_frame.join().unwrap(),
            trickled_body: trickled_body.join().unwrap(),
        }
    })
}

/// Sends this and no more; then waits for the end.
fn silent(mut client: Client, bytes: Vec<u8>) -> JoinHandle<End> {
    thread::spawn(move || {
        drop(client.write(&bytes));
        let begin = Instant::now();
        let said = String::from_utf8_lossy(&client.drain()).into_owned();
        End { after: begin.elapsed(), said }
    })
}

/// A head that gets one more letter each half second, without end.
fn trickle_head(mut client: Client) -> JoinHandle<End> {
    thread::spawn(move || {
        let begin = Instant::now();
        drop(client.write(b"GET /health HTTP/1.1\r\nX-Slow: "));
        client.patience(Duration::from_millis(500));
        loop {
            let alive = client.write(b"x").is_ok();
            let closed = match client.read(false) {
                Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                Ok(_) => true,
            };
            if !alive || closed || begin.elapsed() > Duration::from_secs(25) {
                return End { after: begin.elapsed(), said: String::new() };
            }
        }
    })
}

/// A body that takes longer than 10 s, but is never silent for so long.
fn trickle_body(mut client: Client) -> JoinHandle<Result<u16, String>> {
    thread::spawn(move || {
        let wire = Request::post("/sessions/open").json(&opening("trickled")).bytes();
        let (first, rest) = wire.split_at(wire.len() - 5);
        client.write(first).map_err(|error| error.to_string())?;
        for byte in rest {
            thread::sleep(Duration::from_millis(2500));
            client.write(&[*byte]).map_err(|error| error.to_string())?;
        }
        client.read(false).map(|answer| answer.status).map_err(|error| error.to_string())
    })
}

#[track_caller]
fn cut_after_10_s(end: &End) {
    assert!((8..15).contains(&end.after.as_secs()), "cut after {:?}", end.after);
    assert!(end.said.is_empty() || end.said.starts_with("HTTP/1.1 4"), "{}", end.said);
}

#[test]
fn a_head_that_never_ends_is_cut_after_10_s() {
    cut_after_10_s(&slow().half_head);
}

#[test]
fn a_head_that_trickles_is_cut_after_10_s_all_the_same() {
    cut_after_10_s(&slow().trickled_head);
}

#[test]
fn half_a_body_is_cut_after_10_s_without_a_byte() {
    cut_after_10_s(&slow().half_body);
}

#[test]
fn half_a_frame_is_cut_after_10_s_without_a_byte() {
    cut_after_10_s(&slow().half_frame);
}

#[test]
fn a_body_that_trickles_for_longer_than_10_s_is_taken() {
    assert_eq!(slow().trickled_body, Ok(201));
}

/// Lets this process open enough files for a thousand connections.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < 4096) {
        limit.current = Some(limit.maximum.map_or(4096, |maximum| maximum.min(4096)));
        setrlimit(Resource::Nofile, limit).expect("the limit of open files raised");
    }
}

/// So many connections that sent half a head.
fn loris(daemon: &Daemon, count: usize) -> Vec<Client> {
    let start = || {
        let mut client = daemon.client();
        drop(client.write(b"POST /hooks/mediamtx/publish HTTP/1.1\r\nHost: x\r\nX-Slow"));
        client
    };
    (0..count).map(|_| start()).collect()
}

#[test]
fn a_thousand_slow_loris_connections_do_not_stop_a_hook() {
    raise_open_files();
    let daemon = Daemon::start();
    open(&daemon, "s");
    let held = loris(&daemon, 1000);
    for _ in 0..5 {
        let begin = Instant::now();
        let answer = daemon.post("/hooks/mediamtx/publish", &json!({"path": "cam-local", "eventTs": START}));
        assert_eq!(answer.is(200).json()["status"], "ok");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
    drop(held);
}

#[test]
fn at_max_connections_the_longest_waiting_half_head_is_closed_never_the_newcomer() {
    let daemon = Daemon::with("[server]\nmax_connections = 32\n");
    let mut kept = daemon.client();
    kept.send(&Request::get("/health")).is(200);
    let mut held = loris(&daemon, 100);
    for n in 0..40 {
        daemon.post("/sessions/open", &opening(&format!("s{n}"))).is(201);
    }
    let oldest = &mut held[0];
    oldest.patience(Duration::from_secs(3));
    let begin = Instant::now();
    oldest.drain();
    assert!(begin.elapsed() < Duration::from_secs(2), "the oldest was closed to make room");
}

#[test]
fn a_full_budget_of_bodies_is_429_with_retry_after_for_ingest_alone() {
    let daemon = Daemon::with("[server]\nbody_memory_mb = 12\n");
    open(&daemon, "s");
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let form = Multipart::new().frame(jpeg_of(5_200_000)).bytes();
    let wire = Request::post("/ingest").header("Content-Type", &media_type).body(form).bytes();
    let uploads: Vec<JoinHandle<Option<Response>>> = (0..6)
        .map(|_| {
            let (mut client, part) = (daemon.client(), wire[..wire.len() - 1000].to_vec());
            thread::spawn(move || {
                client.patience(Duration::from_secs(8));
                drop(client.write(&part));
                client.read(false).ok()
            })
        })
        .collect();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        let id = format!("n{}", begin.elapsed().as_nanos());
        assert_eq!(daemon.post("/sessions/open", &opening(&id)).status, 201);
        let hook = json!({"path": "cam-local", "eventTs": START});
        assert_eq!(daemon.post("/hooks/mediamtx/publish", &hook).status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "opens and hooks always find room");
        thread::sleep(Duration::from_millis(100));
    }
    let refused: Vec<Response> = uploads.into_iter().filter_map(|upload| upload.join().unwrap()).collect();
    let busy = refused.iter().find(|answer| answer.status == 429).expect("one that was told to come later");
    assert!(busy.must("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(!busy.error().is_empty());
    let small = meta("s", START, &[sighting("1", "cup", 0.5)]).to_string();
    daemon.send(&Multipart::new().field("meta", small).request()).is(200);
}

#[test]
fn many_connections_one_after_another_leave_nothing_open() {
    let daemon = Daemon::with("[server]\nmax_connections = 16\n");
    for _ in 0..300 {
        daemon.get("/health").is(200);
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_daemon_lives() {
    let daemon = Daemon::start();
    let answer = daemon.client().try_send(&Request::get("/health").header("X-Large", &"x".repeat(2 << 20)));
    assert!(answer.as_ref().map_or(true, |answer| (400..500).contains(&answer.status)), "{answer:?}");
    let mut many = Request::get("/health");
    for n in 0..5000 {
        many = many.header(&format!("X-{n}"), "1");
    }
    let answer = daemon.client().try_send(&many);
    assert!(answer.as_ref().map_or(true, |answer| (400..500).contains(&answer.status)), "{answer:?}");
    daemon.get("/health").is(200);
}

#[test]
fn bytes_that_are_no_http_are_refused_and_the_daemon_lives() {
    let daemon = Daemon::start();
    let noise: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"hello\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"POST /sessions/open HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}{}{}",
    ];
    for bytes in noise {
        let mut client = daemon.client();
        client.patience(Duration::from_secs(12));
        client.write(bytes).unwrap();
        let said = String::from_utf8_lossy(&client.drain()).into_owned();
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 5"), "{said}");
    }
    let smuggled = b"POST /sessions/open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n";
    let mut client = daemon.client();
    client.write(smuggled).unwrap();
    assert!(client.read(false).map_or(true, |answer| answer.status == 400));
    assert_eq!(daemon.get("/sessions").is(200).json()["sessions"], json!([]));
}
