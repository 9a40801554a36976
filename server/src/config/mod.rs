//! What a server is set up with: by code, a TOML file, and environment variables over that.

mod error;
mod nearest;
mod read;
mod section;
mod values;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deltawire_hub::store::{Durability, LogOptions};
use deltawire_hub::{Archiving, Deliver, HubOptions, PeerRates};
use deltawire_link::SessionsLimits;
use deltawire_signalling::{Cors, PathPrefix, Token, TrustedProxies};
use object_store::local::LocalFileSystem;

pub use error::{ConfigError, ConfigErrors, Origin};

/// All of it. `deltawire.example.toml` says of each key what it is, and how much memory it multiplies to.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where it is reached, and by whom.
    pub server: ServerConfig,
    /// Of documents and those that read and write them.
    pub hub: HubConfig,
    /// Where documents are kept.
    pub store: StoreConfig,
    /// What one may take.
    pub limits: LimitsConfig,
    /// For Prometheus.
    pub metrics: MetricsConfig,
}

/// Where the server is reached, and by whom.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The address of HTTP: documents, signalling, WebSockets. Default: 127.0.0.1:8080.
    pub http: SocketAddr,
    /// The address of links over QUIC, WebTransport and WebRTC, UDP; `None` for none. Default: 127.0.0.1:4000.
    pub listen: Option<SocketAddr>,
    /// The addresses at which peers reach that. Default: its own.
    pub advertise: Vec<IpAddr>,
    /// Where links are opened. Default: `/webrtc`.
    pub path: PathPrefix,
    /// Who may do what; when there are any, every request needs one. Default: none.
    pub tokens: Vec<TokenConfig>,
    /// Whether there may be no tokens though others than this machine reach the server. Default: no.
    pub allow_anonymous: bool,
    /// Which pages of other origins may ask. Default: none.
    pub origins: Vec<String>,
    /// The proxies that are believed when they name the client. Default: none.
    pub trusted_proxies: Vec<String>,
    /// By which header they name it.
    pub forwarded: Forwarded,
    /// How long an orderly end may take: a third of it for requests, the rest for the disk and links. Default: 30 s.
    pub shutdown: Duration,
    /// What is logged, as `tracing-subscriber` reads it. Default: `info`.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// A token, and what it is good for.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// The token.
    pub token: Token,
    /// Whom it names.
    pub name: String,
    /// What it permits. Default: [`Access::Write`].
    pub access: Access,
    /// Whether its snapshots count: what they cover is dropped. Default: only with [`Access::Admin`].
    pub snapshots: bool,
}

/// What somebody may do; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Access {
    /// Read documents, and see who is present.
    Read,
    /// Write deltas.
    #[default]
    Write,
    /// Delete documents, and see what the server does.
    Admin,
}

/// The header by which proxies name the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forwarded {
    /// `Forwarded` (RFC 7239).
    #[default]
    Forwarded,
    /// `X-Forwarded-For`.
    XForwardedFor,
}

/// How the log is written, to the standard error output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// Lines to read.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Of documents and those that read and write them.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Into how many parts documents are divided; `None`: as many as the directory was made with, or half of the
    /// parallelism that the process may use, 1 to 16.
    pub shards: Option<usize>,
    /// Links that are open or being opened. Default: 10,000.
    pub max_peers: usize,
    /// The same from one address. Default: 128.
    pub max_peers_per_address: usize,
    /// Links that are being opened. Default: 64.
    pub max_pending: usize,
    /// For how long a peer's session is kept without a link; 0: it ends with its link. Default: 60 s.
    pub resume_timeout: Duration,
    /// How many are kept so. Default: 1,024.
    pub max_detached: usize,
    /// What they hold in all, bytes. Default: 256 MiB.
    pub max_detached_bytes: u64,
    /// How many are kept of one identity, or of an address. Default: 64.
    pub max_detached_per_owner: usize,
    /// Documents that are known. Default: 1,000,000.
    pub max_documents: usize,
    /// Subscriptions and publications of a peer. Default: 1,024.
    pub max_subscriptions_per_peer: usize,
    /// Bytes of a document's newest deltas that readers find without a lock. Default: 256 KiB.
    pub tail: usize,
    /// The same of all documents of a shard. Default: 32 MiB.
    pub max_tail_bytes: usize,
    /// When readers see a delta.
    pub deliver: Deliver,
    /// Deltas of a document whose keys are remembered, while somebody reads only the newest of each. Default: 4,096.
    pub max_keyed: usize,
    /// Deltas that a peer may bring in over its links in a second, 0: no bound. Default: no bound.
    pub peer_deltas: usize,
    /// Bytes of deltas that a peer may bring in over its links in a second, 0: no bound. Default: no bound.
    pub peer_bytes: usize,
    /// Documents that a peer may make over its links in a second, after the first 1,000, 0: no bound. Default: 100.
    pub peer_documents: usize,
    /// Writers that are present in a document. Default: 1,024.
    pub max_present: usize,
    /// Bytes that one of them may say of itself. Default: 4 KiB.
    pub max_presence_len: usize,
    /// After how long without a word it is gone. Default: 30 s.
    pub presence_timeout: Duration,
    /// Whether the runtime's threads keep to one core each.
    pub pin: Pin,
}

