//! Length and place of fMP4 segments, read from their headers.

mod boxes;
mod fragment;
mod header;
#[cfg(test)]
mod tests;

use std::io;

use crate::domain::measured::{MAX_DURATION_MICROS, Measured, Unmeasurable};

use self::boxes::Head;
use self::header::Header;
use super::source::{Source, read};

/// What a read of a header fetches: nearly always all that is asked for.
const READ: usize = 4096;
/// The header lies within this of a file's beginning, and a `moof` is no longer.
const MAX_HEADER: usize = 1 << 20;
/// A day in parts of a second, and some. What lies behind is not looked at.
const MAX_BOXES: u32 = 200_000;
/// MediaMTX counts decode times from a segment's start, and lets no track begin later than this after it. A file of
/// which all begins later was counted from elsewhere.
const MAX_BASE_MICROS: i64 = 1_000_000;

/// Measures a segment of `length` bytes from its first kilobytes and, where MediaMTX has not closed it, from the heads of
/// its parts, each of which costs a read. A part counts where all of it is in the file.
pub fn measure<S: Source + ?Sized>(file: &S, length: u64) -> io::Result<Result<Measured, Unmeasurable>> {
    if length == 0 {
        return Ok(Err(Unmeasurable("it is empty".into())));
    }
    file.expect_scattered();
    let mut walk = Walk { file, length, at: 0, boxes: 0, window: Vec::new(), window_at: 0 };
    let header = match walk.header()? {
        Ok(header) => header,
        Err(why) => return Ok(Err(why)),
    };
    if let Some(duration_micros) = header.duration_micros {
        if duration_micros > MAX_DURATION_MICROS {
            let hours = duration_micros / 3_600_000_000;
            return Ok(Err(Unmeasurable(format!(
                "its header claims {hours} hours; MediaMTX lets no segment last longer than 24"
            ))));
        }
        let stream = header.stream;
        return Ok(Ok(Measured { stream, duration_micros, is_closed: true, part_micros: None, is_estimate: false }));
    }
    walk.parts(header)
}

/// A walk over the boxes of a file.
struct Walk<'a, S: ?Sized> {
    file: &'a S,
    length: u64,
    /// Where the next box begins.
    at: u64,
    boxes: u32,
    /// What was read last, and where it lies.
    window: Vec<u8>,
    window_at: u64,
}

/// A box.
#[derive(Clone, Copy)]
struct Found {
    head: Head,
    at: u64,
    is_whole: bool,
}

impl<S: Source + ?Sized> Walk<'_, S> {
    /// Up to `length` bytes from `at` on. Reads where they are not in the window, and then more: over a part's `moof` to the head
    /// of its `mdat`.
    fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let is_there = |from: usize| from.checked_add(length).is_some_and(|end| end <= self.window.len());
        let from = match at.checked_sub(self.window_at).and_then(|from| usize::try_from(from).ok()) {
            Some(from) if is_there(from) => from,
            _ => {
                self.window.resize(length.max(READ), 0);
                let filled = self.file.fill_at(&mut self.window, at)?;
                self.window.truncate(filled);
                self.window_at = at;
                0
            }
        };
        let behind = &self.window[from..];
        Ok(&behind[..length.min(behind.len())])
    }

    /// The next box, and goes behind it. None at the end, at what is no box, and after very many.
    fn next(&mut self) -> io::Result<Option<Found>> {
        let at = self.at;
        let remaining = self.length.saturating_sub(at);
        if remaining == 0 || self.boxes == MAX_BOXES {
            return Ok(None);
        }
        self.boxes += 1;
        let Some(head) = Head::read(self.bytes(at, Head::MAX_LENGTH)?, remaining) else { return Ok(None) };
        self.at = at.saturating_add(head.size);
        Ok(Some(Found { head, at, is_whole: head.size <= remaining }))
    }

    /// All that a box holds; none where it is too long or the file has become shorter.
    fn held(&mut self, found: Found) -> io::Result<Option<&[u8]>> {
        let (Ok(size), Ok(head)) = (usize::try_from(found.head.size), usize::try_from(found.head.length)) else {
            return Ok(None);
        };
        if !found.is_whole || size > MAX_HEADER {
            return Ok(None);
        }
        let bytes = self.bytes(found.at, size)?;
        Ok((bytes.len() == size).then(|| &bytes[head..]))
    }

    fn header(&mut self) -> io::Result<Result<Header, Unmeasurable>> {
        let no = |why: &str| Ok(Err(Unmeasurable(why.into())));
        let mut is_first = true;
        while self.at < MAX_HEADER as u64 {
            let Some(found) = self.next()? else { break };
            match &found.head.kind {
                b"moov" if found.head.size > MAX_HEADER as u64 => {
                    return no("its moov box is longer than 1 MiB: it is no segment of MediaMTX's");
                }
                b"moov" => {
                    return match self.held(found)? {
                        Some(moov) => Ok(Ok(Header::read(moov))),
                        None => no("its header is cut short"),
                    };
                }
                b"ftyp" | b"styp" | b"free" | b"skip" => {}
                _ if is_first => break,
                _ => {}
            }
            is_first = false;
        }
        if !is_first && self.length.saturating_sub(self.at) < 8 {
            return no("it ends before its header does");
        }
        let first = read(self.file, 0, 64)?;
        if first.len() == 64 && first.iter().all(|byte| *byte == 0) {
            return no("it begins with zeros: its contents were lost, as in a power cut");
        }
        no(if is_first { "it does not begin as an MP4 file" } else { "no moov box in its first 1 MiB: it is no fMP4 file" })
    }

    /// Measures by the parts behind the header.
    fn parts(&mut self, header: Header) -> io::Result<Result<Measured, Unmeasurable>> {
        let mut ends = vec![0; header.tracks.len()];
        let mut base = None;
        let (mut last, mut longest) = (None, 0);
        let mut pending = None;
        while let Some(found) = self.next()? {
            match &found.head.kind {
                b"moof" => {
                    let Some(moof) = self.held(found)? else { break };
                    let Some(part) = fragment::read(moof, &header.tracks, &mut ends) else { break };
                    pending = Some(part);
                }
                b"mdat" if !found.is_whole => break,
                b"mdat" => {
                    let Some(part) = pending.take() else { continue };
                    let is_elsewhere = header.stream.is_none() && part.start > MAX_BASE_MICROS;
                    let base = *base.get_or_insert(if is_elsewhere { part.start } else { 0 });
                    let end = part.end.saturating_sub(base);
                    if end > MAX_DURATION_MICROS {
                        break;
                    }
                    last = last.max(Some(end));
                    longest = longest.max(part.end.saturating_sub(part.start));
                }
                _ => {}
            }
        }
        let Some(last) = last else { return Ok(Err(Unmeasurable("it has no complete part yet".into()))) };
        Ok(Ok(Measured {
            stream: header.stream,
            duration_micros: last.max(0),
            is_closed: false,
            part_micros: Some(longest),
            is_estimate: self.boxes == MAX_BOXES,
        }))
    }
}
