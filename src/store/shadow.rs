//! A look at the database file that cannot change it: what redb writes stays in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::StoreError;
use super::lock::FolderLock;

/// Piece in which changed bytes are kept: redb's page.
const PIECE: u64 = 4096;

/// Reads every page of the stopped store at `database` and compares it with its checksum, as redb does after a crash.
/// The file is not changed. What lies in a journal beside it is not looked at.
///
/// # Errors
/// A sentence that says what is wrong and names the way out.
pub fn check_pages(database: &Path, cache_bytes: usize) -> Result<(), StoreError> {
    let _lock = FolderLock::take(database)?;
    let file = File::open(database)?;
    if file.metadata()?.len() == 0 {
        return Err(super::database::damaged(database, "it is empty, though a store was made there"));
    }
    let shadow = Shadow::over(file)?;
    let open = || {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(cache_bytes).set_check_integrity_on_open(true);
        builder.create_with_backend(shadow).map(drop)
    };
    let reason = match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))) if error.raw_os_error().is_some() => {
            return Err(StoreError::File(error));
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its pages make no sense".to_owned(),
    };
    Err(super::database::damaged(database, &reason))
}

/// A file with changes that are in memory alone.
#[derive(Debug)]
struct Shadow {
    file: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    length: u64,
    /// What the file itself still counts for, since a cut takes away what was behind it.
    file_length: u64,
    pieces: HashMap<u64, Vec<u8>>,
}

impl Shadow {
    fn over(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, state: Mutex::new(State { length, file_length: length, pieces: HashMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills `out` from the file; zeros behind its end.
    fn read_file(&self, state: &State, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = state.file_length.saturating_sub(offset).min(out.len() as u64);
        let there = usize::try_from(there).unwrap_or(out.len());
        self.file.read_exact_at(&mut out[..there], offset)?;
        out[there..].fill(0);
        Ok(())
    }
}

/// `offset..offset + length` cut at the pieces' borders: (piece, begin in it, begin in the range, length).
fn cut(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0_usize;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = offset + done as u64;
        let within = usize::try_from(at % PIECE).unwrap_or_default();
        let size = (usize::try_from(PIECE).unwrap_or_default() - within).min(length - done);
        let item = (at / PIECE, within, done, size);
        done += size;
        Some(item)
    })
}

impl StorageBackend for Shadow {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.length) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        if state.pieces.is_empty() {
            return self.read_file(&state, offset, out);
        }
        for (piece, within, at, size) in cut(offset, out.len()) {
            let out = &mut out[at..at + size];
            match state.pieces.get(&piece) {
                Some(changed) => out.copy_from_slice(&changed[within..within + size]),
                None => self.read_file(&state, piece * PIECE + within as u64, out)?,
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.lock();
        if length < state.length {
            state.file_length = state.file_length.min(length);
            state.pieces.retain(|piece, _| piece * PIECE < length);
        }
        state.length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        for (piece, within, at, size) in cut(offset, data.len()) {
            if !state.pieces.contains_key(&piece) {
                let mut bytes = vec![0; usize::try_from(PIECE).unwrap_or_default()];
                self.read_file(&state, piece * PIECE, &mut bytes)?;
                state.pieces.insert(piece, bytes);
            }
            if let Some(bytes) = state.pieces.get_mut(&piece) {
                bytes[within..within + size].copy_from_slice(&data[at..at + size]);
            }
        }
        Ok(())
    }
}
