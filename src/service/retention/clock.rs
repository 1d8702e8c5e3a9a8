//! Whether the clock can be believed: a box without a battery begins in 1970, and a broken one in 2038.

use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::store::{Snapshot, StoreError};

/// It is not earlier than this program: when it was packaged, or else 2026-11-01.
const BUILT: Option<&str> = option_env!("SOURCE_DATE_EPOCH");
const WRITTEN_SEC: i64 = 1_793_491_200;
/// The newest record and the clock's own past may lie so far ahead of it.
const SLACK: Duration = Duration::from_secs(300);
/// A box that was off for longer is asked about.
const LONGEST_ABSENCE: Duration = Duration::from_secs(31 * 86_400);

const WAY_OUT: &str = "if it is right, set [retention] trust_clock = true for a while and reload";

/// Why the clock cannot be believed at `now`, if it cannot; `believed` is when it last was, where that is not to be read.
pub fn doubt(snapshot: &Snapshot, now: Timestamp, believed: Option<Timestamp>) -> Result<Option<String>, StoreError> {
    let built = BUILT.and_then(|text| text.parse().ok()).unwrap_or(WRITTEN_SEC);
    let built = Timestamp::from_micros(built.saturating_mul(1_000_000));
    let believed = believed.map_or_else(|| snapshot.believed_clock(), |at| Ok(Some(at)))?;
    Ok(doubt_of(now, built, snapshot.newest_record()?, believed))
}

fn doubt_of(now: Timestamp, built: Timestamp, newest: Option<Timestamp>, believed: Option<Timestamp>) -> Option<String> {
    let shown = now.to_millis();
    if now < built {
        return Some(format!("the clock shows {shown}, which is before this program was made"));
    }
    if let Some(newest) = newest.filter(|newest| *newest > after(now, SLACK)) {
        return Some(format!("the clock shows {shown}, and the newest record is of {}; {WAY_OUT}", newest.to_millis()));
    }
    let believed = believed.or(newest)?;
    if believed > after(now, SLACK) {
        return Some(format!("the clock shows {shown}, and it has shown {} before; {WAY_OUT}", believed.to_millis()));
    }
    if now > after(believed, LONGEST_ABSENCE) {
        return Some(format!(
            "the clock shows {shown}, and when it was last believed it showed {}; {WAY_OUT}",
            believed.to_millis()
        ));
    }
    None
}

fn after(at: Timestamp, span: Duration) -> Timestamp {
    at.plus_micros(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_where_it_goes_on_from_what_is_known() {
        let at = |text| Timestamp::parse(text).expect("a time");
        let built = at("2026-11-01T00:00:00Z");
        let (day, week_later) = (at("2026-12-01T00:00:00Z"), at("2026-12-08T00:00:00Z"));
        let doubts = |now, newest, believed| doubt_of(now, built, newest, believed).is_some();
        assert!(!doubts(day, None, None), "an empty store");
        assert!(!doubts(week_later, Some(day), None), "off for a week");
        assert!(!doubts(week_later, Some(day), Some(day)));
        assert!(doubts(at("1970-01-01T00:00:10Z"), None, None), "no battery");
        assert!(doubts(day, Some(week_later), None), "earlier than the newest record");
        assert!(doubts(day, Some(day), Some(week_later)), "earlier than it has been");
        assert!(doubts(at("2038-01-19T03:14:07Z"), Some(day), Some(week_later)), "years at once");
        // Frames that come with that clock do not make it right.
        assert!(doubts(at("2038-01-19T03:14:08Z"), Some(at("2038-01-19T03:14:07Z")), Some(week_later)));
    }
}
