//! The feed and its tombstones.

use super::super::feed::Entity;
use super::super::tables::{DETECTIONS, FEED, SESSIONS, TOMBSTONES, raw};
use super::super::{StoreError, record};
use super::{After, Look, Next, behind, reason};

impl Look<'_> {
    pub(super) fn feed(&mut self, after: &After) -> Next {
        let after = if let After::Number(seq) = after { Some(*seq) } else { None };
        if after.is_none() {
            // Few, and gone within the time that a deletion is remembered.
            for entry in self.snapshot.table(TOMBSTONES)?.range::<u64>(..)? {
                let seq = entry?.0.value();
                self.looked.rows += 1;
                let entity = self.snapshot.table(FEED)?.get(seq)?.map(|bytes| record::decode_entity(bytes.value()));
                if !matches!(entity, Some(Ok(Entity::SessionDeleted(_)))) {
                    self.misfit(format!("tombstones: the feed does not tell of a deletion at number {seq}"));
                }
            }
        }
        for entry in self.snapshot.table(FEED)?.range::<u64>(behind(after))? {
            let (seq, bytes) = entry?;
            let seq = seq.value();
            match record::decode_entity(bytes.value()) {
                Err(error) => self.misfit(format!("feed: the entry {seq} {}", reason(&error))),
                Ok(entity) => {
                    if let Some(misfit) = self.one_entry(seq, &entity)? {
                        self.misfit(format!("feed: the entry {seq} {misfit}"));
                    }
                }
            }
            if self.is_full() {
                return Ok(Some(After::Number(seq)));
            }
        }
        Ok(None)
    }

    fn one_entry(&self, seq: u64, entity: &Entity) -> Result<Option<String>, StoreError> {
        let own = match entity {
            Entity::Session(at) => {
                let bytes = self.snapshot.table(SESSIONS)?.get(raw(*at))?;
                bytes.map(|bytes| record::decode_session(bytes.value()).map(|(_, own)| own))
            }
            Entity::Detection(at, track) => {
                let bytes = self.snapshot.table(DETECTIONS)?.get((at.number, track.as_str()))?;
                bytes.map(|bytes| record::decode_detection(track.as_str(), bytes.value()).map(|(_, own)| own))
            }
            Entity::SessionDeleted(id) => {
                let is_buried = self.snapshot.table(TOMBSTONES)?.get(seq)?.is_some();
                return Ok((!is_buried).then(|| format!("tells that session {id} was deleted, which tombstones lacks")));
            }
        };
        Ok(match own {
            None => Some("names what is not there".to_owned()),
            Some(Ok(own)) if own != seq => Some(format!("names what says that it stands at number {own}")),
            // What cannot be read is told of in its own table.
            Some(_) => None,
        })
    }
}
