//! What the field talks about, parsed once and valid ever after. No I/O.

pub mod bbox;
pub mod detection;
pub mod frame;
pub mod hook;
pub mod ids;
pub mod invalid;
pub mod query;
pub mod segment;
pub mod session;
pub mod time;
pub mod wire;

pub use invalid::Invalid;
