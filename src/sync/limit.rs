//! Metered links: when to sync at all, and how much in an hour.

use std::time::{Duration, Instant};

use chrono::Timelike as _;

use crate::domain::central::DayWindow;

const HOUR: Duration = Duration::from_secs(3600);

/// What may be used of the link.
pub struct Limit {
    window: Option<DayWindow>,
    bytes_per_hour: u64,
    hour: Instant,
    used: u64,
}

impl Limit {
    /// Within `window`, and at most `bytes_per_hour` where that is not 0.
    pub fn new(window: Option<DayWindow>, bytes_per_hour: u64) -> Self {
        Self { window, bytes_per_hour, hour: Instant::now(), used: 0 }
    }

    /// Counts bytes that were sent or received.
    pub fn use_bytes(&mut self, bytes: usize) {
        self.used += bytes as u64;
    }

    /// How long to wait before the link may be used again; none where it may now.
    pub fn wait(&mut self) -> Option<Duration> {
        if self.hour.elapsed() >= HOUR {
            self.hour = Instant::now();
            self.used = 0;
        }
        if self.bytes_per_hour > 0 && self.used >= self.bytes_per_hour {
            return Some(HOUR.saturating_sub(self.hour.elapsed()));
        }
        let window = self.window?;
        let now = chrono::Local::now();
        let minute = u16::try_from(now.hour() * 60 + now.minute()).unwrap_or(0);
        // Looked at again every half minute: the clock, or summer time, may change.
        (!window.holds(minute)).then_some(Duration::from_secs(30))
    }
}
