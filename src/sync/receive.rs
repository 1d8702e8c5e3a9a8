//! At the centre: writes the pictures that gateways sent (`[sync] frames = "table"`) into the enricher's folder, and only then says of
//! their rows that there is something to look at.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio_postgres::Client;

use crate::domain::frame::Jpeg;
use crate::domain::ids::{FileName, SessionId};
use crate::domain::wire::file_of_frame_url;
use crate::runtime::shutdown;
use crate::service::central::{delete_shared, put_received, sweep_received};

use super::address::Address;
use super::connection::connect;
use super::frames::{TABLE, delete_copies, unusable};
use super::schema;
use super::trouble::Trouble;

/// Pictures, or deletions, of one round.
const AT_ONCE: i64 = 100;
/// What has arrived is looked for so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a failure.
const TRY_AGAIN: Duration = Duration::from_secs(5);

const ARRIVED: &str = "SELECT id, session_id, track_id, url_frame, length FROM session_store.frames
WHERE sent = length AND id <> ALL($2) ORDER BY capture_ts DESC, id LIMIT $1";
const PICTURE: &str =
    "SELECT coalesce(string_agg(bytes, ''::bytea ORDER BY start), '') FROM session_store.frame_pieces WHERE frame_id = $1";
/// In the order in which a gateway takes them.
const LOCK: &str = "SELECT FROM detections WHERE session_id = $1 AND track_id = $2 FOR UPDATE";
const PLACED: &str = "
WITH placed AS (DELETE FROM session_store.frames WHERE id = $1 RETURNING *),
guarded AS (
    UPDATE session_store.guards g SET until = now() + make_interval(secs => p.guard_sec) FROM placed p
    WHERE g.gateway_id = p.gateway_id AND g.session_id = p.session_id AND g.track_id = p.track_id AND g.until = 'infinity'
)
UPDATE detections d SET enriched = FALSE FROM placed p
WHERE d.session_id = p.session_id AND d.track_id = p.track_id AND d.url_frame = p.url_frame";
const IS_NAMED: &str = "SELECT EXISTS (SELECT FROM detections WHERE session_id = $1 AND track_id = $2 AND url_frame = $3)";
const GIVE_UP: &str = "DELETE FROM session_store.frames WHERE id = $1";
const BEATEN: &str = "SELECT b.gateway_id, b.url_frame FROM session_store.beaten_frames b
JOIN session_store.gateways g ON g.gateway_id = b.gateway_id AND g.frames = $1 LIMIT $2";
const FORGET: &str = "DELETE FROM session_store.beaten_frames b USING unnest($1::text[], $2::text[]) AS i(gateway_id, url_frame)
WHERE b.gateway_id = i.gateway_id AND b.url_frame = i.url_frame";

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// Pictures written out.
    pub written: u64,
    /// Pictures that were none, and were given up.
    pub damaged: u64,
    /// Pictures deleted that no row names any more.
    pub deleted: u64,
}

impl Received {
    fn any(self) -> bool {
        self != Self::default()
    }
}

/// Writes out what has arrived, and what arrives, until SIGTERM or SIGINT; `once`: only what has arrived.
///
/// # Errors
/// A sentence: when `once`, that something failed; else only that it cannot begin.
pub fn run(address: &Address, folder: &Path, once: bool) -> Result<Received, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("The runtime cannot be started: {error}."))?;
    let mut receiver = Receiver { address, folder, done: Received::default(), held: Vec::new(), reason: None };
    let done = runtime.block_on(async {
        if once {
            let done = receiver.receive(true).await;
            return done.map_err(|trouble| format!("What gateways sent to {} cannot be written out: {trouble}.", address.shown));
        }
        let mut stop = shutdown::listen().map_err(|error| format!("Signals cannot be handled: {error}."))?;
        tokio::select! {
            () = receiver.live() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        Ok(())
    });
    done.map(|()| receiver.done)
}

struct Receiver<'r> {
    address: &'r Address,
    folder: &'r Path,
    done: Received,
    /// Pictures that could not be written out over this connection, and why the first could not.
    held: Vec<i64>,
    reason: Option<Trouble>,
}

