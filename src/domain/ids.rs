//! Names chosen by clients: checked once, here, before anything reaches the disk.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::Invalid;

/// The longest id in bytes, which is also the longest name of a folder on Linux.
pub const MAX_ID_BYTES: usize = 255;

/// A session's id: 1 to 255 bytes of text that can be one folder's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(String);

/// The name of one file below a session's folder, under the same rules as an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

/// A tracked object's id within its session: 1 to 255 bytes of any text but NUL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(String);

macro_rules! path_safe {
    ($name:ident) => {
        impl $name {
            /// Checks `text`, the value of `field`.
            pub fn new(field: &str, text: impl Into<String>) -> Result<Self, Invalid> {
                let text = text.into();
                check_path_part(field, &text)?;
                Ok(Self(text))
            }

            /// Decodes and checks one raw segment of a URL's path.
            pub fn from_url(field: &str, raw: &str) -> Result<Self, Invalid> {
                Self::new(field, decode(field, raw)?)
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

path_safe!(SessionId);
path_safe!(FileName);

impl TrackId {
    /// Checks `text`, the value of `field`.
    pub fn new(field: &str, text: impl Into<String>) -> Result<Self, Invalid> {
        let text = text.into();
        check_text(field, &text, MAX_ID_BYTES)?;
        Ok(Self(text))
    }

    /// Decodes and checks one raw segment of a URL's path.
    pub fn from_url(field: &str, raw: &str) -> Result<Self, Invalid> {
        Self::new(field, decode(field, raw)?)
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a free text that must be there: not empty, no NUL (Postgres cannot hold one),
/// at most `max` bytes.
pub fn check_text(field: &str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::field(field, "must not be empty"));
    }
    if text.len() > max {
        return Err(Invalid::field(field, format_args!("must be at most {max} bytes long")));
    }
    if text.contains('\0') {
        return Err(Invalid::field(field, "must not contain a NUL character"));
    }
    Ok(())
}

fn check_path_part(field: &str, text: &str) -> Result<(), Invalid> {
    check_text(field, text, MAX_ID_BYTES)?;
    if text == "." || text == ".." {
        return Err(Invalid::field(field, "must not be . or .."));
    }
    if text.contains(['/', '\\']) {
        return Err(Invalid::field(field, "must not contain / or \\"));
    }
    Ok(())
}

fn decode(field: &str, raw: &str) -> Result<String, Invalid> {
    let mut rest = raw.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let escape = rest.get(at + 1..at + 3);
        if !escape.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Invalid::field(field, "has a % that is not followed by two hexadecimal digits"));
        }
        rest = &rest[at + 3..];
    }
    match percent_decode_str(raw).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Invalid::field(field, "must be percent-encoded UTF-8")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_leave_its_folder_is_refused() {
        for raw in ["", ".", "..", "%2e%2e", "%2E", "a%2Fb", "a/b", "a%5cb", "a\\b", "a%00", "%", "%2", "%zz", "%ff"] {
            assert!(SessionId::from_url("sessionId", raw).is_err(), "{raw}");
        }
        let long = "x".repeat(256);
        assert!(SessionId::from_url("sessionId", &long).is_err());
    }

    #[test]
    fn an_id_may_be_any_other_text() {
        for (raw, text) in [("a%20b", "a b"), ("%25", "%"), ("a+b", "a+b"), ("...", "..."), ("%C3%A9", "é"), ("%2520", "%20")] {
            assert_eq!(SessionId::from_url("sessionId", raw).as_ref().map(SessionId::as_str), Ok(text));
        }
        assert!(SessionId::from_url("sessionId", &"é".repeat(127)).is_ok());
    }
}
