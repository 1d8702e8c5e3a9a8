//! SIGKILL under load, then every acknowledged session, detection and frame is there.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use support::agent::{frame_target, jpeg, meta};
use support::daemon::Daemon;
use support::http::{Client, Multipart, Request};
use support::records::at;
use support::{text, until};

const AGENTS: u32 = 4;
const KILLS: usize = 4;
const SEED: u64 = 0x5e55_1015;

#[test]
fn after_sigkill_under_load_every_acknowledged_detection_and_its_frame_are_there() {
    let mut random = Random(SEED);
    let mut daemon = Daemon::start();
    let mut agents: Vec<Agent> = (0..AGENTS).map(|number| Agent::new(number, random.next())).collect();
    for kill in 1..=KILLS {
        // One that all of them write to, so that they meet in one transaction.
        let shared = format!("shared-{kill}");
        assert!(agents[0].open(&mut daemon.client(), &shared), "opened before the load");
        let running: Vec<_> = agents
            .drain(..)
            .map(|mut agent| {
                let (mut client, shared) = (daemon.client(), shared.clone());
                thread::spawn(move || {
                    agent.run(&mut client, &shared);
                    agent
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(150 + random.below(850)));
        daemon.kill9();
        agents.extend(running.into_iter().map(|agent| agent.join().expect("an agent that saw good answers alone")));
        daemon.restart();
        let told = Told::of(&agents);
        told.sessions_are_there(&daemon);
        let shown = told.detections_are_there(&daemon);
        told.the_feed_is_whole(&daemon, &shown);
        told.the_frames_folder_is_clean(&daemon, &shown, kill * AGENTS as usize);
    }
    let frames = agents.iter().flat_map(|agent| &agent.sent).filter(|sent| sent.saved.is_some()).count();
    assert!(frames > 10 * KILLS, "only {frames} frames were acknowledged: that was no load");
}

/// `SplitMix64`: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What the confidence of a sighting is in millionths; no two sightings have the same one.
type Millionths = u32;

/// One frame as it was sent, and what was answered.
struct Sent {
    session: String,
    capture: String,
    /// Tracks with their confidences and boxes.
    sightings: Vec<(String, Millionths, Value)>,
    /// The number in its picture, if it had one.
    picture: Option<u32>,
    /// `frameSaved` of the answer; `None` where there was none.
    saved: Option<bool>,
}

struct Opened {
    id: String,
    /// An end that was asked for, and whether that was acknowledged.
    end: Option<(String, bool)>,
}

/// An edge agent with its memory of all that it was answered.
struct Agent {
    number: u32,
    random: Random,
    /// Sessions whose open was acknowledged.
    opened: Vec<Opened>,
    sent: Vec<Sent>,
    used: HashSet<Millionths>,
    ids: u32,
    moments: usize,
}

impl Agent {
    fn new(number: u32, seed: u64) -> Self {
        let random = Random(seed);
        Self { number, random, opened: Vec::new(), sent: Vec::new(), used: HashSet::new(), ids: 0, moments: 0 }
    }

    /// Works until the connection breaks.
    fn run(&mut self, client: &mut Client, shared: &str) {
        loop {
            let is_answered = match self.random.below(20) {
                0..=1 => {
                    self.ids += 1;
                    let id = format!("agent-{}-{}", self.number, self.ids);
                    self.open(client, &id)
                }
                2 => self.close(client),
                3..=8 => self.ingest(client, shared.to_owned()),
                _ => match self.any_session() {
                    Some(index) => self.ingest(client, self.opened[index].id.clone()),
                    None => true,
                },
            };
            if !is_answered {
                return;
            }
        }
    }

    /// A recent session, or now and then one of an earlier life of the daemon.
    fn any_session(&mut self) -> Option<usize> {
        let all = u64::try_from(self.opened.len()).unwrap();
        let among = if self.random.once_in(5) { all } else { all.min(3) };
        (all > 0).then(|| usize::try_from(all - 1 - self.random.below(among)).unwrap())
    }

    fn open(&mut self, client: &mut Client, id: &str) -> bool {
        let body = json!({"sessionId": id, "devId": format!("dev-{}", self.number), "path": "cam", "startTs": at(0, 0)});
        let Ok(answer) = client.try_send(&Request::post("/sessions/open").json(&body)) else { return false };
        answer.is(201);
        self.opened.push(Opened { id: id.to_owned(), end: None });
        true
    }

    fn close(&mut self, client: &mut Client) -> bool {
        let Some(index) = self.any_session() else { return true };
        let moment = self.moments;
        let session = &mut self.opened[index];
        if session.end.is_some() {
            return true;
        }
        let end = at(60 + moment / 60, moment % 60);
        let body = json!({"sessionId": session.id, "endTs": end});
        session.end = Some((end.clone(), false));
        let Ok(answer) = client.try_send(&Request::post("/sessions/close").json(&body)) else { return false };
        answer.is(200);
        session.end = Some((end, true));
        true
    }

    fn ingest(&mut self, client: &mut Client, session: String) -> bool {
        self.moments = (self.moments + 1) % 3000;
        let capture = at(self.moments / 60, self.moments % 60);
        let mut tracks: Vec<String> = (0..=self.random.below(3)).map(|_| format!("t{}", self.random.below(5))).collect();
        tracks.sort();
        tracks.dedup();
        let is_rising = !self.random.once_in(3);
        let sightings: Vec<_> = tracks.into_iter().map(|track| (track, self.confidence(is_rising), self.bbox())).collect();
        let picture = (!self.random.once_in(8)).then(|| u32::try_from(self.sent.len()).unwrap() * AGENTS + self.number);
        let written: Vec<_> = sightings
            .iter()
            .map(|(track, conf, bbox)| json!({"trackId": track, "cls": "cup", "conf": confidence(*conf), "bbox": bbox}))
            .collect();
        let mut form = Multipart::new().field("meta", meta(&session, &capture, &written).to_string());
        if let Some(number) = picture {
            form = form.frame(picture_of(number));
        }
        let total = sightings.len();
        self.sent.push(Sent { session, capture, sightings, picture, saved: None });
        let Ok(answer) = client.try_send(&form.request()) else { return false };
        let answer = answer.is(200).json();
        assert_eq!(answer["total"], total);
        self.sent.last_mut().unwrap().saved = answer["frameSaved"].as_bool();
        true
    }

    /// One that was never used: of a rising object more than most before, else any.
    fn confidence(&mut self, is_rising: bool) -> Millionths {
        loop {
            let floor = if is_rising { u64::try_from(self.sent.len() * 40).unwrap().min(200_000) } else { 0 };
            let quarter = u32::try_from(floor + self.random.below(250_000 - floor)).unwrap();
            let conf = quarter * AGENTS + self.number;
            if self.used.insert(conf) {
                return conf;
            }
        }
    }

    fn bbox(&mut self) -> Value {
        json!({"x": self.random.below(1000), "y": self.random.below(1000), "w": self.random.below(99), "h": 1})
    }
}

/// As it stands in JSON. Few digits, so that every reader takes it for the same number.
fn confidence(conf: Millionths) -> Value {
    json!(f64::from(conf) / 1e6)
}

/// A picture of its own for each number: the sample with a comment that says it, longer or shorter.
fn picture_of(number: u32) -> Vec<u8> {
    let sample = jpeg(1);
    let padding = usize::try_from(number.wrapping_mul(7919) % 20_000).unwrap();
    let mut picture = sample[..2].to_vec();
    picture.extend([0xff, 0xfe]);
    picture.extend(u16::try_from(2 + 4 + padding).unwrap().to_be_bytes());
    picture.extend(number.to_be_bytes());
    picture.extend(vec![b'.'; padding]);
    picture.extend_from_slice(&sample[2..]);
    picture
}

/// The number of a picture; panics unless it is that picture to the last byte.
#[track_caller]
fn number_of(what: &str, picture: &[u8]) -> u32 {
    assert!(picture.len() > 10, "{what} is cut to {} bytes", picture.len());
    let number = u32::from_be_bytes(picture[6..10].try_into().unwrap());
    assert!(picture == picture_of(number), "{what} ({} bytes) is not picture {number} as it was sent", picture.len());
    number
}

/// One sighting, and the frame that told of it.
type Sighting<'a> = (&'a Sent, Millionths, &'a Value);

/// What all agents know together.
struct Told<'a> {
    opened: Vec<&'a Opened>,
    /// Sightings by session and track.
    sightings: HashMap<(&'a str, &'a str), Vec<Sighting<'a>>>,
    pictures: HashMap<u32, &'a Sent>,
}

/// What the daemon shows: detections by session and track, and the frames that they name.
#[derive(Default)]
struct Shown {
    detections: HashSet<(String, String)>,
    files: HashSet<String>,
}

impl<'a> Told<'a> {
    fn of(agents: &'a [Agent]) -> Self {
        let mut told = Self {
            opened: agents.iter().flat_map(|agent| &agent.opened).collect(),
            sightings: HashMap::new(),
            pictures: HashMap::new(),
        };
        for sent in agents.iter().flat_map(|agent| &agent.sent) {
            for (track, conf, bbox) in &sent.sightings {
                told.sightings.entry((&sent.session, track)).or_default().push((sent, *conf, bbox));
            }
            told.pictures.extend(sent.picture.map(|number| (number, sent)));
        }
        told
    }

    fn sessions_are_there(&self, daemon: &Daemon) {
        let mut client = daemon.client();
        let (mut listed, mut cursor) = (HashSet::new(), String::new());
        loop {
            let page = client.send(&Request::get(format!("/sessions?limit=50{cursor}"))).is(200).json();
            for session in page["sessions"].as_array().unwrap() {
                assert!(listed.insert(text(session, "session_id").to_owned()), "{session} is listed twice");
            }
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        for Opened { id, end } in &self.opened {
            let session = client.send(&Request::get(format!("/sessions/{id}"))).is(200).json();
            assert!(listed.contains(id), "{id} is not listed");
            match end {
                None => assert_eq!(session["status"], "open", "{session}"),
                // It was asked for; whether it was done, nobody said.
                Some((_, false)) => {}
                Some((end, true)) => {
                    assert_eq!(session["status"], "closed", "{session}");
                    assert_eq!(session["end_ts"], wire(end), "{session}");
                }
            }
        }
    }

    fn detections_are_there(&self, daemon: &Daemon) -> Shown {
        let mut client = daemon.client();
        let mut shown = Shown::default();
        for Opened { id, .. } in &self.opened {
            let answer = client.send(&Request::get(format!("/ingest/detections/{id}"))).is(200).json();
            for detection in answer["detections"].as_array().unwrap() {
                let track = text(detection, "track_id").to_owned();
                let pictured = self.is_as_told(id, &track, detection);
                if let Some(url) = detection["url_frame"].as_str() {
                    let picture = client.send(&Request::get(frame_target(url))).is(200);
                    let conf = self.conf_of_picture(id, &track, number_of(url, &picture.body));
                    assert!(Some(conf) >= pictured, "a better picture than {conf} of {detection} was acknowledged");
                    shown.files.insert(url.strip_prefix("/frames/").unwrap().to_owned());
                } else {
                    assert_eq!(pictured, None, "{detection} has lost its picture");
                }
                assert!(shown.detections.insert((id.clone(), track)), "{detection} is there twice");
            }
        }
        for ((session, track), sightings) in &self.sightings {
            let is_told = sightings.iter().any(|(sent, ..)| sent.saved.is_some());
            assert!(
                !is_told || shown.detections.contains(&((*session).to_owned(), (*track).to_owned())),
                "{session} {track} is lost"
            );
        }
        shown
    }

    /// Checks the record against the answers; gives the highest confidence acknowledged with a picture.
    fn is_as_told(&self, session: &str, track: &str, detection: &Value) -> Option<Millionths> {
        let all = self.sightings.get(&(session, track)).unwrap_or_else(|| panic!("nobody sent {detection}"));
        let told = all.iter().filter(|(sent, ..)| sent.saved.is_some());
        let best = told.clone().map(|(_, conf, _)| *conf).max();
        let pictured = told.filter(|(sent, ..)| sent.picture.is_some()).map(|(_, conf, _)| *conf).max();
        let (sent, conf, bbox) = all
            .iter()
            .find(|(_, conf, _)| detection["conf"] == confidence(*conf))
            .unwrap_or_else(|| panic!("nobody sent the confidence of {detection}"));
        assert!(Some(*conf) >= best, "{best:?} was acknowledged, and this is there: {detection}");
        assert_eq!(detection["bbox"], **bbox, "{detection}");
        assert_eq!(detection["capture_ts"], wire(&sent.capture), "{detection}");
        let time = |key| text(detection, key).to_owned();
        assert!(time("first_ts") <= time("capture_ts") && time("capture_ts") <= time("last_ts"), "{detection}");
        pictured
    }

    #[track_caller]
    fn conf_of_picture(&self, session: &str, track: &str, number: u32) -> Millionths {
        let sent = self.pictures.get(&number).unwrap_or_else(|| panic!("nobody sent picture {number}"));
        assert_eq!(sent.session, session, "picture {number} is another session's");
        let sighting = sent.sightings.iter().find(|(seen, ..)| seen == track);
        sighting.unwrap_or_else(|| panic!("picture {number} does not show {track}")).1
    }

    fn the_feed_is_whole(&self, daemon: &Daemon, shown: &Shown) {
        let mut client = daemon.client();
        let (mut entities, mut since, mut newest) = (HashSet::new(), 0, 0);
        loop {
            let page = client.send(&Request::get(format!("/changes?since={since}&limit=100"))).is(200).json();
            let changes = page["changes"].as_array().unwrap();
            for change in changes {
                let seq = change["seq"].as_u64().unwrap();
                assert!(seq > newest, "{seq} after {newest}");
                newest = seq;
                let entity = match text(change, "type") {
                    "session" => (text(&change["session"], "session_id"), None),
                    "detection" => (text(&change["detection"], "session_id"), Some(text(&change["detection"], "track_id"))),
                    other => panic!("nothing is {other} here: {change}"),
                };
                let entity = (entity.0.to_owned(), entity.1.map(ToOwned::to_owned));
                assert!(entities.insert(entity), "twice in the feed: {change}");
            }
            since = page["next"].as_u64().unwrap();
            assert!(since >= newest, "{since} would show {newest} again");
            if changes.is_empty() {
                break;
            }
        }
        for Opened { id, .. } in &self.opened {
            assert!(entities.contains(&(id.clone(), None)), "{id} is not in the feed");
        }
        for (id, track) in &shown.detections {
            assert!(entities.contains(&(id.clone(), Some(track.clone()))), "{track} of {id} is not in the feed");
        }
    }

    /// Waits for the queue of beaten frames. What is left besides the frames shown are those that no answer told of:
    /// of each request under way at a kill at most one.
    fn the_frames_folder_is_clean(&self, daemon: &Daemon, shown: &Shown, most_unnamed: usize) {
        let unnamed = until("the beaten frames are deleted", Duration::from_secs(10), || {
            let found = self.frames(daemon);
            // A frame that was acknowledged as saved is shown, or was beaten since.
            let is_beaten = |number: &u32| self.pictures[number].saved == Some(true);
            let unnamed: Vec<u32> =
                found.into_iter().filter(|(name, _)| !shown.files.contains(name)).map(|(_, number)| number).collect();
            let temporary = fs::read_dir(format!("{}/\\tmp", daemon.frames_dir().display())).map_or(0, Iterator::count);
            (temporary == 0 && !unnamed.iter().any(is_beaten) && unnamed.len() <= most_unnamed).then_some(unnamed)
        });
        println!("{} frames shown, {} files that no row names (at most {most_unnamed})", shown.files.len(), unnamed.len());
        for name in &shown.files {
            assert!(daemon.frames_dir().join(name).is_file(), "{name} is named and not there");
        }
    }

    /// Every file below the sessions' folders, `<session>/<file>`, with the number of its picture. Each is whole.
    fn frames(&self, daemon: &Daemon) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        for Opened { id, .. } in &self.opened {
            let Ok(folder) = fs::read_dir(daemon.frames_dir().join(id)) else { continue };
            for entry in folder {
                let entry = entry.expect("an entry");
                // The session's record beside its frames.
                if entry.file_name().as_encoded_bytes().starts_with(b"\\") {
                    continue;
                }
                // One that is deleted meanwhile was beaten.
                let Ok(picture) = fs::read(entry.path()) else { continue };
                let name = format!("{id}/{}", entry.file_name().to_str().unwrap());
                let number = number_of(&name, &picture);
                assert_eq!(self.pictures[&number].session, *id, "{name} is another session's");
                found.push((name, number));
            }
        }
        found
    }
}

/// A moment as answers show it: milliseconds.
fn wire(micros: &str) -> String {
    micros.replace("000Z", "Z")
}
