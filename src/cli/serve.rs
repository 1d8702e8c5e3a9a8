//! `session-store serve`: wires the parts, starts them, and stops them in order.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Exempt, Loaded, LogFormat, OnDelete};
use crate::domain::zone::Zone;
use crate::http::{self, Api, Listener, Probe, Server};
use crate::media::frames::FramesFolder;
use crate::media::spool::Spool;
use crate::media::tracks::TracksFolder;
use crate::recordings::Recordings;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::telemetry::{self, Format};
use crate::runtime::{folders, limits, shutdown, systemd, zone};
use crate::service::{self, Service};
use crate::store::{Options, Store};
use crate::sync::address::{Address, Passwords};
use crate::sync::{self, Sync};

use super::reload::Reloader;
use super::{offline, watchdog};

/// Threads for work that blocks: reading and writing files and the database.
const MAX_BLOCKING_THREADS: usize = 64;
/// The watcher of recordings may take so long to end.
const WATCHER_ENDS_WITHIN: Duration = Duration::from_secs(2);
/// Requests under way may take so long to finish; the whole stop takes at most 10 s.
const DRAIN_WITHIN: Duration = Duration::from_secs(6);
/// While the store is being opened, the service manager is asked so often …
const ASK_PATIENCE_EVERY: Duration = Duration::from_secs(5);
/// … to wait so much longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A port that is open answers the daemon itself within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to stop. `file` is the configuration that was asked for, for when it is read again.
pub fn run(loaded: &Loaded, file: Option<&Path>) -> Result<ExitCode, String> {
    // Before there are threads.
    let sockets = systemd::sockets().map_err(|error| format!("A socket handed over by systemd cannot be used: {error}."))?;
    let config = &loaded.config;
    let log = telemetry::start(config.log.level, log_format(config))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4)))
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(|error| format!("The runtime cannot be started: {error}."))?;
    let result = runtime.block_on(serve(loaded, file.map(Path::to_owned), sockets));
    // Whatever a client still holds open must not hold the daemon.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Err(sentence) = &result {
        tracing::error!("{sentence}");
    }
    log.finish();
    result.map(|()| ExitCode::SUCCESS)
}

/// Where the log goes; none for what suits standard output.
pub fn log_format(config: &Config) -> Option<Format> {
    match config.log.format {
        LogFormat::Auto => None,
        LogFormat::Journald => Some(Format::Journald),
        LogFormat::Json => Some(Format::Json),
        LogFormat::Text => Some(Format::Text),
    }
}

