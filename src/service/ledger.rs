//! The ledger of recordings, as the watcher sees it: what each file is, and taking that in.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Semaphore;

use crate::domain::query::Window;
use crate::domain::record_path::{Named, NamedStart, RecordPath};
use crate::domain::segment::{Segment, State};
use crate::domain::time::Timestamp;
use crate::domain::zone::LocalTime;
use crate::media::beneath::Folder;
use crate::media::fmp4::Progress;
use crate::media::recordings::{self, Facts};
use crate::store::Snapshot;

use super::placing::{place, remeasure};
use super::{Service, ServiceError};

const GONE: &str = "the file is gone";
/// Out of file descriptors, of this process or of the system; out of memory (errno(3)).
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
const ENOMEM: i32 = 12;
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
    pub(super) reads: Reads,
}

pub(super) struct Reads(pub(super) Semaphore);

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
            Some(stream) => Ok(stream.start()),
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
