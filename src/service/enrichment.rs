//! Enriching without a central database: what waits to be looked at, and what was seen.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::detection::Detection;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::time::Timestamp;
use crate::store::{Change, Urgency};

use super::sessions::SESSION_NOT_FOUND;
use super::{Service, ServiceError};

/// The longest attributes of a detection, in bytes of JSON.
pub const MAX_ATTRIBUTES_BYTES: usize = 16 << 10;
/// Entries of the feed looked at in one snapshot.
const AT_ONCE: usize = 1000;
/// A list is looked for so long; what was found by then is the answer.
const LOOK_FOR: Duration = Duration::from_secs(1);

/// What an enricher saw before it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It does not say.
    Anything,
    /// A best sighting captured then, to the millisecond.
    Capture(Timestamp),
    /// The state with this tag.
    Tag(String),
    /// Something that no detection can have.
    Nothing,
}

/// Detections that wait, and where to go on.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Oldest change first.
    pub detections: Vec<(SessionId, Detection)>,
    /// The `after` to go on with.
    pub next: u64,
}

/// The tag of a detection's best sighting: another one has another.
pub fn tag(detection: &Detection) -> String {
    let file = detection.picture.as_ref().map_or("", |picture| &picture.file);
    format!("{:016x}", xxh3_64(format!("{} {file}", detection.capture.micros()).as_bytes()))
}

impl Service {
    /// At most `limit` detections with a picture that nobody has looked at, behind `after`; waits for some up to `wait`.
    pub async fn pending_enrichment(&self, after: u64, limit: usize, wait: Duration) -> Result<Pending, ServiceError> {
        let mut head = self.store(Urgency::Urgent).await?.feed_head();
        let deadline = tokio::time::Instant::now() + wait;
        let until = Instant::now() + LOOK_FOR;
        let mut stopping = self.inner.stopping.subscribe();
        let mut pending = Pending { detections: Vec::new(), next: after };
        loop {
            let newest = *head.borrow_and_update();
            let since = pending.next;
            // Behind the end is somebody else's place, or from before a restore: the beginning is right for both.
            let since = if since > newest { 0 } else { since };
            let page = self.read(move |snapshot| Ok(snapshot.more_changes(since, AT_ONCE)?)).await?;
            let is_end = page.next >= newest || page.changes.is_empty();
            pending.next = page.next;
            for (seq, change) in page.changes {
                let Change::Detection(id, detection) = change else { continue };
                if detection.enriched || detection.picture.is_none() {
                    continue;
                }
                pending.detections.push((id, detection));
                if pending.detections.len() == limit {
                    pending.next = seq;
                    return Ok(pending);
                }
            }
            let is_late = tokio::time::Instant::now() >= deadline || *stopping.borrow();
            if (is_end && (!pending.detections.is_empty() || is_late)) || (!is_end && Instant::now() >= until) {
                return Ok(pending);
            }
            if is_end {
                tokio::select! {
                    _ = tokio::time::timeout_at(deadline, head.changed()) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => {}
                }
            }
        }
    }

    /// Merges `patch` into the attributes of a detection (RFC 7396: null removes), which is then looked at. An
    /// enrichment of another sighting than the best is a conflict.
    pub async fn patch_attributes(
        &self,
        id: SessionId,
        track: TrackId,
        seen: Seen,
        patch: Map<String, Value>,
    ) -> Result<Detection, ServiceError> {
        let notes = self.inner.settings.syncs;
        let session = id.clone();
        self.write(move |tx| {
            let Some((at, _)) = tx.session(&id)? else { return Ok(Err(ServiceError::NotFound(SESSION_NOT_FOUND))) };
            let Some(mut detection) = tx.detection(at, &track)? else {
                return Ok(Err(ServiceError::NotFound("Detection not found")));
            };
            let is_same = match &seen {
                Seen::Anything => true,
                Seen::Capture(capture) => capture.to_millis() == detection.capture.to_millis(),
                Seen::Tag(seen) => *seen == tag(&detection),
                Seen::Nothing => false,
            };
            if !is_same {
                return Ok(Err(ServiceError::Conflict("The detection has a better sighting by now; look at that one")));
            }
            let before = detection.attributes.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let mut attributes = before.unwrap_or(Value::Null);
            merge(&mut attributes, &Value::Object(patch.clone()));
            let text = attributes.to_string();
            if text.len() > MAX_ATTRIBUTES_BYTES {
                return Ok(Err(ServiceError::TooLarge("The detection's attributes", MAX_ATTRIBUTES_BYTES)));
            }
            if detection.enriched && detection.attributes.as_ref() == Some(&text) {
                return Ok(Ok(detection));
            }
            detection.attributes = Some(text);
            detection.enriched = true;
            detection.updated_at = tx.now();
            tx.put_detection(at, &session, &detection, None)?;
            if notes {
                tx.note_patched(at, &track)?;
            }
            Ok(Ok(detection))
        })
        .await?
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_changes_only_what_the_patch_names() {
        let mut target = json!({"color": {"name": "azul", "hex": "#1a3380"}, "plate": "X", "note": 1});
        merge(&mut target, &json!({"color": {"name": "rojo"}, "plate": null, "size": [1, 2]}));
        assert_eq!(target, json!({"color": {"name": "rojo", "hex": "#1a3380"}, "note": 1, "size": [1, 2]}));
        let mut none = Value::Null;
        merge(&mut none, &json!({"a": {"b": null}}));
        assert_eq!(none, json!({"a": {}}));
    }
}
