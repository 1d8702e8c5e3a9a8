//! Local time, and the moments that it may mean.

use std::fmt;

use chrono::{DateTime, NaiveDate};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

use super::Invalid;
use super::time::Timestamp;

/// What a clock on the wall shows: a date and a time of day, of a place that is not said. In microseconds since
/// that clock showed the beginning of 1970, within the years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalTime(i64);

impl LocalTime {
    /// The date and time of day that these fields make, or which of them makes none.
    pub fn new(date: (u32, u32, u32), clock: (u32, u32, u32), micros: u32) -> Result<Self, String> {
        let (year, month, day) = date;
        if year == 0 || year > 9999 {
            return Err(format!("year {year}"));
        }
        if !(1..=12).contains(&month) {
            return Err(format!("month {month}"));
        }
        let named = i32::try_from(year).ok().and_then(|year| NaiveDate::from_ymd_opt(year, month, day));
        let Some(date) = named else { return Err(format!("day {day} of month {month} in {year}")) };
        let (hour, minute, second) = clock;
        for (field, value, end) in [("hour", hour, 24), ("minute", minute, 60), ("second", second, 60)] {
            if value >= end {
                return Err(format!("{field} {value}"));
            }
        }
        let Some(whole) = date.and_hms_opt(hour, minute, second) else { return Err("no time of day".into()) };
        Ok(Self(Timestamp::from_micros(whole.and_utc().timestamp_micros() + i64::from(micros.min(999_999))).micros()))
    }

    /// Microseconds since this clock showed the beginning of 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// The moment at which a clock `seconds` east of UTC shows this, if the years 1 to 9999 hold it.
    pub fn at_offset(self, seconds: i32) -> Option<Timestamp> {
        let micros = self.0 - i64::from(seconds) * 1_000_000;
        let at = Timestamp::from_micros(micros);
        (at.micros() == micros).then_some(at)
    }

    /// What a clock `seconds` east of UTC shows at `at`.
    pub fn of(at: Timestamp, seconds: i32) -> Self {
        Self(at.plus_micros(i64::from(seconds) * 1_000_000).micros())
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = DateTime::from_timestamp_micros(self.0).unwrap_or_default();
        write!(f, "{}", shown.format("%Y-%m-%d %H:%M:%S%.6f"))
    }
}

/// A time zone with its rules: when its clocks were and will be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rules: TimeZone::UTC }
    }

    /// The zone of an IANA name, such as `America/Argentina/Cordoba`, by the rules that this program was built with.
    pub fn named(name: &str) -> Result<Self, Invalid> {
        let known = TimeZoneDatabase::bundled();
        if let Ok(rules) = known.get(name) {
            return Ok(Self { name: rules.iana_name().unwrap_or(name).to_owned(), rules });
        }
        let near = known
            .available()
            .map(|zone| (strsim::jaro_winkler(&zone.to_string().to_lowercase(), &name.to_lowercase()), zone.to_string()))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(alike, _)| *alike > 0.85);
        let hint = near.map_or_else(String::new, |(_, zone)| format!("; did you mean {zone:?}?"));
        Err(Invalid::field("time_zone", format!("must be an IANA name such as \"Europe/Rome\"; {name:?} is none{hint}")))
    }

    /// The zone of these rules, which are a file of the system's zoneinfo; `name` is what it is called in messages.
    pub fn from_file(name: &str, rules: &[u8]) -> Result<Self, Invalid> {
        match TimeZone::tzif(name, rules) {
            Ok(rules) => Ok(Self { name: name.to_owned(), rules }),
            Err(error) => Err(Invalid(format!("{name} holds no time zone: {error}"))),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many seconds east of UTC its clocks are at `at`.
    pub fn offset_seconds(&self, at: Timestamp) -> i32 {
        self.rules.to_offset(instant(at.micros())).seconds()
    }

    /// What its clocks show at `at`.
    pub fn local(&self, at: Timestamp) -> LocalTime {
        LocalTime::of(at, self.offset_seconds(at))
    }

    /// The moments at which its clocks show `local`, the older first: none where they were put forward past it, two
    /// where they were put back over it.
    pub fn candidates(&self, local: LocalTime) -> Vec<Timestamp> {
        let shown = Offset::UTC.to_datetime(instant(local.micros()));
        let offsets = match self.rules.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => vec![offset],
            AmbiguousOffset::Gap { .. } => vec![],
            // Summer time, which is further east, comes first.
            AmbiguousOffset::Fold { before, after } => vec![before, after],
        };
        offsets.into_iter().filter_map(|offset| local.at_offset(offset.seconds())).collect()
    }
}

