//! What video there is of a session or a path, and why some is missing.

use std::path::Path;

use crate::domain::coverage::{Cause, Coverage, Placed, cover};
use crate::domain::ids::SessionId;
use crate::domain::query::Window;
use crate::domain::segment::{Segment, State};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::store::Snapshot;

use super::ledger::Look;
use super::placing::window_of;
use super::sessions::SESSION_NOT_FOUND;
use super::{Service, ServiceError};

/// The most segments of one answer.
pub const MAX_SEGMENTS: usize = 10_000;

/// The video of a stretch of time.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The path.
    pub path: String,
    /// The stretch.
    pub window: Window,
    /// Spans and gaps.
    pub coverage: Coverage,
    /// The files, by start.
    pub segments: Vec<Segment>,
    /// What the playback server can serve as it is.
    pub playable: Vec<Window>,
}

impl Service {
    /// Where MediaMTX's playback server answers.
    pub fn playback_base_url(&self) -> &str {
        &self.inner.settings.playback_base_url
    }

    /// The video of a session.
    pub async fn recordings_of(&self, id: SessionId) -> Result<(Session, Recorded), ServiceError> {
        let service = self.clone();
        self.read(move |snapshot| {
            let (_, session) = snapshot.session(&id)?.ok_or(ServiceError::NotFound(SESSION_NOT_FOUND))?;
            let window = window_of(&session, service.now());
            let mut recorded = service.recorded(snapshot, &session.path, window)?;
            // Whatever ended before the session: it began before its first picture.
            if let Some(first) = recorded.coverage.gaps.first_mut()
                && first.start == window.from
                && first.end < window.to
                && matches!(first.cause, Cause::RecorderRestart | Cause::Truncated | Cause::NoRecording)
            {
                first.cause = Cause::NotStarted;
            }
            Ok((session, recorded))
        })
        .await
    }

    /// The video of a path.
    pub async fn recordings(&self, path: String, window: Window) -> Result<Recorded, ServiceError> {
        let service = self.clone();
        self.read(move |snapshot| service.recorded(snapshot, &path, window)).await
    }

    fn recorded(&self, snapshot: &Snapshot, path: &str, window: Window) -> Result<Recorded, ServiceError> {
        let extra = i64::try_from(self.settings().extra.as_micros()).unwrap_or(i64::MAX);
        let wide = Window { from: window.from.plus_micros(-extra), to: window.to.plus_micros(extra) };
        let before = snapshot.segment_before(path, wide.from)?;
        let mut segments = self.segments_now(snapshot, path, wide, before.as_ref())?;
        let mut placed: Vec<Placed> = segments.iter().filter(|segment| segment.state != State::Unreadable).map(placed).collect();
        // What lies beside the window tells why there is a gap at its ends.
        let beside = [before, snapshot.segment_after(path, wide.to)?];
        placed.extend(
            beside.iter().flatten().filter(|beside| segments.iter().all(|one| one.file != beside.file)).map(self::placed),
        );
        let mut coverage = cover(&placed, window.from, window.to);
        if let Some(last) = coverage.gaps.last_mut().filter(|gap| gap.end == window.to && gap.cause == Cause::NoRecording) {
            // The next file appears with its first part.
            let is_fresh = self.now().micros() - last.start.micros() < self.silence_micros(None);
            let follows = placed.iter().any(|one| one.end == last.start && one.state == State::Complete);
            if is_fresh && follows {
                last.cause = Cause::NotYet;
            }
        }
        let playable = playable(&segments, &coverage, wide, extra);
        segments.retain(|segment| segment.start < window.to && reaches(segment, window.from));
        Ok(Recorded { path: path.to_owned(), window, coverage, segments, playable })
    }

    /// The segments of `path` that reach into `window`, by start; those that are being written as they are at this moment.
    /// `before` is the last that, as far as the ledger knows, ends before it.
    fn segments_now(
        &self,
        snapshot: &Snapshot,
        path: &str,
        window: Window,
        before: Option<&Segment>,
    ) -> Result<Vec<Segment>, ServiceError> {
        let mut segments = snapshot.segments_within(path, window, MAX_SEGMENTS + 1)?;
        if segments.len() > MAX_SEGMENTS {
            return Err(ServiceError::TooMuch("The window holds more than 10000 segments: ask for a shorter one"));
        }
        // One that is being written may reach into the window by now.
        segments.extend(before.filter(|before| before.state == State::Live).cloned());
        for segment in segments.iter_mut().filter(|segment| segment.state == State::Live) {
            if let Some(now) = self.find(snapshot, segment) {
                *segment = now;
            }
        }
        segments.retain(|segment| reaches(segment, window.from));
        segments.sort_by_key(|segment| segment.start);
        Ok(segments)
    }

    /// What a file in the ledger is now; none where it cannot be found or told.
    fn find(&self, ledger: &Snapshot, segment: &Segment) -> Option<Segment> {
        let _permit = self.inner.recordings.reads.0.try_acquire().ok()?;
        self.record_paths().iter().find_map(|pattern| {
            let named = pattern.read(&segment.file).filter(|named| named.path == segment.path)?;
            match self.look_at(ledger, pattern, &segment.file, None, named, true) {
                Ok(Look::Read(segment) | Look::Known(segment)) => Some(segment),
                _ => None,
            }
        })
    }

    /// Reads the file that a hook names, where it lies below a recordings' root. The second value is its name there, as far
    /// as it has one.
    pub(super) fn find_told(&self, ledger: &Snapshot, path: &str, told: &str) -> (Option<Segment>, Option<String>) {
        let mut name = None;
        for pattern in self.record_paths() {
            let Some((below, named)) = pattern.read_tail_of(told, path) else { continue };
            if let Ok(_permit) = self.inner.recordings.reads.0.try_acquire()
                && let Ok(Look::Read(segment) | Look::Known(segment)) = self.look_at(ledger, pattern, &below, None, named, true)
            {
                return (Some(segment), Some(below));
            }
            name.get_or_insert(below);
        }
        (None, name)
    }
}

/// Whether a segment ends behind `from`; one without a picture does where it begins there.
fn reaches(segment: &Segment, from: Timestamp) -> bool {
    segment.end > from || segment.start >= from
}

/// The spans, each by `extra` longer on both sides, but never into a gap; of segments that playback can serve.
fn playable(segments: &[Segment], coverage: &Coverage, wide: Window, extra: i64) -> Vec<Window> {
    // MediaMTX's playback server knows nothing of MPEG-TS.
    let is_served = |segment: &&Segment| {
        !matches!(segment.state, State::Unreadable | State::Deleted)
            && Path::new(&segment.file).extension().is_none_or(|of| of != "ts")
    };
    let placed: Vec<Placed> = segments.iter().filter(is_served).map(placed).collect();
    let mut playable: Vec<Window> = Vec::new();
    for wider in cover(&placed, wide.from, wide.to).spans {
        let mut within = coverage.spans.iter().filter(|span| wider.start < span.end && wider.end > span.start);
        let Some(first) = within.next() else { continue };
        let last = within.next_back().unwrap_or(first);
        playable.push(Window {
            from: wider.start.max(first.start.plus_micros(-extra)),
            to: wider.end.min(last.end.plus_micros(extra)),
        });
    }
    playable
}

pub(super) fn placed(segment: &Segment) -> Placed {
    Placed { start: segment.start, end: segment.end, state: segment.state, stream: segment.stream }
}
