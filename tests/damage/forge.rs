//! Damage inside the database, done by redb itself, so that its pages stay whole.

use redb::{Database, ReadableTable as _, TableDefinition, WriteTransaction};

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

/// A place, what is done to it, and whether the records themselves stay.
pub type Damage = (&'static str, fn(&WriteTransaction), bool);

/// What can be wrong with a table.
pub const DAMAGES: [Damage; 16] = [
    ("session_ids lost", |txn| empty(txn, SESSION_IDS), true),
    ("open_sessions lost", |txn| empty(txn, OPEN), true),
    ("closed_sessions lost", |txn| empty(txn, CLOSED), true),
    ("by_class lost", |txn| empty(txn, BY_CLASS), true),
    ("by_path lost", |txn| empty(txn, BY_PATH), true),
    ("by_device lost", |txn| empty(txn, BY_DEVICE), true),
    ("by_color lost", |txn| empty(txn, BY_COLOR), true),
    ("frames lost", |txn| empty(txn, FRAMES), true),
    ("feed lost", |txn| empty(txn, FEED), true),
    ("tombstones lost", |txn| empty(txn, TOMBSTONES), true),
    ("detections lost", |txn| empty(txn, DETECTIONS), false),
    ("sessions lost", |txn| empty(txn, SESSIONS), false),
    (
        "a closed session is listed as open",
        |txn| {
            let at = a_session(txn, CLOSED);
            txn.open_table(OPEN).unwrap().insert(at, ()).unwrap();
        },
        true,
    ),
    (
        "a word leads to a session without it",
        |txn| {
            let (start, number) = a_session(txn, CLOSED);
            txn.open_table(BY_CLASS).unwrap().insert(("whale", start, number), ()).unwrap();
        },
        true,
    ),
    (
        "a colour is counted once too often",
        |txn| {
            let mut table = txn.open_table(BY_COLOR).unwrap();
            let first = table.first().unwrap().unwrap();
            let (color, start, number) = first.0.value();
            let (color, count) = (color.to_owned(), first.1.value());
            drop(first);
            table.insert((color.as_str(), start, number), count + 1).unwrap();
        },
        true,
    ),
    (
        "the feed holds a thing twice",
        |txn| {
            let mut table = txn.open_table(FEED).unwrap();
            let first = table.first().unwrap().unwrap().1.value().to_vec();
            table.insert(1_000_000, first.as_slice()).unwrap();
        },
        true,
    ),
];
