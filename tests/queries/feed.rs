//! The feed: an entity once, at its newest number; tombstones and what readers are told of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use session_store::domain::detection::Detection;
use session_store::domain::query::SessionKey;
use session_store::domain::session::{End, Session};
use session_store::store::{Change, FeedError, Store, Tracks};

use crate::place::{AGE, Place, SECOND, add, delete, detection, moment, read, session, session_id};
use crate::plan::Plan;

/// The feed from `since` on, in pages of `limit`.
pub fn feed(store: &Store, mut since: u64, limit: usize) -> Vec<(u64, Change)> {
    let mut all = Vec::new();
    loop {
        let page = read(store).changes(since, None, limit).unwrap();
        if page.changes.is_empty() {
            assert_eq!(page.next, read(store).feed_head().unwrap());
            return all;
        }
        all.extend(page.changes);
        since = page.next;
    }
}

/// What an entry is about, with what it says of it.
pub type Said = BTreeMap<(String, Option<String>), String>;

/// The feed's entities; fails where one stands in it twice or a number does not rise.
pub fn entities(feed: &[(u64, Change)]) -> Said {
    let (mut said, mut newest) = (Said::new(), 0);
    for (seq, change) in feed {
        assert!(*seq > newest, "{seq} after {newest}");
        newest = *seq;
        let (entity, record) = match change {
            Change::Session(session) => ((session.id.to_string(), None), format!("{session:?}")),
            Change::Detection(id, detection) => {
                ((id.to_string(), Some(detection.track.as_str().to_owned())), format!("{detection:?}"))
            }
            Change::SessionDeleted(id) => ((id.to_string(), None), "deleted".to_owned()),
        };
        assert!(said.insert(entity, record).is_none(), "twice in the feed: {change:?}");
    }
    said
}

/// What the feed is to say of `plans`.
pub fn said_of(plans: &[Plan]) -> Said {
    let sessions = plans.iter().map(|plan| ((plan.session.id.to_string(), None), format!("{:?}", plan.session)));
    let detections = plans.iter().flat_map(|plan| {
        let id = plan.session.id.to_string();
        plan.detections().into_iter().map(move |one| ((id.clone(), Some(one.track.as_str().to_owned())), format!("{one:?}")))
    });
    sessions.chain(detections).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written in whatever order, the feed holds each entity once and as it is now.
    #[test]
    fn an_entity_stands_in_the_feed_once_at_its_newest_number(
        steps in prop::collection::vec((0_u8..6, 0_usize..6, 0_usize..3, 0_i64..500), 0..32),
        sinces in prop::collection::vec(any::<Index>(), 4),
        limit in 1_usize..20,
    ) {
        let place = Place::new();
        let store = place.open();
        let mut sessions: BTreeMap<usize, (SessionKey, Session)> = BTreeMap::new();
        let mut detections: BTreeMap<(usize, usize), Detection> = BTreeMap::new();
        // The feed's number after each step that an entity was changed in.
        let mut changed: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
        let mut dead: BTreeSet<usize> = BTreeSet::new();
        for (step, s, t, value) in steps {
            let id = format!("s{s}");
            let (session_name, track_name) = ((id.clone(), None), (id.clone(), Some(format!("t{t}"))));
            let is_there = sessions.get(&s).cloned();
            match (step, is_there) {
                (_, None) if dead.contains(&s) => continue,
                (_, None) => {
                    let new = session(&id, value, None);
                    let adding = new.clone();
                    let at = store.write_blocking(move |tx| tx.add_session(&adding)).unwrap();
                    sessions.insert(s, (at, new));
                }
                (0 | 1, Some((at, mut old))) => {
                    old.end = Some(End { at: moment(value * SECOND), reason: None });
                    sessions.insert(s, (at, old.clone()));
                    store.write_blocking(move |tx| tx.put_session(at, &old)).unwrap();
                }
                (2..=4, Some((at, old))) => {
                    let seen = detection(&format!("t{t}"), value);
                    detections.insert((s, t), seen.clone());
                    store.write_blocking(move |tx| tx.put_detection(at, &old.id, &seen, None)).unwrap();
                    changed.insert(track_name, read(&store).feed_head().unwrap());
                    continue;
                }
                (_, Some((_, old))) => {
                    // Seldom, or little is left.
                    if value > 100 {
                        continue;
                    }
                    sessions.remove(&s);
                    dead.insert(s);
                    detections.retain(|(of, _), _| *of != s);
                    changed.retain(|(of, _), _| *of != id);
                    store.write_blocking(move |tx| tx.delete_session(&old.id, Tracks::Stay)).unwrap();
                }
            }
            changed.insert(session_name, read(&store).feed_head().unwrap());
        }
        let all = feed(&store, 0, limit);
        let mut expected: Said = sessions.values().map(|(_, one)| ((one.id.to_string(), None), format!("{one:?}"))).collect();
        expected.extend(detections.iter().map(|((s, t), one)| ((format!("s{s}"), Some(format!("t{t}"))), format!("{one:?}"))));
        expected.extend(dead.iter().map(|s| ((format!("s{s}"), None), "deleted".to_owned())));
        prop_assert_eq!(&entities(&all), &expected);
        // A reader that begins in the middle misses nothing newer than its place.
        let head = read(&store).feed_head().unwrap();
        for since in sinces {
            let since = since.index(usize::try_from(head).unwrap() + 1) as u64;
            let newer: BTreeSet<_> = entities(&feed(&store, since, limit)).into_keys().collect();
            let expected: BTreeSet<_> = changed.iter().filter(|(_, seq)| **seq > since).map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(newer, expected);
        }
        store.close();
    }
}

