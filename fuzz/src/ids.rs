//! Ids and file names in URLs.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use session_store::domain::ids::{FileName, MAX_ID_BYTES, SessionId, TrackId};

use crate::assert_sentence;

/// Reads `data` as one raw segment of a URL's path, and as an id in JSON.
pub fn run(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    match SessionId::from_url("sessionId", raw) {
        Ok(id) => {
            let text = id.as_str();
            assert_stays_in_its_folder(text);
            assert_eq!(text.as_bytes(), &*percent_decode(data).collect::<Vec<_>>(), "{raw:?} was decoded otherwise");
            assert_eq!(SessionId::new("sessionId", text).as_ref(), Ok(&id), "an id of a URL is none in JSON");
            let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            assert_eq!(SessionId::from_url("sessionId", &encoded).as_ref(), Ok(&id), "{text:?} cannot be asked for");
        }
        Err(error) => assert_sentence(&error.0),
    }
    let file = FileName::from_url("file", raw);
    assert_eq!(file.is_ok(), SessionId::from_url("sessionId", raw).is_ok(), "files and sessions follow one rule");
    if let Ok(file) = file {
        assert_stays_in_its_folder(file.as_str());
    }
    if let Ok(id) = SessionId::new("sessionId", raw) {
        assert_eq!(id.as_str(), raw);
        assert_stays_in_its_folder(raw);
    }
    if let Ok(track) = TrackId::new("trackId", raw) {
        assert!(track.as_str() == raw && !raw.contains('\0') && (1..=MAX_ID_BYTES).contains(&raw.len()));
    }
}

/// One name below a folder, whatever the folder.
fn assert_stays_in_its_folder(name: &str) {
    assert!((1..=MAX_ID_BYTES).contains(&name.len()), "{name:?}");
    assert!(!name.contains(['/', '\\', '\0']) && name != "." && name != "..", "{name:?} leaves its folder");
    let path = std::path::Path::new(name);
    assert!(path.components().eq([std::path::Component::Normal(name.as_ref())]), "{name:?} is no plain name");
}
