//! What the system tells of changed files.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use notify::event::{AccessKind, AccessMode, DataChange, ModifyKind};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// News that wait; beyond these a scan finds what was missed.
const MOST_WAITING: usize = 8192;
/// File systems that tell nothing of what others change: NFS, SMB, CIFS, SMB2, 9P, FUSE, overlay (statfs(2)).
const SILENT: [u64; 7] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x794c_7630];

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Something came, went, was renamed or closed.
    Changed(PathBuf),
    /// A file was written to.
    Grown(PathBuf),
    /// Some news were lost.
    Lost,
}

/// The watcher of folders.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    news: Receiver<News>,
    lost: Arc<AtomicBool>,
    /// Why not all folders are watched.
    problem: Option<String>,
    /// A folder that cannot be read.
    denied: Option<String>,
    /// Problems that the log has.
    told: HashSet<String>,
    watched: HashSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet. Where the system cannot, changes must be looked for.
    pub fn start() -> Self {
        let (sender, news) = sync_channel(MOST_WAITING);
        let lost = Arc::new(AtomicBool::new(false));
        let losing = Arc::clone(&lost);
        let started = notify::recommended_watcher(move |told: notify::Result<Event>| pass_on(told, &sender, &losing));
        let (watcher, problem) = match started {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(format!("Recordings are looked for instead of watched: {error}."))),
        };
        Self { watcher, news, lost, problem, denied: None, told: HashSet::new(), watched: HashSet::new() }
    }

    /// Watches a folder, not what lies in folders in it. To be called before it is listed.
    pub fn add(&mut self, folder: &Path) {
        if self.watched.contains(folder) {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) else {
            self.watched.insert(folder.to_owned());
            return;
        };
        match error.kind {
            ErrorKind::PathNotFound => {}
            ErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound => {}
            // mkfs's own folder is root's, and holds nothing.
            ErrorKind::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if folder.file_name().is_none_or(|name| name != "lost+found") {
                    self.denied.get_or_insert_with(|| {
                        format!(
                            "The folder {} of recordings cannot be read: {error}. Let this daemon's group read it.",
                            folder.display()
                        )
                    });
                }
            }
            _ => {
                let hint =
                    if matches!(error.kind, ErrorKind::MaxFilesWatch) { " (raise fs.inotify.max_user_watches)" } else { "" };
                let problem =
                    format!("Recordings are looked for instead of watched, since not all folders can be: {error}{hint}.");
                if self.told.insert(problem.clone()) {
                    tracing::warn!("{problem}");
                }
                self.problem = Some(problem);
            }
        }
    }

    /// Forgets which folders are watched and which could not be, before all are added anew: a volume that was mounted again has
    /// lost its watches, and a limit may have been raised.
    pub fn renew(&mut self) {
        self.watched.clear();
        self.denied = None;
        if self.watcher.is_some() {
            self.problem = None;
        }
    }

    /// Forgets that a folder was watched, since it is gone: one of the same name is another. Says whether any was.
    pub fn forget(&mut self, folder: &Path) -> bool {
        let before = self.watched.len();
        self.watched.retain(|watched| !watched.starts_with(folder));
        self.watched.len() < before
    }

    /// Why not all folders are watched, and which cannot be read.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.problem.clone().into_iter().chain(self.denied.clone())
    }

    /// Whether all changes below these folders are told of.
    pub fn is_trusted<'p>(&self, mut roots: impl Iterator<Item = &'p Path>) -> bool {
        let is_silent = |root: &Path| {
            rustix::fs::statfs(root)
                .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| SILENT.contains(&(kind & 0xffff_ffff))))
        };
        self.problem.is_none() && !roots.any(is_silent)
    }

    /// What is told until then; returns early with the first news and all that wait behind it.
    pub fn wait(&self, until: Instant) -> Vec<News> {
        let mut all = Vec::new();
        match self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(first) => all.push(first),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody tells anything: there is no watcher.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(until.saturating_duration_since(Instant::now())),
        }
        all.extend(self.news.try_iter().take(MOST_WAITING));
        if self.lost.swap(false, Ordering::SeqCst) {
            all.push(News::Lost);
        }
        all
    }
}

fn pass_on(told: notify::Result<Event>, sender: &SyncSender<News>, lost: &AtomicBool) {
    let send = |news: News| {
        if let Err(TrySendError::Full(_)) = sender.try_send(news) {
            lost.store(true, Ordering::SeqCst);
        }
    };
    let Ok(event) = told else { return lost.store(true, Ordering::SeqCst) };
    if event.need_rescan() {
        return lost.store(true, Ordering::SeqCst);
    }
    let grows = match event.kind {
        EventKind::Modify(ModifyKind::Data(DataChange::Any)) => true,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Create(_)
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_)) => false,
        // Our own reading is told of, too.
        _ => return,
    };
    for path in event.paths {
        send(if grows { News::Grown(path) } else { News::Changed(path) });
    }
}
