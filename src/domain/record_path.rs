//! Names of recordings' files: MediaMTX's `recordPath`, both ways.

use std::path::{Path, PathBuf};

use super::Invalid;
use super::time::Timestamp;
use super::zone::{LocalTime, Zone};

/// Longer names are no files'.
const MAX_LENGTH: usize = 4096;

/// MediaMTX's `recordPath`, e.g. `./recordings/%path/%Y-%m-%d_%H-%M-%S-%f`; `.mp4` or `.ts` is appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPath {
    root: PathBuf,
    /// What follows the root.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

/// A placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Path,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
    Offset,
    Unix,
}

impl Field {
    const ALL: [(&'static str, Self); 10] = [
        ("%path", Self::Path),
        ("%Y", Self::Year),
        ("%m", Self::Month),
        ("%d", Self::Day),
        ("%H", Self::Hour),
        ("%M", Self::Minute),
        ("%S", Self::Second),
        ("%f", Self::Fraction),
        ("%z", Self::Offset),
        ("%s", Self::Unix),
    ];
    /// The calendar's, which `%s` replaces.
    const CALENDAR: [Self; 6] = [Self::Year, Self::Month, Self::Day, Self::Hour, Self::Minute, Self::Second];

    /// How many digits this is read from: first as many as MediaMTX writes, then what else can be meant.
    fn digits(self) -> &'static [usize] {
        match self {
            Self::Year => &[4],
            Self::Fraction => &[6, 9, 8, 7, 5, 4, 3, 2, 1],
            Self::Unix => &[10, 12, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1],
            _ => &[2],
        }
    }
}

/// The two forms of recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Fragmented MP4, `.mp4`.
    Fmp4,
    /// `.ts`.
    MpegTs,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Fmp4 => ".mp4",
            Self::MpegTs => ".ts",
        }
    }
}

/// What a file's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// MediaMTX's path.
    pub path: String,
    /// When the recording starts.
    pub start: NamedStart,
    /// What the extension says.
    pub format: Format,
}

/// The start in a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedStart {
    /// A moment.
    At(Timestamp),
    /// What the clocks showed where MediaMTX runs; the name holds no zone.
    Local(LocalTime),
    /// No moment, and why: a `month 13`.
    NoMoment(String),
}

impl RecordPath {
    /// Reads the pattern.
    pub fn parse(pattern: &str) -> Result<Self, Invalid> {
        let refuse = |problem: String| Invalid::field("record_path", problem);
        if pattern.len() > MAX_LENGTH {
            return Err(refuse("is longer than the name of a file can be".into()));
        }
        let before = pattern.find('%').unwrap_or(pattern.len());
        let (root, below) = match pattern[..before].rfind('/') {
            Some(slash) => (pattern[..slash].trim_end_matches('/'), &pattern[slash + 1..]),
            None => (".", pattern),
        };
        let root = if root.is_empty() { "/" } else { root };
        if below.ends_with('/') {
            return Err(refuse(format!("must end with a file's name, without an extension; {pattern:?} ends with a slash")));
        }
        let parts = parts(below);
        if parts.contains(&"..") {
            return Err(refuse(format!("must not leave its folder by \"..\", as {pattern:?} does")));
        }
        let pieces = pieces(&parts.join("/")).map_err(|unknown| {
            let known: Vec<_> = Field::ALL.iter().map(|(name, _)| *name).collect();
            refuse(format!("holds {unknown:?}, which is no placeholder of MediaMTX's; it knows {}", known.join(" ")))
        })?;
        let has = |field: Field| pieces.contains(&Piece::Field(field));
        if !has(Field::Path) {
            return Err(refuse(format!("must contain %path; {pattern:?} does not")));
        }
        if !has(Field::Unix) && !Field::CALENDAR.into_iter().all(has) {
            return Err(refuse(format!("must contain either %s or all of %Y %m %d %H %M %S; {pattern:?} does not")));
        }
        Ok(Self { root: PathBuf::from(root), pieces })
    }

