//! The URL map.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderMap, Method};
use warp::filters::BoxedFilter;
use warp::filters::path::FullPath;
use warp::{Filter, Rejection};

use crate::domain::hook::Kind;

use super::body::{FaultNote, read_json};
use super::error::ApiError;
use super::reply::{Carrier, Reply};
use super::{
    Api, backup, changes, enrichment, frames, health, holds, hooks, ingest, intake, recordings, retention, sessions, tracks,
    verify,
};

/// A JSON object that came as a body.
pub type Json = serde_json::Map<String, serde_json::Value>;

/// An address: its path, where `:` marks a value, and the methods it takes (HEAD comes with GET).
pub(super) struct Address(&'static str, &'static str);

const SESSIONS: Address = Address("/sessions", "GET");
const SESSIONS_RANGE: Address = Address("/sessions/range", "GET");
const SESSIONS_OPEN: Address = Address("/sessions/open", "POST");
const SESSIONS_CLOSE: Address = Address("/sessions/close", "POST");
const SESSION: Address = Address("/sessions/:id", "GET");
const SESSION_RECORDINGS: Address = Address("/sessions/:id/recordings", "GET");
const RECORDINGS: Address = Address("/recordings", "GET");
const RECORDINGS_SUMMARY: Address = Address("/recordings/summary", "GET");
const TRACK_INDEX: Address = Address("/sessions/:id/tracks/index", "GET");
const TRACK_INDEX_JSON: Address = Address("/sessions/:id/tracks/index.json", "GET");
const TRACK_META: Address = Address("/sessions/:id/tracks/meta", "GET");
const TRACK_META_JSON: Address = Address("/sessions/:id/tracks/meta.json", "GET");
const TRACK_SEGMENT: Address = Address("/sessions/:id/tracks/:segment", "GET");
const ATTRIBUTES: Address = Address("/sessions/:id/detections/:track/attributes", "PATCH");
const HOLD: Address = Address("/sessions/:id/hold", "POST");
const RELEASE: Address = Address("/sessions/:id/hold", "DELETE");
const HOLDS: Address = Address("/holds", "GET");
const RETENTION_PLAN: Address = Address("/retention/plan", "GET");
const PENDING: Address = Address("/enrichment/pending", "GET");
pub(super) const IMPORT: Address = Address("/import", "POST");
pub(super) const IMPORT_FRAME: Address = Address("/import/frames/:id/:file", "PUT");
const INGEST: Address = Address("/ingest", "POST");
const DETECTIONS: Address = Address("/ingest/detections/:id", "GET");
const FRAME: Address = Address("/frames/:id/:file", "GET");
const HOOK_PUBLISH: Address = Address("/hooks/mediamtx/publish", "POST");
const HOOK_SEGMENT_CREATE: Address = Address("/hooks/mediamtx/record/segment/create", "POST");
const HOOK_SEGMENT_COMPLETE: Address = Address("/hooks/mediamtx/record/segment/complete", "POST");
const CHANGES: Address = Address("/changes", "GET");
const EXPORT: Address = Address("/export", "GET");
const BACKUP: Address = Address("/backup", "GET");
const VERIFY: Address = Address("/verify", "GET");
const HEALTH: Address = Address("/health", "GET");

/// The first that fits a path is the one that is meant.
const ADDRESSES: [&Address; 32] = [
    &SESSIONS,
    &SESSIONS_RANGE,
    &SESSIONS_OPEN,
    &SESSIONS_CLOSE,
    &SESSION,
    &SESSION_RECORDINGS,
    &RECORDINGS,
    &RECORDINGS_SUMMARY,
    &TRACK_INDEX,
    &TRACK_INDEX_JSON,
    &TRACK_META,
    &TRACK_META_JSON,
    &TRACK_SEGMENT,
    &ATTRIBUTES,
    &HOLD,
    &RELEASE,
    &HOLDS,
    &RETENTION_PLAN,
    &PENDING,
    &IMPORT,
    &IMPORT_FRAME,
    &INGEST,
    &DETECTIONS,
    &FRAME,
    &HOOK_PUBLISH,
    &HOOK_SEGMENT_CREATE,
    &HOOK_SEGMENT_COMPLETE,
    &CHANGES,
    &EXPORT,
    &BACKUP,
    &VERIFY,
    &HEALTH,
];

