//! Reads everything back, by HTTP and from disk, and holds it against the ledger. A finding is a panic with a sentence.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::follower::Follower;
use crate::ledger::{Ledger, Seen, Session, confidence, wire};
use crate::picture;
use crate::support::agent::frame_target;
use crate::support::daemon::Daemon;
use crate::support::http::{Client, Request};
use crate::support::{text, until};

/// One look at a daemon that nobody writes to.
pub struct Checker<'a> {
    ledger: &'a Ledger,
    daemon: &'a Daemon,
    client: Client,
    /// Files that rows name, `<session>/<file>`.
    shown: HashSet<String>,
    /// Entities seen in lists, with their records.
    seen: Vec<((String, Option<String>), Value)>,
}

impl<'a> Checker<'a> {
    pub fn new(ledger: &'a Ledger, daemon: &'a Daemon) -> Self {
        Self { ledger, daemon, client: daemon.client(), shown: HashSet::new(), seen: Vec::new() }
    }

    /// Every session and detection of these, their pictures, and what lies in their folders. `most_unnamed` is how many files
    /// there may be that no row names.
    pub fn sessions_are_there<'s>(&mut self, ids: impl IntoIterator<Item = &'s String>, most_unnamed: usize) {
        let ids: Vec<&String> = ids.into_iter().collect();
        for id in &ids {
            self.session_is_there(id);
        }
        self.folders_are_clean(&ids, most_unnamed);
    }

    fn session_is_there(&mut self, id: &String) {
        let told = &self.ledger.sessions[id];
        let response = self.client.send(&Request::get(format!("/sessions/{id}")));
        if response.status == 404 && !told.is_told {
            assert!(told.tracks.values().flatten().all(|seen| !seen.is_told), "frames of {id} were taken, and it is gone");
            return;
        }
        assert_eq!(response.status, 200, "session {id} was acknowledged: {}", response.text());
        let record = response.json();
        self.is_as_told(told, &record);
        let answer = self.client.send(&Request::get(format!("/ingest/detections/{id}"))).is(200).json();
        let mut tracks = HashSet::new();
        for detection in answer["detections"].as_array().unwrap() {
            let track = text(detection, "track_id");
            assert!(tracks.insert(track.to_owned()), "{detection} is there twice");
            let all = told.tracks.get(track).unwrap_or_else(|| panic!("nobody sent {detection}"));
            self.detection_is_as_told(id, all, detection, &record);
            self.seen.push(((id.clone(), Some(track.to_owned())), detection.clone()));
        }
        for (track, all) in &told.tracks {
            let is_told = all.iter().any(|seen| seen.is_told);
            assert!(!is_told || tracks.contains(track), "track {track} of {id} was acknowledged, and is lost");
        }
        self.seen.push(((id.clone(), None), record));
    }

    fn is_as_told(&self, told: &Session, record: &Value) {
        assert_eq!(record["start_ts"], wire(&told.start), "{record}");
        assert_eq!(record["path"], *told.path, "{record}");
        let end = record["end_ts"].as_str();
        let last = told.ends.iter().rposition(|(_, is_told)| *is_told);
        // What was asked for after the last answer may have been done or not.
        let may_be = told.ends[last.unwrap_or(0)..].iter().map(|(end, _)| wire(end));
        let is_open = text(record, "status") == "open";
        assert_eq!(is_open, end.is_none(), "{record}");
        match end {
            None => assert_eq!(last, None, "a close was acknowledged, and this is open: {record}"),
            Some(end) => assert!(may_be.into_iter().any(|asked| asked == end), "nobody asked for this end last: {record}"),
        }
        let events = self.ledger.events.get(&told.path);
        let is_event = |time: &str| events.is_some_and(|events| events.contains(time));
        match record["media_connect_ts"].as_str() {
            None => assert!(!told.is_published, "a hook was acknowledged, and is lost: {record}"),
            Some(event) => assert!(is_event(event), "no hook told of this: {record}"),
        }
        let latest = told.segment_ends.iter().map(|end| wire(end)).max();
        let media_end = record["media_end_ts"].as_str().map(ToOwned::to_owned);
        assert!(media_end >= latest, "a segment up to {latest:?} was acknowledged: {record}");
        assert!(media_end.is_none_or(|end| is_event(&end)), "no hook told of this: {record}");
    }

    fn detection_is_as_told(&mut self, id: &str, all: &[Seen], detection: &Value, session: &Value) {
        let told = all.iter().filter(|seen| seen.is_told);
        let best = told.clone().map(|seen| seen.sighting.conf).max();
        let pictured = told.clone().filter(|seen| seen.picture.is_some()).map(|seen| seen.sighting.conf).max();
        let shown = all.iter().find(|seen| detection["conf"] == confidence(seen.sighting.conf));
        let shown = shown.unwrap_or_else(|| panic!("nobody sent the confidence of {detection}"));
        assert!(Some(shown.sighting.conf) >= best, "{best:?} was acknowledged, and this is there: {detection}");
        assert_eq!(detection["bbox"], shown.sighting.bbox, "{detection}");
        assert_eq!(detection["cls"], shown.sighting.class(), "{detection}");
        assert_eq!(detection["capture_ts"], wire(&shown.capture), "{detection}");
        let classes = session["detected_classes"].as_array().unwrap();
        for seen in told.clone() {
            assert!(
                classes.iter().any(|class| class == seen.sighting.class()),
                "a class of {detection} was acknowledged: {session}"
            );
        }
        let (first, last) = (text(detection, "first_ts").to_owned(), text(detection, "last_ts").to_owned());
        let timed = all.iter().filter(|seen| seen.is_timed).map(|seen| wire(&seen.capture));
        assert!(timed.clone().min().is_none_or(|time| first <= time), "an earlier sighting was acknowledged: {detection}");
        assert!(timed.max().is_none_or(|time| last >= time), "a later sighting was acknowledged: {detection}");
        for time in [&first, &last] {
            assert!(all.iter().any(|seen| wire(&seen.capture) == **time), "nobody saw it at {time}: {detection}");
        }
        let capture = text(detection, "capture_ts");
        assert!(*first <= *capture && *capture <= *last, "{detection}");
        let Some(url) = detection["url_frame"].as_str() else {
            return assert_eq!(pictured, None, "{detection} has lost its picture");
        };
        let name = url.strip_prefix("/frames/").unwrap();
        if self.shown.insert(name.to_owned()) {
            let response = self.client.send(&Request::get(frame_target(url)));
            assert_eq!(response.status, 200, "a row names a file that is not there: {detection}");
            let file = fs::read(self.daemon.frames_dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(file == response.body, "{name} is another file by HTTP than on disk");
            picture::number(name, &file);
        }
        let file = fs::read(self.daemon.frames_dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let number = picture::number(name, &file);
        let frame = &self.ledger.pictures.get(&number).unwrap_or_else(|| panic!("nobody sent picture {number}")).frame;
        assert_eq!(frame.session, id, "picture {number} is another session's: {detection}");
        let sighting = frame.sightings.iter().find(|seen| detection["track_id"] == *seen.track);
        let conf = sighting.unwrap_or_else(|| panic!("picture {number} does not show this: {detection}")).conf;
        assert!(Some(conf) >= pictured, "a better picture than {conf} was acknowledged: {detection}");
    }

    /// Waits for the queue of beaten frames. Whatever then lies in the folders is whole, and is named by a row or came with a
    /// request that had no answer.
    fn folders_are_clean(&self, ids: &[&String], most_unnamed: usize) {
        let mut found = Vec::new();
        let clean = || {
            found = ids.iter().flat_map(|id| files_of(&self.daemon.frames_dir(), id)).collect();
            let is_explained = |(name, number): &(String, u32)| {
                let picture = &self.ledger.pictures.get(number).unwrap_or_else(|| panic!("nobody sent {name}"));
                assert!(name.starts_with(&format!("{}/", picture.frame.session)), "{name} is another session's");
                picture.is_open || self.shown.contains(name)
            };
            let lanes = fs::read_dir(format!("{}/\\tmp", self.daemon.frames_dir().display())).into_iter().flatten().flatten();
            let temporary: usize = lanes.map(|lane| fs::read_dir(lane.path()).map_or(1, Iterator::count)).sum();
            let unnamed = found.iter().filter(|(name, _)| !self.shown.contains(name)).count();
            (temporary == 0 && unnamed <= most_unnamed && found.iter().all(is_explained)).then_some(())
        };
        until("only files that rows name, or that nobody had an answer for", Duration::from_secs(10), clean);
        for name in &self.shown {
            assert!(found.iter().any(|(file, _)| file == name), "{name} is named, and was deleted");
        }
    }

    /// Lists hold every session once, newest first; so many pages as it takes to find `ids`.
    pub fn sessions_are_listed(&mut self, ids: &HashSet<String>) {
        let mut missing: HashSet<&String> = ids.iter().filter(|id| self.ledger.sessions[*id].is_told).collect();
        let (mut listed, mut cursor, mut last) = (HashSet::new(), String::new(), None);
        while !missing.is_empty() {
            let page = self.client.send(&Request::get(format!("/sessions?limit=200{cursor}"))).is(200).json();
            for session in page["sessions"].as_array().unwrap() {
                let id = text(session, "session_id").to_owned();
                let start = text(session, "start_ts").to_owned();
                assert!(last.is_none_or(|last| last >= start), "{session} is out of order");
                last = Some(start);
                missing.remove(&id);
                assert!(self.ledger.sessions.contains_key(&id), "nobody opened {session}");
                assert!(listed.insert(id), "{session} is listed twice");
            }
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert!(missing.is_empty(), "not listed: {missing:?}");
    }

    /// Every folder of frames belongs to a session.
    pub fn folders_are_known(&self) {
        for entry in fs::read_dir(self.daemon.frames_dir()).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name.starts_with('\\') || self.ledger.sessions.contains_key(&name), "nobody opened {name}");
        }
    }

    /// What lists show is what the feed tells.
    pub fn feed_tells_of_all(&self, follower: &Follower) {
        for (entity, record) in &self.seen {
            let (_, known) = follower.known.get(entity).unwrap_or_else(|| panic!("the feed does not tell of {record}"));
            let (mut known, mut record) = (known.clone(), record.clone());
            for key in ["first_ts", "last_ts", "updated_at"] {
                known[key] = Value::Null;
                record[key] = Value::Null;
            }
            assert_eq!(known, record, "the feed tells otherwise");
        }
    }

    /// A new session can be opened, and a frame taken and shown.
    pub fn goes_on(&mut self) {
        let body = serde_json::json!({"sessionId": "afterwards", "devId": "dev", "startTs": "2026-01-01T00:00:00Z"});
        assert_eq!(self.client.send(&Request::post("/sessions/open").json(&body)).status, 201, "a session can be opened");
        let sightings =
            [serde_json::json!({"trackId": "1", "cls": "cup", "conf": 0.5, "bbox": {"x": 1, "y": 1, "w": 1, "h": 1}})];
        let meta = crate::support::agent::meta("afterwards", "2026-01-01T00:00:01Z", &sightings).to_string();
        let form = crate::support::http::Multipart::new().field("meta", meta).frame(picture::of(0));
        let answer = self.client.send(&form.request()).is(200).json();
        assert_eq!(answer["frameSaved"], true, "a frame can be stored: {answer}");
    }
}

/// Every file in a session's folder, `<session>/<file>`, with the number of its picture.
fn files_of(frames: &Path, id: &str) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(frames.join(id)).into_iter().flatten().flatten() {
        // The session's record beside its frames.
        if entry.file_name().as_encoded_bytes().starts_with(b"\\") {
            continue;
        }
        // One that is deleted meanwhile was beaten.
        let Ok(bytes) = fs::read(entry.path()) else { continue };
        let name = format!("{id}/{}", entry.file_name().to_str().unwrap());
        let number = picture::number(&name, &bytes);
        found.push((name, number));
    }
    found
}
