//! `[sync]`: the sync with the central Postgres.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::central::{DayWindow, FrameDelivery};

use super::Reader;

/// What becomes of the central rows of a session that was deleted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// They stay.
    Keep,
    /// They go as well.
    Delete,
}

/// The sync.
#[derive(Debug, Clone)]
pub struct Sync {
    /// Whether there is any.
    pub enabled: bool,
    /// The central database, where it is not `[database] url`.
    pub url: Option<String>,
    /// The certificates that the server's must lead to.
    pub ca_file: Option<PathBuf>,
    /// This gateway's name there; the store's UUID where it is not set.
    pub gateway_id: Option<String>,
    /// How often the mere advance of a detection's times is pushed.
    pub touch_interval: Duration,
    /// How often is asked what came back.
    pub pull_interval: Duration,
    /// How often all rows are compared, beside those that changed.
    pub sweep_interval: Duration,
    /// What becomes of deleted sessions.
    pub on_delete: OnDelete,
    /// Whether a better picture is to be looked at anew.
    pub re_enrich: bool,
    /// Attributes that come so soon behind a better picture may be of the one before.
    pub enrich_guard: Duration,
    /// How pictures get there.
    pub frames: FrameDelivery,
    /// When the backlog may be pushed; always where it is not set.
    pub window: Option<DayWindow>,
    /// The most bytes of rows and pictures in an hour; 0 for no limit.
    pub bytes_per_hour: u64,
    /// The most bytes of pictures alone in an hour; 0 for no limit of their own.
    pub frame_bytes_per_hour: u64,
    /// Classes whose rows go first in a backlog.
    pub first_classes: Vec<String>,
}

/// `frames`, before it is known whether what it needs is there.
#[derive(Clone, Copy)]
enum Way {
    None,
    Shared,
    Table,
}

const SECTION: &str = "sync";

impl Sync {
    pub(super) fn read(reader: &mut Reader) -> Self {
        let enabled = reader.yes_or_no(SECTION, "enabled", false);
        let url = reader.optional_url(SECTION, "url");
        let ca_file = reader.optional_text(SECTION, "ca_file");
        let gateway_id = reader.optional_text(SECTION, "gateway_id");
        let mut seconds =
            |name, default, range| Duration::from_secs(reader.integer(SECTION, name, default, range).unsigned_abs());
        let touch_interval = seconds("touch_interval_sec", 60, 0..=86_400);
        let pull_interval = seconds("pull_interval_sec", 5, 1..=86_400);
        let sweep_interval = seconds("sweep_interval_sec", 86_400, 60..=31_536_000);
        let enrich_guard = seconds("enrich_guard_sec", 60, 0..=86_400);
        let re_enrich = reader.yes_or_no(SECTION, "re_enrich", true);
        let on_delete = [("keep", OnDelete::Keep), ("delete", OnDelete::Delete)];
        let on_delete = reader.word(SECTION, "on_delete", &on_delete, 0);
        let ways = [("none", Way::None), ("shared", Way::Shared), ("table", Way::Table)];
        let way = reader.word(SECTION, "frames", &ways, 0);
        let shared_path = reader.optional_text(SECTION, "shared_path");
        let window = reader.optional_read(SECTION, "window", "two times of the day such as 01:00-05:00", DayWindow::read);
        let mut kilobytes = |name| reader.integer(SECTION, name, 0, 0..=1_000_000_000).unsigned_abs() * 1000;
        let bytes_per_hour = kilobytes("kb_per_hour");
        let frame_bytes_per_hour = kilobytes("frames_kb_per_hour");
        let first_classes = reader.texts(SECTION, "first_classes", "classes such as \"person\"");
        if gateway_id.as_ref().is_some_and(|id| id.len() > 255 || id.contains('\0')) {
            reader.mistake("sync.gateway_id: must be at most 255 bytes without NUL".to_owned());
        }
        let frames = match (way, shared_path) {
            (Way::None, _) => FrameDelivery::None,
            (Way::Table, _) => FrameDelivery::Table,
            (Way::Shared, Some(path)) => FrameDelivery::Shared(PathBuf::from(path)),
            (Way::Shared, None) => {
                reader.mistake("sync.frames = \"shared\": sync.shared_path must name the shared folder".to_owned());
                FrameDelivery::None
            }
        };
        Self {
            enabled,
            url,
            ca_file: ca_file.map(PathBuf::from),
            gateway_id,
            touch_interval,
            pull_interval,
            sweep_interval,
            on_delete,
            re_enrich,
            enrich_guard,
            frames,
            window,
            bytes_per_hour,
            frame_bytes_per_hour,
            first_classes,
        }
    }
}
