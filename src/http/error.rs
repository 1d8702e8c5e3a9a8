//! The one map from what went wrong to a status and a sentence.

use http::StatusCode;

use crate::domain::Invalid;
use crate::service::ServiceError;

/// An error as the client sees it.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// The sentence.
    pub message: String,
    /// For `Allow`, `Retry-After` or `Content-Range`.
    pub header: Option<(http::HeaderName, String)>,
    /// For an unknown route: its path.
    pub path: Option<String>,
    /// What only the log may tell.
    pub detail: Option<String>,
}

impl ApiError {
    /// An error with `status` and a sentence.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), header: None, path: None, detail: None }
    }

    /// 400.
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 of an unknown route.
    pub fn no_route(path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..Self::new(StatusCode::NOT_FOUND, "Not found") }
    }

    /// 405; `allow` lists what is allowed.
    pub fn method(allow: String) -> Self {
        let message = format!("Method not allowed; this address takes {allow}");
        Self { header: Some((http::header::ALLOW, allow)), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// 413, naming what is too large and the limit.
    pub fn too_large(what: &str, limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("{what} is larger than {limit} bytes"))
    }

    /// 429.
    pub fn busy() -> Self {
        let header = Some((http::header::RETRY_AFTER, "1".to_owned()));
        Self { header, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many frames wait; try again after a second") }
    }

    /// 429 of work that is done once at a time.
    pub fn under_way(what: &str) -> Self {
        let header = Some((http::header::RETRY_AFTER, "10".to_owned()));
        Self { header, ..Self::new(StatusCode::TOO_MANY_REQUESTS, format!("{what} is under way already; try again later")) }
    }

    /// 500; `detail` goes to the log alone.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error") }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::bad(invalid.0)
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound(sentence) => Self::new(StatusCode::NOT_FOUND, sentence),
            ServiceError::TooMuch(sentence) => Self::bad(sentence),
            ServiceError::Conflict(sentence) => Self::new(StatusCode::CONFLICT, sentence),
            ServiceError::TooLarge(what, limit) => Self::too_large(what, limit),
            ServiceError::Busy => Self::busy(),
            ServiceError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "The disk is full; make room and send it again"),
            ServiceError::Restarted => Self::new(StatusCode::CONFLICT, "Feed restarted"),
            ServiceError::Ill(detail) | ServiceError::Damaged(detail) | ServiceError::Failed(detail) => Self::internal(detail),
        }
    }
}
