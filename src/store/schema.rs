//! Making a new store, and knowing one's own.

use redb::Database;
use uuid::Uuid;

use crate::domain::time::Timestamp;

use super::tables::{
    BEATEN_FRAMES, BY_CLASS, BY_COLOR, BY_DEVICE, BY_PATH, CLOSED_SESSIONS, DELETED_FOLDERS, DETECTIONS, FEED, FRAMES,
    HELD_SESSIONS, META, OPEN_SESSIONS, PUBLISHED, SEGMENTS, SEGMENTS_BY_TIME, SESSION_IDS, SESSIONS, TOMBSTONES,
};
use super::{StoreError, Transaction};

/// The format that this program writes. A store of a higher one is refused.
///
/// 1: the first. 2: a journal lies beside the database, which holds what the database does not yet. 3: segments stand in an
/// index by time, and are known as far as their files say. 4: sessions can be held, and the folders of deleted ones are in a queue.
pub const FORMAT: u32 = 4;

/// The format of this store.
pub const KEY_FORMAT: &str = "format";
/// [`Identity::uuid`].
pub const KEY_UUID: &str = "uuid";
/// [`Identity::epoch`].
pub const KEY_EPOCH: &str = "epoch";
const KEY_CREATED: &str = "created_at";
/// The highest feed number of a tombstone that was dropped.
pub const KEY_FEED_FLOOR: &str = "feed_floor";
/// Whether the frames folder carries this store's UUID.
pub const KEY_FRAMES_PAIRED: &str = "frames_paired";

/// See [`super::Runs`].
pub const KEY_RUNS: &str = "runs";

/// Number of the newest change in the journal that the database durably holds.
pub const KEY_JOURNAL: &str = "journal_applied";

/// The store's names for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Of this store, for good; its frames folder is paired with it.
    pub uuid: String,
    /// Of this store's feed: a new one after a restore, a repair or a rebuild.
    pub epoch: String,
}

/// Makes the tables where they are missing, and reads who the store is and which format it has.
pub fn prepare(database: &Database, now: Timestamp) -> Result<(Identity, u32), StoreError> {
    match known(database)? {
        Some(known) => Ok(known),
        None => Ok((create(database, now)?, FORMAT)),
    }
}

/// Brings a store of the older `format`, which has caught up with its journal, up to date.
pub fn upgrade(database: &Database, format: u32, journal_applied: u64, now: Timestamp) -> Result<(), StoreError> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    let mut tx = Transaction::new(&txn, now)?;
    tx.do_without_journal();
    if format < 3 {
        tx.index_segments()?;
    }
    tx.meta.insert(KEY_FORMAT, FORMAT.to_string().as_str())?;
    tx.set_journal_applied(journal_applied)?;
    drop(tx);
    Ok(txn.commit()?)
}

/// Gives the feed a new epoch, so that its readers begin again. Notes what of the journal the database holds.
pub fn begin_epoch(database: &Database, journal_applied: u64) -> Result<String, StoreError> {
    let epoch = Uuid::new_v4().to_string();
    set(database, &[(KEY_EPOCH, &epoch), (KEY_JOURNAL, &journal_applied.to_string())])?;
    Ok(epoch)
}

/// Number of the newest change in the journal that the database durably holds.
pub fn journal_applied(database: &Database) -> Result<u64, StoreError> {
    let txn = redb::ReadableDatabase::begin_read(database)?;
    Ok(txn.open_table(META)?.get(KEY_JOURNAL)?.and_then(|number| number.value().parse().ok()).unwrap_or(0))
}

fn set(database: &Database, facts: &[(&str, &str)]) -> Result<(), StoreError> {
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    {
        let mut meta = txn.open_table(META)?;
        for (key, value) in facts {
            meta.insert(key, value)?;
        }
    }
    Ok(txn.commit()?)
}

fn create(database: &Database, now: Timestamp) -> Result<Identity, StoreError> {
    let identity = Identity { uuid: Uuid::new_v4().to_string(), epoch: Uuid::new_v4().to_string() };
    let mut txn = database.begin_write()?;
    txn.set_quick_repair(true);
    {
        let mut meta = txn.open_table(META)?;
        meta.insert(KEY_FORMAT, FORMAT.to_string().as_str())?;
        meta.insert(KEY_UUID, identity.uuid.as_str())?;
        meta.insert(KEY_EPOCH, identity.epoch.as_str())?;
        meta.insert(KEY_CREATED, now.to_micros().as_str())?;
        meta.insert(KEY_FEED_FLOOR, "0")?;
        txn.open_table(SESSION_IDS)?;
        txn.open_table(SESSIONS)?;
        txn.open_table(OPEN_SESSIONS)?;
        txn.open_table(CLOSED_SESSIONS)?;
        txn.open_table(BY_CLASS)?;
        txn.open_table(BY_PATH)?;
        txn.open_table(BY_DEVICE)?;
        txn.open_table(BY_COLOR)?;
        txn.open_table(DETECTIONS)?;
        txn.open_table(FRAMES)?;
        txn.open_table(BEATEN_FRAMES)?;
        txn.open_table(SEGMENTS)?;
        txn.open_table(FEED)?;
        txn.open_table(TOMBSTONES)?;
        txn.open_table(SEGMENTS_BY_TIME)?;
        txn.open_table(PUBLISHED)?;
        txn.open_table(HELD_SESSIONS)?;
        txn.open_table(DELETED_FOLDERS)?;
    }
    txn.commit()?;
    Ok(identity)
}

fn known(database: &Database) -> Result<Option<(Identity, u32)>, StoreError> {
    let txn = redb::ReadableDatabase::begin_read(database)?;
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        // A crash between making the file and its first commit.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let text = |key: &str| -> Result<String, StoreError> {
        let value = meta.get(key)?;
        let value = value.ok_or_else(|| StoreError::Record(format!("the store does not say its {key}")))?;
        Ok(value.value().to_owned())
    };
    let format = text(KEY_FORMAT)?;
    let Some(number) = format.parse::<u32>().ok().filter(|format| *format <= FORMAT) else {
        return Err(StoreError::Refused(format!(
            "The store has format {format}, and this program knows formats up to {FORMAT}: it was written by a newer session-store; \
             install that version, or one that is newer still."
        )));
    };
    Ok(Some((Identity { uuid: text(KEY_UUID)?, epoch: text(KEY_EPOCH)? }, number)))
}
