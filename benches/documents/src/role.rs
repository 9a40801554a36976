//! What this program is when it is a server that the bench has started: the environment says it.

use std::fmt;
use std::io::{BufRead, stdin};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;
use std::{env, future, process, thread};

use anyhow::{Context, bail};
use deltawire::documents::store::Durability;
use deltawire::documents::{Everyone, Hub, HubOptions, serve};
use deltawire::prelude::*;
use deltawire::signalling::{Rate, ServerLimits, SignallingOptions, SignallingServer};
use deltawire::{Admission, TokioRuntime};

use crate::measure::allow_open_files;
use crate::{fan_out, memory, websocket};

/// The part to play.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// A hub that listens for links of all kinds.
    Hub,
    /// The same in files.
    HubInFiles { durability: Durable, folder: PathBuf },
    /// A WebSocket server that sends on to all what anybody sends.
    Broadcast,
    /// A node that sends the same to so many peers, each by itself, over WebRTC.
    Senders { peers: usize, milliseconds: u64 },
    /// A hub with many subscriptions, which measures its memory.
    Memory,
}

/// When a hub in files says stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    PageCache,
    Grouped,
}

impl Durable {
    /// Options of a hub like that.
    pub(crate) fn options(self) -> HubOptions {
        let mut options = HubOptions::default();
        options.log.durability = match self {
            Self::PageCache => Durability::PageCache,
            Self::Grouped => Durability::grouped(),
        };
        options
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub => f.write_str("hub"),
            Self::HubInFiles { durability, folder } => {
                write!(f, "files {durability:?} {}", folder.display())
            }
            Self::Broadcast => f.write_str("broadcast"),
            Self::Senders { peers, milliseconds } => write!(f, "senders {peers} {milliseconds}"),
            Self::Memory => f.write_str("memory"),
        }
    }
}

impl Role {
    /// The environment's variable that says it.
    pub(crate) const VARIABLE: &str = "DELTAWIRE_BENCH_ROLE";

    pub(crate) fn of_this_process() -> Option<anyhow::Result<Self>> {
        Some(Self::parse(&env::var(Self::VARIABLE).ok()?))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        Ok(match words[..] {
            ["hub"] => Self::Hub,
            ["files", durability, folder] => Self::HubInFiles {
                durability: if durability == "Grouped" {
                    Durable::Grouped
                } else {
                    Durable::PageCache
                },
                folder: folder.into(),
            },
            ["broadcast"] => Self::Broadcast,
            ["senders", peers, milliseconds] => {
                Self::Senders { peers: peers.parse()?, milliseconds: milliseconds.parse()? }
            }
            ["memory"] => Self::Memory,
            _ => bail!("{} is {text}, which is no part to play", Self::VARIABLE),
        })
    }

    /// Plays it until the input ends.
    pub(crate) fn play(self) -> anyhow::Result<()> {
        allow_open_files(MANY_PEERS as u64)?;
        let (said, go) = mpsc::channel();
        thread::spawn(move || {
            for line in stdin().lock().lines().map_while(Result::ok) {
                // Not every part waits for it.
                let _ = said.send(line);
            }
            process::exit(0);
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Hub => {
                    let hub = Hub::in_memory(HubOptions::default(), Everyone, shared_runtime());
                    serve_hub(&hub).await
                }
                Self::HubInFiles { durability, folder } => {
                    let options = durability.options();
                    serve_hub(&Hub::open(folder, options, Everyone, shared_runtime())?).await
                }
                Self::Broadcast => websocket::serve().await,
                Self::Senders { peers, milliseconds } => {
                    fan_out::send_to_each(peers, Duration::from_millis(milliseconds), go).await
                }
                Self::Memory => memory::measure(),
            }
        })
    }
}

pub(crate) fn shared_runtime() -> deltawire::link::runtime::SharedRuntime {
    std::sync::Arc::new(TokioRuntime::current())
}

/// More peers than any job has.
const MANY_PEERS: usize = 4_096;

/// Limits of a node that takes as many peers from this machine as come.
pub(crate) fn many_peers() -> NodeLimits {
    NodeLimits {
        max_peers: MANY_PEERS,
        max_pending: MANY_PEERS,
        max_pending_per_address: MANY_PEERS,
        max_per_address: MANY_PEERS,
        ..NodeLimits::default()
    }
}

/// Serves a node's signalling to those that ask as often as they like; gives its address.
pub(crate) async fn signal(node: &Node) -> anyhow::Result<SocketAddr> {
    let rate = Rate { refill: Duration::ZERO, ..Rate::default() };
    let router = node.router(SignallingOptions { rate, ..SignallingOptions::default() });
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await?;
    let address = server.local_addr();
    let limits = ServerLimits {
        max_connections: MANY_PEERS,
        max_connections_per_address: MANY_PEERS,
        ..ServerLimits::default()
    };
    tokio::spawn(server.with_limits(limits).serve(future::pending()));
    Ok(address)
}

/// Serves a hub to peers over links of all kinds, for ever, and says where.
async fn serve_hub(hub: &Hub) -> anyhow::Result<()> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let node = Node::builder()
        .listen(any)
        .accept_quic(Admission::anyone())
        .accept_tcp(any, Admission::anyone())
        .node_limits(many_peers())
        .serve_documents()
        .build()?;
    let http = signal(&node).await?;
    let quic = node.addresses().next().context("no UDP address")?;
    let tcp = node.tcp_address().context("no TCP address")?;
    println!("http http://{http}/webrtc quic quic://{quic} tcp tcp://{tcp}");
    serve(&node, hub).await;
    Ok(())
}
