//! Metered links: when to sync at all, and how much.

use std::time::{Duration, Instant};

use chrono::Timelike as _;

use crate::domain::central::DayWindow;

/// What was not used is kept for so long. So an hour after a quiet time may take a twelfth more.
const KEPT: Duration = Duration::from_secs(300);
const HOUR: f64 = 3600.0;
/// Each kind of question may take so much of the link: one tenth. There are two.
const ASKING_SHARE: f64 = 10.0;

/// So many bytes an hour, evenly: a restart gains nothing, and no hour begins with a burst. What is to be sent goes whole, and is paid
/// for afterwards.
pub struct Allowance {
    /// Bytes a second; 0 for no limit.
    rate: f64,
    /// Bytes that may be used now; below 0 what is still to be paid for.
    left: f64,
    at: Instant,
}

impl Allowance {
    /// `bytes_per_hour` from `now` on; 0 for no limit.
    pub fn new(bytes_per_hour: u64, now: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no such link is so wide")]
        let rate = bytes_per_hour as f64 / HOUR;
        Self { rate, left: 0.0, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * self.rate;
        self.left = (self.left + earned).min(KEPT.as_secs_f64() * self.rate);
        self.at = now;
    }

    /// Counts bytes that were sent or received.
    pub fn take(&mut self, bytes: usize, now: Instant) {
        if self.rate > 0.0 {
            self.refill(now);
            #[expect(clippy::cast_precision_loss, reason = "a page, or a piece of a picture")]
            let bytes = bytes as f64;
            self.left -= bytes;
        }
    }

    /// How long until something may be sent; zero where it may now.
    pub fn wait(&mut self, now: Instant) -> Duration {
        if self.rate <= 0.0 {
            return Duration::ZERO;
        }
        self.refill(now);
        Duration::try_from_secs_f64((-self.left / self.rate).max(0.0)).unwrap_or(Duration::MAX)
    }

    /// How long it takes to earn `bytes`; zero where there is no limit.
    fn time_for(&self, bytes: f64) -> Duration {
        if self.rate > 0.0 { Duration::try_from_secs_f64(bytes / self.rate).unwrap_or(Duration::MAX) } else { Duration::ZERO }
    }
}

/// What may be used of the link.
pub struct Limit {
    window: Option<DayWindow>,
    all: Allowance,
    frames: Allowance,
}

impl Limit {
    /// Within `window`, at most `bytes_per_hour`, and of those `frame_bytes_per_hour` for pictures; 0 is no limit.
    pub fn new(window: Option<DayWindow>, bytes_per_hour: u64, frame_bytes_per_hour: u64) -> Self {
        let now = Instant::now();
        Self { window, all: Allowance::new(bytes_per_hour, now), frames: Allowance::new(frame_bytes_per_hour, now) }
    }

    /// Counts bytes that were sent or received.
    pub fn use_bytes(&mut self, bytes: usize) {
        self.all.take(bytes, Instant::now());
    }

    /// Counts bytes of a picture that were sent.
    pub fn use_frame_bytes(&mut self, bytes: usize) {
        self.use_bytes(bytes);
        self.frames.take(bytes, Instant::now());
    }

    /// Counts a question that costs `bytes`, and says how long to wait for the next of its kind: they come all day, also when there is
    /// nothing to send.
    pub fn ask(&mut self, bytes: usize) -> Duration {
        self.use_bytes(bytes);
        #[expect(clippy::cast_precision_loss, reason = "a question")]
        let bytes = bytes as f64;
        self.all.time_for(bytes * ASKING_SHARE)
    }

    /// How long to wait before the link may be used again; none where it may now.
    pub fn wait(&mut self) -> Option<Duration> {
        if let Some(window) = self.window {
            let now = chrono::Local::now();
            let minute = u16::try_from(now.hour() * 60 + now.minute()).unwrap_or(0);
            if !window.holds(minute) {
                // Looked at again every half minute: the clock, or summer time, may change.
                return Some(Duration::from_secs(30));
            }
        }
        Some(self.all.wait(Instant::now())).filter(|wait| !wait.is_zero())
    }

    /// How long to wait before a picture may be sent, where rows may be; zero where it may now.
    pub fn wait_for_frames(&mut self) -> Duration {
        self.frames.wait(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_hours_no_more_is_used_than_is_allowed_whatever_came_before() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        // A day of nothing: no more than five minutes of it are kept.
        let mut allowance = Allowance::new(3_600_000, begin);
        let mut now = 86_400;
        let mut used = 0;
        while now < 86_400 + 3600 {
            let wait = allowance.wait(at(now));
            if wait.is_zero() {
                allowance.take(50_000, at(now));
                used += 50_000;
            } else {
                now += wait.as_secs() + 1;
            }
        }
        assert!((3_500_000..=3_600_000 + 300_000 + 50_000).contains(&used), "{used}");
    }

    #[test]
    fn a_kind_of_question_takes_a_tenth_of_the_link() {
        let mut limit = Limit::new(None, 3_600_000, 0);
        assert_eq!(limit.ask(3000), Duration::from_secs(30));
        assert_eq!(Limit::new(None, 0, 1).ask(3000), Duration::ZERO);
    }

    #[test]
    fn what_is_too_large_goes_whole_and_is_paid_for_afterwards() {
        let begin = Instant::now();
        let mut allowance = Allowance::new(3600, begin);
        assert_eq!(allowance.wait(begin), Duration::ZERO, "the first may go");
        allowance.take(600, begin);
        assert_eq!(allowance.wait(begin).as_secs(), 600);
        assert_eq!(allowance.wait(begin + Duration::from_secs(601)), Duration::ZERO);
        let mut without = Allowance::new(0, begin);
        without.take(1 << 40, begin);
        assert_eq!(without.wait(begin), Duration::ZERO);
    }
}
