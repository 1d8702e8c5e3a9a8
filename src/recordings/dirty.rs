//! What has changed and is to be looked at, once for many changes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// From the first change to the look.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// More than so many are a case for a scan.
const MOST: usize = 10_000;

/// Paths that have changed.
#[derive(Default)]
pub struct Dirty(HashMap<PathBuf, Instant>);

impl Dirty {
    /// Notes a change.
    pub fn add(&mut self, path: PathBuf) {
        self.0.entry(path).or_insert_with(|| Instant::now() + DEBOUNCE);
    }

    /// When the first is to be looked at.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Whether there are too many to look at one by one.
    pub fn is_overfull(&self) -> bool {
        self.0.len() > MOST
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Those that are to be looked at now.
    pub fn take_due(&mut self) -> Vec<PathBuf> {
        let now = Instant::now();
        let mut due: Vec<PathBuf> = self.0.extract_if(|_, due| *due <= now).map(|(path, _)| path).collect();
        due.sort_unstable();
        due
    }
}
