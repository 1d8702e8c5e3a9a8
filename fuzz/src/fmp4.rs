//! fMP4 segments, as a crash may leave them.

use std::cell::Cell;
use std::io;

use session_store::domain::measured::{MAX_DURATION_MICROS, Measured};
use session_store::media::fmp4::{self, Progress};
use session_store::media::source::Source;

/// A file that counts how often and how much of it is read.
struct Counted<'a> {
    bytes: &'a [u8],
    reads: Cell<usize>,
    read: Cell<usize>,
}

impl Source for Counted<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let filled = self.bytes.fill_at(buffer, offset)?;
        self.reads.set(self.reads.get() + 1);
        self.read.set(self.read.get() + filled);
        Ok(filled)
    }
}

/// Reads `data` as a segment; and as one that became shorter or longer meanwhile.
pub fn run(data: &[u8]) {
    let measured = measure(data, data.len());
    measure(data, data.len() / 2);
    measure(data, data.len() * 2);
    measure(data, usize::MAX);
    // Measured while it grew it is the same.
    let mut progress = Progress::default();
    for length in [data.len() / 3, data.len() / 2, data.len()] {
        let grown = fmp4::measure_on(&data[..length], length as u64, &mut progress).expect("bytes in memory can be read");
        assert_eq!(grown.ok(), measure(&data[..length], length));
    }
    // What is written behind makes a segment no shorter.
    let longer = [data, &[0; 64]].concat();
    if let (Some(before), Some(after)) = (measured, measure(&longer, longer.len())) {
        assert_eq!((before.is_closed, before.stream), (after.is_closed, after.stream));
        assert!(before.duration_micros <= after.duration_micros, "the beginning of a file is longer than the file");
    }
}

fn measure(data: &[u8], length: usize) -> Option<Measured> {
    let counted = Counted { bytes: data, reads: Cell::new(0), read: Cell::new(0) };
    let measured = fmp4::measure(&counted, length as u64).expect("bytes in memory can be read");
    // A box has eight bytes, and is read at most twice. A window is 4 KiB.
    assert!(counted.reads.get() <= 4 + data.len() / 4 && counted.read.get() <= 4096 * counted.reads.get() + 2 * data.len());
    match measured {
        Ok(measured) => {
            assert!((0..=MAX_DURATION_MICROS).contains(&measured.duration_micros), "{measured:?}");
            assert_eq!(measured.part_micros.is_none(), measured.is_closed, "{measured:?}");
            assert!(measured.part_micros.is_none_or(|part| part >= 0), "{measured:?}");
            if let Some(stream) = &measured.stream {
                let behind = stream.ntp_nanos - stream.start().micros() * 1000;
                assert!((0..1000).contains(&behind), "{measured:?}");
            }
            Some(measured)
        }
        Err(why) => {
            super::assert_sentence(&why.to_string());
            None
        }
    }
}
