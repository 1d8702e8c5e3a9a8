//! Only files: frames and tracks below their folders. Every path is made in [`layout`].

pub mod beneath;
pub mod disk;
pub mod frames;
pub mod generations;
pub mod layout;
pub mod restoring;
pub mod shared;
pub mod sidecars;
pub mod tape;
pub mod tracks;
pub mod walk;
