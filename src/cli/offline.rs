//! The store and its folders, for commands that run while no daemon does.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::runtime::clock::SystemClock;
use crate::store::{Options, Store, StoreError};

/// redb's cache for long work while no daemon runs: most of its time is spent finding pages.
pub const CACHE_BYTES: usize = 128 << 20;

/// How `config` wants the store opened.
pub fn options(config: &Config) -> Options {
    Options {
        path: config.database.path.clone(),
        cache_bytes: config.database.cache_bytes,
        touch_interval: config.database.touch_interval,
        reserve_bytes: config.database.reserve_bytes,
        tombstone_age: config.feed.tombstone_age,
    }
}

/// Opens the store of `config`; `cache_bytes` at least, since nobody else needs the memory meanwhile.
///
/// # Errors
/// A sentence.
pub fn open(config: &Config, cache_bytes: usize) -> Result<Store, String> {
    let mut options = options(config);
    options.cache_bytes = options.cache_bytes.max(cache_bytes);
    Store::open(options, Arc::new(SystemClock::default())).map_err(|error| sentence(&error))
}

/// The options of a store that is yet to be built.
pub fn options_to_build(config: &Config) -> Options {
    Options { cache_bytes: CACHE_BYTES, reserve_bytes: 0, ..options(config) }
}

/// Opens the store of `config` for a look: nothing is dropped or made that opening alone does not need.
///
/// # Errors
/// A sentence.
pub fn open_to_look(config: &Config) -> Result<Store, String> {
    let options = Options { cache_bytes: CACHE_BYTES, reserve_bytes: 0, tombstone_age: Duration::MAX, ..options(config) };
    Store::open(options, Arc::new(SystemClock::default())).map_err(|error| sentence(&error))
}

/// An error as a sentence.
pub fn sentence(error: &StoreError) -> String {
    match error {
        StoreError::Refused(sentence) => sentence.clone(),
        other => format!("The store cannot be opened: {other}."),
    }
}
