use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const ONE: [u8; 16] = [1; 16];
const OTHER: [u8; 16] = [2; 16];

fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(millis * 1000)
}

/// A segment from and to these milliseconds.
fn segment(start: i64, end: i64, state: State) -> Placed {
    Placed { start: at(start), end: at(end), state, stream: None }
}

impl Placed {
    /// The segment of this number in a stream whose decode time began at the moment 0.
    fn of(self, id: [u8; 16], number: u64) -> Self {
        let dts = self.start.micros() * 1000;
        self.decoded(id, number, dts / 1_000_000)
    }

    /// The same with a decode time in milliseconds.
    fn decoded(self, id: [u8; 16], number: u64, dts: i64) -> Self {
        let ntp = self.start.micros() * 1000;
        Self { stream: Some(Stream { id, number, dts_nanos: dts * 1_000_000, ntp_nanos: ntp }), ..self }
    }
}

/// Spans and gaps between these milliseconds, each as `from-to` with a gap's cause, in order.
fn shown(segments: &[Placed], from: i64, to: i64) -> String {
    let coverage = cover(segments, at(from), at(to));
    let millis = |at: Timestamp| at.micros() / 1000;
    let mut all: Vec<_> = coverage.spans.iter().map(|span| (span.start, span.end, "video")).collect();
    all.extend(coverage.gaps.iter().map(|gap| (gap.start, gap.end, gap.cause.as_str())));
    all.sort();
    let all: Vec<_> = all.into_iter().map(|(start, end, what)| format!("{}-{} {what}", millis(start), millis(end))).collect();
    all.join(", ")
}

use State::{Complete, Deleted, Estimated, Live, Truncated};

/// The six segments of `cam-local` in the samples; MediaMTX lists two spans, of 15.895294 and 7.911954 seconds.
#[test]
fn the_sample_is_covered_as_mediamtx_lists_it() {
    let placed = |ntp: i64, millis: i64, state, id, number, dts: i64| {
        let start = Timestamp::from_micros(ntp / 1000);
        let stream = Some(Stream { id, number, dts_nanos: dts * 1_000_000_000, ntp_nanos: ntp });
        Placed { start, end: start.plus_micros(millis * 1000), state, stream }
    };
    let segments = [
        placed(1_795_433_555_013_765_584, 5_000, Complete, ONE, 0, 0),
        placed(1_795_433_559_909_135_891, 5_000, Complete, ONE, 1, 5),
        placed(1_795_433_564_909_135_891, 5_000, Complete, ONE, 2, 10),
        placed(1_795_433_569_909_059_579, 1_000, Truncated, ONE, 3, 15),
        placed(1_795_433_645_945_758_588, 5_475, Complete, OTHER, 0, 0),
        placed(1_795_433_650_822_712_149, 3_035, Complete, OTHER, 1, 5),
    ];
    let from = segments[0].start;
    let found = cover(&segments, from, segments[5].end);
    let lengths: Vec<_> = found.spans.iter().map(|span| span.end.micros() - span.start.micros()).collect();
    assert_eq!(lengths, [15_895_294, 7_911_954]);
    assert_eq!(found.covered_micros, 15_895_294 + 7_911_954);
    assert_eq!((found.spans[0].start, found.spans[1].start), (from, segments[4].start));
    let gaps: Vec<_> = found.gaps.iter().map(|gap| (gap.start, gap.end, gap.cause)).collect();
    assert_eq!(gaps, [(segments[3].end, segments[4].start, Cause::Truncated)]);
}

