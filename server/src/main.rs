//! `deltawire-server`: a hub as a program.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use clap::Parser;
use deltawire_server::config::{Config, LogFormat};
use deltawire_server::{Server, pinning};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// Not everything was stored in time.
const NOT_STORED: u8 = 1;

/// The configuration is wrong, or the server cannot start with it.
const NOT_STARTED: u8 = 2;

/// Keeps documents that many share, and serves them over QUIC, WebTransport,
/// WebRTC, WebSocket and HTTP.
///
/// SIGHUP reloads what can be reloaded, and logs what cannot. SIGTERM and ctrl-c end it in order: exit code 0 when
/// everything is stored, 1 when it was not in time, 2 when it did not start.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration: see deltawire.example.toml. Variables such as DELTAWIRE_STORE__DIRECTORY count for more.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only says whether the configuration is right.
    #[arg(long)]
    check: bool,
}

type Filter = reload::Handle<EnvFilter, Registry>;

fn main() -> ExitCode {
    let Arguments { config: path, check } = Arguments::parse();
    let config = match Config::load(path.as_deref()) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(NOT_STARTED);
        }
    };
    if check {
        println!("the configuration is right");
        return ExitCode::SUCCESS;
    }
    let filter = log(&config);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("deltawire");
    if let Some(cores) = pinning::cores(config.hub.pin) {
        tracing::info!(?cores, "threads are pinned");
        builder.worker_threads(cores.len());
        // Workers are started first; what comes later is for what waits.
        let left = Mutex::new(cores);
        builder.on_thread_start(move || {
            let core = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            if let Some(core) = core {
                pinning::pin_to(core);
            }
        });
    }
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the system gives no threads: {error}");
            return ExitCode::from(NOT_STARTED);
        }
    };
    runtime.block_on(run(config, path.as_deref(), &filter))
}

fn log(config: &Config) -> Filter {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&config.server.log));
    let lines: Box<dyn Layer<_> + Send + Sync> = match config.server.log_format {
        LogFormat::Json => Box::new(fmt::layer().json().with_writer(std::io::stderr)),
        _ => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            Box::new(fmt::layer().with_ansi(ansi).with_writer(std::io::stderr))
        }
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    handle
}

async fn run(config: Config, path: Option<&Path>, filter: &Filter) -> ExitCode {
    // Before anything is opened: who asks it to end meanwhile is heard.
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        eprintln!("the system tells no signals");
        return ExitCode::from(NOT_STARTED);
    };
    let mut server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("deltawire-server does not start: {error}");
            return ExitCode::from(NOT_STARTED);
        }
    };
    let address = server.address();
    tracing::info!(http = %address, stores = !server.hub().is_volatile(), "deltawire-server starts");
    if let Some(address) = server.metrics_address() {
        tracing::info!(%address, "metrics");
    }
    if let Some(token) = server.admin_token() {
        // To who can read this log anyway, for this run only.
        let token = token.authorization();
        let token = token.trim_start_matches("Bearer ");
        tracing::info!("what it does: http://{address}/admin#token={token}");
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(&mut server, path, filter),
        }
    }
    tracing::info!("deltawire-server ends");
    let ended = tokio::select! {
        ended = server.shut_down() => ended,
        // Whoever asks twice does not want to wait.
        _ = interrupt.recv() => {
            tracing::error!("ended before everything was stored");
            return ExitCode::from(NOT_STORED);
        }
    };
    let links = ended.links;
    tracing::info!(
        stored = ended.stored,
        answered = ended.answered,
        links_in_order = links.in_order,
        links_cut_off = links.cut_off,
        "deltawire-server has ended"
    );
    if ended.stored { ExitCode::SUCCESS } else { ExitCode::from(NOT_STORED) }
}

fn reload(server: &mut Server, path: Option<&Path>, filter: &Filter) {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            tracing::error!("nothing was reloaded:\n{errors}");
            return;
        }
    };
    if let Err(error) = filter.reload(EnvFilter::new(&config.server.log)) {
        tracing::warn!(%error, "the log stays as it is");
    }
    let reloaded = server.reload(config);
    tracing::info!(changed = ?reloaded.changed, revoked = ?reloaded.revoked, "reloaded");
    if !reloaded.needs_restart.is_empty() {
        tracing::warn!(keys = ?reloaded.needs_restart, "these need a restart, and stay as they are");
    }
}
