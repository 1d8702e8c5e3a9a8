//! Work on a database that may be damaged, where redb may panic.

use std::panic;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;

/// Runs `work` on a thread of its own; a panic there becomes a sentence that names the way out.
///
/// # Errors
/// That of `work`, or that sentence.
pub fn guard<T: Send>(config: &Config, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let told: Arc<Mutex<Option<String>>> = Arc::default();
    let tell = Arc::clone(&told);
    panic::set_hook(Box::new(move |info| {
        let mut told = tell.lock().unwrap_or_else(PoisonError::into_inner);
        told.get_or_insert_with(|| info.payload_as_str().unwrap_or("no reason given").to_owned());
    }));
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    drop(panic::take_hook());
    done.unwrap_or_else(|_| {
        let reason = told.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        Err(format!(
            "The database {} cannot be read to its end ({reason}): it is damaged. Move it away and `restore` a backup; without one, \
             `repair --from-files` brings back what lies beside the frames.",
            config.database.path.display()
        ))
    })
}
