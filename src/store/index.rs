//! Walking indexes from the newest session down. Every index holds session keys in one and the
//! same order, so "all of these" is a leapfrog between cursors and "any of these" a merge:
//! the work is bounded by the smallest of the sets, never by the catalogue.

use redb::{ReadOnlyTable, Value};

use crate::domain::query::SessionKey;

use super::StoreError;
use super::tables::RawIndexKey;

/// Session keys, highest first.
pub type Keys = Box<dyn Iterator<Item = Result<SessionKey, StoreError>>>;

/// A set of session keys that is walked downwards.
pub trait Cursor {
    /// The highest key of the set that is at most `bound`. Bounds must never rise from call to call.
    fn seek(&mut self, bound: SessionKey) -> Result<Option<SessionKey>, StoreError>;
}

/// A contiguous piece of one index.
pub struct Span {
    open: Box<dyn Fn(SessionKey) -> Result<Keys, StoreError>>,
    keys: Option<Keys>,
    current: Option<SessionKey>,
}

impl Span {
    /// A span whose keys at most at a bound `open` can list.
    pub fn new(open: impl Fn(SessionKey) -> Result<Keys, StoreError> + 'static) -> Self {
        Self { open: Box::new(open), keys: None, current: None }
    }

    /// The sessions that `word` leads to.
    pub fn of_word<V: Value + 'static>(table: ReadOnlyTable<RawIndexKey, V>, word: String) -> Self {
        Self::new(move |bound| {
            let lowest = (word.as_str(), i64::MIN, 0);
            let highest = (word.as_str(), bound.start, bound.number);
            let range = table.range(lowest..=highest)?.rev();
            Ok(Box::new(range.map(|entry| {
                let (key, _) = entry?;
                let (_, start, number) = key.value();
                Ok(SessionKey { start, number })
            })))
        })
    }
}

impl Cursor for Span {
    fn seek(&mut self, bound: SessionKey) -> Result<Option<SessionKey>, StoreError> {
        if let Some(keys) = &mut self.keys {
            // Where it stands already, or one step on: the common cases, without a new descent.
            if self.current.is_none_or(|current| current <= bound) {
                return Ok(self.current);
            }
            self.current = keys.next().transpose()?;
            if self.current.is_none_or(|current| current <= bound) {
                return Ok(self.current);
            }
        }
        let mut keys = (self.open)(bound)?;
        self.current = keys.next().transpose()?;
        self.keys = Some(keys);
        Ok(self.current)
    }
}

/// The keys that are in any of some sets.
pub struct AnyOf(pub Vec<Box<dyn Cursor>>);

impl Cursor for AnyOf {
    fn seek(&mut self, bound: SessionKey) -> Result<Option<SessionKey>, StoreError> {
        let mut highest = None;
        for cursor in &mut self.0 {
            highest = highest.max(cursor.seek(bound)?);
        }
        Ok(highest)
    }
}

/// The keys from `lowest` on that are in all of some sets. The sparsest set belongs first.
pub struct AllOf {
    /// The sets.
    pub cursors: Vec<Box<dyn Cursor>>,
    /// Where the walk ends: two large sets that never meet would be walked to their ends.
    pub lowest: SessionKey,
}

impl Cursor for AllOf {
    fn seek(&mut self, mut bound: SessionKey) -> Result<Option<SessionKey>, StoreError> {
        'candidate: loop {
            if bound < self.lowest {
                return Ok(None);
            }
            for cursor in &mut self.cursors {
                match cursor.seek(bound)? {
                    None => return Ok(None),
                    Some(key) if key < self.lowest => return Ok(None),
                    Some(key) if key < bound => {
                        bound = key;
                        continue 'candidate;
                    }
                    Some(_) => {}
                }
            }
            return Ok(Some(bound));
        }
    }
}
