//! The journal: a preallocated file of records in front of redb. A record holds what one group of
//! changes did to the tables, and makes it durable by a single `fdatasync`; redb's own commits, which
//! cost two and a dozen pages, may then be rare. See "The journal" in `docs/design/storage.md`.
//!
//! A record begins on a page of its own, so that no acknowledged page is ever written again before the
//! database holds what it says:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SSjrnl` and the version as two digits |
//! | 8 | the store: XXH3-64 of its UUID |
//! | 8 | the record's number, one more than the one before |
//! | 8 | length of the body in bytes |
//! | 8 | XXH3-64 of the four above and the body |
//! | … | body: bincode of what became of each key, table by table |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::StoreError;
use super::database::{beside, file_id, sync_parent};
use super::journaled::Changes;
use super::record;

/// The changes of one record or of several, by the number of the table in `Transaction::tables`.
pub type Batch = BTreeMap<u8, Changes>;

const MAGIC: [u8; 8] = *b"SSjrnl01";
const PAGE: usize = 4096;
const HEAD: usize = 40;
/// Length of the file. A lone change takes one page, so it is full after 1,024 of them.
const BYTES: usize = 4 << 20;
/// After so many keys the database is to be committed even where pages are left: at a start after a crash each is
/// written again before the first answer.
const MAX_KEYS: usize = 12_000;

/// The file `<database>.journal`.
pub struct Journal {
    path: PathBuf,
    /// None where it cannot be used: every change is then a commit of the database's own.
    file: Option<File>,
    store: u64,
    /// Where the next record goes.
    position: usize,
    /// Number of the newest record.
    number: u64,
    /// Keys written since the database's last durable commit.
    keys: usize,
    /// Whether it is unknown what the newest record's place holds; until a durable commit makes that irrelevant.
    is_dubious: bool,
}

/// What a journal holds that its database does not.
#[derive(Debug, Default)]
pub struct Unapplied {
    /// The changes, the newest of each key.
    pub batch: Batch,
    /// Whether records are missing between the database and the journal: the database is an older copy.
    pub is_gap: bool,
}

impl Journal {
    /// Opens the journal beside `database`, or makes one, for the store with this `uuid`. The database holds all
    /// up to number `applied`; what comes behind is returned.
    ///
    /// # Errors
    /// Where the journal cannot be read or is damaged, since it holds what was acknowledged.
    pub fn open(database: &Path, uuid: &str, applied: u64) -> Result<(Self, Unapplied), StoreError> {
        let path = beside(database, "journal");
        let store = xxh3_64(uuid.as_bytes());
        let mut journal = Self { path, file: None, store, position: 0, number: applied, keys: 0, is_dubious: false };
        let unapplied = journal.read(applied)?;
        journal.renew();
        Ok((journal, unapplied))
    }

    /// Whether a journal of any store lies beside `database`.
    pub fn exists(database: &Path) -> bool {
        beside(database, "journal").exists()
    }

