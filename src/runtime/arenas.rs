//! The C library's allocator, which gives threads up to eight arenas a core. Each keeps what it once needed, and pages of the
//! database's cache lie scattered over all of them: under mixed load the daemon held 10 MiB more than it used.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where the allocator reads their number, before `main`. There is a call for it too, but an unsafe one.
const VARIABLE: &str = "MALLOC_ARENA_MAX";
/// With one, threads wait for each other; each further one costs a megabyte or two.
const MAX_ARENAS: &str = "2";

/// Becomes the same program with few arenas, unless whoever started it chose their number. For the first step of a long life:
/// the process id stays, all else begins anew. Where it cannot be done, things stay as they are.
pub fn limit() {
    if std::env::var_os(VARIABLE).is_some() || !cfg!(target_env = "gnu") {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).env(VARIABLE, MAX_ARENAS).exec();
    eprintln!(
        "session-store: goes on with more memory than it needs, since it cannot be begun with {VARIABLE}={MAX_ARENAS}: {error}."
    );
}
