//! A hold: an operator's word that a session must stay, whatever retention says.

use super::time::Timestamp;

/// Why a session must stay, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The operator's words.
    pub reason: String,
    /// Its end; `None` where it holds until it is taken away.
    pub until: Option<Timestamp>,
    /// When it was put there.
    pub since: Timestamp,
}

impl Hold {
    /// Whether it still holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// Of two stores' words on the same session the one that holds longer.
    pub fn longer(mine: Option<Self>, other: Option<&Self>) -> Option<Self> {
        let end = |hold: &Self| hold.until.unwrap_or(Timestamp::MAX);
        match (mine, other) {
            (Some(mine), Some(other)) if end(other) > end(&mine) => Some(other.clone()),
            (None, other) => other.cloned(),
            (mine, _) => mine,
        }
    }
}
