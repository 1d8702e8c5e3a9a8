//! Making a backup: the catalogue's lines first, then the frames that they name, then what changed meanwhile.
//!
//! A frame that is gone by the time it is to be copied was beaten, so its row has changed and comes again in the next
//! round. The first round whose frames are all there ends it: all that was told holds at that round's last snapshot.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::domain::ids::{FileName, SessionId};
use crate::domain::time::Timestamp;
use crate::domain::wire::file_of_frame_url;
use crate::media::frames::FramesFolder;
use crate::media::generations::Added;

use super::catalogue::{FORMAT, Part};
use super::verify::check_pairing;

/// Rounds after which a store is too busy.
const MAX_ROUNDS: usize = 1000;
/// Detections without their frames that are kept in memory; further ones are only counted.
const MAX_MISSING: usize = 100_000;

/// Where the lines of a part come from: the store itself or a daemon. Appends them to the file.
pub type Ask<'a> = dyn FnMut(Part, &mut File) -> Result<(), String> + 'a;
/// Takes a frame into the backup.
pub type Take<'a> = dyn FnMut(&SessionId, &FileName) -> io::Result<Added> + 'a;

/// What a backup says of itself.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Manifest {
    /// Of the lines and of this.
    pub format: u32,
    /// Of the store.
    pub store_uuid: String,
    /// Of its feed.
    pub epoch: String,
    /// Number of the feed at which all lines hold.
    pub feed_head: u64,
    /// When it was made.
    pub made_at: String,
    /// Lines, those that later ones replace among them.
    pub lines: u64,
    /// Length of the lines in bytes.
    pub catalogue_bytes: u64,
    /// XXH3-64 of the lines, hexadecimal.
    pub catalogue_hash: String,
    /// Frames in it.
    pub frames: u64,
    /// Frames that rows name, and that were missing in the store.
    pub frames_missing: u64,
}

/// What a backup did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    lines: u64,
    /// Frames shared with the generation before.
    pub linked: u64,
    /// Frames whose blocks are shared until they are rewritten.
    pub cloned: u64,
    /// Frames copied.
    pub copied: u64,
    /// Named by rows that did not change, and not there.
    pub missing: u64,
    /// Rounds over what changed meanwhile.
    pub rounds: usize,
}

/// What lines say that matters here.
#[derive(Deserialize)]
struct Line {
    detection: Option<DetectionLine>,
    session_deleted: Option<DeletedLine>,
    catalogue: Option<CatalogueLine>,
    end: Option<EndLine>,
}

#[derive(Deserialize)]
struct DetectionLine {
    session_id: String,
    track_id: String,
    url_frame: Option<String>,
}

#[derive(Deserialize)]
struct DeletedLine {
    session_id: String,
}

#[derive(Deserialize)]
struct CatalogueLine {
    format: u32,
    store_uuid: String,
    epoch: String,
    frames_paired: bool,
}

#[derive(Deserialize)]
struct EndLine {
    next: u64,
}

/// Detections whose frames were gone when they were told, and that were not told again.
#[derive(Default)]
struct Missing {
    named: HashSet<(SessionId, String)>,
    /// Those beyond what is kept in memory.
    more: u64,
}

impl Missing {
    fn add(&mut self, session: SessionId, track: String) {
        if self.named.len() < MAX_MISSING {
            self.named.insert((session, track));
        } else {
            self.more += 1;
        }
    }

    fn count(&self) -> u64 {
        self.named.len() as u64 + self.more
    }
}

/// One part of the lines, read over.
#[derive(Default)]
struct Round {
    begin: Option<(String, String)>,
    end: Option<u64>,
    lines: u64,
    gone: u64,
}

