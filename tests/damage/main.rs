//! Damage done to a store, and what `verify`, `repair`, `backup` and `restore` make of it: action × place × damage.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
#![allow(clippy::join_absolute_paths, reason = "a backslash is a letter like any other on Linux")]

#[path = "../support/mod.rs"]
mod support;

mod backup;
mod forge;
mod rebuild;
mod repair;
mod store;
mod verify;
