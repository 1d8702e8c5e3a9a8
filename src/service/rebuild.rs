//! Building a store anew from what lies in the frames folder, after the loss of the database. What no file tells is not
//! made up: it is listed.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use crate::domain::detection::Detection;
use crate::domain::ids::SessionId;
use crate::media::frames::FramesFolder;
use crate::media::walk::FramesWalk;
use crate::store::{FrameFile, NamedFrame, Store, StoreError};

use super::line::Entry;
use super::restore::{Restored, match_pictures, store_entries};
use super::whole::{Condition, look_at};

/// Lines taken into one commit.
const BATCH: usize = 10_000;

/// What a rebuilding tells of while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// So many sessions have come back.
    Sessions(u64),
    /// A session's record that makes no sense, and why.
    Unreadable(SessionId, String),
    /// A folder with so many frames and no session's record; the first and the last capture by the frames' names.
    Recordless {
        /// Its name.
        folder: String,
        /// Files in it.
        files: u64,
        /// When the first was captured, and the last.
        captures: Option<(String, String)>,
    },
}

/// Brings back what sidecars tell into `store`, a new one.
///
/// # Errors
/// A sentence.
pub fn rebuild(store: &Store, frames: &FramesFolder, tell: &mut dyn FnMut(Remark)) -> Result<Restored, String> {
    let root = frames.root().display().to_string();
    let cannot = |error: io::Error| format!("The frames folder {root} cannot be read: {error}.");
    let mut walk = FramesWalk::begin(frames.root()).map_err(cannot)?;
    let (mut batch, mut sessions) = (Vec::new(), 0);
    let mut current = Folder::default();
    while let Some(found) = walk.step().map_err(cannot)? {
        // Folders are walked one after the other.
        let Some(name) = found.folder.clone() else { continue };
        if name != current.name {
            std::mem::replace(&mut current, Folder { name, ..Folder::default() }).tell(tell);
        }
        let (Some(session), true) = (found.session(), found.is_sidecar()) else {
            current.see(found.frame_name().unwrap_or_default());
            continue;
        };
        let lines = frames.read_sidecar(&session);
        match lines.map_err(|error| error.to_string()).and_then(|lines| parse(&session, &lines)) {
            Ok(entries) => {
                batch.extend(entries);
                sessions += 1;
                current.has_record = true;
            }
            Err(why) => tell(Remark::Unreadable(session, why)),
        }
        if batch.len() >= BATCH {
            store_entries(store, Arc::new(std::mem::take(&mut batch)))?;
            tell(Remark::Sessions(sessions));
        }
    }
    current.tell(tell);
    store_entries(store, Arc::new(batch))?;
    tell(Remark::Sessions(sessions));
    match_pictures(store, &mut |session, detection| has_picture(store, frames, session, detection))
}

/// A session's folder, as far as names tell.
#[derive(Default)]
struct Folder {
    name: OsString,
    has_record: bool,
    files: u64,
    captures: Option<(String, String)>,
}

impl Folder {
    fn tell(self, tell: &mut dyn FnMut(Remark)) {
        if !self.has_record && self.files > 0 {
            tell(Remark::Recordless { folder: self.name.display().to_string(), files: self.files, captures: self.captures });
        }
    }

    fn see(&mut self, name: &str) {
        self.files += 1;
        let Some((capture, _)) = name.split_once('-').filter(|(capture, _)| capture.ends_with('Z')) else { return };
        let (first, last) = self.captures.get_or_insert_with(|| (capture.to_owned(), capture.to_owned()));
        if capture < first.as_str() {
            capture.clone_into(first);
        }
        if capture > last.as_str() {
            capture.clone_into(last);
        }
    }
}

/// The lines of one session's sidecar: the session, then its detections.
fn parse(session: &SessionId, lines: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let entry = Entry::parse(line).map_err(|invalid| invalid.0)?;
        let fits = match &entry {
            Entry::Session(told) => told.id == *session && entries.is_empty(),
            Entry::Detection(id, ..) => id == session && !entries.is_empty(),
            _ => false,
        };
        if !fits {
            return Err("it holds what is not this session's".to_owned());
        }
        entries.push(entry);
    }
    if entries.is_empty() { Err("it is empty".to_owned()) } else { Ok(entries) }
}

fn has_picture(store: &Store, frames: &FramesFolder, session: &SessionId, detection: &Detection) -> Result<bool, String> {
    let Some(picture) = &detection.picture else { return Ok(true) };
    let unreadable = |error: StoreError| format!("The store cannot be read: {error}.");
    let known = store.read().map_err(unreadable)?.frame_file(session, &picture.file).map_err(unreadable)?;
    let of = known.unwrap_or(FrameFile { bytes: 0, hash: None });
    let frame = NamedFrame { session: session.clone(), file: picture.file.clone(), of };
    match look_at(frames, &frame, false) {
        Ok(Condition::AsStored | Condition::Changed) => Ok(true),
        Ok(Condition::Missing | Condition::Damaged(_)) => Ok(false),
        Err(error) => Err(format!("The frame {session}/{} cannot be read: {error}.", picture.file)),
    }
}
