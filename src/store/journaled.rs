//! A table whose changes are also kept as bytes, for the journal.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Deref;

use redb::{Key, Table, TableDefinition, Value, WriteTransaction};

use super::StoreError;

/// What became of each key that was written: its last value, or none where it was removed.
pub type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An open table. It is read like redb's own; what is written is remembered, the last word on each key.
pub struct Journaled<'t, K: Key + 'static, V: Value + 'static> {
    table: Table<'t, K, V>,
    changes: Changes,
}

impl<'t, K: Key + 'static, V: Value + 'static> Journaled<'t, K, V> {
    /// Opens the table for this transaction.
    pub fn open(txn: &'t WriteTransaction, definition: TableDefinition<K, V>) -> Result<Self, StoreError> {
        Ok(Self { table: txn.open_table(definition)?, changes: Changes::new() })
    }

    /// Adds or replaces an entry.
    pub fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<(), StoreError> {
        let bytes = (K::as_bytes(key.borrow()).as_ref().to_vec(), V::as_bytes(value.borrow()).as_ref().to_vec());
        self.table.insert(key, value)?;
        self.changes.insert(bytes.0, Some(bytes.1));
        Ok(())
    }

    /// Removes an entry, if it is there.
    pub fn remove<'k>(&mut self, key: impl Borrow<K::SelfType<'k>>) -> Result<(), StoreError> {
        let bytes = K::as_bytes(key.borrow()).as_ref().to_vec();
        if self.table.remove(key)?.is_some() {
            self.changes.insert(bytes, None);
        }
        Ok(())
    }
}

impl<'t, K: Key + 'static, V: Value + 'static> Deref for Journaled<'t, K, V> {
    type Target = Table<'t, K, V>;

    fn deref(&self) -> &Self::Target {
        &self.table
    }
}

/// A table whatever its types: how the journal sees it.
pub trait AnyTable {
    /// What was written since this was last called.
    fn take_changes(&mut self) -> Changes;

    /// Makes changes that another transaction made, without remembering them.
    fn make(&mut self, changes: &Changes) -> Result<(), StoreError>;
}

impl<K: Key + 'static, V: Value + 'static> AnyTable for Journaled<'_, K, V> {
    fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    fn make(&mut self, changes: &Changes) -> Result<(), StoreError> {
        for (key, value) in changes {
            match value {
                Some(value) => drop(self.table.insert(K::from_bytes(key), V::from_bytes(value))?),
                None => drop(self.table.remove(K::from_bytes(key))?),
            }
        }
        Ok(())
    }
}
