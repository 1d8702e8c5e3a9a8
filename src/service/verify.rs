//! Comparing the database with itself and with the frames folder, piece by piece, while it runs or stands still.
//! Nothing is changed. Each piece has a snapshot of its own, and what looks wrong is looked at again in a fresh one.

use std::borrow::Cow;
use std::io;

use serde::{Deserialize, Serialize};

use crate::media::frames::{FramesFolder, Pairing};
use crate::media::walk::{Found, FramesWalk};
use crate::store::{NamedFrame, Place, Snapshot, Store, StoreError, Urgency};

use super::whole::{Condition, look_at};
use super::{Service, ServiceError};

/// Rows looked at in one snapshot.
const ROWS_AT_ONCE: u64 = 1000;
/// Files looked at in one piece.
const FILES_AT_ONCE: usize = 500;
/// Frames read whole in one piece.
const DEEP_AT_ONCE: usize = 16;

/// One thing that a verification has to say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What does not fit.
    Finding(Finding),
    /// A frame that was rewritten in place, and is whole.
    Changed {
        /// Below the frames folder.
        file: String,
    },
    /// How far it is.
    Progress(Progress),
    /// The end of a look at everything.
    Summary(Summary),
    /// It could not go on, and not everything was looked at; a sentence.
    BrokenOff(String),
}

/// What does not fit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// For a person.
    pub sentence: String,
    /// The file below the frames folder, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A record, an index or the feed.
    Database,
    /// A row names a file that is not there.
    FrameMissing,
    /// A row names a file that is no whole JPEG.
    FrameDamaged,
    /// No row names the file.
    FileUnnamed,
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is looking at.
    pub at: Cow<'static, str>,
    /// Rows and files looked at.
    pub done: u64,
    /// Of about so many; more may come.
    pub of: u64,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Rows of all tables.
    pub rows: u64,
    /// Frames that rows name.
    pub frames: u64,
    /// Files in the frames folder.
    pub files: u64,
    /// Frames that were rewritten in place, and are whole.
    pub changed: u64,
    /// What does not fit.
    pub findings: u64,
}

/// A verification under way.
pub struct Verification {
    store: Store,
    frames: FramesFolder,
    deep: bool,
    stage: Stage,
    /// Named frames whose files are still to be looked at.
    waiting: Vec<NamedFrame>,
    of: u64,
    summary: Summary,
}

enum Stage {
    Begin,
    Tables(Place),
    Folder(FramesWalk),
    End,
}

impl Verification {
    /// Of `store` and `frames`; `deep` reads each frame.
    pub fn new(store: Store, frames: FramesFolder, deep: bool) -> Self {
        Self { store, frames, deep, stage: Stage::Begin, waiting: Vec::new(), of: 0, summary: Summary::default() }
    }

