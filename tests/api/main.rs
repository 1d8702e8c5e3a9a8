//! Black-box tests of the wire contract against the real binary, one module a noun of the URL map.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod caching;
mod changes;
mod config;
mod cors;
mod detections;
mod durability;
mod enrichment;
mod errors;
mod exposed;
mod frames;
mod gone_clients;
mod gzip;
mod health;
mod holds;
mod hooks;
mod hooks_segments;
mod ids;
mod import_export;
mod import_merge;
mod ingest;
mod ingest_merge;
mod ingest_refused;
mod intake;
mod journal;
mod limits;
mod logs;
mod reload;
mod retention;
mod session;
mod sessions;
mod sessions_close;
mod sessions_filters;
mod sessions_open;
mod sessions_pages;
mod sessions_range;
mod stopping;
mod systemd;
mod times;
mod tokens;
mod tokens_set;
mod tracks;
