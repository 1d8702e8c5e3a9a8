//! Recording segments, by name and by time.

use std::ops::Bound;

use redb::ReadableTable;

use crate::domain::query::Window;
use crate::domain::segment::Segment;
use crate::domain::time::Timestamp;

use super::tables::{RawSegmentKey, SEGMENTS, SEGMENTS_BY_TIME};
use super::{Snapshot, StoreError, Transaction, length, record};

/// A publication that no session was open for is remembered so long.
const PUBLISHED_FOR_MICROS: i64 = 3600 * 1_000_000;

impl Transaction<'_> {
    /// The segment called `file` of `path`.
    pub fn segment(&self, path: &str, file: &str) -> Result<Option<Segment>, StoreError> {
        self.segments.get((path, file))?.map(|bytes| record::decode_segment(path, file, bytes.value())).transpose()
    }

    /// Adds or replaces a segment. Returns what was known of it before.
    pub fn put_segment(&mut self, segment: &Segment) -> Result<Option<Segment>, StoreError> {
        let old = self.segment(&segment.path, &segment.file)?;
        if old.as_ref() == Some(segment) {
            return Ok(old);
        }
        if let Some(old) = &old {
            self.segments_by_time.remove(time_key(old))?;
        }
        self.segments.insert((segment.path.as_str(), segment.file.as_str()), record::encode_segment(segment)?.as_slice())?;
        self.segments_by_time.insert(time_key(segment), segment.end.micros())?;
        self.changed = true;
        Ok(old)
    }

    /// Forgets a segment.
    pub fn remove_segment(&mut self, segment: &Segment) -> Result<(), StoreError> {
        self.segments.remove((segment.path.as_str(), segment.file.as_str()))?;
        self.segments_by_time.remove(time_key(segment))?;
        self.changed = true;
        Ok(())
    }

    /// The segments of `path` that reach into `window`, by start; at most `limit`.
    pub fn segments_within(&self, path: &str, window: Window, limit: usize) -> Result<Vec<Segment>, StoreError> {
        let mut segments = Vec::new();
        for file in files_within(&*self.segments_by_time, path, window, limit)? {
            segments.extend(self.segment(path, &file)?);
        }
        Ok(segments)
    }

    /// The earliest start and the latest end of those segments of `path` that reach into `window` and hold a picture.
    pub fn media_within(&self, path: &str, window: Window) -> Result<Option<(Timestamp, Timestamp)>, StoreError> {
        let (from, to) = (window.from.micros(), window.to.micros());
        let table = &*self.segments_by_time;
        let (mut earliest, mut latest): (Option<i64>, Option<i64>) = (None, None);
        for class in classes(table, path)? {
            let longest = length::longest(class);
            let range = |lowest: i64, highest: i64| {
                table.range::<(&str, u8, i64, &str)>((path, class, lowest, "")..(path, class, highest, ""))
            };
            for entry in range(from.saturating_sub(longest), to)? {
                let (key, end) = entry?;
                let start = key.value().2;
                if end.value() > from.max(start) {
                    earliest = Some(earliest.map_or(start, |known| known.min(start)));
                    break;
                }
            }
            let mut last_start = None;
            for entry in range(from.saturating_sub(longest), to)?.rev() {
                let (key, end) = entry?;
                let (start, end) = (key.value().2, end.value());
                // One that began earlier can end later only as far as it can be longer.
                if last_start.is_some_and(|last: i64| start < last.saturating_sub(longest)) {
                    break;
                }
                if end > from.max(start) {
                    last_start.get_or_insert(start);
                    latest = latest.max(Some(end));
                }
            }
        }
        Ok(earliest.zip(latest).map(|(start, end)| (Timestamp::from_micros(start), Timestamp::from_micros(end))))
    }

    /// The index by time, made anew from the records.
    pub(super) fn index_segments(&mut self) -> Result<(), StoreError> {
        self.segments_by_time.clear()?;
        let mut after: Option<(String, String)> = None;
        loop {
            let lowest = after.as_ref().map_or(Bound::Unbounded, |(path, file)| Bound::Excluded((path.as_str(), file.as_str())));
            let mut page = Vec::new();
            for entry in self.segments.range::<(&str, &str)>((lowest, Bound::Unbounded))?.take(1000) {
                let (key, bytes) = entry?;
                let (path, file) = key.value();
                after = Some((path.to_owned(), file.to_owned()));
                // One that cannot be read is verify's and repair's affair.
                page.push(record::decode_segment(path, file, bytes.value()));
            }
            if page.is_empty() {
                return Ok(());
            }
            for segment in page.into_iter().flatten() {
                self.segments_by_time.insert(time_key(&segment), segment.end.micros())?;
            }
        }
    }

    /// Remembers when `path` was published, since no session is open there yet.
    pub fn remember_published(&mut self, path: &str, at: Timestamp) -> Result<(), StoreError> {
        let oldest = self.now.plus_micros(-PUBLISHED_FOR_MICROS).micros();
        let mut stale = Vec::new();
        for entry in self.published.iter()? {
            let (path, at) = entry?;
            if at.value() < oldest {
                stale.push(path.value().to_owned());
            }
        }
        for path in stale {
            self.published.remove(path.as_str())?;
        }
        self.changed = true;
        self.published.insert(path, at.micros())
    }

    /// When `path` was published while no session was open there; not told again.
    pub fn take_published(&mut self, path: &str) -> Result<Option<Timestamp>, StoreError> {
        let at = self.published.get(path)?.map(|at| Timestamp::from_micros(at.value()));
        if at.is_some() {
            self.published.remove(path)?;
        }
        Ok(at)
    }
}

