//! Answers to heads that hyper cannot read. It never hands them on, so they are written here, past it.

use std::time::{Duration, SystemTime};

use headers::{ContentLength, Date, HeaderMapExt as _};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connection::Watched;
use super::error::ApiError;
use super::server::MAX_HEAD_BYTES;
use super::stream::Stream;

/// A client must take the answer within this time …
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// … and may go on sending for so long, or it would be reset before it reads the answer …
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// … and so much.
const DRAIN_BYTES: u64 = 8 << 20;

/// Why a head was refused, after `error` has ended its connection. `None` where there is nothing to answer: the connection
/// broke, or a body did, which its handler has answered.
pub fn of(watched: &Watched, error: &hyper::Error) -> Option<ApiError> {
    // hyper says nothing to who speaks HTTP/2 from the start.
    let status = watched.refused().or_else(|| error.is_parse().then_some(StatusCode::BAD_REQUEST))?;
    Some(ApiError::new(
        status,
        match status {
            StatusCode::URI_TOO_LONG => format!("The address is longer than {} bytes", u16::MAX - 1),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                format!("The request's head has more than 100 headers or {MAX_HEAD_BYTES} bytes, or announces too long a body")
            }
            _ => format!("The request is not valid HTTP/1.1: {error}"),
        },
    ))
}

/// Sends `refusal` with `headers` and what it needs besides, and closes the connection.
pub async fn send(mut stream: Stream, refusal: ApiError, mut headers: HeaderMap) {
    let body = json!({ "error": refusal.message }).to_string();
    headers.typed_insert(ContentLength(body.len() as u64));
    headers.typed_insert(Date::from(SystemTime::now()));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut answer = format!("HTTP/1.1 {}\r\n", refusal.status).into_bytes();
    for (name, value) in &headers {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    answer.extend_from_slice(body.as_bytes());
    let sent = tokio::time::timeout(TAKEN_WITHIN, async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    });
    if matches!(sent.await, Ok(Ok(()))) {
        let mut rest = stream.take(DRAIN_BYTES);
        let mut nowhere = tokio::io::sink();
        let drain = tokio::io::copy(&mut rest, &mut nowhere);
        // What it still sends is of no interest, nor how it ends.
        let _ = tokio::time::timeout(DRAIN_WITHIN, drain).await;
    }
}
