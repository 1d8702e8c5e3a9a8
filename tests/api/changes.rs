//! `GET /changes`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::agent::{END, START, close, detection, ingest, open, session};
use crate::support::daemon::{Daemon, Home, command, faketime, ndjson, run};
use crate::support::http::Request;
use crate::support::records::{at, session_line};
use crate::support::{keys, until};

fn changes(daemon: &Daemon, query: &str) -> Value {
    daemon.get(format!("/changes{query}")).is(200).json()
}

fn seqs(answer: &Value) -> Vec<u64> {
    answer["changes"].as_array().expect("a list").iter().map(|one| one["seq"].as_u64().expect("a number")).collect()
}

#[test]
fn an_empty_feed_has_an_epoch_no_changes_and_a_next() {
    let daemon = Daemon::start();
    let feed = changes(&daemon, "");
    assert_eq!(keys(&feed), ["epoch", "changes", "next"]);
    assert_eq!(feed["changes"], json!([]));
    assert!(!feed["epoch"].is_null());
    assert!(feed["next"].is_u64());
}

#[test]
fn every_change_of_a_session_or_a_detection_is_in_the_feed_with_its_record() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    open(&daemon, "t");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, None).is(200);
    close(&daemon, "t", END);
    let feed = changes(&daemon, "");
    let seqs = seqs(&feed);
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    let list = feed["changes"].as_array().unwrap();
    for (kind, record) in
        [("session", session(&daemon, "s")), ("session", session(&daemon, "t")), ("detection", detection(&daemon, "s", "1"))]
    {
        let found = list.iter().filter(|one| one["type"] == kind && one[kind] == record).count();
        assert_eq!(found, 1, "{record} in {feed}");
    }
    assert_eq!(list.len(), 3, "an entity appears once, at its newest number: {feed}");
    assert_eq!(list.last().unwrap()["session"]["session_id"], "t", "the close is the newest");
    assert!(list.iter().all(|one| keys(one)[..2] == ["seq", "type"]));
}

#[test]
fn since_gives_only_what_came_later_and_next_goes_on_from_there() {
    let daemon = Daemon::start();
    open(&daemon, "a");
    let first = changes(&daemon, "?since=0");
    let next = first["next"].as_u64().unwrap();
    assert_eq!(changes(&daemon, &format!("?since={next}"))["changes"], json!([]));
    open(&daemon, "b");
    let second = changes(&daemon, &format!("?since={next}"));
    assert_eq!(second["changes"].as_array().unwrap().len(), 1);
    assert_eq!(second["changes"][0]["session"]["session_id"], "b");
    assert_eq!(second["epoch"], first["epoch"]);
    assert!(second["next"].as_u64().unwrap() > next);
}

#[test]
fn limit_pages_through_the_feed_without_a_gap() {
    let daemon = Daemon::start();
    for n in 0..7 {
        open(&daemon, &format!("s{n}"));
    }
    let whole = changes(&daemon, "");
    let (mut all, mut since) = (Vec::new(), 0);
    loop {
        let page = changes(&daemon, &format!("?since={since}&limit=3"));
        let list = page["changes"].as_array().unwrap().clone();
        assert!(list.len() <= 3);
        since = page["next"].as_u64().unwrap();
        if list.is_empty() {
            break;
        }
        all.extend(list);
    }
    assert_eq!(Value::Array(all), whole["changes"]);
    assert_eq!(since, whole["next"].as_u64().unwrap());
}

#[test]
fn limit_is_100_unless_given_and_at_most_1000() {
    let home = Home::new("");
    let end = "2025-10-12T12:00:00Z";
    let lines: Vec<Value> =
        (0..1005).map(|n| session_line(&format!("s{n:04}"), &at(n / 60, n % 60), end, &[], &json!({}))).collect();
    home.import(&lines);
    let daemon = Daemon::on(home);
    for (query, count) in [("", 100), ("?limit=1000", 1000), ("?limit=5000", 1000), ("?limit=1", 1)] {
        assert_eq!(seqs(&changes(&daemon, query)).len(), count, "{query}");
    }
}

#[test]
fn a_bad_since_is_400_and_names_it() {
    let daemon = Daemon::start();
    for bad in ["abc", "-1", "1.5", "99999999999999999999999", ""] {
        let error = daemon.get(format!("/changes?since={bad}")).is(400).error();
        assert!(error.contains("since"), "{bad:?}: {error}");
    }
}

#[test]
fn another_epoch_or_a_since_beyond_next_is_409_feed_restarted() {
    let daemon = Daemon::start();
    open(&daemon, "s");
    let feed = changes(&daemon, "");
    let (next, epoch) = (feed["next"].as_u64().unwrap(), feed["epoch"].to_string().replace('"', ""));
    for target in [
        format!("/changes?since={}", next + 1),
        "/changes?since=9223372036854775807".to_owned(),
        format!("/changes?since=0&epoch={epoch}1"),
        "/changes?since=0&epoch=x".to_owned(),
    ] {
        let answer = daemon.get(&target).is(409);
        assert_eq!(answer.json(), json!({"error": "Feed restarted"}), "{target}");
    }
    assert_eq!(changes(&daemon, &format!("?since=0&epoch={epoch}")), feed);
}

