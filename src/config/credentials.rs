//! Secrets that systemd hands over as files (`LoadCredential=`, see systemd.exec(5)).

use std::io::ErrorKind;
use std::path::PathBuf;

/// Where they lie; by default nowhere.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Option<PathBuf>);

impl Credentials {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self(std::env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty()).map(PathBuf::from))
    }

    /// The content of the one called `name`, without the end of its line; `None` where there is none.
    pub fn read(&self, name: &str) -> Result<Option<String>, String> {
        let Some(folder) = &self.0 else { return Ok(None) };
        match std::fs::read_to_string(folder.join(name)) {
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("the credential {name} cannot be read: {error}")),
        }
    }
}
