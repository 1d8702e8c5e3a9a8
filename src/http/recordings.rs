//! `/sessions/:id/recordings`, `/recordings`, `/recordings/summary`.

use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::ids::SessionId;
use crate::domain::query::Window;
use crate::domain::segment::{Segment, State};
use crate::domain::time::Timestamp;
use crate::service::recordings::Recorded;
use crate::service::summary::Bucket;

use super::Api;
use super::error::ApiError;
use super::query::Query;
use super::reply::{Answer, Reply};

#[derive(Serialize)]
struct RecordedJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a str>,
    path: &'a str,
    from: String,
    to: String,
    covered_ms: i64,
    complete: bool,
    segments: Vec<SegmentJson<'a>>,
    gaps: Vec<GapJson>,
    playback: Vec<PlaybackJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<UnreadableJson<'a>>,
}

#[derive(Serialize)]
struct SegmentJson<'a> {
    start: String,
    end: String,
    duration_ms: i64,
    file: &'a str,
    bytes: Option<u64>,
    state: &'static str,
    stream_id: Option<Uuid>,
    number: Option<u64>,
}

#[derive(Serialize)]
struct GapJson {
    start: String,
    end: String,
    cause: &'static str,
}

#[derive(Serialize)]
struct PlaybackJson {
    start: String,
    duration: f64,
    url: String,
}

#[derive(Serialize)]
struct UnreadableJson<'a> {
    file: &'a str,
    bytes: u64,
    reason: &'a str,
}

/// `GET /sessions/:id/recordings`.
pub async fn of_session(api: &Api, id: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    let (session, recorded) = api.service.recordings_of(id).await?;
    answer(api, Some(session.id.as_str()), &recorded)
}

/// `GET /recordings`.
pub async fn of_path(api: &Api, query: &str) -> Answer {
    let query = Query::parse(query);
    let path = query.get("path").ok_or_else(|| ApiError::bad("path, from and to query parameters are required"))?;
    let recorded = api.service.recordings(path.to_owned(), window(&query)?).await?;
    answer(api, None, &recorded)
}

fn window(query: &Query<'_>) -> Result<Window, ApiError> {
    let (Some(from), Some(to)) = (query.time("from"), query.time("to")) else {
        return Err(ApiError::bad("from and to query parameters are required and must be valid ISO dates"));
    };
    if from >= to {
        return Err(ApiError::bad("from must lie before to"));
    }
    Ok(Window { from, to })
}

/// Whole milliseconds, rounded.
fn millis(micros: i64) -> i64 {
    (micros + 500).div_euclid(1000)
}

fn answer(api: &Api, session_id: Option<&str>, recorded: &Recorded) -> Answer {
    let Recorded { path, window, coverage, segments, playable } = recorded;
    let is_readable = |segment: &&Segment| segment.state != State::Unreadable;
    let shown = RecordedJson {
        session_id,
        path,
        from: window.from.to_micros(),
        to: window.to.to_micros(),
        covered_ms: millis(coverage.covered_micros),
        complete: coverage.gaps.is_empty(),
        segments: segments.iter().filter(is_readable).map(segment_json).collect(),
        gaps: coverage
            .gaps
            .iter()
            .map(|gap| GapJson { start: gap.start.to_micros(), end: gap.end.to_micros(), cause: gap.cause.as_str() })
            .collect(),
        playback: playable.iter().map(|window| playback(api.service.playback_base_url(), path, *window)).collect(),
        unreadable: segments
            .iter()
            .filter(|segment| !is_readable(segment))
            .map(|segment| UnreadableJson {
                file: &segment.file,
                bytes: segment.bytes,
                reason: segment.reason.as_deref().unwrap_or_default(),
            })
            .collect(),
    };
    Reply::json(StatusCode::OK, &shown)
}

fn segment_json(segment: &Segment) -> SegmentJson<'_> {
    SegmentJson {
        start: segment.start.to_micros(),
        end: segment.end.to_micros(),
        duration_ms: millis(segment.end.micros() - segment.start.micros()),
        file: &segment.file,
        bytes: (!segment.is_hearsay()).then_some(segment.bytes),
        state: segment.state.as_str(),
        stream_id: segment.stream.map(|stream| Uuid::from_bytes(stream.id)),
        number: segment.stream.map(|stream| stream.number),
    }
}

/// The address of a span at MediaMTX's playback server.
fn playback(base: &str, path: &str, window: Window) -> PlaybackJson {
    let micros = window.to.micros() - window.from.micros();
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let duration = format!("{seconds}.{rest:06}");
    let start = window.from.to_micros();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("path", path)
        .append_pair("start", &start)
        .append_pair("duration", &duration)
        .append_pair("format", "mp4")
        .finish();
    // A space as %20: Go takes a plus for one as well, but not every proxy between does.
    let url = format!("{}/get?{}", base.trim_end_matches('/'), query.replace('+', "%20"));
    PlaybackJson { start, duration: duration.parse().unwrap_or_default(), url }
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    from: String,
    to: String,
    bucket: &'static str,
    path: Option<&'a str>,
    buckets: Vec<BucketJson>,
}

#[derive(Serialize)]
struct BucketJson {
    start: String,
    end: String,
    covered_ms: i64,
    covered_minutes: f64,
    sessions: u64,
    detections: u64,
}

/// `GET /recordings/summary`.
pub async fn summary(api: &Api, query: &str) -> Answer {
    let query = Query::parse(query);
    let window = window(&query)?;
    let (word, bucket) = match query.get("bucket") {
        None | Some("hour") => ("hour", Bucket::Hour),
        Some("day") => ("day", Bucket::Day),
        Some(_) => return Err(ApiError::bad("bucket must be hour or day")),
    };
    let path = query.get("path");
    let buckets = api.service.summary(path.map(ToOwned::to_owned), window, bucket).await?;
    let time = Timestamp::to_millis;
    let shown = SummaryJson {
        from: time(window.from),
        to: time(window.to),
        bucket: word,
        path,
        buckets: buckets
            .into_iter()
            .map(|filled| BucketJson {
                start: time(filled.window.from),
                end: time(filled.window.to),
                covered_ms: millis(filled.covered_micros),
                covered_minutes: f64::from(u32::try_from(millis(filled.covered_micros) / 600).unwrap_or(u32::MAX)) / 100.0,
                sessions: filled.sessions,
                detections: filled.detections,
            })
            .collect(),
    };
    Reply::json(StatusCode::OK, &shown)
}
