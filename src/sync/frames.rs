//! Pictures on their way to the central enricher. It draws into the file that it opens, so each detection gets one of its own.

use std::io;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::central::FrameDelivery;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::wire::{file_of_frame_url, frame_url};
use crate::service::Service;

use super::trouble::Trouble;

/// Between a frame's name and what makes it one detection's own. No frame's name holds it.
const MARK: char = '~';

/// The name of the copy of `file` that belongs to `track`.
fn own_name(file: &str, track: &TrackId) -> String {
    let stem = file.strip_suffix(".jpg").unwrap_or(file);
    format!("{stem}{MARK}{:016x}.jpg", xxh3_64(track.as_str().as_bytes()))
}

/// The file at the gateway whose copy `url` names.
pub fn file_here(url: &str, session: &SessionId) -> Option<String> {
    let file = file_of_frame_url(url, session)?;
    Some(match file.rsplit_once(MARK) {
        Some((stem, _)) => format!("{stem}.jpg"),
        None => file.to_owned(),
    })
}

/// How pictures get there.
#[derive(Clone)]
pub struct Frames {
    delivery: FrameDelivery,
    service: Service,
}

impl Frames {
    /// By `delivery`.
    pub fn new(delivery: FrameDelivery, service: Service) -> Self {
        Self { delivery, service }
    }

    /// The word by which the central database knows it.
    pub fn word(&self) -> &'static str {
        match self.delivery {
            FrameDelivery::None => "none",
            FrameDelivery::Shared(_) => "shared",
        }
    }

    /// Whether no picture gets there.
    pub fn are_blind(&self) -> bool {
        self.delivery == FrameDelivery::None
    }

    /// The central `url_frame` of a detection.
    pub fn url(&self, session: &SessionId, track: &TrackId, file: &str) -> String {
        match self.delivery {
            FrameDelivery::None => frame_url(session, file),
            FrameDelivery::Shared(_) => frame_url(session, &own_name(file, track)),
        }
    }

    /// Delivers pictures, before the rows that name them; says of each whether it is there.
    pub async fn deliver(&self, pictures: Vec<(SessionId, TrackId, String)>) -> Result<Vec<bool>, Trouble> {
        let FrameDelivery::Shared(shared) = self.delivery.clone() else { return Ok(vec![false; pictures.len()]) };
        let frames = self.service.frames_folder();
        let copied = tokio::task::spawn_blocking(move || {
            let mut delivered = Vec::with_capacity(pictures.len());
            for (session, track, file) in pictures {
                let copied = frames.copy_to(&shared, &session, &file, &own_name(&file, &track));
                delivered.push(match copied {
                    Ok(()) => true,
                    // Beaten and deleted meanwhile, or lost: its row comes again, or waits for a better one.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && shared.is_dir() => false,
                    Err(error) => return Err(unusable(&shared, &error)),
                });
            }
            Ok(delivered)
        });
        copied.await.map_err(|error| Trouble::Store(error.to_string()))?
    }

    /// Deletes copies that no row names any more; says which are gone.
    pub async fn delete(&self, urls: Vec<String>) -> Result<Vec<String>, Trouble> {
        let FrameDelivery::Shared(shared) = self.delivery.clone() else { return Ok(urls) };
        let deleted = tokio::task::spawn_blocking(move || {
            let mut gone = Vec::new();
            for url in urls {
                // What is not a copy of ours stays.
                let ours =
                    url.strip_prefix("/frames/").and_then(|rest| rest.split_once('/')).filter(|(_, file)| file.contains(MARK));
                let done = ours.map_or(Ok(()), |(session, file)| crate::service::central::delete_shared(&shared, session, file));
                match done {
                    Ok(()) => gone.push(url),
                    Err(error) => return Err(unusable(&shared, &error)),
                }
            }
            Ok(gone)
        });
        deleted.await.map_err(|error| Trouble::Store(error.to_string()))?
    }
}

fn unusable(shared: &Path, error: &io::Error) -> Trouble {
    Trouble::Away(format!("the shared folder {} cannot be used: {error}", shared.display()))
}