#[test]
fn consecutive_numbers_touch_however_the_clocks_drift() {
    for next in [4_400, 4_900, 5_000, 5_105, 5_600] {
        let segments = [segment(0, 5_000, Complete).decoded(ONE, 0, 0), segment(next, 9_000, Complete).decoded(ONE, 1, 5_000)];
        assert_eq!(shown(&segments, 0, 9_000), "0-9000 video", "{next}");
    }
    // A short last one, whose predecessor's sound lasts longer, ends it all the same.
    let segments = [segment(0, 5_475, Complete).of(ONE, 0), segment(4_900, 5_200, Complete).of(ONE, 1)];
    assert_eq!(shown(&segments, 0, 6_000), "0-5200 video, 5200-6000 no_recording");
    // Without the box of newer versions what is near is joined.
    let segments = [segment(0, 5_000, Complete), segment(5_900, 9_000, Estimated), segment(10_100, 11_000, Estimated)];
    assert_eq!(shown(&segments, 0, 11_000), "0-9000 video, 9000-10100 no_recording, 10100-11000 video");
}

#[test]
fn every_gap_has_its_cause() {
    let first = || segment(0, 5_000, Complete).of(ONE, 0);
    let cut = || segment(0, 5_000, Truncated).of(ONE, 0);
    let after = |one: Placed, next: Placed| shown(&[one, next], 0, 20_000);
    let gap = |cause: &str| format!("0-5000 video, 5000-10000 {cause}, 10000-20000 video");
    let later = || segment(10_000, 20_000, Complete);
    assert_eq!(after(first(), later().of(OTHER, 0)), gap("recorder_restart"));
    assert_eq!(after(first(), later().of(ONE, 2)), gap("missing_segment"));
    assert_eq!(after(cut(), later().of(ONE, 2)), gap("missing_segment"));
    assert_eq!(after(cut(), later().of(OTHER, 0)), gap("truncated"));
    assert_eq!(after(cut(), later().of(ONE, 1)), gap("truncated"));
    assert_eq!(after(cut(), later()), gap("truncated"));
    assert_eq!(after(first(), later()), gap("no_recording"));
    assert_eq!(after(first(), later().of(ONE, 1)), gap("no_recording"));
    // Five seconds of decode time, ten on the wall.
    assert_eq!(after(first(), later().decoded(ONE, 1, 5_000)), gap("clock_jump"));
    // What was cut off ends where it ends, however near the next is.
    let near = segment(5_010, 9_000, Complete).of(ONE, 1);
    assert_eq!(shown(&[cut(), near], 0, 9_000), "0-5000 video, 5000-5010 truncated, 5010-9000 video");
    let other = segment(5_010, 9_000, Complete).of(OTHER, 0);
    assert_eq!(shown(&[first(), other], 0, 9_000), "0-5000 video, 5000-5010 recorder_restart, 5010-9000 video");
}

#[test]
fn edges_of_the_window_have_their_causes() {
    let one = |state| [segment(2_000, 5_000, state).of(ONE, 0)];
    assert_eq!(shown(&[], 0, 9_000), "0-9000 no_recording");
    assert_eq!(shown(&one(Complete), 0, 9_000), "0-2000 not_started, 2000-5000 video, 5000-9000 no_recording");
    assert_eq!(shown(&one(Live), 0, 9_000), "0-2000 not_started, 2000-5000 video, 5000-9000 not_yet");
    assert_eq!(shown(&one(Truncated), 4_000, 9_000), "4000-5000 video, 5000-9000 truncated");
    assert_eq!(shown(&one(Deleted), 0, 9_000), "0-2000 not_started, 2000-5000 deleted, 5000-9000 no_recording");
    assert_eq!(shown(&one(Complete), 3_000, 4_000), "3000-4000 video");
    assert_eq!(shown(&one(Complete), 6_000, 9_000), "6000-9000 no_recording");
    assert_eq!(shown(&one(Complete), 0, 1_000), "0-1000 not_started");
    assert_eq!(shown(&one(Complete), 4_000, 4_000), "");
    assert_eq!(shown(&one(Complete), 4_000, 3_000), "");
    // Neighbours outside of the window tell more.
    let two = [segment(0, 2_000, Complete).of(ONE, 0), segment(9_000, 9_500, Complete).of(OTHER, 0)];
    assert_eq!(shown(&two, 3_000, 8_000), "3000-8000 recorder_restart");
    let two = [segment(0, 2_000, Deleted).of(ONE, 0), segment(9_000, 9_500, Complete).of(OTHER, 0)];
    assert_eq!(shown(&two, 3_000, 8_000), "3000-8000 recorder_restart");
}

