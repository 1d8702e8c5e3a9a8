//! `session-store check-config`.

use std::process::ExitCode;

use crate::config::{Loaded, Mistakes};

/// Prints the settings in force, or every mistake.
pub fn run(loaded: Result<Loaded, Mistakes>) -> ExitCode {
    match loaded {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            match &loaded.file {
                Some(file) => eprintln!("# {} with the defaults for what it does not say", file.display()),
                None => eprintln!("# the built-in defaults: no configuration file was found"),
            }
            print!("{}", loaded.effective());
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            eprintln!("{mistakes}");
            ExitCode::FAILURE
        }
    }
}
