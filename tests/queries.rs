//! The catalogue asked as a library: any question, page by page, equals a naive filter over the same data; deletions,
//! tombstones, held touches and the feed keep their promises.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use session_store::domain::detection::{Detection, Picture, Sighting};
use session_store::domain::ids::{SessionId, TrackId};
use session_store::domain::query::{Page, SessionKey, SessionQuery, Status, Window};
use session_store::domain::session::{End, EndReason, Session};
use session_store::domain::time::Timestamp;
use session_store::runtime::clock::ManualClock;
use session_store::store::{Change, FeedError, FrameFile, Options, Snapshot, Store, Transaction};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 2025-10-11T12:00:00Z.
const BASE: i64 = 1_760_184_000 * SECOND;
const AGE: Duration = Duration::from_secs(90 * 86_400);
const PATHS: [&str; 3] = ["cam", "cam-1", "front door"];
const DEVICES: [&str; 2] = ["dev", "dev-2"];
const CLASSES: [&str; 5] = ["person", "car", "cat", "perso", "person 2"];
const COLOURS: [&str; 6] = ["Azul", "azul oscuro", "ROJO", "Verde Claro", "Ámbar", "rojo"];

/// A store in a folder of its own, by a clock that is moved by hand.
struct Place {
    dir: TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(BASE + DAY)));
        Self { dir: tempfile::tempdir().unwrap(), clock }
    }

    fn open(&self) -> Store {
        open(self.dir.path(), &self.clock)
    }
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> Store {
    let options = Options {
        path: dir.join("store.redb"),
        cache_bytes: 4 << 20,
        touch_interval: Duration::from_secs(3600),
        reserve_bytes: 0,
        tombstone_age: AGE,
    };
    Store::open(options, Arc::<ManualClock>::clone(clock)).unwrap()
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(BASE + micros)
}

fn session_id(text: &str) -> SessionId {
    SessionId::new("session id", text).unwrap()
}

fn track(text: &str) -> TrackId {
    TrackId::new("track id", text).unwrap()
}

fn session(id: &str, start: i64, end: Option<i64>) -> Session {
    Session {
        id: session_id(id),
        device_id: DEVICES[0].into(),
        path: PATHS[0].into(),
        start: moment(start),
        end: end.map(|end| End { at: moment(end), reason: Some(EndReason::Client) }),
        postroll_sec: None,
        reason: None,
        media_connect: None,
        media_start: None,
        media_end: None,
        recommended_start_offset_ms: None,
        configured_classes: Vec::new(),
        detected_classes: Vec::new(),
        created_at: moment(0),
        updated_at: moment(0),
    }
}

fn detection(name: &str, seen: i64) -> Detection {
    let sighting = Sighting { track: track(name), cls: "cup".into(), conf: 0.5, bbox: "{}".into() };
    Detection::first_seen(&sighting, moment(seen), None, moment(seen))
}

/// A session as the catalogue is to hold it.
#[derive(Debug, Clone)]
struct Plan {
    session: Session,
    /// Its detections' colours, and whether an enricher found them.
    colours: Vec<(Option<usize>, bool)>,
    /// It is first stored open, without classes and with other colours.
    in_steps: bool,
}

impl Plan {
    fn detections(&self) -> Vec<Detection> {
        let all = self.colours.iter().enumerate().map(|(n, (colour, enriched))| {
            let mut detection = detection(&format!("t{n}"), 0);
            detection.enriched = *enriched;
            detection.attributes = Some(match colour {
                Some(colour) => format!(r#"{{"color":{{"name":"{}"}}}}"#, COLOURS[*colour]),
                None => r#"{"error":"no color: {\"name\":\"azul\"}"}"#.into(),
            });
            detection.picture = Some(Picture { file: format!("{}.jpg", n / 2), conf: 0.5 });
            detection
        });
        all.collect()
    }

    fn fits(&self, query: &SessionQuery) -> bool {
        let Session { start, end, detected_classes, .. } = &self.session;
        let window =
            query.window.is_none_or(|Window { from, to }| from < to && *start < to && end.is_none_or(|end| end.at >= from));
        let colour = query.color.as_ref().is_none_or(|part| {
            let found = self.colours.iter().filter(|(_, enriched)| *enriched).filter_map(|(colour, _)| *colour);
            found.into_iter().any(|colour| COLOURS[colour].to_lowercase().contains(&part.to_lowercase()))
        });
        window
            && colour
            && query.classes.iter().all(|class| detected_classes.contains(class))
            && query.path.as_ref().is_none_or(|path| *path == self.session.path)
            && query.device_id.as_ref().is_none_or(|device| *device == self.session.device_id)
            && query.status.is_none_or(|status| (status == Status::Open) == end.is_none())
    }
}

fn duration() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        1 => Just(None),
        1 => (-20 * SECOND..0).prop_map(Some),
        1 => (0..3 * SECOND).prop_map(Some),
        // The borders of the classes of duration.
        2 => (0_u32..23, -1_i64..2).prop_map(|(power, off)| Some(2_i64.pow(power) * SECOND + off)),
        2 => (0_i64..40).prop_map(|halves| Some(halves * SECOND / 2)),
        1 => (0_i64..100).prop_map(|days| Some(days * DAY)),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let colours = prop::collection::vec((prop::option::weighted(0.8, 0..COLOURS.len()), prop::bool::weighted(0.8)), 0..4);
    let classes = prop::sample::subsequence(CLASSES.to_vec(), 0..=CLASSES.len());
    (0_i64..40, duration(), 0..PATHS.len(), 0..DEVICES.len(), classes, colours, any::<bool>()).prop_map(
        |(start, duration, path, device, classes, colours, in_steps)| {
            let start = start * SECOND / 2;
            let mut session = session("later", start, duration.map(|duration| start + duration));
            session.path = PATHS[path].into();
            session.device_id = DEVICES[device].into();
            session.detected_classes = classes.into_iter().map(ToOwned::to_owned).collect();
            Plan { session, colours, in_steps }
        },
    )
}

