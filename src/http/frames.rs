//! `/frames/:sessionId/:file`.

use crate::domain::ids::{FileName, SessionId};

use super::Api;
use super::reply::{Answer, Caching, Reply, Tag};

/// `GET /frames/:sessionId/:file`. The enricher draws into these files, so their tag is made of
/// their bytes each time.
pub async fn one(api: &Api, id: &str, file: &str) -> Answer {
    let id = SessionId::from_url("sessionId", id)?;
    let file = FileName::from_url("file", file)?;
    Ok(Reply::file(api.service.frame(id, file).await?, Tag::Bytes, "image/jpeg", Caching::Revalidated))
}
