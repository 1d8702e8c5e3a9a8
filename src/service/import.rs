//! Taking in an export: merging as ingest does, batch by batch, each whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::sync::mpsc;

use crate::domain::detection::Detection;
use crate::domain::ids::SessionId;
use crate::domain::query::SessionKey;
use crate::domain::session::Session;
use crate::media::frames::FramesFolder;
use crate::store::{FrameFile, Store, StoreError, Tracks, Transaction, WriteError};

use super::line::Entry;

/// Lines taken into one commit.
const BATCH: usize = 10_000;
/// Batches read ahead of the store.
const AHEAD: usize = 2;

/// Detections kept until the line of their session comes. In the order of the feed a session that was
/// closed stands behind its detections; so many are those of thousands of sessions.
const MAX_EARLY: usize = 500_000;

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines read, empty ones aside.
    pub lines: u64,
    /// Sessions that were new or changed.
    pub sessions: u64,
    /// Detections that were new or changed.
    pub detections: u64,
    /// Sessions deleted.
    pub deleted: u64,
    /// Lines that changed nothing.
    pub unchanged: u64,
    /// Detections whose frame's file is not there.
    pub frames_missing: u64,
}

impl Imported {
    /// Adds what another part did.
    pub fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.sessions += other.sessions;
        self.detections += other.detections;
        self.deleted += other.deleted;
        self.unchanged += other.unchanged;
        self.frames_missing += other.frames_missing;
    }
}

/// Why an import stopped; what stands before the failing batch is stored.
#[derive(Debug)]
pub struct ImportError {
    /// A sentence that names the line.
    pub reason: String,
    /// What was stored.
    pub stored: Imported,
}

/// Reads `input` into `store`. `progress` is called after each batch, with all that is stored and the
/// bytes read for it.
///
/// # Errors
/// The first bad line, by its number; nothing of its batch is stored.
pub fn import(
    store: &Store,
    frames: &FramesFolder,
    input: impl BufRead + Send,
    mut progress: impl FnMut(Imported, u64),
) -> Result<Imported, ImportError> {
    let mut stored = Imported::default();
    std::thread::scope(|scope| {
        let (batches, received) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || read_batches(input, &batches));
        let mut early = Batch::new();
        for batch in received {
            let (mut batch, bytes) = batch.map_err(|reason| ImportError { reason, stored })?;
            batch.splice(0..0, early);
            let (done, still_early) =
                take(store, frames, batch).map_err(|error| ImportError { reason: error.to_string(), stored })?;
            early = still_early;
            stored.add(done);
            if early.len() > MAX_EARLY {
                break;
            }
            progress(stored, bytes);
        }
        match early.first() {
            None => Ok(stored),
            Some((number, entry)) => {
                let session = if let Entry::Detection(id, ..) = entry { id.as_str() } else { "" };
                let reason = format!("line {number}: session {session} is neither in the store nor in a line that follows");
                Err(ImportError { reason, stored })
            }
        }
    })
}

pub(super) type Batch = Vec<(u64, Entry)>;

/// Parses lines into batches and sends each with the bytes read so far.
fn read_batches(mut input: impl BufRead, batches: &mpsc::SyncSender<Result<(Batch, u64), String>>) {
    let mut batch = Batch::new();
    let (mut number, mut bytes) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        number += 1;
        let failure = match input.read_until(b'\n', &mut line) {
            Ok(0) => {
                let _ = batches.send(Ok((batch, bytes)));
                return;
            }
            Ok(read) => {
                bytes += read as u64;
                let text = line.trim_ascii();
                if text.is_empty() {
                    continue;
                }
                match Entry::parse(text) {
                    Ok(entry) => {
                        batch.push((number, entry));
                        None
                    }
                    Err(invalid) => Some(format!("line {number}: {invalid}")),
                }
            }
            Err(error) => Some(format!("line {number} cannot be read: {error}")),
        };
        // A receiver that is gone has met a failure of its own.
        let sent = match failure {
            Some(reason) => {
                let _ = batches.send(Err(reason));
                return;
            }
            None if batch.len() == BATCH => batches.send(Ok((std::mem::take(&mut batch), bytes))),
            None => Ok(()),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Takes in entries in one commit; also says by their numbers which have no session.
///
/// # Errors
/// When the store cannot; nothing is stored then.
pub(super) fn take_batch(store: &Store, frames: &FramesFolder, batch: Batch) -> Result<(Imported, Vec<u64>), WriteError> {
    let (done, early) = take(store, frames, batch)?;
    Ok((done, numbers(&early)))
}

/// The numbers of a batch's lines.
pub(super) fn numbers(batch: &Batch) -> Vec<u64> {
    batch.iter().map(|(number, _)| *number).collect()
}

fn take(store: &Store, frames: &FramesFolder, batch: Batch) -> Result<(Imported, Batch), WriteError> {
    let files = Files::Folder(frames.clone());
    store.write_blocking(move |tx| {
        tx.do_without_journal();
        apply(tx, &files, &batch)
    })
}

/// How a batch learns whether the files that its detections name are there.
pub(super) enum Files {
    /// By looking: nobody else deletes any.
    Folder(FramesFolder),
    /// As they were seen before, by the numbers of their lines: the writer of a running daemon waits for no folder.
    Seen(HashMap<u64, Seen>),
}

/// A file that is there and waits for no deletion.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Its length.
    pub bytes: u64,
    /// Whether a row named it. Once none does any more, it may be gone.
    pub was_shown: bool,
}

impl Files {
    /// The length of the `file` that the line `number` names, where it is there and stays.
    fn length(
        &self,
        tx: &Transaction<'_>,
        (at, id): (SessionKey, &SessionId),
        (number, file): (u64, &str),
    ) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Folder(frames) => Ok(is_file_name(file).then(|| frames.length(id, file).ok()).flatten()),
            Self::Seen(seen) => match seen.get(&number) {
                Some(seen) if seen.was_shown && !tx.is_frame_shown(at, file)? => Ok(None),
                seen => Ok(seen.map(|seen| seen.bytes)),
            },
        }
    }
}

