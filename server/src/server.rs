//! The server: a hub, a node that brings peers to it, and HTTP.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use deltawire_hub::store::OpenError;
use deltawire_hub::{Hub, HubOptions};
use deltawire_link::SessionsLimits;
use deltawire_link::runtime::SharedRuntime;
use deltawire_node::{Admission, BuildError, Node, NodeLimits, ShutDown, TokioRuntime};
use deltawire_signalling::{
    BindError, Rate, ServerLimits, SignallingOptions, SignallingServer, Token,
};
use deltawire_webtransport::Origins;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::http::{self, Counted, Followers, Gate, Room, Shared, Watched};

/// Lists of documents that are made at a time.
const LISTS: usize = 2;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory cannot be opened.
    #[error("store.directory: {0}")]
    Open(#[from] OpenError),
    /// The archive's directory is not there.
    #[error("store.archive.directory: {0}")]
    Archive(#[from] object_store::Error),
    /// An address cannot be listened at.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The node cannot be set up.
    #[error("server.listen: {0}")]
    Build(#[from] BuildError),
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
    /// A part of the configuration that was made by code cannot be.
    #[error("{0}")]
    Config(String),
}

/// A server that runs. Dropping it ends nothing in order: see [`shut_down`](Self::shut_down).
#[derive(Debug)]
pub struct Server {
    config: Config,
    shared: Arc<Shared>,
    admin: Option<Token>,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    http: JoinHandle<()>,
    metrics: Option<JoinHandle<()>>,
    serving: JoinHandle<()>,
}

/// What became of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Keys whose new values hold from now on.
    pub changed: Vec<&'static str>,
    /// Keys whose new values need a restart.
    pub needs_restart: Vec<&'static str>,
    /// Names of tokens that may not any longer what they might: what they had open was ended.
    pub revoked: Vec<String>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Whether everything that was taken is as safe as the durability says; with memory only, yes.
    pub stored: bool,
    /// Whether all requests were answered.
    pub answered: bool,
    /// What became of the links.
    pub links: ShutDown,
}

impl Server {
    /// Starts one, in the tokio runtime that this is called in.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let admin = random_token()?;
        let gate = Arc::new(Gate::new(&config, admin.clone()));
        let runtime: SharedRuntime = Arc::new(TokioRuntime::current());
        let (hub, shards) = open(&config, gate.clone(), runtime).await?;
        let node = node(&config)?;
        let cors = config.cors().map_err(|error| StartError::Config(error.to_string()))?;
        let proxies = config.proxies().map_err(|error| StartError::Config(error.to_string()))?;
        let limits = &config.limits;
        let burst = u16::try_from(limits.signalling_burst).unwrap_or(u16::MAX);
        let burst = NonZeroU16::new(burst).unwrap_or(NonZeroU16::MIN);
        let links = node.router(SignallingOptions {
            authorizer: Some(gate.clone()),
            cors,
            rate: Rate { burst, refill: limits.signalling_refill },
            trusted_proxies: proxies.clone(),
            path: config.server.path.clone(),
            ..SignallingOptions::default()
        });
        let shared = Arc::new(Shared {
            hub,
            node,
            gate,
            deliver: config.hub.deliver,
            shards,
            limits: RwLock::new(limits.clone()),
            room: Room::new(limits.max_body_bytes),
            follower_places: Arc::new(Semaphore::new(limits.max_followers)),
            followers: Followers::default(),
            lists: Semaphore::new(LISTS),
            ending: watch::Sender::new(false),
            counted: Counted::default(),
            started: Instant::now(),
            watched: Watched::default(),
        });
        let server_limits = ServerLimits {
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            head_timeout: limits.head_timeout,
            write_timeout: limits.write_timeout,
            max_age: limits.connection_age,
            // Longer than it is waited for: then it is known whether all were answered.
            shutdown_timeout: config.server.shutdown,
            ..ServerLimits::default()
        };
        let router = http::router(shared.clone(), &config, links);
        let bound = SignallingServer::bind(config.server.http, router).await?;
        let address = bound.local_addr();
        let ending = || {
            let mut ending = shared.ending.subscribe();
            async move { drop(ending.wait_for(|ending| *ending).await) }
        };
        let (mut metrics, mut metrics_address) = (None, None);
        if config.metrics.prometheus {
            let router = http::metrics_router(shared.clone());
            let bound = SignallingServer::bind(config.metrics.address, router).await?;
            metrics_address = Some(bound.local_addr());
            let few = ServerLimits { max_connections: 16, ..ServerLimits::default() };
            metrics = Some(tokio::spawn(bound.with_limits(few).serve(ending())));
        }
        let bound = bound.with_limits(server_limits).with_trusted_proxies(proxies);
        let http = tokio::spawn(bound.serve(ending()));
        let serving = tokio::spawn(serve(shared.clone()));
        let admin = config.server.tokens.is_empty().then_some(admin);
        Ok(Self { config, shared, admin, address, metrics_address, http, metrics, serving })
    }

    /// The address of HTTP, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the metrics, if there are any.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The token that lets in who administers, for this run: where the configuration has none.
    #[must_use]
    pub fn admin_token(&self) -> Option<&Token> {
        self.admin.as_ref()
    }

    /// Its hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.shared.hub
    }

    /// Its node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// Takes another configuration, as far as that can be done while it runs: tokens, the log, and what requests may take.
    /// Whoever has opened something by a token that is not the same any longer is refused from now on.
    pub fn reload(&mut self, next: Config) -> Reloaded {
        let (changed, needs_restart) = differences(&self.config, &next);
        let mut reloaded = Reloaded { changed, needs_restart, revoked: Vec::new() };
        // What holds is what is compared with the next time.
        let mut config = self.config.clone();
        config.server.tokens = next.server.tokens;
        config.server.log = next.server.log;
        config.limits = reloadable(&self.config, next.limits);
        if config.server.tokens.is_empty() && !config.server.allow_anonymous && !config.is_private()
        {
            // allow_anonymous came with it, and needs a restart.
            config.server.tokens = self.config.server.tokens.clone();
            reloaded.changed.retain(|key| *key != "server.tokens");
            reloaded.needs_restart.push("server.tokens");
        }
        reloaded.revoked = self.shared.gate.exchange(&config);
        for subject in &reloaded.revoked {
            self.shared.hub.revoke(Some(subject), None);
        }
        let mut limits = self.shared.limits.write().unwrap_or_else(PoisonError::into_inner);
        *limits = config.limits.clone();
        drop(limits);
        self.config = config;
        reloaded
    }

    /// Ends in order: takes nothing more, answers what was asked, stores what was taken, and closes links. It takes as
    /// long as `server.shutdown` at most.
    pub async fn shut_down(self) -> Ended {
        let part = self.config.server.shutdown / 3;
        self.shared.ending.send_replace(true);
        let mut http = self.http;
        let answered = tokio::time::timeout(part, &mut http).await.is_ok();
        // Those that are left are cut off.
        http.abort();
        if let Some(metrics) = self.metrics {
            metrics.abort();
        }
        let stored = self.shared.hub.shut_down(part).await;
        let links = self.shared.node.shut_down(part).await;
        self.serving.abort();
        Ended { stored, answered, links }
    }
}