impl Receiver<'_> {
    /// Receives whatever happens; what goes wrong is told once, when it changes.
    async fn live(&mut self) {
        let mut told: Option<String> = None;
        loop {
            let before = self.done;
            let Err(trouble) = self.receive(false).await else { continue };
            if self.done != before {
                told = None;
            }
            let text = trouble.to_string();
            if told.as_ref() != Some(&text) {
                tracing::warn!(server = self.address.shown, "pictures cannot be written out: {text}; trying on");
                told = Some(text);
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Over one connection.
    async fn receive(&mut self, once: bool) -> Result<(), Trouble> {
        let mut client = connect(self.address).await?;
        schema::prepare(&mut client).await?;
        let folder = self.folder.to_owned();
        on_disk(self.folder, move || sweep_received(&folder)).await?;
        self.held.clear();
        loop {
            let round = self.round(&mut client).await?;
            if round.any() {
                let Received { written, damaged, deleted } = round;
                tracing::info!(written, damaged, deleted, "pictures of gateways");
                continue;
            }
            if let Some(trouble) = self.reason.take() {
                return Err(trouble);
            }
            if once {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn round(&mut self, client: &mut Client) -> Result<Received, Trouble> {
        let begun = self.done;
        for row in client.query(ARRIVED, &[&AT_ONCE, &self.held]).await? {
            let arrived = Arrived { id: row.get(0), session: row.get(1), track: row.get(2), url: row.get(3), length: row.get(4) };
            self.write(client, &arrived).await?;
        }
        let rows = client.query(BEATEN, &[&TABLE, &AT_ONCE]).await?;
        if !rows.is_empty() {
            let gateways: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let urls: Vec<String> = rows.iter().map(|row| row.get(1)).collect();
            delete_copies(self.folder.to_owned(), urls.clone()).await?;
            self.done.deleted += client.execute(FORGET, &[&gateways, &urls]).await?;
        }
        Ok(Received {
            written: self.done.written - begun.written,
            damaged: self.done.damaged - begun.damaged,
            deleted: self.done.deleted - begun.deleted,
        })
    }

    async fn write(&mut self, client: &mut Client, arrived: &Arrived) -> Result<(), Trouble> {
        let bytes: Vec<u8> = client.query_one(PICTURE, &[&arrived.id]).await?.get(0);
        if bytes.is_empty() {
            // Given up meanwhile: a better one is on its way.
            return Ok(());
        }
        let place = match arrived.place(&bytes) {
            Ok(place) => place,
            Err(reason) => {
                tracing::warn!(url_frame = arrived.url, "a picture is given up: {reason}");
                client.execute(GIVE_UP, &[&arrived.id]).await?;
                self.done.damaged += 1;
                return Ok(());
            }
        };
        let folder = self.folder.to_owned();
        let to = place.clone();
        if let Err(trouble) = on_disk(self.folder, move || put_received(&folder, &to.0, &to.1, &bytes)).await {
            // It may be its session's folder alone that cannot be written to.
            self.held.push(arrived.id);
            self.reason.get_or_insert(trouble);
            return Ok(());
        }
        let tx = client.transaction().await?;
        tx.execute(LOCK, &[&arrived.session, &arrived.track]).await?;
        tx.execute(PLACED, &[&arrived.id]).await?;
        let is_named: bool = tx.query_one(IS_NAMED, &[&arrived.session, &arrived.track, &arrived.url]).await?.get(0);
        tx.commit().await?;
        if !is_named {
            // Beaten, or deleted, while it was being written.
            let folder = self.folder.to_owned();
            on_disk(self.folder, move || delete_shared(&folder, place.0.as_str(), &place.1)).await?;
        }
        self.done.written += u64::from(is_named);
        Ok(())
    }
}

async fn on_disk(folder: &Path, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), Trouble> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Trouble::Store(error.to_string()))?;
    done.map_err(|error| unusable(folder, &error))
}

/// A picture that is here whole.
struct Arrived {
    id: i64,
    session: String,
    track: String,
    url: String,
    length: i32,
}

impl Arrived {
    /// Where it belongs. The enricher would fail at one that is broken, for good.
    fn place(&self, bytes: &[u8]) -> Result<(SessionId, String), String> {
        let session = SessionId::new("session", self.session.clone()).map_err(|invalid| invalid.to_string())?;
        let file = file_of_frame_url(&self.url, &session).ok_or("it leads out of its session's folder")?;
        let file = FileName::new("url_frame", file).map_err(|invalid| invalid.to_string())?;
        if i32::try_from(bytes.len()) != Ok(self.length) {
            return Err(format!("{} bytes of {} are here", bytes.len(), self.length));
        }
        Jpeg::new("the file", bytes.to_vec().into()).map_err(|invalid| invalid.to_string())?;
        Ok((session, file.as_str().to_owned()))
    }
}
