use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;

use super::*;

/// Bytes of which every read is noted.
struct Noted<'a>(&'a [u8], RefCell<Vec<usize>>);

impl Source for Noted<'_> {
    fn fill_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.0.fill_at(buffer, offset)?;
        self.1.borrow_mut().push(read);
        Ok(read)
    }
}

fn bytes_measured(bytes: &[u8]) -> Result<Measured, String> {
    measure(bytes, bytes.len() as u64).unwrap().map_err(|why| why.to_string())
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings"))
}

fn file_measured(name: &str) -> Measured {
    let file = File::open(folder().join(name)).unwrap();
    let length = file.metadata().unwrap().len();
    measure(&file, length).unwrap().unwrap()
}

/// The figures of the samples' README.
#[test]
fn every_sample_gives_its_figures() {
    const LOCAL: (u8, u8) = (0xff, 0x21);
    const AGAIN: (u8, u8) = (0x4b, 0x79);
    for (name, (first, last), number, dts, ntp, micros, is_closed) in [
        ("35-013765", LOCAL, 0, 0, 1_795_433_555_013_765_584, 5_000_000, true),
        ("39-909135", LOCAL, 1, 5_000_000_000, 1_795_433_559_909_135_891, 5_000_000, true),
        ("44-909135", LOCAL, 2, 10_000_000_000, 1_795_433_564_909_135_891, 5_000_000, true),
        ("49-909059", LOCAL, 3, 15_000_000_000, 1_795_433_569_909_059_579, 1_000_000, false),
        ("05-945758", AGAIN, 0, 0, 1_795_433_645_945_758_588, 5_475_000, true),
        ("10-822712", AGAIN, 1, 5_000_000_000, 1_795_433_650_822_712_149, 3_035_000, true),
    ] {
        let minute = if first == LOCAL.0 { "32" } else { "34" };
        let measured = file_measured(&format!("cam-local/2026-11-23_08-{minute}-{name}.mp4"));
        let stream = measured.stream.unwrap();
        assert_eq!((stream.id[0], stream.id[15], stream.number), (first, last, number), "{name}");
        assert_eq!((stream.dts_nanos, stream.ntp_nanos, stream.start().micros()), (dts, ntp, ntp / 1000), "{name}");
        assert_eq!((measured.duration_micros, measured.is_closed, measured.is_estimate), (micros, is_closed, false), "{name}");
        assert_eq!(measured.part_micros, (!is_closed).then_some(1_000_000), "{name}");
    }
    // Two of its parts were written when it was copied.
    let growing = file_measured("growing/2026-11-23_08-32-44-909135.mp4");
    assert_eq!((growing.duration_micros, growing.is_closed, growing.part_micros), (2_000_000, false, Some(1_000_000)));
    assert_eq!(growing.stream, file_measured("cam-local/2026-11-23_08-32-44-909135.mp4").stream);
    for (name, micros) in [
        ("site/gate/2026/11/23/08-32-49-924027-0300.mp4", 1_000_000),
        ("site/gate/2026/11/23/08-32-39-924027-0300.mp4", 5_000_000),
        ("cam-epoch/1795433569-904492.mp4", 1_000_000),
        ("cam-epoch/1795433555-014159.mp4", 5_000_000),
    ] {
        assert_eq!(file_measured(name).duration_micros, micros, "{name}");
    }
}

fn sample(name: &str) -> Vec<u8> {
    fs::read(folder().join("cam-local").join(format!("2026-11-23_08-{name}.mp4"))).unwrap()
}

/// The same file before MediaMTX closed it: `mvhd`, which follows `ftyp` and the head of `moov`, holds no duration.
fn unclosed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[64..68].fill(0);
    bytes
}

/// What MediaMTX writes when it closes a file is the end of its last part.
#[test]
fn the_parts_of_a_file_end_where_its_header_says() {
    for name in ["32-35-013765", "32-39-909135", "32-44-909135", "34-05-945758", "34-10-822712"] {
        let closed = bytes_measured(&sample(name)).unwrap();
        let open = bytes_measured(&unclosed(sample(name))).unwrap();
        assert_eq!(open.duration_micros / 1000, closed.duration_micros / 1000, "{name}");
        assert!(!open.is_closed && closed.is_closed);
    }
}