/// Attends to all that connect, until the node shuts down.
async fn serve(shared: Arc<Shared>) {
    while let Some((peer, link)) = shared.node.accept().await {
        let hub = shared.hub.clone();
        shared.node.runtime().spawn(Box::pin(async move { hub.attend(&link, peer).await }));
    }
}

/// 128 random bits.
fn random_token() -> Result<Token, StartError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(StartError::Random)?;
    let text = format!("{:032x}", u128::from_be_bytes(bytes));
    Token::new(text).map_err(|error| StartError::Config(error.to_string()))
}

/// The hub, and how many shards it has.
async fn open(
    config: &Config,
    gate: Arc<Gate>,
    runtime: SharedRuntime,
) -> Result<(Hub, usize), StartError> {
    let shards = config.shards();
    let Some(directory) = config.store.directory.clone() else {
        let options = config.hub_options(shards);
        options.log.check().map_err(OpenError::from)?;
        return Ok((Hub::in_memory(options, Policing(gate), runtime), shards));
    };
    let config = config.clone();
    // It reads all that there is.
    let opened = tokio::task::spawn_blocking(move || {
        let open = |shards| -> Result<(Hub, usize), StartError> {
            let options: HubOptions = config.hub_options(shards);
            let (policy, runtime) = (Policing(gate.clone()), runtime.clone());
            let hub = match config.archiving(shards)? {
                Some(archiving) => {
                    Hub::open_archived(&directory, options, archiving, policy, runtime)?
                }
                None => Hub::open(&directory, options, policy, runtime)?,
            };
            Ok((hub, shards))
        };
        match open(shards) {
            // A directory keeps the number that it was made with.
            Err(StartError::Open(OpenError::Shards { known, .. }))
                if config.hub.shards.is_none() =>
            {
                open(known as usize)
            }
            opened => opened,
        }
    });
    match opened.await {
        Ok(opened) => opened,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The gate as the hub has it.
#[derive(Debug)]
struct Policing(Arc<Gate>);

impl deltawire_hub::Policy for Policing {
    fn permit(
        &self,
        ask: deltawire_hub::Ask,
    ) -> deltawire_link::runtime::BoxFuture<
        'static,
        Result<deltawire_hub::Permission, deltawire_hub::DeniedCode>,
    > {
        self.0.permit(ask)
    }
}

fn node(config: &Config) -> Result<Node, StartError> {
    let hub = &config.hub;
    let limits = NodeLimits {
        max_peers: hub.max_peers,
        max_pending: hub.max_pending.min(hub.max_peers),
        max_pending_per_address: NodeLimits::default().max_pending_per_address.min(hub.max_pending),
        max_per_address: hub.max_peers_per_address.min(hub.max_peers),
        ..NodeLimits::default()
    };
    let sessions = SessionsLimits {
        resume_timeout: hub.resume_timeout,
        max_detached: hub.max_detached,
        max_detached_bytes: hub.max_detached_bytes,
        max_detached_per_owner: hub.max_detached_per_owner,
    };
    let sessions = (!hub.resume_timeout.is_zero()).then_some(sessions);
    let mut builder = Node::builder().node_limits(limits).resume(sessions).serve_documents();
    if let Some(listen) = config.server.listen {
        let origins = Origins::Listed(config.server.origins.clone());
        // Who may come is asked where signalling is, which gives who may a ticket.
        builder = builder
            .listen(listen)
            .accept_quic(Admission::ticket())
            .accept_webtransport(Admission::ticket())
            .webtransport_origins(origins);
    }
    if !config.server.advertise.is_empty() {
        builder = builder.advertise(config.server.advertise.iter().copied());
    }
    Ok(builder.build()?)
}

/// The limits that hold after a reload: those that were made into something at the start stay.
fn reloadable(now: &Config, next: crate::config::LimitsConfig) -> crate::config::LimitsConfig {
    let fixed = now.limits.clone();
    crate::config::LimitsConfig {
        max_body: next.max_body,
        body_timeout: next.body_timeout,
        follower_queue: next.follower_queue,
        heartbeat: next.heartbeat,
        stored_timeout: next.stored_timeout,
        ..fixed
    }
}

/// Keys that differ: those that can be reloaded, and the others.
fn differences(old: &Config, new: &Config) -> (Vec<&'static str>, Vec<&'static str>) {
    let (mut live, mut fixed) = (Vec::new(), Vec::new());
    macro_rules! compare {
        ($into:ident: $($section:ident . $field:ident),* $(,)?) => {
            $(if format!("{:?}", old.$section.$field) != format!("{:?}", new.$section.$field) {
                $into.push(concat!(stringify!($section), ".", stringify!($field)));
            })*
        };
    }
    compare!(live: server.log, limits.max_body, limits.body_timeout, limits.follower_queue,
        limits.heartbeat, limits.stored_timeout);
    let tokens = |config: &Config| {
        let shown =
            config.server.tokens.iter().map(|it| (it.token.authorization(), format!("{it:?}")));
        shown.collect::<Vec<_>>()
    };
    if tokens(old) != tokens(new) {
        live.push("server.tokens");
    }
    compare!(fixed: server.http, server.listen, server.advertise, server.path, server.allow_anonymous,
        server.origins, server.trusted_proxies, server.forwarded, server.shutdown, server.log_format,
        hub.shards, hub.max_peers, hub.max_peers_per_address, hub.max_pending,
        hub.resume_timeout, hub.max_detached, hub.max_detached_bytes, hub.max_detached_per_owner, hub.max_documents,
        hub.max_subscriptions_per_peer, hub.tail, hub.max_tail_bytes, hub.deliver, hub.max_keyed,
        hub.peer_deltas, hub.peer_bytes, hub.peer_documents, hub.max_present,
        hub.max_presence_len, hub.presence_timeout, hub.pin, store.directory, store.log, store.archive,
        limits.ask_timeout, limits.max_connections, limits.max_connections_per_address,
        limits.head_timeout, limits.write_timeout, limits.connection_age, limits.max_body_bytes,
        limits.max_followers, limits.signalling_burst, limits.signalling_refill, metrics.prometheus,
        metrics.address);
    (live, fixed)
}
