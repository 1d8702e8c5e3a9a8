//! Sessions by chance, and questions about them.

use proptest::prelude::*;
use proptest::sample::Index;

use session_store::domain::detection::{Detection, Picture};
use session_store::domain::query::{SessionKey, SessionQuery, Status, Window};
use session_store::domain::session::{End, Session};
use session_store::domain::time::Timestamp;
use session_store::store::{FrameFile, Store, Transaction};

use crate::place::{DAY, DEVICES, PATHS, SECOND, detection, moment, session, session_id};

const CLASSES: [&str; 5] = ["person", "car", "cat", "perso", "person 2"];
const COLOURS: [&str; 6] = ["Azul", "azul oscuro", "ROJO", "Verde Claro", "Ámbar", "rojo"];

/// A session as the catalogue is to hold it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub session: Session,
    /// Its detections' colours, and whether an enricher found them.
    pub colours: Vec<(Option<usize>, bool)>,
    /// It is first stored open, without classes and with other colours.
    pub in_steps: bool,
}

impl Plan {
    pub fn detections(&self) -> Vec<Detection> {
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

    pub fn fits(&self, query: &SessionQuery) -> bool {
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

pub fn duration() -> impl Strategy<Value = Option<i64>> {
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

pub fn plan() -> impl Strategy<Value = Plan> {
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
pub fn plans(prefix: &'static str, most: usize) -> impl Strategy<Value = Vec<Plan>> {
    prop::collection::vec(plan(), 0..=most).prop_map(move |mut plans| {
        for (n, plan) in plans.iter_mut().enumerate() {
            plan.session.id = session_id(&format!("{prefix}{n}"));
        }
        plans
    })
}

/// One side of a window: about the starts, long after them, or exactly at a session's start or end.
#[derive(Debug, Clone)]
pub enum Side {
    At(i64),
    Of(Index, bool, i64),
}

impl Side {
    pub fn moment(&self, plans: &[Plan]) -> Timestamp {
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

pub fn side() -> impl Strategy<Value = Side> {
    prop_oneof![
        (-10_i64..60).prop_map(|halves| Side::At(halves * SECOND / 2)),
        (0_i64..5000).prop_map(|seconds| Side::At(seconds * SECOND)),
        (-1_i64..110).prop_map(|days| Side::At(days * DAY)),
        (any::<Index>(), any::<bool>(), -1_i64..2).prop_map(|(index, is_end, off)| Side::Of(index, is_end, off)),
    ]
}

pub fn colour_part() -> impl Strategy<Value = String> {
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
pub struct Question {
    pub window: Option<(Side, Side)>,
    pub rest: SessionQuery,
    pub limit: usize,
}

impl Question {
    pub fn query(&self, plans: &[Plan]) -> SessionQuery {
        let window = self.window.as_ref().map(|(from, to)| Window { from: from.moment(plans), to: to.moment(plans) });
        SessionQuery { window, ..self.rest.clone() }
    }
}

pub fn question() -> impl Strategy<Value = Question> {
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
pub fn write(store: &Store, plans: &[Plan]) -> Vec<(SessionKey, Plan)> {
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
pub fn naive(catalogue: &[(SessionKey, Plan)], query: &SessionQuery) -> Vec<Session> {
    let mut found: Vec<_> = catalogue.iter().filter(|(_, plan)| plan.fits(query)).collect();
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    found.into_iter().map(|(_, plan)| plan.session.clone()).collect()
}