/// A crash may cut a file anywhere. What is there of whole parts counts, and nothing else.
#[test]
fn a_file_cut_anywhere_has_its_whole_parts() {
    let bytes = unclosed(sample("34-05-945758"));
    let part_ends = [17_613, 27_299, 39_611, 49_471, 61_389, 62_943];
    let mut before = 0;
    let is_telling = |cut: &usize| *cut < 1_700 || cut.is_multiple_of(97) || part_ends.iter().any(|end| cut.abs_diff(*end) < 20);
    for cut in (0..=bytes.len()).filter(is_telling) {
        let measured = bytes_measured(&bytes[..cut]);
        let parts = part_ends.iter().filter(|end| **end <= cut).count();
        match measured {
            Ok(measured) => {
                assert!(parts > 0 && measured.duration_micros >= before, "{cut}");
                assert_eq!(measured.duration_micros > before, part_ends.contains(&cut), "{cut}");
                before = measured.duration_micros;
            }
            Err(why) => {
                let expected = match cut {
                    0 => "it is empty",
                    1..8 => "it does not begin as an MP4 file",
                    // Head of `moov`, or what it holds.
                    8..40 => "it ends before its header does",
                    40..1288 => "its header is cut short",
                    _ => "it has no complete part yet",
                };
                assert!(parts == 0, "{cut}: {why}");
                assert_eq!(why, expected, "{cut}");
            }
        }
    }
}

#[test]
fn a_segment_is_measured_by_few_reads_of_its_headers() {
    let reads = |bytes: &[u8]| {
        let noted = Noted(bytes, RefCell::default());
        measure(&noted, bytes.len() as u64).unwrap().unwrap();
        noted.1.into_inner()
    };
    assert_eq!(reads(&sample("34-05-945758")), [4096]);
    // The header, then a read for each of six parts but the first.
    let open = reads(&unclosed(sample("34-05-945758")));
    assert!(open.len() == 6 && open[1..].iter().all(|read| *read <= 1024), "{open:?}");
}

/// A file that grows is looked at ten times a second.
#[test]
fn a_file_that_grows_is_read_on_where_it_ended() {
    let bytes = unclosed(sample("34-05-945758"));
    let mut progress = Progress::default();
    for length in (1..=bytes.len()).step_by(997).chain([bytes.len()]) {
        let noted = Noted(&bytes[..length], RefCell::default());
        let measured = measure_on(&noted, length as u64, &mut progress).unwrap().map_err(|why| why.to_string());
        assert_eq!(measured, bytes_measured(&bytes[..length]), "{length}");
        // Its header, the part that was seen to be incomplete, and maybe one behind.
        assert!(noted.1.borrow().len() <= 4, "{length}: {:?}", noted.1);
    }
    // Closed; then another file takes its name.
    let closed = sample("34-05-945758");
    assert!(measure_on(&closed[..], closed.len() as u64, &mut progress).unwrap().unwrap().is_closed);
    let other = sample("32-49-909059");
    let measured = measure_on(&other[..], other.len() as u64, &mut progress).unwrap().unwrap();
    assert_eq!((measured.duration_micros, measured.stream.unwrap().number), (1_000_000, 3));
}

/// A box with a head of 32 bits.
fn boxed(kind: [u8; 4], held: &[u8]) -> Vec<u8> {
    [&u32::try_from(held.len() + 8).unwrap().to_be_bytes(), &kind, held].concat()
}

/// The same with a head of 64 bits.
fn long_boxed(kind: [u8; 4], held: &[u8]) -> Vec<u8> {
    [&1_u32.to_be_bytes(), kind.as_slice(), &(held.len() as u64 + 16).to_be_bytes(), held].concat()
}

/// Version, flags, and then numbers of four bytes.
fn full(kind: [u8; 4], version: u8, flags: u32, numbers: &[u32]) -> Vec<u8> {
    let mut held = vec![version];
    held.extend(&flags.to_be_bytes()[1..]);
    held.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    boxed(kind, &held)
}

/// The header of a file with tracks of these ids, clocks and default durations; `version` is that of its boxes.
fn header(version: u8, duration: u32, tracks: &[(u32, u32, u32)]) -> Vec<u8> {
    let times: &[u32] = if version == 0 { &[0; 2] } else { &[0; 4] };
    let high: &[u32] = if version == 0 { &[] } else { &[0] };
    let mut moov = full(*b"mvhd", version, 0, &[times, &[1000], high, &[duration]].concat());
    let mut mvex = Vec::new();
    for (id, timescale, sample_duration) in tracks {
        let tkhd = full(*b"tkhd", version, 3, &[times, &[*id, 0, 0, 0]].concat());
        let mdhd = full(*b"mdhd", version, 0, &[times, &[*timescale], high, &[0]].concat());
        moov.extend(boxed(*b"trak", &[tkhd, boxed(*b"mdia", &mdhd)].concat()));
        mvex.extend(full(*b"trex", 0, 0, &[*id, 1, *sample_duration, 0, 0]));
    }
    moov.extend(boxed(*b"mvex", &mvex));
    [boxed(*b"ftyp", b"iso5    "), boxed(*b"moov", &moov)].concat()
}