#[test]
fn the_epoch_and_the_numbers_survive_a_restart() {
    let mut daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, None).is(200);
    let before = changes(&daemon, "");
    daemon.restart();
    assert_eq!(changes(&daemon, ""), before);
}

#[test]
fn two_stores_have_different_epochs() {
    let [one, two] = [(), ()].map(|()| changes(&Daemon::start(), "")["epoch"].clone());
    assert_ne!(one, two);
}

#[test]
fn wait_sec_holds_the_answer_until_a_change_comes() {
    let daemon = Daemon::start();
    let next = changes(&daemon, "")["next"].as_u64().unwrap();
    let target = format!("/changes?since={next}&wait_sec=20");
    let mut waiting = daemon.client();
    waiting.write(&Request::get(&target).bytes()).unwrap();
    waiting.patience(Duration::from_millis(300));
    assert!(waiting.read(false).is_err(), "no answer before a change");
    let begin = Instant::now();
    open(&daemon, "s");
    waiting.patience(Duration::from_secs(10));
    let answer = waiting.read(false).expect("an answer").is(200).json();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(answer["changes"][0]["session"]["session_id"], "s");
}

#[test]
fn wait_sec_ends_with_an_empty_list_and_does_not_wait_when_there_is_something() {
    let daemon = Daemon::start();
    let next = changes(&daemon, "")["next"].as_u64().unwrap();
    let begin = Instant::now();
    let empty = changes(&daemon, &format!("?since={next}&wait_sec=1"));
    assert_eq!((&empty["changes"], &empty["next"]), (&json!([]), &json!(next)));
    assert!((900..5000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    open(&daemon, "s");
    let begin = Instant::now();
    assert_eq!(seqs(&changes(&daemon, &format!("?since={next}&wait_sec=20"))).len(), 1);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_touch_comes_into_the_feed_by_itself() {
    let daemon = Daemon::with("[database]\ntouch_interval_ms = 100\n");
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], &at(0, 1), None).is(200);
    let next = changes(&daemon, "")["next"].as_u64().unwrap();
    ingest(&daemon, "s", &[("1", "cup", 0.4)], &at(0, 9), None).is(200);
    let feed = changes(&daemon, &format!("?since={next}&wait_sec=10"));
    assert_eq!(feed["changes"][0]["detection"]["last_ts"], "2025-10-11T12:00:09.000Z", "{feed}");
}

/// Paged from 0, the feed answered 409 as soon as a deletion beyond the page had been forgotten, and did so again each time the reader began
/// again. What tells such a reader from one that missed the deletion is in the epoch that it was given.
#[test]
fn a_reader_that_gives_back_its_epoch_comes_through_a_feed_whose_deletions_were_forgotten() {
    let Some(library) = faketime() else { return };
    let home = Home::new("[feed]\ntombstone_days = 1\n");
    let mut lines: Vec<Value> =
        (0..5).map(|n| session_line(&format!("s{n}"), &at(0, n), "2025-10-12T12:00:00Z", &[], &json!({}))).collect();
    lines.push(json!({"session_deleted": {"session_id": "s0"}}));
    let mut import = command(home.dir());
    import.args(["import", "--config"]).arg(home.config()).arg("-").env("LD_PRELOAD", &library).env("FAKETIME", "-3d");
    let ran = run(&mut import, ndjson(&lines).as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let daemon = Daemon::on(home);
    until("the deletion is forgotten", Duration::from_secs(10), || {
        let all = changes(&daemon, "?limit=1000");
        (!all.to_string().contains("session_deleted")).then_some(())
    });
    let (mut page, mut seen) = (changes(&daemon, "?since=0&limit=1"), Vec::new());
    let epoch = page["epoch"].as_str().unwrap().to_owned();
    while !seqs(&page).is_empty() {
        seen.extend(page["changes"].as_array().unwrap().iter().map(|one| one["session"]["session_id"].clone()));
        assert_eq!(page["epoch"], epoch, "a reader's epoch stays");
        page = changes(&daemon, &format!("?since={}&epoch={epoch}&limit=1", page["next"]));
    }
    assert_eq!(seen, ["s1", "s2", "s3", "s4"]);
    // Without it, it may be one from before.
    assert_eq!(daemon.get("/changes?since=1").is(409).json(), json!({"error": "Feed restarted"}));
    for strange in ["x", "99999", "", "-1"] {
        daemon.get(format!("/changes?since=2&epoch={}.{strange}", epoch.split_once('.').unwrap().0)).is(409);
    }
}
