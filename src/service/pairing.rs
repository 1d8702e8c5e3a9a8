//! Whether the frames folder is this store's own. An empty mount point must not be taken for an
//! empty folder, nor another store's frames for ours.

use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::media::frames::{FramesFolder, Pairing};
use crate::store::Urgency;

use super::{INGEST_PATIENCE, Service, ServiceError, blocking};

/// How long after a failure the folder is looked at again: a volume may be mounted late.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// How often a folder that can be used is looked at all the same.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What stands between the frames folder and its use; a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unknown,
    Usable,
    Unusable(String),
}

/// The state of the pairing.
pub struct PairingState {
    state: watch::Sender<State>,
    doubt: Notify,
}

impl Default for PairingState {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::Unknown), doubt: Notify::new() }
    }
}

impl PairingState {
    /// Waits until it is known whether frames may be written.
    ///
    /// # Errors
    /// [`ServiceError::Busy`] where it is not known in time.
    pub async fn known(&self) -> Result<bool, ServiceError> {
        let mut state = self.state.subscribe();
        let known = tokio::time::timeout(INGEST_PATIENCE, state.wait_for(|state| *state != State::Unknown)).await;
        match known {
            Ok(Ok(state)) => Ok(*state == State::Usable),
            _ => Err(ServiceError::Busy),
        }
    }

    /// Says that a frame could not be written: the folder is looked at again.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Whether it is known yet.
    pub fn is_known(&self) -> bool {
        *self.state.borrow() != State::Unknown
    }

    /// Why not, with the way out.
    pub fn problem(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Unusable(problem) => Some(problem.clone()),
            State::Unknown | State::Usable => None,
        }
    }
}

impl Service {
    /// Pairs the frames folder with the store where neither was paired before, and sweeps the store's own
    /// temporary names; tries again until the folder can be used. Then it looks every now and then, and whenever a frame could not
    /// be written, whether it still can: a volume may be unmounted or become read-only. While it cannot, the store keeps
    /// detections without pictures, and says so in `/health`.
    pub async fn watch_frames(&self) {
        let pairing = &self.inner.pairing;
        let mut stopping = self.inner.stopping.subscribe();
        let mut was_usable = false;
        loop {
            let tried = if was_usable { self.look_at_frames().await } else { self.try_to_pair().await };
            let state = match tried {
                Ok(()) => State::Usable,
                Err(problem) => State::Unusable(problem),
            };
            was_usable |= state == State::Usable;
            let before = pairing.state.send_replace(state.clone());
            match &state {
                State::Unusable(problem) if before != state => {
                    tracing::error!("{problem} Detections are kept without pictures meanwhile.");
                }
                State::Usable if matches!(before, State::Unusable(_)) => tracing::info!("frames are stored again"),
                _ => {}
            }
            let again = if state == State::Usable { LOOK_EVERY } else { AGAIN_AFTER };
            tokio::select! {
                () = tokio::time::sleep(again) => {}
                () = pairing.doubt.notified(), if state == State::Usable => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Waits until the frames folder can be used; false where the daemon stops before.
    pub(super) async fn frames_are_usable(&self) -> bool {
        let (mut state, mut stopping) = (self.inner.pairing.state.subscribe(), self.inner.stopping.subscribe());
        tokio::select! {
            _ = state.wait_for(|state| *state == State::Usable) => true,
            _ = stopping.wait_for(|stopping| *stopping) => false,
        }
    }

    /// Whether the folder that was usable still is.
    async fn look_at_frames(&self) -> Result<(), String> {
        let Some(store) = self.opened() else { return Ok(()) };
        let frames = self.inner.frames.clone();
        let looked = blocking(move || {
            let root = frames.root().display();
            Ok(match frames.pairing(&store.identity().uuid) {
                Ok(Pairing::Paired) => frames
                    .probe()
                    .map_err(|error| format!("The frames folder {root} cannot be written: {error}. Is its volume read-only?")),
                Ok(_) => Err(format!("The frames folder {root} is not this store's any more. Was its volume unmounted?")),
                Err(error) => Err(format!("The frames folder {root} cannot be read: {error}.")),
            })
        });
        looked.await.map_err(|error| error.to_string())?
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
