//! Addresses of this node's at which others may reach it, beside those of its sockets: asked of STUN and TURN servers before an
//! offer or an answer is made, as it names them.

mod asking;
mod error;
mod probes;
mod relay;
mod servers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use deltawire_link::runtime::timeout;
use deltawire_webrtc::{DEFAULT_MTU, EngineConfig};
use tokio::sync::mpsc;

use self::asking::{Asked, Finding};
pub use self::error::{IceServerError, IceServerProblem};
pub use self::probes::MAX_PROBES;
pub(super) use self::probes::{Probe, Probes};
pub(super) use self::relay::Relay;
pub use self::relay::{MAX_FROM_RELAY, MAX_TO_RELAY, MAX_TO_STREAM};
pub(crate) use self::servers::IceServers;
pub use self::servers::{MAX_ASKING, MAX_ICE_SERVERS};
use super::NativeEngine;
use super::driver::Request;
use crate::Node;

/// How long servers may take: a link's description is made then with what was told.
pub const GATHERING: Duration = Duration::from_secs(1);

/// How long more is waited for once there is an address at a TURN server, or where none is asked any other: what else answers
/// takes less than that took.
const ENOUGH: Duration = Duration::from_millis(200);

/// What was told.
#[derive(Default)]
pub(super) struct Gathered {
    /// How others see sockets: their address there, and the socket's.
    pub(super) reflexive: Vec<(SocketAddr, SocketAddr)>,
    pub(super) relay: Option<Relay>,
    /// Which servers were of no use, and why.
    pub(super) problems: Vec<IceServerError>,
}

impl Gathered {
    /// Has an engine name what was told.
    pub(super) fn tell(&self, config: &mut EngineConfig) {
        config.gathered = deltawire_webrtc::Gathered {
            reflexive: self.reflexive.clone(),
            relayed: self.relay.iter().map(Relay::address).collect(),
        };
        if self.relay.is_some() {
            // A server's head goes before each datagram, on whatever network is between; and its queues are its own.
            config.mtu = config.mtu.min(DEFAULT_MTU);
            config.burst = 0;
        }
    }
}

/// Asks this node's servers for addresses of a socket with these addresses, whose driver takes these requests.
pub(super) async fn gather(
    node: &Node,
    local: &[SocketAddr],
    requests: &mpsc::Sender<Request<NativeEngine>>,
) -> Gathered {
    let servers = node.inner().webrtc.ice_servers.all();
    let mut gathered = Gathered::default();
    if servers.is_empty() {
        return gathered;
    }
    let runtime = node.runtime();
    let Ok(permit) = node.inner().webrtc.ice_servers.asking().try_acquire_owned() else {
        tracing::warn!(
            limit = MAX_ASKING,
            "too many attempts ask ICE servers: this one does without"
        );
        return gathered;
    };
    let (findings, mut found) = mpsc::channel(asking::MAX_FINDINGS);
    let asked = asking::ask(node, servers, local, requests, findings, &Arc::new(permit));
    let Asked { reflexive, relays } = asked;
    let mut left = reflexive + relays;
    let mut until = runtime.now() + GATHERING;
    while left > 0 {
        let wait = until.saturating_sub(runtime.now());
        // No more come once all servers have said something.
        let Some(Some(finding)) = timeout(&**runtime, wait, found.recv()).await else { break };
        left -= 1;
        gathered.take(finding);
        let has_enough = match relays {
            0 => !gathered.reflexive.is_empty(),
            _ => gathered.relay.is_some(),
        };
        if has_enough {
            until = until.min(runtime.now() + ENOUGH);
        }
    }
    found.close();
    // By its source a datagram would go there that is to go from the socket.
    gathered.relay.take_if(|relay| local.contains(&relay.address()));
    for problem in &gathered.problems {
        tracing::warn!(url = problem.url, error = %problem.problem, "an ICE server gave no address");
        node.inner().network.ice_server_failed(problem.clone());
    }
    gathered
}

impl Gathered {
    fn take(&mut self, finding: Finding) {
        match finding {
            Finding::Reflexive { address, base } => {
                // Where there is no NAT, or two servers say the same, nothing is new.
                let is_known = self.reflexive.iter().any(|(known, _)| *known == address);
                let fits = address.is_ipv4() == base.is_ipv4() && address.port() != 0;
                if address != base && !is_known && fits {
                    self.reflexive.push((address, base));
                }
            }
            // Those of UDP cost less. The other is given back as it is dropped.
            Finding::Relay(relay) => {
                if self.relay.as_ref().is_none_or(|known| known.is_stream()) {
                    self.relay = Some(relay);
                }
            }
            Finding::Problem(problem) => self.problems.push(problem),
            Finding::Nothing => {}
        }
    }
}