    /// Reads what is behind number `applied`, which the database holds, and stands behind it.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn read(&mut self, applied: u64) -> Result<Unapplied, StoreError> {
        let mut unapplied = Unapplied::default();
        self.number = applied;
        let unusable =
            |error: io::Error| StoreError::Refused(format!("The journal {} cannot be read: {error}.", self.path.display()));
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(unapplied),
            Err(error) => return Err(unusable(error)),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unusable)?;
        let mut records = (0..bytes.len()).step_by(PAGE).filter_map(|at| Some((at, self.record_at(&bytes, at)?.0)));
        self.position = records.find(|(_, number)| *number == applied + 1).map_or(0, |(at, _)| at);
        self.keys = 0;
        while let Some((number, body)) = self.record_at(&bytes, self.position)
            && number == self.number + 1
        {
            let batch = record::decode_batch(body)?;
            self.keys += batch.values().map(Changes::len).sum::<usize>();
            for (table, changes) in batch {
                unapplied.batch.entry(table).or_default().extend(changes);
            }
            self.number = number;
            self.position += pages(body.len()) * PAGE;
        }
        if self.number > applied {
            // Who wrote the last of them may have been killed before its sync. A record that a power cut can take back must not be built
            // upon: the one behind it could stay.
            file.sync_data().map_err(|error| {
                StoreError::Refused(format!("What the journal {} holds cannot be made durable: {error}.", self.path.display()))
            })?;
        }
        let rest = (self.position..bytes.len()).step_by(PAGE).filter_map(|at| Some((at, self.record_at(&bytes, at)?.0)));
        let later: Vec<_> = rest.filter(|(_, number)| *number > self.number).collect();
        match (later.first(), later.iter().map(|(_, number)| *number).max()) {
            (Some((0, _)), Some(newest)) => {
                unapplied.is_gap = true;
                // Until the database is committed as holding all that, it must not be taken for what is written from here on.
                self.number = newest;
                self.is_dubious = true;
            }
            (Some(_), Some(newest)) => {
                return Err(StoreError::Refused(format!(
                    "The journal {} is damaged behind change {}, and changes up to {newest} were acknowledged: put a backup back, or move \
                     the journal away to go on without what it holds.",
                    self.path.display(),
                    self.number
                )));
            }
            _ => {}
        }
        Ok(unapplied)
    }

    /// The whole record that begins at byte `at`, if there is one of this store.
    fn record_at<'b>(&self, bytes: &'b [u8], at: usize) -> Option<(u64, &'b [u8])> {
        let record = bytes.get(at..)?;
        let (head, rest) = record.split_first_chunk::<HEAD>()?;
        let field = |from: usize| head.get(from..from + 8).and_then(|field| field.try_into().ok()).map(u64::from_le_bytes);
        let (store, number, length, sum) = (field(8)?, field(16)?, field(24)?, field(32)?);
        if head[..8] != MAGIC || store != self.store {
            return None;
        }
        let body = rest.get(..usize::try_from(length).ok()?)?;
        (checksum(&head[..32], body) == sum).then_some((number, body))
    }

    /// Whether it was made for the store with this UUID.
    pub fn is_of(&self, uuid: &str) -> bool {
        self.store == xxh3_64(uuid.as_bytes())
    }

    /// Whether the file that is written still lies in its place; where none is written there is none to lose.
    pub fn is_in_place(&self) -> bool {
        let open = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|file| (file.dev(), file.ino()));
        open.is_none() || open == file_id(&self.path)
    }

    /// Whether the database should be committed before long: half the room is gone.
    pub fn is_filling(&self) -> bool {
        self.position > BYTES / 2 || self.keys > MAX_KEYS / 2
    }

    /// Whether it must be committed now.
    pub fn is_full(&self) -> bool {
        self.position > BYTES * 3 / 4 || self.keys > MAX_KEYS
    }

    /// Whether it holds anything that the database does not.
    pub fn is_empty(&self) -> bool {
        self.position == 0
    }

    /// Number of the newest record.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Makes `batch` durable. Says false, and does nothing, where there is no room for it.
    ///
    /// # Errors
    /// When it may or may not be on the disk. The journal is not used any more, and the database must be committed
    /// as holding [`Journal::number`], before anything else is acknowledged. On a read-only volume nothing has happened.
    pub fn append(&mut self, batch: &Batch) -> Result<bool, StoreError> {
        let Some(file) = &self.file else { return Ok(false) };
        let mut bytes = vec![0; HEAD];
        record::encode_batch(batch, &mut bytes)?;
        let body = bytes.len() - HEAD;
        if self.position + pages(body) * PAGE > BYTES {
            return Ok(false);
        }
        self.number += 1;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.store.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&(body as u64).to_le_bytes());
        let sum = checksum(&bytes[..32], &bytes[HEAD..]);
        bytes[32..HEAD].copy_from_slice(&sum.to_le_bytes());
        bytes.resize(pages(body) * PAGE, 0);
        let written = file.write_all_at(&bytes, self.position as u64);
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem) {
            self.number -= 1;
            return Err(StoreError::File(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        if let Err(error) = written.and_then(|()| file.sync_data()) {
            self.file = None;
            self.is_dubious = true;
            return Err(error.into());
        }
        self.position += bytes.len();
        self.keys += batch.values().map(Changes::len).sum::<usize>();
        Ok(true)
    }

    /// The database durably holds everything up to [`Journal::number`]: the room is free again.
    pub fn reset(&mut self) {
        self.position = 0;
        self.keys = 0;
        self.is_dubious = false;
    }

    /// Makes the file where it is missing or was given up, as far as the disk allows.
    pub fn renew(&mut self) {
        if self.file.is_some() || self.is_dubious {
            return;
        }
        match self.make() {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                tracing::warn!(%error, "the journal {} cannot be written: every change is a commit", self.path.display());
            }
        }
    }

    fn make(&self) -> io::Result<File> {
        if let Ok(file) = File::options().read(true).write(true).open(&self.path)
            && file.metadata()?.len() == BYTES as u64
        {
            return Ok(file);
        }
        // Written with zeros, since a sync of preallocated but unwritten blocks has to write the file system's own journal.
        let unfinished = beside(&self.path, "new");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&unfinished)?;
        let made = file.write_all_at(&vec![0; BYTES], 0).and_then(|()| file.sync_all());
        if let Err(error) = made {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        fs::rename(&unfinished, &self.path)?;
        sync_parent(&self.path)?;
        Ok(file)
    }
}

/// Pages that a record with a body of `bytes` takes.
fn pages(bytes: usize) -> usize {
    (HEAD + bytes).div_ceil(PAGE)
}

