//! Recordings, read here and there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes that can be read at any place.
pub trait Source {
    /// Reads what is at `offset` until `buffer` is full or the end has come, and says how much that was.
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Says that it will be read here and there: what lies behind a place need not be fetched along.
    fn expect_scattered(&self) {}
}

impl Source for File {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn expect_scattered(&self) {
        // Advice: where it is not taken, reading costs more.
        let _ = rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::Random);
    }
}

impl Source for [u8] {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let behind = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = behind.len().min(buffer.len());
        buffer[..length].copy_from_slice(&behind[..length]);
        Ok(length)
    }
}

/// At most `length` bytes from `offset` on; fewer where the source ends.
pub fn read<S: Source + ?Sized>(source: &S, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = source.fill_at(&mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}
