//! What a connection is doing, seen from its bytes, so that one which does nothing can be told from a
//! slow one and either be closed in its time. hyper's own header time-out counts idle keep-alive
//! time, and would cut connections that clients are about to reuse.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::stream::Stream;

/// A request's head must be whole within this time, counted from its first byte; the first byte
/// of a new connection within the same.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// A connection that has served a request may wait so long for the next.
const IDLE_WITHIN: Duration = Duration::from_secs(75);
/// A client must take a byte of its answer within this time.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// When the daemon stops, a connection that has brought nothing yet may still do so within this time …
const FIRST_REQUEST_WITHIN: Duration = Duration::from_secs(1);
/// … and one that has been served before within this: its client may have sent, and would never learn what became of that.
const NEXT_REQUEST_WITHIN: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing has come yet.
    New,
    /// A request was served; nothing of the next has come.
    Idle,
    /// A head is coming in.
    Head,
    /// A request is being read or answered.
    Busy,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Requests being answered; more than one while the next is read behind the last.
    requests: usize,
    /// Since when the client takes nothing.
    stalled: Option<Instant>,
    /// Bytes of our answers may wait in hyper's buffer.
    unsent: bool,
}

/// What a connection is doing.
#[derive(Debug)]
pub struct Activity {
    state: Mutex<State>,
    evicted: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        let state = State { phase: Phase::New, since: Instant::now(), requests: 0, stalled: None, unsent: false };
        Self { state: Mutex::new(state), evicted: Notify::new() }
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A whole head has come.
    pub fn requested(&self) {
        let mut state = self.lock();
        state.requests += 1;
        state.phase = Phase::Busy;
    }

    /// An answer is handed to hyper.
    pub fn answering(&self) {
        self.lock().unsent = true;
    }

    /// An answer was handed over whole, or given up.
    pub fn responded(&self) {
        let mut state = self.lock();
        state.unsent = true;
        state.requests = state.requests.saturating_sub(1);
        if state.requests == 0 {
            state.phase = Phase::Idle;
            state.since = Instant::now();
        }
    }

    fn read(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::New | Phase::Idle) {
            // A new connection's time began when it was made.
            if matches!(state.phase, Phase::Idle) {
                state.since = Instant::now();
            }
            state.phase = Phase::Head;
        }
    }

    fn written(&self, stalled: bool) {
        let mut state = self.lock();
        if stalled {
            state.stalled.get_or_insert_with(Instant::now);
        } else {
            state.stalled = None;
            // What is left of an answer goes out after its body is done with: that is not idle time.
            if matches!(state.phase, Phase::Idle) {
                state.since = Instant::now();
            }
        }
    }

    /// hyper's buffer is empty.
    fn flushed(&self) {
        let mut state = self.lock();
        state.unsent &= state.requests > 0;
    }

    /// Whether there is nothing of ours to write: what is written now is hyper's own.
    fn has_nothing_to_say(&self) -> bool {
        let state = self.lock();
        state.requests == 0 && !state.unsent
    }

    /// Since when it has waited without a complete head; `None` while it is busy.
    pub fn waiting_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_waiting = !matches!(state.phase, Phase::Busy) && state.stalled.is_none();
        is_waiting.then_some(state.since)
    }

    /// How long a stop waits for a request that may be on its way here: sent, and not read yet.
    pub fn grace(&self) -> Duration {
        match self.lock().phase {
            Phase::New => FIRST_REQUEST_WITHIN,
            Phase::Idle => NEXT_REQUEST_WITHIN,
            Phase::Head | Phase::Busy => Duration::ZERO,
        }
    }

    /// Whether its time is up at `now`.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let state = self.lock();
        let waited = now.saturating_duration_since(state.since);
        let late = match state.phase {
            Phase::New | Phase::Head => waited >= HEAD_WITHIN,
            Phase::Idle => waited >= IDLE_WITHIN,
            Phase::Busy => false,
        };
        late || state.stalled.is_some_and(|since| now.saturating_duration_since(since) >= TAKEN_WITHIN)
    }

    /// Has it closed to make room.
    pub fn evict(&self) {
        // Not to be chosen again before it is gone.
        self.lock().phase = Phase::Busy;
        self.evicted.notify_one();
    }

    /// Returns when it must close to make room.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

/// A stream whose activity is seen. hyper answers a head that it cannot read by itself, without a body or any of the
/// headers that our answers have: that answer is held back here, and [`super::refusal`] says it in our own words.
pub struct Watched {
    /// The stream.
    pub stream: Stream,
    activity: Arc<Activity>,
    /// What hyper's own answer began with.
    refusal: Vec<u8>,
}

/// The length of `HTTP/1.1 400`.
const STATUS_ENDS_AT: usize = 12;

impl Watched {
    /// Watches `stream`.
    pub fn new(stream: Stream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, refusal: Vec::new() }
    }

    /// The status by which hyper refused a head, where it did.
    pub fn refused(&self) -> Option<StatusCode> {
        StatusCode::from_bytes(self.refusal.get(STATUS_ENDS_AT - 3..STATUS_ENDS_AT)?).ok()
    }

    fn note(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.activity.written(poll.is_pending());
        poll
    }

    /// Takes what hyper says of itself, as if it were written.
    fn hold_back(&mut self, bytes: &[u8]) -> usize {
        let missing = STATUS_ENDS_AT.saturating_sub(self.refusal.len());
        self.refusal.extend(&bytes[..missing.min(bytes.len())]);
        bytes.len()
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        }
        poll
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.activity.has_nothing_to_say() {
            return Poll::Ready(Ok(self.hold_back(bytes)));
        }
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.activity.has_nothing_to_say() {
            return Poll::Ready(Ok(bytes.iter().map(|bytes| self.hold_back(bytes)).sum()));
        }
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes the stream when its own buffer is empty.
        self.activity.flushed();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.refusal.is_empty() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