/// Whether the runtime's threads keep to one core each. On Linux only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pin {
    /// When this process has all of the machine's cores, and is in no container.
    #[default]
    Auto,
    /// To those that the process may use.
    On,
    /// Never.
    Off,
}

/// Where documents are kept.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// In which directory; `None`: in memory only.
    pub directory: Option<PathBuf>,
    /// Of each shard's log, but for `durability`, `retention.max_bytes` and `max_documents`, which are those of the whole
    /// server here.
    pub log: LogOptions,
    /// What of it is kept elsewhere.
    pub archive: ArchiveConfig,
}

/// What of the documents is kept elsewhere.
#[derive(Clone, Debug)]
pub struct ArchiveConfig {
    /// In which directory, of another disk or machine; `None`: nothing is.
    pub directory: Option<PathBuf>,
    /// Bytes of full segments that stay in the store's own directory. Default: 1 GiB.
    pub keep_bytes: u64,
    /// How long after its last delta a full segment stays there at most; `None`: as long as there is room.
    pub keep_for: Option<Duration>,
    /// How long reading or writing there may take. Default: 30 s.
    pub timeout: Duration,
    /// How much is read there at a time. Default: 16.
    pub max_reads: usize,
}

/// What one may take.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// For how long it may be decided who may do what. Default: 5 s.
    pub ask_timeout: Duration,
    /// Connections over HTTP, WebSockets until they are open. Default: 1,024.
    pub max_connections: usize,
    /// The same from one address. Default: 64.
    pub max_connections_per_address: usize,
    /// How long the head of a request may take. Default: 10 s.
    pub head_timeout: Duration,
    /// How long a client may leave an answer unread. Default: 30 s.
    pub write_timeout: Duration,
    /// How old a connection gets, followers' too. Default: 1 day.
    pub connection_age: Duration,
    /// Bytes of a delta's payload over HTTP. Default: 1 MiB.
    pub max_body: usize,
    /// How long it may take to come. Default: 30 s.
    pub body_timeout: Duration,
    /// Bytes of all payloads that are coming in. Default: 64 MiB.
    pub max_body_bytes: usize,
    /// Requests that follow documents. Default: 512.
    pub max_followers: usize,
    /// Bytes that wait for a follower to read. Default: 256 KiB.
    pub follower_queue: usize,
    /// How often a follower is told that nothing happened. Default: 15 s.
    pub heartbeat: Duration,
    /// How long `wait=stored` waits. Default: 10 s.
    pub stored_timeout: Duration,
    /// Requests for links that one address may make at once. Default: 64.
    pub signalling_burst: usize,
    /// After how long it may make one more. Default: 50 ms.
    pub signalling_refill: Duration,
}

