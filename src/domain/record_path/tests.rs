use proptest::prelude::*;

use super::*;

const DEFAULT: &str = "./recordings/%path/%Y-%m-%d_%H-%M-%S-%f";
const NESTED: &str = "./recordings/%path/%Y/%m/%d/%H-%M-%S-%f%z";
const EPOCH: &str = "./recordings/%path/%s-%f";

fn pattern(text: &str) -> RecordPath {
    RecordPath::parse(text).unwrap()
}

fn read(text: &str, name: &str) -> Option<(String, NamedStart)> {
    pattern(text).read(name).map(|named| (named.path, named.start))
}

/// The path and what the start is: a moment, a local time or a reason.
fn shown(text: &str, name: &str) -> Option<(String, String)> {
    read(text, name).map(|(path, start)| {
        let start = match start {
            NamedStart::At(at) => at.to_string(),
            NamedStart::Local(local) => local.to_string(),
            NamedStart::NoMoment(why) => why,
        };
        (path, start)
    })
}

fn is(path: &str, start: &str) -> Option<(String, String)> {
    Some((path.into(), start.into()))
}

#[test]
fn the_names_of_the_samples_are_read_and_written() {
    let zone = Zone::named("America/Argentina/Cordoba").unwrap();
    for (text, name, path, start) in [
        (DEFAULT, "cam-local/2026-11-23_08-32-35-013765.mp4", "cam-local", "2026-11-23 08:32:35.013765"),
        (DEFAULT, "cam-ts/2026-11-23_08-32-49-898224.ts", "cam-ts", "2026-11-23 08:32:49.898224"),
        (NESTED, "site/gate/2026/11/23/08-32-35-033740-0300.mp4", "site/gate", "2026-11-23T11:32:35.033740Z"),
        (EPOCH, "cam-epoch/1795433555-014159.mp4", "cam-epoch", "2026-11-23T11:32:35.014159Z"),
    ] {
        assert_eq!(shown(text, name), is(path, start));
        let (_, named) = read(text, name).unwrap();
        let at = match named {
            NamedStart::Local(local) => zone.candidates(local)[0],
            NamedStart::At(at) => at,
            NamedStart::NoMoment(why) => panic!("{why}"),
        };
        let format = pattern(text).read(name).unwrap().format;
        assert_eq!(pattern(text).write(path, at, &zone, format), name);
    }
}

#[test]
fn the_root_is_what_stands_before_the_first_placeholder() {
    for (text, root) in [
        (DEFAULT, "./recordings"),
        ("/data/rec/%path/%s", "/data/rec"),
        ("/data//rec//%path/%s", "/data//rec"),
        ("/%path/%s", "/"),
        ("%path/%s", "."),
        ("./%path/%s", "."),
        ("../rec/cam-%path/%s", "../rec"),
    ] {
        assert_eq!(pattern(text).root(), Path::new(root), "{text}");
    }
    assert_eq!(shown("/rec/cam-%path/%s", "cam-1/1795433555.mp4"), is("1", "2026-11-23T11:32:35.000000Z"));
    assert_eq!(shown("/rec//%path/.//%s", "a/1795433555.mp4"), is("a", "2026-11-23T11:32:35.000000Z"));
}

#[test]
fn a_pattern_that_mediamtx_would_not_take_is_refused_with_a_sentence() {
    for (text, says) in [
        ("", "must contain %path"),
        ("./rec/%s", "must contain %path"),
        ("./rec/%path/%Y-%m-%d_%H-%M", "either %s or all of %Y"),
        ("./rec/%path", "either %s or all of %Y"),
        ("./rec/%path/%q", "\"%q\", which is no placeholder"),
        ("./rec/%path/%s%", "\"%\", which is no placeholder"),
        ("./rec/%path/%%s", "\"%%\", which is no placeholder"),
        ("./rec/%path/%é", "\"%é\", which is no placeholder"),
        ("./rec/%path/%s/", "ends with a slash"),
        ("./rec/%path/../%s", "\"..\""),
    ] {
        let refused = RecordPath::parse(text).unwrap_err().to_string();
        assert!(refused.starts_with("record_path ") && refused.contains(says), "{text}: {refused}");
    }
    assert!(RecordPath::parse(&"%path%s".repeat(1_000)).is_err());
}