impl Address {
    /// The raw values at the marked places, where `path` is this address. A slash at the end is ignored.
    fn values(&self, path: &str) -> Option<Vec<String>> {
        let mut values = Vec::new();
        let mut given = path.split('/').peekable();
        for wanted in self.0.split('/') {
            let part = given.next()?;
            if wanted.starts_with(':') {
                values.push(part.to_owned());
            } else if part != wanted {
                return None;
            }
        }
        let ends_well = match given.next() {
            None => true,
            Some(rest) => rest.is_empty() && given.next().is_none(),
        };
        ends_well.then_some(values)
    }
}

/// The methods that `path` takes, for `Allow`; `None` where it is no address.
pub fn allowed(path: &str) -> Option<String> {
    let mut methods: Vec<&str> = Vec::new();
    for address in ADDRESSES.iter().filter(|address| address.values(path).is_some()) {
        methods.push(address.1);
    }
    if methods.is_empty() {
        return None;
    }
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.dedup();
    Some(methods.join(", "))
}

/// Whether `path` is a hook's.
pub fn is_hook(path: &str) -> bool {
    [HOOK_PUBLISH, HOOK_SEGMENT_CREATE, HOOK_SEGMENT_COMPLETE].iter().any(|address| address.values(path).is_some())
}

/// Whether `path` is `/health`.
pub fn is_health(path: &str) -> bool {
    HEALTH.values(path).is_some()
}

/// The address of a hook.
pub fn of_hook(kind: Kind) -> &'static str {
    match kind {
        Kind::Publish => HOOK_PUBLISH.0,
        Kind::SegmentCreate => HOOK_SEGMENT_CREATE.0,
        Kind::SegmentComplete => HOOK_SEGMENT_COMPLETE.0,
    }
}

/// What ends a request before its handler.
#[derive(Debug)]
struct Refused(ApiError);

impl warp::reject::Reject for Refused {}

/// The values of `address`, where path and method are its.
pub(super) fn at(address: &'static Address) -> impl Filter<Extract = (Vec<String>,), Error = Rejection> + Clone {
    warp::path::full().and(warp::method()).and_then(move |path: FullPath, method: Method| {
        let values = (method.as_str() == address.1).then(|| address.values(path.as_str())).flatten();
        async move { values.ok_or_else(warp::reject::not_found) }
    })
}

pub(super) fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Clone {
    warp::query::raw().or_else(|_| async { Ok::<_, Infallible>((String::new(),)) })
}

pub(super) fn note() -> impl Filter<Extract = (FaultNote,), Error = Infallible> + Clone {
    warp::ext::optional::<FaultNote>().map(Option::unwrap_or_default)
}

/// A JSON body, once `check` has let the request in.
fn json(
    api: &Arc<Api>,
    check: fn(&Api, &HeaderMap) -> Result<(), ApiError>,
) -> impl Filter<Extract = (Result<Json, ApiError>,), Error = Rejection> + Clone + use<> {
    let api = Arc::clone(api);
    warp::header::headers_cloned().and(note()).and(warp::body::stream()).then(move |headers: HeaderMap, note: FaultNote, body| {
        let api = Arc::clone(&api);
        async move {
            check(&api, &headers)?;
            read_json(&api, &headers, &note, Box::pin(body)).await
        }
    })
}

fn anyone(_: &Api, _: &HeaderMap) -> Result<(), ApiError> {
    Ok(())
}

/// Answers a request for `address`, which has no body, by a handler of its values and query.
macro_rules! answer {
    ($api:ident, $address:ident, |$values:ident, $query:ident| $answer:expr) => {{
        let api = Arc::clone($api);
        at(&$address)
            .and(query())
            .then(move |$values: Vec<String>, $query: String| {
                let $api = Arc::clone(&api);
                async move { Carrier::from(async { $answer }.await) }
            })
            .boxed()
    }};
}

/// Answers a POST of `address` by a handler of its values and JSON body.
macro_rules! post {
    ($api:ident, $address:ident, $check:path, |$values:ident, $body:ident| $answer:expr) => {{
        let api = Arc::clone($api);
        at(&$address)
            .and(json($api, $check))
            .then(move |$values: Vec<String>, body: Result<Json, ApiError>| {
                let $api = Arc::clone(&api);
                async move {
                    let answer = match body {
                        Ok($body) => $answer,
                        Err(error) => Err(error),
                    };
                    Carrier::from(answer)
                }
            })
            .boxed()
    }};
}

