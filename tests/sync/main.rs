//! The sync with a central Postgres: a real one, never a mock.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod centre;
mod chaos;
mod compare;
mod enricher;
mod postgres;
mod proxy;

mod clocks;
mod copies;
mod gateways;
mod import;
mod import_live;
mod limits;
mod main_path;
mod role;
mod schema;
mod table;
mod tls;