async fn serve(loaded: &Loaded, file: Option<PathBuf>, sockets: Vec<TcpListener>) -> Result<(), String> {
    let config = &loaded.config;
    let synced = sync_settings(config)?;
    let stop = shutdown::listen().map_err(|error| format!("Signals cannot be handled: {error}."))?;
    let hangups = signal(SignalKind::hangup()).map_err(|error| format!("Signals cannot be handled: {error}."))?;
    // The port first: requests that come while the store is being opened wait for it.
    let (mut listeners, addresses) = listen(config, sockets).await?;
    let address = addresses[0];
    warn_of_exposure(&addresses, config);
    listeners.extend(listen_at_socket(config).await?);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let max_connections = connections(config);

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let frames = FramesFolder::new(config.frames.storage_path.clone());
    let tracks = TracksFolder::new(config.tracks.storage_path.clone());
    let zone = time_zone(config)?;
    let service = Service::new(service_settings(config, zone.clone()), frames, tracks, Arc::clone(&clock));
    let api = Arc::new(Api::new(service.clone(), http_settings(config, max_connections), telemetry::lost_records));
    let server = Server::new(Arc::clone(&api));
    let (ended, end) = tokio::sync::watch::channel(false);
    let serve_one = |listener| tokio::spawn(Arc::clone(&server).serve(listener, end.clone(), DRAIN_WITHIN));
    let serving: Vec<_> = listeners.into_iter().map(serve_one).collect();

    let options = offline::options(config);
    let data = options.path.parent().unwrap_or(&options.path).display().to_string();
    let store = open(options, clock).await?;
    service.attach(store.clone());
    let probe = Probe::new(server, &api, address);
    if !probe.answers(ANSWER_WITHIN).await {
        return Err(format!("The port does not answer on {address}: does a rule of the firewall keep the daemon from itself?"));
    }
    systemd::ready();
    tracing::info!(
        address = %format_args!("http://{address}"),
        data,
        "session-store {} is ready; try: curl http://{address}/health",
        env!("CARGO_PKG_VERSION")
    );
    let reloader =
        Reloader { file, zone, addresses, started: loaded.clone(), read: loaded.clone(), api, service: service.clone() };
    let attending = [
        tokio::spawn(reloader.run(hangups)),
        tokio::spawn(watchdog::give_signs_of_life(probe, store.clone())),
        tokio::spawn(watchdog::tell_status(service.clone())),
    ];
    let background = tokio::spawn(background(service.clone(), Spool::new(config.mediamtx.spool_path.clone())));
    let (ended_watching, watching) = (ended.subscribe(), service.clone());
    let (interval, runtime) = (config.mediamtx.scan_interval, tokio::runtime::Handle::current());
    let watcher = std::thread::Builder::new()
        .name("recordings".to_owned())
        .spawn(move || Recordings::watch(watching, interval, runtime, ended_watching))
        .map_err(|error| format!("The watcher of recordings cannot be started: {error}."))?;
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
    systemd::stopping();
    for task in attending {
        task.abort();
    }
    service.stop_waiting();
    ended.send_replace(true);
    for place in serving {
        let _ = place.await;
    }
    let _ = background.await;
    // On a volume that hangs it may not come back; the store is closed in order all the same.
    let _ = tokio::time::timeout(WATCHER_ENDS_WITHIN, tokio::task::spawn_blocking(move || watcher.join())).await;
    if let Some(sync) = sync {
        let _ = tokio::task::spawn_blocking(move || sync.join()).await;
    }
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    closed.map_err(|error| format!("The store was not closed in order: {error}."))?;
    tracing::info!("stopped");
    Ok(())
}

/// The unix socket, where one is configured.
async fn listen_at_socket(config: &Config) -> Result<Option<Listener>, String> {
    let Some(path) = &config.server.unix_socket else { return Ok(None) };
    if let Some(folder) = path.parent() {
        folders::make(folder).map_err(|error| format!("The folder {} cannot be made: {error}.", folder.display()))?;
    }
    let listener = Listener::bind_socket(path).await?;
    tracing::info!("listening at {} too", path.display());
    Ok(Some(listener))
}

/// What runs behind the open port.
async fn background(service: Service, spool: Spool) {
    let note_run = async {
        if let Err(error) = service.note_run().await {
            tracing::warn!(%error, "that this process has the store could not be noted in it");
        }
    };
    tokio::join!(
        note_run,
        service.watch_frames(),
        service.delete_beaten_frames(),
        service.keep_to_retention(),
        service.write_sidecars(),
        service.close_idle_sessions(),
        service.take_spooled_hooks(spool)
    );
}

/// The sockets handed over by the service manager, which stay bound while the daemon is away; else the configured one.
async fn listen(config: &Config, sockets: Vec<TcpListener>) -> Result<(Vec<Listener>, Vec<SocketAddr>), String> {
    let (host, port) = (config.server.host.as_str(), config.server.port);
    let listeners = if sockets.is_empty() {
        let bound = Listener::bind(host, port).await.map_err(|error| {
            format!("Port {port} of {host} cannot be listened on: {error}; is it taken? See [server] host and port.")
        })?;
        vec![bound]
    } else {
        let taken: Result<_, _> = sockets.into_iter().map(Listener::bound).collect();
        taken.map_err(|error| format!("A socket handed over by systemd cannot be used: {error}."))?
    };
    let addresses: Result<Vec<_>, _> = listeners.iter().map(Listener::address).collect();
    let addresses = addresses.map_err(|error| error.to_string())?;
    for address in &addresses {
        let (ip, is_configured) = (address.ip(), address.port() == port || port == 0);
        // A host may be a name, and several addresses.
        if !is_configured || host.parse::<IpAddr>().is_ok_and(|host| host != ip) {
            tracing::warn!(
                "systemd has bound {address}; [server] host = {host:?} and port = {port} are not used: to change the address, \
                 `systemctl edit session-store.socket`"
            );
        }
    }
    if addresses.is_empty() {
        return Err("There is no port to listen on.".to_owned());
    }
    Ok((listeners, addresses))
}

