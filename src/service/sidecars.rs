//! Writing closed sessions' records beside their frames, so that they outlive the database. One more reader of the change
//! feed, behind all others and never on the way of a request.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::domain::ids::{SessionId, TrackId};
use crate::media::frames::FramesFolder;
use crate::store::{Change, Store, StoreError, Urgency};

use super::export::Lines;
use super::{Service, ServiceError, blocking};

/// Entries of the feed read in one snapshot.
const AT_ONCE: usize = 200;
/// While requests come in, there is so much time between two sidecars.
const BETWEEN: Duration = Duration::from_millis(50);
/// The place in the feed is written down whenever a sidecar was, else so often.
const PLACE_EVERY: Duration = Duration::from_secs(300);
/// Sessions whose last writing is remembered, so that one with many changes is not written for each.
const REMEMBERED: usize = 1000;
/// After a failure.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// No delay is shorter.
const SHORTEST_DELAY: Duration = Duration::from_millis(100);

impl Service {
    /// Keeps the sidecars up with the feed until the daemon stops. An entity stands in the feed at its newest number, so
    /// what changes all the time is met when it no longer does.
    pub async fn write_sidecars(&self) {
        let Ok(store) = self.store(Urgency::Urgent).await else { return };
        if !self.frames_are_usable().await {
            return;
        }
        let mut stopping = self.inner.stopping.subscribe();
        let mut sidecars = Sidecars::new(store.clone(), self.inner.frames.clone());
        let mut told = false;
        while !*stopping.borrow() {
            let until = *store.feed_head().borrow();
            let delay = self.settings().sidecar_delay.max(SHORTEST_DELAY);
            let mut wait = delay;
            let stop = stopping.clone();
            let worked = blocking(move || {
                let done = sidecars.follow(until, &|| *stop.borrow());
                Ok((sidecars, done))
            });
            match worked.await {
                Ok((returned, Ok(()))) => {
                    sidecars = returned;
                    told = false;
                }
                Ok((returned, Err(error))) => {
                    sidecars = returned;
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "sessions' records cannot be written beside their frames; trying on");
                    }
                    wait = wait.max(AGAIN_AFTER);
                }
                Err(error) => return tracing::error!(%error, "sessions' records are not written beside their frames any more"),
            }
            // What is there now is met after the delay.
            let _ = tokio::time::timeout(wait, stopping.wait_for(|stopping| *stopping)).await;
        }
    }
}

/// The reader of the feed.
struct Sidecars {
    store: Store,
    frames: FramesFolder,
    place: u64,
    /// The number of the feed up to which a session's sidecar is known to hold.
    written: HashMap<SessionId, u64>,
    placed: Instant,
    /// The head that was seen before the last delay: up to there it is time.
    due: u64,
}

impl Sidecars {
    fn new(store: Store, frames: FramesFolder) -> Self {
        let epoch = &store.identity().epoch;
        let place = frames.sidecars_place().filter(|(of, _)| of == epoch).map_or(0, |(_, place)| place);
        Self { store, frames, place, written: HashMap::new(), placed: Instant::now(), due: 0 }
    }

    /// Goes on to what was the head when this was last called, and remembers `head` for the next time.
    fn follow(&mut self, head: u64, is_stopping: &dyn Fn() -> bool) -> Result<(), ServiceError> {
        let until = std::mem::replace(&mut self.due, head);
        let mut any = false;
        while self.place < until && !is_stopping() {
            if self.store.is_disk_full() {
                return Ok(());
            }
            let page = self.store.read()?.more_changes(self.place, AT_ONCE)?;
            let mut touched: BTreeMap<SessionId, u64> = BTreeMap::new();
            let mut place = page.next.min(until);
            for (seq, change) in page.changes {
                if seq > until {
                    break;
                }
                place = seq;
                let id = match change {
                    Change::Session(session) => session.id,
                    Change::Detection(id, _) | Change::SessionDeleted(id) => id,
                };
                touched.insert(id, seq);
            }
            for (id, seq) in touched {
                if is_stopping() {
                    return Ok(());
                }
                if self.written.get(&id).is_none_or(|written| *written < seq) {
                    any |= self.renew(&id)?;
                }
            }
            self.place = place;
        }
        if any || (self.place > 0 && self.placed.elapsed() > PLACE_EVERY) {
            self.placed = Instant::now();
            self.frames.set_sidecars_place(&self.store.identity().epoch, self.place)?;
        }
        Ok(())
    }

    /// Makes one session's sidecar what it should be; says whether it was something else.
    fn renew(&mut self, id: &SessionId) -> Result<bool, ServiceError> {
        let snapshot = self.store.read()?;
        let head = snapshot.feed_head()?;
        let session = snapshot.session(id)?;
        drop(snapshot);
        let changed = match session {
            None => {
                let was_there = self.frames.delete_sidecar(id)?;
                if was_there {
                    // It was written while the session was deleted, and the folder made anew for it.
                    self.frames.delete_session_folder(id)?;
                }
                was_there
            }
            // It will be met again when it is closed.
            Some((_, session)) if session.is_open() => false,
            Some(_) => match lines_of(&self.store, id)? {
                Some(lines) => self.frames.write_sidecar(id, &lines)?,
                None => false,
            },
        };
        if self.written.len() >= REMEMBERED {
            self.written.clear();
        }
        self.written.insert(id.clone(), head);
        if changed && self.store.is_busy() {
            std::thread::sleep(BETWEEN);
        }
        Ok(changed)
    }
}

/// The lines of a session with its detections; none where it is gone meanwhile.
fn lines_of(store: &Store, id: &SessionId) -> Result<Option<Vec<u8>>, StoreError> {
    let mut lines = Lines::default();
    let mut after: Option<TrackId> = None;
    let mut is_begun = false;
    loop {
        let snapshot = store.read()?;
        let Some((at, session)) = snapshot.session(id)? else { return Ok(None) };
        if !std::mem::replace(&mut is_begun, true) {
            lines.session(&session)?;
        }
        let detections = snapshot.detections_behind(at, after.as_ref(), AT_ONCE)?;
        for detection in &detections {
            lines.detection(&snapshot, id, detection)?;
        }
        match detections.into_iter().next_back() {
            Some(last) => after = Some(last.track),
            None => return Ok(Some(lines.0)),
        }
    }
}
