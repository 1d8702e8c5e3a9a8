//! Taking in an earlier service's rows: each that breaks a rule is told and skipped, its frame is fetched before it is named,
//! and both sides can be compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde_json::value::RawValue;

use crate::domain::detection::Detection;
use crate::domain::frame::Jpeg;
use crate::domain::ids::{FileName, SessionId};
use crate::domain::session::Session;
use crate::media::frames::FramesFolder;
use crate::store::{Snapshot, Store, StoreError};

use super::central::is_same_json;
use super::import::{self, Batch, Imported};
use super::line::Entry;
use super::verify::check_pairing;

/// No frame is longer than this.
const MAX_FRAME_BYTES: u64 = 100 << 20;

/// A row that was left out.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Its place in the piece.
    pub index: usize,
    /// Why.
    pub reason: String,
}

/// Makes the frames folder this store's, where it is nobody's and empty.
///
/// # Errors
/// A sentence.
pub fn prepare_frames(store: &Store, frames: &FramesFolder) -> Result<(), String> {
    let root = frames.root().display();
    let unusable = |error: &dyn std::fmt::Display| format!("The frames folder {root} cannot be used: {error}.");
    let uuid = &store.identity().uuid;
    let was_paired = store.read().and_then(|snapshot| snapshot.are_frames_paired()).map_err(|error| unusable(&error))?;
    // On the place where the volume of a paired folder should be mounted, nothing is put.
    check_pairing(frames, uuid, was_paired)?;
    if frames.is_paired(uuid) {
        return Ok(());
    }
    if std::fs::read_dir(frames.root()).is_ok_and(|mut files| files.next().is_some()) {
        return Err(unusable(&"it holds files and is no store's: start the daemon once, or empty it"));
    }
    frames.pair(uuid).map_err(|error| unusable(&error))?;
    let paired = store.write_blocking(|tx| {
        tx.set_frames_paired()?;
        Ok(())
    });
    paired.map_err(|error| unusable(&error))
}

/// Lines of which those that break a rule are set apart.
pub(super) struct Piece {
    /// The others, by their places.
    pub batch: Batch,
    /// What was left out.
    pub refused: Vec<Refused>,
}

impl Piece {
    /// Parses `lines`.
    pub fn sift<'l>(lines: impl IntoIterator<Item = &'l [u8]>) -> Self {
        let mut piece = Self { batch: Batch::new(), refused: Vec::new() };
        for (index, text) in lines.into_iter().enumerate() {
            match Entry::parse(text) {
                Ok(entry) => piece.batch.push((index as u64, entry)),
                Err(invalid) => piece.refused.push(Refused { index, reason: invalid.to_string() }),
            }
        }
        piece
    }
}

/// The detections whose session is not there, as what was left out.
pub(super) fn without_session(early: Vec<u64>) -> impl Iterator<Item = Refused> {
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    early.into_iter().map(move |number| Refused { index: index(number), reason: "its session is not there".to_owned() })
}

/// Takes in the `lines` that break no rule, all in one commit. `from` is the folder below which the rows name their frames.
///
/// # Errors
/// A sentence, where the store cannot.
pub fn take_in(
    store: &Store,
    frames: &FramesFolder,
    from: Option<&Path>,
    lines: &[(&str, Option<&str>)],
) -> Result<(Imported, Vec<Refused>), String> {
    let Piece { mut batch, mut refused } = Piece::sift(lines.iter().map(|(text, _)| text.as_bytes()));
    for (number, entry) in &mut batch {
        let Entry::Detection(session, detection, _) = entry else { continue };
        let index = usize::try_from(*number).unwrap_or(usize::MAX);
        let url = lines.get(index).and_then(|(_, url)| *url);
        let fetched = from.zip(url).map(|(from, url)| fetch(frames, from, session, url));
        match (fetched, &mut detection.picture) {
            (Some(Ok(file)), Some(picture)) => picture.file = file,
            (Some(Err(reason)), _) => refused.push(frame_left_out(index, &reason)),
            _ => {}
        }
    }
    let (done, early) = import::take_batch(store, frames, batch).map_err(|error| error.to_string())?;
    refused.extend(without_session(early));
    Ok((done, refused))
}

/// A row that is kept without its frame, as the import does.
pub fn frame_left_out(index: usize, reason: &str) -> Refused {
    Refused { index, reason: format!("its frame is left out: {reason}") }
}

/// An earlier service's frame.
pub struct OldFrame {
    file: File,
    path: PathBuf,
    below: String,
    /// What it is called here.
    pub name: FileName,
    /// Its length.
    pub bytes: u64,
}

