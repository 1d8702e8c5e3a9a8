//! Recordings: what each file is, what video there is of a session or a path, and why some is missing.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::domain::coverage::{Cause, Coverage, Placed, cover};
use crate::domain::ids::SessionId;
use crate::domain::query::Window;
use crate::domain::record_path::{Named, NamedStart, RecordPath};
use crate::domain::segment::{Segment, State};
use crate::domain::session::Session;
use crate::domain::time::Timestamp;
use crate::domain::zone::LocalTime;
use crate::media::beneath::Folder;
use crate::media::fmp4::Progress;
use crate::media::recordings::{self, Facts};
use crate::store::Snapshot;

use super::placing::{place, remeasure, window_of};
use super::sessions::SESSION_NOT_FOUND;
use super::{Service, ServiceError};

const GONE: &str = "the file is gone";
/// Out of file descriptors, of this process or of the system; out of memory (errno(3)).
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
const ENOMEM: i32 = 12;
/// The most segments of one answer.
pub const MAX_SEGMENTS: usize = 10_000;
/// Files that requests read at once.
const MAX_READS: usize = 4;
/// Parts are so long where a file does not say: MediaMTX's default.
const PART_MICROS: i64 = 1_000_000;
/// Two of a path's segments that lie so close follow each other.
const NEIGHBOURLY_MICROS: i64 = 2_000_000;

/// What is remembered of recordings in memory.
#[derive(Default)]
pub struct RecordingsState {
    watching: Mutex<Watching>,
    /// How far files that are being written were measured, by their names below the roots.
    progress: Mutex<HashMap<String, Progress>>,
    /// Whether a file may have another name in the ledger, called deleted.
    has_deleted: AtomicBool,
    /// Files that requests read at once: on a hung volume they must not take all threads.
    reads: Reads,
}

struct Reads(Semaphore);

impl Default for Reads {
    fn default() -> Self {
        Self(Semaphore::new(MAX_READS))
    }
}

/// How the watching of recordings goes, for `/health`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Watching {
    /// Whether the first scan still runs.
    #[serde(skip)]
    pub is_first_scan: bool,
    /// Whole sentences; none when all is well.
    #[serde(skip)]
    pub problems: Vec<String>,
    /// Files seen by the last scan.
    pub files: u64,
    /// Of these, read because they had changed.
    pub files_read: u64,
    /// Milliseconds that it took.
    pub scan_ms: u64,
    /// How many scans were made.
    pub scans: u64,
    /// Whether changes are told of by the system, or looked for.
    pub mode: &'static str,
}

