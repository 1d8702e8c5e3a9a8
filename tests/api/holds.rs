//! Holds: `POST` and `DELETE /sessions/:id/hold`, `GET /holds`.

use serde_json::{Value, json};

use crate::support::agent::{END, close, open, session};
use crate::support::daemon::Daemon;
use crate::support::http::Request;

fn held(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/holds").is(200).json()["holds"].as_array().expect("a list").clone()
}

#[test]
fn a_session_is_held_with_a_reason_and_listed_until_it_is_released() {
    let mut daemon = Daemon::start();
    for id in ["s", "t"] {
        open(&daemon, id);
    }
    close(&daemon, "s", END);
    let before = session(&daemon, "s");
    assert!(before.get("hold").is_none(), "clients of old see the record they know: {before}");
    let answer = daemon.post("/sessions/s/hold", &json!({"reason": " police, case 7 "})).is(200).json();
    assert_eq!((&answer["session_id"], &answer["hold"]["reason"]), (&json!("s"), &json!("police, case 7")));
    assert_eq!(answer["hold"]["until"], Value::Null);
    daemon.post("/sessions/t/hold", &json!({"reason": "audit", "until": "2099-01-01T00:00:00Z"})).is(200);

    daemon.restart();
    let all = held(&daemon);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().any(|hold| hold["session_id"] == "t" && hold["hold"]["until"] == "2099-01-01T00:00:00.000Z"));
    assert_eq!(session(&daemon, "s")["hold"]["reason"], "police, case 7");

    // The last word counts, and the same word twice is one.
    daemon.post("/sessions/s/hold", &json!({"reason": "case 8"})).is(200);
    let once = session(&daemon, "s");
    daemon.post("/sessions/s/hold", &json!({"reason": "case 8"})).is(200);
    assert_eq!(session(&daemon, "s"), once);

    let released = daemon.send(&Request::new("DELETE", "/sessions/s/hold")).is(200).json();
    assert_eq!(released["hold"], Value::Null);
    assert_eq!(held(&daemon).len(), 1);
    daemon.send(&Request::new("DELETE", "/sessions/s/hold")).is(404);
    assert!(session(&daemon, "s").get("hold").is_none());
}

#[test]
fn a_hold_that_makes_no_sense_is_refused_and_changes_nothing() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    for (body, names) in [
        (json!({}), "reason"),
        (json!({"reason": "  "}), "reason"),
        (json!({"reason": 7}), "reason"),
        (json!({"reason": "x".repeat(2000)}), "reason"),
        (json!({"reason": "x", "until": "tomorrow"}), "until"),
        (json!({"reason": "x", "until": "2001-01-01T00:00:00Z"}), "until"),
    ] {
        let error = daemon.post("/sessions/s/hold", &body).is(400).json();
        assert!(error["error"].as_str().unwrap().contains(names), "{error}");
    }
    assert_eq!(daemon.post("/sessions/none/hold", &json!({"reason": "x"})).is(404).json()["error"], "Session not found");
    daemon.send(&Request::new("DELETE", "/sessions/none/hold")).is(404);
    assert!(held(&daemon).is_empty());
    let refused = daemon.get("/sessions/s/hold").is(405);
    assert_eq!(refused.must("allow"), "POST, DELETE, OPTIONS");
}

/// A hold that an export or a backup lost would end with the box that it was set on.
#[test]
fn a_hold_goes_along_with_export_and_import() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    close(&daemon, "s", END);
    daemon.post("/sessions/s/hold", &json!({"reason": "case 7", "until": "2099-01-01T00:00:00Z"})).is(200);
    let lines = daemon.get("/export").is(200).body;

    let other = Daemon::start().stop();
    assert_eq!(other.run(&["import", "-"], &lines).code, Some(0));
    let other = Daemon::on(other);
    assert_eq!(session(&other, "s")["hold"], session(&daemon, "s")["hold"]);
    assert_eq!(held(&other).len(), 1);
    let home = other.stop();
    let verified = home.run(&["verify"], b"");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let repaired = home.run(&["repair"], b"");
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    assert_eq!(held(&Daemon::on(home)).len(), 1, "a repair makes the list anew");
}