/// Up to so many sessions, each with an id of its own.
fn plans(prefix: &'static str, most: usize) -> impl Strategy<Value = Vec<Plan>> {
    prop::collection::vec(plan(), 0..=most).prop_map(move |mut plans| {
        for (n, plan) in plans.iter_mut().enumerate() {
            plan.session.id = session_id(&format!("{prefix}{n}"));
        }
        plans
    })
}

/// One side of a window: about the starts, long after them, or exactly at a session's start or end.
#[derive(Debug, Clone)]
enum Side {
    At(i64),
    Of(Index, bool, i64),
}

impl Side {
    fn moment(&self, plans: &[Plan]) -> Timestamp {
        match self {
            Self::At(micros) => moment(*micros),
            Self::Of(..) if plans.is_empty() => moment(0),
            Self::Of(index, is_end, off) => {
                let session = &plans[index.index(plans.len())].session;
                session.end.filter(|_| *is_end).map_or(session.start, |end| end.at).plus_micros(*off)
            }
        }
    }
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![
        (-10_i64..60).prop_map(|halves| Side::At(halves * SECOND / 2)),
        (0_i64..5000).prop_map(|seconds| Side::At(seconds * SECOND)),
        (-1_i64..110).prop_map(|days| Side::At(days * DAY)),
        (any::<Index>(), any::<bool>(), -1_i64..2).prop_map(|(index, is_end, off)| Side::Of(index, is_end, off)),
    ]
}

fn colour_part() -> impl Strategy<Value = String> {
    let part = (0..COLOURS.len(), 0_usize..6, 0_usize..6, any::<u64>()).prop_map(|(colour, skip, take, upper)| {
        let part = COLOURS[colour].chars().skip(skip).take(take).enumerate();
        let odd =
            part.map(
                |(n, letter)| {
                    if upper >> n & 1 == 1 { letter.to_uppercase().to_string() } else { letter.to_lowercase().to_string() }
                },
            );
        odd.collect()
    });
    prop_oneof![9 => part, 1 => Just("nowhere".to_owned())]
}

/// A question whose window may depend on the catalogue.
#[derive(Debug, Clone)]
struct Question {
    window: Option<(Side, Side)>,
    rest: SessionQuery,
    limit: usize,
}

impl Question {
    fn query(&self, plans: &[Plan]) -> SessionQuery {
        let window = self.window.as_ref().map(|(from, to)| Window { from: from.moment(plans), to: to.moment(plans) });
        SessionQuery { window, ..self.rest.clone() }
    }
}

fn question() -> impl Strategy<Value = Question> {
    let word =
        |words: &'static [&'static str]| prop::option::weighted(0.25, prop::sample::select(words).prop_map(ToOwned::to_owned));
    let classes = prop_oneof![
        2 => Just(Vec::new()),
        2 => prop::sample::subsequence(CLASSES.to_vec(), 1..=2).prop_shuffle(),
        1 => Just(vec!["unheard of"]),
    ];
    let status = prop::option::weighted(0.3, prop::sample::select(&[Status::Open, Status::Closed][..]));
    let limit = prop_oneof![1_usize..9, Just(1000)];
    (
        prop::option::weighted(0.6, (side(), side())),
        classes,
        prop::option::weighted(0.3, colour_part()),
        word(&["cam", "cam-1", "front door", "ca"]),
        word(&["dev", "dev-2"]),
        status,
        limit,
    )
        .prop_map(|(window, classes, color, path, device_id, status, limit)| {
            let classes = classes.into_iter().map(ToOwned::to_owned).collect();
            let rest = SessionQuery { window: None, classes, color, path, device_id, status };
            Question { window, rest, limit }
        })
}

