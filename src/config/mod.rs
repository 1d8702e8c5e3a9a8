//! `config.toml`: one file a section; this one puts them together.

mod credentials;
mod database;
mod feed;
mod frames;
mod live;
mod log;
mod mediamtx;
mod nested;
mod playback;
mod reader;
mod retention;
mod secrecy;
mod server;
mod sessions;
mod sync;
mod tracks;

use std::fmt;
use std::path::{Path, PathBuf};

pub use credentials::Credentials;
pub use database::Database;
pub use feed::Feed;
pub use frames::Frames;
pub use log::{Level, Log, LogFormat};
pub use mediamtx::MediaMtx;
pub use playback::Playback;
pub use reader::Key;
pub use retention::Retention;
pub use server::{CorsOrigins, Exempt, Server};
pub use sessions::Sessions;
pub use sync::{OnDelete, Sync};
pub use tracks::Tracks;

use reader::Reader;

/// The environment variable that names a configuration file.
pub const ENVIRONMENT: &str = "SESSION_STORE_CONFIG";
/// The file that is read where it exists and no other is named.
pub const DEFAULT_FILE: &str = "config.toml";

/// All settings, valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// The port and its limits.
    pub server: Server,
    /// The store.
    pub database: Database,
    /// Frame files.
    pub frames: Frames,
    /// Track files.
    pub tracks: Tracks,
    /// The recorder.
    pub mediamtx: MediaMtx,
    /// What players are told.
    pub playback: Playback,
    /// What becomes of sessions that nobody closes.
    pub sessions: Sessions,
    /// What is deleted, and when.
    pub retention: Retention,
    /// The change feed.
    pub feed: Feed,
    /// The sync with the central Postgres.
    pub sync: Sync,
    /// The log.
    pub log: Log,
}

/// A configuration with what there is to say about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where they come from; `None` for the defaults alone.
    pub file: Option<PathBuf>,
    /// One sentence for each thing that looks wrong but does no harm.
    pub warnings: Vec<String>,
    /// Every key there is, with its default and its value.
    pub keys: Vec<Key>,
}

/// Every mistake in a configuration, a sentence each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Mistakes {}

