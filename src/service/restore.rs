//! Building a store from a backup's lines and frames.

use std::io::{BufRead, BufReader};
use std::sync::Arc;

use crate::domain::detection::Detection;
use crate::domain::ids::{FileName, SessionId, TrackId};
use crate::media::restoring::{Filling, Generation};
use crate::store::{Store, StoreError, Tracks, Transaction};

use super::backup::{Manifest, hash};
use super::catalogue::FORMAT;
use super::line::Entry;

/// Lines taken into one commit.
const BATCH: usize = 10_000;
/// Rows read in one snapshot.
const AT_ONCE: usize = 500;

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sessions.
    pub sessions: u64,
    /// Detections.
    pub detections: u64,
    /// Detections with a frame.
    pub frames: u64,
    /// Detections whose frame is not there, by session and track.
    pub missing: Vec<(SessionId, TrackId)>,
}

/// What a backup says of itself, once it is seen to be whole.
///
/// # Errors
/// A sentence that names it.
pub fn check(generation: &Generation) -> Result<Manifest, String> {
    let name = generation.path().display();
    let unreadable = |error: std::io::Error| format!("The backup {name} cannot be read: {error}.");
    let manifest: Manifest = serde_json::from_slice(&generation.manifest().map_err(unreadable)?)
        .map_err(|error| format!("The backup {name} is damaged: its manifest makes no sense: {error}."))?;
    if manifest.format > FORMAT {
        return Err(format!("The backup {name} has form {}: it was made by a newer session-store.", manifest.format));
    }
    let (bytes, found) = hash(&mut generation.catalogue().map_err(unreadable)?).map_err(unreadable)?;
    if bytes != manifest.catalogue_bytes || format!("{found:016x}") != manifest.catalogue_hash {
        return Err(format!(
            "The backup {name} is damaged: its catalogue is not the one that was written. Take another generation."
        ));
    }
    Ok(manifest)
}

/// Puts the lines of `generation` into `store`, a new one, and its frames into `frames`.
///
/// # Errors
/// A sentence.
pub fn restore(
    store: &Store,
    generation: &Generation,
    filling: &mut Filling,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, String> {
    let catalogue = generation.catalogue().map_err(|error| format!("The backup cannot be read: {error}."))?;
    let mut done = 0;
    read_in(store, BufReader::with_capacity(1 << 20, catalogue), &mut |bytes| {
        done += bytes;
        progress(done);
    })?;
    let mut place = |session: &SessionId, file: &FileName| filling.place(generation, session, file);
    let restored = match_pictures(store, &mut |session, detection| {
        let Some(picture) = &detection.picture else { return Ok(true) };
        // A name that no file can have is none.
        let Ok(file) = FileName::new("url_frame", picture.file.as_str()) else { return Ok(false) };
        place(session, &file).map_err(|error| format!("The frame {session}/{file} cannot be put in its place: {error}."))
    })?;
    filling.settle().map_err(|error| format!("The frames cannot be made durable: {error}."))?;
    Ok(restored)
}

/// Stores the lines of `input` as they are; a later line of the same thing replaces an earlier one.
///
/// # Errors
/// A sentence that names the line.
pub fn read_in(store: &Store, mut input: impl BufRead, progress: &mut dyn FnMut(u64)) -> Result<(), String> {
    let mut number = 0_u64;
    loop {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line).map_err(|error| format!("The lines cannot be read: {error}."))?;
            if read == 0 {
                break;
            }
            number += 1;
            bytes += read as u64;
            if !line.trim_ascii().is_empty() {
                batch.push(Entry::parse(&line).map_err(|invalid| format!("line {number}: {invalid}"))?);
            }
        }
        if batch.is_empty() && bytes == 0 {
            return Ok(());
        }
        store_entries(store, Arc::new(batch)).map_err(|error| format!("Of the lines up to {number} one: {error}"))?;
        progress(bytes);
    }
}

/// Stores `entries` as they are, in one commit.
///
/// # Errors
/// A sentence.
pub fn store_entries(store: &Store, entries: Arc<Vec<Entry>>) -> Result<(), String> {
    let stored = store.write_blocking(move |tx| {
        tx.do_without_journal();
        entries.iter().try_for_each(|entry| put(tx, entry))
    });
    stored.map_err(|error| format!("A record cannot be stored: {error}."))
}

fn put(tx: &mut Transaction<'_>, entry: &Entry) -> Result<(), StoreError> {
    match entry {
        Entry::Session(session) => match tx.session(&session.id)? {
            Some((at, _)) => tx.put_session(at, session),
            None => tx.add_session(session).map(drop),
        },
        Entry::Detection(id, detection, of) => {
            let Some((at, _)) = tx.session(id)? else {
                return Err(StoreError::Record(format!("the session {id} of a detection has not come before it")));
            };
            tx.put_detection(at, id, detection, of.as_ref())
        }
        Entry::Deleted(id) => tx.delete_session(id, Tracks::Stay).map(drop),
        Entry::Segment(segment) => tx.put_segment(segment).map(drop),
        Entry::Aside => Ok(()),
    }
}

/// Shows every detection to `has_picture`; where that says no, its picture is taken away.
///
/// # Errors
/// A sentence.
pub fn match_pictures(
    store: &Store,
    has_picture: &mut dyn FnMut(&SessionId, &Detection) -> Result<bool, String>,
) -> Result<Restored, String> {
    let unreadable = |error: StoreError| format!("The store cannot be read: {error}.");
    let mut restored = Restored::default();
    let mut after = None;
    while let Some((at, session)) = store.read().map_err(unreadable)?.sessions_behind(after, 1).map_err(unreadable)?.pop() {
        after = Some(at);
        restored.sessions += 1;
        let mut track: Option<TrackId> = None;
        loop {
            let snapshot = store.read().map_err(unreadable)?;
            let detections = snapshot.detections_behind(at, track.as_ref(), AT_ONCE).map_err(unreadable)?;
            drop(snapshot);
            let Some(last) = detections.last() else { break };
            track = Some(last.track.clone());
            let mut bare = Vec::new();
            for mut detection in detections {
                restored.detections += 1;
                if has_picture(&session.id, &detection)? {
                    restored.frames += u64::from(detection.picture.is_some());
                } else {
                    restored.missing.push((session.id.clone(), detection.track.clone()));
                    detection.picture = None;
                    bare.push(detection);
                }
            }
            if !bare.is_empty() {
                let id = session.id.clone();
                let put = store.write_blocking(move |tx| bare.iter().try_for_each(|one| tx.put_detection(at, &id, one, None)));
                put.map_err(|error| format!("The store cannot be written: {error}."))?;
            }
        }
    }
    Ok(restored)
}
