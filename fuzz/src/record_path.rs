//! MediaMTX's `recordPath` and the names of files.

use session_store::domain::record_path::{Named, NamedStart, RecordPath};
use session_store::domain::time::Timestamp;
use session_store::domain::zone::Zone;

/// Reads the first line of `data` as a pattern, the others as names.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (pattern, names) = text.split_once('\n').unwrap_or((&text, ""));
    let read = match RecordPath::parse(pattern) {
        Ok(read) => read,
        Err(why) => return super::assert_sentence(&why.to_string()),
    };
    let root = read.root().to_str().expect("it was text");
    assert!(!root.is_empty() && !root.contains('%'), "{root:?} is the root of {pattern:?}");
    for name in names.split('\n') {
        if let Some(named) = read.read(name) {
            check(&read, pattern, name, &named);
        }
        if let Some((below, named)) = read.read_tail(name) {
            assert_eq!(read.read(&below).as_ref(), Some(&named), "{below:?} of {name:?}");
            assert!(read.read_tail_of(name, &named.path).is_some());
        }
    }
}

/// What was read is written so that it reads the same.
fn check(pattern: &RecordPath, text: &str, name: &str, named: &Named) {
    let odd = |part: &str| matches!(part, "" | "." | "..");
    assert!(!named.path.split('/').any(odd), "{:?} of {name:?}", named.path);
    let zone = Zone::utc();
    let start = match &named.start {
        NamedStart::At(at) => *at,
        NamedStart::Local(local) => zone.candidates(*local)[0],
        NamedStart::NoMoment(why) => return super::assert_sentence(why),
    };
    // Where seconds have ten digits, and a path that comes twice cannot be cut in two ways.
    let is_plain = (1_000_000_000_000_000..10_000_000_000_000_000).contains(&start.micros());
    if !is_plain || text.matches("%path").count() > 1 {
        return;
    }
    let written = pattern.write(&named.path, start, &zone, named.format);
    if written.len() > 4096 {
        return;
    }
    let again = pattern.read(&written).unwrap_or_else(|| panic!("{written:?} of {text:?} was {name:?}"));
    assert_eq!((&again.path, again.format), (&named.path, named.format), "{written:?} of {text:?}");
    let at = match again.start {
        NamedStart::At(at) => at,
        NamedStart::Local(local) => zone.candidates(local)[0],
        NamedStart::NoMoment(why) => panic!("{written:?} names no moment: {why}"),
    };
    // Of microseconds that the pattern does not hold nothing is known.
    assert_eq!(at, Timestamp::from_micros(start.micros()), "{written:?} of {text:?}");
}