#[test]
fn what_was_deleted_is_a_gap_between_what_is_left() {
    let complete = |start, end, number| segment(start, end, Complete).of(ONE, number);
    let deleted = |start, end, number| segment(start, end, Deleted).of(ONE, number);
    // With the overlaps and holes of drift.
    for (start, end) in [(5_000, 10_000), (4_800, 10_200), (5_300, 9_700)] {
        let segments = [complete(0, 5_000, 0), deleted(start, end, 1), complete(10_000, 15_000, 2)];
        assert_eq!(shown(&segments, 0, 15_000), "0-5000 video, 5000-10000 deleted, 10000-15000 video", "{start}-{end}");
    }
    let segments = [complete(0, 5_000, 0), deleted(5_000, 10_000, 1), deleted(10_050, 15_000, 2), complete(20_000, 25_000, 4)];
    let expected = "0-5000 video, 5000-15000 deleted, 15000-20000 missing_segment, 20000-25000 video";
    assert_eq!(shown(&segments, 0, 25_000), expected);
    // Deleted by age: the oldest go first.
    let segments = [deleted(0, 5_000, 0), deleted(5_000, 10_000, 1), complete(9_900, 15_000, 2)];
    assert_eq!(shown(&segments, 2_000, 15_000), "2000-9900 deleted, 9900-15000 video");
    // A restart between.
    let segments = [complete(0, 5_000, 0), segment(8_000, 9_000, Deleted).of(OTHER, 0)];
    let expected = "0-5000 video, 5000-8000 recorder_restart, 8000-9000 deleted, 9000-9500 no_recording";
    assert_eq!(shown(&segments, 0, 9_500), expected);
}

/// The clocks of the machine are set back an hour: the stream goes on over what was recorded an hour before.
#[test]
fn a_clock_that_is_set_covers_a_time_once() {
    const HOUR: i64 = 3_600_000;
    let before = segment(0, 2 * HOUR, Complete).decoded(ONE, 0, 0);
    let again = segment(HOUR, 2 * HOUR + 1_000, Live).decoded(ONE, 1, 2 * HOUR);
    let found = cover(&[again.clone(), before.clone()], at(0), at(2 * HOUR + 1_000));
    assert_eq!((found.covered_micros, found.gaps.len()), ((2 * HOUR + 1_000) * 1000, 0));
    // Forward: an hour that never was.
    let ahead = segment(3 * HOUR, 4 * HOUR, Complete).decoded(ONE, 1, 2 * HOUR);
    let expected = "0-7200000 video, 7200000-10800000 clock_jump, 10800000-14400000 video";
    assert_eq!(shown(&[before, ahead], 0, 4 * HOUR), expected);
}

fn segments() -> impl Strategy<Value = Vec<Placed>> {
    let one = (0_i64..60_000, 0_i64..12_000, 0_usize..5, prop::option::of((0_u8..3, 0_u64..8, 0_i64..60_000)));
    let one = one.prop_map(|(start, length, state, stream)| {
        let state = [Complete, Live, Truncated, Estimated, Deleted][state];
        let placed = segment(start, start + length, state);
        match stream {
            Some((id, number, dts)) => placed.decoded([id; 16], number, dts),
            None => placed,
        }
    });
    let by_chance = prop::collection::vec(one, 0..14);
    // What MediaMTX does: numbers, lengths of about 5 s, drift; some deleted or never seen.
    let stream = prop::collection::vec((0_i64..600, -300_i64..300, 0_usize..8), 1..14).prop_map(|all| {
        let placed = all.iter().enumerate().filter(|(_, (.., fate))| *fate != 0).map(|(number, (longer, drift, fate))| {
            let begin = i64::try_from(number).unwrap() * 5_000;
            let state = if *fate == 1 { Deleted } else { Complete };
            segment(begin + drift, begin + 5_000 + longer, state).decoded(ONE, number as u64, begin)
        });
        placed.collect()
    });
    prop_oneof![by_chance, stream]
}

