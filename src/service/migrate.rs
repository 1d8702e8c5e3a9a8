//! Taking in an earlier service's rows: each that breaks a rule is told and skipped, its frame is fetched before it is named,
//! and both sides can be compared.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path};

use crate::domain::detection::Detection;
use crate::domain::frame::Jpeg;
use crate::domain::ids::{FileName, SessionId};
use crate::domain::session::Session;
use crate::media::frames::FramesFolder;
use crate::store::Store;

use super::central::is_same_json;
use super::import::{self, Imported};
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

/// Takes in the `lines` that break no rule, all in one commit. `from` is the folder below which the rows name their frames.
///
/// # Errors
/// A sentence, where the store cannot.
pub fn take_in(
    store: &Store,
    frames: &FramesFolder,
    from: Option<&Path>,
    lines: &[(String, Option<String>)],
) -> Result<(Imported, Vec<Refused>), String> {
    let mut refused = Vec::new();
    let mut batch = Vec::new();
    for (index, (text, url)) in lines.iter().enumerate() {
        let mut entry = match Entry::parse(text.as_bytes()) {
            Ok(entry) => entry,
            Err(invalid) => {
                refused.push(Refused { index, reason: invalid.to_string() });
                continue;
            }
        };
        if let Entry::Detection(session, detection, _) = &mut entry {
            let fetched = from.zip(url.as_ref()).map(|(from, url)| fetch(frames, from, session, url));
            match (fetched, &mut detection.picture) {
                (Some(Ok(file)), Some(picture)) => picture.file = file,
                // The row is kept without it, as the import does.
                (Some(Err(reason)), _) => refused.push(Refused { index, reason: format!("its frame is left out: {reason}") }),
                _ => {}
            }
        }
        batch.push((index as u64, entry));
    }
    let frames = frames.clone();
    let (done, early) = import::take_batch(store, &frames, batch).map_err(|error| error.to_string())?;
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    refused
        .extend(early.into_iter().map(|number| Refused { index: index(number), reason: "its session is not there".to_owned() }));
    Ok((done, refused))
}

/// Copies the frame that `url` names below `from` to its place, unless it is there; says what it is called.
fn fetch(frames: &FramesFolder, from: &Path, session: &SessionId, url: &str) -> Result<String, String> {
    let below = url.strip_prefix("/frames/").unwrap_or(url).trim_start_matches('/');
    let path = Path::new(below);
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(format!("{url} leads out of the folder"));
    }
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| format!("{url} names no file"))?;
    let name = FileName::new("url_frame", name).map_err(|invalid| invalid.to_string())?;
    let source = from.join(path);
    let unreadable = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", source.display());
    let file = File::open(&source).map_err(|error| unreadable(&error))?;
    let length = file.metadata().map_err(|error| unreadable(&error))?.len();
    if frames.length(session, name.as_str()).is_ok_and(|there| there == length) {
        return Ok(name.as_str().to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FRAME_BYTES).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    let jpeg = Jpeg::new(below, bytes.into()).map_err(|invalid| invalid.to_string())?;
    let written = frames.write(session, name.as_str().to_owned(), jpeg.bytes());
    let mut written = written.map_err(|error| format!("{name} cannot be written: {error}"))?;
    written.may_be_named();
    Ok(name.as_str().to_owned())
}

/// What differs between `lines` and the store, a sentence each; `updated_at` is left out.
///
/// # Errors
/// A sentence, where the store cannot be read.
pub fn compare(store: &Store, lines: &[(String, Option<String>)], with_frames: bool) -> Result<Vec<String>, String> {
    let unreadable = |error: crate::store::StoreError| format!("The store cannot be read: {error}.");
    let snapshot = store.read().map_err(unreadable)?;
    let mut differences = Vec::new();
    for (text, url) in lines {
        match Entry::parse(text.as_bytes()) {
            Ok(Entry::Session(theirs)) => match snapshot.session(&theirs.id).map_err(unreadable)? {
                None => differences.push(format!("session {} is not in the store", theirs.id)),
                Some((_, ours)) => differences.extend(unlike_session(&ours, &theirs)),
            },
            Ok(Entry::Detection(id, theirs, _)) => {
                let at = snapshot.session(&id).map_err(unreadable)?.map(|(at, _)| at);
                let ours = at.map(|at| snapshot.detection(at, &theirs.track)).transpose().map_err(unreadable)?.flatten();
                match ours {
                    None => differences.push(format!("detection {} of session {id} is not in the store", theirs.track.as_str())),
                    Some(ours) => differences.extend(unlike_detection(&id, &ours, &theirs, url.is_some() && with_frames)),
                }
            }
            Ok(_) => {}
            Err(invalid) => differences.push(format!("a row breaks a rule ({invalid}): {text}")),
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