/// Every address with its handler.
pub fn routes(api: &Arc<Api>) -> BoxedFilter<(Carrier,)> {
    let sessions = answer!(api, SESSIONS, |_values, query| sessions::list(&api, &query).await)
        .or(answer!(api, SESSIONS_RANGE, |_values, query| sessions::range(&api, &query).await))
        .unify()
        .or(post!(api, SESSIONS_OPEN, anyone, |_values, body| sessions::open(&api, body).await))
        .unify()
        .or(post!(api, SESSIONS_CLOSE, anyone, |_values, body| sessions::close(&api, body).await))
        .unify()
        .or(answer!(api, SESSION, |values, _query| sessions::one(&api, &values[0]).await))
        .unify()
        .boxed();
    let tracks = answer!(api, TRACK_INDEX, |values, _query| tracks::index(&api, &values[0]).await)
        .or(answer!(api, TRACK_INDEX_JSON, |values, _query| tracks::index(&api, &values[0]).await))
        .unify()
        .or(answer!(api, TRACK_META, |values, _query| tracks::meta(&api, &values[0]).await))
        .unify()
        .or(answer!(api, TRACK_META_JSON, |values, _query| tracks::meta(&api, &values[0]).await))
        .unify()
        .or(answer!(api, TRACK_SEGMENT, |values, _query| tracks::segment(&api, &values[0], &values[1]).await))
        .unify()
        .boxed();
    let recordings = answer!(api, SESSION_RECORDINGS, |values, _query| recordings::of_session(&api, &values[0]).await)
        .or(answer!(api, RECORDINGS, |_values, query| recordings::of_path(&api, &query).await))
        .unify()
        .or(answer!(api, RECORDINGS_SUMMARY, |_values, query| recordings::summary(&api, &query).await))
        .unify()
        .boxed();
    let hooks = post!(api, HOOK_PUBLISH, hooks::authorize, |_values, body| hooks::publish(&api, body).await)
        .or(post!(api, HOOK_SEGMENT_CREATE, hooks::authorize, |_values, body| hooks::segment_create(&api, body).await))
        .unify()
        .or(post!(api, HOOK_SEGMENT_COMPLETE, hooks::authorize, |_values, body| hooks::segment_complete(&api, body).await))
        .unify()
        .boxed();
    let feed = answer!(api, CHANGES, |_values, query| changes::changes(&api, &query).await)
        .or(answer!(api, EXPORT, |_values, query| changes::export(&api, &query).await))
        .unify()
        .or(answer!(api, BACKUP, |_values, query| backup::backup(&api, &query).await))
        .unify()
        .or(answer!(api, VERIFY, |_values, query| verify::verify(&api, &query).await))
        .unify()
        .or(answer!(api, HEALTH, |_values, _query| health::health(&api).await))
        .unify()
        .boxed();
    let frames = answer!(api, DETECTIONS, |values, _query| sessions::detections(&api, &values[0]).await)
        .or(answer!(api, FRAME, |values, _query| frames::one(&api, &values[0], &values[1]).await))
        .unify()
        .boxed();
    ingest_route(api)
        .or(intake::routes(api))
        .unify()
        .or(sessions)
        .unify()
        .or(tracks)
        .unify()
        .or(frames)
        .unify()
        .or(recordings)
        .unify()
        .or(hooks)
        .unify()
        .or(feed)
        .unify()
        .or(enrichment_routes(api))
        .unify()
        .or(retention_routes(api))
        .unify()
        .or(elsewhere())
        .unify()
        .recover(|rejection: Rejection| async move { Ok::<_, Infallible>(refusal(&rejection)) })
        .unify()
        .boxed()
}

