//! What the field talks about, parsed once and valid ever after. No I/O.

pub mod bbox;
pub mod central;
pub mod coverage;
pub mod detection;
pub mod frame;
pub mod hold;
pub mod hook;
pub mod ids;
pub mod invalid;
pub mod measured;
pub mod query;
pub mod record_path;
pub mod retention;
pub mod segment;
pub mod session;
pub mod time;
pub mod wire;
pub mod zone;

pub use invalid::Invalid;
