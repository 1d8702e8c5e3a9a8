//! Clients that are slow on purpose. Single slow heads and bodies are in `tests/api/limits.rs`.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::{START, counts, ingest, jpeg, jpeg_of, open, opening};
use crate::support::daemon::Daemon;
use crate::support::http::{BOUNDARY, Client, Request};

/// Sends a byte each second until it is cut off or has had its time.
fn trickle(mut client: Client, bytes: &[u8], time: Duration) -> Duration {
    let begin = Instant::now();
    client.patience(Duration::from_millis(1000));
    for byte in bytes {
        let is_cut = client.write(&[*byte]).is_err()
            || match client.read(false) {
                Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
                Ok(_) => true,
            };
        if is_cut || begin.elapsed() > time {
            break;
        }
    }
    begin.elapsed()
}

/// More slow heads and slow bodies than there are connections: whoever is honest is served at once all the same.
#[test]
fn slow_heads_and_bodies_at_the_limit_of_connections_stop_nobody() {
    let daemon = Daemon::with("[server]\nmax_connections = 64\n");
    open(&daemon, "s");
    let heads: Vec<_> = (0..80)
        .map(|_| {
            let client = daemon.client();
            thread::spawn(move || {
                trickle(client, b"GET /health HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Duration::from_secs(20))
            })
        })
        .collect();
    // A body may be slow, but for 120 s at most; so each of these holds a connection, and half of all are left.
    let mut bodies = Vec::new();
    for _ in 0..32 {
        let mut client = daemon.client();
        let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let head = Request::post("/ingest").header("Content-Type", &media_type).header("Content-Length", "100000");
        client.write(&head.bytes()).unwrap();
        client.write(format!("--{BOUNDARY}\r\n").as_bytes()).unwrap();
        bodies.push(client);
    }
    let begin = Instant::now();
    let mut served = 0;
    while begin.elapsed() < Duration::from_secs(9) {
        let asked = Instant::now();
        daemon.post("/sessions/open", &opening(&format!("n{served}"))).is(201);
        daemon.post("/hooks/mediamtx/publish", &json!({"path": "cam-local", "eventTs": START})).is(200);
        counts(ingest(&daemon, &format!("n{served}"), &[("1", "cup", 0.5)], START, Some(&jpeg(1))));
        assert!(asked.elapsed() < Duration::from_secs(2), "served after {:?}", asked.elapsed());
        served += 1;
        thread::sleep(Duration::from_millis(50));
    }
    assert!(served > 20, "{served}");
    // None of the slow heads lived longer than a head may.
    for head in heads {
        let lived = head.join().unwrap();
        assert!(lived < Duration::from_secs(14), "a slow head lived for {lived:?}");
    }
}

/// Whoever asks for much and takes nothing keeps its connection for 30 s, no longer.
#[test]
fn clients_that_take_no_answer_hold_all_connections_for_30_s_at_most() {
    let daemon = Daemon::with("[server]\nmax_connections = 8\n");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg_of(5_000_000))).is(200);
    let detections = daemon.get("/ingest/detections/s").is(200).json();
    let target = detections["detections"][0]["url_frame"].as_str().unwrap().to_owned();
    // More than the sockets' buffers take.
    let wire: Vec<u8> = (0..20).flat_map(|_| Request::get(&target).bytes()).collect();
    let begin = Instant::now();
    let held: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = daemon.client();
            client.write(&wire).unwrap();
            // It takes the first answer's head, and nothing more.
            assert!(client.interim().unwrap().starts_with("HTTP/1.1 200"));
            client
        })
        .collect();
    let mut newcomer = daemon.client();
    newcomer.patience(Duration::from_secs(50));
    newcomer.send(&Request::get("/health")).is(200);
    let waited = begin.elapsed();
    assert!((Duration::from_secs(25)..Duration::from_secs(45)).contains(&waited), "served after {waited:?}");
    drop(held);
}