/// Applies a batch. Also returns the detections whose session has not come yet.
pub(super) fn apply(tx: &mut Transaction<'_>, files: &Files, batch: &Batch) -> Result<(Imported, Batch), StoreError> {
    let mut work = Work { tx, files, known: HashMap::new(), early: BTreeMap::new(), done: Imported::default() };
    for line in batch {
        work.apply(line)?;
    }
    let mut early: Batch = work.early.into_values().flatten().cloned().collect();
    early.sort_by_key(|(number, _)| *number);
    Ok((work.done, early))
}

/// A batch on its way into a transaction.
struct Work<'w, 't> {
    tx: &'w mut Transaction<'t>,
    files: &'w Files,
    /// Detections of one session often stand together.
    known: HashMap<&'w SessionId, SessionKey>,
    early: BTreeMap<&'w SessionId, Vec<&'w (u64, Entry)>>,
    done: Imported,
}

impl<'w> Work<'w, '_> {
    fn apply(&mut self, line: &'w (u64, Entry)) -> Result<(), StoreError> {
        let changed = match &line.1 {
            Entry::Session(session) => {
                let changed = apply_session(self.tx, session)?;
                self.done.sessions += u64::from(changed);
                for waiting in self.early.remove(&session.id).unwrap_or_default() {
                    self.apply(waiting)?;
                }
                changed
            }
            Entry::Deleted(id) => {
                self.known.remove(id);
                let changed = self.tx.delete_session(id, Tracks::Stay)?;
                self.done.deleted += u64::from(changed);
                changed
            }
            Entry::Segment(segment) => {
                // What a file said is not undone by what a hook had said.
                if self.tx.segment(&segment.path, &segment.file)?.is_none_or(|known| known.is_hearsay()) {
                    self.tx.put_segment(segment)?;
                }
                false
            }
            Entry::Aside => false,
            Entry::Detection(id, detection, of) => {
                let Some(at) = self.key(id)? else {
                    self.early.entry(id).or_default().push(line);
                    return Ok(());
                };
                let (changed, missing) = apply_detection(self.tx, self.files, (at, id), line.0, detection, *of)?;
                self.done.frames_missing += u64::from(missing);
                self.done.detections += u64::from(changed);
                changed
            }
        };
        self.done.lines += 1;
        self.done.unchanged += u64::from(!changed);
        Ok(())
    }

    fn key(&mut self, id: &'w SessionId) -> Result<Option<SessionKey>, StoreError> {
        if let Some(at) = self.known.get(id) {
            return Ok(Some(*at));
        }
        let found = self.tx.session(id)?.map(|(at, _)| at);
        if let Some(at) = found {
            self.known.insert(id, at);
        }
        Ok(found)
    }
}

fn apply_session(tx: &mut Transaction<'_>, session: &Session) -> Result<bool, StoreError> {
    let Some((at, mut mine)) = tx.session(&session.id)? else {
        tx.add_session(session)?;
        return Ok(true);
    };
    let changed = mine.merge(session);
    if changed {
        mine.updated_at = mine.updated_at.max(tx.now());
        tx.put_session(at, &mine)?;
    }
    Ok(changed)
}

/// Says whether anything changed, and whether a frame's file is missing.
fn apply_detection(
    tx: &mut Transaction<'_>,
    files: &Files,
    (at, id): (SessionKey, &SessionId),
    number: u64,
    detection: &Detection,
    of: Option<FrameFile>,
) -> Result<(bool, bool), StoreError> {
    let file = detection.picture.as_ref().map(|picture| picture.file.as_str());
    let mine = tx.detection(at, &detection.track)?;
    let is_shown = |file: &str| mine.as_ref().and_then(|mine| mine.picture.as_ref()).is_some_and(|picture| picture.file == file);
    let mut found = None;
    let mut missing = false;
    if let Some(file) = file.filter(|file: &&str| !is_shown(file)) {
        found = files.length(tx, (at, id), (number, file))?;
        missing = found.is_none();
    }
    let mut detection = detection.clone();
    if missing {
        detection.picture = None;
    }
    let merged = match mine {
        None => detection,
        Some(mut mine) => {
            if !mine.merge(&detection) {
                return Ok((false, missing));
            }
            mine.updated_at = mine.updated_at.max(tx.now());
            mine
        }
    };
    // A file of another length was rewritten since, and its hash is another, too.
    let hash = |bytes| of.filter(|of| of.bytes == bytes).and_then(|of| of.hash);
    tx.put_detection(at, id, &merged, found.map(|bytes| FrameFile { bytes, hash: hash(bytes) }).as_ref())?;
    Ok((true, missing))
}

pub(super) fn is_file_name(file: &str) -> bool {
    crate::domain::ids::FileName::new("url_frame", file).is_ok()
}
