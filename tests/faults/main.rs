//! What happens to a running daemon when the machine lets it down, and that it recovers by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod damaged;
mod descriptors;
mod disk_full;
mod io_errors;
mod memory;
mod read_only;
mod replaced;
mod retention;
mod spinning;
mod unmounted;