impl Loaded {
    /// Reads `file`, else the file that the environment names, else `./config.toml` where it
    /// exists, else takes the defaults.
    ///
    /// # Errors
    /// Every mistake in the file, or that it cannot be read.
    pub fn find(file: Option<&Path>) -> Result<Self, Mistakes> {
        let named =
            file.map(Path::to_owned).or_else(|| std::env::var_os(ENVIRONMENT).filter(|name| !name.is_empty()).map(PathBuf::from));
        let file = named.or_else(|| Path::new(DEFAULT_FILE).exists().then(|| PathBuf::from(DEFAULT_FILE)));
        let credentials = Credentials::of_process();
        let Some(file) = file else { return Self::parse_with("", credentials) };
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Mistakes(vec![format!("The configuration {} cannot be read: {error}.", file.display())]))?;
        let loaded = Self::parse_with(&text, credentials).map_err(|Mistakes(all)| {
            Mistakes(all.into_iter().map(|mistake| format!("{}: {mistake}", file.display())).collect())
        })?;
        Ok(Self { file: Some(file), ..loaded })
    }

    /// Reads a configuration's text alone.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        Self::parse_with(text, Credentials::default())
    }

    fn parse_with(text: &str, credentials: Credentials) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(text, credentials)?;
        let config = Config {
            server: Server::read(&mut reader),
            database: Database::read(&mut reader),
            frames: Frames::read(&mut reader),
            tracks: Tracks::read(&mut reader),
            mediamtx: MediaMtx::read(&mut reader),
            playback: Playback::read(&mut reader),
            sessions: Sessions::read(&mut reader),
            retention: Retention::read(&mut reader),
            feed: Feed::read(&mut reader),
            sync: Sync::read(&mut reader),
            log: Log::read(&mut reader),
        };
        let (keys, warnings) = reader.finish()?;
        Ok(Self { config, file: None, warnings, keys })
    }

    /// The settings in force as a configuration file, secrets masked.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in &self.keys {
            if key.section != section {
                section = key.section;
                text.push_str(&format!("{}[{section}]\n", if text.is_empty() { "" } else { "\n" }));
            }
            match key.shown() {
                Some(value) => text.push_str(&format!("{} = {value}\n", key.name)),
                None => text.push_str(&format!("# {} is not set\n", key.name)),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        Loaded::parse(text).err().map_or_else(Vec::new, |mistakes| mistakes.0)
    }

    #[test]
    fn every_mistake_is_named_with_its_key_its_value_and_what_is_allowed() {
        let all = mistakes("[server]\nport = 99999\nhost = 5\n[database]\ncache_mb = \"much\"\n[log]\nformat = \"xml\"\n");
        assert_eq!(all.len(), 4, "{all:?}");
        for (mistake, parts) in all.iter().zip([
            ["line 3: server.host", "5", "text"],
            ["line 2: server.port", "99999", "0 to 65535"],
            ["line 5: database.cache_mb", "\"much\"", "whole number"],
            ["line 7: log.format", "\"xml\"", "journald"],
        ]) {
            assert!(parts.iter().all(|part| mistake.contains(part)), "{mistake}");
        }
        assert!(mistakes("[server\n")[0].contains("line 1"), "{:?}", mistakes("[server\n"));
    }

    #[test]
    fn an_unknown_key_is_a_warning_that_suggests_the_nearest_known_one() {
        let loaded = Loaded::parse("[server]\nprot = 1\n[sevrer]\nport = 2\n").expect("loads");
        assert!(
            loaded.warnings[0].contains("server.prot") && loaded.warnings[0].contains("server.port"),
            "{:?}",
            loaded.warnings
        );
        assert!(loaded.warnings[1].contains("sevrer") && loaded.warnings[1].contains("server"), "{:?}", loaded.warnings);
    }

    /// The earlier service listened on all interfaces and answered every origin.
    #[test]
    fn the_earlier_services_file_works_unchanged() {
        let text = include_str!("../../tests/data/earlier-service.toml");
        let loaded = Loaded::parse(text).expect("loads");
        assert_eq!(loaded.config.server.host, "0.0.0.0");
        assert!(loaded.config.server.cors_origins.allows_all());
        assert!(loaded.warnings.iter().any(|warning| warning.contains("node_env") && warning.contains("host")));
        assert_eq!(loaded.config.playback.start_offset_ms, 1000);
        assert!(!loaded.effective().contains("user:password"));
    }

    #[test]
    fn what_may_change_while_it_runs_is_known_and_told_in_the_reference() {
        let keys = Loaded::parse("").expect("loads").keys;
        let reference = include_str!("../../docs/ref/configuration.md");
        let told = reference.lines().find(|line| line.starts_with("**Live**")).expect("a line on what is live");
        for (section, name) in live::LIVE {
            assert!(keys.iter().any(|key| (key.section, key.name) == (section, name)), "{section}.{name} is no key");
            assert!(told.contains(&format!("`{section}.{name}`")), "{section}.{name} in {told}");
        }
    }

    #[test]
    fn an_empty_hook_token_is_none() {
        let loaded = Loaded::parse("[mediamtx]\nhook_token = \"\"\n").expect("loads");
        assert_eq!(loaded.config.mediamtx.hook_token, None);
    }

    /// `config.toml`, the reference and the code must tell the same.
    #[test]
    fn file_code_and_reference_agree_on_every_key() {
        let file = include_str!("../../config.toml");
        let reference = include_str!("../../docs/ref/configuration.md");
        let keys = Loaded::parse(file).expect("config.toml loads").keys;
        let mut in_file = Vec::new();
        let mut section = "";
        for line in file.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            } else if let Some((name, rest)) = line.trim_start_matches("# ").split_once(" = ") {
                let (value, note) = rest.split_once(" # ").unwrap_or((rest, ""));
                assert!(!note.trim().is_empty(), "{section}.{name} has no line on it");
                in_file.push((section.to_owned(), name.to_owned(), (!line.starts_with('#')).then(|| value.trim().to_owned())));
            }
        }
        let in_code: Vec<_> = keys
            .iter()
            .map(|key| (key.section.to_owned(), key.name.to_owned(), key.default.as_ref().map(ToString::to_string)))
            .collect();
        assert_eq!(in_file, in_code);
        for key in &keys {
            let default = key.default.as_ref().map_or("not set".to_owned(), |value| format!("`{value}`"));
            let row = format!("| `{}` | {default} | {} |", key.name, key.allowed);
            assert!(reference.contains(&row), "docs/ref/configuration.md has no row that begins {row}");
        }
    }
}
