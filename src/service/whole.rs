//! Whether a frame's file is what its row says.

use std::io::{self, Read as _};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::frame::Jpeg;
use crate::media::frames::FramesFolder;
use crate::store::NamedFrame;

/// The enricher writes frames in place: one that is not whole is looked at so often …
const LOOKS: u32 = 4;
/// … at this distance.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// No frame is longer than this, which is the highest `[frames] max_bytes`.
const MAX_FRAME_BYTES: u64 = 100 << 20;

/// What became of a frame's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// As it was stored, as far as was looked.
    AsStored,
    /// Rewritten in place, and a whole JPEG.
    Changed,
    /// Not there.
    Missing,
    /// No whole JPEG; what is wrong with it.
    Damaged(String),
}

/// Looks at the file of `frame`: by its length, and where that is another or `deep` is asked for, by its bytes.
///
/// # Errors
/// Where it is there and cannot be read.
pub fn look_at(frames: &FramesFolder, frame: &NamedFrame, deep: bool) -> io::Result<Condition> {
    match frames.length(&frame.session, &frame.file) {
        Ok(length) if !deep && (length == frame.of.bytes || frame.of.bytes == 0) && length > 0 => return Ok(Condition::AsStored),
        Ok(_) => {}
        Err(error) if is_absence(&error) => return Ok(Condition::Missing),
        Err(error) => return Err(error),
    }
    let mut looks = 0;
    loop {
        looks += 1;
        let bytes = match read(frames, frame) {
            Ok(bytes) => bytes,
            Err(error) if is_absence(&error) => return Ok(Condition::Missing),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Ok(Condition::Damaged("is longer than any frame".to_owned()));
            }
            Err(error) => return Err(error),
        };
        let (length, hash) = (bytes.len() as u64, xxh3_64(&bytes));
        match Jpeg::new("", bytes.into()) {
            Ok(_) => {
                let is_as_stored =
                    frame.of.hash.is_none_or(|stored| stored == hash) && (frame.of.bytes == 0 || frame.of.bytes == length);
                return Ok(if is_as_stored { Condition::AsStored } else { Condition::Changed });
            }
            Err(_) if looks < LOOKS => std::thread::sleep(LOOK_AGAIN),
            Err(invalid) => return Ok(Condition::Damaged(invalid.0.trim().to_owned())),
        }
    }
}

/// Such as a name that no file can have.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | IsADirectory | InvalidFilename | InvalidInput)
}

fn read(frames: &FramesFolder, frame: &NamedFrame) -> io::Result<Vec<u8>> {
    let file = frames.open(&frame.session, &frame.file)?;
    let length = file.metadata()?.len();
    if length > MAX_FRAME_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(MAX_FRAME_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