/// Makes a backup of what `ask` tells into `catalogue`, an empty file, and by `take`. `progress` is told the bytes of lines
/// whose frames are done, and of how many.
///
/// # Errors
/// A sentence.
pub fn back_up(
    frames: &FramesFolder,
    catalogue: &mut File,
    ask: &mut Ask<'_>,
    take: &mut Take<'_>,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Manifest, Told), String> {
    let mut told = Told::default();
    let mut gone = Missing::default();
    let mut part = Part::Whole;
    let mut identity: Option<(String, String)> = None;
    let head = loop {
        let from = length(catalogue)?;
        ask(part, catalogue)?;
        let round = read_over(frames, catalogue, from, &mut told, &mut gone, take, progress)?;
        let (Some(begin), Some(end)) = (round.begin, round.end) else {
            return Err("The catalogue broke off; nothing was backed up.".to_owned());
        };
        if identity.as_ref().is_some_and(|known| *known != begin) {
            return Err("Another store answers now; nothing was backed up.".to_owned());
        }
        identity = Some(begin);
        // Where nothing has changed, what is gone was not beaten: it is missing.
        if round.gone == 0 || (told.rounds > 0 && round.lines == 0) {
            break end;
        }
        told.rounds += 1;
        if told.rounds > MAX_ROUNDS {
            return Err("Frames are beaten faster than they can be copied; try again when less goes on.".to_owned());
        }
        part = Part::Since(end);
    };
    let from = length(catalogue)?;
    ask(Part::Segments, catalogue)?;
    let round = read_over(frames, catalogue, from, &mut told, &mut gone, take, progress)?;
    if round.end.is_none() {
        return Err("The catalogue broke off; nothing was backed up.".to_owned());
    }
    let (store_uuid, epoch) = identity.unwrap_or_default();
    let (catalogue_bytes, hash) = hash(catalogue).map_err(|error| unreadable(&error))?;
    let manifest = Manifest {
        format: FORMAT,
        store_uuid,
        epoch,
        feed_head: head,
        made_at: now.to_micros(),
        lines: told.lines,
        catalogue_bytes,
        catalogue_hash: format!("{hash:016x}"),
        frames: told.linked + told.cloned + told.copied,
        frames_missing: gone.count(),
    };
    told.missing = gone.count();
    Ok((manifest, told))
}

fn length(catalogue: &mut File) -> Result<u64, String> {
    catalogue.seek(SeekFrom::End(0)).map_err(|error| unreadable(&error))
}

fn unreadable(error: &io::Error) -> String {
    format!("The catalogue's file cannot be read: {error}.")
}

/// Length and XXH3-64 of a file.
pub fn hash(file: &mut File) -> io::Result<(u64, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Xxh3::new();
    let mut piece = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((length, hash.digest()));
        }
        length += read as u64;
        hash.update(&piece[..read]);
    }
}

fn read_over(
    frames: &FramesFolder,
    catalogue: &mut File,
    from: u64,
    told: &mut Told,
    gone: &mut Missing,
    take: &mut Take<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Round, String> {
    let of = length(catalogue)?;
    catalogue.seek(SeekFrom::Start(from)).map_err(|error| unreadable(&error))?;
    let mut round = Round::default();
    let mut done = from;
    for line in BufReader::with_capacity(1 << 16, catalogue).split(b'\n') {
        let line = line.map_err(|error| unreadable(&error))?;
        done += line.len() as u64 + 1;
        let parsed: Line = serde_json::from_slice(&line).map_err(|error| format!("A line makes no sense: {error}."))?;
        if let Some(begin) = parsed.catalogue {
            if begin.format != FORMAT {
                return Err(format!("The daemon tells its catalogue in form {}; this program knows {FORMAT}.", begin.format));
            }
            check_pairing(frames, &begin.store_uuid, begin.frames_paired)?;
            round.begin = Some((begin.store_uuid, begin.epoch));
            continue;
        }
        if let Some(end) = parsed.end {
            round.end = Some(end.next);
            continue;
        }
        round.lines += 1;
        told.lines += 1;
        if let Some(deleted) = parsed.session_deleted {
            gone.named.retain(|(session, _)| session.as_str() != deleted.session_id);
        }
        let Some(detection) = parsed.detection else { continue };
        let Ok(session) = SessionId::new("session_id", detection.session_id) else { continue };
        let Some(url) = detection.url_frame else { continue };
        let Some(file) = file_of_frame_url(&url, &session).and_then(|file| FileName::new("url_frame", file).ok()) else {
            continue;
        };
        match take(&session, &file).map_err(|error| format!("The frame {session}/{file} cannot be backed up: {error}."))? {
            Added::Gone => {
                round.gone += 1;
                gone.add(session, detection.track_id);
                continue;
            }
            Added::There => {}
            Added::Linked => told.linked += 1,
            Added::Cloned => told.cloned += 1,
            Added::Copied => told.copied += 1,
        }
        gone.named.remove(&(session, detection.track_id));
        progress(done, of);
    }
    Ok(round)
}
