//! Bad input, as a sentence for the one who sent it.

use std::fmt;

/// Why a value was refused: one sentence that names the field. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Invalid {
    /// A refusal of `field`, with what is wrong and what is allowed.
    pub fn field(field: &str, problem: impl fmt::Display) -> Self {
        Self(format!("{field} {problem}"))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}
