//! Ranges, conditions and compression of answers.

use std::io::Read as _;
use std::pin::pin;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use session_store::http::conditional::respond;
use session_store::http::content::{Busy, Outgoing};
use session_store::http::reply::Reply;

/// An answer that went out.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Reads the first line of `data` as a method and the length of an answer, the others as headers of its request;
/// `TAG` in them stands for the answer's entity tag.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (method, length) = first.split_once(' ').unwrap_or((&first, "100"));
    let Ok(method) = method.parse::<Method>() else { return };
    let length = length.trim().parse::<usize>().unwrap_or(100) % (32 << 10);
    let content: Vec<u8> =
        (0..length).map(|at| u8::try_from(at % 251).unwrap_or_default() ^ u8::try_from(at >> 8).unwrap_or_default()).collect();
    let tag = answer(&content, &Method::GET, &HeaderMap::new()).header("etag").expect("a tag").to_owned();
    let mut asked = HeaderMap::new();
    for line in lines {
        let line = String::from_utf8_lossy(line).replace("TAG", &tag);
        let Some((name, value)) = line.split_once(':') else { continue };
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value.trim())) {
            asked.append(name, value);
        }
    }
    check(&answer(&content, &method, &asked), &content, &method, &asked);
}

fn check(answer: &Answer, content: &[u8], method: &Method, asked: &HeaderMap) {
    let is_head = method == Method::HEAD;
    let length = content.len();
    if !is_head && answer.status != StatusCode::NOT_MODIFIED {
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    }
    if is_head {
        assert!(answer.body.is_empty(), "a body of a HEAD");
    }
    match answer.status {
        StatusCode::OK if is_head => {}
        StatusCode::OK if answer.header("content-encoding") == Some("gzip") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut plain).expect("gzip");
            assert!(plain == content && asked.contains_key("accept-encoding"));
        }
        StatusCode::OK => assert_eq!(answer.body, content),
        StatusCode::PARTIAL_CONTENT => {
            assert!(method == Method::GET && asked.contains_key("range"));
            let range = answer.header("content-range").expect("which part");
            let (part, whole) = range.strip_prefix("bytes ").and_then(|range| range.split_once('/')).expect("bytes a-b/n");
            let (from, to) = part.split_once('-').expect("a-b");
            let (from, to): (usize, usize) = (from.parse().expect("a number"), to.parse().expect("a number"));
            assert!(from <= to && to < length && whole == length.to_string(), "{range} of {length} bytes");
            assert_eq!(answer.body, content[from..=to], "{range} is not what came");
            assert_eq!(answer.header("content-encoding"), None);
        }
        StatusCode::NOT_MODIFIED => {
            assert!((is_head || method == Method::GET) && asked.contains_key("if-none-match"));
            assert!(answer.body.is_empty() && answer.header("etag").is_some());
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            assert!(method == Method::GET && asked.contains_key("range"));
            assert_eq!(answer.header("content-range"), Some(format!("bytes */{length}").as_str()));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let error: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert!(error["error"].is_string());
        }
        other => panic!("the answer to a whole file was {other}"),
    }
}

fn answer(content: &[u8], method: &Method, asked: &HeaderMap) -> Answer {
    let reply = Reply::json_bytes(StatusCode::OK, content.to_vec());
    let response = respond(reply, method, asked, Busy::default()).now_or_never();
    let (parts, body) = Response::into_parts(response.expect("a small answer is made at once"));
    Answer { status: parts.status, headers: parts.headers, body: collect(body) }
}

fn collect(body: Outgoing) -> Vec<u8> {
    let mut body = pin!(body);
    let mut all = Vec::new();
    let next = || std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).now_or_never().expect("bytes in memory are there");
    for piece in std::iter::from_fn(next) {
        let data: Bytes = piece.expect("bytes in memory can be read").into_data().expect("no trailers");
        all.extend_from_slice(&data);
    }
    all
}
