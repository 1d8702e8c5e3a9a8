//! What the sync with a central database asks of the store, and tells of itself.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::domain::detection::Detection;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::session::Session;
use crate::media::frames::FramesFolder;
use crate::media::shared;
use crate::store::{FeedPage, Runs, StoreError, Transaction, Urgency};

use super::{Service, ServiceError};

/// How the sync is, for `/health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Central {
    /// `connecting`, `catching up`, `up to date`, `waiting` (for its window or its hour) or `unreachable`.
    pub state: &'static str,
    /// Host and port.
    pub server: String,
    /// This gateway's name there.
    pub gateway_id: String,
    /// Numbers of the feed that are not known to be central; an entity that changed twice has used two. All of them until
    /// the central database was first reached by this process.
    pub lag_rows: u64,
    /// Since when, in seconds.
    pub lag_seconds: u64,
    /// Rows pushed by this process.
    pub pushed: u64,
    /// Pictures sent by this process.
    pub frames_sent: u64,
    /// Whether no more pictures are sent, since too many wait in the central database for `receive-frames`.
    pub frames_held_up: bool,
    /// Enrichments taken by this process.
    pub pulled: u64,
    /// Rows that the central database refused.
    pub set_aside: u64,
    /// Sessions that another gateway has claimed first.
    pub foreign_sessions: u64,
    /// The last error, in plain words; null once all is well again.
    pub last_error: Option<String>,
}

impl Central {
    /// What an operator should look at.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.foreign_sessions > 0 {
            problems.push(format!(
                "{} sessions belong to another gateway in the central database and are not pushed: see `session-store sync status`.",
                self.foreign_sessions
            ));
        }
        if self.frames_held_up {
            problems.push(
                "Too many pictures wait in the central database, and no more are sent: does `session-store receive-frames` run there?"
                    .to_owned(),
            );
        }
        if self.set_aside > 0 {
            problems.push(format!(
                "The central database refused {} rows, which are set aside: see `session-store sync status`.",
                self.set_aside
            ));
        }
        problems
    }
}

/// What an enricher wrote of a detection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrichment {
    /// Its session.
    pub session: SessionId,
    /// Its track.
    pub track: TrackId,
    /// The file of the picture that the central row names.
    pub picture: Option<String>,
    /// JSON text.
    pub attributes: Option<String>,
    /// Whether it was looked at.
    pub enriched: bool,
    /// Whether no picture gets there: then "looked at" alone says nothing.
    pub is_blind: bool,
}

/// A detection's attributes that were changed here: the detection and the number to forget them by.
pub type Patched = (SessionId, TrackId, u64);

impl Service {
    /// Tells how the sync is.
    pub fn report_central(&self, change: impl FnOnce(&mut Central)) {
        self.inner.central.send_modify(|central| change(central.get_or_insert_default()));
    }

