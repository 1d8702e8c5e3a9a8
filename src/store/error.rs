//! What can go wrong in the store.

use std::fmt;
use std::io;

/// A failure of the database or of a file beside it.
#[derive(Debug)]
pub enum StoreError {
    /// redb's own error.
    Database(redb::Error),
    /// A file beside the database.
    File(io::Error),
    /// Something that an operator must decide; a whole sentence.
    Refused(String),
    /// A record that cannot be read: the table, the key and the reason.
    Record(String),
    /// A page that makes no sense, so that redb gave up in the middle.
    Damaged,
    /// The database is closed or being healed.
    Unavailable,
    /// The database's file or its journal is not in its place any more, though it is still open.
    Gone,
}

impl StoreError {
    /// Whether a full disk (or quota) is behind it.
    pub fn is_disk_full(&self) -> bool {
        let (Self::Database(redb::Error::Io(error)) | Self::File(error)) = self else { return false };
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether the volume takes no writes at all, as after an error of its disk.
    pub fn is_read_only(&self) -> bool {
        let (Self::Database(redb::Error::Io(error)) | Self::File(error)) = self else { return false };
        error.kind() == io::ErrorKind::ReadOnlyFilesystem
    }

    /// Whether what the database holds cannot be right.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged | Self::Record(_) | Self::Database(redb::Error::Corrupted(_)))
    }

    /// Whether redb will answer nothing more until the file is opened again.
    pub fn needs_reopening(&self) -> bool {
        matches!(self, Self::Database(redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the database answered: {error}"),
            Self::File(error) => write!(f, "a file beside the database: {error}"),
            Self::Refused(sentence) => f.write_str(sentence),
            Self::Record(what) => write!(f, "a record cannot be read: {what}"),
            Self::Damaged => f.write_str("a page of the database makes no sense"),
            Self::Gone => f.write_str(
                "the database or its journal was deleted or replaced while it is open: nothing more is stored. What was is still read: take it \
                 with `session-store backup` before anything is stopped",
            ),
            Self::Unavailable => f.write_str("the database is being opened again after an error"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        })*
    };
}

from_redb!(
    redb::Error,
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError
);

/// Why a change was not made durable. Nothing of it is stored.
#[derive(Debug)]
pub enum WriteError {
    /// Too many changes wait; try again.
    Busy,
    /// The disk is full.
    Full,
    /// Anything else; told in the log.
    Failed(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("too many changes wait for the store"),
            Self::Full => f.write_str("the disk is full"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for WriteError {}