/// A track of a part, with a run of samples of which each has its duration.
fn traf(id: u32, begin: u32, durations: &[u32]) -> Vec<u8> {
    let run = [&[u32::try_from(durations.len()).unwrap(), 0], durations].concat();
    let tfdt = full(*b"tfdt", 1, 0, &[0, begin]);
    boxed(*b"traf", &[full(*b"tfhd", 0, 0x2_0000, &[id]), tfdt, full(*b"trun", 0, 0x101, &run)].concat())
}

fn part(trafs: &[Vec<u8>]) -> Vec<u8> {
    let moof = [full(*b"mfhd", 0, 0, &[0]), trafs.concat()].concat();
    [boxed(*b"moof", &moof), boxed(*b"mdat", &[0x5a; 300])].concat()
}

fn micros(bytes: &[u8]) -> Option<i64> {
    bytes_measured(bytes).ok().map(|measured| measured.duration_micros)
}

#[test]
fn the_longest_track_says_how_long_a_segment_is() {
    let tracks = [(1, 90_000, 0), (2, 48_000, 0), (7, 1_000, 0)];
    let one = part(&[traf(1, 0, &[9_000; 10]), traf(2, 4_800, &[1_024; 50])]);
    let two = part(&[traf(2, 56_000, &[1_024; 10])]);
    assert_eq!(micros(&[header(0, 0, &tracks), one.clone()].concat()), Some(1_166_666));
    assert_eq!(micros(&[header(1, 0, &tracks), one.clone(), two.clone()].concat()), Some(1_380_000));
    // A track whose last part is old.
    let measured = bytes_measured(&[header(0, 0, &tracks), one.clone(), part(&[traf(7, 100, &[200])])].concat()).unwrap();
    assert_eq!((measured.duration_micros, measured.part_micros), (1_166_666, Some(1_166_666)));
    // One that the header does not know: what follows is not understood.
    assert_eq!(micros(&[header(0, 0, &tracks), one, part(&[traf(3, 90_000, &[9_000])]), two].concat()), Some(1_166_666));
}

#[test]
fn durations_come_from_the_nearest_that_says_them() {
    let of = |trex: u32, tfhd: Vec<u8>, tfdt: Vec<u8>, trun: Vec<u8>| {
        micros(&[header(0, 0, &[(1, 1_000, trex)]), part(&[boxed(*b"traf", &[tfhd, tfdt, trun].concat())])].concat())
    };
    let plain = || full(*b"tfhd", 0, 0, &[1]);
    let begin = || full(*b"tfdt", 0, 0, &[100]);
    // Ten samples without anything; sizes alone; all of it, with the flags of the first.
    let bare = || full(*b"trun", 0, 0, &[10]);
    assert_eq!(of(50, plain(), begin(), bare()), Some(600_000));
    assert_eq!(of(50, full(*b"tfhd", 0, 0x08, &[1, 70]), begin(), bare()), Some(800_000));
    assert_eq!(of(50, full(*b"tfhd", 0, 0x0b, &[1, 0, 0, 1, 70]), begin(), bare()), Some(800_000));
    assert_eq!(of(50, plain(), begin(), full(*b"trun", 1, 0x200, &[2, 4, 4])), Some(200_000));
    assert_eq!(of(50, plain(), begin(), full(*b"trun", 1, 0xf05, &[2, 0, 9, 30, 4, 4, 4, 31, 4, 4, 4])), Some(161_000));
    // Several runs, and a part that does not say when it begins.
    assert_eq!(of(50, plain(), begin(), [bare(), bare()].concat()), Some(1_100_000));
    assert_eq!(of(50, plain(), vec![], bare()), Some(500_000));
    assert_eq!(of(50, plain(), full(*b"tfdt", 1, 0, &[0, 100]), bare()), Some(600_000));
    // Audio that begins before its segment.
    assert_eq!(of(50, plain(), full(*b"tfdt", 1, 0, &[u32::MAX, u32::MAX - 99]), bare()), Some(400_000));
    // More samples than there are, and later versions.
    assert_eq!(of(50, plain(), begin(), full(*b"trun", 1, 0x200, &[3, 4, 4])), None);
    assert_eq!(of(50, plain(), begin(), full(*b"trun", 1, 0xf00, &[u32::MAX])), None);
    assert_eq!(of(50, plain(), full(*b"tfdt", 2, 0, &[0, 100]), bare()), None);
    // A length that no segment has.
    assert_eq!(of(50, plain(), begin(), full(*b"trun", 1, 0, &[u32::MAX])), None);
    assert_eq!(of(u32::MAX, plain(), full(*b"tfdt", 1, 0, &[u32::MAX / 2, u32::MAX]), full(*b"trun", 1, 0, &[u32::MAX])), None);
}

