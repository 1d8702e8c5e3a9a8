//! Where every file lies.
//!
//! ```text
//! <frames>/<session id>/<capture>-<unique>.jpg   a frame; the name is never used twice
//! <frames>/\store                                the UUID of the store that the folder is paired with
//! <frames>/\tmp/0/ … 63/                         frames being written; swept at start
//! <frames>/<session id>/\session.ndjson          a closed session's records, for the loss of the database
//! <frames>/\sidecars                             how far these follow the change feed
//! <frames>/\quarantine/<session id>/…            files that no row names, put there by `repair`
//! <frames>/\restoring/                           what a `restore` that was interrupted has unpacked
//! <backup>/000001-<moment>/                      a generation: catalogue.ndjson, frames/<session id>/…, manifest.json
//! <backup>/.unfinished/, .lock                   a generation being made; held by who makes it
//! <spool>/<moment>-<kind>-<unique>.json          a hook that waits for a daemon; with a dot before it, one being written
//! <spool>/refused/                               what lay there and is no hook
//! <tracks>/<session id>/index.json, meta.json, tracks/seg-0000.jsonl …   the AI worker's
//! ```
//!
//! A session id cannot hold a backslash, so the store's own names are nobody's session.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::domain::ids::{FileName, SessionId};
use crate::domain::time::Timestamp;

/// Below the frames folder: the file that pairs it with a store.
pub const FRAMES_MARKER: &str = "\\store";
/// Below the frames folder: the folder of frames that are being written.
pub const FRAMES_TEMPORARY: &str = "\\tmp";
/// Below the frames folder: how far the sidecars follow the change feed.
pub const SIDECARS: &str = "\\sidecars";
/// Below the frames folder: the mark of a restore that is under way, and what it has unpacked.
pub const RESTORING: &str = "\\restoring";
/// In a generation: its lines.
pub const CATALOGUE: &str = "catalogue.ndjson";
/// In a generation: what it is; the last that is written of a backup.
pub const MANIFEST: &str = "manifest.json";
/// In a generation: the folder of its frames.
pub const FRAMES: &str = "frames";
const QUARANTINE: &str = "\\quarantine";
/// In a session's folder; no frame can have this name.
pub const SIDECAR: &str = "\\session.ndjson";

/// Below the frames folder: the folder of a session's frames.
pub fn session_folder(session: &SessionId) -> &str {
    session.as_str()
}

/// Where files of `folder` that no row names are put; those that lie in no folder have one of their own there.
pub fn quarantine(frames: &Path, folder: Option<&OsStr>) -> PathBuf {
    frames.join(QUARANTINE).join(folder.unwrap_or(OsStr::new("\\root")))
}

/// What a restore has unpacked of a stream.
pub fn restoring(frames: &Path) -> PathBuf {
    frames.join(RESTORING)
}

/// Held while a generation is made.
pub fn backup_lock(backup: &Path) -> PathBuf {
    backup.join(".lock")
}

/// The generation that is being made.
pub fn unfinished_generation(backup: &Path) -> PathBuf {
    backup.join(".unfinished")
}

/// The generation called `name`.
pub fn generation(backup: &Path, name: &str) -> PathBuf {
    backup.join(name)
}

/// A generation's lines.
pub fn generation_catalogue(generation: &Path) -> PathBuf {
    generation.join(CATALOGUE)
}

/// What a generation is.
pub fn generation_manifest(generation: &Path) -> PathBuf {
    generation.join(MANIFEST)
}

/// A frame of a generation.
pub fn generation_frame(generation: &Path, session: &SessionId, file: &FileName) -> PathBuf {
    generation.join(FRAMES).join(session.as_str()).join(file.as_str())
}

/// A new frame's file name: when it was captured, and `unique`.
pub fn frame_name(capture: Timestamp, unique: u64) -> String {
    let at: String = capture.to_micros().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{at}-{unique:016x}.jpg")
}

/// Below the spool: what was no hook.
pub const REFUSED_HOOKS: &str = "refused";

/// Below the spool: a hook's file name; by name is by `event`.
pub fn waiting_hook(event: Timestamp, kind: &str, unique: &str) -> String {
    let at: String = event.to_micros().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{at}-{kind}-{unique}.json")
}

/// Whether a hook may lie in the file of this name.
pub fn is_waiting_hook(name: &str) -> bool {
    !name.starts_with('.') && Path::new(name).extension().is_some_and(|kind| kind == "json")
}

/// Below the spool: the temporary name of the file that will be called `name`.
pub fn unready_hook(name: &str) -> String {
    format!(".{name}.unready")
}

/// Whether this is such a temporary name.
pub fn is_unready_hook(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".unready")
}

/// Below the tracks folder: the folder of a session's tracks.
pub fn tracks_folder(session: &SessionId) -> &str {
    session.as_str()
}

/// Below the tracks folder: a session's index.
pub fn track_index(session: &SessionId) -> [&str; 2] {
    [session.as_str(), "index.json"]
}

/// Below the tracks folder: a session's meta file.
pub fn track_meta(session: &SessionId) -> [&str; 2] {
    [session.as_str(), "meta.json"]
}

/// Below the tracks folder: one segment of a session's track.
pub fn track_segment<'a>(session: &'a SessionId, segment: &'a str) -> [&'a str; 3] {
    [session.as_str(), "tracks", segment]
}
