//! The change feed, with waiting.

use std::time::Duration;

use crate::store::{FeedPage, Urgency};

use super::{Service, ServiceError};

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
        if epoch.is_some_and(|epoch| epoch != mine) {
            return Err(ServiceError::Restarted);
        }
        let deadline = tokio::time::Instant::now() + wait;
        let mut head = store.feed_head();
        let mut stopping = self.inner.stopping.subscribe();
        loop {
            head.borrow_and_update();
            let page = self.read(move |snapshot| Ok(snapshot.changes(since, limit)?)).await?;
            if !page.changes.is_empty() || tokio::time::Instant::now() >= deadline || *stopping.borrow() {
                return Ok((mine, page));
            }
            tokio::select! {
                _ = tokio::time::timeout_at(deadline, head.changed()) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }
}
