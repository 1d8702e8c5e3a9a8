//! A frame as the edge agent posts it: sightings, and perhaps a picture.

use bytes::Bytes;

use super::Invalid;
use super::detection::Sighting;
use super::ids::SessionId;
use super::time::Timestamp;

/// The most detections one request may bring.
pub const MAX_DETECTIONS: usize = 10_000;

/// One posted frame, valid.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The session it belongs to.
    pub session: SessionId,
    /// When the camera saw it.
    pub capture: Timestamp,
    /// What was seen, in the client's order.
    pub sightings: Vec<Sighting>,
    /// The picture.
    pub jpeg: Option<Jpeg>,
}

/// The bytes of a whole JPEG.
#[derive(Debug, Clone)]
pub struct Jpeg(Bytes);

impl Jpeg {
    /// Accepts `bytes`, the value of `field`, by their content: a start-of-image marker, marker
    /// segments up to the first scan, an end-of-image marker at the end (ITU-T T.81, annex B).
    /// Zero bytes after the end are an encoder's padding.
    pub fn new(field: &str, bytes: Bytes) -> Result<Self, Invalid> {
        if bytes.is_empty() {
            return Err(Invalid::field(field, "is empty; it must be a JPEG"));
        }
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err(Invalid::field(field, "is not a JPEG: it does not begin with a start-of-image marker"));
        }
        if !has_scan(&bytes) || !is_ended(&bytes) {
            return Err(Invalid::field(field, "is a truncated JPEG: it has no whole image up to an end-of-image marker"));
        }
        Ok(Self(bytes))
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}

/// Whether `bytes` end in an end-of-image marker, padding aside.
fn is_ended(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    bytes[..bytes.len() - padding].ends_with(&[0xff, 0xd9])
}

/// Walks the marker segments behind the start-of-image marker up to a start of scan.
fn has_scan(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(&[0xff, marker]) = bytes.get(at..at + 2) else { return false };
        match marker {
            // Fill bytes, and markers without a length.
            0xff => at += 1,
            0x01 | 0xd0..=0xd7 => at += 2,
            0xda => return true,
            0x00 | 0xd8 | 0xd9 => return false,
            _ => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    return false;
                }
                at += 2 + length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../tests/data/frames/frame_1.jpg");

    fn refusal(bytes: &[u8]) -> Option<String> {
        Jpeg::new("frame", Bytes::copy_from_slice(bytes)).err().map(|invalid| invalid.0)
    }

    #[test]
    fn a_whole_jpeg_is_taken_and_one_cut_anywhere_is_not() {
        assert_eq!(refusal(SAMPLE), None);
        let mut padded = SAMPLE.to_vec();
        padded.extend([0; 16]);
        assert_eq!(refusal(&padded), None);
        for cut in [2, 3, 20, 600, SAMPLE.len() / 2, SAMPLE.len() - 1] {
            assert!(refusal(&SAMPLE[..cut]).is_some_and(|text| text.contains("truncated")), "cut at {cut}");
        }
        assert!(refusal(&[0xff, 0xd8, 0xff, 0xd9]).is_some_and(|text| text.contains("truncated")));
    }

    #[test]
    fn what_is_no_jpeg_is_refused() {
        assert!(refusal(b"").is_some_and(|text| text.contains("empty")));
        assert!(refusal(b"\x89PNG\r\n").is_some_and(|text| text.contains("not a JPEG")));
    }
}
