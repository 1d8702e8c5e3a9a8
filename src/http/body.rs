//! Bodies on their way in: bounded in time while they are read, in size before and while.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt as _};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::error::ApiError;
use super::{Api, BYTE_WITHIN, REQUEST_WITHIN};

/// The largest JSON body.
pub const MAX_JSON_BYTES: usize = 1 << 20;
/// JSON bodies up to this size are read without asking for memory: they are nearly all.
const SMALL_JSON_BYTES: usize = 16 << 10;
/// What is left of a refused body is read up to here, so that the client comes to read the refusal …
const DRAIN_BYTES: usize = 8 << 20;
/// … and for so long.
const DRAIN_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Why a body could not be read, where it was not the client's doing alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It came too slowly.
    Slow,
    /// The connection broke.
    Broken,
    /// It was longer than this many bytes.
    Long(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slow => f.write_str("the body came too slowly"),
            Self::Broken => f.write_str("the connection broke"),
            Self::Long(limit) => write!(f, "the body is longer than {limit} bytes"),
        }
    }
}

impl std::error::Error for Fault {}

/// Tells a handler why its body ended early; the libraries between would hide it.
#[derive(Debug, Clone, Default)]
pub struct FaultNote(Arc<Mutex<Option<Fault>>>);

impl FaultNote {
    fn set(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// The fault as an answer, or `otherwise`.
    pub fn explain(&self, otherwise: ApiError) -> ApiError {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => otherwise,
            Some(Fault::Slow) => ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "The request came too slowly: {} s without a byte, or {} s in all",
                    BYTE_WITHIN.as_secs(),
                    REQUEST_WITHIN.as_secs()
                ),
            ),
            Some(Fault::Long(limit)) => ApiError::too_large("The request", limit),
            Some(Fault::Broken) => ApiError::bad("The connection broke while the request was read"),
        }
    }
}

/// A request's body under the limits of time.
///
/// Its end comes in a poll of its own, never in the one that follows a piece. The multipart reader (multer 3.1) looks
/// for the form's first boundary between two polls and takes an end seen by the second for the whole: a form that
/// arrived between the two was refused.
pub struct Guarded<B: Readable = Incoming> {
    body: Option<B>,
    note: FaultNote,
    /// The client waits for a word before it sends; a refusal needs no draining then.
    expects: bool,
    limit: usize,
    left: usize,
    /// Whether reading has begun: until then the client is not slow, but waits for room.
    begun: bool,
    /// The last poll gave a piece.
    gave: bool,
    deadline: Instant,
    patience: Pin<Box<Sleep>>,
}

/// A body as a connection gives it.
pub trait Readable: Body<Data = Bytes> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Readable for B {}

impl<B: Readable> Guarded<B> {
    /// Guards `body`, whose request has come with `headers`; no more than `limit` bytes of it are read.
    pub fn new(body: B, headers: &HeaderMap, note: FaultNote, limit: usize) -> Self {
        let now = Instant::now();
        Self {
            body: Some(body),
            note,
            expects: headers.contains_key(EXPECT),
            limit,
            left: limit,
            begun: false,
            gave: false,
            deadline: now + REQUEST_WITHIN,
            patience: Box::pin(tokio::time::sleep_until(now + BYTE_WITHIN)),
        }
    }
}

impl<B: Readable> Body for Guarded<B> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.expects = false;
        if !std::mem::replace(&mut self.begun, true) {
            let first = (Instant::now() + BYTE_WITHIN).min(self.deadline);
            self.patience.as_mut().reset(first);
        }
        let gave = std::mem::take(&mut self.gave);
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let fault = match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| data.len() > self.left) => {
                Fault::Long(self.limit)
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.left -= frame.data_ref().map_or(0, Bytes::len);
                let next = (Instant::now() + BYTE_WITHIN).min(self.deadline);
                self.patience.as_mut().reset(next);
                self.gave = true;
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) if gave => {
                self.body = None;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(None) => {
                self.body = None;
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(_))) => Fault::Broken,
            Poll::Pending if self.patience.as_mut().poll(cx).is_ready() => Fault::Slow,
            Poll::Pending => return Poll::Pending,
        };
        self.note.set(fault);
        if !matches!(fault, Fault::Long(_)) {
            self.body = None;
        }
        Poll::Ready(Some(Err(fault)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), B::size_hint)
    }
}

impl<B: Readable> Drop for Guarded<B> {
    /// Reads on for a while behind a refusal: closing at once would reset the connection under a
    /// client that still writes, and it would never see the answer.
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream() && !self.expects) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let mut left = DRAIN_BYTES;
            let drain = std::future::poll_fn(|cx| {
                loop {
                    match std::task::ready!(Pin::new(&mut body).poll_frame(cx)) {
                        Some(Ok(frame)) => {
                            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                            if left == 0 {
                                return Poll::Ready(());
                            }
                        }
                        _ => return Poll::Ready(()),
                    }
                }
            });
            let _ = tokio::time::timeout(DRAIN_WITHIN, drain).await;
        });
    }
}

