//! Length of MPEG-TS segments, by the clock in their packets.

use std::io;

use crate::domain::measured::{MAX_DURATION_MICROS, Measured, Unmeasurable};

use super::source::{Source, read};

const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// What is read of a file's beginning. MediaMTX writes the first picture at once.
const HEAD: usize = 64 << 10;
/// What is read of its end: more where less did not tell, since the last pictures may be large.
const TAILS: [usize; 3] = [64 << 10, 256 << 10, 1 << 20];
/// Ticks in a second.
const CLOCK: i64 = 90_000;
/// The clock starts anew after as many ticks, 26 hours and a half.
const WRAP: i64 = 1 << 33;
/// Streams in one file; those of further ones are not looked at.
const MAX_STREAMS: usize = 16;

/// Measures a segment of `length` bytes by the decode times of its first and last pictures. The end is an estimate: the
/// last picture is taken to last as long as the one before it. Nothing tells whether MediaMTX closed the file. One whose packets
/// hold no times has a length of 0: other things must tell.
pub fn measure<S: Source + ?Sized>(file: &S, length: u64) -> io::Result<Result<Measured, Unmeasurable>> {
    let no = |why: &str| Ok(Err(Unmeasurable(why.into())));
    let unclocked = Ok(Ok(Measured { stream: None, duration_micros: 0, is_closed: false, part_micros: None, is_estimate: true }));
    if length == 0 {
        return no("it is empty");
    }
    file.expect_scattered();
    let most = usize::try_from(length).unwrap_or(usize::MAX);
    let head = read(file, 0, HEAD.min(most))?;
    if sync(&head).is_none() {
        return no("it has no MPEG-TS packets in its first 64 KiB");
    }
    let firsts = streams(&head);
    let Some(origin) = firsts.first().map(|stream| stream.first) else {
        return unclocked;
    };
    let start = firsts.iter().map(|stream| since(origin, stream.first)).min().unwrap_or_default();
    let mut duration = None;
    for tail in TAILS {
        let from = length.saturating_sub(tail as u64);
        let lasts = streams(&read(file, from, tail.min(most))?);
        let is_telling = firsts.iter().all(|first| lasts.iter().any(|last| last.id == first.id && last.step.is_some()));
        let ends = lasts.iter().filter_map(|last| {
            let ticks = after(origin + start, last.last) + last.step?;
            Some(ticks * 1_000_000 / CLOCK).filter(|micros| *micros <= MAX_DURATION_MICROS)
        });
        duration = ends.max().or(duration);
        if is_telling || from == 0 {
            break;
        }
    }
    let Some(duration_micros) = duration else { return unclocked };
    Ok(Ok(Measured { stream: None, duration_micros, is_closed: false, part_micros: None, is_estimate: true }))
}

/// Ticks from `origin` to a time that is near it, before or after.
fn since(origin: i64, time: i64) -> i64 {
    let ahead = (time - origin).rem_euclid(WRAP);
    if ahead < WRAP / 2 { ahead } else { ahead - WRAP }
}

/// Ticks from `start` to a later time; none pass to one that is more than a day later, which is one a little earlier.
fn after(start: i64, time: i64) -> i64 {
    let ahead = (time - start).rem_euclid(WRAP);
    if ahead < 25 * 3600 * CLOCK { ahead } else { 0 }
}

/// The decode times of one stream in a piece of a file.
struct Stream {
    id: u16,
    first: i64,
    last: i64,
    /// From the last but one to the last, but at most a second: longer ones are breaks.
    step: Option<i64>,
}

/// The streams in a piece of a file, in the order of their first times.
fn streams(bytes: &[u8]) -> Vec<Stream> {
    let mut found: Vec<Stream> = Vec::new();
    for packet in packets(bytes) {
        let Some((id, time)) = decode_time(packet) else { continue };
        if let Some(stream) = found.iter_mut().find(|stream| stream.id == id) {
            // A time that goes back is broken.
            let step = since(stream.last, time);
            if step > 0 {
                (stream.last, stream.step) = (time, Some(step.min(CLOCK)));
            }
        } else if found.len() < MAX_STREAMS {
            found.push(Stream { id, first: time, last: time, step: None });
        }
    }
    found
}

