//! Against MediaMTX itself, where `MEDIAMTX_BIN` names its binary (docs/design/testing.md says how to build one): its hooks by
//! `session-store hook`, ffmpeg as the camera, and its playback server's `/list` as the judge of what we know.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod hooks;
mod ledger;
mod recorder;
