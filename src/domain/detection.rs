//! A detection: one tracked object of a session, holding its best sighting.

use serde_json::Value;

use super::ids::TrackId;
use super::time::Timestamp;

/// One look at one object, as a frame's `detections` tell it. Valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// The object.
    pub track: TrackId,
    /// Its class.
    pub cls: String,
    /// How sure the worker is, 0 to 1.
    pub conf: f64,
    /// `{"x","y","w","h"}` as JSON text, in the units the client sent.
    pub bbox: String,
}

/// The picture a detection shows: that of the best sighting that brought one.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// File name below the session's frames folder.
    pub file: String,
    /// Confidence of the sighting that brought it; below the best one where that brought none.
    pub conf: f64,
}

/// A detection as it is kept and shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The object.
    pub track: TrackId,
    /// Class of the best sighting.
    pub cls: String,
    /// Confidence of the best sighting, 0 to 1.
    pub conf: f64,
    /// Box of the best sighting, JSON text.
    pub bbox: String,
    /// Its picture, if any sighting brought one.
    pub picture: Option<Picture>,
    /// First time the object was seen.
    pub first: Timestamp,
    /// Last time the object was seen.
    pub last: Timestamp,
    /// When the best sighting was captured.
    pub capture: Timestamp,
    /// When the best sighting reached the store.
    pub ingest: Timestamp,
    /// When the store first heard of the object.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// JSON text written by the enricher.
    pub attributes: Option<String>,
    /// Whether the enricher has looked at it.
    pub enriched: bool,
}

/// What a sighting did to its detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effect {
    /// It is the best sighting now.
    pub better: bool,
    /// Its picture is the detection's now.
    pub pictured: bool,
    /// It was earlier than the first or later than the last.
    pub widened: bool,
}

impl Effect {
    /// Whether it left anything that must not be lost (see invariant 1: a mere touch may wait).
    pub fn improves(self) -> bool {
        self.better || self.pictured
    }
}

impl Detection {
    /// The detection that an object's first sighting makes.
    pub fn first_seen(sighting: &Sighting, capture: Timestamp, picture: Option<&str>, now: Timestamp) -> Self {
        Self {
            track: sighting.track.clone(),
            cls: sighting.cls.clone(),
            conf: sighting.conf,
            bbox: sighting.bbox.clone(),
            picture: picture.map(|file| Picture { file: file.to_owned(), conf: sighting.conf }),
            first: capture,
            last: capture,
            capture,
            ingest: now,
            created_at: now,
            updated_at: now,
            attributes: None,
            enriched: false,
        }
    }

    /// What `sighting` would do, brought with a picture or not. Once false, `better` and
    /// `pictured` stay false for good, since the best confidence only rises.
    pub fn effect_of(&self, sighting: &Sighting, capture: Timestamp, with_picture: bool) -> Effect {
        Effect {
            better: sighting.conf > self.conf,
            pictured: with_picture && self.picture.as_ref().is_none_or(|picture| sighting.conf > picture.conf),
            widened: capture < self.first || capture > self.last,
        }
    }

    /// Takes a further sighting in; the order of sightings makes no difference to the result
    /// unless two have the same confidence, where the first to come stays.
    pub fn see(&mut self, sighting: &Sighting, capture: Timestamp, picture: Option<&str>, now: Timestamp) -> Effect {
        let effect = self.effect_of(sighting, capture, picture.is_some());
        if effect.better {
            self.cls.clone_from(&sighting.cls);
            self.conf = sighting.conf;
            self.bbox.clone_from(&sighting.bbox);
            self.capture = capture;
            self.ingest = now;
        }
        if effect.pictured {
            self.picture = picture.map(|file| Picture { file: file.to_owned(), conf: sighting.conf });
        }
        self.widen(capture, capture);
        if effect.improves() || effect.widened {
            self.updated_at = now;
        }
        effect
    }

    /// Widens the time in which the object was seen; says whether that changed anything.
    pub fn widen(&mut self, first: Timestamp, last: Timestamp) -> bool {
        let before = (self.first, self.last);
        self.first = self.first.min(first);
        self.last = self.last.max(last);
        (self.first, self.last) != before
    }

