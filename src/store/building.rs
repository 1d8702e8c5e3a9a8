//! A store that is built beside its place and put there when it is whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::runtime::clock::Clock;

use super::database::beside;
use super::lock::FolderLock;
use super::{Options, Store, StoreError};

/// What may lie beside a database under its name.
const BESIDE: [&str; 4] = ["journal", "lock", "reserve", "new"];

/// A store being built. Whoever wants the store in its place meanwhile finds it in use.
pub struct Building {
    /// The store, under another name.
    pub store: Store,
    place: PathBuf,
    built: PathBuf,
    _lock: FolderLock,
}

impl Building {
    /// Begins a store for the place that `options` names, where no database may be. What an interrupted building
    /// left is swept.
    ///
    /// # Errors
    /// A sentence.
    pub fn begin(options: &Options, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let place = options.path.clone();
        let lock = FolderLock::take(&place)?;
        for path in [place.clone(), beside(&place, "journal")] {
            if fs::symlink_metadata(&path).is_ok() {
                return Err(StoreError::Refused(format!(
                    "{} is there already: nothing is put in the place of a database. Move it away first.",
                    path.display()
                )));
            }
        }
        let built = beside(&place, "building");
        sweep(&built)?;
        let store = Store::open(Options { path: built.clone(), ..options.clone() }, clock)?;
        Ok(Self { store, place, built, _lock: lock })
    }

    /// Closes the store and puts it in its place.
    pub fn finish(self) -> Result<(), StoreError> {
        self.store.close();
        drop(self.store);
        // What it holds beside the file belongs to it and must be there first.
        if fs::symlink_metadata(beside(&self.built, "journal")).is_ok() {
            fs::rename(beside(&self.built, "journal"), beside(&self.place, "journal"))?;
        }
        fs::rename(&self.built, &self.place)?;
        sweep(&self.built)?;
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

fn sweep(built: &Path) -> Result<(), StoreError> {
    for path in BESIDE.iter().map(|suffix| beside(built, suffix)).chain([built.to_owned()]) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
