//! Detections: their records, and the colours that lead to their sessions.

use std::ops::Bound;

use redb::ReadableTable as _;

use crate::domain::detection::Detection;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::query::SessionKey;
use crate::domain::session::{EndReason, Session};
use crate::domain::time::Timestamp;

use super::feed::Entity;
use super::frames::FrameFile;
use super::tables::DETECTIONS;
use super::touches::SessionTouches;
use super::{Snapshot, StoreError, Transaction, record};

impl Transaction<'_> {
    /// The detection of `track` in the session at `at`.
    pub fn detection(&self, at: SessionKey, track: &TrackId) -> Result<Option<Detection>, StoreError> {
        Ok(self.stored_detection(at.number, track.as_str())?.map(|(detection, _)| detection))
    }

    fn stored_detection(&self, session: u64, track: &str) -> Result<Option<(Detection, u64)>, StoreError> {
        let bytes = self.detections.get((session, track))?;
        bytes.map(|bytes| record::decode_detection(track, bytes.value())).transpose()
    }

    /// Adds or replaces a detection of the session `id` at `at`. `file` tells of the picture where that is
    /// a new one; a picture that no detection shows any more joins the queue of beaten frames.
    pub fn put_detection(
        &mut self,
        at: SessionKey,
        id: &SessionId,
        detection: &Detection,
        file: Option<&FrameFile>,
    ) -> Result<(), StoreError> {
        let track = detection.track.as_str();
        let (old, old_seq) = self.stored_detection(at.number, track)?.unzip();
        let old_picture = old.as_ref().and_then(|old| old.picture.as_ref()).map(|picture| &picture.file);
        let picture = detection.picture.as_ref().map(|picture| &picture.file);
        if picture != old_picture {
            if let Some(picture) = picture {
                self.show_frame(at.number, id, picture, file)?;
            }
            if let Some(old_picture) = old_picture {
                self.hide_frame(at.number, id, old_picture)?;
            }
        }
        let old_color = old.as_ref().and_then(Detection::color_name);
        let color = detection.color_name();
        if color != old_color {
            self.count_color(at, color.as_deref(), 1)?;
            self.count_color(at, old_color.as_deref(), -1)?;
        }
        let seq = self.number(&Entity::Detection(at, detection.track.clone()), old_seq)?;
        self.detections.insert((at.number, track), record::encode_detection(detection, seq)?.as_slice())?;
        self.written.insert(at);
        Ok(())
    }

    fn count_color(&mut self, at: SessionKey, color: Option<&str>, change: i32) -> Result<(), StoreError> {
        let Some(color) = color else { return Ok(()) };
        let key = (color, at.start, at.number);
        let before = self.by_color.get(key)?.map_or(0, |count| count.value());
        match before.saturating_add_signed(change) {
            0 => self.by_color.remove(key),
            count => self.by_color.insert(key, count),
        }
    }

    pub(super) fn delete_detections(&mut self, at: SessionKey, session: &Session) -> Result<(), StoreError> {
        let mut tracks = Vec::new();
        for entry in self.detections.range((at.number, "")..(at.number + 1, ""))? {
            tracks.push(entry?.0.value().1.to_owned());
        }
        for track in tracks {
            let Some((detection, seq)) = self.stored_detection(at.number, &track)? else { continue };
            if let Some(picture) = &detection.picture {
                self.hide_frame(at.number, &session.id, &picture.file)?;
            }
            self.count_color(at, detection.color_name().as_deref(), -1)?;
            self.detections.remove((at.number, track.as_str()))?;
            self.drop_patched(at, &detection.track)?;
            self.forget(seq)?;
        }
        Ok(())
    }

    /// Commits the held `touches` of the session at `at`.
    pub(super) fn apply_touches(&mut self, at: SessionKey, touches: &SessionTouches) -> Result<(), StoreError> {
        let mut latest = None;
        for (track, touch) in touches {
            let Some((mut detection, seq)) = self.stored_detection(at.number, track)? else { continue };
            if touch.apply(&mut detection) {
                let seq = self.number(&Entity::Detection(at, detection.track.clone()), Some(seq))?;
                let bytes = record::encode_detection(&detection, seq)?;
                self.detections.insert((at.number, track.as_str()), bytes.as_slice())?;
                latest = latest.max(Some(detection.last));
            }
        }
        match latest {
            Some(latest) => self.see_after_end(at, latest).map(drop),
            None => Ok(()),
        }
    }

    /// A sighting at `seen` moves the end of a session that the store closed for want of one; never an end that a client set.
    /// Returns the session where it did.
    pub fn see_after_end(&mut self, at: SessionKey, seen: Timestamp) -> Result<Option<Session>, StoreError> {
        let Some((mut session, _)) = self.stored_session(at)? else { return Ok(None) };
        let Some(end) = &mut session.end else { return Ok(None) };
        if !matches!(end.reason, Some(EndReason::Idle | EndReason::Superseded)) || seen <= end.at {
            return Ok(None);
        }
        end.at = seen;
        session.updated_at = self.now;
        self.put_session(at, &session)?;
        Ok(Some(session))
    }

    /// When something was last seen in the session at `at`.
    pub fn last_sighting(&self, at: SessionKey) -> Result<Option<Timestamp>, StoreError> {
        let mut latest = None;
        for entry in self.detections.range((at.number, "")..(at.number + 1, ""))? {
            let (key, bytes) = entry?;
            latest = latest.max(Some(record::decode_detection(key.value().1, bytes.value())?.0.last));
        }
        Ok(latest)
    }
}

impl Snapshot {
    /// The detection of `track` in the session at `at`.
    pub fn detection(&self, at: SessionKey, track: &TrackId) -> Result<Option<Detection>, StoreError> {
        let bytes = self.table(DETECTIONS)?.get((at.number, track.as_str()))?;
        bytes.map(|bytes| self.shown(at, track.as_str(), bytes.value())).transpose()
    }

    /// The detection stored as `bytes`, as its held touches make it.
    fn shown(&self, at: SessionKey, track: &str, bytes: &[u8]) -> Result<Detection, StoreError> {
        let (mut detection, _) = record::decode_detection(track, bytes)?;
        if let Some(touch) = self.held.get(&at).and_then(|touches| touches.get(track)) {
            touch.apply(&mut detection);
        }
        Ok(detection)
    }

    /// At most `limit` detections of the session at `at` behind `after`, by track.
    pub fn detections_behind(&self, at: SessionKey, after: Option<&TrackId>, limit: usize) -> Result<Vec<Detection>, StoreError> {
        let lowest = after.map_or(Bound::Included((at.number, "")), |after| Bound::Excluded((at.number, after.as_str())));
        let range = self.table(DETECTIONS)?.range::<(u64, &str)>((lowest, Bound::Excluded((at.number + 1, ""))))?;
        let mut detections = Vec::new();
        for entry in range.take(limit) {
            let (key, bytes) = entry?;
            detections.push(self.shown(at, key.value().1, bytes.value())?);
        }
        Ok(detections)
    }

    /// The detections of the session at `at`, by the last time they were seen.
    pub fn detections(&self, at: SessionKey) -> Result<Vec<Detection>, StoreError> {
        let mut detections = Vec::new();
        for entry in self.table(DETECTIONS)?.range((at.number, "")..(at.number + 1, ""))? {
            let (key, bytes) = entry?;
            detections.push(self.shown(at, key.value().1, bytes.value())?);
        }
        detections.sort_by_key(|detection| detection.last);
        Ok(detections)
    }
}