/// Warns of what who reaches `addresses` may do or see.
pub fn warn_of_exposure(addresses: &[SocketAddr], config: &Config) {
    let has_token = config.server.api_token.is_some() || config.server.read_token.is_some();
    for ip in addresses.iter().map(SocketAddr::ip).filter(|ip| !ip.to_canonical().is_loopback()) {
        if has_token {
            tracing::warn!(
                "{ip} is beyond loopback and this port speaks plain HTTP: tokens and pictures can be read on their way; put TLS in \
                 front, see docs/guide/exposing.md"
            );
        } else {
            tracing::warn!(
                "{ip} is beyond loopback: whoever reaches this port can read and write everything, without a password; set [server] \
                 api_token, see docs/guide/exposing.md"
            );
        }
    }
}

/// Opens the store, however long that takes.
async fn open(options: Options, clock: Arc<dyn Clock>) -> Result<Store, String> {
    systemd::status("opening the store");
    let mut opening = tokio::task::spawn_blocking(move || Store::open(options, clock));
    loop {
        match tokio::time::timeout(ASK_PATIENCE_EVERY, &mut opening).await {
            Ok(opened) => return opened.map_err(|error| error.to_string())?.map_err(|error| offline::sentence(&error)),
            Err(_) => systemd::patience(PATIENCE),
        }
    }
}

/// How many connections there may be: what is configured, where the system lets it.
pub fn connections(config: &Config) -> usize {
    let wanted = config.server.max_connections;
    let max_connections = limits::fit_descriptors(wanted);
    if max_connections < wanted {
        tracing::warn!(
            "at most {max_connections} connections instead of {wanted}: the limit of file descriptors (ulimit -n) allows no more"
        );
    }
    max_connections
}

/// The zone of times in the names of recordings.
fn time_zone(config: &Config) -> Result<Zone, String> {
    if let Some(name) = &config.mediamtx.time_zone {
        return zone::named(name).map_err(|invalid| invalid.0);
    }
    let (zone, problem) = zone::system();
    if let Some(problem) = problem.filter(|_| !config.mediamtx.record_paths.is_empty()) {
        tracing::warn!("{problem}");
    }
    Ok(zone)
}

/// What the use cases need of the configuration.
pub fn service_settings(config: &Config, zone: Zone) -> service::Settings {
    service::Settings {
        start_offset_ms: config.playback.start_offset_ms,
        segment_duration_sec: config.mediamtx.segment_duration_sec,
        preroll: config.mediamtx.preroll,
        has_central_database: config.database.url.is_some(),
        sidecar_delay: config.frames.sidecar_delay,
        record_paths: config.mediamtx.record_paths.clone(),
        zone,
        settle: config.mediamtx.settle,
        playback_base_url: config.mediamtx.playback_base_url.clone(),
        extra: Duration::from_secs(config.playback.extra_seconds.unsigned_abs()),
        idle_close: config.sessions.idle_close,
        retention: Arc::new(config.retention.policy.clone()),
        re_enrich: config.sync.re_enrich,
        syncs: config.sync.enabled,
    }
}

/// What the port needs of the configuration.
pub fn http_settings(config: &Config, max_connections: usize) -> http::Settings {
    http::Settings {
        max_connections,
        body_memory_bytes: config.server.body_memory_bytes,
        max_frame_bytes: config.frames.max_bytes,
        cors_origins: config.server.cors_origins.clone(),
        tokens: http::Tokens {
            api: config.server.api_token.clone(),
            read: config.server.read_token.clone(),
            hook: config.mediamtx.hook_token.clone(),
            exempts_local: config.server.token_exempt == Exempt::Loopback,
        },
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
        frames: settings.frames.clone(),
        window: settings.window,
        bytes_per_hour: settings.bytes_per_hour,
        frame_bytes_per_hour: settings.frame_bytes_per_hour,
        first_classes: settings.first_classes.clone(),
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
