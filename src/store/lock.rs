//! One process a store.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::runtime::folders;

use super::StoreError;

/// Held for as long as the store is open; the kernel lets go of it when the process dies.
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks `<database>.lock`, making the data folder where it is missing.
    pub fn take(database: &Path) -> Result<Self, StoreError> {
        let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The second: a killed process may have given the database its name and not have synced that.
        folders::make(folder)
            .and_then(|()| folders::sync(folder))
            .map_err(|error| StoreError::Refused(format!("The data folder {} cannot be made: {error}.", folder.display())))?;
        let path = super::database::beside(database, "lock");
        let cannot =
            |error: std::io::Error| StoreError::Refused(format!("The lock file {} cannot be opened: {error}.", path.display()));
        let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.read_to_string(&mut owner);
                return Err(StoreError::Refused(format!(
                    "The store {} is in use by process {}: stop it first, or give this one another [database] path.",
                    database.display(),
                    owner.trim()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self { _file: file })
    }
}

/// Whether another process has the store of `database` open.
pub fn is_in_use(database: &Path) -> bool {
    let Ok(file) = File::open(super::database::beside(database, "lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}
