//! How much there is in each hour or day, for a timeline.

use crate::domain::coverage::{Placed, cover};
use crate::domain::query::{SessionQuery, Window};
use crate::domain::segment::State;
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::store::Snapshot;

use super::recordings::{MAX_SEGMENTS, placed};
use super::{Service, ServiceError};

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;
/// The most buckets of one answer.
pub const MAX_BUCKETS: usize = 10_000;
/// The most sessions of one answer, and segments of one of its paths.
const MAX_COUNTED: usize = 20 * MAX_SEGMENTS;

/// The length of a bucket, by the clock of the recordings' time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// A full hour.
    Hour,
    /// From midnight to midnight.
    Day,
}

/// What there is in one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// Its begin and end; what is counted lies in the window that was asked for.
    pub window: Window,
    /// Of all paths together.
    pub covered_micros: i64,
    /// Sessions that reach into it.
    pub sessions: u64,
    /// Objects first seen in it.
    pub detections: u64,
}

impl Bucket {
    /// The bucket in which `at` lies begins here.
    fn begin(self, at: Timestamp, zone: &Zone) -> Timestamp {
        let length = if self == Self::Hour { HOUR_MICROS } else { DAY_MICROS };
        let floor = |offset_seconds: i32| {
            let offset = i64::from(offset_seconds) * 1_000_000;
            Timestamp::from_micros((at.micros() + offset).div_euclid(length) * length - offset)
        };
        let begin = floor(zone.offset_seconds(at));
        // Between the two the clock may have been changed.
        floor(zone.offset_seconds(begin)).min(at)
    }

    fn next(self, begin: Timestamp, zone: &Zone) -> Timestamp {
        match self {
            Self::Hour => begin.plus_micros(HOUR_MICROS),
            // A day has 23 to 25 hours.
            Self::Day => self.begin(begin.plus_micros(DAY_MICROS + DAY_MICROS / 2), zone),
        }
    }
}

impl Service {
    /// What there is in each bucket of `window`, on `path` or on all.
    ///
    /// # Errors
    /// [`ServiceError::TooMuch`] where a shorter window should be asked for.
    pub async fn summary(&self, path: Option<String>, window: Window, bucket: Bucket) -> Result<Vec<Filled>, ServiceError> {
        let zone = self.inner.settings.zone.clone();
        let now = self.now();
        self.read(move |snapshot| summarize(snapshot, path, window, bucket, &zone, now)).await
    }
}

fn summarize(
    snapshot: &Snapshot,
    path: Option<String>,
    window: Window,
    bucket: Bucket,
    zone: &Zone,
    now: Timestamp,
) -> Result<Vec<Filled>, ServiceError> {
    let mut buckets = Vec::new();
    let mut begin = bucket.begin(window.from, zone);
    while begin < window.to {
        if buckets.len() == MAX_BUCKETS {
            return Err(ServiceError::TooMuch("The window has too many buckets: ask for a shorter one"));
        }
        let end = bucket.next(begin, zone);
        let window = Window { from: begin, to: end };
        buckets.push(Filled { window, covered_micros: 0, sessions: 0, detections: 0 });
        begin = end;
    }
    let paths = match &path {
        Some(path) => vec![path.clone()],
        None => snapshot.segment_paths()?,
    };
    for path in paths {
        let segments = snapshot.segments_within(&path, window, MAX_COUNTED + 1)?;
        if segments.len() > MAX_COUNTED {
            return Err(ServiceError::TooMuch("The window holds too many segments: ask for a shorter one"));
        }
        let placed: Vec<Placed> = segments.iter().filter(|one| one.state != State::Unreadable).map(placed).collect();
        for span in cover(&placed, window.from, window.to).spans {
            for (filled, share) in shares(&mut buckets, span.start, span.end) {
                filled.covered_micros += share;
            }
        }
    }
    let (mut count, mut failure) = (0, None);
    let asked = SessionQuery { window: Some(window), path, ..SessionQuery::default() };
    snapshot.each_session(&asked, None, |at, session: Session| {
        count += 1;
        let end = session.end.map_or(now, |end| end.at).max(session.start.plus_micros(1)).min(window.to);
        for (filled, _) in shares(&mut buckets, session.start.max(window.from), end) {
            filled.sessions += 1;
        }
        match snapshot.detections(at) {
            Ok(detections) => {
                let firsts = detections.iter().map(|detection| detection.first);
                for first in firsts.filter(|first| (window.from..window.to).contains(first)) {
                    for (filled, _) in shares(&mut buckets, first, first.plus_micros(1)) {
                        filled.detections += 1;
                    }
                }
            }
            Err(error) => failure = Some(error),
        }
        count <= MAX_COUNTED && failure.is_none()
    })?;
    match failure {
        Some(error) => Err(error.into()),
        None if count > MAX_COUNTED => Err(ServiceError::TooMuch("The window holds too many sessions: ask for a shorter one")),
        None => Ok(buckets),
    }
}

/// The buckets that a stretch reaches into, and how much of it lies in each.
fn shares(buckets: &mut [Filled], from: Timestamp, to: Timestamp) -> impl Iterator<Item = (&mut Filled, i64)> {
    let first = buckets.partition_point(|filled| filled.window.to <= from);
    buckets[first..].iter_mut().take_while(move |filled| filled.window.from < to).map(move |filled| {
        let share = to.min(filled.window.to).micros() - from.max(filled.window.from).micros();
        (filled, share)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Summer time ended in Berlin on 2026-10-25 at 03:00: that day had 25 hours.
    #[test]
    fn days_are_those_of_the_zone() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let begin = Bucket::Day.begin(at("2026-10-25T12:00:00Z"), &zone);
        assert_eq!(begin, at("2026-10-24T22:00:00Z"));
        assert_eq!(Bucket::Day.next(begin, &zone), at("2026-10-25T23:00:00Z"));
        let before = Bucket::Day.begin(at("2026-03-28T23:30:00Z"), &zone);
        assert_eq!(before, at("2026-03-28T23:00:00Z"));
        assert_eq!(Bucket::Day.next(before, &zone), at("2026-03-29T22:00:00Z"), "23 hours");
        assert_eq!(Bucket::Hour.begin(at("2026-10-25T12:34:56Z"), &zone), at("2026-10-25T12:00:00Z"));
    }
}