    /// Returns when the daemon stops.
    pub async fn stopped(&self) {
        let _ = self.inner.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// The store's UUID and the epoch of its feed, once it is open.
    pub async fn identity(&self) -> Result<(String, String), ServiceError> {
        let identity = self.store(Urgency::Urgent).await?.identity().clone();
        Ok((identity.uuid, identity.epoch))
    }

    /// Notes that this process goes on with the store, once it is open; says its name, and of which runs the store knows.
    pub async fn note_run(&self) -> Result<(String, Runs), ServiceError> {
        let run = self.store(Urgency::Urgent).await?.run().clone();
        let name = run.name.clone();
        let runs = self.read(|snapshot| Ok(snapshot.runs()?)).await?;
        if runs.vouch_for(&name, run.begun_at) {
            return Ok((name, runs));
        }
        Ok((name, self.write(move |tx| tx.note_run(&run)).await?))
    }

    /// The feed's newest number.
    pub async fn feed_head(&self) -> Result<u64, ServiceError> {
        Ok(*self.store(Urgency::Urgent).await?.feed_head().borrow())
    }

    /// Whether a reader can go on behind `since`: nothing of what it missed is forgotten.
    pub async fn has_feed_place(&self, since: u64) -> Result<bool, ServiceError> {
        match self.read(move |snapshot| Ok(snapshot.changes(since, None, 1)?)).await {
            Ok(_) => Ok(true),
            Err(ServiceError::Restarted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// At most `limit` entries of the feed behind `since`, for one who has what lies before. Without held touches: a crash
    /// would take them back here, and not there; committed they come with a number of their own.
    pub async fn feed_page(&self, since: u64, limit: usize) -> Result<FeedPage, ServiceError> {
        self.look(Urgency::Urgent, move |store, _| Ok(store.read_committed()?.more_changes(since, limit)?)).await
    }

    /// The folder of frames.
    pub fn frames_folder(&self) -> FramesFolder {
        self.inner.frames.clone()
    }

    /// Those of `ids` that are in the store.
    pub async fn sessions_called(&self, ids: Vec<SessionId>) -> Result<Vec<Session>, ServiceError> {
        self.read(move |snapshot| {
            let mut found = Vec::new();
            for id in &ids {
                found.extend(snapshot.session(id)?.map(|(_, session)| session));
            }
            Ok(found)
        })
        .await
    }

    /// The detections of `tracks` that are in the store, as they were committed.
    pub async fn detections_called(
        &self,
        tracks: Vec<(SessionId, TrackId)>,
    ) -> Result<Vec<(SessionId, Detection)>, ServiceError> {
        self.look(Urgency::Urgent, move |store, _| {
            let snapshot = store.read_committed()?;
            let mut found = Vec::new();
            for (id, track) in tracks {
                let Some((at, _)) = snapshot.session(&id)? else { continue };
                found.extend(snapshot.detection(at, &track)?.map(|detection| (id, detection)));
            }
            Ok(found)
        })
        .await
    }

    /// Those of `tracks` whose attributes were changed here.
    pub async fn patched_of(&self, tracks: Vec<(SessionId, TrackId)>) -> Result<Vec<Patched>, ServiceError> {
        self.read(move |snapshot| {
            let mut found = Vec::new();
            if !snapshot.any_patched()? {
                return Ok(found);
            }
            for (id, track) in tracks {
                let Some((at, _)) = snapshot.session(&id)? else { continue };
                found.extend(snapshot.patched(at, &track)?.map(|seq| (id, track, seq)));
            }
            Ok(found)
        })
        .await
    }

    /// Forgets that these were changed here: now it is known centrally.
    pub async fn forget_patched(&self, patched: Vec<Patched>) -> Result<(), ServiceError> {
        if patched.is_empty() {
            return Ok(());
        }
        self.write(move |tx| {
            for (id, track, seq) in &patched {
                if let Some((at, _)) = tx.session(id)? {
                    tx.forget_patched(at, track, *seq)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Takes over what an enricher wrote centrally; says how many detections differed. What was changed here and is not
    /// central yet stays: it will come back joined with the other.
    pub async fn take_enrichments(&self, enrichments: Vec<Enrichment>) -> Result<u64, ServiceError> {
        self.write(move |tx| {
            let mut taken = 0;
            for enrichment in &enrichments {
                taken += u64::from(take(tx, enrichment)?);
            }
            Ok(taken)
        })
        .await
    }
}

fn take(tx: &mut Transaction<'_>, enrichment: &Enrichment) -> Result<bool, StoreError> {
    let Some((at, _)) = tx.session(&enrichment.session)? else { return Ok(false) };
    let Some(mut detection) = tx.detection(at, &enrichment.track)? else { return Ok(false) };
    // Looked at without a word: a row without a picture is marked so, that the enricher lets it be.
    let enriched = enrichment.enriched && enrichment.attributes.is_some();
    let is_same = is_same_json(detection.attributes.as_deref(), enrichment.attributes.as_deref())
        && (detection.enriched == enriched || enrichment.is_blind);
    // Of another picture: a better one is on its way there, or was.
    let is_of_another = detection.picture.as_ref().map(|picture| &picture.file) != enrichment.picture.as_ref();
    if is_same || is_of_another || tx.is_patched(at, &enrichment.track)? {
        return Ok(false);
    }
    detection.attributes.clone_from(&enrichment.attributes);
    detection.enriched = enriched;
    detection.updated_at = tx.now();
    tx.put_detection(at, &enrichment.session, &detection, None)?;
    Ok(true)
}

/// Whether two JSON texts mean the same: Postgres keeps neither the order of fields nor white space.
pub fn is_same_json(one: Option<&str>, other: Option<&str>) -> bool {
    let value = |text: Option<&str>| text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    one == other || (one.is_some() == other.is_some() && value(one) == value(other) && value(one).is_some())
}

/// Puts a picture that a gateway sent into the enricher's folder; one that is there already stays.
pub fn put_received(folder: &Path, session: &SessionId, file: &str, bytes: &[u8]) -> io::Result<()> {
    shared::put_received(folder, session, file, bytes)
}

/// Deletes what those left behind in the enricher's folder that were killed while they put a picture there.
pub fn sweep_received(folder: &Path) -> io::Result<()> {
    shared::sweep_received(folder)
}

/// Deletes a copy of a frame in a shared folder; one that is gone is fine.
pub fn delete_shared(shared: &Path, session: &str, file: &str) -> io::Result<()> {
    shared::delete_copy(shared, session, file)
}
