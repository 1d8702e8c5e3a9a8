//! What may be deleted, and in which order: the operator's rules.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::{Span, SpanRelativeTo};

use super::session::Session;
use super::time::Timestamp;

/// All rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The most valuable first; a session belongs to the first that fits it.
    pub rules: Vec<Rule>,
    /// For all sessions together; its age for those that no rule fits.
    pub all: Limits,
    /// How often ages and sizes are looked at.
    pub interval: Duration,
    /// Whether the clock is believed, wherever it stands.
    pub trust_clock: bool,
}

/// Whose sessions a rule is about, and what holds for them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// A session fits that saw any of these; all where none is named.
    pub classes: Vec<String>,
    /// Paths, or their beginning with a `*` behind it; all where none is named.
    pub paths: Vec<String>,
    /// Of its sessions.
    pub limits: Limits,
}

/// When sessions go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// So long after their end.
    pub keep: Option<Duration>,
    /// When they take more bytes than these.
    pub max_bytes: Option<u64>,
    /// When less is free on a volume.
    pub min_free: Option<MinFree>,
}

/// Room that is to stay free on each volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinFree {
    /// In bytes.
    Bytes(u64),
    /// In hundredths of a percent of the volume.
    Share(u32),
}

/// A rule by its place among the rules; behind the last stands what no rule fits. The higher, the less valuable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(pub usize);

impl Policy {
    /// Whether nothing ever goes.
    pub fn is_empty(&self) -> bool {
        self.all_limits().all(|limits| *limits == Limits::default())
    }

    /// Whether a limit counts bytes of sessions.
    pub fn counts_bytes(&self) -> bool {
        self.all_limits().any(|limits| limits.max_bytes.is_some())
    }

    /// Whether a limit is of free room.
    pub fn wants_room(&self) -> bool {
        self.all_limits().any(|limits| limits.min_free.is_some())
    }

    /// Those of each rule, and those for all.
    pub fn all_limits(&self) -> impl Iterator<Item = &Limits> {
        self.rules.iter().map(|rule| &rule.limits).chain([&self.all])
    }

    /// The ranks, the least valuable first.
    pub fn ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        (0..=self.rules.len()).rev().map(Rank)
    }

    /// Where `session` belongs.
    pub fn rank(&self, session: &Session) -> Rank {
        Rank(self.rules.iter().position(|rule| rule.fits(session)).unwrap_or(self.rules.len()))
    }

    /// How long sessions of this rank are kept.
    pub fn keep(&self, rank: Rank) -> Option<Duration> {
        self.rules.get(rank.0).map_or(self.all.keep, |rule| rule.limits.keep)
    }

    /// What the operator knows a rank by.
    pub fn name(&self, rank: Rank) -> String {
        match self.rules.get(rank.0) {
            Some(rule) => format!("retention.rule {} ({rule})", rank.0 + 1),
            None => "retention".to_owned(),
        }
    }
}

impl Rule {
    /// Whether `session` is one of its own.
    pub fn fits(&self, session: &Session) -> bool {
        let is_class = self.classes.is_empty() || self.classes.iter().any(|class| session.detected_classes.contains(class));
        let is_path = |path: &String| match path.strip_suffix('*') {
            Some(beginning) => session.path.starts_with(beginning),
            None => session.path == *path,
        };
        is_class && (self.paths.is_empty() || self.paths.iter().any(is_path))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("classes", &self.classes), ("paths", &self.paths)];
        let parts: Vec<_> =
            named.iter().filter(|(_, all)| !all.is_empty()).map(|(of, all)| format!("{of} {}", all.join(", "))).collect();
        f.write_str(if parts.is_empty() { "all sessions".to_owned() } else { parts.join("; ") }.as_str())
    }
}

impl MinFree {
    /// In bytes, of a volume of `total`.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Share(share) => total / 10_000 * u64::from(share),
        }
    }

    /// Reads a percentage or a size.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(percent) = text.trim().strip_suffix('%') else { return size(text).map(Self::Bytes) };
        let percent: f64 = percent.trim().parse().ok().filter(|percent| (0.01..=95.0).contains(percent))?;
        // From 1 to 9,500.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some(Self::Share((percent * 100.0).round() as u32))
    }
}

/// Reads a size such as `200GB` or `500MiB`.
pub fn size(text: &str) -> Option<u64> {
    text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64()).filter(|bytes| *bytes > 0)
}

/// Reads a span of time such as `90d`, `2w` or `36h`; a day has 24 hours.
pub fn span(text: &str) -> Option<Duration> {
    let span: Span = text.trim().parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok().filter(|span| *span > Duration::ZERO)
}

/// Whether a closed session has been kept for `keep` at `now`.
pub fn has_aged(session: &Session, keep: Duration, now: Timestamp) -> bool {
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    session.end.is_some_and(|end| end.at.max(session.start) < now.plus_micros(keep.saturating_neg()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_shares_and_spans_are_read_as_people_write_them() {
        assert_eq!(size("200GB"), Some(200_000_000_000));
        assert_eq!(size("1.5 GiB"), Some(3 << 29));
        assert_eq!(size("0"), None);
        assert_eq!(size("much"), None);
        assert_eq!(MinFree::parse("10%").map(|free| free.of(1_000_000_000)), Some(100_000_000));
        assert_eq!(MinFree::parse("2.5 %").map(|free| free.of(1_000_000)), Some(25_000));
        assert_eq!(MinFree::parse("5GB"), Some(MinFree::Bytes(5_000_000_000)));
        for wrong in ["100%", "-1%", "%", "ten"] {
            assert_eq!(MinFree::parse(wrong), None, "{wrong}");
        }
        assert_eq!(span("90d"), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!(span("2 weeks"), Some(Duration::from_secs(14 * 86_400)));
        assert_eq!(span("1h 30m"), Some(Duration::from_secs(5400)));
        for wrong in ["90", "-1d", "0s", "1 month", "soon"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