/// The feed's numbers of tombstones, with their ids.
fn tombstones(store: &Store) -> Vec<(u64, String)> {
    let all = feed(store, 0, 1000).into_iter();
    all.filter_map(|(seq, change)| match change {
        Change::SessionDeleted(id) => Some((seq, id.to_string())),
        _ => None,
    })
    .collect()
}

fn is_restarted(store: &Store, since: u64) -> bool {
    matches!(read(store).changes(since, None, 10), Err(FeedError::Restarted))
}

#[test]
fn old_tombstones_are_dropped_and_a_reader_from_before_them_must_begin_again() {
    let place = Place::new();
    let store = place.open();
    add(&store, &["a", "b", "c", "d"]);
    let before = read(&store).feed_head().unwrap();
    delete(&store, "a");
    delete(&store, "b");
    place.clock.advance(AGE.saturating_sub(Duration::from_secs(1)));
    delete(&store, "c");
    let [a, b, c] = &tombstones(&store)[..] else { panic!("three tombstones") };
    assert_eq!([&*a.1, &*b.1, &*c.1], ["a", "b", "c"]);
    let drop_old = |limit| {
        let before = store.now().plus_micros(-i64::try_from(AGE.as_micros()).unwrap());
        store.write_blocking(move |tx| tx.drop_tombstones(before, limit)).unwrap()
    };
    assert_eq!(drop_old(100), 0, "none is old enough yet");
    assert!(!is_restarted(&store, before) && !is_restarted(&store, 1));

    place.clock.advance(Duration::from_secs(2));
    assert_eq!((drop_old(1), drop_old(100), drop_old(100)), (1, 1, 0), "no more at once than asked for");
    assert_eq!(tombstones(&store), std::slice::from_ref(c));
    for since in [1, before, a.0, b.0 - 1] {
        assert!(is_restarted(&store, since), "{since} never heard of b's end");
    }
    assert_eq!(feed(&store, b.0, 10).len(), 1, "one that did goes on");
    assert_eq!(entities(&feed(&store, 0, 10)).into_keys().map(|(id, _)| id).collect::<Vec<_>>(), ["c", "d"]);
    assert!(is_restarted(&store, c.0 + 1), "beyond the newest number");
}

/// A reader that begins at 0 sees everything. While it was on its way through what is older than a deletion that was forgotten, each of
/// its pages was told "Feed restarted", at the same place whenever it began again: on a store with enough records it never arrived.
#[test]
fn a_reader_that_began_behind_a_deletion_is_not_sent_back_when_it_is_forgotten() {
    let place = Place::new();
    let store = place.open();
    add(&store, &["a", "b", "c", "d", "e"]);
    let early = read(&store).changes(0, None, 2).unwrap();
    assert_eq!((early.next, early.began), (2, None), "nothing was deleted yet");
    delete(&store, "a");
    let on_its_way = read(&store).changes(0, None, 2).unwrap();
    assert_eq!(on_its_way.began, Some(6));
    add(&store, &["f"]);
    place.clock.advance(AGE + Duration::from_secs(1));
    store.write_blocking(|tx| tx.drop_tombstones(tx.now(), 10)).unwrap();
    let behind_it = read(&store).changes(0, None, 2).unwrap();
    let mut seen = Vec::new();
    for (page, first) in [(on_its_way, "b"), (behind_it, "b")] {
        let (mut page, mut ids) = (page, Vec::new());
        while !page.changes.is_empty() {
            ids.extend(entities(&page.changes).into_keys().map(|(id, _)| id));
            page = read(&store).changes(page.next, page.began, 2).unwrap();
        }
        assert_eq!(ids[0], first);
        seen.push(ids);
    }
    assert_eq!(seen, [["b", "c", "d", "e", "f"]; 2]);
    let is_told = |began| matches!(read(&store).changes(early.next, began, 2), Err(FeedError::Restarted));
    assert!(is_told(early.began) && is_told(Some(5)), "it knows a, and would never hear of its end");
    assert!(is_told(Some(1000)), "no feed of this store ended there");
}

#[test]
fn the_feeds_numbers_go_on_when_the_newest_entry_was_a_tombstone_that_is_dropped() {
    let place = Place::new();
    let store = place.open();
    add(&store, &["a"]);
    delete(&store, "a");
    let head = read(&store).feed_head().unwrap();
    store.close();
    drop(store);
    place.clock.advance(AGE + Duration::from_secs(1));
    // The writer looks for old ones first of all.
    let store = place.open();
    let [at] = add(&store, &["b"])[..] else { panic!("one key") };
    assert_eq!(tombstones(&store), []);
    assert!(at.number > head, "{} was given before", at.number);
    assert!(is_restarted(&store, 1) && !is_restarted(&store, head));
    assert_eq!(feed(&store, 0, 10).len(), 1);
    assert_eq!(*store.feed_head().borrow(), head + 1);
}

#[test]
fn an_id_may_come_again_after_its_deletion() {
    let place = Place::new();
    let store = place.open();
    let [first] = add(&store, &["a"])[..] else { panic!("one key") };
    delete(&store, "a");
    let [second] = add(&store, &["a"])[..] else { panic!("one key") };
    assert!(second.number > first.number);
    assert_eq!(read(&store).session(&session_id("a")).unwrap().map(|(at, _)| at), Some(second));
    let all: Vec<_> = feed(&store, 0, 10).into_iter().map(|(_, change)| change).collect();
    assert!(matches!(&all[..], [Change::SessionDeleted(_), Change::Session(_)]), "its end comes before its second life: {all:?}");
}
