//! `session-store serve`: wires the parts, starts them, and stops them in order.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, FrameDelivery, Loaded, LogFormat, OnDelete};
use crate::http::{self, Api, Listener, Server};
use crate::media::frames::FramesFolder;
use crate::media::tracks::TracksFolder;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::telemetry::{self, Format};
use crate::runtime::{limits, shutdown};
use crate::service::{self, Service};
use crate::store::Store;
use crate::sync::address::{Address, Passwords};
use crate::sync::{self, Sync};

use super::offline;

/// Threads for work that blocks: reading and writing files and the database.
const MAX_BLOCKING_THREADS: usize = 64;
/// Requests under way may take so long to finish; the whole stop takes at most 10 s.
const DRAIN_WITHIN: Duration = Duration::from_secs(6);

/// Runs the daemon until it is told to stop.
pub fn run(loaded: &Loaded) -> Result<ExitCode, String> {
    let config = &loaded.config;
    let format = match config.log.format {
        LogFormat::Auto => None,
        LogFormat::Journald => Some(Format::Journald),
        LogFormat::Json => Some(Format::Json),
        LogFormat::Text => Some(Format::Text),
    };
    let log = telemetry::start(config.log.level, format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4)))
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| format!("The runtime cannot be started: {error}."))?;
    let result = runtime.block_on(serve(loaded));
    // Whatever a client still holds open must not hold the daemon.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Err(sentence) = &result {
        tracing::error!("{sentence}");
    }
    log.finish();
    result.map(|()| ExitCode::SUCCESS)
}

async fn serve(loaded: &Loaded) -> Result<(), String> {
    let config = &loaded.config;
    let synced = sync_settings(config)?;
    let stop = shutdown::listen().map_err(|error| format!("Signals cannot be handled: {error}."))?;
    let (host, port) = (config.server.host.as_str(), config.server.port);
    // The port first: requests that come while the store is being opened wait for it.
    let listener = Listener::bind(host, port).await.map_err(|error| {
        format!("Port {port} of {host} cannot be listened on: {error}; is it taken? See [server] host and port.")
    })?;
    let address = listener.address().map_err(|error| error.to_string())?;
    let max_connections = limits::fit_descriptors(config.server.max_connections);
    warn(loaded, address.ip(), max_connections);

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let tracks = TracksFolder::new(config.tracks.storage_path.clone());
    let service = Service::new(service_settings(config), frames, tracks, Arc::clone(&clock));
    let api = Arc::new(Api::new(service.clone(), http_settings(config, max_connections), telemetry::lost_records));
    let (ended, end) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(Server::new(api).serve(listener, end, DRAIN_WITHIN));

    let options = offline::options(config);
    let data = options.path.parent().unwrap_or(&options.path).display().to_string();
    let opened = tokio::task::spawn_blocking(move || Store::open(options, clock)).await;
    let store = opened.map_err(|error| error.to_string())?.map_err(|error| offline::sentence(&error))?;
    service.attach(store.clone());
    tracing::info!(
        address = %format_args!("http://{address}"),
        data,
        "session-store {} is ready; try: curl http://{address}/health",
        env!("CARGO_PKG_VERSION")
    );
    let background = tokio::spawn(background(service.clone()));
    let sync = match synced {
        Some(settings) => {
            Some(Sync::start(service.clone(), settings).map_err(|error| format!("The sync cannot be started: {error}."))?)
        }
        None => None,
    };

    let mut stop = stop;
    // The sender lives as long as the process.
    let _ = stop.wait_for(|stop| *stop).await;
    tracing::info!("stopping");
    service.stop_waiting();
    ended.send_replace(true);
    let _ = serving.await;
    let _ = background.await;
    if let Some(sync) = sync {
        let _ = tokio::task::spawn_blocking(move || sync.join()).await;
    }
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.map_err(|error| format!("The store was not closed in order: {error}."))?;
    tracing::info!("stopped");
    Ok(())
}

/// What runs behind the open port.
async fn background(service: Service) {
    tokio::join!(service.watch_frames(), service.delete_beaten_frames(), service.write_sidecars());
}

fn warn(loaded: &Loaded, ip: IpAddr, max_connections: usize) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if !ip.is_loopback() {
        tracing::warn!("{ip} is beyond loopback: whoever reaches this port can read and write everything, without a password");
    }
    let wanted = loaded.config.server.max_connections;
    if max_connections < wanted {
        tracing::warn!(
            "at most {max_connections} connections instead of {wanted}: the limit of file descriptors (ulimit -n) allows no more"
        );
    }
}

fn service_settings(config: &Config) -> service::Settings {
    service::Settings {
        start_offset_ms: config.playback.start_offset_ms,
        segment_duration_sec: config.mediamtx.segment_duration_sec,
        preroll: config.mediamtx.preroll,
        has_central_database: config.database.url.is_some(),
        sidecar_delay: config.frames.sidecar_delay,
        re_enrich: config.sync.re_enrich,
        syncs: config.sync.enabled,
    }
}

fn http_settings(config: &Config, max_connections: usize) -> http::Settings {
    http::Settings {
        max_connections,
        body_memory_bytes: config.server.body_memory_bytes,
        max_frame_bytes: config.frames.max_bytes,
        cors_origins: config.server.cors_origins.clone(),
        hook_token: config.mediamtx.hook_token.clone(),
    }
}

/// What the sync needs; none where there is none.
fn sync_settings(config: &Config) -> Result<Option<sync::Settings>, String> {
    let Some(address) = central_address(config)?.filter(|_| config.sync.enabled) else { return Ok(None) };
    let settings = &config.sync;
    Ok(Some(sync::Settings {
        address,
        gateway_id: settings.gateway_id.clone(),
        touch_interval: settings.touch_interval,
        pull_interval: settings.pull_interval,
        sweep_interval: settings.sweep_interval,
        deletes: settings.on_delete == OnDelete::Delete,
        re_enrich: settings.re_enrich,
        enrich_guard: settings.enrich_guard,
        frames: match &settings.frames {
            FrameDelivery::None => sync::FrameDelivery::None,
            FrameDelivery::Shared(path) => sync::FrameDelivery::Shared(path.clone()),
        },
        window: settings.window.map(|window| (window.from, window.to)),
        bytes_per_hour: settings.bytes_per_hour,
    }))
}

/// The central database of `config`.
///
/// # Errors
/// A sentence, where it is to be used and there is none that can be.
pub fn central_address(config: &Config) -> Result<Option<Address>, String> {
    let url = config.sync.url.as_ref().or(config.database.url.as_ref());
    let Some(url) = url else {
        let missing = "[sync] enabled = true needs an address: set [sync] url, or [database] url.";
        return if config.sync.enabled { Err(missing.to_owned()) } else { Ok(None) };
    };
    match Address::parse(url, config.sync.ca_file.as_deref(), &Passwords::of_process()) {
        Ok(address) => Ok(Some(address)),
        Err(_) if !config.sync.enabled => Ok(None),
        Err(error) => Err(format!("The central Postgres cannot be used: {error}.")),
    }
}
