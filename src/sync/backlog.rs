//! What the feed held when a connection began, page by page; where some classes go first, in two passes.
//!
//! An entry of the feed never changes: what changes gets a new number, behind the backlog's end. So what the first pass has taken can be
//! told by the entry alone, and the second leaves out just that.

use tokio::task::JoinHandle;

use crate::service::{Service, ServiceError};
use crate::store::Change;

use super::trouble::Trouble;

/// Entries of the feed in one transaction.
pub const PAGE: usize = 1000;
/// Pages of which nothing is to be pushed that are read before the place is noted.
const AT_ONCE: usize = 20;

/// Changes by their numbers, and where to go on.
type Page = (Vec<(u64, Change)>, u64);

/// A page of the feed behind `since`.
pub async fn page(service: Service, since: u64) -> Result<Page, ServiceError> {
    let page = service.feed_page(since, PAGE).await?;
    Ok((page.changes, page.next))
}

/// The backlog.
pub struct Backlog {
    /// Classes whose rows go first.
    classes: Vec<String>,
    /// How far those are pushed …
    first: u64,
    /// … how far all is …
    all: u64,
    /// … and where it ends.
    end: u64,
    /// The next page, read while the one before is being written, and behind which number it begins.
    ahead: Option<(u64, JoinHandle<Result<Page, ServiceError>>)>,
}

impl Backlog {
    /// Behind `all` up to `end`; rows of `classes` go first, and are there up to `first`.
    pub fn new(classes: Vec<String>, first: u64, all: u64, end: u64) -> Self {
        let first = first.max(all);
        Self { classes, first, all, end, ahead: None }
    }

    /// Whether all is read.
    pub fn is_done(&self) -> bool {
        self.all >= self.end
    }

    /// Up to where all is read.
    pub fn all(&self) -> u64 {
        self.all
    }

    /// Up to where the rows that go first are read.
    pub fn first(&self) -> u64 {
        self.first.max(self.all)
    }

    /// Once it is done, begins anew behind `from` up to `end`.
    pub fn begin(&mut self, from: u64, end: u64) {
        (self.first, self.all, self.end, self.ahead) = (from, from, end, None);
    }

    /// The page that was read ahead may hold what is older than what is pushed now.
    pub fn forget_ahead(&mut self) {
        self.ahead = None;
    }

    /// What is to be pushed next.
    pub async fn next(&mut self, service: &Service) -> Result<Vec<(u64, Change)>, Trouble> {
        for _ in 0..AT_ONCE {
            let is_first_pass = !self.classes.is_empty() && self.first < self.end;
            let since = if is_first_pass { self.first } else { self.all };
            let (mut changes, next) = match self.ahead.take_if(|(begin, _)| *begin == since) {
                Some((_, reading)) => reading.await.map_err(|error| Trouble::Store(error.to_string()))??,
                None => page(service.clone(), since).await?,
            };
            let next = next.min(self.end);
            let (end, taken) = (self.end, self.first);
            if is_first_pass {
                changes.retain(|(seq, change)| *seq <= end && goes_first(change, &self.classes));
                self.first = next;
            } else {
                changes.retain(|(seq, change)| *seq <= end && !(*seq <= taken && goes_first(change, &self.classes)));
                self.all = next;
            }
            let is_through = next >= self.end;
            if !is_through {
                self.ahead = Some((next, tokio::spawn(page(service.clone(), next))));
            }
            if is_through || !changes.is_empty() {
                return Ok(changes);
            }
        }
        Ok(Vec::new())
    }
}

/// Whether it is of one of `classes`.
fn goes_first(change: &Change, classes: &[String]) -> bool {
    match change {
        Change::Session(session) => session.detected_classes.iter().any(|class| classes.contains(class)),
        Change::Detection(_, detection) => classes.contains(&detection.cls),
        Change::SessionDeleted(_) => false,
    }
}
