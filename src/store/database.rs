//! The one handle to redb's file, which can be taken away and opened again while the daemon runs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use redb::Database;

use super::StoreError;
use super::journal::Journal;

/// How long healing waits for readers to finish before it gives up for this time.
const READERS_FINISH_WITHIN: Duration = Duration::from_secs(10);

/// The open database, or none while it is being healed or after it was closed.
pub struct Handle {
    path: PathBuf,
    cache_bytes: usize,
    database: Mutex<Option<Arc<Database>>>,
    /// Which file it is: one that is deleted or replaced under the daemon goes on without a name.
    file: Mutex<Option<FileId>>,
}

/// Device and inode.
pub type FileId = (u64, u64);

/// Which file lies at `path`, if one does.
pub fn file_id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Handle {
    /// Opens `path`, or makes a new database there.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, StoreError> {
        let database = open_or_create(path, cache_bytes)?;
        let file = Mutex::new(file_id(path));
        Ok(Self { path: path.to_owned(), cache_bytes, database: Mutex::new(Some(Arc::new(database))), file })
    }

    /// The database, for one short use.
    pub fn get(&self) -> Result<Arc<Database>, StoreError> {
        self.lock().clone().ok_or(StoreError::Unavailable)
    }

    /// Whether there is one to get.
    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Lets go of the database once its readers have finished.
    pub fn close(&self) {
        let Some(mut database) = self.lock().take() else { return };
        let deadline = Instant::now() + READERS_FINISH_WITHIN;
        // Readers live for one page of an answer, so this is short.
        while let Err(shared) = Arc::try_unwrap(database) {
            if Instant::now() > deadline {
                tracing::warn!("a reader of the database did not finish in time");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            database = shared;
        }
    }

    /// Closes the database and opens its file again: what redb asks for after an I/O error. Nobody gets it before
    /// `catch_up` has brought it up to date.
    pub fn reopen(&self, catch_up: impl FnOnce(&Database) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.close();
        let database = open_existing(&self.path, self.cache_bytes)?;
        catch_up(&database)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file_id(&self.path);
        *self.lock() = Some(Arc::new(database));
        Ok(())
    }

    /// Why the database cannot be opened, as a whole sentence.
    pub fn sentence(&self, error: &StoreError) -> String {
        match error {
            StoreError::Refused(sentence) => sentence.clone(),
            StoreError::Damaged => damaged(&self.path, "its pages make no sense").to_string(),
            error => format!("The database {} cannot be opened again: {error}. It is tried on.", self.path.display()),
        }
    }

    /// Whether the volume takes writes, tried out on the file's time of change. redb is only let write where it does: after a
    /// failure it would answer no reads either, and could not be opened again.
    pub fn try_writing(&self) -> Result<(), StoreError> {
        Ok(File::options().write(true).open(&self.path)?.set_modified(SystemTime::now())?)
    }

    /// Whether the file that is open still lies in its place.
    pub fn is_in_place(&self) -> bool {
        let file = *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.is_some() && file == file_id(&self.path)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Database>>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path of the file `<database>.<suffix>`.
pub fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the name of `path` durable.
pub fn sync_parent(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn open_or_create(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    if path.exists() {
        return open_existing(path, cache_bytes);
    }
    if Journal::exists(path) {
        return Err(StoreError::Refused(format!(
            "The database {} is not there, but its journal is: put the database back, `restore` a backup, or have what lies beside the \
             frames brought back by `repair --from-files`. To begin a new store, move the journal away.",
            path.display()
        )));
    }
    // A database appears under its name only when it is whole, so an empty file there is damage.
    let unfinished = beside(path, "new");
    if unfinished.exists() {
        fs::remove_file(&unfinished)?;
    }
    drop(redb::Builder::new().set_cache_size(cache_bytes).create(&unfinished)?);
    fs::rename(&unfinished, path)?;
    sync_parent(path)?;
    open_existing(path, cache_bytes)
}

/// What is said of a database that is damaged.
pub fn damaged(path: &Path, reason: &str) -> StoreError {
    StoreError::Refused(format!(
        "The database {} is damaged: {reason}. Move it away and `restore` a backup; without one, `repair --from-files` brings \
         back what lies beside the frames.",
        path.display()
    ))
}

fn open_existing(path: &Path, cache_bytes: usize) -> Result<Database, StoreError> {
    if fs::metadata(path)?.len() == 0 {
        return Err(damaged(path, "it is empty, though a store was made there"));
    }
    match redb::Builder::new().set_cache_size(cache_bytes).open(path) {
        Ok(database) => Ok(database),
        Err(redb::DatabaseError::DatabaseAlreadyOpen) => Err(StoreError::Refused(format!(
            "The database {} cannot be opened: another process has it open. Stop that process first.",
            path.display()
        ))),
        Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))
            if error.kind() != std::io::ErrorKind::InvalidData && error.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            Err(redb::Error::Io(error).into())
        }
        Err(error) => Err(damaged(path, &error.to_string())),
    }
}