fn checksum(head: &[u8], body: &[u8]) -> u64 {
    let mut sum = Xxh3::new();
    sum.update(head);
    sum.update(body);
    sum.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(key: &str, value: &str) -> Batch {
        let changes = Changes::from([(key.as_bytes().to_vec(), Some(value.as_bytes().to_vec()))]);
        Batch::from([(3, changes)])
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("store.redb");
        (folder, database)
    }

    fn open(database: &Path, applied: u64) -> (Journal, Unapplied) {
        Journal::open(database, "this store", applied).expect("opens")
    }

    fn flip(database: &Path, at: u64) {
        let file = File::options().read(true).write(true).open(beside(database, "journal")).expect("there");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[!byte[0]], at).expect("written");
    }

    #[test]
    fn what_was_appended_is_found_again_the_newest_of_each_key() {
        let (_folder, database) = folder();
        let (mut journal, unapplied) = open(&database, 0);
        assert!(unapplied.batch.is_empty());
        for value in ["a", "b", &"c".repeat(3 * PAGE)] {
            assert!(journal.append(&batch("key", value)).expect("written"));
        }
        let (journal, unapplied) = open(&database, 0);
        assert_eq!(unapplied.batch, batch("key", &"c".repeat(3 * PAGE)));
        assert!(!unapplied.is_gap);
        assert_eq!(journal.number(), 3);
        assert!(open(&database, 3).1.batch.is_empty(), "the database has it all");
        assert_eq!(open(&database, 2).1.batch, batch("key", &"c".repeat(3 * PAGE)), "it lacks the last");
    }

    #[test]
    fn records_of_an_earlier_round_are_not_taken_for_new_ones() {
        let (_folder, database) = folder();
        let (mut journal, _) = open(&database, 0);
        for _ in 0..5 {
            assert!(journal.append(&batch("old", "x")).expect("written"));
        }
        journal.reset();
        assert!(journal.append(&batch("new", "y")).expect("written"));
        let (journal, unapplied) = open(&database, 5);
        assert_eq!(unapplied.batch, batch("new", "y"));
        assert_eq!(journal.number(), 6);
    }

    #[test]
    fn a_record_cut_off_by_a_power_cut_was_never_acknowledged() {
        let (_folder, database) = folder();
        let (mut journal, _) = open(&database, 0);
        assert!(journal.append(&batch("whole", "x")).expect("written"));
        assert!(journal.append(&batch("torn", &"y".repeat(2 * PAGE))).expect("written"));
        flip(&database, PAGE as u64 + 5000);
        let (mut journal, unapplied) = open(&database, 0);
        assert_eq!(unapplied.batch, batch("whole", "x"));
        assert!(journal.append(&batch("next", "z")).expect("written"));
        let both = open(&database, 0).1.batch;
        assert_eq!(both[&3].keys().collect::<Vec<_>>(), [b"next".as_slice(), b"whole"]);
    }

    /// A flipped bit in the middle must not quietly end the journal: what lies behind it was acknowledged.
    #[test]
    fn damage_before_acknowledged_records_is_refused() {
        let (_folder, database) = folder();
        let (mut journal, _) = open(&database, 0);
        for value in ["a", "b", "c"] {
            assert!(journal.append(&batch(value, value)).expect("written"));
        }
        for page in 0..2 {
            flip(&database, page * PAGE as u64 + 42);
            let Err(StoreError::Refused(sentence)) = Journal::open(&database, "this store", 0) else { panic!("it was opened") };
            assert!(sentence.contains("damaged") && sentence.contains("changes up to 3"), "{sentence}");
            flip(&database, page * PAGE as u64 + 42);
        }
    }

    #[test]
    fn an_older_database_and_another_stores_journal_are_noticed() {
        let (_folder, database) = folder();
        let (mut journal, _) = open(&database, 7);
        assert!(journal.append(&batch("a", "a")).expect("written"));
        let (journal, unapplied) = open(&database, 5);
        assert!(unapplied.is_gap && unapplied.batch.is_empty());
        assert_eq!(journal.number(), 8, "what comes next must not be taken for what lies there");
        let (_, unapplied) = Journal::open(&database, "another store", 7).expect("opens");
        assert!(!unapplied.is_gap && unapplied.batch.is_empty());
    }

    #[test]
    fn a_batch_that_does_not_fit_is_left_to_the_database() {
        let (_folder, database) = folder();
        let (mut journal, _) = open(&database, 0);
        assert!(!journal.append(&batch("big", &"x".repeat(BYTES))).expect("no fault"));
        assert!(journal.is_empty());
        let half = batch("half", &"x".repeat(BYTES / 2));
        assert!(journal.append(&half).expect("written"));
        assert!(journal.is_filling() && !journal.is_full());
        assert!(!journal.append(&half).expect("no fault"));
        journal.reset();
        assert!(journal.append(&half).expect("written"));
    }
}
