//! The change feed, with waiting.

use std::time::Duration;

use crate::store::{FeedPage, Urgency};

use super::{Service, ServiceError};

/// Stands in a reader's epoch before the number at which the feed ended when it began at 0. No epoch holds it.
const BEGAN: char = '.';

impl Service {
    /// The feed's epoch, and at most `limit` entries after `since`; where there are none yet, waits
    /// for some up to `wait`.
    pub async fn changes(
        &self,
        since: u64,
        epoch: Option<String>,
        limit: usize,
        wait: Duration,
    ) -> Result<(String, FeedPage), ServiceError> {
        let store = self.store(Urgency::Urgent).await?;
        let mine = store.identity().epoch.clone();
        let began = match epoch {
            Some(epoch) => began_of(&epoch, &mine)?,
            None => None,
        };
        let deadline = tokio::time::Instant::now() + wait;
        let mut head = store.feed_head();
        let mut stopping = self.inner.stopping.subscribe();
        loop {
            head.borrow_and_update();
            let page = self.read(move |snapshot| Ok(snapshot.changes(since, began, limit)?)).await?;
            if !page.changes.is_empty() || tokio::time::Instant::now() >= deadline || *stopping.borrow() {
                let epoch = page.began.map_or_else(|| mine.clone(), |began| format!("{mine}{BEGAN}{began}"));
                return Ok((epoch, page));
            }
            tokio::select! {
                _ = tokio::time::timeout_at(deadline, head.changed()) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }
}

/// Where the feed ended when the reader with this `epoch` began, where the epoch says so.
fn began_of(epoch: &str, mine: &str) -> Result<Option<u64>, ServiceError> {
    let rest = epoch.strip_prefix(mine).ok_or(ServiceError::Restarted)?;
    if rest.is_empty() {
        return Ok(None);
    }
    let number = rest.strip_prefix(BEGAN).and_then(|number| number.parse().ok());
    number.map(Some).ok_or(ServiceError::Restarted)
}
