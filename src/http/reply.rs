//! What a handler answers; the headers that depend on the request are added in [`super::conditional`].

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

use super::error::ApiError;

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// Not at all: errors.
    Never,
    /// Only as long as the server says each time that it has not changed.
    Revalidated,
    /// For good.
    Forever,
}

/// What an entity tag is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// The bytes, as they now are.
    Bytes,
    /// Length, modification time and inode: for files that only grow or are replaced.
    Stat,
}

/// The body.
pub enum Content {
    /// None.
    Empty,
    /// In memory.
    Bytes(Bytes),
    /// A file of which only what it holds now is sent.
    File(File, Tag),
    /// Made while it is sent.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

/// An answer.
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Headers of this answer's own.
    pub headers: HeaderMap,
    /// The body.
    pub content: Content,
    /// Its type.
    pub content_type: Option<&'static str>,
    /// How long it may be kept.
    pub caching: Caching,
    /// For the log alone.
    pub detail: Option<String>,
}

/// What handlers return.
pub type Answer = Result<Reply, ApiError>;

const JSON: &str = "application/json; charset=utf-8";

impl Reply {
    /// No body.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content: Content::Empty,
            content_type: None,
            caching: Caching::Revalidated,
            detail: None,
        }
    }

    /// A value as JSON.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
        let bytes = serde_json::to_vec(value).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Self::json_bytes(status, bytes))
    }

    /// JSON text.
    pub fn json_bytes(status: StatusCode, bytes: Vec<u8>) -> Self {
        Self { content: Content::Bytes(bytes.into()), content_type: Some(JSON), ..Self::empty(status) }
    }

    /// A file.
    pub fn file(file: File, tag: Tag, content_type: &'static str, caching: Caching) -> Self {
        Self { content: Content::File(file, tag), content_type: Some(content_type), caching, ..Self::empty(StatusCode::OK) }
    }

    /// A body that is made while it is sent.
    pub fn stream(chunks: mpsc::Receiver<io::Result<Bytes>>, content_type: &'static str) -> Self {
        Self {
            content: Content::Stream(chunks),
            content_type: Some(content_type),
            caching: Caching::Never,
            ..Self::empty(StatusCode::OK)
        }
    }

    /// Sets a header.
    pub fn set(&mut self, name: HeaderName, value: &str) {
        // What cannot be a header's value cannot have come in by one either.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        let mut body = serde_json::json!({ "error": error.message });
        if let Some(path) = error.path {
            body["path"] = path.into();
        }
        let mut reply = Self::json_bytes(error.status, body.to_string().into_bytes());
        if let Some((name, value)) = error.header {
            reply.set(name, &value);
        }
        reply.caching = Caching::Never;
        reply.detail = error.detail;
        reply
    }
}

/// Carries a [`Reply`] through warp, whose own responses know neither files nor ranges.
#[derive(Clone)]
pub struct Carrier(Arc<Mutex<Option<Reply>>>);

impl Carrier {
    /// The reply that `response` carries.
    pub fn unload(response: &warp::reply::Response) -> Option<Reply> {
        let Self(slot) = response.extensions().get::<Self>()?;
        slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl warp::Reply for Carrier {
    fn into_response(self) -> warp::reply::Response {
        let mut response = warp::reply::Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Answer> for Carrier {
    fn from(answer: Answer) -> Self {
        let reply = answer.unwrap_or_else(Reply::from);
        Self(Arc::new(Mutex::new(Some(reply))))
    }
}
