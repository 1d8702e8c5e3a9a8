//! A database whose pages make no sense. redb compares a page with its checksum only after a crash; at any other time it may answer
//! such a page with a panic, which is taken here for what it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::StoreError;

/// Runs `work` on the database; a panic in it becomes `E`.
pub fn guarded<T, E: From<StoreError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(StoreError::Damaged.into()))
}

/// What was found damaged, for whoever asks how the daemon is.
#[derive(Default)]
pub struct Damage {
    found: Mutex<Option<String>>,
    /// Why the database could not be opened again; a whole sentence.
    closed: Mutex<Option<String>>,
}

impl Damage {
    /// Remembers what a read or a change met first.
    pub fn note(&self, what: &str) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none() {
            tracing::error!("the database is damaged: {what}");
            *found = Some(what.to_owned());
        }
    }

    /// Remembers why the database cannot be opened again, or forgets it.
    pub fn set_closed(&self, sentence: Option<String>) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = sentence;
    }

    /// A whole sentence that names the way out, if there is damage.
    pub fn sentence(&self) -> Option<String> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        closed.or_else(|| {
            let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            found.as_ref().map(|what| {
                format!(
                    "The database is damaged: {what}. What can be read is still read. Stop the daemon, have `session-store verify` say how far \
                     it goes, and `restore` a backup; without one, `repair` keeps what can be used, and `repair --from-files` brings back \
                     what lies beside the frames."
                )
            })
        })
    }
}
