//! Requests whose end two readers could see at different places. Each is refused, or means one thing and ends its connection.

use std::time::Duration;

use serde_json::json;

use crate::refused;
use crate::support::agent::opening;
use crate::support::daemon::Daemon;
use crate::support::http::Request;

/// The request that must never be found within another.
fn smuggled() -> String {
    String::from_utf8(Request::post("/sessions/open").json(&opening("smuggled")).bytes()).unwrap()
}

fn head(lines: &str) -> String {
    format!("POST /sessions/open HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{lines}\r\n\r\n")
}

#[track_caller]
fn assert_nothing_got_in(daemon: &Daemon) {
    assert_eq!(daemon.get("/sessions").is(200).json()["sessions"], json!([]));
}

#[test]
fn a_head_that_says_two_lengths_or_a_wrong_one_is_refused() {
    let daemon = Daemon::start();
    let body = opening("cover").to_string();
    let length = body.len();
    for lines in [
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}, {length}"),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length: +{length}"),
        "Content-Length: -1".to_owned(),
        format!("Content-Length: 0x{length:x}"),
        format!("Content-Length: {length}.0"),
        format!("Content-Length: {length} 0"),
        "Content-Length:".to_owned(),
        "Content-Length: abc".to_owned(),
    ] {
        refused(&daemon, (head(&lines) + &body + &smuggled()).as_bytes(), 400);
    }
    assert_nothing_got_in(&daemon);
}

#[test]
fn a_transfer_encoding_that_is_not_chunked_at_its_end_is_refused() {
    let daemon = Daemon::start();
    for encoding in
        ["gzip", "identity", "chunked, gzip", "chunked, identity", "xchunked", "chunkedx", "\"chunked\"", "chunked;q=1", ""]
    {
        refused(&daemon, (head(&format!("Transfer-Encoding: {encoding}")) + "0\r\n\r\n" + &smuggled()).as_bytes(), 400);
        let both = format!("Content-Length: 5\r\nTransfer-Encoding: {encoding}");
        refused(&daemon, (head(&both) + "0\r\n\r\n" + &smuggled()).as_bytes(), 400);
    }
    // HTTP/1.0 knows no chunks.
    let old = format!("POST /sessions/open HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}", smuggled());
    refused(&daemon, old.as_bytes(), 400);
    assert_nothing_got_in(&daemon);
}

#[test]
fn a_head_with_a_fold_a_bare_cr_or_space_around_a_name_is_refused() {
    let daemon = Daemon::start();
    let body = opening("cover").to_string();
    for lines in [
        "Content-Length: 0\r\n Transfer-Encoding: chunked",
        "X: a\r\n b",
        "X: a\r\n\tContent-Length: 5",
        "Transfer-Encoding:\r\n chunked",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        " Content-Length: 5",
        "X: a\rContent-Length: 5",
        "X: a\r\rY: b",
        "Content\0-Length: 5",
        "Content-Length\u{a0}: 5",
        "(Content-Length): 5",
        ": 5",
    ] {
        refused(&daemon, (head(lines) + &body + &smuggled()).as_bytes(), 400);
    }
    assert_nothing_got_in(&daemon);
}

/// RFC 9112, 6.3: the chunks count, the length is taken out, and the connection is closed behind the answer.
#[test]
fn with_a_length_and_chunks_the_chunks_count_and_the_connection_ends() {
    let daemon = Daemon::start();
    for (n, order) in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"].iter().enumerate()
    {
        let body = opening(&format!("chunked-{n}")).to_string();
        let mut client = daemon.client();
        client.patience(Duration::from_secs(8));
        let wire = format!("{}{:x}\r\n{body}\r\n0\r\n\r\n{}", head(order), body.len(), smuggled());
        client.write(wire.as_bytes()).unwrap();
        let answer = client.read(false).unwrap().is(201);
        assert_eq!(answer.json()["session_id"], format!("chunked-{n}"));
        assert_eq!(answer.items("connection"), ["close"]);
        assert!(client.drain().is_empty(), "what came behind is not answered");
    }
    daemon.get("/sessions/smuggled").is(404);
}

#[test]
fn the_same_length_twice_is_that_length() {
    let daemon = Daemon::start();
    let body = opening("twice").to_string();
    let lines = format!("Content-Length: {0}\r\nContent-Length: {0}", body.len());
    let mut client = daemon.client();
    client.write((head(&lines) + &body).as_bytes()).unwrap();
    client.read(false).unwrap().is(201);
    client.send(&Request::get("/sessions/twice")).is(200);
}

#[test]
fn chunks_whose_size_or_end_is_wrong_end_the_connection() {
    let daemon = Daemon::start();
    let body = opening("broken").to_string();
    let length = body.len();
    for chunks in [
        format!("zz\r\n{body}\r\n0\r\n\r\n"),
        format!("-{length:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("+{length:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n"),
        format!("{length:x}\n{body}\r\n0\r\n\r\n"),
        format!("{length:x}\r\r\n{body}\r\n0\r\n\r\n"),
        format!("\r\n{body}\r\n0\r\n\r\n"),
        format!("{length:x}\r\n{body}XX0\r\n\r\n"),
        format!("{:x}\r\n{body}\r\n0\r\n\r\n", length - 1),
        format!("{length:x}\r\n{body}\n0\r\n\r\n"),
        format!("ffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        format!("10000000000000000\r\n{body}\r\n0\r\n\r\n"),
        format!("{length:x};ext=\"a\nb\"\r\n{body}\r\n0\r\n\r\n"),
        format!("{length:x}\r\n{body}\r\n0\r\nX y\r\n\r\n"),
        format!("{length:x};{}\r\n{body}\r\n0\r\n\r\n", "x".repeat(100_000)),
        format!("{length:x}\r\n{body}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(5000)),
    ] {
        let shown = &chunks[..chunks.len().min(100)];
        let mut client = daemon.client();
        client.patience(Duration::from_secs(8));
        drop(client.write((head("Transfer-Encoding: chunked") + &chunks + &smuggled()).as_bytes()));
        let said = String::from_utf8_lossy(&client.drain()).into_owned();
        assert!(said.matches("HTTP/1.1 ").count() <= 1, "{shown:?} is answered twice: {said}");
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{shown:?}: {said}");
    }
    assert_nothing_got_in(&daemon);
}

#[test]
fn two_hosts_are_refused() {
    let daemon = Daemon::start();
    let wire = "GET /health HTTP/1.1\r\nHost: gateway\r\nHost: elsewhere\r\n\r\n";
    refused(&daemon, wire.as_bytes(), 400);
}

/// RFC 9112, 2.2 lets a line end in a bare LF. That means one thing only if the body's length does not depend on it.
#[test]
fn lines_that_end_in_a_bare_lf_mean_one_thing() {
    let daemon = Daemon::start();
    let body = opening("lf").to_string();
    let wire = format!(
        "POST /sessions/open HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: {}\n\n{body}GET /health HTTP/1.1\r\n\r\n",
        body.len()
    );
    let mut client = daemon.client();
    client.write(wire.as_bytes()).unwrap();
    assert_eq!(client.read(false).unwrap().is(201).json()["session_id"], "lf");
    client.read(false).unwrap().is(200);
}
