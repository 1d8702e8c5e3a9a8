//! Lists: any question, page by page, equals a naive filter over the same data, also while sessions come and go.

use std::collections::BTreeSet;

use proptest::prelude::*;

use session_store::domain::ids::SessionId;
use session_store::domain::query::{Page, SessionKey, SessionQuery};
use session_store::domain::session::Session;
use session_store::store::{Change, Store, Tracks};

use crate::feed::{entities, feed, said_of};
use crate::place::{DAY, Place, moment, read};
use crate::plan::{Plan, naive, plans, question, write};

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
        let deleted = store.write_blocking(move |tx| doomed.iter().map(|id| tx.delete_session(id, Tracks::Stay)).collect::<Result<Vec<_>, _>>());
        prop_assert!(deleted.unwrap().into_iter().all(|was_there| was_there));
        let again = ids.clone();
        let deleted = store.write_blocking(move |tx| again.iter().map(|id| tx.delete_session(id, Tracks::Stay)).collect::<Result<Vec<_>, _>>());
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
}
