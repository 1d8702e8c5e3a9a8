//! A store that is built beside its place and put there when it is whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::runtime::clock::Clock;

use super::database::{beside, sync_parent};
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
        if fs::symlink_metadata(&place).is_ok() {
            return Err(StoreError::Refused(format!(
                "{} is there already: nothing is put in the place of a database. Move it away first.",
                place.display()
            )));
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
        // The lost database's journal fits no other one; it may be evidence all the same.
        match fs::rename(beside(&self.place, "journal"), beside(&self.place, "journal.lost")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // Closing has emptied the new one's journal; it goes with the rest, and the store makes another.
        fs::rename(&self.built, &self.place)?;
        sweep(&self.built)?;
        Ok(sync_parent(&self.place)?)
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
