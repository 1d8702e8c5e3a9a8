//! The command line, nothing else.

fn main() -> std::process::ExitCode {
    session_store::cli::run()
}
