//! Touches that are held in memory: read at once, committed with the next of their session or at the end.

use std::time::Duration;

use session_store::domain::query::SessionKey;
use session_store::domain::time::Timestamp;
use session_store::store::{Change, Store};

use crate::feed::{entities, feed};
use crate::place::{Place, SECOND, add, detection, moment, read, session, session_id, track};

/// The times of a session's only detection as a read shows them.
fn seen(store: &Store, at: SessionKey) -> (Timestamp, Timestamp, Timestamp) {
    let [only] = &read(store).detections(at).unwrap()[..] else { panic!("one detection") };
    assert_eq!(read(store).detection(at, &only.track).unwrap().as_ref(), Some(only));
    (only.first, only.last, only.updated_at)
}

/// Two sessions, each with the detection `t` seen at second 5.
fn two_sessions(store: &Store) -> [SessionKey; 2] {
    let [a, b] = add(store, &["a", "b"])[..] else { panic!("two keys") };
    store
        .write_blocking(move |tx| {
            tx.put_detection(a, &session_id("a"), &detection("t", 5 * SECOND), None)?;
            tx.put_detection(b, &session_id("b"), &detection("t", 5 * SECOND), None)
        })
        .unwrap();
    [a, b]
}

#[test]
fn held_touches_are_read_before_any_commit_and_committed_with_the_next_of_their_session() {
    let place = Place::new();
    let store = place.open();
    let [a, b] = two_sessions(&store);
    let before = read(&store).feed_head().unwrap();
    for at in [a, b] {
        store.touch(at, &[track("t"), track("unknown")], moment(9 * SECOND));
        store.touch(at, &[track("t")], moment(3 * SECOND));
        store.touch(at, &[track("t")], moment(7 * SECOND));
        assert_eq!(seen(&store, at), (moment(3 * SECOND), moment(9 * SECOND), store.now()));
    }
    assert_eq!(read(&store).feed_head().unwrap(), before, "nothing is committed");

    // A commit that concerns neither carries neither; one of a's carries a's alone.
    let [c] = add(&store, &["c"])[..] else { panic!("one key") };
    assert_eq!(feed(&store, before, 10).len(), 1);
    let before = read(&store).feed_head().unwrap();
    store.write_blocking(move |tx| tx.put_session(a, &session("a", 0, Some(SECOND)))).unwrap();
    let since = feed(&store, before, 10);
    assert_eq!(entities(&since).into_keys().collect::<Vec<_>>(), [("a".into(), None), ("a".into(), Some("t".into()))]);
    let [(_, Change::Session(_)), (_, Change::Detection(_, carried))] = &since[..] else { panic!("{since:?}") };
    assert_eq!((carried.first, carried.last), (moment(3 * SECOND), moment(9 * SECOND)));
    assert_eq!(seen(&store, b), (moment(3 * SECOND), moment(9 * SECOND), store.now()), "b's is still held");

    // What is carried is held no longer: a further commit gives the detection no new number.
    let before = read(&store).feed_head().unwrap();
    store.write_blocking(move |tx| tx.put_session(a, &session("a", 0, Some(2 * SECOND)))).unwrap();
    assert_eq!(feed(&store, before, 10).len(), 1);
    assert_eq!(read(&store).detections(c).unwrap(), []);
}

#[test]
fn closing_the_store_commits_every_held_touch() {
    let place = Place::new();
    let store = place.open();
    let [a, b] = two_sessions(&store);
    let before = read(&store).feed_head().unwrap();
    place.clock.advance(Duration::from_secs(60));
    store.touch(a, &[track("t")], moment(9 * SECOND));
    store.touch(b, &[track("t")], moment(SECOND));
    let touched_at = store.now();
    store.close();
    assert!(store.read().is_err() && store.write_blocking(|_| Ok(())).is_err(), "closed is closed");
    drop(store);

    let store = place.open();
    assert_eq!(seen(&store, a), (moment(5 * SECOND), moment(9 * SECOND), touched_at));
    assert_eq!(seen(&store, b), (moment(SECOND), moment(5 * SECOND), touched_at));
    assert_eq!(feed(&store, before, 10).len(), 2, "each took one number of the feed");
}

#[test]
fn a_touch_that_widens_nothing_takes_no_number_of_the_feed() {
    let place = Place::new();
    let store = place.open();
    let [a, _] = two_sessions(&store);
    let (before, as_it_was) = (read(&store).feed_head().unwrap(), seen(&store, a));
    store.touch(a, &[track("t")], moment(5 * SECOND));
    store.close();
    drop(store);
    let store = place.open();
    assert_eq!((read(&store).feed_head().unwrap(), seen(&store, a)), (before, as_it_was));
}