#[test]
fn what_does_not_match_is_not_read() {
    for name in [
        "",
        ".mp4",
        "cam/2026-11-23_08-32-35-013765",
        "cam/2026-11-23_08-32-35-013765.mp4.tmp",
        "cam/2026-11-23_08-32-35-013765.MP4",
        "cam/x2026-11-23_08-32-35-013765x.mp4",
        "2026-11-23_08-32-35-013765.mp4",
        "/2026-11-23_08-32-35-013765.mp4",
        "cam//2026-11-23_08-32-35-013765.mp4",
        "../2026-11-23_08-32-35-013765.mp4",
        "a/../2026-11-23_08-32-35-013765.mp4",
        "cam/2026-11-3_08-32-35-013765.mp4",
        "cam/+026-11-23_08-32-35-013765.mp4",
        "cam/2026-11-23_08-32-35-.mp4",
        "cam/2026-11-23_08-32-35-0137650000.mp4",
        "cam/2026\u{2011}11-23_08-32-35-013765.mp4",
    ] {
        assert_eq!(read(DEFAULT, name), None, "{name}");
    }
    assert_eq!(read(NESTED, "a/2026/11/23/08-32-35-033740-03.mp4"), None);
    assert_eq!(read(EPOCH, "a/-1795433555-014159.mp4"), None);
}

#[test]
fn fields_that_name_no_moment_are_reported() {
    for (name, why) in [
        ("cam/2026-13-23_08-32-35-013765.mp4", "month 13"),
        ("cam/2026-00-23_08-32-35-013765.mp4", "month 0"),
        ("cam/2026-02-30_08-32-35-013765.mp4", "day 30 of month 2 in 2026"),
        ("cam/2026-02-00_08-32-35-013765.mp4", "day 0 of month 2 in 2026"),
        ("cam/0000-02-01_08-32-35-013765.mp4", "year 0"),
        ("cam/2026-11-23_24-00-00-013765.mp4", "hour 24"),
        ("cam/2026-11-23_08-60-35-013765.mp4", "minute 60"),
        ("cam/2026-11-23_08-59-60-013765.mp4", "second 60"),
    ] {
        assert_eq!(shown(DEFAULT, name), is("cam", why), "{name}");
    }
    assert_eq!(shown(NESTED, "a/2026/11/23/08-32-35-033740+2400.mp4"), is("a", "offset +2400"));
    assert_eq!(shown(NESTED, "a/0001/01/01/00-00-00-000000+0100.mp4"), is("a", "offset +0100"));
    assert_eq!(shown(EPOCH, "a/999999999999-0.mp4"), is("a", "999999999999 seconds, which is after the year 9999"));
}

#[test]
fn numbers_of_other_lengths_are_read_where_nothing_else_can_be_meant() {
    for (name, start) in [
        ("a/1795433555-5.mp4", "2026-11-23T11:32:35.500000Z"),
        ("a/1795433555-014159999.mp4", "2026-11-23T11:32:35.014159Z"),
        // A gateway whose clock was never set.
        ("a/35-014159.mp4", "1970-01-01T00:00:35.014159Z"),
    ] {
        assert_eq!(shown(EPOCH, name), is("a", start));
    }
    assert_eq!(shown("%path%s%f", "cam11795433555014159.mp4"), is("cam1", "2026-11-23T11:32:35.014159Z"));
    assert_eq!(shown("%path-%s", "cam-1-1795433555.ts"), is("cam-1", "2026-11-23T11:32:35.000000Z"));
}

#[test]
fn a_placeholder_that_comes_twice_stands_for_the_same() {
    let text = "%path/%Y-%m/%path_%Y-%m-%d_%H-%M-%S";
    assert_eq!(shown(text, "a/b/2026-11/a/b_2026-11-23_08-32-35.mp4"), is("a/b", "2026-11-23 08:32:35.000000"));
    assert_eq!(read(text, "a/2026-11/b_2026-11-23_08-32-35.mp4"), None);
    assert_eq!(read(text, "a/2026-12/a_2026-11-23_08-32-35.mp4"), None);
    // Seconds of 1970 replace the calendar, whatever that says.
    assert_eq!(shown("%path/%Y/%s", "a/2025/1795433555.mp4"), is("a", "2026-11-23T11:32:35.000000Z"));
}

#[test]
fn a_path_may_hold_any_sign() {
    for path in ["a.b", "(a|b)+[c]*?^$", "with space", "câmera/日本", "%Y", "%path", "100%", "a\\b", "~", "...", ".a"] {
        let named = pattern(DEFAULT).read(&format!("{path}/2026-11-23_08-32-35-013765.mp4"));
        assert_eq!(named.map(|named| named.path).as_deref(), Some(path));
    }
    // Of signs in the pattern none is special either.
    assert_eq!(shown("(rec)+/[%path].*/%s", "[a].*/1795433555.mp4"), is("a", "2026-11-23T11:32:35.000000Z"));
    assert_eq!(read("(rec)+/[%path].*/%s", "[a]../1795433555.mp4"), None);
}