    /// Takes in another store's record of the same object: the higher confidence wins,
    /// times widen, and attributes stay with the capture they describe. Says whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        let before = self.clone();
        if other.conf > self.conf {
            self.cls.clone_from(&other.cls);
            self.conf = other.conf;
            self.bbox.clone_from(&other.bbox);
            self.ingest = other.ingest;
            if other.capture != self.capture {
                self.attributes.clone_from(&other.attributes);
                self.enriched = other.enriched;
            }
            self.capture = other.capture;
        }
        if other.capture == self.capture && other.enriched && !self.enriched {
            self.attributes.clone_from(&other.attributes);
            self.enriched = true;
        }
        let mine = self.picture.as_ref().map(|picture| picture.conf);
        if other.picture.as_ref().is_some_and(|theirs| mine.is_none_or(|mine| theirs.conf > mine)) {
            self.picture.clone_from(&other.picture);
        }
        self.widen(other.first, other.last);
        self.created_at = self.created_at.min(other.created_at);
        let changed = *self != before;
        if changed {
            self.updated_at = self.updated_at.max(other.updated_at);
        }
        changed
    }

    /// The colour's name in lower case, where an enricher found one. An enricher's `{"error":…}` has none.
    pub fn color_name(&self) -> Option<String> {
        if !self.enriched {
            return None;
        }
        let attributes: Value = serde_json::from_str(self.attributes.as_deref()?).ok()?;
        Some(attributes.get("color")?.get("name")?.as_str()?.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn sighting(conf: f64) -> Sighting {
        Sighting {
            track: TrackId::new("trackId", "1").expect("valid"),
            cls: format!("class of {conf}"),
            conf,
            bbox: format!("{{\"x\":{conf}}}"),
        }
    }

    fn see_all(sightings: &[(u8, i64, bool)]) -> Detection {
        let mut detection: Option<Detection> = None;
        for (conf, second, pictured) in sightings {
            let sighting = sighting(f64::from(*conf) / 255.0);
            let picture = pictured.then(|| format!("{conf}.jpg"));
            match &mut detection {
                None => detection = Some(Detection::first_seen(&sighting, at(*second), picture.as_deref(), at(0))),
                Some(detection) => {
                    detection.see(&sighting, at(*second), picture.as_deref(), at(0));
                }
            }
        }
        detection.expect("at least one sighting")
    }

    proptest! {
        /// The client's requests race, come twice and come late; all the same one record must come of them.
        #[test]
        fn any_order_and_duplication_of_sightings_gives_the_same_record(
            by_conf in proptest::collection::btree_map(any::<u8>(), (0_i64..1000, any::<bool>()), 1..12),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 1..40),
        ) {
            let sightings: Vec<_> = by_conf.into_iter().map(|(conf, (second, pictured))| (conf, second, pictured)).collect();
            let mut shuffled: Vec<_> = order.iter().map(|index| sightings[index.index(sightings.len())]).collect();
            shuffled.extend(sightings.iter().rev());
            prop_assert_eq!(see_all(&shuffled), see_all(&sightings));
        }
    }

    #[test]
    fn the_picture_stays_when_a_better_sighting_brings_none() {
        let detection = see_all(&[(100, 1, true), (200, 2, false), (90, 3, true)]);
        assert_eq!(detection.picture.map(|picture| picture.file).as_deref(), Some("100.jpg"));
        assert_eq!(detection.capture, at(2));
    }

    #[test]
    fn an_enrichers_error_is_not_a_colour() {
        let mut detection = see_all(&[(100, 1, true)]);
        detection.enriched = true;
        detection.attributes = Some(r#"{"error":"cannot open color.name"}"#.into());
        assert_eq!(detection.color_name(), None);
        detection.attributes = Some(r#"{"color":{"name":"Azul Oscuro"}}"#.into());
        assert_eq!(detection.color_name().as_deref(), Some("azul oscuro"));
        detection.enriched = false;
        assert_eq!(detection.color_name(), None);
    }

    #[test]
    fn a_merge_keeps_the_attributes_of_the_capture_they_describe() {
        let mut low = see_all(&[(100, 1, true)]);
        let mut high = see_all(&[(200, 2, true)]);
        low.enriched = true;
        low.attributes = Some(r#"{"color":{"name":"rojo"}}"#.into());
        let mut merged = low.clone();
        assert!(merged.merge(&high));
        assert_eq!((merged.conf, merged.attributes.clone(), merged.enriched), (high.conf, None, false));
        assert!(!merged.clone().merge(&high), "the same import again changes nothing");
        high.enriched = true;
        high.attributes = Some(r#"{"color":{"name":"verde"}}"#.into());
        assert!(merged.merge(&high));
        assert_eq!(merged.color_name().as_deref(), Some("verde"));
        assert!(!merged.merge(&low));
    }
}
