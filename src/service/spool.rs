//! Hooks that found no daemon: applied in the order of their events, each file deleted once its hook was.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use crate::domain::hook::Hook;
use crate::media::spool::Spool;
use crate::store::Urgency;

use super::hooks::SegmentComplete;
use super::{Service, ServiceError, blocking};

/// How often the folder is looked at. An empty folder costs next to nothing to list, and a look sees on every file system
/// what a watch does not.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After something could not be done.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Service {
    /// Takes what waits in `spool` and what comes there, until the daemon stops.
    pub async fn take_spooled_hooks(&self, spool: Spool) {
        if self.store(Urgency::Urgent).await.is_err() {
            return;
        }
        let mut stopping = self.inner.stopping.subscribe();
        let mut taker = Taker { service: self.clone(), spool, applied: HashSet::new(), told: HashSet::new(), is_swept: false };
        while !*stopping.borrow() {
            let wait = match taker.round().await {
                Ok(()) => {
                    taker.told.clear();
                    LOOK_EVERY
                }
                Err(problems) => {
                    taker.say_once(problems);
                    AGAIN_AFTER
                }
            };
            // What is there now is met in the next round.
            let _ = tokio::time::timeout(wait, stopping.wait_for(|stopping| *stopping)).await;
        }
    }
}

/// What one hook could not be taken for.
enum Trouble {
    /// Its file; others may do.
    File(io::Error),
    /// The store, which will not take the next one either.
    Store(ServiceError),
}

struct Taker {
    service: Service,
    spool: Spool,
    /// Files whose hooks were applied and that could not be deleted yet.
    applied: HashSet<String>,
    /// Problems that are in the log already.
    told: HashSet<String>,
    is_swept: bool,
}

impl Taker {
    /// Takes all that waits.
    ///
    /// # Errors
    /// A sentence for all that must be tried again later.
    async fn round(&mut self) -> Result<(), Vec<String>> {
        let (first, folder) = (!self.is_swept, self.spool.root().display().to_string());
        let names = self.on_disk(move |spool| {
            spool.prepare()?;
            if first {
                spool.sweep()?;
            }
            spool.waiting()
        });
        let names =
            names.await.map_err(|error| vec![format!("the folder of waiting hooks, {folder}, cannot be used: {error}")])?;
        self.is_swept = true;
        self.applied.retain(|name| names.contains(name));
        let (mut count, mut problems) = (0, Vec::new());
        for name in names {
            if *self.service.inner.stopping.borrow() {
                break;
            }
            match self.take(&name).await {
                Ok(taken) => count += usize::from(taken),
                Err(Trouble::Store(error)) => {
                    problems.push(format!("the hooks that wait in {folder} cannot be applied yet: {error}"));
                    break;
                }
                Err(Trouble::File(error)) => problems.push(format!("the waiting hook {folder}/{name} cannot be taken: {error}")),
            }
        }
        if count > 0 {
            tracing::info!("{count} hooks that had waited in {folder} were applied");
            // Else a power cut brings them back, as hooks that come late.
            if let Err(error) = self.on_disk(Spool::sync).await {
                problems.push(format!("what was taken from {folder} may come back: {error}"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Applies one hook and deletes its file. Says whether there was one.
    async fn take(&mut self, name: &str) -> Result<bool, Trouble> {
        let mut is_new = false;
        if !self.applied.contains(name) {
            let file = name.to_owned();
            let hook = match self.on_disk(move |spool| spool.read(&file)).await {
                Ok(bytes) => Hook::from_file(&bytes).map_err(|invalid| invalid.to_string()),
                // Or its command has told it after all, and it is gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err("it is no file".to_owned()),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(error.to_string()),
                Err(error) => return Err(Trouble::File(error)),
            };
            match hook {
                Ok(hook) => self.service.apply(hook).await.map_err(Trouble::Store)?,
                Err(reason) => return self.set_aside(name, &reason).await.map_err(Trouble::File).map(|()| false),
            }
            self.applied.insert(name.to_owned());
            is_new = true;
        }
        let file = name.to_owned();
        self.on_disk(move |spool| spool.delete(&file)).await.map_err(Trouble::File)?;
        self.applied.remove(name);
        Ok(is_new)
    }

    async fn set_aside(&self, name: &str, reason: &str) -> io::Result<()> {
        let file = name.to_owned();
        if self.on_disk(move |spool| spool.set_aside(&file)).await? {
            tracing::warn!("{name} in the folder of waiting hooks was moved to refused/ there: {reason}");
        }
        Ok(())
    }

    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Spool) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let spool = self.spool.clone();
        let done = blocking(move || Ok(work(&spool))).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error.to_string())))
    }

    /// Logs what is new of `problems`.
    fn say_once(&mut self, problems: Vec<String>) {
        for problem in problems.iter().filter(|problem| !self.told.contains(*problem)) {
            tracing::warn!("{problem}; trying on");
        }
        self.told = problems.into_iter().collect();
    }
}

impl Service {
    async fn apply(&self, hook: Hook) -> Result<(), ServiceError> {
        match hook {
            Hook::Publish { path, event } => self.published(path, event).await,
            Hook::SegmentCreate { path, file, .. } => self.segment_created(path, file).await,
            Hook::SegmentComplete { path, file, said } => self.segment_complete(SegmentComplete { path, file, said }).await,
        }
        .map(drop)
    }
}