    /// What stands before the first placeholder, cut at the last slash before it: every recording lies below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the name of a file below [`RecordPath::root`] says; none where it does not match.
    pub fn read(&self, below_root: &str) -> Option<Named> {
        let formats = [Format::Fmp4, Format::MpegTs];
        let (format, stem) =
            formats.into_iter().find_map(|format| Some((format, below_root.strip_suffix(format.extension())?)))?;
        let is_odd = |part| matches!(part, "" | "." | "..");
        if below_root.len() > MAX_LENGTH || stem.contains('\0') || stem.split('/').any(is_odd) {
            return None;
        }
        let found = [true, false].into_iter().find_map(|strict| {
            let mut found = Found::default();
            fits(&self.pieces, stem, strict, &mut found).then_some(found)
        })?;
        Some(Named { path: found.get(Field::Path)?.to_owned(), start: found.start(), format })
    }

    /// The same for a path of which only the tail is known to match: a hook's, relative to another working directory
    /// or below another mount. Gives its part below the root as well. What precedes that part is compared with the root's last
    /// folders; where none is the same, `%path` is taken to be as short as it can be, which [`RecordPath::read_tail_of`] does better.
    pub fn read_tail(&self, path: &str) -> Option<(String, Named)> {
        let root_text = self.root.to_string_lossy();
        let root = parts(&root_text);
        let all = parts(path);
        let is_elsewhere = path.starts_with('/') != root_text.starts_with('/');
        let closeness = |length: usize| {
            let prefix = &all[..length];
            let same = prefix.iter().rev().zip(root.iter().rev()).take_while(|(a, b)| a == b).count();
            let is_root = same == prefix.len() && same == root.len() && (same > 0 || !is_elsewhere);
            // Of prefixes that are alike the shortest, but where nothing is alike the longest.
            (is_root, same, if same == 0 { length } else { all.len() - length })
        };
        let tails = self.tails(&all);
        tails.max_by_key(|(length, ..)| closeness(*length)).map(|(_, below, named)| (below, named))
    }

    /// The same where MediaMTX's path is known, as it is in every hook.
    pub fn read_tail_of(&self, path: &str, mediamtx_path: &str) -> Option<(String, Named)> {
        let all = parts(path);
        self.tails(&all).find(|(_, _, named)| named.path == mediamtx_path).map(|(_, below, named)| (below, named))
    }

    /// Every tail that matches, with how many folders precede it.
    fn tails(&self, all: &[&str]) -> impl Iterator<Item = (usize, String, Named)> {
        // No path has as many folders; and the work grows with the square.
        let first = all.len().saturating_sub(64);
        (first..all.len()).filter_map(|length| {
            let below = all[length..].join("/");
            let named = self.read(&below)?;
            Some((length, below, named))
        })
    }

    /// The name, below the root, of a segment of `path` that starts at `start`, as MediaMTX in `zone` writes it.
    pub fn write(&self, path: &str, start: Timestamp, zone: &Zone, format: Format) -> String {
        let offset = zone.offset_seconds(start);
        let local = LocalTime::of(start, offset);
        let shown = chrono::DateTime::from_timestamp_micros(local.micros()).unwrap_or_default();
        let mut name = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => name.push_str(text),
                Piece::Field(Field::Path) => name.push_str(path),
                Piece::Field(Field::Offset) if offset == 0 => name.push('Z'),
                Piece::Field(Field::Offset) => {
                    let minutes = offset.abs() / 60;
                    let sign = if offset < 0 { '-' } else { '+' };
                    name.push_str(&format!("{sign}{:02}{:02}", minutes / 60, minutes % 60));
                }
                Piece::Field(Field::Unix) => name.push_str(&start.micros().div_euclid(1_000_000).to_string()),
                Piece::Field(Field::Fraction) => name.push_str(&format!("{:06}", start.micros().rem_euclid(1_000_000))),
                Piece::Field(field) => {
                    let name_of = Field::ALL.iter().find(|(_, known)| known == field);
                    name.push_str(&shown.format(name_of.map_or("", |(name, _)| name)).to_string());
                }
            }
        }
        name + format.extension()
    }
}

/// The folders and the name of a path.
fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect()
}

/// Cuts a pattern at its placeholders; fails with what begins as one and is none.
fn pieces(pattern: &str) -> Result<Vec<Piece>, String> {
    let mut found = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let literal = &rest[..rest.find('%').unwrap_or(rest.len())];
        if !literal.is_empty() {
            found.push(Piece::Literal(literal.to_owned()));
            rest = &rest[literal.len()..];
            continue;
        }
        let known = Field::ALL.iter().find_map(|(name, field)| Some((*field, rest.strip_prefix(name)?)));
        let Some((field, behind)) = known else { return Err(rest.chars().take(2).collect()) };
        found.push(Piece::Field(field));
        rest = behind;
    }
    Ok(found)
}

