//! The catalogue asked as a library.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod feed;
mod lists;
mod place;
mod plan;
mod touches;
