//! Only files: frames and tracks below their folders. Every path is made in [`layout`].

pub mod beneath;
pub mod disk;
pub mod frames;
pub mod layout;
pub mod tracks;
pub mod walk;
