//! Recordings: MediaMTX's files, watched, measured and placed by the real binary.

#[path = "../support/mod.rs"]
mod support;

mod explained;
mod hooks;
mod orphans;
mod samples;
mod site;
mod summary;
mod watched;
