//! Whether the frames folder is this store's own. An empty mount point must not be taken for an
//! empty folder, nor another store's frames for ours.

use tokio::sync::watch;

use crate::media::frames::Pairing;
use crate::store::Urgency;

use super::{INGEST_PATIENCE, Service, ServiceError, blocking};

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
    /// Whether frames may be written.
    pub fn is_usable(&self) -> bool {
        *self.0.borrow() == State::Usable
    }

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
    /// Pairs the frames folder with the store where neither was paired before, and sweeps the
    /// store's own temporary names. Until this is done, frames are not written.
    ///
    /// # Errors
    /// When the store cannot say what it knows. A folder that cannot be used is no error: the store
    /// then keeps detections without pictures, and says so in `/health`.
    pub async fn pair_frames(&self) -> Result<(), ServiceError> {
        let (store, snapshot) = self.snapshot(Urgency::Urgent).await?;
        let was_paired = snapshot.are_frames_paired()?;
        drop(snapshot);
        let frames = self.inner.frames.clone();
        let uuid = store.identity().uuid.clone();
        let root = frames.root().display().to_string();
        let paired = blocking(move || {
            let pairing = match frames.pairing(&uuid) {
                Ok(pairing) => pairing,
                Err(error) => return Ok(Err(format!("The frames folder {root} cannot be read: {error}."))),
            };
            let done = match pairing {
                Pairing::Paired => frames.prepare(),
                Pairing::Unmarked if !was_paired => frames.pair(&uuid),
                Pairing::Unmarked => {
                    return Ok(Err(format!(
                        "The frames folder {root} is not the one that this store was paired with: it carries no mark. Is its volume \
                         mounted? If the folder is right after all, write {uuid} into the file \\store in it, and restart."
                    )));
                }
                Pairing::Foreign(other) => {
                    return Ok(Err(format!(
                        "The frames folder {root} belongs to another store ({other}): set [frames] storage_path to this store's own, \
                         or put that store's database back."
                    )));
                }
            };
            Ok(done.map_err(|error| format!("The frames folder {root} cannot be written: {error}.")))
        })
        .await?;
        let state = match paired {
            Ok(()) => {
                if !was_paired {
                    self.write(|tx| tx.set_frames_paired()).await?;
                }
                State::Usable
            }
            Err(problem) => {
                tracing::error!("{problem} Detections are kept without pictures meanwhile.");
                State::Unusable(problem)
            }
        };
        self.inner.pairing.0.send_replace(state);
        Ok(())
    }
}