fn enrichment_routes(api: &Arc<Api>) -> BoxedFilter<(Carrier,)> {
    let patching = Arc::clone(api);
    let patch = at(&ATTRIBUTES).and(warp::header::headers_cloned()).and(json(api, anyone)).then(
        move |values: Vec<String>, headers: HeaderMap, body: Result<Json, ApiError>| {
            let api = Arc::clone(&patching);
            async move {
                let answer = match body {
                    Ok(body) => enrichment::patch(&api, &values[0], &values[1], &headers, body).await,
                    Err(error) => Err(error),
                };
                Carrier::from(answer)
            }
        },
    );
    answer!(api, PENDING, |_values, query| enrichment::pending(&api, &query).await).or(patch).unify().boxed()
}

fn retention_routes(api: &Arc<Api>) -> BoxedFilter<(Carrier,)> {
    answer!(api, HOLDS, |_values, query| holds::list(&api, &query).await)
        .or(answer!(api, RETENTION_PLAN, |_values, query| retention::plan(&api, &query).await))
        .unify()
        .or(post!(api, HOLD, anyone, |values, body| holds::hold(&api, &values[0], body).await))
        .unify()
        .or(answer!(api, RELEASE, |values, _query| holds::release(&api, &values[0]).await))
        .unify()
        .boxed()
}

fn ingest_route(api: &Arc<Api>) -> BoxedFilter<(Carrier,)> {
    let admitting = Arc::clone(api);
    let api = Arc::clone(api);
    let admit = warp::header::headers_cloned().and_then(move |headers: HeaderMap| {
        let api = Arc::clone(&admitting);
        async move { ingest::admit(&api, &headers).await.map_err(|error| warp::reject::custom(Refused(error))) }
    });
    at(&INGEST)
        .and(admit)
        .and(note())
        // The parts have limits of their own; a length need not be declared.
        .and(warp::multipart::form().max_length(None))
        .then(move |_: Vec<String>, room, note: FaultNote, form| {
            let api = Arc::clone(&api);
            async move { Carrier::from(ingest::ingest(&api, room, &note, form).await) }
        })
        .boxed()
}

/// What no handler took: a wrong method, or no address at all.
fn elsewhere() -> impl Filter<Extract = (Carrier,), Error = Rejection> + Clone {
    warp::path::full().and(warp::method()).and_then(|path: FullPath, method: Method| async move {
        let path = path.as_str();
        match allowed(path) {
            // A handler refused it; that refusal is the answer.
            Some(_) if ADDRESSES.iter().any(|address| address.1 == method && address.values(path).is_some()) => {
                Err(warp::reject())
            }
            Some(allow) => Ok(Carrier::from(Err::<Reply, _>(ApiError::method(allow)))),
            None => Ok(Carrier::from(Err::<Reply, _>(ApiError::no_route(path)))),
        }
    })
}

fn refusal(rejection: &Rejection) -> Carrier {
    let error = match rejection.find::<Refused>() {
        Some(Refused(error)) => error.clone(),
        // All that warp itself still refuses.
        None => ApiError::bad("Content-Type must be multipart/form-data with a boundary"),
    };
    Carrier::from(Err::<Reply, _>(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_by_its_raw_segments() {
        let values = |address: &Address, path: &str| address.values(path).map(|values| values.join("|"));
        assert_eq!(values(&SESSIONS, "/sessions"), Some(String::new()));
        assert_eq!(values(&SESSIONS, "/sessions/"), Some(String::new()));
        assert_eq!(values(&SESSION, "/sessions/a%2Fb"), Some("a%2Fb".into()));
        assert_eq!(values(&SESSION, "/sessions/a/"), Some("a".into()));
        assert_eq!(values(&SESSION, "/sessions//"), Some(String::new()));
        assert_eq!(values(&SESSION, "/sessions/a//"), None);
        assert_eq!(values(&TRACK_INDEX, "/sessions//tracks/index"), Some(String::new()));
        assert_eq!(values(&FRAME, "/frames//x.jpg"), Some("|x.jpg".into()));
        assert_eq!(values(&DETECTIONS, "/ingest/detections/"), Some(String::new()));
        assert_eq!(values(&DETECTIONS, "/ingest/detections"), None);
    }

    #[test]
    fn every_address_says_what_it_takes() {
        assert_eq!(allowed("/sessions").as_deref(), Some("GET, HEAD, OPTIONS"));
        assert_eq!(allowed("/ingest/").as_deref(), Some("POST, OPTIONS"));
        assert_eq!(allowed("/nothing"), None);
    }
}
