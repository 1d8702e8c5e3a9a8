//! Clients and files that mean harm, against the real binary; one module a kind of attack.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod alike_ids;
mod compressed;
mod heads;
mod links;
mod pipelining;
mod slow;
mod smuggling;
mod traversal;

use std::time::Duration;

use support::daemon::Daemon;
use support::http::Response;

/// Sends `bytes` on a connection of its own and reads one answer: a refusal in the form that every error has, behind
/// which the connection is closed without another word.
#[track_caller]
fn refused(daemon: &Daemon, bytes: &[u8], status: u16) -> Response {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let mut client = daemon.client();
    client.patience(Duration::from_secs(8));
    // It may be refused, and stop reading, before all is sent.
    drop(client.write(bytes));
    let answer = client.read(false).unwrap_or_else(|error| panic!("no answer ({error}) to {shown:?}"));
    assert_eq!(answer.status, status, "{shown:?}: {}", answer.text());
    assert_is_an_error(&answer);
    assert_eq!(answer.items("connection"), ["close"], "{shown:?}");
    let rest = client.drain();
    assert!(rest.is_empty(), "{shown:?} is answered once more: {}", String::from_utf8_lossy(&rest));
    answer
}

/// One sentence of JSON, and the headers that every answer has.
#[track_caller]
fn assert_is_an_error(answer: &Response) {
    assert!(!answer.error().is_empty() && !answer.error().contains('\n'), "{}", answer.text());
    assert_eq!(answer.must("x-content-type-options"), "nosniff");
    assert_eq!(answer.must("cache-control"), "no-store");
    assert!(answer.must("content-type").starts_with("application/json"));
    assert_eq!(answer.must("content-length"), answer.body.len().to_string());
    for header in ["x-request-id", "date"] {
        answer.must(header);
    }
}
