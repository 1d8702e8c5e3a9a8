//! A hundred thousand sessions whose ids look alike: they differ only in case or in Unicode form.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::agent::{START, detection, encode, ingest, jpeg, opening, picture, pictures};
use crate::support::daemon::{Daemon, Home};
use crate::support::http::Request;
use crate::support::records::{at, session_line};

const COUNT: usize = 100_000;

/// Each place of an id, and the spellings that a careless comparison takes for one: upper and lower case, composed and decomposed,
/// compatible, full-width, with and without what cannot be seen.
const PLACES: [&[&str]; 11] = [
    &["\u{e9}", "e\u{301}", "\u{c9}", "E\u{301}"],
    &["\u{c5}", "A\u{30a}", "\u{212b}", "\u{e5}", "a\u{30a}"],
    &["k", "K", "\u{212a}"],
    &["fi", "\u{fb01}", "FI"],
    &["i", "I", "\u{130}", "\u{131}", "i\u{307}"],
    &["ss", "\u{df}", "\u{1e9e}", "SS"],
    &["\u{ac00}", "\u{1100}\u{1161}"],
    &["\u{1ec7}", "e\u{323}\u{302}", "\u{1eb9}\u{302}", "\u{ea}\u{323}"],
    &["a", "\u{ff41}", "\u{430}"],
    &["", "\u{200b}", "\u{200d}", "\u{feff}", " "],
    &["x", "X", "\u{445}"],
];

/// The `n`th id.
fn id(mut n: usize) -> String {
    let mut id = String::new();
    for place in PLACES {
        id += place[n % place.len()];
        n /= place.len();
    }
    id
}

/// Ids spread over all of them.
fn some(count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |n| n * (COUNT / count))
}

#[test]
fn a_hundred_thousand_ids_that_look_alike_are_as_many_sessions() {
    let ids: HashSet<String> = (0..COUNT).map(id).collect();
    assert_eq!(ids.len(), COUNT, "the ids differ");
    let home = Home::new("");
    let device = |n: usize| json!({ "device_id": format!("device-{n}") });
    let lines: Vec<Value> = (0..COUNT).map(|n| session_line(&id(n), &at(n % 600, 0), &at(600, 0), &[], &device(n))).collect();
    // In batches, each well within the time that a command is given.
    for batch in lines.chunks(COUNT / 4) {
        let ran = home.import(batch);
        assert!(ran.stderr.contains(&format!("{} sessions", batch.len())), "{}", ran.stderr);
    }
    let daemon = Daemon::on(home);
    let mut client = daemon.client();

    // Found by exactly its id.
    for n in some(5000) {
        let answer = client.send(&Request::get(format!("/sessions/{}", encode(&id(n))))).is(200).json();
        assert_eq!(answer["session_id"], id(n).as_str());
        assert_eq!(answer["device_id"], format!("device-{n}"), "another session was found by {:?}", id(n));
    }
    // A neighbour that is not there is not found.
    for n in some(200) {
        for other in
            [format!("{}\u{301}", id(n)), id(n) + " ", format!("\u{200b}{}", id(n)), id(n).replace('x', "\u{2179}") + "."]
        {
            client.send(&Request::get(format!("/sessions/{}", encode(&other)))).is(404);
        }
    }
    // Every one is in the list, once.
    let mut listed = HashSet::new();
    let mut cursor = String::new();
    loop {
        let page = client.send(&Request::get(format!("/sessions?limit=1000{cursor}"))).is(200).json();
        for session in page["sessions"].as_array().unwrap() {
            assert!(listed.insert(session["session_id"].as_str().unwrap().to_owned()), "{session} twice");
        }
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, ids);
    // Closing one closes no other.
    let close = json!({"sessionId": id(7), "endTs": "2025-10-12T00:00:00Z"});
    client.send(&Request::post("/sessions/close").json(&close)).is(200);
    for (n, end) in [(7, "2025-10-12T00:00:00.000Z"), (6, "2025-10-11T22:00:00.000Z"), (8, "2025-10-11T22:00:00.000Z")] {
        let answer = client.send(&Request::get(format!("/sessions/{}", encode(&id(n))))).is(200).json();
        assert_eq!(answer["end_ts"], end);
    }
    // An open of a known id makes none, one of a new id does.
    client.send(&Request::post("/sessions/open").json(&opening(&id(9)))).is(200);
    client.send(&Request::post("/sessions/open").json(&opening(&id(COUNT)))).is(201);
}

#[test]
fn ids_that_look_alike_have_frames_and_detections_of_their_own() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let ids: Vec<String> = some(300).map(id).collect();
    let own = |n: usize| {
        // A comment of its own in each picture.
        let base = jpeg(1);
        let comment = format!("picture {n}");
        let length = u16::try_from(comment.len() + 2).unwrap().to_be_bytes();
        [&base[..2], &[0xff, 0xfe], &length, comment.as_bytes(), &base[2..]].concat()
    };
    for (n, id) in ids.iter().enumerate() {
        client.send(&Request::post("/sessions/open").json(&opening(id))).is(201);
        ingest(&daemon, id, &[(id, "cup", 0.5)], START, Some(&own(n))).is(200);
    }
    for (n, id) in ids.iter().enumerate() {
        assert!(picture(&daemon, &detection(&daemon, id, id)).is(200).body == own(n), "{id:?} shows another's picture");
        assert_eq!(pictures(&daemon, id).len(), 1, "{id:?}");
    }
    let folders = std::fs::read_dir(daemon.frames_dir()).unwrap().count();
    assert_eq!(folders, ids.len() + 2, "one each, beside the store's own two");
}