#[test]
fn heads_of_every_form_are_read() {
    let start = header(0, 0, &[(1, 1_000, 0)]);
    let one = part(&[traf(1, 0, &[100; 10])]);
    let moof = [full(*b"mfhd", 0, 0, &[0]), traf(1, 1_000, &[100; 10])].concat();
    let long = [long_boxed(*b"moof", &moof), long_boxed(*b"mdat", &[0; 10])].concat();
    assert_eq!(micros(&[start.clone(), one.clone(), long.clone()].concat()), Some(2_000_000));
    let endless = [boxed(*b"moof", &moof), vec![0, 0, 0, 0], b"mdat and to the end".to_vec()].concat();
    assert_eq!(micros(&[start.clone(), one.clone(), endless].concat()), Some(2_000_000));
    // Boxes of other programs between.
    let between = [boxed(*b"styp", b"msdh"), boxed(*b"sidx", &[0; 40]), boxed(*b"free", &[])].concat();
    assert_eq!(micros(&[start.clone(), between.clone(), one.clone(), between, long.clone()].concat()), Some(2_000_000));
    // What remains of a power cut, and sizes that lie.
    for garbage in [vec![0; 5_000], b"\0\0\0\x04moof".to_vec(), b"\0\0\0\x01moof\0\0\0\0\0\0\0\x0f".to_vec()] {
        assert_eq!(micros(&[start.clone(), one.clone(), garbage, long.clone()].concat()), Some(1_000_000));
    }
    let huge = [b"\0\0\0\x01mdat".as_slice(), &[0xff; 8]].concat();
    assert_eq!(micros(&[start.clone(), one.clone(), boxed(*b"moof", &moof), huge].concat()), Some(1_000_000));
    let no_media = boxed(*b"moof", &moof);
    assert_eq!(micros(&[start, one, no_media].concat()), Some(1_000_000));
}

#[test]
fn a_segment_without_mediamtxs_box_is_measured_as_well() {
    let tracks = [(1, 1_000, 0)];
    let measured = bytes_measured(&header(1, 61_500, &tracks)).unwrap();
    assert_eq!((measured.stream, measured.duration_micros, measured.is_closed), (None, 61_500_000, true));
    // Not known.
    assert_eq!(bytes_measured(&header(0, u32::MAX, &tracks)), Err("it has no complete part yet".into()));
    // Decode times that were not counted from the segment's start.
    let parts = [part(&[traf(1, 5_000_000, &[1_000])]), part(&[traf(1, 5_001_000, &[900])])].concat();
    assert_eq!(micros(&[header(0, 0, &tracks), parts].concat()), Some(1_900_000));
}

#[test]
fn what_is_no_segment_is_told_in_a_sentence() {
    let tracks = [(1, 1_000, 0)];
    let far = [boxed(*b"ftyp", b"isom"), boxed(*b"mdat", &vec![7; 2 << 20]), header(0, 5, &tracks)].concat();
    let long = [boxed(*b"ftyp", b"isom"), boxed(*b"moov", &vec![7; 2 << 20])].concat();
    for (bytes, why) in [
        (b"%PDF-1.7 and what follows it, which is more than a few bytes long".to_vec(), "it does not begin as an MP4 file"),
        (vec![0xff; 100], "it does not begin as an MP4 file"),
        (vec![0; 100_000], "it begins with zeros: its contents were lost, as in a power cut"),
        (boxed(*b"ftyp", b"isom"), "it ends before its header does"),
        (far, "no moov box in its first 1 MiB: it is no fMP4 file"),
        (long, "its moov box is longer than 1 MiB: it is no segment of MediaMTX's"),
        ([boxed(*b"ftyp", b"isom"), vec![0; 5_000]].concat(), "no moov box in its first 1 MiB: it is no fMP4 file"),
        (header(0, 173_000_000, &tracks), "its header claims 48 hours; MediaMTX lets no segment last longer than 24"),
        ([header(0, 0, &[]), part(&[traf(1, 0, &[5])])].concat(), "it has no complete part yet"),
    ] {
        assert_eq!(bytes_measured(&bytes), Err(why.into()));
    }
    // It became shorter after its length was asked for.
    let bytes = sample("32-49-909059");
    assert_eq!(measure(&bytes[..700], 10_393).unwrap().unwrap_err().to_string(), "its header is cut short");
}

#[test]
fn a_file_of_very_many_parts_is_not_walked_to_its_end() {
    let mut bytes = header(0, 0, &[(1, 1_000, 0)]);
    let one = [boxed(*b"moof", &traf(1, 0, &[900])), boxed(*b"mdat", &[])].concat();
    bytes.extend(one.repeat(MAX_BOXES as usize));
    let measured = bytes_measured(&bytes).unwrap();
    assert!(measured.is_estimate && measured.duration_micros == 900_000);
}
