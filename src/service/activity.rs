//! When something last happened, for finding sessions whose agent has vanished. In memory: a daemon that has just started
//! gives everybody the whole time anew.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::ids::SessionId;

/// Last signs of life, by the clock's monotonic time.
#[derive(Default)]
pub struct Activity(Mutex<Signs>);

#[derive(Default)]
struct Signs {
    sessions: HashMap<SessionId, Duration>,
    /// Paths whose recording grows.
    paths: HashMap<String, Duration>,
}

impl Activity {
    /// The session called `id` was opened or posted a frame.
    pub fn of_session(&self, id: &SessionId, now: Duration) {
        let mut signs = self.lock();
        match signs.sessions.get_mut(id) {
            Some(last) => *last = now,
            None => drop(signs.sessions.insert(id.clone(), now)),
        }
    }

    /// The recording of `path` has grown.
    pub fn of_path(&self, path: &str, now: Duration) {
        self.lock().paths.insert(path.to_owned(), now);
    }

    /// The last sign of a session on `path`; zero, the clock's begin, where there was none.
    pub fn last(&self, id: &SessionId, path: &str) -> Duration {
        let signs = self.lock();
        signs.sessions.get(id).max(signs.paths.get(path)).copied().unwrap_or_default()
    }

    /// Forgets what happened before `before`.
    pub fn forget(&self, before: Duration) {
        let mut signs = self.lock();
        signs.sessions.retain(|_, last| *last >= before);
        signs.paths.retain(|_, last| *last >= before);
    }

    fn lock(&self) -> MutexGuard<'_, Signs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
