//! Walking the folders of recordings.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::domain::record_path::Named;
use crate::domain::segment::{Segment, State};
use crate::media::beneath::Folder;
use crate::media::recordings;
use crate::service::ServiceError;
use crate::service::ledger::Look;

use super::{Recordings, Root};

/// Files looked at with one view of the ledger, and segments recorded in one change.
const AT_ONCE: usize = 400;

/// A hook is late by so much at most: what it told of and is not there after that is gone.
const LONG_AGO_MICROS: i64 = 3600 * 1_000_000;

/// What a scan met.
#[derive(Debug, Default)]
pub struct Counts {
    /// Files with the name of a segment.
    pub files: u64,
    /// Of these, read.
    pub read: u64,
}

impl Root {
    /// Whether it can be read and is not the place where its volume should be mounted: that is empty, or on the device of the
    /// folder around it where it once was on another.
    pub(super) fn usable(&self) -> Result<(), String> {
        let shown = self.path.display();
        let wait = "It is waited for.";
        let listed = fs::read_dir(&self.path).map(|mut entries| entries.next().is_some());
        match listed {
            Ok(true) => {}
            Ok(false) => return Err(format!("The recordings folder {shown} is empty: is its volume mounted? {wait}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!("The recordings folder {shown} is not there. {wait}"));
            }
            Err(error) => return Err(format!("The recordings folder {shown} cannot be read: {error}. {wait}")),
        }
        let device = |path: &Path| fs::metadata(path).ok().map(|found| found.dev());
        let now = device(&self.path);
        if self.device.is_some() && now != self.device && now == self.path.parent().and_then(device) {
            return Err(format!("The recordings folder {shown} is not on its volume any more: is that mounted? {wait}"));
        }
        Ok(())
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
            if let Err(problem) = self.roots[root].usable() {
                self.watch.forget(folder);
                return Ok(Err(problem));
            }
            self.roots[root].device = fs::metadata(folder).ok().map(|found| found.dev());
        }
        let mut folders = vec![folder.to_owned()];
        let mut files: Vec<File> = Vec::new();
        while let Some(folder) = folders.pop() {
            self.watch.add(&folder);
            let Ok(entries) = fs::read_dir(&folder) else {
                self.watch.forget(&folder);
                continue;
            };
            let parts = self.below(root, &folder);
            let open = parts
                .and_then(|parts| Folder::below(&self.roots[root].path, parts.split('/').filter(|part| !part.is_empty())).ok());
            for entry in entries.flatten() {
                if *self.stop.borrow() {
                    return Ok(Ok(()));
                }
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file()
                    && let path = entry.path()
                    && let Some(below) = self.below(root, &path)
                    && let Some(named) = self.roots[root].pattern.read(&below)
                {
                    files.push(File { path, below, folder: open.clone(), named });
                }
                if files.len() == AT_ONCE {
                    self.look_at_files(root, &mut files, counts)?;
                }
            }
        }
        self.look_at_files(root, &mut files, counts)?;
        Ok(Ok(()))
    }

    fn look_at_files(&mut self, root: usize, files: &mut Vec<File>, counts: &mut Counts) -> Result<(), ServiceError> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut cut = Vec::new();
        // By name, and so mostly by time: neighbours settle what a name leaves open.
        files.sort_unstable_by(|one, other| one.below.cmp(&other.below));
        let ledger = self.service.ledger()?;
        for File { path, below, folder, named } in files.drain(..) {
            counts.files += 1;
            match self.service.look_at(&ledger, &self.roots[root].pattern, &below, folder.as_ref(), named, true) {
                Ok(look) => {
                    counts.read += u64::from(!matches!(look, Look::Known(_)));
                    cut.extend(self.note(&path, &look));
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

    /// Looks for segments whose files are gone, and for those that hooks told of before their folder was known. Of a root that
    /// cannot be used nothing is said.
    pub(super) fn find_deleted(&mut self) -> Result<(), ServiceError> {
        let usable: Vec<bool> = self.roots.iter().map(|root| root.usable().is_ok()).collect();
        let long_ago = self.service.now().plus_micros(-LONG_AGO_MICROS);
        let (mut last, mut any_deleted) = (None, false);
        loop {
            if *self.stop.borrow() {
                return Ok(());
            }
            let page = self.service.ledger()?.segments_behind(last.as_ref(), AT_ONCE)?;
            let Some(end) = page.last().cloned() else { break };
            last = Some(end);
            let (mut gone, mut renamed) = (Vec::new(), Vec::new());
            for segment in page {
                any_deleted |= segment.state == State::Deleted;
                match self.fate(&segment, &usable) {
                    Fate::Gone if !segment.is_hearsay() || segment.end < long_ago => gone.push(segment),
                    Fate::Known(below) => renamed.push((segment, below)),
                    Fate::There | Fate::Gone | Fate::Unknown => {}
                }
            }
            if !gone.is_empty() {
                any_deleted = true;
                self.runtime.block_on(self.service.segments_deleted(gone))?;
            }
            if !renamed.is_empty() {
                self.runtime.block_on(self.service.rename_segments(renamed))?;
            }
        }
        self.service.set_has_deleted(any_deleted);
        Ok(())
    }

    /// What became of a segment's file.
    fn fate(&self, segment: &Segment, usable: &[bool]) -> Fate {
        if segment.state == State::Deleted {
            return Fate::Unknown;
        }
        let mut fate = Fate::Unknown;
        for (root, is_usable) in self.roots.iter().zip(usable) {
            let is_its = root.pattern.read(&segment.file).is_some_and(|named| named.path == segment.path);
            if !is_its {
                if let Some((below, _)) = root.pattern.read_tail_of(&segment.file, &segment.path).filter(|_| segment.is_hearsay())
                {
                    return Fate::Known(below);
                }
                continue;
            }
            match recordings::facts(&root.path, &segment.file) {
                Err(error) if *is_usable && error.kind() == io::ErrorKind::NotFound => fate = Fate::Gone,
                // There, or on a volume that is not.
                _ => return Fate::There,
            }
        }
        fate
    }
}

/// A file with the name of a segment.
struct File {
    path: PathBuf,
    below: String,
    /// The folder in which it lies.
    folder: Option<Folder>,
    named: Named,
}

/// What became of a segment's file.
enum Fate {
    There,
    Gone,
    /// A hook told of it by another name; below the root it is called so.
    Known(String),
    /// No root's.
    Unknown,
}
