//! Fuzz targets: each takes any bytes for what a client or an operator might send, and asserts what must hold of
//! them. `fuzz/run` lets libFuzzer choose the bytes; `tests/replay.rs` takes those that are kept in `corpus/`.

pub mod bodies;
pub mod config;
pub mod fmp4;
pub mod ids;
pub mod mpegts;
pub mod multipart;
pub mod queries;
pub mod ranges;
pub mod record_path;
pub mod times;

/// A target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also its corpus folder's.
pub const TARGETS: [(&str, Target); 10] = [
    ("bodies", bodies::run),
    ("config", config::run),
    ("fmp4", fmp4::run),
    ("ids", ids::run),
    ("mpegts", mpegts::run),
    ("multipart", multipart::run),
    ("queries", queries::run),
    ("ranges", ranges::run),
    ("record_path", record_path::run),
    ("times", times::run),
];

/// A refusal must be one sentence that says something.
fn assert_sentence(text: &str) {
    assert!(!text.trim().is_empty() && !text.contains(['\n', '\r', '\0']), "no sentence: {text:?}");
}
