//! Taking in a frame: its picture first, then the record that names it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::detection::{Detection, Effect};
use crate::domain::frame::Frame;
use crate::domain::ids::TrackId;
use crate::domain::session::MAX_CLASSES;
use crate::domain::time::Timestamp;
use crate::media::disk;
use crate::media::frames::{FramesFolder, UnnamedFrame};
use crate::media::layout;
use crate::store::{FrameFile, Snapshot, Store, StoreError, Transaction, Urgency};

use super::sessions::SESSION_NOT_FOUND;
use super::{Service, ServiceError, placing};

/// Bytes that stay free beside a frame, or none is taken.
const KEEP_FREE_BYTES: u64 = 1 << 20;

/// What became of a frame's detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingested {
    /// New, or better than their track's best.
    pub inserted: usize,
    /// Of these, not new.
    pub updated: usize,
    /// The rest.
    pub skipped: usize,
    /// All.
    pub total: usize,
    /// Whether the picture was kept.
    pub frame_saved: bool,
}

/// What a frame asks for, as far as a snapshot shows. What improves nothing there never will,
/// since a best confidence only rises.
enum Plan {
    /// It was a mere touch, and is held.
    Done(Ingested),
    /// It must be committed, with the picture where a detection would show it.
    Commit(Frame, Option<(UnnamedFrame, FrameFile)>),
}

impl Service {
    /// Takes in one frame. When this returns, what it says is durable (but see invariant 1 on touches).
    pub async fn ingest(&self, frame: Frame) -> Result<Ingested, ServiceError> {
        let id = frame.session.clone();
        let takes_pictures = frame.jpeg.is_some() && self.inner.pairing.known().await?;
        let frames = takes_pictures.then(|| self.inner.frames.clone());
        let service = self.clone();
        let planned = self.look(Urgency::Ingest, move |store, snapshot| {
            let in_doubt = || service.inner.pairing.doubt();
            let plan = plan(store, snapshot, frames.as_ref(), frame, &in_doubt)?;
            Ok((store.clone(), plan))
        });
        let (store, plan) = planned.await?;
        self.note_activity(&id);
        let (frame, mut written) = match plan {
            Plan::Done(ingested) => return Ok(ingested),
            Plan::Commit(frame, written) => (frame, written),
        };
        let file = written.as_ref().map(|(written, _)| (frame.session.clone(), written.name().to_owned()));
        let (preroll, re_enrich) = (self.preroll_micros(), self.inner.settings.re_enrich);
        let ingested = store.write_ingest(move |tx| apply(tx, &frame, &mut written, preroll, re_enrich)).await;
        if ingested.is_err()
            && let Some((session, file)) = file
        {
            // Whether the commit took hold all the same is known to the next one.
            store.write_sometime(move |tx| tx.beat_unless_shown(&session, &file));
        }
        let ingested = ingested?;
        ingested.ok_or(ServiceError::NotFound(SESSION_NOT_FOUND))
    }
}

/// `in_doubt` is told where the frames folder fails.
fn plan(
    store: &Store,
    snapshot: &Snapshot,
    frames: Option<&FramesFolder>,
    frame: Frame,
    in_doubt: &dyn Fn(),
) -> Result<Plan, ServiceError> {
    if store.is_disk_full() {
        return Err(ServiceError::Full);
    }
    let Some((at, session)) = snapshot.session(&frame.session)? else {
        return Err(ServiceError::NotFound(SESSION_NOT_FOUND));
    };
    let picture = frames.and(frame.jpeg.as_ref());
    let mut merge = Merge::new(&frame, picture.map(|_| String::new()), store.now());
    merge.all(|track| snapshot.detection(at, track))?;
    let mut known: HashSet<&str> = session.detected_classes.iter().map(String::as_str).collect();
    let new_class = frame.sightings.iter().any(|sighting| known.len() < MAX_CLASSES && known.insert(&sighting.cls));
    if !merge.improves && !new_class {
        let widened: Vec<_> = merge.changed().map(|detection| detection.track.clone()).collect();
        if !widened.is_empty() {
            store.touch(at, &widened, frame.capture);
        }
        return Ok(Plan::Done(merge.counts));
    }
    let written = match (frames, picture) {
        (Some(frames), Some(jpeg)) if merge.counts.frame_saved => {
            let bytes = jpeg.bytes();
            if !has_room(frames, bytes.len()) {
                return Err(ServiceError::Full);
            }
            let name = layout::frame_name(frame.capture, Uuid::new_v4().as_u64_pair().1);
            let file = FrameFile { bytes: bytes.len() as u64, hash: Some(xxh3_64(bytes)) };
            match frames.write(&frame.session, name, bytes).map_err(|error| (error.to_string(), ServiceError::from(error))) {
                Ok(written) => Some((written, file)),
                Err((_, ServiceError::Full)) => return Err(ServiceError::Full),
                // The client would not send it again: the detection is kept without its picture.
                Err((error, _)) => {
                    tracing::error!(error, "a frame cannot be stored; its detections are kept");
                    in_doubt();
                    None
                }
            }
        }
        _ => None,
    };
    // What is left of the picture need not be kept in memory while the writer is busy.
    Ok(Plan::Commit(Frame { jpeg: None, ..frame }, written))
}

