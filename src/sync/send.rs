//! Sends the pictures that rows have asked for: the newest first, in pieces, so that a link that breaks has not carried the rest in
//! vain, and so that rows need never wait for a whole picture.

use std::collections::VecDeque;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Statement};

use crate::domain::frame::Jpeg;
use crate::domain::ids::SessionId;
use crate::service::Service;

use super::frames::file_here;
use super::limit::Limit;
use super::trouble::Trouble;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;
/// Pictures asked for at once. One that comes meanwhile goes first: then the list is read anew.
const LISTED: i64 = 50;
/// A frames folder whose volume is not mounted is looked for so often.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// A file that cannot be read is tried again so often, …
const TRY_AGAIN: Duration = Duration::from_secs(600);
/// … and so many are remembered.
const MAX_UNREADABLE: usize = 1000;
/// About what goes around a piece.
const AROUND: usize = 250;

/// A larger one, which only an import can have brought, is checked where it arrives.
const MAX_CHECKED: i32 = 8 << 20;
/// So many pictures may lie in the database, of all gateways, until somebody writes them out; then no more are sent.
const MAX_ARRIVED: i64 = 10_000;
const ARRIVED: &str = "SELECT count(*) FROM (SELECT FROM session_store.frames WHERE sent = length LIMIT $1) AS arrived";

const LIST: &str = "
SELECT id, session_id, url_frame, sent, length FROM session_store.frames
WHERE gateway_id = $1 AND sent IS DISTINCT FROM length AND id <> ALL($3::bigint[]) ORDER BY capture_ts DESC, id LIMIT $2";
/// Only where it is still wanted, and the piece the next one.
const SEND: &str = "
WITH moved AS (
    UPDATE session_store.frames SET sent = sent + octet_length($3::bytea), length = $4 WHERE id = $1 AND sent = $2 RETURNING id
)
INSERT INTO session_store.frame_pieces (frame_id, start, bytes) SELECT id, $2, $3 FROM moved";
const BEGIN_ANEW: &str = "
WITH begun AS (UPDATE session_store.frames SET sent = 0, length = NULL WHERE id = $1 RETURNING id)
DELETE FROM session_store.frame_pieces p USING begun b WHERE p.frame_id = b.id";
const GIVE_UP: &str = "DELETE FROM session_store.frames WHERE id = $1";

/// A picture on its way.
struct Wanted {
    id: i64,
    session: String,
    url: String,
    sent: i32,
    length: Option<i32>,
}

/// What its file gives.
enum Piece {
    /// These bytes, of so many in all.
    Bytes(Vec<u8>, i32),
    /// It is another file than was begun.
    Changed,
    /// There is no such file.
    Gone,
    /// It cannot be read: the disk may say so, or a process that has too many files open.
    Unreadable,
    /// The whole folder is not there.
    Away,
}

/// Sends over one connection.
pub struct Sender {
    list: Statement,
    send: Statement,
    wanted: VecDeque<Wanted>,
    /// Whether something may be wanted that is not listed.
    is_stale: bool,
    /// Those whose files could not be read, since a while.
    unreadable: Vec<i64>,
    tried: Instant,
}

impl Sender {
    /// Prepared on one connection.
    pub async fn new(client: &Client) -> Result<Self, Trouble> {
        let (list, send) = (client.prepare(LIST).await?, client.prepare(SEND).await?);
        Ok(Self { list, send, wanted: VecDeque::new(), is_stale: true, unreadable: Vec::new(), tried: Instant::now() })
    }

    /// Rows were written that may have asked for pictures.
    pub fn look_again(&mut self) {
        self.is_stale = true;
    }

    /// The next of the list; behind its last there may be more.
    fn next(&mut self) {
        self.wanted.pop_front();
        self.is_stale |= self.wanted.is_empty();
    }