/// Writes `plans`, and gives each with its key.
fn write(store: &Store, plans: &[Plan]) -> Vec<(SessionKey, Plan)> {
    let all = plans.to_vec();
    let put = move |tx: &mut Transaction<'_>| {
        let mut keys = Vec::new();
        for Plan { session, in_steps, .. } in &all {
            let first =
                if *in_steps { Session { end: None, detected_classes: Vec::new(), ..session.clone() } } else { session.clone() };
            keys.push(tx.add_session(&first)?);
        }
        for (plan, at) in all.iter().zip(&keys) {
            if plan.in_steps {
                // The last close wins.
                let early = plan.session.end.map(|end| End { at: end.at.plus_micros(-100 * SECOND), ..end });
                tx.put_session(*at, &Session { end: early, ..plan.session.clone() })?;
                tx.put_session(*at, &plan.session)?;
            }
            for mut detection in plan.detections() {
                let file = FrameFile { bytes: 1, hash: None };
                let last = detection.clone();
                if plan.in_steps {
                    detection.attributes = Some(r#"{"color":{"name":"Azul"}}"#.into());
                    detection.enriched = true;
                    tx.put_detection(*at, &plan.session.id, &detection, Some(&file))?;
                }
                tx.put_detection(*at, &plan.session.id, &last, Some(&file))?;
            }
        }
        Ok(keys)
    };
    store.write_blocking(put).unwrap().into_iter().zip(plans.iter().cloned()).collect()
}

/// What a list of `query` is to be.
fn naive(catalogue: &[(SessionKey, Plan)], query: &SessionQuery) -> Vec<Session> {
    let mut found: Vec<_> = catalogue.iter().filter(|(_, plan)| plan.fits(query)).collect();
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    found.into_iter().map(|(_, plan)| plan.session.clone()).collect()
}

/// The list of `query`, page by page; `between` is called after each page.
fn walk(store: &Store, query: &SessionQuery, limit: usize, mut between: impl FnMut()) -> Vec<Session> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.read().unwrap().sessions(query, Page { limit, after }).unwrap();
        assert!(page.len() == limit || (page.len() < limit && next.is_none()), "a page of {} of {limit}", page.len());
        all.extend(page);
        let Some(next) = next else { return all };
        after = Some(SessionKey::from_cursor(&next.to_cursor()).unwrap());
        between();
    }
}

