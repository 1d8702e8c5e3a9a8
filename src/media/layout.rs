//! Where every file lies.
//!
//! ```text
//! <frames>/<session id>/<capture>-<unique>.jpg   a frame; the name is never used twice
//! <frames>/\store                                the UUID of the store that the folder is paired with
//! <frames>/\tmp/                                 frames being written; swept at start
//! <tracks>/<session id>/index.json, meta.json, tracks/seg-0000.jsonl …   the AI worker's
//! ```
//!
//! A session id cannot hold a backslash, so the store's own names are nobody's session.

use std::path::{Path, PathBuf};

use crate::domain::ids::SessionId;
use crate::domain::time::Timestamp;

/// Below the frames folder: the file that pairs it with a store.
pub const FRAMES_MARKER: &str = "\\store";
/// Below the frames folder: the folder of frames that are being written.
pub const FRAMES_TEMPORARY: &str = "\\tmp";

/// The file that pairs a frames folder with a store.
pub fn frames_marker(frames: &Path) -> PathBuf {
    frames.join(FRAMES_MARKER)
}

/// The folder of frames that are being written.
pub fn frames_temporary(frames: &Path) -> PathBuf {
    frames.join(FRAMES_TEMPORARY)
}

/// The folder of a session's frames.
pub fn session_frames(frames: &Path, session: &SessionId) -> PathBuf {
    frames.join(session_folder(session))
}

/// Below the frames folder: the folder of a session's frames.
pub fn session_folder(session: &SessionId) -> &str {
    session.as_str()
}

/// A new frame's file name: when it was captured, and `unique`.
pub fn frame_name(capture: Timestamp, unique: u64) -> String {
    let at: String = capture.to_micros().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{at}-{unique:016x}.jpg")
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
