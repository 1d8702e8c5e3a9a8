//! Detections, frames, segments.

use redb::{Key, ReadOnlyTable, Value};

use super::super::feed::Entity;
use super::super::segments::time_key;
use super::super::tables::{BEATEN_FRAMES, DETECTIONS, FEED, FRAMES, SEGMENTS, SEGMENTS_BY_TIME};
use super::super::{StoreError, record};
use super::{After, Look, Next, behind, reason};
use crate::domain::ids::{SessionId, TrackId};

impl Look<'_> {
    pub(super) fn detections(&mut self, after: &After) -> Next {
        let table = self.snapshot.table(DETECTIONS)?;
        for entry in behind_within(&table, after)? {
            let (key, bytes) = entry?;
            let (number, track) = key.value();
            match record::decode_detection(track, bytes.value()) {
                Err(error) => {
                    self.misfit(format!(
                        "detections: the record of track {track:?} of session number {number} {}",
                        reason(&error)
                    ));
                }
                Ok((detection, seq)) => self.one_detection(number, &detection.track, seq)?,
            }
            if self.is_full() {
                return Ok(Some(After::Within(number, track.to_owned())));
            }
        }
        Ok(None)
    }

    fn one_detection(&mut self, number: u64, track: &TrackId, seq: u64) -> Result<(), StoreError> {
        let entity = self.snapshot.table(FEED)?.get(seq)?.and_then(|bytes| record::decode_entity(bytes.value()).ok());
        let about = match entity {
            Some(Entity::Detection(at, of)) if at.number == number && of == *track => Some(at),
            _ => None,
        };
        let track = track.as_str();
        match about {
            None => {
                self.misfit(format!("track {track:?} of session number {number}: the feed does not hold it at its number {seq}"));
            }
            Some(at) if !self.has_session(at)? => {
                self.misfit(format!("track {track:?} of session number {number}: its session is not there"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    pub(super) fn frames(&mut self, after: &After) -> Next {
        let table = self.snapshot.table(FRAMES)?;
        for entry in behind_within(&table, after)? {
            let (key, bytes) = entry?;
            let (number, file) = key.value();
            if let Err(error) = record::decode_frame(bytes.value()) {
                self.misfit(format!("frames: the record of {file} of session number {number} {}", reason(&error)));
            }
            // Where the session has detections, they were counted.
            if self.snapshot.table(DETECTIONS)?.range((number, "")..(number + 1, ""))?.next().is_none() {
                self.misfit(format!("frames: {file} of session number {number} is shown by no detection"));
            }
            if self.is_full() {
                return Ok(Some(After::Within(number, file.to_owned())));
            }
        }
        Ok(None)
    }

    pub(super) fn beaten_frames(&mut self, after: &After) -> Next {
        let after = if let After::Texts(session, file) = after { Some((session.as_str(), file.as_str())) } else { None };
        for entry in self.snapshot.table(BEATEN_FRAMES)?.range::<(&str, &str)>(behind(after))? {
            let (key, _) = entry?;
            let (session, file) = key.value();
            match SessionId::new("session id", session) {
                Err(invalid) => self.misfit(format!("beaten_frames: {session:?} is no session's id: {invalid}")),
                Ok(id) if self.snapshot.is_frame_named(&id, file)? => {
                    self.misfit(format!("beaten_frames: {file} of session {session} is to be deleted, and is shown"));
                }
                Ok(_) => {}
            }
            if self.is_full() {
                return Ok(Some(After::Texts(session.to_owned(), file.to_owned())));
            }
        }
        Ok(None)
    }

    pub(super) fn segments(&mut self, after: &After) -> Next {
        let after = if let After::Texts(path, file) = after { Some((path.as_str(), file.as_str())) } else { None };
        let by_time = self.snapshot.table(SEGMENTS_BY_TIME)?;
        for entry in self.snapshot.table(SEGMENTS)?.range::<(&str, &str)>(behind(after))? {
            let (key, bytes) = entry?;
            let (path, file) = key.value();
            match record::decode_segment(path, file, bytes.value()) {
                Err(error) => self.misfit(format!("segments: the record of {file} of path {path} {}", reason(&error))),
                Ok(segment) => {
                    let end = by_time.get(time_key(&segment))?.map(|end| end.value());
                    if end != Some(segment.end.micros()) {
                        self.misfit(format!("segments_by_time: {file} of path {path} is missing"));
                    }
                }
            }
            if self.is_full() {
                return Ok(Some(After::Texts(path.to_owned(), file.to_owned())));
            }
        }
        Ok(None)
    }

    pub(super) fn segments_by_time(&mut self, after: &After) -> Next {
        let after = match after {
            After::Segment(path, class, start, file) => Some((path.as_str(), *class, *start, file.as_str())),
            _ => None,
        };
        for entry in self.snapshot.table(SEGMENTS_BY_TIME)?.range::<(&str, u8, i64, &str)>(behind(after))? {
            let (key, _) = entry?;
            let (path, class, start, file) = key.value();
            // One that cannot be read is told of where segments are looked at.
            match self.snapshot.segment(path, file) {
                Ok(Some(segment)) if time_key(&segment) != key.value() => {
                    self.misfit(format!("segments_by_time: {file} of path {path} stands at a wrong time"));
                }
                Ok(None) => self.misfit(format!("segments_by_time: {file} of path {path} is no segment")),
                _ => {}
            }
            if self.is_full() {
                return Ok(Some(After::Segment(path.to_owned(), class, start, file.to_owned())));
            }
        }
        Ok(None)
    }
}

fn behind_within<V: Value + 'static>(
    table: &ReadOnlyTable<(u64, &'static str), V>,
    after: &After,
) -> Result<redb::Range<'static, (u64, &'static str), V>, StoreError>
where
    (u64, &'static str): Key,
{
    let after = if let After::Within(number, text) = after { Some((*number, text.as_str())) } else { None };
    Ok(table.range::<(u64, &str)>(behind(after))?)
}
