//! Only notify: MediaMTX's recordings are watched and scanned here, and what is seen goes to `service::ledger`. A thread of
//! its own, since all of it blocks.
//!
//! A folder is watched first and listed second, so that nothing falls between. Whatever the system tells of is a hint to look;
//! what is recorded is what a look at the file shows, and a scan every so often looks at everything.

mod dirty;
mod live;
mod scan;
mod watch;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;

use crate::domain::record_path::{Named, RecordPath};
use crate::domain::segment::{Segment, State};
use crate::media::recordings;
use crate::service::ledger::Look;
use crate::service::{Service, ServiceError};

use dirty::Dirty;
use live::Live;
use watch::{News, Watch};

/// A root that is not there is looked for so often, and the stop signal too.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Where changes must be looked for, looking may take a twentieth of the time.
const POLL_SHARE: u32 = 20;
/// But not more often than so.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// After a failure, and after many.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_AFTER_MOST: Duration = Duration::from_secs(60);
/// The length of a file that is being written is brought up to date in the ledger so often.
const RECORD_LIVE_EVERY: Duration = Duration::from_secs(60);

/// The watcher and what it remembers.
pub struct Recordings {
    service: Service,
    runtime: Handle,
    stop: channel::Receiver<bool>,
    interval: Duration,
    roots: Vec<Root>,
    watch: Watch,
    dirty: Dirty,
    live: Live,
    next_scan: Instant,
    /// Files may have gone without a word: a folder was removed.
    check_deleted: bool,
    /// What a scan reads is recorded while it reads on.
    recording: Option<JoinHandle<Result<(), ServiceError>>>,
    /// Rounds that failed one after the other.
    failures: u32,
}

/// A folder below which recordings lie.
struct Root {
    pattern: RecordPath,
    /// Its path as the system tells of it.
    path: PathBuf,
    /// Why it cannot be used at the moment.
    problem: Option<String>,
    /// The device that it was on when it was last usable.
    device: Option<u64>,
}

impl Recordings {
    /// Watches what is configured, if anything, until `stop` says true. Call it on a thread of its own.
    pub fn watch(service: Service, interval: Duration, runtime: Handle, stop: channel::Receiver<bool>) {
        if service.record_paths().is_empty() {
            return;
        }
        let roots = service.record_paths().iter().map(|pattern| {
            let path = std::path::absolute(pattern.root()).unwrap_or_else(|_| pattern.root().to_owned());
            Root { pattern: pattern.clone(), path, problem: None, device: None }
        });
        let roots = roots.collect();
        service.set_watching(|watching| watching.is_first_scan = true);
        let mut recordings = Self {
            service,
            runtime,
            stop,
            interval,
            roots,
            watch: Watch::start(),
            dirty: Dirty::default(),
            live: Live::default(),
            next_scan: Instant::now(),
            check_deleted: false,
            recording: None,
            failures: 0,
        };
        recordings.run();
    }

