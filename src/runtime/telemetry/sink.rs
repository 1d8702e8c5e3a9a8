//! Where records are written.

use std::io::Write as _;

use tracing::{Dispatch, Level};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;

use super::Format;
use super::record::Record;

/// Where records are written.
pub enum Sink {
    /// A line each on standard output.
    Lines(fn(&Record) -> String),
    /// The journal, by a subscriber of its own.
    Journal(Dispatch),
}

/// Emits an event of `$level` in the journal. Fields are named as the contract names them; the journal
/// wants them known at compile time.
macro_rules! emit {
    ($level:ident, $record:expr) => {{
        let record = $record;
        if record.is_request() {
            tracing::event!(
                Level::$level,
                METHOD = record.text("method"),
                PATH = record.text("path"),
                STATUS = record.text("status"),
                ELAPSED_MS = record.text("elapsed_ms"),
                IP = record.text("ip"),
                REQUEST_ID = record.text("request_id"),
                "{} {} {}",
                record.text("method"),
                record.text("path"),
                record.text("status")
            );
        } else {
            let fields: String = record.fields.keys().map(|name| format!(" {name}={}", record.text(name))).collect();
            tracing::event!(Level::$level, "{}{fields}", record.message);
        }
    }};
}

impl Sink {
    /// Opens the sink of `format`.
    ///
    /// # Errors
    /// A sentence, where the journal is not there.
    pub fn open(format: Format) -> Result<Self, String> {
        match format {
            Format::Json => Ok(Self::Lines(Record::to_json)),
            Format::Text => Ok(Self::Lines(Record::to_line)),
            Format::Journald => {
                let layer = tracing_journald::layer().map_err(|error| {
                    format!("The journal cannot be reached: {error}; set [log] format to \"json\" or \"text\".")
                })?;
                Ok(Self::Journal(Dispatch::new(Registry::default().with(layer.with_field_prefix(None)))))
            }
        }
    }

    /// Writes one record. A sink that fails has nowhere to say so.
    pub fn write(&mut self, record: &Record) {
        match self {
            Self::Lines(form) => {
                let _ = writeln!(std::io::stdout().lock(), "{}", form(record));
            }
            Self::Journal(dispatch) => tracing::dispatcher::with_default(dispatch, || match record.level {
                Level::ERROR => emit!(ERROR, record),
                Level::WARN => emit!(WARN, record),
                Level::INFO => emit!(INFO, record),
                Level::DEBUG => emit!(DEBUG, record),
                Level::TRACE => emit!(TRACE, record),
            }),
        }
    }
}
