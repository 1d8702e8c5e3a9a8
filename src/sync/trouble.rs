//! What goes wrong with a central database, and what to do about it.

use std::error::Error as _;
use std::fmt;

use crate::service::ServiceError;

/// Why a piece of work was not done.
#[derive(Debug)]
pub enum Trouble {
    /// A row is at fault: it would fail again.
    Row(String),
    /// A row names a session that is not there.
    Orphan(String),
    /// The database, or the way to it: try again later.
    Away(String),
    /// The place was moved by somebody else: read it again.
    Moved,
    /// The own store.
    Store(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(text) | Self::Orphan(text) | Self::Away(text) => f.write_str(text),
            Self::Moved => f.write_str("the place in the feed was moved in the central database"),
            Self::Store(text) => write!(f, "the own store: {text}"),
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = plain(&error);
        let Some(code) = error.code() else {
            // The driver could not write a value: a row's fault. All else without a code is the connection's.
            return if text.contains("serializ") { Self::Row(text) } else { Self::Away(text) };
        };
        match code.code() {
            "23503" => Self::Orphan(text),
            // Data exceptions, constraints, programs' limits, raised by a trigger.
            code if matches!(&code[..2], "22" | "23" | "54" | "P0") => Self::Row(text),
            _ => Self::Away(text),
        }
    }
}

impl From<ServiceError> for Trouble {
    fn from(error: ServiceError) -> Self {
        Self::Store(error.to_string())
    }
}

/// The error in one sentence, with what is behind it.
fn plain(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        let detail = db.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail} [{}]", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