/// Where `segment` stands in the index by time.
pub(super) fn time_key(segment: &Segment) -> (&str, u8, i64, &str) {
    let micros = segment.end.micros().saturating_sub(segment.start.micros());
    (&segment.path, length::class(micros), segment.start.micros(), &segment.file)
}

/// The classes of length in which `path` has segments.
fn classes(table: &impl ReadableTable<RawSegmentKey, i64>, path: &str) -> Result<Vec<u8>, StoreError> {
    let mut classes = Vec::new();
    let mut next = 0;
    while let Some(entry) =
        table.range::<(&str, u8, i64, &str)>((path, next, i64::MIN, "")..=(path, u8::MAX, i64::MAX, ""))?.next()
    {
        let class = entry?.0.value().1;
        classes.push(class);
        let Some(higher) = class.checked_add(1) else { break };
        next = higher;
    }
    Ok(classes)
}

/// Files of the segments of `path` that reach into `window`, by start, or `limit` of them. One without a picture does where its start lies in it.
fn files_within(
    table: &impl ReadableTable<RawSegmentKey, i64>,
    path: &str,
    window: Window,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let (from, to) = (window.from.micros(), window.to.micros());
    let mut files = Vec::new();
    for class in classes(table, path)? {
        let lowest = length::lowest_reaching(class, from);
        for entry in table.range::<(&str, u8, i64, &str)>((path, class, lowest, "")..(path, class, to, ""))? {
            let (key, end) = entry?;
            let (_, _, start, file) = key.value();
            if end.value() > from || start >= from {
                if files.len() == limit {
                    break;
                }
                files.push((start, file.to_owned()));
            }
        }
    }
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

impl Snapshot {
    /// The segment called `file` of `path`.
    pub fn segment(&self, path: &str, file: &str) -> Result<Option<Segment>, StoreError> {
        let bytes = self.segments()?.get((path, file))?;
        bytes.map(|bytes| record::decode_segment(path, file, bytes.value())).transpose()
    }

    /// The segments of `path` that reach into `window`, by start; at most `limit`.
    pub fn segments_within(&self, path: &str, window: Window, limit: usize) -> Result<Vec<Segment>, StoreError> {
        let segments = self.segments()?;
        let mut found = Vec::new();
        for file in files_within(&self.table(SEGMENTS_BY_TIME)?, path, window, limit)? {
            if let Some(bytes) = segments.get((path, file.as_str()))? {
                found.push(record::decode_segment(path, &file, bytes.value())?);
            }
        }
        Ok(found)
    }

    /// The last segment of `path` that ended by `at`, as far as the next longer ones tell.
    pub fn segment_before(&self, path: &str, at: Timestamp) -> Result<Option<Segment>, StoreError> {
        let table = self.table(SEGMENTS_BY_TIME)?;
        let mut last: Option<(i64, i64, String)> = None;
        for class in classes(&table, path)? {
            for entry in table.range::<(&str, u8, i64, &str)>((path, class, i64::MIN, "")..(path, class, at.micros(), ""))?.rev()
            {
                let (key, end) = entry?;
                let (_, _, start, file) = key.value();
                if end.value() > start && end.value() <= at.micros() {
                    last = last.max(Some((end.value(), start, file.to_owned())));
                    break;
                }
            }
        }
        last.map_or(Ok(None), |(.., file)| self.segment(path, &file))
    }

    /// The first segment of `path` that began at `at` or later.
    pub fn segment_after(&self, path: &str, at: Timestamp) -> Result<Option<Segment>, StoreError> {
        let table = self.table(SEGMENTS_BY_TIME)?;
        let mut first: Option<(i64, String)> = None;
        for class in classes(&table, path)? {
            for entry in table.range::<(&str, u8, i64, &str)>((path, class, at.micros(), "")..=(path, class, i64::MAX, ""))? {
                let (key, end) = entry?;
                let (_, _, start, file) = key.value();
                if end.value() > start {
                    if first.as_ref().is_none_or(|(known, _)| start < *known) {
                        first = Some((start, file.to_owned()));
                    }
                    break;
                }
            }
        }
        first.map_or(Ok(None), |(_, file)| self.segment(path, &file))
    }

    /// Paths that have segments.
    pub fn segment_paths(&self) -> Result<Vec<String>, StoreError> {
        let table = self.table(SEGMENTS)?;
        let mut paths: Vec<String> = Vec::new();
        let mut next = table.first()?.map(|(first, _)| first.value().0.to_owned());
        while let Some(path) = next {
            // The shortest text that is higher.
            let above = format!("{path}\0");
            next = table.range((above.as_str(), "")..)?.next().transpose()?.map(|(first, _)| first.value().0.to_owned());
            paths.push(path);
        }
        Ok(paths)
    }

    /// How many segments are known.
    pub fn segment_count(&self) -> Result<u64, StoreError> {
        use redb::ReadableTableMetadata as _;
        Ok(self.table(SEGMENTS)?.len()?)
    }

    /// At most `limit` segments behind `after`, by path and file.
    pub fn segments_behind(&self, after: Option<&Segment>, limit: usize) -> Result<Vec<Segment>, StoreError> {
        let lowest = after.map_or(Bound::Unbounded, |after| Bound::Excluded((after.path.as_str(), after.file.as_str())));
        let mut segments = Vec::new();
        for entry in self.table(SEGMENTS)?.range::<(&str, &str)>((lowest, Bound::Unbounded))?.take(limit) {
            let (key, bytes) = entry?;
            let (path, file) = key.value();
            segments.push(record::decode_segment(path, file, bytes.value())?);
        }
        Ok(segments)
    }
}
