//! SIGTERM and SIGINT: the first asks to stop in order, a second one stops at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit status after a second signal.
const STOPPED_AT_ONCE: i32 = 130;

/// Listens for signals. The receiver turns true with the first.
///
/// # Errors
/// When the system refuses the handlers.
pub fn listen() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (asked, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        asked.send_replace(true);
        next().await;
        // Everything acknowledged is durable; there is nothing to save.
        std::process::exit(STOPPED_AT_ONCE);
    });
    Ok(receiver)
}
