//! Whether the writer thread gets on. Told apart by it are a disk that is slow, which is waited for, and one that is stuck.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The writer thread's pulse.
#[derive(Default)]
pub struct Pulse {
    steps: AtomicU64,
    busy: AtomicBool,
}

impl Pulse {
    /// Work begins.
    pub fn begin(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.beat();
    }

    /// A step of the work is done: a commit, or a try to open the database again.
    pub fn beat(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Work ends.
    pub fn rest(&self) {
        self.busy.store(false, Ordering::Relaxed);
        self.beat();
    }

    /// Whether work is under way.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Steps since the start.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }
}
