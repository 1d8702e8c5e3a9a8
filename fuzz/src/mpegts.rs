//! MPEG-TS segments, as a crash may leave them.

use session_store::domain::measured::MAX_DURATION_MICROS;
use session_store::media::mpegts;

/// Reads `data` as a segment; and as one that became shorter or longer meanwhile.
pub fn run(data: &[u8]) {
    for length in [data.len(), data.len() / 2, data.len() * 2, usize::MAX] {
        match mpegts::measure(data, length as u64).expect("bytes in memory can be read") {
            Ok(measured) => {
                assert!((0..=MAX_DURATION_MICROS).contains(&measured.duration_micros), "{measured:?}");
                assert!(measured.is_estimate && !measured.is_closed && measured.stream.is_none(), "{measured:?}");
            }
            Err(why) => super::assert_sentence(&why.to_string()),
        }
    }
}
