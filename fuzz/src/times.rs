//! Times, as clients spell them.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use session_store::domain::time::Timestamp;

/// Reads `data` as a time.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = Timestamp::parse(text);
    assert_eq!(read, Timestamp::parse(&format!(" {text}\t")), "white space around {text:?} means something");
    if let Some(time) = read {
        assert!((Timestamp::MIN..=Timestamp::MAX).contains(&time), "{text:?} is outside of the allowed years: {time}");
        assert_eq!(Timestamp::parse(&time.to_micros()), Some(time), "{text:?} comes back as another time");
        let shown = time.to_millis();
        let cut = Timestamp::parse(&shown).expect("the wire form is a time");
        assert!((0..1000).contains(&(time.micros() - cut.micros())), "{text:?}: {time} is shown as {shown}");
        assert_eq!(cut.to_millis(), shown);
        assert_eq!(shown.len(), "2025-10-11T12:00:00.000Z".len());
    }
    // A second opinion, where it is one: chrono takes second 60 and all years.
    if let Ok(other) = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc))
        && (1..=9999).contains(&other.year())
        // A year 0 is refused as it is written, whatever its offset makes of it.
        && !text.starts_with("0000")
        && other.nanosecond() < 1_000_000_000
    {
        assert_eq!(read.map(Timestamp::micros), Some(other.timestamp_micros()), "{text:?} is {other} to chrono");
    }
}
