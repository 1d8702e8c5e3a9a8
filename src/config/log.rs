//! `[log]`: how much is logged, and in which form.

use super::Reader;

/// The log.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The least severe records that are kept.
    pub level: Level,
    /// The form.
    pub format: LogFormat,
}

/// How severe a record is.
pub type Level = tracing::Level;

/// Where the log goes and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// journald under systemd, text on a terminal, JSON otherwise.
    Auto,
    /// The journal, with fields of its own.
    Journald,
    /// One JSON object a line on standard output.
    Json,
    /// One readable line a record on standard output.
    Text,
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let levels = [
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ];
        let formats =
            [("auto", LogFormat::Auto), ("journald", LogFormat::Journald), ("json", LogFormat::Json), ("text", LogFormat::Text)];
        Self { level: reader.word("log", "level", &levels, 2), format: reader.word("log", "format", &formats, 0) }
    }
}
