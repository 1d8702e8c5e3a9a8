//! Clients that do not wait for their answer.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::START;
use crate::support::daemon::Daemon;
use crate::support::http::Request;
use crate::support::until;

/// An agent whose process ended behind its open: of 300 such opens an idle daemon lost 68, a busy one all, because the
/// connection's end cancelled the handler. Opens are never sent twice, so each was a session whose frames met 404.
#[test]
fn an_open_whose_client_is_gone_is_made_all_the_same() {
    let daemon = Daemon::start();
    for n in 0..50 {
        let body = json!({"sessionId": format!("gone-{n}"), "devId": "cam", "startTs": START});
        let mut client = daemon.client();
        client.write(&Request::post("/sessions/open").json(&body).bytes()).expect("sent");
    }
    until("every open is made", Duration::from_secs(5), || {
        (0..50).all(|n| daemon.get(format!("/sessions/gone-{n}")).status == 200).then_some(())
    });
}

/// `If-None-Match: *` on a close gave 304 without a record, and `Range` a piece of one, though the close was made.
#[test]
fn conditions_and_ranges_mean_nothing_to_a_post() {
    let daemon = Daemon::start();
    let body = json!({"sessionId": "s", "devId": "cam", "startTs": START});
    daemon.post("/sessions/open", &body).is(201);
    let close = json!({"sessionId": "s", "endTs": "2025-10-11T12:10:00Z"});
    let answer =
        daemon.send(&Request::post("/sessions/close").header("If-None-Match", "*").header("Range", "bytes=0-3").json(&close));
    assert_eq!(answer.is(200).json()["status"], "closed");
}
