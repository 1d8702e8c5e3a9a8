//! An edge agent that keeps what it was told, with MediaMTX's hooks for its path.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::ledger::{Answer, Asked, Billionths, Frame, Sighting, Told, confidence, now};
use crate::picture;
use crate::random::Random;
use crate::support::agent::meta;
use crate::support::http::{Client, Multipart, Request, Response};
use crate::support::records::at;

/// The most agents that work side by side: numbers are dealt out among so many.
pub const MOST: u32 = 8;
/// Sessions that an agent still writes to.
const REMEMBERED: usize = 12;

/// A session as its agent remembers it.
struct Known {
    id: String,
    /// Whether this agent opened it, and so closes it.
    is_own: bool,
    best: HashMap<String, Billionths>,
}

pub struct Agent {
    number: u32,
    random: Random,
    known: Vec<Known>,
    /// What was asked and answered since it was last taken.
    pub told: Vec<Told>,
    used: HashSet<Billionths>,
    ids: u32,
    pictures: u32,
    moments: usize,
    /// Answered frames, to be sent again.
    sent: Vec<Arc<Frame>>,
    /// An open without an answer.
    doubtful: Option<(String, String)>,
}

impl Agent {
    pub fn new(number: u32, seed: u64) -> Self {
        assert!(number < MOST);
        Self {
            number,
            random: Random(seed),
            known: Vec::new(),
            told: Vec::new(),
            used: HashSet::new(),
            ids: 0,
            pictures: 0,
            moments: 0,
            sent: Vec::new(),
            doubtful: None,
        }
    }

    /// Remembers a session that another agent has opened.
    pub fn share(&mut self, id: &str) {
        self.remember(id, false);
    }