    /// Sends one piece; says whether there may be another, and after how long.
    pub async fn step(
        &mut self,
        client: &Client,
        gateway: &str,
        service: &Service,
        limit: &mut Limit,
    ) -> Result<Option<Duration>, Trouble> {
        if self.tried.elapsed() >= TRY_AGAIN {
            self.tried = Instant::now();
            self.is_stale |= !self.unreadable.is_empty();
            self.unreadable.clear();
        }
        if self.is_stale {
            let arrived: i64 = client.query_one(ARRIVED, &[&MAX_ARRIVED]).await?.get(0);
            let is_full = arrived >= MAX_ARRIVED;
            service.report_central(|central| central.frames_held_up = is_full);
            if is_full {
                self.wanted.clear();
                return Ok(Some(LOOK_AGAIN));
            }
            let rows = client.query(&self.list, &[&gateway, &LISTED, &self.unreadable]).await?;
            let wanted = |row: tokio_postgres::Row| Wanted {
                id: row.get(0),
                session: row.get(1),
                url: row.get(2),
                sent: row.get(3),
                length: row.get(4),
            };
            self.wanted = rows.into_iter().map(wanted).collect();
            self.is_stale = false;
        }
        let Some(wanted) = self.wanted.front_mut() else { return Ok(None) };
        let wait = limit.wait_for_frames();
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        match piece(service, wanted).await? {
            Piece::Bytes(bytes, length) => {
                limit.use_frame_bytes(bytes.len() + AROUND);
                let is_taken = client.execute(&self.send, &[&wanted.id, &wanted.sent, &bytes, &length]).await? == 1;
                wanted.sent += i32::try_from(bytes.len()).unwrap_or(0);
                wanted.length = Some(length);
                if is_taken && wanted.sent < length {
                    return Ok(Some(Duration::ZERO));
                }
                if is_taken {
                    service.report_central(|central| central.frames_sent += 1);
                }
                self.next();
            }
            Piece::Changed => {
                client.execute(BEGIN_ANEW, &[&wanted.id]).await?;
                (wanted.sent, wanted.length) = (0, None);
            }
            Piece::Unreadable if self.unreadable.len() < MAX_UNREADABLE => {
                self.unreadable.push(wanted.id);
                self.next();
            }
            Piece::Away => return Ok(Some(LOOK_AGAIN)),
            // Beaten: its successor's row comes. Deleted with its session, or lost: then there is nothing to look at.
            Piece::Gone | Piece::Unreadable => {
                client.execute(GIVE_UP, &[&wanted.id]).await?;
                self.next();
            }
        }
        Ok(Some(Duration::ZERO))
    }
}

/// The next piece of `wanted`.
async fn piece(service: &Service, wanted: &Wanted) -> Result<Piece, Trouble> {
    let session = SessionId::new("session", wanted.session.clone()).ok();
    let file = session.and_then(|session| Some((file_here(&wanted.url, &session)?, session)));
    let Some((file, session)) = file else { return Ok(Piece::Gone) };
    let (uuid, _) = service.identity().await?;
    let (frames, sent, begun) = (service.frames_folder(), wanted.sent, wanted.length);
    let read = tokio::task::spawn_blocking(move || {
        let read = || -> io::Result<Piece> {
            let mut file = frames.open(&session, &file)?;
            let length = i32::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
            if length == 0 {
                return Ok(Piece::Gone);
            }
            if begun.is_some_and(|begun| begun != length) || sent > length {
                return Ok(Piece::Changed);
            }
            if sent == 0 && length <= MAX_CHECKED {
                // The enricher would fail at one that is broken, so it need not be sent.
                let mut whole = Vec::new();
                file.read_to_end(&mut whole)?;
                if let Err(invalid) = Jpeg::new("its file", whole.into()) {
                    tracing::warn!(%session, "a frame is not sent: {invalid}");
                    return Ok(Piece::Gone);
                }
            }
            let left = usize::try_from(length - sent).map_err(io::Error::other)?;
            let mut bytes = vec![0; left.min(PIECE)];
            file.read_exact_at(&mut bytes, u64::from(sent.unsigned_abs()))?;
            Ok(Piece::Bytes(bytes, length))
        };
        read().unwrap_or_else(|error| {
            if !frames.is_paired(&uuid) {
                return Piece::Away;
            }
            if error.kind() == io::ErrorKind::NotFound {
                return Piece::Gone;
            }
            tracing::warn!(%error, %session, "a frame cannot be read and is not sent; it is tried again");
            Piece::Unreadable
        })
    });
    read.await.map_err(|error| Trouble::Store(error.to_string()))
}
