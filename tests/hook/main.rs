//! `session-store hook` as MediaMTX runs it, the folder where hooks wait, and the unix socket. The real binary, both sides.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod bounded;
mod command;
mod kinds;
mod socket;
mod spool;
