//! Moments on the wire and in the store.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat};

use super::Invalid;

/// A moment in UTC, in microseconds since 1970. Always within the years 1 to 9999,
/// which is what both the wire form and Postgres can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The moment `micros` microseconds after 1970, moved to the nearest allowed one.
    pub fn from_micros(micros: i64) -> Self {
        Self(micros.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// This moment moved by `micros`, kept within the allowed years.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Reads ISO 8601 as the contract takes it: any RFC 3339 offset, a space instead of
    /// `T`, fractions of any length (cut to microseconds), a bare date (midnight UTC), and
    /// UTC where no zone is given. A space before an offset is the `+` that a query string lost.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if !text.is_ascii() || text.len() < 10 {
            return None;
        }
        let (date, rest) = text.split_at(10);
        let date = parse_date(date)?;
        if rest.is_empty() {
            return Self::checked(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros());
        }
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let zone_at = rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len());
        let (clock, zone) = rest.split_at(zone_at);
        let (hms, fraction) = match clock.split_once(['.', ',']) {
            Some((hms, fraction)) => (hms, parse_fraction(fraction)?),
            None => (clock, 0),
        };
        let mut parts = hms.split(':');
        let hour = two_digits(parts.next()?)?;
        let minute = two_digits(parts.next()?)?;
        let second = match parts.next() {
            Some(second) => two_digits(second)?,
            // A fraction belongs to seconds.
            None if clock.len() == hms.len() => 0,
            None => return None,
        };
        if parts.next().is_some() {
            return None;
        }
        // `and_hms_opt` refuses second 60: a leap second has no place of its own in UTC microseconds.
        let local = date.and_hms_opt(hour, minute, second)?.and_utc();
        let offset = i64::from(parse_offset(zone)?) * 1_000_000;
        Self::checked(local.timestamp_micros() + fraction - offset)
    }

    /// [`Timestamp::parse`] of the value of `field`.
    pub fn parse_field(field: &str, text: &str) -> Result<Self, Invalid> {
        Self::parse(text).ok_or_else(|| {
            Invalid::field(field, "must be an ISO 8601 time between the years 1 and 9999, such as 2025-10-11T12:00:00.000Z")
        })
    }

    fn checked(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&micros).then_some(Self(micros))
    }

    fn format(self, precision: SecondsFormat) -> String {
        // Every allowed moment is one that chrono can hold.
        DateTime::from_timestamp_micros(self.0).unwrap_or_default().to_rfc3339_opts(precision, true)
    }

    /// The wire form: UTC with milliseconds (cut) and `Z`.
    pub fn to_millis(self) -> String {
        self.format(SecondsFormat::Millis)
    }

    /// The export form: UTC with microseconds and `Z`.
    pub fn to_micros(self) -> String {
        self.format(SecondsFormat::Micros)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_micros())
    }
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = digits(&text[..4])?;
    if year == 0 {
        return None;
    }
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, two_digits(&text[5..7])?, two_digits(&text[8..])?)
}

/// Microseconds of a fraction of a second; digits past the sixth are cut, never rounded.
fn parse_fraction(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = &text[..text.len().min(6)];
    let scale = 10_i64.pow(6 - u32::try_from(kept.len()).ok()?);
    Some(kept.parse::<i64>().ok()? * scale)
}

/// Seconds east of UTC.
fn parse_offset(zone: &str) -> Option<i32> {
    let Some(sign) = zone.chars().next() else { return Some(0) };
    let rest = &zone[1..];
    let sign = match sign {
        'Z' | 'z' => return rest.is_empty().then_some(0),
        '+' | ' ' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => rest.split_at(2),
        5 if rest.as_bytes()[2] == b':' => (&rest[..2], &rest[3..]),
        _ => return None,
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * i32::try_from(hours * 3600 + minutes * 60).ok()?)
}

fn two_digits(text: &str) -> Option<u32> {
    (text.len() == 2).then(|| digits(text)).flatten()
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<String> {
        Timestamp::parse(text).map(Timestamp::to_micros)
    }

    #[test]
    fn every_form_the_contract_allows_is_read() {
        for (text, expected) in [
            ("2025-10-11T12:00:00.000Z", "2025-10-11T12:00:00.000000Z"),
            ("2025-10-11t12:00:00z", "2025-10-11T12:00:00.000000Z"),
            ("2025-10-11 12:00:00", "2025-10-11T12:00:00.000000Z"),
            ("2025-10-11 12:00:00+02:00", "2025-10-11T10:00:00.000000Z"),
            ("2025-10-11T12:00:00 02:00", "2025-10-11T10:00:00.000000Z"),
            ("2025-10-11T12:00:00.1234569999-03:00", "2025-10-11T15:00:00.123456Z"),
            ("2025-10-11T12:00:00.5-0330", "2025-10-11T15:30:00.500000Z"),
            ("2025-10-11", "2025-10-11T00:00:00.000000Z"),
            ("2025-10-11T12:00Z", "2025-10-11T12:00:00.000000Z"),
            ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999999Z"),
            ("0001-01-01", "0001-01-01T00:00:00.000000Z"),
            ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(micros(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_names_no_moment_is_refused() {
        for text in [
            "",
            "now",
            "1760184000",
            "2025-10-11T",
            "2025-13-01",
            "2025-02-30",
            "0000-01-01",
            "10000-01-01T00:00:00Z",
            "2025-10-11T24:00:00Z",
            "2025-10-11T12:00:60Z",
            "2025-10-11T12:00:00.Z",
            "2025-10-11T12:00.5Z",
            "2025-10-11T1:00:00Z",
            "2025-10-11T12:00:00+24:00",
            "2025-10-11T12:00:00Zx",
            "2025-10-11T12:00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "2025-10-11T12:00:00é",
            "+025-10-11",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn the_wire_form_cuts_to_milliseconds() {
        let at = Timestamp::parse("2025-10-11T12:00:00.9999Z").map(Timestamp::to_millis);
        assert_eq!(at.as_deref(), Some("2025-10-11T12:00:00.999Z"));
    }
}