/// What each placeholder stands for in a name.
#[derive(Default)]
struct Found<'a>([Option<&'a str>; Field::ALL.len()]);

impl<'a> Found<'a> {
    fn get(&self, field: Field) -> Option<&'a str> {
        self.0[field as usize]
    }

    fn number(&self, field: Field) -> u32 {
        self.get(field).and_then(|digits| digits.parse().ok()).unwrap_or_default()
    }

    /// Microseconds; further digits are cut.
    fn fraction(&self) -> u32 {
        let digits = self.get(Field::Fraction).unwrap_or("0");
        format!("{digits:0<6}")[..6].parse().unwrap_or_default()
    }

    fn start(&self) -> NamedStart {
        let micros = self.fraction();
        if let Some(unix) = self.get(Field::Unix) {
            let whole = unix.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000_000));
            let at = whole.map(|whole| Timestamp::from_micros(whole + i64::from(micros)));
            return match at {
                Some(at) if at < Timestamp::MAX => NamedStart::At(at),
                _ => NamedStart::NoMoment(format!("{unix} seconds, which is after the year 9999")),
            };
        }
        let date = (self.number(Field::Year), self.number(Field::Month), self.number(Field::Day));
        let clock = (self.number(Field::Hour), self.number(Field::Minute), self.number(Field::Second));
        let local = match LocalTime::new(date, clock, micros) {
            Ok(local) => local,
            Err(why) => return NamedStart::NoMoment(why),
        };
        let Some(zone) = self.get(Field::Offset) else { return NamedStart::Local(local) };
        match offset(zone).and_then(|offset| local.at_offset(offset)) {
            Some(at) => NamedStart::At(at),
            None => NamedStart::NoMoment(format!("offset {zone}")),
        }
    }
}

/// Seconds east of UTC of a `Z`, `+0200`.
fn offset(zone: &str) -> Option<i32> {
    if zone == "Z" {
        return Some(0);
    }
    let hours: i32 = zone.get(1..3)?.parse().ok()?;
    let minutes: i32 = zone.get(3..5)?.parse().ok()?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Whether `text` is what `pieces` make, and how: a placeholder that comes twice stands for the same both times, and
/// `%path` for as little as it can. Where `strict`, numbers have exactly the digits that MediaMTX writes; else they may
/// have others, which would be a matter of taste where two numbers touch.
fn fits<'a>(pieces: &[Piece], text: &'a str, strict: bool, found: &mut Found<'a>) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return text.is_empty() };
    let field = match first {
        Piece::Literal(literal) => {
            return text.strip_prefix(literal.as_str()).is_some_and(|behind| fits(rest, behind, strict, found));
        }
        Piece::Field(field) => *field,
    };
    if let Some(same) = found.get(field) {
        return text.strip_prefix(same).is_some_and(|behind| fits(rest, behind, strict, found));
    }
    let mut try_at = |end: usize| {
        found.0[field as usize] = Some(&text[..end]);
        let it_fits = fits(rest, &text[end..], strict, found);
        if !it_fits {
            found.0[field as usize] = None;
        }
        it_fits
    };
    let all_digits = |from: usize, end: usize| text.as_bytes().get(from..end).is_some_and(|d| d.iter().all(u8::is_ascii_digit));
    match field {
        Field::Path => {
            let ends = text.char_indices().map(|(at, letter)| at + letter.len_utf8());
            ends.filter(|end| is_path(&text[..*end])).any(try_at)
        }
        Field::Offset => match text.as_bytes().first() {
            Some(b'Z') => try_at(1),
            Some(b'+' | b'-') if all_digits(1, 5) => try_at(5),
            _ => false,
        },
        _ => {
            let lengths = field.digits();
            let lengths = if strict { &lengths[..1] } else { lengths };
            lengths.iter().copied().filter(|length| all_digits(0, *length)).any(try_at)
        }
    }
}

/// Whether MediaMTX may have a path of this name. It allows few signs in them; here any will do.
fn is_path(name: &str) -> bool {
    !name.split('/').any(|part| matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests;
