//! Pictures on their way to the central enricher. It draws into the file that it opens, so each detection gets one of its own.

use std::io;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::domain::central::FrameDelivery;
use crate::domain::ids::{SessionId, TrackId};
use crate::domain::wire::{file_of_frame_url, frame_url};
use crate::service::Service;

use super::trouble::Trouble;

/// Between a frame's name and what makes it one detection's own. No frame's name holds it.
const MARK: char = '~';
/// The word of pictures that are sent through a table.
pub const TABLE: &str = "table";

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
            FrameDelivery::Table => TABLE,
        }
    }

    /// Whether no picture gets there.
    pub fn are_blind(&self) -> bool {
        self.delivery == FrameDelivery::None
    }

    /// Whether they are sent after the rows that name them.
    pub fn are_sent(&self) -> bool {
        self.delivery == FrameDelivery::Table
    }

    /// The central `url_frame` of a detection.
    pub fn url(&self, session: &SessionId, track: &TrackId, file: &str) -> String {
        match self.delivery {
            FrameDelivery::None => frame_url(session, file),
            FrameDelivery::Shared(_) | FrameDelivery::Table => frame_url(session, &own_name(file, track)),
        }
    }

    /// Delivers pictures, before the rows that name them; says of each whether it is there.
    pub async fn deliver(&self, pictures: Vec<(SessionId, TrackId, String)>) -> Result<Vec<bool>, Trouble> {
        let FrameDelivery::Shared(shared) = self.delivery.clone() else { return Ok(vec![false; pictures.len()]) };
        let frames = self.service.frames_folder();
        let (uuid, _) = self.service.identity().await?;
        let copied = tokio::task::spawn_blocking(move || {
            let mut delivered = Vec::with_capacity(pictures.len());
            for (session, track, file) in pictures {
                let copied = frames.copy_to(&shared, &session, &file, &own_name(&file, &track));
                delivered.push(match copied {
                    Ok(()) => true,
                    Err(error) if error.kind() == io::ErrorKind::NotFound && shared.is_dir() => {
                        if !frames.is_paired(&uuid) {
                            return Err(away(frames.root()));
                        }
                        // Beaten and deleted meanwhile, or lost: its row comes again, or waits for a better one.
                        false
                    }
                    Err(error) => return Err(unusable(&shared, &error)),
                });
            }
            Ok(delivered)
        });
        copied.await.map_err(|error| Trouble::Store(error.to_string()))?
    }

    /// The folder of copies, where this gateway writes and deletes them itself.
    pub fn shared(&self) -> Option<&Path> {
        if let FrameDelivery::Shared(shared) = &self.delivery { Some(shared) } else { None }
    }
}

/// The session and the file of a copy that a gateway made; what is none stays as it is.
pub fn own_copy(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("/frames/").and_then(|rest| rest.split_once('/')).filter(|(_, file)| file.contains(MARK))
}

/// Deletes the copies in `shared` that no row names any more.
pub async fn delete_copies(shared: PathBuf, urls: Vec<String>) -> Result<(), Trouble> {
    let deleted = tokio::task::spawn_blocking(move || {
        for (session, file) in urls.iter().filter_map(|url| own_copy(url)) {
            crate::service::central::delete_shared(&shared, session, file).map_err(|error| unusable(&shared, &error))?;
        }
        Ok(())
    });
    deleted.await.map_err(|error| Trouble::Store(error.to_string()))?
}

/// That the own folder of frames is not there.
fn away(frames: &Path) -> Trouble {
    Trouble::Store(format!("the frames folder {} is not this store's: is its volume mounted?", frames.display()))
}

/// That the folder of copies cannot be used.
pub fn unusable(shared: &Path, error: &io::Error) -> Trouble {
    Trouble::Away(format!("the shared folder {} cannot be used: {error}", shared.display()))
}
