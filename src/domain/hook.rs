//! A hook of MediaMTX as `session-store hook` tells it: what MediaMTX put into its environment, the request's body, and the
//! file in which it waits for a daemon.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Invalid;
use super::ids::check_text;
use super::segment::Said;
use super::session::MAX_TEXT_BYTES;
use super::time::Timestamp;

/// The version of the file.
const VERSION: u32 = 1;
/// No segment is longer: a day.
const MAX_DURATION_SEC: f64 = 86_400.0;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A stream is up: `runOnReady`, later called `runOnAvailable`.
    Publish,
    /// `runOnRecordSegmentCreate`.
    SegmentCreate,
    /// `runOnRecordSegmentComplete`.
    SegmentComplete,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Publish, Self::SegmentCreate, Self::SegmentComplete];

    /// Its name on the command line and in a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::SegmentCreate => "segment-create",
            Self::SegmentComplete => "segment-complete",
        }
    }

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One hook, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// The stream of a path is up.
    Publish {
        /// MediaMTX's path.
        path: String,
        /// When its command was started.
        event: Timestamp,
    },
    /// A segment's file was made.
    SegmentCreate {
        /// MediaMTX's path.
        path: String,
        /// The file.
        file: String,
        /// When its command was started.
        event: Timestamp,
    },
    /// A segment is finished.
    SegmentComplete {
        /// MediaMTX's path.
        path: String,
        /// The file.
        file: String,
        /// Its times, as far as can be told.
        said: Said,
    },
}

/// The file of a hook.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    version: u32,
    hook: String,
    path: String,
    segment_path: Option<String>,
    event_ts: String,
    segment_start_ts: Option<String>,
    segment_end_ts: Option<String>,
}

impl Hook {
    /// The hook of `kind` that MediaMTX has started a command for at `event`, with `variable`s in its environment.
    ///
    /// A segment's end is not told: `event` is the best that is known of it, and a file name's time may be any zone's. Its
    /// start is the end less the measured duration, where MediaMTX gives that.
    pub fn from_environment(
        kind: Kind,
        event: Timestamp,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, Invalid> {
        let required = |name| {
            let value = variable(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| Invalid::field(name, "is not in the environment: MediaMTX sets it for its hooks"))?;
            check_text(name, &value, MAX_TEXT_BYTES)?;
            Ok(value)
        };
        let path = required("MTX_PATH")?;
        Ok(match kind {
            Kind::Publish => Self::Publish { path, event },
            Kind::SegmentCreate => Self::SegmentCreate { path, file: required("MTX_SEGMENT_PATH")?, event },
            Kind::SegmentComplete => {
                let duration = variable("MTX_SEGMENT_DURATION").and_then(|seconds| seconds.parse::<f64>().ok());
                let duration = duration.filter(|seconds| *seconds > 0.0 && *seconds <= MAX_DURATION_SEC);
                #[expect(clippy::cast_possible_truncation, reason = "at most a day")]
                let start = duration.map(|seconds| event.plus_micros(-((seconds * 1e6).round() as i64)));
                let said = Said { event: Some(event), start, end: None };
                Self::SegmentComplete { path, file: required("MTX_SEGMENT_PATH")?, said }
            }
        })
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Publish { .. } => Kind::Publish,
            Self::SegmentCreate { .. } => Kind::SegmentCreate,
            Self::SegmentComplete { .. } => Kind::SegmentComplete,
        }
    }

    /// The body of its request.
    pub fn body(&self) -> Value {
        match self {
            Self::Publish { path, event } => json!({"path": path, "eventTs": event.to_micros()}),
            Self::SegmentCreate { path, file, event } => {
                json!({"path": path, "segmentPath": file, "eventTs": event.to_micros()})
            }
            Self::SegmentComplete { path, file, said } => {
                let mut body = json!({"path": path, "segmentPath": file});
                for (field, time) in [("eventTs", said.event), ("segmentStartTs", said.start), ("segmentEndTs", said.end)] {
                    if let Some(time) = time {
                        body[field] = time.to_micros().into();
                    }
                }
                body
            }
        }
    }

    /// The file in which it waits.
    pub fn to_file(&self) -> String {
        let mut file = json!({"version": VERSION, "hook": self.kind().as_str()});
        if let (Value::Object(file), Value::Object(body)) = (&mut file, self.body()) {
            file.extend(body);
        }
        format!("{file}\n")
    }