/// For Prometheus.
#[derive(Clone, Debug)]
pub struct MetricsConfig {
    /// Whether there are any. Default: no.
    pub prometheus: bool,
    /// Where. Default: 127.0.0.1:9090.
    pub address: SocketAddr,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            http: (Ipv4Addr::LOCALHOST, 8080).into(),
            listen: Some((Ipv4Addr::LOCALHOST, 4000).into()),
            advertise: Vec::new(),
            path: PathPrefix::default(),
            tokens: Vec::new(),
            allow_anonymous: false,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            forwarded: Forwarded::default(),
            shutdown: Duration::from_secs(30),
            log: "info".to_owned(),
            log_format: LogFormat::default(),
        }
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        let options = HubOptions::default();
        let sessions = SessionsLimits::default();
        Self {
            shards: None,
            max_peers: 10_000,
            max_peers_per_address: 128,
            max_pending: 64,
            resume_timeout: sessions.resume_timeout,
            max_detached: sessions.max_detached,
            max_detached_bytes: sessions.max_detached_bytes,
            max_detached_per_owner: sessions.max_detached_per_owner,
            max_documents: 1_000_000,
            max_subscriptions_per_peer: options.max_open_per_peer,
            tail: options.tail,
            max_tail_bytes: options.max_tail_bytes,
            deliver: options.deliver,
            max_keyed: options.max_keyed,
            peer_deltas: options.rates.deltas as usize,
            peer_bytes: options.rates.bytes as usize,
            peer_documents: options.rates.new_documents as usize,
            max_present: options.max_present,
            max_presence_len: options.max_presence_len,
            presence_timeout: options.presence_timeout,
            pin: Pin::default(),
        }
    }
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self {
            directory: None,
            keep_bytes: 1 << 30,
            keep_for: None,
            timeout: Duration::from_secs(30),
            max_reads: 16,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            ask_timeout: Duration::from_secs(5),
            max_connections: 1_024,
            max_connections_per_address: 64,
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            connection_age: Duration::from_secs(24 * 3_600),
            max_body: 1 << 20,
            body_timeout: Duration::from_secs(30),
            max_body_bytes: 64 << 20,
            max_followers: 512,
            follower_queue: 256 << 10,
            heartbeat: Duration::from_secs(15),
            stored_timeout: Duration::from_secs(10),
            signalling_burst: 64,
            signalling_refill: Duration::from_millis(50),
        }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { prometheus: false, address: (Ipv4Addr::LOCALHOST, 9090).into() }
    }
}

impl Config {
    /// Whether everybody may do everything: there are no tokens, and only this machine reaches the server.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.server.tokens.is_empty() && self.server.http.ip().is_loopback()
    }

    /// As many shards as the parallelism that the process may use suggests.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.hub.shards.unwrap_or_else(|| HubOptions::default().shards)
    }

    /// The hub's options, for so many shards.
    #[must_use]
    pub fn hub_options(&self, shards: usize) -> HubOptions {
        let HubConfig { deliver, tail, max_tail_bytes, max_present, .. } = self.hub;
        let mut log = self.store.log;
        log.max_documents = share(self.hub.max_documents, shards);
        if log.retention.max_bytes != u64::MAX {
            log.retention.max_bytes = log.retention.max_bytes.div_ceil(shards.max(1) as u64);
        }
        if self.store.directory.is_some() && log.durability == Durability::Memory {
            log.durability = Durability::grouped();
        }
        HubOptions {
            log,
            shards,
            deliver,
            tail,
            max_tail_bytes,
            max_present,
            max_keyed: self.hub.max_keyed,
            rates: PeerRates {
                deltas: rate(self.hub.peer_deltas),
                bytes: rate(self.hub.peer_bytes),
                new_documents: rate(self.hub.peer_documents),
            },
            max_open_per_peer: self.hub.max_subscriptions_per_peer,
            max_presence_len: self.hub.max_presence_len,
            presence_timeout: self.hub.presence_timeout,
            ask_timeout: self.limits.ask_timeout,
            ..HubOptions::default()
        }
    }

    /// What the hub needs to keep segments elsewhere, for so many shards; `None` if nothing is.
    pub(crate) fn archiving(&self, shards: usize) -> object_store::Result<Option<Archiving>> {
        let ArchiveConfig { directory, keep_bytes, keep_for, timeout, max_reads } =
            &self.store.archive;
        let Some(directory) = directory else { return Ok(None) };
        // What is deleted here has to be safe there.
        let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        Ok(Some(Archiving {
            keep_bytes: keep_bytes.div_ceil(shards.max(1) as u64),
            keep_for: *keep_for,
            timeout: *timeout,
            max_reads: *max_reads,
            ..Archiving::new(Arc::new(store))
        }))
    }

    pub(crate) fn cors(&self) -> Result<Cors, deltawire_signalling::OriginError> {
        if self.server.origins.is_empty() {
            return Ok(Cors::none());
        }
        Cors::origins(&self.server.origins)
    }

    pub(crate) fn proxies(&self) -> Result<TrustedProxies, deltawire_signalling::ProxyError> {
        let proxies = &self.server.trusted_proxies;
        match self.server.forwarded {
            Forwarded::Forwarded => TrustedProxies::forwarded(proxies),
            Forwarded::XForwardedFor => TrustedProxies::x_forwarded_for(proxies),
        }
    }
}

/// So many a second, of which `u32` has room for more than there will be.
fn rate(rate: usize) -> u32 {
    u32::try_from(rate).unwrap_or(u32::MAX)
}

/// A shard's part of so many documents, and a tenth more: their names decide which has how many.
fn share(documents: usize, shards: usize) -> usize {
    if shards <= 1 { documents } else { documents.div_ceil(shards).saturating_mul(11).div_ceil(10) }
}
