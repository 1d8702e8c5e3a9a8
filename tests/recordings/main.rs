//! Recordings: MediaMTX's files, watched, measured and placed by the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod explained;
mod hooks;
mod orphans;
mod samples;
mod site;
mod summary;
mod watched;