/// Whether a packet begins at `start`: with it begin three in a row, or fewer at the end.
fn is_in_step(bytes: &[u8], start: usize) -> bool {
    bytes.len() - start >= PACKET && bytes[start..].iter().step_by(PACKET).take(3).all(|byte| *byte == SYNC)
}

/// Where packets begin in `bytes`.
fn sync(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|start| is_in_step(bytes, *start))
}

/// The packets in `bytes`, found again where they are interrupted.
fn packets(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        // The last packet before an interruption is one if no other begins within it.
        let is_last = || bytes.first() == Some(&SYNC) && !(1..PACKET.min(bytes.len())).any(|start| is_in_step(bytes, start));
        if !bytes.is_empty() && !is_in_step(bytes, 0) && !is_last() {
            bytes = &bytes[sync(bytes)?..];
        }
        let (packet, behind) = bytes.split_at_checked(PACKET)?;
        bytes = behind;
        Some(packet)
    })
}

/// The stream and the decode time of the picture (or sound) that begins in a packet.
fn decode_time(packet: &[u8]) -> Option<(u16, i64)> {
    let [_, high, low, control] = *packet.first_chunk()?;
    let (is_broken, is_start) = (high & 0x80 != 0, high & 0x40 != 0);
    if is_broken || !is_start || control & 0x10 == 0 {
        return None;
    }
    let skipped = if control & 0x20 == 0 { 0 } else { 1 + usize::from(*packet.get(4)?) };
    let header = packet.get(4 + skipped..)?;
    let (fixed, fields) = header.split_first_chunk::<9>()?;
    let is_media = matches!(fixed[3], 0xbd | 0xc0..=0xef | 0xfa..=0xfe);
    if !fixed.starts_with(&[0, 0, 1]) || !is_media || fixed[6] & 0xc0 != 0x80 {
        return None;
    }
    let time = match fixed[7] >> 6 {
        0b10 => stamp(*fields.first_chunk()?, 0b0010)?,
        0b11 => stamp(*fields.get(5..)?.first_chunk()?, 0b0001)?,
        _ => return None,
    };
    Some((u16::from_be_bytes([high & 0x1f, low]), time))
}