impl OldFrame {
    /// Finds the frame that `url` names below `from`.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn find(from: &Path, url: &str) -> Result<Self, String> {
        let below = url.strip_prefix("/frames/").unwrap_or(url).trim_start_matches('/');
        let path = Path::new(below);
        if path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(format!("{url} leads out of the folder"));
        }
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| format!("{url} names no file"))?;
        let name = FileName::new("url_frame", name).map_err(|invalid| invalid.to_string())?;
        let path = from.join(path);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, file) = opened.map_err(|error| unreadable(&path, &error))?;
        Ok(Self { file, below: below.to_owned(), path, name, bytes })
    }

    /// Reads it.
    ///
    /// # Errors
    /// Why it cannot be had, also where it is no whole JPEG.
    pub fn read(self) -> Result<Jpeg, String> {
        let mut bytes = Vec::new();
        self.file.take(MAX_FRAME_BYTES).read_to_end(&mut bytes).map_err(|error| unreadable(&self.path, &error))?;
        Jpeg::new(&self.below, bytes.into()).map_err(|invalid| invalid.to_string())
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

/// Copies the frame that `url` names below `from` to its place, unless it is there; says what it is called.
fn fetch(frames: &FramesFolder, from: &Path, session: &SessionId, url: &str) -> Result<String, String> {
    let old = OldFrame::find(from, url)?;
    let name = old.name.as_str().to_owned();
    if frames.length(session, &name).is_ok_and(|there| there == old.bytes) {
        return Ok(name);
    }
    let written = frames.write(session, name.clone(), old.read()?.bytes());
    let mut written = written.map_err(|error| format!("{name} cannot be written: {error}"))?;
    written.may_be_named();
    Ok(name)
}

/// A detection's line, with its frame called `file` and so long; its numbers stay as they are written.
pub fn with_frame(text: &str, session: &str, file: &str, bytes: u64) -> Option<String> {
    let line: BTreeMap<&str, BTreeMap<&str, &RawValue>> = serde_json::from_str(text).ok()?;
    let raw = |value: serde_json::Value| serde_json::value::to_raw_value(&value).ok();
    let url = raw(format!("/frames/{session}/{file}").into())?;
    let extra = raw(serde_json::json!({ "frame_bytes": bytes }))?;
    let mut detection = line.get("detection")?.clone();
    detection.insert("url_frame", &url);
    detection.insert("extra", &extra);
    serde_json::to_string(&BTreeMap::from([("detection", detection)])).ok()
}

/// What differs between `lines` and the store, a sentence each; `updated_at` is left out.
pub fn compare<'l>(
    snapshot: &Snapshot,
    lines: impl IntoIterator<Item = &'l [u8]>,
    with_frames: bool,
) -> Result<Vec<String>, StoreError> {
    let mut differences = Vec::new();
    for text in lines {
        match Entry::parse(text) {
            Ok(Entry::Session(theirs)) => match snapshot.session(&theirs.id)? {
                None => differences.push(format!("session {} is not in the store", theirs.id)),
                Some((_, ours)) => differences.extend(unlike_session(&ours, &theirs)),
            },
            Ok(Entry::Detection(id, theirs, _)) => {
                let at = snapshot.session(&id)?.map(|(at, _)| at);
                let ours = at.map(|at| snapshot.detection(at, &theirs.track)).transpose()?.flatten();
                match ours {
                    None => differences.push(format!("detection {} of session {id} is not in the store", theirs.track.as_str())),
                    Some(ours) => {
                        let is_pictured = with_frames && theirs.picture.is_some();
                        differences.extend(unlike_detection(&id, &ours, &theirs, is_pictured));
                    }
                }
            }
            Ok(_) => {}
            Err(invalid) => differences.push(format!("a row breaks a rule ({invalid}): {}", String::from_utf8_lossy(text))),
        }
    }
    Ok(differences)
}

fn unlike_session(ours: &Session, theirs: &Session) -> Option<String> {
    let theirs = Session { updated_at: ours.updated_at, ..theirs.clone() };
    let ours = Session { end: ours.end.map(|end| crate::domain::session::End { reason: None, ..end }), ..ours.clone() };
    (ours != theirs).then(|| format!("session {} differs", ours.id))
}

fn unlike_detection(id: &SessionId, ours: &Detection, theirs: &Detection, with_picture: bool) -> Option<String> {
    let is_pictured = !with_picture || ours.picture.is_some();
    let number = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    let is_same = is_same_json(ours.attributes.as_deref(), theirs.attributes.as_deref())
        && number(&ours.bbox) == number(&theirs.bbox)
        && is_pictured
        && Detection { attributes: None, bbox: String::new(), picture: None, updated_at: ours.updated_at, ..ours.clone() }
            == Detection { attributes: None, bbox: String::new(), picture: None, updated_at: ours.updated_at, ..theirs.clone() };
    let which = || format!("detection {} of session {id}", ours.track.as_str());
    if is_same {
        None
    } else if is_pictured {
        Some(format!("{} differs", which()))
    } else {
        Some(format!("{} has no frame here", which()))
    }
}
