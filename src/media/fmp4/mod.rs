//! Length and place of fMP4 segments, read from their headers.

mod boxes;
mod fragment;
mod header;
#[cfg(test)]
mod tests;

use std::io;

use crate::domain::measured::{MAX_DURATION_MICROS, Measured, Unmeasurable};

use self::boxes::Head;
use self::fragment::Part;
use self::header::Header;
use super::source::{Source, read};

/// What is read of a file's beginning, and of a part's: nearly always all that is asked for.
const READ: usize = 4096;
const READ_PART: usize = 1024;
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
    measure_on(file, length, &mut Progress::default())
}

/// How far a file that is being written was measured.
#[derive(Debug, Default)]
pub struct Progress {
    header: Header,
    parts: Parts,
}

/// The complete parts of a file.
#[derive(Debug, Default, Clone)]
struct Parts {
    /// Behind the last one; 0 where there is none.
    at: u64,
    /// The ends of the tracks in their ticks.
    ends: Vec<i64>,
    /// Where decode times are counted from.
    base: i64,
    /// The end of all, and the longest.
    end: i64,
    longest: i64,
}

impl Parts {
    /// Takes a part along that ends at `at` in the file. Says whether its times can be.
    fn add(&mut self, part: Part, at: u64, is_of_a_stream: bool) -> bool {
        if self.at == 0 && !is_of_a_stream && part.start > MAX_BASE_MICROS {
            self.base = part.start;
        }
        self.at = at;
        self.end = self.end.max(part.end.saturating_sub(self.base));
        self.longest = self.longest.max(part.end.saturating_sub(part.start));
        self.end <= MAX_DURATION_MICROS
    }
}

/// The same for a file that was measured before and has grown since: goes on where the last measure, which left `progress`,
/// ended. Starts anew where the file is another one.
pub fn measure_on<S: Source + ?Sized>(
    file: &S,
    length: u64,
    progress: &mut Progress,
) -> io::Result<Result<Measured, Unmeasurable>> {
    if length == 0 {
        return Ok(Err(Unmeasurable("it is empty".into())));
    }
    file.expect_scattered();
    let mut walk = Walk { file, length, at: 0, boxes: 0, window: Vec::new(), window_at: 0, read: READ };
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
    if progress.parts.at > length || progress.header != header {
        let ends = vec![0; header.tracks.len()];
        *progress = Progress { header, parts: Parts { ends, ..Parts::default() } };
    }
    walk.at = walk.at.max(progress.parts.at);
    walk.parts(progress)
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
    /// How much is read at once.
    read: usize,
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
                self.window.resize(length.max(self.read), 0);
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

    /// Measures by the parts behind the header, or behind those that were seen before.
    fn parts(&mut self, progress: &mut Progress) -> io::Result<Result<Measured, Unmeasurable>> {
        self.read = READ_PART;
        let mut pending = None;
        let mut endless = None;
        while let Some(found) = self.next()? {
            match &found.head.kind {
                b"moof" => {
                    let Some(moof) = self.held(found)? else { break };
                    let mut parts = progress.parts.clone();
                    let Some(part) = fragment::read(moof, &progress.header.tracks, &mut parts.ends) else { break };
                    pending = Some((part, parts));
                }
                b"mdat" if !found.is_whole => break,
                b"mdat" => {
                    let Some((part, mut parts)) = pending.take() else { continue };
                    if !parts.add(part, self.at, progress.header.stream.is_some()) {
                        break;
                    }
                    if found.head.is_endless {
                        endless = Some(parts);
                        break;
                    }
                    progress.parts = parts;
                }
                _ => {}
            }
        }
        let parts = endless.as_ref().unwrap_or(&progress.parts);
        if parts.at == 0 {
            return Ok(Err(Unmeasurable("it has no complete part yet".into())));
        }
        Ok(Ok(Measured {
            stream: progress.header.stream,
            duration_micros: parts.end,
            is_closed: false,
            part_micros: Some(parts.longest),
            is_estimate: self.boxes == MAX_BOXES,
        }))
    }
}