/// A time of 33 bits; none where the bits between are not as they must be.
fn stamp(bytes: [u8; 5], mark: u8) -> Option<i64> {
    let is_marked = bytes[0] >> 4 == mark && bytes[0] & bytes[2] & bytes[4] & 1 == 1;
    let places = [(bytes[0] >> 1 & 7, 30), (bytes[1], 22), (bytes[2] >> 1, 15), (bytes[3], 7), (bytes[4] >> 1, 0)];
    is_marked.then(|| places.iter().map(|(bits, place)| i64::from(*bits) << place).sum())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::*;

    fn micros(bytes: &[u8]) -> Result<i64, String> {
        match measure(bytes, bytes.len() as u64).unwrap() {
            Ok(measured) => Ok(measured.duration_micros),
            Err(why) => Err(why.to_string()),
        }
    }

    /// A packet in which a picture begins.
    fn picture(id: u8, pts: i64, dts: Option<i64>) -> Vec<u8> {
        let stamp = |time: i64, mark: u8| {
            let bits = |place: u32, mask: u8| u8::try_from(time.rem_euclid(WRAP) >> place & i64::from(mask)).unwrap();
            [mark << 4 | bits(30, 7) << 1 | 1, bits(22, 0xff), bits(15, 0x7f) << 1 | 1, bits(7, 0xff), bits(0, 0x7f) << 1 | 1]
        };
        let mut packet = vec![SYNC, 0x41, id, 0x30, 7, 0x50, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xe0, 0, 0, 0x80];
        match dts {
            None => packet.extend([&[0x80, 5], &stamp(pts, 2)[..]].concat()),
            Some(dts) => packet.extend([&[0xc0, 10], &stamp(pts, 3)[..], &stamp(dts, 1)[..]].concat()),
        }
        packet.resize(PACKET, 0xff);
        packet
    }

    /// More of a picture.
    fn more(count: usize) -> Vec<u8> {
        let mut packet = vec![SYNC, 0x01, 0x00, 0x10];
        packet.resize(PACKET, 0x5a);
        packet.repeat(count)
    }

    #[test]
    fn every_sample_gives_its_duration() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings/cam-ts"));
        for (name, duration) in [("35-022371", 5_000_000), ("39-898337", 5_000_000), ("49-898224", 1_000_000)] {
            let path = folder.join(format!("2026-11-23_08-32-{name}.ts"));
            let file = File::open(&path).unwrap();
            let measured = measure(&file, file.metadata().unwrap().len()).unwrap().unwrap();
            assert_eq!(measured.duration_micros, duration, "{name}");
            assert!(measured.is_estimate && !measured.is_closed && measured.stream.is_none());
            // Cut anywhere it is as long as its pictures up to there.
            let bytes = fs::read(&path).unwrap();
            let mut before = 0;
            for cut in (1..bytes.len()).step_by(61) {
                let Ok(now) = micros(&bytes[..cut]) else { continue };
                assert!(now >= before && now <= duration, "{name} cut at {cut}: {now} after {before}");
                before = now;
            }
            assert_eq!(before, duration);
        }
    }

    #[test]
    fn the_clock_may_start_anew() {
        for first in [0, WRAP - 1, WRAP - 90_000, WRAP / 2, 12_345_678_901 % WRAP] {
            let minute: Vec<_> = (0..600).flat_map(|step| picture(0, first + step * 9_000, None)).collect();
            assert_eq!(micros(&minute), Ok(60_000_000), "{first}");
            let day = [picture(0, first, None), more(2_000), picture(0, first + 86_399 * 90_000, None)];
            let day = [day.concat(), picture(0, first + 86_400 * 90_000, None)].concat();
            assert_eq!(micros(&day), Ok(86_401_000_000), "{first}");
        }
    }

    #[test]
    fn pictures_out_of_order_and_sound_count_by_their_decode_times() {
        let after_a_break = [picture(0, 0, None), picture(0, 900_000, None)].concat();
        assert_eq!(micros(&after_a_break), Ok(11_000_000));
        let frames = [(3, 0), (6, 1), (4, 2), (5, 3)].map(|(pts, dts)| picture(0, pts * 9_000, Some(dts * 9_000)));
        assert_eq!(micros(&frames.concat()), Ok(400_000));
        let sound = [picture(1, 9_000, None), picture(1, 45_000, None)].concat();
        assert_eq!(micros(&[frames.concat(), sound].concat()), Ok(900_000));
    }

    #[test]
    fn packets_are_found_again() {
        let one = picture(0, 0, None);
        let rest: Vec<_> = (1..20).flat_map(|step| picture(0, step * 9_000, None)).collect();
        for junk in [&b"G"[..], b"GGGGGG", &[0; 1_000], &one[..100]] {
            assert_eq!(micros(&[junk, &one, &rest].concat()), Ok(2_000_000), "{} bytes before", junk.len());
            assert_eq!(micros(&[&one, &rest, junk].concat()), Ok(2_000_000), "{} bytes behind", junk.len());
        }
        assert_eq!(micros(&[&one, &[7; 77][..], &rest].concat()), Ok(2_000_000));
        // A last picture that is larger than what is read first.
        assert_eq!(micros(&[one, more(500), rest, more(1_000)].concat()), Ok(2_000_000));
    }

    #[test]
    fn what_is_no_segment_is_told_in_a_sentence() {
        for (bytes, why) in [
            (vec![], "it is empty"),
            (vec![0; 100_000], "it has no MPEG-TS packets in its first 64 KiB"),
            (vec![SYNC], "it has no MPEG-TS packets in its first 64 KiB"),
        ] {
            assert_eq!(micros(&bytes), Err(why.into()));
        }
    }

    #[test]
    fn packets_without_times_have_no_length() {
        let mut broken = picture(0, 0, None);
        broken[25] &= !1;
        let lone = picture(0, 0, None);
        for bytes in [more(1_000), vec![SYNC; 100_000], lone.clone(), [lone, more(10_000)].concat(), broken.repeat(5)] {
            assert_eq!(micros(&bytes), Ok(0));
        }
    }
}
