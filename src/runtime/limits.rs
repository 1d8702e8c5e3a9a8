//! What the machine lets the process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are no connections: the database, the log, folders, the runtime.
const OWN_DESCRIPTORS: u64 = 64;
/// A connection has its socket, and may have a file open while it is answered.
const DESCRIPTORS_PER_CONNECTION: u64 = 2;

/// Raises the soft limit of file descriptors as far as `connections` need and the system lets it;
/// returns how many connections there can be without ever running out.
pub fn fit_descriptors(connections: usize) -> usize {
    let needed = connections as u64 * DESCRIPTORS_PER_CONNECTION + OWN_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let mut available = soft;
    if soft < needed {
        let wanted = needed.min(hard);
        if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).is_ok() {
            available = wanted;
        }
    }
    let room = available.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION;
    connections.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}
