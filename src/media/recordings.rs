//! Files of recordings. They are MediaMTX's: nothing here changes one.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::domain::measured::{Measured, Unmeasurable};
use crate::domain::record_path::Format;

use super::beneath::{self, Folder};
use super::fmp4::{self, Progress};
use super::mpegts;

/// What tells whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Its length.
    pub bytes: u64,
    /// When it was last written to, nanoseconds since 1970.
    pub modified_nanos: i64,
}

impl From<&Metadata> for Facts {
    fn from(of: &Metadata) -> Self {
        let modified_nanos = of.mtime().saturating_mul(1_000_000_000).saturating_add(of.mtime_nsec());
        Self { bytes: of.len(), modified_nanos }
    }
}

/// The facts of the regular file `below` a recordings' root. Links are not followed.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where no such file lies there.
pub fn facts(root: &Path, below: &str) -> io::Result<Facts> {
    let found = std::fs::symlink_metadata(root.join(below))?;
    if found.is_file() { Ok(Facts::from(&found)) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Reads a few kilobytes of the file `below` a recordings' root, and says what it is; one that is being written, from where
/// the last look left `progress`. Links are not followed. Who has the file's `folder` open saves the way to it.
///
/// # Errors
/// Where it cannot be opened or read.
pub fn measure(
    root: &Path,
    below: &str,
    folder: Option<&Folder>,
    format: Format,
    progress: &mut Progress,
) -> io::Result<(Facts, Result<Measured, Unmeasurable>)> {
    let parts: Vec<&str> = below.split('/').collect();
    let file: File = match (folder, parts.last()) {
        (Some(folder), Some(name)) => folder.open(name)?,
        _ => beneath::open(root, &parts)?,
    };
    let facts = Facts::from(&file.metadata()?);
    let measured = match format {
        Format::Fmp4 => fmp4::measure_on(&file, facts.bytes, progress)?,
        Format::MpegTs => mpegts::measure(&file, facts.bytes)?,
    };
    Ok((facts, measured))
}