    fn run(&mut self) {
        while !*self.stop.borrow() {
            if self.service.opened().is_none() {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            // A panic here must not end the watching for good: nobody else would notice.
            let done = catch_unwind(AssertUnwindSafe(|| self.round()));
            let error = match done {
                Ok(Ok(())) => {
                    self.failures = 0;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the watcher met a mistake of this program, see the log".to_owned(),
            };
            self.failures += 1;
            if self.failures == 1 {
                tracing::warn!(error, "the recordings cannot be looked at; trying again");
            }
            self.service.set_watching(|watching| {
                watching.problems = vec![format!("The recordings cannot be looked at: {error}. It is tried again.")];
            });
            self.next_scan = Instant::now();
            self.pause((AGAIN_AFTER * self.failures).min(AGAIN_AFTER_MOST));
        }
    }

    fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !*self.stop.borrow() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn round(&mut self) -> Result<(), ServiceError> {
        if Instant::now() >= self.next_scan {
            self.scan()?;
        }
        let deadlines = [self.dirty.due(), self.live.due(), Some(self.next_scan), Some(Instant::now() + LOOK_EVERY)];
        let until = deadlines.into_iter().flatten().min().unwrap_or_else(Instant::now);
        for news in self.watch.wait(until) {
            match news {
                News::Grown(path) if self.live.has(&path) => {}
                News::Changed(path) | News::Grown(path) => self.dirty.add(path),
                News::Lost => self.next_scan = Instant::now(),
            }
        }
        if self.dirty.is_overfull() {
            self.dirty.clear();
            self.next_scan = Instant::now();
        }
        for path in self.dirty.take_due() {
            self.look(&path)?;
        }
        for path in self.live.take_due() {
            self.look_at_live(&path)?;
        }
        if std::mem::take(&mut self.check_deleted) {
            self.find_deleted()?;
        }
        self.roots_came_back();
        Ok(())
    }

    /// Scans everything.
    fn scan(&mut self) -> Result<(), ServiceError> {
        let started = Instant::now();
        self.watch.renew();
        self.find_deleted()?;
        let mut counts = scan::Counts::default();
        for root in 0..self.roots.len() {
            let path = self.roots[root].path.clone();
            let scanned = self.scan_folder(root, &path, &mut counts)?;
            self.set_problem(root, scanned.err());
        }
        self.recorded()?;
        let took = started.elapsed();
        let mode = if self.watch.is_trusted(self.roots.iter().map(|root| root.path.as_path())) { "inotify" } else { "polling" };
        let interval = if mode == "polling" { (took * POLL_SHARE).max(POLL_EVERY).min(self.interval) } else { self.interval };
        self.next_scan = Instant::now() + interval;
        let (problems, of_watch) = (self.problems(), self.watch.problems());
        self.service.set_watching(|watching| {
            watching.is_first_scan = false;
            watching.files = counts.files;
            watching.files_read = counts.read;
            watching.scan_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            watching.scans += 1;
            watching.mode = mode;
            watching.problems = problems.into_iter().chain(of_watch).collect();
        });
        Ok(())
    }

    fn problems(&self) -> Vec<String> {
        self.roots.iter().filter_map(|root| root.problem.clone()).collect()
    }

    fn set_problem(&mut self, root: usize, problem: Option<String>) {
        let root = &mut self.roots[root];
        if root.problem != problem {
            match &problem {
                Some(problem) => tracing::warn!("{problem}"),
                None => tracing::info!("the recordings folder {} can be read again", root.path.display()),
            }
            root.problem = problem;
        }
    }

    /// A folder that was missing is scanned as soon as it is there.
    fn roots_came_back(&mut self) {
        if self.roots.iter().any(|root| root.problem.is_some() && root.usable().is_ok()) {
            self.next_scan = Instant::now();
        }
    }

    /// Looks at what changed: a file, a folder, or that it is gone.
    fn look(&mut self, path: &Path) -> Result<(), ServiceError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                // It may be another one than was watched under this name.
                self.watch.forget(path);
                for root in 0..self.roots.len() {
                    if path.starts_with(&self.roots[root].path) {
                        let scanned = self.scan_folder(root, path, &mut scan::Counts::default())?;
                        if path == self.roots[root].path {
                            self.set_problem(root, scanned.err());
                        }
                    }
                }
                self.recorded()
            }
            Ok(found) if found.is_file() => self.look_at_file(path, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.gone(path),
            // No recording, or nothing that can be told of it now: the next scan looks again.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The root whose pattern fits a file's name, its name below it, and what that says. Patterns may share a folder.
    fn place_of(&self, path: &Path) -> Option<(usize, String, Named)> {
        (0..self.roots.len()).find_map(|root| {
            let below = self.below(root, path)?;
            let named = self.roots[root].pattern.read(&below)?;
            Some((root, below, named))
        })
    }

    fn look_at_file(&mut self, path: &Path, is_last: bool) -> Result<(), ServiceError> {
        let Some((root, below, named)) = self.place_of(path) else { return Ok(()) };
        let looked = {
            let ledger = self.service.ledger()?;
            self.service.look_at(&ledger, &self.roots[root].pattern, &below, None, named, is_last)
        };
        match looked {
            Ok(look) => {
                let cut = self.note(path, &look);
                if let Look::Read(segment) = look {
                    self.record(vec![segment])?;
                    self.recorded()?;
                }
                cut.into_iter().try_for_each(|older| self.look_at_cut(&older))
            }
            Err(ServiceError::NotFound(_)) => self.gone(path),
            Err(error) => Err(error),
        }
    }

    fn silence(&self) -> Duration {
        Duration::from_micros(self.service.silence_micros(None).unsigned_abs())
    }

    /// Keeps track of what is being written. Returns files of the same path that can no longer be.
    fn note(&mut self, path: &Path, look: &Look) -> Vec<PathBuf> {
        match look {
            Look::TooEarly { path: of, facts } => {
                self.live.add(path, of, None, *facts, self.silence());
                Vec::new()
            }
            Look::Known(segment) | Look::Read(segment) => {
                let facts = recordings::Facts { bytes: segment.bytes, modified_nanos: segment.modified_nanos };
                if segment.state == State::Live {
                    self.service.note_growth(&segment.path);
                    self.live.add(path, &segment.path, Some(segment.start), facts, self.silence());
                } else {
                    self.live.remove(path);
                }
                self.live.older(segment, path)
            }
        }
    }

    /// A file that was being written when a newer one of its path began.
    fn look_at_cut(&mut self, path: &Path) -> Result<(), ServiceError> {
        self.live.remove(path);
        self.look_at_file(path, false)
    }

    /// A file that was being written, when it is time to see whether it still is.
    fn look_at_live(&mut self, path: &Path) -> Result<(), ServiceError> {
        let Ok(found) = std::fs::symlink_metadata(path) else { return self.gone(path) };
        let silence = self.silence();
        if let Some(of) = self.live.has_grown(path, recordings::Facts::from(&found), silence) {
            self.service.note_growth(&of);
            if !self.live.is_to_be_recorded(path, RECORD_LIVE_EVERY) {
                return Ok(());
            }
        } else {
            self.live.remove(path);
        }
        self.look_at_file(path, true)
    }

    fn gone(&mut self, path: &Path) -> Result<(), ServiceError> {
        self.live.remove(path);
        let Some((root, below, named)) = self.place_of(path) else {
            // A folder, perhaps.
            self.check_deleted |= self.watch.forget(path);
            return Ok(());
        };
        if self.roots[root].usable().is_err() {
            // The whole volume, rather: nothing is said of what lies on it.
            self.next_scan = Instant::now();
            return Ok(());
        }
        let known = self.service.ledger()?.segment(&named.path, &below)?;
        match known {
            Some(known) if known.state != State::Deleted && !known.is_hearsay() => {
                self.runtime.block_on(self.service.segments_deleted(vec![known]))
            }
            _ => Ok(()),
        }
    }

    /// Has what was read recorded, once what was read before it is.
    fn record(&mut self, segments: Vec<Segment>) -> Result<(), ServiceError> {
        self.recorded()?;
        let service = self.service.clone();
        self.recording = Some(self.runtime.spawn(async move { service.record_segments(segments).await }));
        Ok(())
    }

    /// Waits until what was read is recorded.
    fn recorded(&mut self) -> Result<(), ServiceError> {
        match self.recording.take().map(|recording| self.runtime.block_on(recording)) {
            None => Ok(()),
            Some(Ok(done)) => done,
            Some(Err(ended)) => Err(ServiceError::Failed(format!("a task ended early: {ended}"))),
        }
    }

    /// A path's name below its root, where it is text.
    fn below(&self, root: usize, path: &Path) -> Option<String> {
        path.strip_prefix(&self.roots[root].path).ok()?.to_str().map(ToOwned::to_owned)
    }
}
