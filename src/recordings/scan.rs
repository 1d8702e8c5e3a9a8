//! Walking the folders of recordings.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::domain::segment::{Segment, State};
use crate::media::recordings::{self, Facts};
use crate::service::ServiceError;
use crate::service::recordings::Look;

use super::Recordings;

/// Files looked at with one view of the ledger, and segments recorded in one change.
const AT_ONCE: usize = 500;

/// What a scan met.
#[derive(Debug, Default)]
pub struct Counts {
    /// Files with the name of a segment.
    pub files: u64,
    /// Of these, read.
    pub read: u64,
}

/// Whether a root can be read and is not the empty place where its volume should be mounted.
pub fn usable(root: &Path) -> Result<(), String> {
    let wait = "It is waited for.";
    match fs::read_dir(root) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Ok(()),
            None => Err(format!("The recordings folder {} is empty: is its volume mounted? {wait}", root.display())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("The recordings folder {} is not there. {wait}", root.display()))
        }
        Err(error) => Err(format!("The recordings folder {} cannot be read: {error}. {wait}", root.display())),
    }
}

impl Recordings {
    /// Watches and lists `folder` and all below it. The inner error says why the folder cannot be used.
    pub(super) fn scan_folder(
        &mut self,
        root: usize,
        folder: &Path,
        counts: &mut Counts,
    ) -> Result<Result<(), String>, ServiceError> {
        if folder == self.roots[root].path {
            // An empty one may just have been made: what comes next in it is told of.
            self.watch.add(folder);
            if let Err(problem) = usable(folder) {
                self.watch.forget(folder);
                return Ok(Err(problem));
            }
        }
        let mut folders = vec![folder.to_owned()];
        let mut files: Vec<(PathBuf, String, Facts)> = Vec::new();
        while let Some(folder) = folders.pop() {
            if *self.stop.borrow() {
                return Ok(Ok(()));
            }
            self.watch.add(&folder);
            let Ok(entries) = fs::read_dir(&folder) else {
                self.watch.forget(&folder);
                continue;
            };
            for entry in entries.flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file()
                    && let path = entry.path()
                    && let Some(below) = self.below(root, &path)
                    && self.roots[root].pattern.read(&below).is_some()
                    && let Ok(found) = entry.metadata()
                {
                    files.push((path, below, Facts::from(&found)));
                }
                if files.len() == AT_ONCE {
                    self.look_at_files(root, &mut files, counts)?;
                }
            }
        }
        self.look_at_files(root, &mut files, counts)?;
        Ok(Ok(()))
    }

    fn look_at_files(
        &mut self,
        root: usize,
        files: &mut Vec<(PathBuf, String, Facts)>,
        counts: &mut Counts,
    ) -> Result<(), ServiceError> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut cut = Vec::new();
        let ledger = self.service.ledger()?;
        for (path, below, facts) in files.drain(..) {
            counts.files += 1;
            match self.service.look_at(&ledger, &self.roots[root].pattern, &below, facts, true) {
                Ok(look) => {
                    counts.read += u64::from(!matches!(look, Look::Known(_)));
                    cut.extend(self.note(&path, facts, &look));
                    if let Look::Read(segment) = look {
                        segments.push(segment);
                    }
                }
                // Gone again.
                Err(ServiceError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        drop(ledger);
        if !segments.is_empty() {
            self.record(segments)?;
        }
        cut.iter().try_for_each(|path| self.look_at_cut(path))
    }

    /// Looks for segments whose files are gone. Of a root that cannot be used nothing is said.
    pub(super) fn find_deleted(&mut self) -> Result<(), ServiceError> {
        let usable: Vec<usize> = (0..self.roots.len()).filter(|root| usable(&self.roots[*root].path).is_ok()).collect();
        if usable.len() < self.roots.len() {
            return Ok(());
        }
        let mut last = None;
        loop {
            if *self.stop.borrow() {
                return Ok(());
            }
            let page = self.service.ledger()?.segments_behind(last.as_ref(), AT_ONCE)?;
            let Some(end) = page.last().cloned() else { return Ok(()) };
            last = Some(end);
            let gone: Vec<Segment> = page.into_iter().filter(|segment| self.is_gone(segment)).collect();
            if !gone.is_empty() {
                self.runtime.block_on(self.service.segments_deleted(gone))?;
            }
        }
    }

    fn is_gone(&self, segment: &Segment) -> bool {
        let lies_in = |root: &super::Root| {
            let known = root.pattern.read(&segment.file).is_some_and(|named| named.path == segment.path);
            known.then(|| recordings::facts(&root.path, &segment.file))
        };
        let mut found = self.roots.iter().filter_map(lies_in).peekable();
        segment.state != State::Deleted
            && !segment.is_hearsay()
            && found.peek().is_some()
            && found.all(|found| found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound))
    }
}
