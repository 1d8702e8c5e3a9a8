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
    /// None in a transaction that does without the journal.
    changes: Option<Changes>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Journaled<'t, K, V> {
    /// Opens the table for this transaction.
    pub fn open(txn: &'t WriteTransaction, definition: TableDefinition<K, V>) -> Result<Self, StoreError> {
        Ok(Self { table: txn.open_table(definition)?, changes: Some(Changes::new()) })
    }

    /// Adds or replaces an entry.
    pub fn insert<'k, 'v>(
        &mut self,
        key: impl Borrow<K::SelfType<'k>>,
        value: impl Borrow<V::SelfType<'v>>,
    ) -> Result<(), StoreError> {
        if let Some(changes) = &mut self.changes {
            changes.insert(K::as_bytes(key.borrow()).as_ref().to_vec(), Some(V::as_bytes(value.borrow()).as_ref().to_vec()));
        }
        self.table.insert(key, value)?;
        Ok(())
    }

    /// Removes an entry, if it is there.
    pub fn remove<'k>(&mut self, key: impl Borrow<K::SelfType<'k>>) -> Result<(), StoreError> {
        if let Some(changes) = &mut self.changes {
            changes.insert(K::as_bytes(key.borrow()).as_ref().to_vec(), None);
        }
        self.table.remove(key)?;
        Ok(())
    }

    /// Removes all entries. The journal does not know of it: only in a transaction that does without.
    pub fn clear(&mut self) -> Result<(), StoreError> {
        Ok(self.table.retain(|_, _| false)?)
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

    /// Remembers nothing from here on.
    fn forget_changes(&mut self);

    /// Makes changes that another transaction made, without remembering them.
    fn make(&mut self, changes: &Changes) -> Result<(), StoreError>;
}

impl<K: Key + 'static, V: Value + 'static> AnyTable for Journaled<'_, K, V> {
    fn take_changes(&mut self) -> Changes {
        self.changes.replace(Changes::new()).unwrap_or_default()
    }

    fn forget_changes(&mut self) {
        self.changes = None;
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