/// Whether a frame of so many bytes may be written.
pub(super) fn has_room(frames: &FramesFolder, bytes: usize) -> bool {
    disk::volume(frames.root()).map_or(true, |volume| volume.free >= bytes as u64 + KEEP_FREE_BYTES)
}

fn apply(
    tx: &mut Transaction<'_>,
    frame: &Frame,
    written: &mut Option<(UnnamedFrame, FrameFile)>,
    preroll_micros: i64,
    re_enrich: bool,
) -> Result<Option<Ingested>, StoreError> {
    let Some((at, mut session)) = tx.session(&frame.session)? else { return Ok(None) };
    let mut merge = Merge::new(frame, written.as_ref().map(|(written, _)| written.name().to_owned()), tx.now());
    merge.all(|track| tx.detection(at, track))?;
    let mut file = None;
    if let Some((written, of)) = written {
        // The second case: a commit that failed has taken hold all the same, and this is its repetition.
        if merge.counts.frame_saved || tx.is_frame_shown(at, written.name())? {
            file = Some(*of);
            merge.counts.frame_saved = true;
        } else {
            // Beaten while it was written. Merely deleting it would not outlive a power cut; the queue does.
            tx.beat_unless_shown(&frame.session, written.name())?;
        }
        written.may_be_named();
    }
    if session.see_classes(frame.sightings.iter().map(|sighting| &sighting.cls)) {
        session.updated_at = tx.now();
        tx.put_session(at, &session)?;
    }
    if re_enrich {
        // What the enricher said is of the picture before.
        let is_new = |detection: &Detection| file.is_some() && shows(detection, merge.picture.as_deref());
        for (detection, changed) in merge.detections.values_mut() {
            detection.enriched &= !(*changed && is_new(detection));
        }
    }
    for detection in merge.changed() {
        tx.put_detection(at, &frame.session, detection, file.as_ref())?;
    }
    if !frame.sightings.is_empty()
        && let Some(session) = tx.see_after_end(at, frame.capture)?
    {
        placing::measure(tx, at, session, preroll_micros, false)?;
    }
    Ok(Some(merge.counts))
}

/// A frame's sightings taken into their detections, one after the other.
struct Merge<'f> {
    frame: &'f Frame,
    picture: Option<String>,
    now: Timestamp,
    /// By track; whether anything changed.
    detections: BTreeMap<&'f TrackId, (Detection, bool)>,
    counts: Ingested,
    improves: bool,
}

impl<'f> Merge<'f> {
    fn new(frame: &'f Frame, picture: Option<String>, now: Timestamp) -> Self {
        let counts = Ingested { total: frame.sightings.len(), ..Ingested::default() };
        Self { frame, picture, now, detections: BTreeMap::new(), counts, improves: false }
    }

    fn all(&mut self, stored: impl Fn(&TrackId) -> Result<Option<Detection>, StoreError>) -> Result<(), StoreError> {
        for sighting in &self.frame.sightings {
            let effect = match self.detections.entry(&sighting.track) {
                Entry::Occupied(mut known) => {
                    let (detection, changed) = known.get_mut();
                    let effect = detection.see(sighting, self.frame.capture, self.picture.as_deref(), self.now);
                    *changed |= effect.improves() || effect.widened;
                    self.counts.updated += usize::from(effect.better);
                    effect
                }
                Entry::Vacant(place) => match stored(&sighting.track)? {
                    Some(mut detection) => {
                        let effect = detection.see(sighting, self.frame.capture, self.picture.as_deref(), self.now);
                        place.insert((detection, effect.improves() || effect.widened));
                        self.counts.updated += usize::from(effect.better);
                        effect
                    }
                    None => {
                        place.insert((
                            Detection::first_seen(sighting, self.frame.capture, self.picture.as_deref(), self.now),
                            true,
                        ));
                        Effect { better: true, pictured: self.picture.is_some(), widened: false }
                    }
                },
            };
            self.counts.inserted += usize::from(effect.better);
            self.improves |= effect.improves();
        }
        self.counts.skipped = self.counts.total - self.counts.inserted;
        self.counts.frame_saved =
            self.picture.is_some() && self.detections.values().any(|(detection, _)| shows(detection, self.picture.as_deref()));
        Ok(())
    }

    fn changed(&self) -> impl Iterator<Item = &Detection> {
        self.detections.values().filter(|(_, changed)| *changed).map(|(detection, _)| detection)
    }
}

fn shows(detection: &Detection, picture: Option<&str>) -> bool {
    detection.picture.as_ref().map(|shown| shown.file.as_str()) == picture
}