    /// Works until the connection breaks, and counts what it has done.
    pub fn work(&mut self, address: SocketAddr, done: &AtomicU64) {
        let mut lines = Lines::to(address);
        while self.step(&mut lines).is_ok() {
            done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does so many things.
    pub fn steps(&mut self, address: SocketAddr, count: usize) {
        let mut lines = Lines::to(address);
        for _ in 0..count {
            self.step(&mut lines).expect("an answer");
        }
    }

    fn step(&mut self, lines: &mut Lines) -> io::Result<()> {
        if let Some((id, start)) = self.doubtful.take() {
            return self.open_at(lines, id, start);
        }
        match self.random.below(40) {
            0..=1 => {
                self.ids += 1;
                let id = format!("agent-{}-{}", self.number, self.ids);
                self.open(lines, &id)
            }
            2..=3 => self.close(lines),
            4 => self.publish(lines),
            5 => self.segment(lines),
            6..=7 if !self.sent.is_empty() => {
                let again = Arc::clone(&self.sent[self.random.index(self.sent.len())]);
                self.send(lines, &again, false)
            }
            8 => {
                let Some(frame) = self.frame() else { return Ok(()) };
                self.send(lines, &frame, true)
            }
            _ => {
                let Some(frame) = self.frame() else { return Ok(()) };
                self.send(lines, &frame, false)
            }
        }
    }

    /// Opens a session that begins after all that this agent opened before.
    pub fn open(&mut self, lines: &mut Lines, id: &str) -> io::Result<()> {
        self.moments += 1;
        self.open_at(lines, id.to_owned(), self.moment(0))
    }

    fn open_at(&mut self, lines: &mut Lines, id: String, start: String) -> io::Result<()> {
        let path = format!("cam-{}", self.number);
        // A device of its own: of one device's sessions the newer would end the older.
        let body = json!({"sessionId": id, "devId": format!("dev of {id}"), "path": path, "startTs": start});
        self.doubtful = Some((id.clone(), start.clone()));
        let response = self.ask(lines, Asked::Open { id: id.clone(), path, start }, "/sessions/open", &body)?;
        assert!(matches!(response.status, 200 | 201), "{}", response.text());
        self.doubtful = None;
        self.remember(&id, true);
        Ok(())
    }

    pub fn close(&mut self, lines: &mut Lines) -> io::Result<()> {
        let own: Vec<&Known> = self.known.iter().filter(|known| known.is_own).collect();
        if own.is_empty() {
            return Ok(());
        }
        let id = own[self.random.index(own.len())].id.clone();
        let end = self.moment(3000);
        let body = json!({"sessionId": id, "endTs": end, "postRollSec": 5});
        self.ask(lines, Asked::Close { id, end }, "/sessions/close", &body)?.is(200);
        Ok(())
    }

    pub fn publish(&mut self, lines: &mut Lines) -> io::Result<()> {
        let (path, event) = (format!("cam-{}", self.number), self.moment(1));
        let body = json!({"path": path, "eventTs": event});
        self.ask(lines, Asked::Publish { path, event }, "/hooks/mediamtx/publish", &body)?.is(200);
        Ok(())
    }

    pub fn segment(&mut self, lines: &mut Lines) -> io::Result<()> {
        let (path, start, end) = (format!("cam-{}", self.number), self.moment(2), self.moment(30));
        let file = format!("/recordings/{path}/{}.mp4", self.moments);
        let body = json!({"path": path, "segmentPath": file, "segmentStartTs": start, "segmentEndTs": end, "eventTs": end});
        self.ask(lines, Asked::Segment { path, end }, "/hooks/mediamtx/record/segment/complete", &body)?.is(200);
        Ok(())
    }

    /// Seconds after the start of the newest session.
    fn moment(&self, seconds: usize) -> String {
        let second = self.moments * 2 + seconds;
        // From midnight on; days hold 43,200 moments.
        let (day, second) = (second / 86_400, second % 86_400);
        let clock = at(second / 60, second % 60);
        let (_, clock) = clock.split_once('T').unwrap();
        let (hour, rest) = clock.split_once(':').unwrap();
        let hour: usize = hour.parse().unwrap();
        format!("2025-{:02}-{:02}T{:02}:{rest}", 1 + day / 28, 1 + day % 28, hour - 12)
    }

    fn ask(&mut self, lines: &mut Lines, asked: Asked, target: &str, body: &Value) -> io::Result<Response> {
        self.told.push(Told { asked, answer: None });
        let response = lines.first.try_send(&Request::post(target).json(body))?;
        self.told.last_mut().unwrap().answer = answer_in(&response);
        Ok(response)
    }

    /// A new frame of a session that is remembered, open or closed.
    fn frame(&mut self) -> Option<Arc<Frame>> {
        if self.known.is_empty() {
            return None;
        }
        let index = self.random.index(self.known.len());
        self.moments += usize::from(self.random.once_in(8));
        let seconds = if self.random.once_in(4) { 0 } else { self.random.index(50) };
        let capture = self.moment(seconds);
        let mut tracks: Vec<String> = (0..=self.random.below(3)).map(|_| format!("t{}", self.random.below(4))).collect();
        tracks.sort();
        tracks.dedup();
        let is_better = !self.random.once_in(3);
        let sightings = tracks.into_iter().map(|track| self.sighting(index, track, is_better)).collect();
        let picture = (!self.random.once_in(8)).then(|| {
            self.pictures += 1;
            self.pictures * MOST + self.number
        });
        Some(Arc::new(Frame { session: self.known[index].id.clone(), capture, sightings, picture }))
    }

    fn sighting(&mut self, known: usize, track: String, is_better: bool) -> Sighting {
        let best = self.known[known].best.get(&track).copied().unwrap_or(100_000_000);
        let conf = loop {
            let conf = if is_better {
                let room = 999_000_000 - best;
                best + u32::try_from(self.random.below(u64::from(room / 40).max(1))).unwrap()
            } else {
                u32::try_from(self.random.below(u64::from(best))).unwrap()
            };
            let conf = conf / MOST * MOST + self.number;
            if self.used.insert(conf) {
                break conf;
            }
        };
        self.known[known].best.insert(track.clone(), best.max(conf));
        let bbox = json!({"x": self.random.below(1000), "y": self.random.below(1000), "w": self.random.below(99), "h": 1});
        Sighting { track, conf, bbox }
    }

    /// Sends a frame; `twice` on two connections at once, as clients do whose first request seems stuck.
    fn send(&mut self, lines: &mut Lines, frame: &Arc<Frame>, twice: bool) -> io::Result<()> {
        let sightings: Vec<_> = frame
            .sightings
            .iter()
            .map(|seen| json!({"trackId": seen.track, "cls": seen.class(), "conf": confidence(seen.conf), "bbox": seen.bbox}))
            .collect();
        let mut form = Multipart::new().field("meta", meta(&frame.session, &frame.capture, &sightings).to_string());
        if let Some(number) = frame.picture {
            form = form.frame(picture::of(number));
        }
        let request = form.request();
        self.told.push(Told { asked: Asked::Ingest(Arc::clone(frame)), answer: None });
        let first = self.told.len() - 1;
        lines.first.write(&request.bytes())?;
        let mut second = Ok(());
        if twice {
            self.told.push(Told { asked: Asked::Ingest(Arc::clone(frame)), answer: None });
            second = lines.second.try_send(&request).map(|response| self.took(first + 1, frame, &response));
        }
        lines.first.read(false).map(|response| self.took(first, frame, &response))?;
        second?;
        self.sent.push(Arc::clone(frame));
        if self.sent.len() > REMEMBERED {
            self.sent.remove(0);
        }
        Ok(())
    }

    fn took(&mut self, index: usize, frame: &Frame, response: &Response) {
        // Only while the daemon starts; nothing was changed.
        if response.status != 429 {
            assert_eq!(response.status, 200, "{}", response.text());
            assert_eq!(response.json()["total"], frame.sightings.len());
            self.told[index].answer = answer_in(response);
        }
    }

    fn remember(&mut self, id: &str, is_own: bool) {
        self.known.retain(|known| known.id != id);
        if self.known.len() == REMEMBERED {
            // An old one now and then instead of the oldest, so that some live long.
            let index = self.random.index(4);
            self.known.remove(index);
        }
        self.known.push(Known { id: id.to_owned(), is_own, best: HashMap::new() });
    }
}

fn answer_in(response: &Response) -> Option<Answer> {
    let body = response.json();
    let improved = body["inserted"].as_u64().is_some_and(|count| count > 0) || body["frameSaved"] == true;
    let session = body["session_id"].as_str().map(ToOwned::to_owned);
    Some(Answer { request: response.must("x-request-id").to_owned(), at: now(), improved, session })
}

/// An agent's two connections.
pub struct Lines {
    first: Client,
    second: Client,
}

impl Lines {
    pub fn to(address: SocketAddr) -> Self {
        Self { first: Client::connect(address), second: Client::connect(address) }
    }
}
