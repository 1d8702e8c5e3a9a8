//! Putting a stopped store in order: indexes and feed from the records, pictures by what lies on the disk, and what no
//! row names into quarantine.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::media::frames::FramesFolder;
use crate::media::walk::FramesWalk;
use crate::store::{FrameFile, Mended, Mender, NamedFrame, Picture, Store, StoreError};

use super::verify::{check_pairing, unnamed};
use super::whole::{Condition, look_at};

/// Files looked at in one snapshot.
const FILES_AT_ONCE: usize = 500;

/// Is told of everything that a repair does.
pub type Tell = Arc<Mutex<dyn FnMut(Mended) + Send>>;

/// Makes the indexes and the feed of `store` anew, and takes away pictures whose files are gone or no whole JPEGs. Records
/// that cannot be used go into `aside`.
///
/// # Errors
/// A sentence; then nothing is changed.
pub fn repair(store: &Store, frames: &FramesFolder, deep: bool, aside: &Path, tell: &Tell) -> Result<(), String> {
    let snapshot = store.read().map_err(|error| format!("The store cannot be read: {error}."))?;
    let was_paired = snapshot.are_frames_paired().map_err(|error| format!("The store cannot be read: {error}."))?;
    drop(snapshot);
    check_pairing(frames, &store.identity().uuid, was_paired)?;
    let cannot = |error: std::io::Error| format!("The file {} cannot be written: {error}.", aside.display());
    let before = aside.metadata().map_or(0, |file| file.len());
    let file = File::options().create(true).append(true).open(aside).map_err(cannot)?;
    let written = file.try_clone().map_err(cannot)?;
    let (frames, tell) = (frames.clone(), Arc::clone(tell));
    let repaired = store.write_blocking(move |tx| {
        let mut tell = tell.lock().unwrap_or_else(PoisonError::into_inner);
        let mut look = |frame: &NamedFrame| look(&frames, frame, deep);
        tx.repair(&mut Mender { look: &mut look, tell: &mut *tell, aside: &file })
    });
    if written.metadata().is_ok_and(|file| file.len() == 0) && before == 0 {
        std::fs::remove_file(aside).map_err(cannot)?;
    }
    repaired.map_err(|error| format!("The store cannot be repaired, and nothing was changed: {error}."))
}

fn look(frames: &FramesFolder, frame: &NamedFrame, deep: bool) -> Result<Picture, StoreError> {
    let unreadable = |error| StoreError::Record(format!("the frame {}/{} cannot be read: {error}", frame.session, frame.file));
    Ok(match look_at(frames, frame, deep).map_err(unreadable)? {
        Condition::Missing => Err("its file is not there".to_owned()),
        Condition::Damaged(what) => Err(format!("its file {what}")),
        // What was stored stays known, so that a change is still seen as one.
        Condition::AsStored | Condition::Changed if frame.of.bytes > 0 => Ok(frame.of),
        Condition::AsStored | Condition::Changed => {
            Ok(FrameFile { bytes: frames.length(&frame.session, &frame.file).map_err(unreadable)?, hash: None })
        }
    })
}

/// Moves what no row of `store` names into quarantine, and tells `moved` of each: where it lay and where it lies.
///
/// # Errors
/// A sentence; what was moved stays there, and the rest can be moved by another run.
pub fn quarantine(store: &Store, frames: &FramesFolder, moved: &mut dyn FnMut(&str, &Path)) -> Result<u64, String> {
    let root = frames.root().display().to_string();
    let cannot = |error: std::io::Error| format!("The frames folder {root} cannot be put in order: {error}.");
    let mut walk = match FramesWalk::begin(frames.root()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        walk => walk.map_err(cannot)?,
    };
    let mut count = 0;
    loop {
        let mut found = Vec::new();
        while found.len() < FILES_AT_ONCE {
            let Some(one) = walk.step().map_err(cannot)? else { break };
            found.push(one);
        }
        if found.is_empty() {
            break;
        }
        let strangers = unnamed(store, frames, found).map_err(|error| format!("The store cannot be read: {error}."))?;
        for stranger in strangers {
            let place = frames.quarantine(&stranger).map_err(cannot)?;
            count += 1;
            moved(&stranger.shown(), &place);
        }
    }
    if count > 0 {
        frames.sync_everything().map_err(cannot)?;
    }
    Ok(count)
}
