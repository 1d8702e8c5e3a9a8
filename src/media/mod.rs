//! Only files: frames and tracks below their folders, whose every path is made in [`layout`], and MediaMTX's recordings.

pub mod beneath;
pub mod disk;
pub mod fmp4;
pub mod frames;
pub mod generations;
pub mod layout;
pub mod mpegts;
pub mod recordings;
pub mod restoring;
pub mod shared;
pub mod sidecars;
pub mod source;
pub mod spool;
pub mod tape;
pub mod tracks;
pub mod walk;
