//! Track files, as the AI worker writes them. Only read, until retention deletes them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::domain::ids::{FileName, SessionId};

use super::beneath::{self, Folder};
use super::layout;

/// An index or meta file longer than this is not the worker's.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// The folder of tracks.
#[derive(Debug, Clone)]
pub struct TracksFolder {
    root: PathBuf,
}

/// The part of `index.json` that tells finished segments from the one being written.
#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    segments: Vec<IndexedSegment>,
}

#[derive(Deserialize)]
struct IndexedSegment {
    #[serde(default)]
    url: String,
    #[serde(default)]
    closed: bool,
}

impl TracksFolder {
    /// The folder at `root`, which need not exist.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bytes of a session's `index.json`.
    pub fn index(&self, session: &SessionId) -> io::Result<Vec<u8>> {
        self.read(&layout::track_index(session))
    }

    /// The bytes of a session's `meta.json`.
    pub fn meta(&self, session: &SessionId) -> io::Result<Vec<u8>> {
        self.read(&layout::track_meta(session))
    }

    /// A segment's file, and whether it will never change any more.
    pub fn segment(&self, session: &SessionId, segment: &FileName) -> io::Result<(File, bool)> {
        // The index first: a segment that it calls closed was closed before the file is read.
        let closed = self.is_closed(session, segment.as_str());
        Ok((beneath::open(&self.root, &layout::track_segment(session, segment.as_str()))?, closed))
    }

    /// Bytes that a session's tracks take on their volume; 0 where there are none.
    pub fn room(&self, session: &SessionId) -> io::Result<u64> {
        match self.session(session).and_then(|folder| folder.room()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            room => room,
        }
    }

    /// Deletes a session's tracks with their folder; what is gone already is fine.
    pub fn delete(&self, session: &SessionId) -> io::Result<()> {
        beneath::gone_is_fine(Folder::root(&self.root).and_then(|root| root.remove(layout::tracks_folder(session))))
    }

    /// Makes deletions of sessions' folders durable.
    pub fn sync(&self) -> io::Result<()> {
        beneath::gone_is_fine(Folder::root(&self.root).and_then(|root| root.sync()))
    }

    fn session(&self, session: &SessionId) -> io::Result<Folder> {
        Folder::root(&self.root)?.folder(layout::tracks_folder(session))
    }

    fn is_closed(&self, session: &SessionId, segment: &str) -> bool {
        let Ok(bytes) = self.index(session) else { return false };
        let Ok(index) = serde_json::from_slice::<Index>(&bytes) else { return false };
        index.segments.iter().any(|indexed| indexed.closed && indexed.url.rsplit('/').next() == Some(segment))
    }

    fn read(&self, parts: &[&str]) -> io::Result<Vec<u8>> {
        let file = beneath::open(&self.root, parts)?;
        if file.metadata()?.len() > MAX_JSON_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = Vec::new();
        file.take(MAX_JSON_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
