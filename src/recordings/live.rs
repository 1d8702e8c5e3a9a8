//! Files that are being written. They grow all the time, and nothing is done about it until one has been silent for too long.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::domain::segment::Segment;
use crate::domain::time::Timestamp;
use crate::media::recordings::Facts;

/// What is being written.
#[derive(Default)]
pub struct Live(HashMap<PathBuf, Writing>);

struct Writing {
    /// MediaMTX's path.
    of: String,
    /// None while nothing can be said of it.
    start: Option<Timestamp>,
    facts: Facts,
    due: Instant,
    /// When the ledger was last told its length.
    recorded: Instant,
}

impl Live {
    /// Notes that the file at `path`, a recording of `of`, is being written; it is to be looked at after `silence`.
    pub fn add(&mut self, path: &Path, of: &str, start: Option<Timestamp>, facts: Facts, silence: Duration) {
        let writing = Writing { of: of.to_owned(), start, facts, due: Instant::now() + silence, recorded: Instant::now() };
        self.0.insert(path.to_owned(), writing);
    }

    /// Whether more of it is no news. A file of which nothing could be said yet is.
    pub fn has(&self, path: &Path) -> bool {
        self.0.get(path).is_some_and(|writing| writing.start.is_some())
    }

    /// Notes that a file is not written any more.
    pub fn remove(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// When the first is to be looked at.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().map(|writing| writing.due).min()
    }

    /// Those that are to be looked at now.
    pub fn take_due(&self) -> Vec<PathBuf> {
        let now = Instant::now();
        self.0.iter().filter(|(_, writing)| writing.due <= now).map(|(path, _)| path.clone()).collect()
    }

    /// Whether the file has changed since it was last looked at, and is known already; if so it is to be looked at again after
    /// `silence`. Returns MediaMTX's path.
    pub fn has_grown(&mut self, path: &Path, facts: Facts, silence: Duration) -> Option<String> {
        let writing = self.0.get_mut(path)?;
        if writing.facts == facts || writing.start.is_none() {
            return None;
        }
        writing.facts = facts;
        writing.due = Instant::now() + silence;
        Some(writing.of.clone())
    }

    /// Whether the ledger was told of a file's length longer than `every` ago.
    pub fn is_to_be_recorded(&self, path: &Path, every: Duration) -> bool {
        self.0.get(path).is_some_and(|writing| writing.recorded.elapsed() >= every)
    }

    /// Files of the path of `segment` that began before it and were not written to since it was: MediaMTX writes one at a time.
    pub fn older(&self, segment: &Segment, but: &Path) -> Vec<PathBuf> {
        let is_older = |writing: &Writing| {
            writing.of == segment.path
                && writing.start.is_some_and(|began| began < segment.start)
                && writing.facts.modified_nanos <= segment.modified_nanos
        };
        self.0.iter().filter(|(path, writing)| *path != but && is_older(writing)).map(|(path, _)| path.clone()).collect()
    }
}
