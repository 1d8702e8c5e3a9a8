//! Whether the frames folder is this store's own. An empty mount point must not be taken for an
//! empty folder, nor another store's frames for ours.

use std::time::Duration;

use tokio::sync::watch;

use crate::media::frames::{FramesFolder, Pairing};
use crate::store::Urgency;

use super::{INGEST_PATIENCE, Service, ServiceError, blocking};

/// How long after a failure the folder is looked at again: a volume may be mounted late.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// What stands between the frames folder and its use; a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    Usable,
    Unusable(String),
}

/// The state of the pairing.
pub struct PairingState(watch::Sender<State>);

impl Default for PairingState {
    fn default() -> Self {
        Self(watch::Sender::new(State::Unknown))
    }
}

impl PairingState {
    /// Waits until it is known whether frames may be written.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] where it is not known in time.
    pub async fn known(&self) -> Result<bool, ServiceError> {
        let mut state = self.0.subscribe();
        let known = tokio::time::timeout(INGEST_PATIENCE, state.wait_for(|state| *state != State::Unknown)).await;
        match known {
            Ok(Ok(state)) => Ok(*state == State::Usable),
            _ => Err(ServiceError::Busy),
        }
    }

    /// Whether it is known yet.
    pub fn is_known(&self) -> bool {
        *self.0.borrow() != State::Unknown
    }

    /// Why not, with the way out.
    pub fn problem(&self) -> Option<String> {
        match &*self.0.borrow() {
            State::Unusable(problem) => Some(problem.clone()),
            State::Unknown | State::Usable => None,
        }
    }
}

impl Service {
    /// Pairs the frames folder with the store where neither was paired before, and sweeps the store's own
    /// temporary names; tries again until the folder can be used. Meanwhile the store keeps detections without
    /// pictures, and says so in `/health`.
    pub async fn pair_frames(&self) {
        let mut stopping = self.inner.stopping.subscribe();
        loop {
            let state = match self.try_to_pair().await {
                Ok(()) => State::Usable,
                Err(problem) => State::Unusable(problem),
            };
            let is_news = *self.inner.pairing.0.borrow() != state;
            if let State::Unusable(problem) = &state
                && is_news
            {
                tracing::error!("{problem} Detections are kept without pictures meanwhile.");
            }
            let is_done = state == State::Usable;
            self.inner.pairing.0.send_replace(state);
            if is_done {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN_AFTER) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    // The method itself in the closure's place is not general enough for the compiler.
    #[expect(clippy::redundant_closure_for_method_calls)]
    async fn try_to_pair(&self) -> Result<(), String> {
        let unclear = |error: ServiceError| format!("The store cannot say whose frames folder it has: {error}.");
        let asked =
            self.look(Urgency::Urgent, |store, snapshot| Ok((store.identity().uuid.clone(), snapshot.are_frames_paired()?)));
        let (uuid, was_paired) = asked.await.map_err(unclear)?;
        let frames = self.inner.frames.clone();
        let paired = blocking(move || Ok(pair(&frames, &uuid, was_paired))).await;
        paired.map_err(unclear)??;
        if !was_paired {
            self.write(|tx| tx.set_frames_paired()).await.map_err(unclear)?;
        }
        Ok(())
    }
}

fn pair(frames: &FramesFolder, uuid: &str, was_paired: bool) -> Result<(), String> {
    let root = frames.root().display();
    let pairing = frames.pairing(uuid).map_err(|error| format!("The frames folder {root} cannot be read: {error}."))?;
    let done = match pairing {
        Pairing::Paired => frames.prepare(),
        Pairing::Unmarked if !was_paired => frames.pair(uuid),
        Pairing::Unmarked => {
            return Err(format!(
                "The frames folder {root} is not the one that this store was paired with: it carries no mark. Is its volume \
                 mounted? If the folder is right after all, write {uuid} into the file \\store in it."
            ));
        }
        Pairing::Foreign(other) => {
            return Err(format!(
                "The frames folder {root} belongs to another store ({other}): set [frames] storage_path to this store's own, \
                 or put that store's database back."
            ));
        }
    };
    done.map_err(|error| format!("The frames folder {root} cannot be written: {error}."))
}