    /// Reads what [`Hook::to_file`] wrote.
    pub fn from_file(bytes: &[u8]) -> Result<Self, Invalid> {
        let waiting: Waiting = serde_json::from_slice(bytes).map_err(|error| Invalid(format!("it is no hook: {error}")))?;
        let Waiting { version, hook, path, segment_path, event_ts, segment_start_ts, segment_end_ts } = waiting;
        if version != VERSION {
            return Err(Invalid(format!("it is of version {version}, and this session-store reads version {VERSION}")));
        }
        let kind = Kind::named(&hook).ok_or_else(|| Invalid(format!("{hook} is no kind of hook")))?;
        check_text("path", &path, MAX_TEXT_BYTES)?;
        let event = Timestamp::parse_field("eventTs", &event_ts)?;
        let file = || {
            let file = segment_path.ok_or_else(|| Invalid::field("segmentPath", "is required"))?;
            check_text("segmentPath", &file, MAX_TEXT_BYTES)?;
            Ok(file)
        };
        let time = |field, text: Option<String>| text.map(|text| Timestamp::parse_field(field, &text)).transpose();
        Ok(match kind {
            Kind::Publish => Self::Publish { path, event },
            Kind::SegmentCreate => Self::SegmentCreate { path, file: file()?, event },
            Kind::SegmentComplete => {
                let (start, end) = (time("segmentStartTs", segment_start_ts)?, time("segmentEndTs", segment_end_ts)?);
                Self::SegmentComplete { path, file: file()?, said: Said { event: Some(event), start, end } }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Kind, variables: &[(&str, &str)]) -> Result<Hook, Invalid> {
        let event = Timestamp::from_micros(1_795_433_571_470_001);
        Hook::from_environment(kind, event, |name| {
            variables.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_hook_is_the_same_after_it_waited_in_a_file() {
        let variables =
            [("MTX_PATH", "site/gate"), ("MTX_SEGMENT_PATH", "./r/ä \"1\".mp4"), ("MTX_SEGMENT_DURATION", "5.0000005")];
        for kind in Kind::ALL {
            let hook = told(kind, &variables).expect("a hook");
            assert_eq!(Hook::from_file(hook.to_file().as_bytes()), Ok(hook.clone()), "{}", hook.to_file());
            assert_eq!(Kind::named(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn a_start_is_told_only_where_the_duration_is_sane() {
        for (duration, start) in [
            ("5.5", Some(1_795_433_565_970_001)),
            ("0.1", Some(1_795_433_571_370_001)),
            ("0", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("86400.1", None),
            ("", None),
            ("5s", None),
        ] {
            let hook = told(
                Kind::SegmentComplete,
                &[("MTX_PATH", "cam"), ("MTX_SEGMENT_PATH", "a.mp4"), ("MTX_SEGMENT_DURATION", duration)],
            );
            let Ok(Hook::SegmentComplete { said, .. }) = hook else { panic!("{hook:?}") };
            assert_eq!((said.start.map(Timestamp::micros), said.end), (start, None), "{duration}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (kind, variables, missing) in [
            (Kind::Publish, &[][..], "MTX_PATH"),
            (Kind::Publish, &[("MTX_PATH", "")], "MTX_PATH"),
            (Kind::SegmentCreate, &[("MTX_PATH", "cam")], "MTX_SEGMENT_PATH"),
            (Kind::SegmentComplete, &[("MTX_PATH", "cam"), ("MTX_SEGMENT_DURATION", "5")], "MTX_SEGMENT_PATH"),
        ] {
            let refused = told(kind, variables).expect_err("refused");
            assert!(refused.0.contains(missing), "{refused}");
        }
    }

    #[test]
    fn a_file_that_is_no_hook_is_refused_with_a_reason() {
        for (file, reason) in [
            ("", "no hook"),
            ("{\"version\":1", "no hook"),
            ("[]", "no hook"),
            (r#"{"version":2,"hook":"publish","path":"cam","eventTs":"2026-01-01"}"#, "version 2"),
            (r#"{"version":1,"hook":"unpublish","path":"cam","eventTs":"2026-01-01"}"#, "unpublish"),
            (r#"{"version":1,"hook":"publish","path":"","eventTs":"2026-01-01"}"#, "path"),
            (r#"{"version":1,"hook":"publish","path":"cam","eventTs":"yesterday"}"#, "eventTs"),
            (r#"{"version":1,"hook":"segment-create","path":"cam","eventTs":"2026-01-01"}"#, "segmentPath"),
        ] {
            let refused = Hook::from_file(file.as_bytes()).expect_err("refused");
            assert!(refused.0.contains(reason), "{file}: {refused}");
        }
    }
}
