//! What was asked of the daemon and what it answered, kept by session.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Value, json};

/// What the confidence of a sighting is in billionths; no two frames have the same.
pub type Billionths = u32;

/// Seconds since 1970.
pub type Moment = f64;

/// A touch may be lost for `touch_interval_ms` (1 s where not set), and while its commit waits for a slow disk.
pub const TOUCH_MAY_BE_LOST: Moment = 2.5;

/// One object as a frame saw it.
#[derive(Clone)]
pub struct Sighting {
    pub track: String,
    pub conf: Billionths,
    pub bbox: Value,
}

impl Sighting {
    pub fn class(&self) -> &'static str {
        ["cup", "person", "dog"][self.conf as usize % 3]
    }
}

/// A frame as it was sent.
#[derive(Clone)]
pub struct Frame {
    pub session: String,
    pub capture: String,
    pub sightings: Vec<Sighting>,
    /// The number in its picture, if it had one.
    pub picture: Option<u32>,
}

/// Something that was asked for.
#[derive(Clone)]
pub enum Asked {
    Open { id: String, path: String, start: String },
    Close { id: String, end: String },
    Ingest(Arc<Frame>),
    Publish { path: String, event: String },
    Segment { path: String, end: String },
}

/// What came back.
#[derive(Clone, Default)]
pub struct Answer {
    /// Its `X-Request-Id`.
    pub request: String,
    pub at: Moment,
    /// Of an ingest: whether anything was better than before, so that it was committed.
    pub improved: bool,
    /// Of a hook: the session that it names.
    pub session: Option<String>,
}

/// A question, and its answer where there was one.
#[derive(Clone)]
pub struct Told {
    pub asked: Asked,
    pub answer: Option<Answer>,
}

/// A sighting with the rest of its frame.
pub struct Seen {
    pub sighting: Sighting,
    pub capture: String,
    pub picture: Option<u32>,
    pub is_told: bool,
    /// Its times must be there: they were committed, or the touch was held for longer than is allowed.
    pub is_timed: bool,
}

/// A session's page.
#[derive(Default)]
pub struct Session {
    pub path: String,
    pub start: String,
    pub is_told: bool,
    /// Ends in the order in which they were asked for, and whether they were acknowledged.
    pub ends: Vec<(String, bool)>,
    pub tracks: BTreeMap<String, Vec<Seen>>,
    pub is_published: bool,
    /// Ends of segments that were acknowledged for it.
    pub segment_ends: Vec<String>,
}

/// A picture's page.
pub struct Picture {
    pub frame: Arc<Frame>,
    /// Whether some request that brought it had no answer: then a file may be left that no row names.
    pub is_open: bool,
}

/// All that is known.
#[derive(Default)]
pub struct Ledger {
    pub sessions: BTreeMap<String, Session>,
    pub pictures: HashMap<u32, Picture>,
    /// Times that hooks told of for each path.
    pub events: HashMap<String, HashSet<String>>,
    /// Answers, that is acknowledged facts.
    pub facts: u64,
}

impl Ledger {
    /// Takes in what was told up to a crash. Gives the sessions that it is about.
    pub fn take(&mut self, told: &[Told], crash: Moment) -> HashSet<String> {
        let mut about = HashSet::new();
        for Told { asked, answer } in told {
            self.facts += u64::from(answer.is_some());
            match asked {
                Asked::Open { id, path, start } => {
                    let session = self.sessions.entry(id.clone()).or_default();
                    session.path.clone_from(path);
                    session.start.clone_from(start);
                    session.is_told |= answer.is_some();
                    about.insert(id.clone());
                }
                Asked::Close { id, end } => {
                    self.sessions.entry(id.clone()).or_default().ends.push((end.clone(), answer.is_some()));
                    about.insert(id.clone());
                }
                Asked::Ingest(frame) => {
                    self.take_frame(frame, answer.as_ref(), crash);
                    about.insert(frame.session.clone());
                }
                Asked::Publish { path, event } => {
                    self.events.entry(path.clone()).or_default().insert(wire(event));
                    if let Some(id) = named(answer.as_ref()) {
                        self.sessions.entry(id.clone()).or_default().is_published = true;
                        about.insert(id);
                    }
                }
                Asked::Segment { path, end } => {
                    self.events.entry(path.clone()).or_default().insert(wire(end));
                    if let Some(id) = named(answer.as_ref()) {
                        self.sessions.entry(id.clone()).or_default().segment_ends.push(end.clone());
                        about.insert(id);
                    }
                }
            }
        }
        about
    }

    fn take_frame(&mut self, frame: &Arc<Frame>, answer: Option<&Answer>, crash: Moment) {
        let is_timed = answer.is_some_and(|answer| answer.improved || answer.at < crash - TOUCH_MAY_BE_LOST);
        let session = self.sessions.entry(frame.session.clone()).or_default();
        for sighting in &frame.sightings {
            session.tracks.entry(sighting.track.clone()).or_default().push(Seen {
                sighting: sighting.clone(),
                capture: frame.capture.clone(),
                picture: frame.picture,
                is_told: answer.is_some(),
                is_timed,
            });
        }
        if let Some(number) = frame.picture {
            let picture = self.pictures.entry(number).or_insert_with(|| Picture { frame: Arc::clone(frame), is_open: false });
            picture.is_open |= answer.is_none();
        }
    }
}

fn named(answer: Option<&Answer>) -> Option<String> {
    answer.and_then(|answer| answer.session.clone())
}

/// As it stands in JSON. Few digits, so that every reader takes it for the same number.
pub fn confidence(conf: Billionths) -> Value {
    json!(f64::from(conf) / 1e9)
}

/// A moment as answers show it: milliseconds.
pub fn wire(micros: &str) -> String {
    micros.replace("000Z", "Z")
}

/// The present.
pub fn now() -> Moment {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}
