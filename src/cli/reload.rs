//! SIGHUP: the configuration is read again, and what may change while the daemon runs is changed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::config::{Config, Loaded};
use crate::domain::zone::Zone;
use crate::http::Api;
use crate::runtime::{systemd, telemetry};
use crate::service::Service;

use super::serve;

/// Takes changes of the configuration over.
pub struct Reloader {
    /// What was asked for by `--config`.
    pub file: Option<PathBuf>,
    /// Of the names of recordings.
    pub zone: Zone,
    /// Where the daemon listens.
    pub addresses: Vec<SocketAddr>,
    /// What the daemon was started with: what needs a restart stays so.
    pub started: Loaded,
    /// What was last read without a mistake.
    pub read: Loaded,
    /// Its live part goes here …
    pub api: Arc<Api>,
    /// … and here.
    pub service: Service,
}

impl Reloader {
    /// Reads the configuration again at each of `hangups`.
    pub async fn run(mut self, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            systemd::reloading();
            let file = self.file.clone();
            match tokio::task::spawn_blocking(move || Loaded::find(file.as_deref())).await {
                Ok(Ok(loaded)) => self.take(loaded),
                Ok(Err(mistakes)) => {
                    for mistake in &mistakes.0 {
                        tracing::error!("{mistake}");
                    }
                    tracing::error!(
                        "the configuration has mistakes: the one before stays in force; a start with this one would fail"
                    );
                }
                Err(error) => tracing::error!(%error, "the configuration was not read"),
            }
            systemd::ready();
        }
    }

    fn take(&mut self, loaded: Loaded) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let mut config = self.started.config.clone();
        config.take_live(&loaded.config);
        self.change(&config);
        serve::warn_of_exposure(&self.addresses, &config);
        let mut changed = 0;
        for (new, (read, started)) in loaded.keys.iter().zip(self.read.keys.iter().zip(&self.started.keys)) {
            let (name, shown) = (new.full_name(), new.shown().unwrap_or_else(|| "not set".to_owned()));
            if new.is_live() && new.value() != read.value() {
                tracing::info!("{name} is now {shown}");
                changed += 1;
            } else if !new.is_live() && new.value() != started.value() {
                tracing::warn!("{name} = {shown} needs a restart; until then it stays as it was");
            }
        }
        tracing::info!("the configuration was read again: {changed} settings changed");
        telemetry::set_level(loaded.config.log.level);
        self.read = loaded;
    }

    fn change(&self, config: &Config) {
        // What is said of the change itself is seen at either level.
        telemetry::set_level(config.log.level.max(self.read.config.log.level));
        let max_connections = serve::connections(config);
        self.api.change(serve::http_settings(config, max_connections));
        self.service.change(serve::service_settings(config, self.zone.clone()));
    }
}