/// What a look at a file showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is what the ledger says, and was not opened.
    Known(Segment),
    /// It was read.
    Read(Segment),
    /// It is being written, and nothing can be said of it yet.
    TooEarly {
        /// MediaMTX's path.
        path: String,
        /// What it is now.
        facts: Facts,
    },
}

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
    /// MediaMTX's patterns.
    pub fn record_paths(&self) -> &[RecordPath] {
        &self.inner.settings.record_paths
    }

    /// How long after the last part a file may be silent, in microseconds, before it counts as no longer written.
    pub fn silence_micros(&self, part_micros: Option<i64>) -> i64 {
        let settle = i64::try_from(self.inner.settings.settle.as_micros()).unwrap_or(i64::MAX);
        (2 * part_micros.unwrap_or(PART_MICROS)).saturating_add(settle)
    }

    pub(super) fn preroll_micros(&self) -> i64 {
        i64::try_from(self.settings().preroll.as_micros()).unwrap_or(i64::MAX)
    }

    /// Where MediaMTX's playback server answers.
    pub fn playback_base_url(&self) -> &str {
        &self.inner.settings.playback_base_url
    }

    /// Notes how the watching goes.
    pub fn set_watching(&self, change: impl FnOnce(&mut Watching)) {
        change(&mut self.inner.recordings.watching.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How the watching goes.
    pub fn watching(&self) -> Watching {
        self.inner.recordings.watching.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The recording of `path` has grown.
    pub fn note_growth(&self, path: &str) {
        if self.inner.settings.idle_close.is_some() {
            self.inner.activity.of_path(path, self.inner.clock.monotonic());
        }
    }

    /// A view of the ledger, for whoever walks the files.
    ///
    /// # Errors
    /// While the store is not open, or is being healed.
    pub fn ledger(&self) -> Result<Snapshot, ServiceError> {
        let store = self.opened().ok_or(ServiceError::Busy)?;
        store.read().map_err(|error| {
            if error.needs_reopening() {
                store.heal();
            }
            error.into()
        })
    }

    /// Looks at a file that lies `below` the root of `pattern`, whose name says `named`; in `folder`, where that is open. One that is as the ledger knows it is
    /// not opened. `is_last` says that no newer one of its path is known.
    ///
    /// # Errors
    /// Where it is gone, or cannot be looked at for want of file descriptors.
    pub fn look_at(
        &self,
        ledger: &Snapshot,
        pattern: &RecordPath,
        below: &str,
        folder: Option<&Folder>,
        named: Named,
        is_last: bool,
    ) -> Result<Look, ServiceError> {
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        if let Some(known) = ledger.segment(&named.path, below)?
            && !matches!(known.state, State::Live | State::Deleted)
        {
            match recordings::facts(pattern.root(), below) {
                Ok(facts) if (known.bytes, known.modified_nanos) == (facts.bytes, facts.modified_nanos) => {
                    return Ok(Look::Known(known));
                }
                Err(error) if gone(&error) => return Err(ServiceError::NotFound(GONE)),
                _ => {}
            }
        }
        let mut progress = self.progress().remove(below).unwrap_or_default();
        let (facts, measured) = match recordings::measure(pattern.root(), below, folder, named.format, &mut progress) {
            Ok(read) => read,
            Err(error) if gone(&error) => return Err(ServiceError::NotFound(GONE)),
            // Our lack, and no fact about the file.
            Err(error) if matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOMEM)) => return Err(error.into()),
            Err(error) => {
                // What hinders it may end without the file changing: it is tried again by every scan.
                let facts = Facts { bytes: 0, modified_nanos: i64::MIN };
                let start = self.named_start(ledger, &named, below, None, facts).unwrap_or_else(|_| self.now());
                let reason = format!("it cannot be read: {error}");
                return Ok(Look::Read(unreadable(named.path, below, start, facts, reason)));
            }
        };
        let part = measured.as_ref().ok().and_then(|measured| measured.part_micros);
        let age = self.now().micros() - at(facts.modified_nanos).micros();
        let silence = self.silence_micros(part);
        // Clocks of other machines may be a little ahead.
        let is_growing = is_last && (-silence..silence).contains(&age);
        let measured = match measured {
            Ok(measured) => measured,
            Err(_) if is_growing => return Ok(Look::TooEarly { path: named.path, facts }),
            Err(unmeasurable) => {
                let start = self.named_start(ledger, &named, below, None, facts).unwrap_or_else(|_| at(facts.modified_nanos));
                return Ok(Look::Read(unreadable(named.path, below, start, facts, unmeasurable.0)));
            }
        };
        let start = match measured.stream {
            Some(stream) => Ok(stream.start),
            None => self.named_start(ledger, &named, below, Some(measured.duration_micros), facts),
        };
        let start = match start {
            Ok(start) => start,
            Err(reason) => return Ok(Look::Read(unreadable(named.path, below, at(facts.modified_nanos), facts, reason))),
        };
        let mut duration = measured.duration_micros.max(0);
        if measured.is_estimate && duration == 0 {
            // Its packets say nothing: it ended when it was last written to, if that can be.
            let longest = 2_000_000 * i64::from(self.settings().segment_duration_sec);
            duration = at(facts.modified_nanos).micros() - start.micros();
            if !(1..=longest).contains(&duration) {
                let reason = "its packets hold no times, and it was written to long after it began".to_owned();
                return Ok(Look::Read(unreadable(named.path, below, start, facts, reason)));
            }
        }
        let (state, reason) = match (measured.is_closed, measured.is_estimate) {
            (true, false) => (State::Complete, None),
            (false, _) if is_growing => {
                self.progress().insert(below.to_owned(), progress);
                (State::Live, None)
            }
            (_, true) => (
                State::Estimated,
                Some("its start is its name's, its length that of the packets in it or the time of its last writing".to_owned()),
            ),
            (false, false) => (State::Truncated, None),
        };
        Ok(Look::Read(Segment {
            path: named.path,
            file: below.to_owned(),
            start,
            end: start.plus_micros(duration),
            state,
            bytes: facts.bytes,
            modified_nanos: facts.modified_nanos,
            stream: measured.stream,
            reason,
        }))
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<String, Progress>> {
        self.inner.recordings.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moment that a name means. An ambiguous one is settled by a neighbour, then by when the file was last written to.
    fn named_start(
        &self,
        ledger: &Snapshot,
        named: &Named,
        below: &str,
        duration: Option<i64>,
        facts: Facts,
    ) -> Result<Timestamp, String> {
        let local: LocalTime = match &named.start {
            NamedStart::At(start) => return Ok(*start),
            NamedStart::NoMoment(reason) => return Err(format!("its name gives no moment: {reason}")),
            NamedStart::Local(local) => *local,
        };
        let zone = &self.inner.settings.zone;
        let candidates = zone.candidates(local);
        let duration = duration.unwrap_or(0);
        let has_neighbour = |start: Timestamp| {
            let around = Window {
                from: start.plus_micros(-NEIGHBOURLY_MICROS),
                to: start.plus_micros(duration.saturating_add(NEIGHBOURLY_MICROS)),
            };
            let segments = ledger.segments_within(&named.path, around, 100).unwrap_or_default();
            segments.iter().any(|other| {
                let touches = |a: Timestamp, b: Timestamp| (a.micros() - b.micros()).abs() <= NEIGHBOURLY_MICROS;
                !other.is_hearsay()
                    && other.file != below
                    && (touches(other.end, start) || touches(other.start, start.plus_micros(duration)))
            })
        };
        match candidates.as_slice() {
            [] => Err(format!("its name gives a local time that there was not in {}", zone.name())),
            [start] => Ok(*start),
            several => {
                let mut neighbourly = several.iter().filter(|start| has_neighbour(**start));
                if let (Some(start), None) = (neighbourly.next(), neighbourly.next()) {
                    return Ok(*start);
                }
                let written = at(facts.modified_nanos).micros();
                let distance = |start: &&Timestamp| (start.plus_micros(duration).micros() - written).abs();
                several.iter().min_by_key(distance).copied().ok_or_else(|| "it has no moment".to_owned())
            }
        }
    }

    /// Takes what was read of files into the ledger.
    pub async fn record_segments(&self, segments: Vec<Segment>) -> Result<(), ServiceError> {
        let preroll = self.preroll_micros();
        let has_deleted = self.inner.recordings.has_deleted.load(Ordering::Relaxed);
        self.write(move |tx| segments.iter().try_for_each(|segment| place(tx, segment, preroll, has_deleted))).await
    }

    /// Notes that the files of these segments are gone.
    pub async fn segments_deleted(&self, segments: Vec<Segment>) -> Result<(), ServiceError> {
        self.set_has_deleted(true);
        self.record_segments(segments.into_iter().map(|segment| Segment { state: State::Deleted, ..segment }).collect()).await
    }

    /// Gives segments that hooks told of the names that their files have below the root, now that it is known.
    pub async fn rename_segments(&self, renamed: Vec<(Segment, String)>) -> Result<(), ServiceError> {
        let preroll = self.preroll_micros();
        self.write(move |tx| {
            for (told, file) in &renamed {
                tx.remove_segment(told)?;
                if tx.segment(&told.path, file)?.is_none() {
                    place(tx, &Segment { file: file.clone(), ..told.clone() }, preroll, true)?;
                } else {
                    remeasure(tx, told, preroll)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Says whether the ledger holds any segment whose file is gone.
    pub fn set_has_deleted(&self, has: bool) {
        self.inner.recordings.has_deleted.store(has, Ordering::Relaxed);
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
        let mut segments = self.segments_now(snapshot, path, wide)?;
        let mut placed: Vec<Placed> = segments.iter().filter(|segment| segment.state != State::Unreadable).map(placed).collect();
        // What lies beside the window tells why there is a gap at its ends.
        let beside = [snapshot.segment_before(path, wide.from)?, snapshot.segment_after(path, wide.to)?];
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
    fn segments_now(&self, snapshot: &Snapshot, path: &str, window: Window) -> Result<Vec<Segment>, ServiceError> {
        let mut segments = snapshot.segments_within(path, window, MAX_SEGMENTS + 1)?;
        if segments.len() > MAX_SEGMENTS {
            return Err(ServiceError::TooMuch("The window holds more than 10000 segments: ask for a shorter one"));
        }
        // As far as the ledger knows, one that is being written may end before the window.
        let growing = snapshot.segment_before(path, window.from)?.filter(|before| before.state == State::Live);
        segments.extend(growing);
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

fn at(nanos: i64) -> Timestamp {
    Timestamp::from_micros(nanos.div_euclid(1000))
}

fn unreadable(path: String, below: &str, start: Timestamp, facts: Facts, reason: String) -> Segment {
    Segment {
        path,
        file: below.to_owned(),
        start,
        end: start,
        state: State::Unreadable,
        bytes: facts.bytes,
        modified_nanos: facts.modified_nanos,
        stream: None,
        reason: Some(reason),
    }
}

pub(super) fn placed(segment: &Segment) -> Placed {
    let stream = segment.stream.map(|stream| (stream.id, stream.number, stream.dts_nanos, stream.ntp_nanos));
    Placed { start: segment.start, end: segment.end, state: segment.state, stream }
}