/// Spans and gaps in order.
fn tiles(coverage: &Coverage) -> Vec<(Timestamp, Timestamp, Option<Cause>)> {
    let spans = coverage.spans.iter().map(|span| (span.start, span.end, None));
    let mut all: Vec<_> = spans.chain(coverage.gaps.iter().map(|gap| (gap.start, gap.end, Some(gap.cause)))).collect();
    all.sort_by_key(|(start, end, _)| (*start, *end));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn spans_and_gaps_are_the_whole_time(all in segments(), from in 0_i64..70_000, length in 0_i64..70_000) {
        let to = from + length;
        let found = cover(&all, at(from), at(to));
        let mut cursor = at(from);
        for (start, end, _) in tiles(&found) {
            prop_assert!(start == cursor && end > start, "{start} follows {cursor}");
            cursor = end;
        }
        prop_assert_eq!(cursor, at(to));
        let sum: i64 = found.spans.iter().map(|span| span.end.micros() - span.start.micros()).sum();
        prop_assert_eq!(sum, found.covered_micros);
    }

    /// A window says of its time what a larger one says of it.
    #[test]
    fn two_halves_make_the_whole(all in segments(), from in 0_i64..70_000, first in 1_i64..40_000, second in 1_i64..40_000) {
        let (from, middle, to) = (at(from), at(from + first), at(from + first + second));
        let whole = cover(&all, from, to);
        let halves = [cover(&all, from, middle), cover(&all, middle, to)];
        prop_assert_eq!(halves[0].covered_micros + halves[1].covered_micros, whole.covered_micros);
        let what = |coverages: &[Coverage], moment: Timestamp| {
            let all: Vec<_> = coverages.iter().flat_map(tiles).collect();
            all.into_iter().find(|(start, end, _)| *start <= moment && moment < *end).map(|(.., what)| what)
        };
        let step = (to.micros() - from.micros()) / 200 + 1;
        for moment in (0..200).map(|index| from.plus_micros(index * step)).filter(|moment| *moment < to) {
            prop_assert_eq!(what(std::slice::from_ref(&whole), moment), what(&halves, moment), "at {}", moment);
        }
    }

    #[test]
    fn the_order_of_the_segments_is_none(all in segments(), turn in 0_usize..14) {
        // Two that claim the same number are settled by chance.
        let mut numbers = HashSet::new();
        let mut all: Vec<_> = all.into_iter().filter(|segment| numbers.insert(segment.stream.map_or((segment.start, [0; 16], 0), |stream| (at(0), stream.id, stream.number)))).collect();
        let found = cover(&all, at(0), at(70_000));
        let turn = turn.min(all.len());
        all.rotate_left(turn);
        prop_assert_eq!(&found, &cover(&all, at(0), at(70_000)));
        all.reverse();
        prop_assert_eq!(&found, &cover(&all, at(0), at(70_000)));
    }

    /// Nothing is covered that no segment, with its drift, covers; and what one covers up to the next is.
    #[test]
    fn what_is_covered_is_what_segments_hold(all in segments(), moment in 0_i64..70_000) {
        let found = cover(&all, at(0), at(70_000));
        let is_covered = found.spans.iter().any(|span| span.start <= at(moment) && at(moment) < span.end);
        let present: Vec<_> = all.iter().filter(|segment| segment.state != Deleted).collect();
        let near = present.iter().any(|segment| {
            segment.start <= at(moment) && at(moment) < segment.end.plus_micros(TOLERANCE_MICROS)
        });
        prop_assert!(near || !is_covered);
        let starts: Vec<_> = present.iter().map(|segment| segment.start).collect();
        let held = present.iter().any(|segment| {
            let next = starts.iter().filter(|start| **start > segment.start).min();
            segment.start <= at(moment) && at(moment) < segment.end && next.is_none_or(|next| at(moment) < *next)
        });
        prop_assert!(is_covered || !held);
    }
}
