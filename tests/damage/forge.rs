//! Damage inside the database, done by redb itself, so that its pages stay whole.

use redb::{Database, TableDefinition, WriteTransaction};

use crate::support::daemon::Home;

type Words = TableDefinition<'static, (&'static str, i64, u64), ()>;

pub const BY_CLASS: Words = TableDefinition::new("sessions_by_class");
pub const BY_PATH: Words = TableDefinition::new("sessions_by_path");
pub const BY_DEVICE: Words = TableDefinition::new("sessions_by_device");
pub const BY_COLOR: TableDefinition<(&str, i64, u64), u32> = TableDefinition::new("sessions_by_color");
pub const SESSION_IDS: TableDefinition<&str, (i64, u64)> = TableDefinition::new("session_ids");
pub const SESSIONS: TableDefinition<(i64, u64), &[u8]> = TableDefinition::new("sessions");
pub const OPEN: TableDefinition<(i64, u64), ()> = TableDefinition::new("open_sessions");
pub const CLOSED: TableDefinition<(u8, i64, u64), ()> = TableDefinition::new("closed_sessions");
pub const DETECTIONS: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("detections");
pub const FRAMES: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("frames");
pub const BEATEN: TableDefinition<(&str, &str), ()> = TableDefinition::new("beaten_frames");
pub const FEED: TableDefinition<u64, &[u8]> = TableDefinition::new("feed");
pub const TOMBSTONES: TableDefinition<u64, i64> = TableDefinition::new("tombstones");

/// Applies `change` to the stopped store's database.
pub fn forge(home: &Home, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(crate::store::database(home)).expect("the database opens");
    let txn = database.begin_write().expect("a transaction");
    change(&txn);
    txn.commit().expect("committed");
}

/// Empties a table.
pub fn empty<K: redb::Key + 'static, V: redb::Value + 'static>(txn: &WriteTransaction, table: TableDefinition<K, V>) {
    let mut table = txn.open_table(table).expect("the table");
    let before = redb::ReadableTableMetadata::len(&table).expect("its length");
    table.retain(|_, _| false).expect("emptied");
    assert!(before > 0, "there was nothing to take away");
}

/// The first key of `sessions`, of an open or closed one.
pub fn a_session(txn: &WriteTransaction, table: TableDefinition<(u8, i64, u64), ()>) -> (i64, u64) {
    let table = txn.open_table(table).expect("the table");
    let (key, _) = redb::ReadableTable::first(&table).expect("read").expect("one");
    let (_, start, number) = key.value();
    (start, number)
}