/// The last day of the year 9999 is beyond jiff, and has the offset of the day before.
fn instant(micros: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(date: (u32, u32, u32), clock: (u32, u32, u32)) -> LocalTime {
        LocalTime::new(date, clock, 0).unwrap()
    }

    fn meant(zone: &str, date: (u32, u32, u32), clock: (u32, u32, u32)) -> Vec<String> {
        Zone::named(zone).unwrap().candidates(local(date, clock)).into_iter().map(Timestamp::to_millis).collect()
    }

    #[test]
    fn clocks_put_back_show_an_hour_twice_and_put_forward_skip_one() {
        assert_eq!(meant("Europe/Rome", (2026, 7, 1), (12, 0, 0)), ["2026-07-01T10:00:00.000Z"]);
        let twice = ["2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"];
        assert_eq!(meant("Europe/Rome", (2026, 10, 25), (2, 30, 0)), twice);
        assert_eq!(meant("Europe/Rome", (2026, 10, 25), (3, 0, 0)), ["2026-10-25T02:00:00.000Z"]);
        assert!(meant("Europe/Rome", (2026, 3, 29), (2, 30, 0)).is_empty());
        assert_eq!(meant("Europe/Rome", (2026, 3, 29), (3, 0, 0)), ["2026-03-29T01:00:00.000Z"]);
        // Half an hour, in the south, and years after the last listed change.
        let half = ["2045-04-01T14:45:00.000Z", "2045-04-01T15:15:00.000Z"];
        assert_eq!(meant("Australia/Lord_Howe", (2045, 4, 2), (1, 45, 0)), half);
        assert_eq!(meant("America/Argentina/Cordoba", (2026, 11, 23), (8, 32, 35)), ["2026-11-23T11:32:35.000Z"]);
    }

    #[test]
    fn a_zone_that_is_none_is_refused_with_the_nearest() {
        let refused = Zone::named("Europe/Roma").unwrap_err().to_string();
        assert!(refused.contains("\"Europe/Rome\"; \"Europe/Roma\" is none; did you mean \"Europe/Rome\"?"), "{refused}");
        for name in ["", "../Rome", "/etc/localtime", "<-03>3", "\u{0}"] {
            assert!(Zone::named(name).is_err(), "{name:?}");
        }
        assert!(Zone::from_file("/etc/localtime", b"TZif2").unwrap_err().to_string().starts_with("/etc/localtime holds no"));
    }

    #[test]
    fn the_first_and_the_last_moments_hold() {
        for zone in ["Pacific/Kiritimati", "Pacific/Niue", "UTC"] {
            let zone = Zone::named(zone).unwrap();
            for at in [Timestamp::MIN, Timestamp::MAX] {
                zone.candidates(zone.local(at));
            }
        }
        assert_eq!(Zone::utc().candidates(LocalTime::of(Timestamp::MAX, 0)), [Timestamp::MAX]);
        assert_eq!(Zone::utc().candidates(LocalTime::of(Timestamp::MIN, 0)), [Timestamp::MIN]);
        assert_eq!(LocalTime::of(Timestamp::MAX, 0).to_string(), "9999-12-31 23:59:59.999999");
    }
}