    /// Looks at a piece. Nothing more comes behind a summary, or where it was broken off.
    pub fn step(&mut self) -> Option<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        match self.try_step(&mut verdicts) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(sentence) => {
                self.stage = Stage::End;
                self.waiting.clear();
                verdicts.push(Verdict::BrokenOff(sentence));
            }
        }
        Some(verdicts)
    }

    fn try_step(&mut self, verdicts: &mut Vec<Verdict>) -> Result<bool, String> {
        let unreadable = |error: StoreError| format!("The store cannot be read: {error}.");
        if !self.waiting.is_empty() {
            let some = if self.deep { DEEP_AT_ONCE } else { FILES_AT_ONCE };
            let rest = self.waiting.split_off(self.waiting.len().saturating_sub(some));
            for frame in rest {
                self.look_at(&frame, verdicts)?;
            }
            self.tell_progress("frames", verdicts);
            return Ok(true);
        }
        match &mut self.stage {
            Stage::Begin => {
                let snapshot = self.store.read().map_err(unreadable)?;
                self.check_pairing(&snapshot)?;
                let rows = snapshot.row_count().map_err(unreadable)?;
                self.of = rows + 2 * snapshot.frame_count().map_err(unreadable)?;
                self.stage = Stage::Tables(Place::default());
            }
            Stage::Tables(place) => {
                let Some(table) = place.table() else {
                    match FramesWalk::begin(self.frames.root()) {
                        Ok(walk) => self.stage = Stage::Folder(walk),
                        // Of a store that never had a frame.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => self.finish(verdicts),
                        Err(error) => return Err(self.cannot_list(&error)),
                    }
                    return Ok(true);
                };
                let snapshot = self.store.read().map_err(unreadable)?;
                let looked = snapshot.verify(place, ROWS_AT_ONCE).map_err(unreadable)?;
                drop(snapshot);
                self.summary.rows += looked.rows;
                for sentence in looked.misfits {
                    self.find(verdicts, FindingKind::Database, sentence, None);
                }
                self.waiting = looked.frames;
                self.tell_progress(table, verdicts);
            }
            Stage::Folder(walk) => {
                let mut found = Vec::new();
                while found.len() < FILES_AT_ONCE {
                    match walk.step() {
                        Ok(Some(one)) => found.push(one),
                        Ok(None) => break,
                        Err(error) => return Err(self.cannot_list(&error)),
                    }
                }
                if found.is_empty() {
                    self.finish(verdicts);
                    return Ok(true);
                }
                self.summary.files += found.len() as u64;
                for unnamed in unnamed(&self.store, &self.frames, found).map_err(unreadable)? {
                    let file = unnamed.shown();
                    let sentence = format!("{file}: no row names this file");
                    self.find(verdicts, FindingKind::FileUnnamed, sentence, Some(file));
                }
                self.tell_progress("files", verdicts);
            }
            Stage::End => return Ok(false),
        }
        Ok(true)
    }

    fn finish(&mut self, verdicts: &mut Vec<Verdict>) {
        self.stage = Stage::End;
        verdicts.push(Verdict::Summary(self.summary));
    }

    fn cannot_list(&self, error: &io::Error) -> String {
        format!("The frames folder {} cannot be read: {error}.", self.frames.root().display())
    }

    /// An empty mount point has no frames, and another store's folder none of ours: that says nothing about either.
    fn check_pairing(&self, snapshot: &Snapshot) -> Result<(), String> {
        let was_paired = snapshot.are_frames_paired().map_err(|error| format!("The store cannot be read: {error}."))?;
        check_pairing(&self.frames, &self.store.identity().uuid, was_paired)
    }

    fn look_at(&mut self, frame: &NamedFrame, verdicts: &mut Vec<Verdict>) -> Result<(), String> {
        self.summary.frames += 1;
        let file = format!("{}/{}", frame.session, frame.file);
        let condition =
            look_at(&self.frames, frame, self.deep).map_err(|error| format!("The frame {file} cannot be read: {error}."))?;
        let (kind, what) = match condition {
            Condition::AsStored => return Ok(()),
            Condition::Changed => {
                self.summary.changed += 1;
                verdicts.push(Verdict::Changed { file });
                return Ok(());
            }
            Condition::Missing => (FindingKind::FrameMissing, "its file is not there".to_owned()),
            Condition::Damaged(what) => (FindingKind::FrameDamaged, format!("its file {what}")),
        };
        // It may have been beaten meanwhile.
        let snapshot = self.store.read().map_err(|error| format!("The store cannot be read: {error}."))?;
        let is_named = snapshot.is_frame_named(&frame.session, &frame.file);
        if is_named.map_err(|error| format!("The store cannot be read: {error}."))? || frame.of.bytes == 0 {
            self.find(verdicts, kind, format!("{file}: a row names this frame, and {what}"), Some(file));
        }
        Ok(())
    }

    fn find(&mut self, verdicts: &mut Vec<Verdict>, kind: FindingKind, sentence: String, file: Option<String>) {
        self.summary.findings += 1;
        verdicts.push(Verdict::Finding(Finding { kind, sentence, file }));
    }

    fn tell_progress(&self, at: &'static str, verdicts: &mut Vec<Verdict>) {
        let done = self.summary.rows + self.summary.frames + self.summary.files;
        verdicts.push(Verdict::Progress(Progress { at: at.into(), done, of: self.of.max(done) }));
    }
}

/// Whether `frames` is the folder of the store with this UUID.
///
/// # Errors
/// A sentence where it is not.
pub fn check_pairing(frames: &FramesFolder, uuid: &str, was_paired: bool) -> Result<(), String> {
    let root = frames.root().display();
    match frames.pairing(uuid) {
        Ok(Pairing::Unmarked) if was_paired => Err(format!(
            "The frames folder {root} is not the one that this store was paired with: it carries no mark. Is its volume mounted?"
        )),
        Ok(Pairing::Foreign(other)) => Err(format!("The frames folder {root} belongs to another store ({other}).")),
        Ok(Pairing::Paired | Pairing::Unmarked) => Ok(()),
        Err(error) => Err(format!("The frames folder {root} cannot be read: {error}.")),
    }
}

/// Those of `found` that no row names, that do not wait to be deleted, and that are no sidecar of a session.
pub fn unnamed(store: &Store, frames: &FramesFolder, found: Vec<Found>) -> Result<Vec<Found>, StoreError> {
    // Before the snapshot: what is not being written any more is named in it, or never will be.
    let settled = found.into_iter().filter(|one| one.frame_name().is_none_or(|name| !frames.is_being_written(name)));
    let settled: Vec<_> = settled.collect();
    let snapshot = store.read()?;
    let mut unnamed = Vec::new();
    for one in settled {
        if !is_known(&snapshot, &one)? && one.path(frames.root()).symlink_metadata().is_ok() {
            unnamed.push(one);
        }
    }
    Ok(unnamed)
}

fn is_known(snapshot: &Snapshot, found: &Found) -> Result<bool, StoreError> {
    let Some(session) = found.session() else { return Ok(false) };
    if found.is_sidecar() {
        // That of a session which was just deleted will be, too.
        return Ok(snapshot.session(&session)?.is_some() || snapshot.is_session_buried(&session)?);
    }
    let Some(file) = found.frame_name() else { return Ok(false) };
    Ok(snapshot.is_frame_named(&session, file)? || snapshot.is_frame_beaten(&session, file)?)
}

impl Service {
    /// A verification of the running store, to be stepped on a thread that may block.
    pub async fn verification(&self, deep: bool) -> Result<Verification, ServiceError> {
        let store = self.store(Urgency::Urgent).await?;
        Ok(Verification::new(store, self.inner.frames.clone(), deep))
    }

    /// One [`Verification::step`]. Where the database is being healed it is broken off.
    pub async fn verify_some(
        &self,
        mut verification: Verification,
    ) -> Result<(Verification, Option<Vec<Verdict>>), ServiceError> {
        super::blocking(move || {
            let verdicts = verification.step();
            Ok((verification, verdicts))
        })
        .await
    }
}