#[test]
fn a_hooks_path_is_matched_by_its_tail() {
    let tail = |text: &str, path: &str| pattern(text).read_tail(path).map(|(below, named)| (below, named.path));
    let name = "2026-11-23_08-32-35-013765.mp4";
    let local = "%path/%Y-%m-%d_%H-%M-%S-%f";
    for (root, before, path) in [
        ("./recordings", "./recordings", "cam-local"),
        ("/data/recordings", "./recordings", "site/gate"),
        ("./recordings", "/opt/mediamtx/recordings", "site/gate"),
        ("/mnt/ssd/recordings", "/data/recordings", "site/gate"),
        ("/mnt/ssd/recordings", "../recordings", "site/gate"),
        ("/data/recordings", "recordings", "recordings"),
        // MediaMTX's root lies deeper than ours, or less deep.
        (".", ".", "site/gate"),
        // Nothing in common: as short as can be.
        ("/data/rec", "/recordings", "cam-local"),
        (".", "/opt/mediamtx", "cam-local"),
    ] {
        let text = format!("{root}/{local}");
        assert_eq!(tail(&text, &format!("{before}/{path}/{name}")), Some((format!("{path}/{name}"), path.into())), "{text}");
        let by_name = pattern(&text).read_tail_of(&format!("{before}/{path}/{name}"), path);
        assert_eq!(by_name.map(|(below, _)| below), Some(format!("{path}/{name}")), "{text}");
    }
    assert_eq!(tail(DEFAULT, "./recordings/cam/other.mp4"), None);
    assert_eq!(
        pattern(DEFAULT).read_tail_of(&format!("/x/site/gate/{name}"), "site/gate").unwrap().0,
        format!("site/gate/{name}")
    );
    assert_eq!(pattern(DEFAULT).read_tail_of(&format!("/x/site/gate/{name}"), "other"), None);
    assert_eq!(pattern(DEFAULT).read_tail(&"/a".repeat(1_000_000)), None);
}

/// A pattern that MediaMTX would take, with placeholders in any order and text between them.
fn patterns() -> impl Strategy<Value = String> {
    let between = prop::sample::select(vec!["", "-", "_", "/", ".", "x", " ", "+", "(é)", "/a/", "rec-"]);
    let calendar = Just(vec!["%Y", "%m", "%d", "%H", "%M", "%S", "%path"]);
    let fields = prop_oneof![calendar, Just(vec!["%s", "%path"])].prop_flat_map(|fields| {
        let more = prop::sample::subsequence(vec!["%f", "%z", "%d", "%Y"], 0..=4);
        more.prop_flat_map(move |more| Just([fields.clone(), more].concat()).prop_shuffle())
    });
    fields.prop_flat_map(move |fields| {
        prop::collection::vec(between.clone(), fields.len()).prop_map(move |between| {
            let below: String = between.iter().zip(&fields).flat_map(|(text, field)| [*text, *field]).collect();
            format!("/rec/{below}")
        })
    })
}

fn paths() -> impl Strategy<Value = String> {
    let part = "[a-z0-9_~.()+%é -]{0,5}[a-z0-9Z]";
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn zones() -> impl Strategy<Value = Zone> {
    let names = ["UTC", "Europe/Rome", "America/Argentina/Cordoba", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"];
    prop::sample::select(names.to_vec()).prop_map(|name| Zone::named(name).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_reads_the_same(
        text in patterns(),
        path in paths(),
        // From 2001 on seconds have ten digits, until 2286.
        micros in 1_000_000_000_000_000_i64..9_999_999_999_999_999,
        zone in zones(),
        is_ts in any::<bool>(),
    ) {
        let pattern = pattern(&text);
        let start = Timestamp::from_micros(if text.contains("%f") { micros } else { micros / 1_000_000 * 1_000_000 });
        let format = if is_ts { Format::MpegTs } else { Format::Fmp4 };
        let name = pattern.write(&path, start, &zone, format);
        let named = pattern.read(&name);
        prop_assert!(named.is_some(), "{name} of {text}");
        let named = named.unwrap();
        prop_assert_eq!(&named.path, &path);
        prop_assert_eq!(named.format, format);
        match named.start {
            NamedStart::At(at) => prop_assert_eq!(at, start),
            NamedStart::Local(local) => prop_assert!(zone.candidates(local).contains(&start), "{} is {}", name, local),
            NamedStart::NoMoment(why) => prop_assert!(false, "{} names no moment: {}", name, why),
        }
        let (below, by_tail) = pattern.read_tail_of(&format!("./elsewhere/rec/{name}"), &path).unwrap();
        prop_assert_eq!(&by_tail.path, &path);
        prop_assert!(name.ends_with(&below));
    }

    #[test]
    fn any_moment_is_among_those_that_its_local_time_can_mean(micros in any::<i64>(), zone in zones()) {
        let at = Timestamp::from_micros(micros % 8_000_000_000_000_000);
        let candidates = zone.candidates(zone.local(at));
        prop_assert!(candidates.contains(&at), "{at} is not among {candidates:?}");
        prop_assert!(candidates.is_sorted() && candidates.len() <= 2);
    }
}