/// The feed from `since` on, in pages of `limit`.
fn feed(store: &Store, mut since: u64, limit: usize) -> Vec<(u64, Change)> {
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

fn read(store: &Store) -> Snapshot {
    store.read().unwrap()
}

/// What an entry is about, with what it says of it.
type Said = BTreeMap<(String, Option<String>), String>;

/// The feed's entities; fails where one stands in it twice or a number does not rise.
fn entities(feed: &[(u64, Change)]) -> Said {
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
fn said_of(plans: &[Plan]) -> Said {
    let sessions = plans.iter().map(|plan| ((plan.session.id.to_string(), None), format!("{:?}", plan.session)));
    let detections = plans.iter().flat_map(|plan| {
        let id = plan.session.id.to_string();
        plan.detections().into_iter().map(move |one| ((id.clone(), Some(one.track.as_str().to_owned())), format!("{one:?}")))
    });
    sessions.chain(detections).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_question_page_by_page_equals_a_naive_filter(
        plans in plans("s", 120),
        questions in prop::collection::vec(question(), 10),
    ) {
        let place = Place::new();
        let store = place.open();
        let catalogue = write(&store, &plans);
        for question in questions {
            let query = question.query(&plans);
            prop_assert_eq!(walk(&store, &query, question.limit, || ()), naive(&catalogue, &query), "{:?}", query);
        }
        for (at, plan) in catalogue {
            prop_assert_eq!(read(&store).session(&plan.session.id).unwrap(), Some((at, plan.session)));
        }
        store.close();
    }

    #[test]
    fn while_sessions_are_added_those_that_were_there_come_exactly_once(
        plans in plans("s", 60),
        late in plans("late", 60),
        question in question(),
        limit in 1_usize..9,
    ) {
        let place = Place::new();
        let store = place.open();
        let catalogue = write(&store, &plans);
        let query = question.query(&plans);
        let mut chunks = late.chunks(5);
        let mut all = catalogue.clone();
        let found = walk(&store, &query, limit, || all.extend(write(&store, chunks.next().unwrap_or_default())));
        let expected = naive(&all, &query);
        let mut rest = expected.iter();
        prop_assert!(found.iter().all(|one| rest.any(|other| other == one)), "in order, without strangers: {:?}", found);
        let there_before: Vec<_> = found.into_iter().filter(|one| !one.id.as_str().starts_with("late")).collect();
        prop_assert_eq!(there_before, naive(&catalogue, &query));
        store.close();
    }

    #[test]
    fn a_deleted_session_leaves_a_tombstone_and_nothing_else(
        plans in plans("s", 40),
        doomed in prop::collection::vec(any::<bool>(), 40),
        questions in prop::collection::vec(question(), 8),
        feed_limit in 1_usize..50,
    ) {
        let place = Place::new();
        let store = place.open();
        let catalogue = write(&store, &plans);
        let (gone, kept): (Vec<_>, Vec<_>) = catalogue.into_iter().zip(doomed).partition(|(_, doomed)| *doomed);
        let [gone, kept] = [gone, kept].map(|all| all.into_iter().map(|(one, _)| one).collect::<Vec<_>>());
        let ids: Vec<_> = gone.iter().map(|(_, plan)| plan.session.id.clone()).collect();
        let before = read(&store).feed_head().unwrap();
        // A touch of what is deleted must not bring it back.
        for (at, plan) in &gone {
            store.touch(*at, &plan.detections().iter().map(|one| one.track.clone()).collect::<Vec<_>>(), moment(9 * DAY));
        }
        let doomed = ids.clone();
        let deleted = store.write_blocking(move |tx| doomed.iter().map(|id| tx.delete_session(id)).collect::<Result<Vec<_>, _>>());
        prop_assert!(deleted.unwrap().into_iter().all(|was_there| was_there));
        let again = ids.clone();
        let deleted = store.write_blocking(move |tx| again.iter().map(|id| tx.delete_session(id)).collect::<Result<Vec<_>, _>>());
        prop_assert!(!deleted.unwrap().into_iter().any(|was_there| was_there));
        store.close();
        drop(store);

        let store = place.open();
        for question in questions {
            let query = question.query(&plans);
            prop_assert_eq!(walk(&store, &query, question.limit, || ()), naive(&kept, &query), "{:?}", query);
        }
        let everything = SessionQuery { color: Some(String::new()), ..SessionQuery::default() };
        prop_assert_eq!(walk(&store, &everything, 7, || ()), naive(&kept, &everything));
        let view = read(&store);
        for (at, plan) in &gone {
            prop_assert_eq!(view.session(&plan.session.id).unwrap(), None);
            prop_assert_eq!(view.detections(*at).unwrap(), Vec::new());
        }
        prop_assert_eq!(view.session_count().unwrap(), kept.len() as u64);
        let open = kept.iter().filter(|(_, plan)| plan.session.is_open()).count();
        prop_assert_eq!(view.open_session_count().unwrap(), open as u64);
        let detections: usize = kept.iter().map(|(_, plan)| plan.colours.len()).sum();
        prop_assert_eq!(view.detection_count().unwrap(), detections as u64);
        let files = |plan: &Plan| plan.detections().into_iter().filter_map(|one| one.picture).map(|picture| picture.file).collect();
        let beaten: BTreeSet<(SessionId, String)> = gone
            .iter()
            .flat_map(|(_, plan)| { let all: BTreeSet<String> = files(plan); all.into_iter().map(|file| (plan.session.id.clone(), file)) })
            .collect();
        prop_assert_eq!(view.beaten_frames(None, 1000).unwrap().into_iter().collect::<BTreeSet<_>>(), beaten);

        let kept: Vec<_> = kept.into_iter().map(|(_, plan)| plan).collect();
        let mut expected = said_of(&kept);
        expected.extend(ids.iter().map(|id| ((id.to_string(), None), "deleted".to_owned())));
        prop_assert_eq!(entities(&feed(&store, 0, feed_limit)), expected);
        let since: Vec<_> = feed(&store, before, feed_limit).into_iter().map(|(_, change)| change).collect();
        prop_assert_eq!(since.len(), ids.len());
        prop_assert!(since.iter().zip(&ids).all(|(change, id)| matches!(change, Change::SessionDeleted(gone) if gone == id)));
        drop(view);
        store.close();
    }

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
                    store.write_blocking(move |tx| tx.delete_session(&old.id)).unwrap();
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

/// Adds sessions without end, and gives their keys.
fn add(store: &Store, ids: &[&str]) -> Vec<SessionKey> {
    let sessions: Vec<_> = ids.iter().map(|id| session(id, 0, None)).collect();
    store.write_blocking(move |tx| sessions.iter().map(|one| tx.add_session(one)).collect()).unwrap()
}

fn delete(store: &Store, id: &str) {
    let id = session_id(id);
    assert!(store.write_blocking(move |tx| tx.delete_session(&id)).unwrap());
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