/// The length a request says its body has; `None` where it comes in chunks.
///
/// # Errors
/// 411 where it says nothing at all.
pub fn declared_length(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    if let Some(length) = headers.get(CONTENT_LENGTH) {
        let length = length.to_str().ok().and_then(|text| text.parse().ok());
        return length.map(Some).ok_or_else(|| ApiError::bad("Content-Length must be a whole number"));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        return Ok(None);
    }
    Err(ApiError::new(StatusCode::LENGTH_REQUIRED, "A request with a body must have a Content-Length"))
}

/// Refuses a compressed body: a few KiB of it could stand for GiB, and no client compresses what is small or a JPEG.
///
/// # Errors
/// 415 where `Content-Encoding` names any coding.
pub fn check_plain(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().map(|coding| coding.as_bytes().trim_ascii());
    if codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed: send it without Content-Encoding"))
}

/// The media type of a request's body, in lower case, without parameters.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads a JSON body: refused by its type and size before it is read.
pub async fn read_json(
    api: &Api,
    headers: &HeaderMap,
    note: &FaultNote,
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Unpin,
) -> Result<serde_json::Map<String, serde_json::Value>, ApiError> {
    let length = declared_length(headers)?;
    if let Some(media_type) = media_type(headers)
        && media_type != "application/json"
        && !media_type.ends_with("+json")
    {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON (Content-Type: application/json)"));
    }
    check_plain(headers)?;
    if length.is_some_and(|length| length > MAX_JSON_BYTES) {
        return Err(ApiError::too_large("The body", MAX_JSON_BYTES));
    }
    let _memory = match length {
        Some(length) if length <= SMALL_JSON_BYTES => None,
        length => {
            let kib = u32::try_from(length.unwrap_or(MAX_JSON_BYTES).div_ceil(1024)).unwrap_or(u32::MAX);
            // Never refused: these clients do not try again. The wait is bounded by the holders' own limits of time.
            let permit = api.json_memory.acquire_many(kib).await;
            Some(permit.map_err(|_| ApiError::internal("the body memory is closed"))?)
        }
    };
    let bytes = read_all(body, MAX_JSON_BYTES, length, note).await?;
    match serde_json::from_slice(&bytes) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::bad("Invalid JSON: the body must be an object")),
        Err(error) => Err(ApiError::bad(format!("Invalid JSON in the body: {error}"))),
    }
}

/// Reads a body of at most `max` bytes, which says that it has `length`.
pub async fn read_all(
    mut body: impl Stream<Item = Result<impl Buf, warp::Error>> + Unpin,
    max: usize,
    length: Option<usize>,
    note: &FaultNote,
) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(max));
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| note.explain(ApiError::bad("The body cannot be read")))?;
        if bytes.len() + piece.remaining() > max {
            return Err(ApiError::too_large("The body", max));
        }
        while piece.has_remaining() {
            let chunk = piece.chunk();
            bytes.extend_from_slice(chunk);
            let length = chunk.len();
            piece.advance(length);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http::Request;
    use tower_service::Service as _;
    use warp::Filter as _;

    use super::super::ingest;
    use super::*;

    /// What a connection gives at each poll; at the end, the end.
    struct Scripted(VecDeque<Option<&'static str>>);

    impl Body for Scripted {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))),
                Some(None) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                None => Poll::Ready(None),
            }
        }
    }

    /// A form that came whole after the reader had asked for it, and before the reader asked again in the same breath,
    /// was refused as "incomplete multipart stream": a CI run met it once in a hundred ingests, and an agent gives up on 400.
    #[tokio::test]
    async fn a_form_may_come_between_any_two_polls() {
        let head = "--b\r\nContent-Disposition: form-data; name=\"meta\"\r\n\r\n";
        let meta = "{\"sessionId\":\"s\",\"captureTs\":\"2026-07-01T00:00:00Z\",\"detections\":[]}";
        let pieces = ["--", "b", &head[3..], meta, "\r\n--b", "--\r\n"].map(Some);
        // The places of up to three waits among and before the pieces, each a bit.
        for waits in 0_u32..1 << (2 * pieces.len()) {
            let mut script = VecDeque::new();
            for (n, piece) in pieces.into_iter().enumerate() {
                script.extend(std::iter::repeat_n(None, (waits >> (2 * n) & 3) as usize));
                script.push_back(piece);
            }
            let request = Request::post("/").header(CONTENT_TYPE, "multipart/form-data; boundary=b");
            let (parts, body) = request.body(Scripted(script)).unwrap().into_parts();
            let body = Guarded::new(body, &parts.headers, FaultNote::default(), 1 << 20);
            let form = warp::multipart::form().max_length(None).then(|form| async {
                match ingest::posted(form, 1 << 20, &FaultNote::default()).await {
                    Ok(_) => StatusCode::OK,
                    Err(_) => StatusCode::BAD_REQUEST,
                }
            });
            let answer = warp::service(form).call(Request::from_parts(parts, body)).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "waits {waits:b}");
        }
    }
}
