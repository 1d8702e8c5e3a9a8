//! Every table. Keys and values are explained in `docs/design/storage.md`.

use redb::TableDefinition;

use crate::domain::query::SessionKey;

/// (start in microseconds, number): a [`SessionKey`].
pub type RawSessionKey = (i64, u64);
/// A word (class, colour, path, device) and the session it leads to.
pub type RawIndexKey = (&'static str, i64, u64);

/// (path, class of length, start in microseconds, file).
pub type RawSegmentKey = (&'static str, u8, i64, &'static str);

/// The store's facts about itself, as text.
pub const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// Session id → key.
pub const SESSION_IDS: TableDefinition<&str, RawSessionKey> = TableDefinition::new("session_ids");
/// Key → session record; the order of every list.
pub const SESSIONS: TableDefinition<RawSessionKey, &[u8]> = TableDefinition::new("sessions");
/// Sessions without an end.
pub const OPEN_SESSIONS: TableDefinition<RawSessionKey, ()> = TableDefinition::new("open_sessions");
/// Sessions with an end, by the power of two of their duration.
pub const CLOSED_SESSIONS: TableDefinition<(u8, i64, u64), ()> = TableDefinition::new("closed_sessions");
/// Class seen → session.
pub const BY_CLASS: TableDefinition<RawIndexKey, ()> = TableDefinition::new("sessions_by_class");
/// Path → session.
pub const BY_PATH: TableDefinition<RawIndexKey, ()> = TableDefinition::new("sessions_by_path");
/// Device → session.
pub const BY_DEVICE: TableDefinition<RawIndexKey, ()> = TableDefinition::new("sessions_by_device");
/// Colour's name in lower case → session, with the number of its detections of that colour.
pub const BY_COLOR: TableDefinition<RawIndexKey, u32> = TableDefinition::new("sessions_by_color");
/// (session number, track) → detection record.
pub const DETECTIONS: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("detections");
/// (session number, file) → frame record: how many detections show it, its length and hash.
pub const FRAMES: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("frames");
/// (session id, file) of frames that no detection shows any more.
pub const BEATEN_FRAMES: TableDefinition<(&str, &str), ()> = TableDefinition::new("beaten_frames");
/// (path, file) → segment record.
pub const SEGMENTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("segments");
/// (path, power of two of its length, start, file) → end: segments by time.
pub const SEGMENTS_BY_TIME: TableDefinition<RawSegmentKey, i64> = TableDefinition::new("segments_by_time");
/// Path → when it was published while no session was open there.
pub const PUBLISHED: TableDefinition<&str, i64> = TableDefinition::new("published");
/// Feed number → what changed.
pub const FEED: TableDefinition<u64, &[u8]> = TableDefinition::new("feed");
/// Feed number of a tombstone → microseconds of the deletion.
pub const TOMBSTONES: TableDefinition<u64, i64> = TableDefinition::new("tombstones");

/// Sessions that are held.
pub const HELD_SESSIONS: TableDefinition<RawSessionKey, ()> = TableDefinition::new("held_sessions");
/// Id of a deleted session whose folders are still there → whether that of its tracks is to go, too.
pub const DELETED_FOLDERS: TableDefinition<&str, bool> = TableDefinition::new("deleted_folders");

/// The stored form of `key`.
pub fn raw(key: SessionKey) -> RawSessionKey {
    (key.start, key.number)
}

/// The key stored as `raw`.
pub fn key(raw: RawSessionKey) -> SessionKey {
    SessionKey { start: raw.0, number: raw.1 }
}
