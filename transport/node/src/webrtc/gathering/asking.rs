//! A task for each question to a server, which ends once nobody waits for its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use deltawire_link::runtime::{SharedRuntime, timeout};
use deltawire_turn::{ServerKind, Transport};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::probes::Probe;
use super::relay::{self, Relay};
use super::servers::{MAX_ICE_SERVERS, Server};
use super::{GATHERING, IceServerError, IceServerProblem, NativeEngine, Request};
use crate::Node;

/// What servers may have said and nobody looked at: as much as they can.
pub(super) const MAX_FINDINGS: usize = 2 * MAX_ICE_SERVERS;

/// When a question to a STUN server is asked once more, after the one before.
const AGAIN: [Duration; 3] =
    [Duration::from_millis(150), Duration::from_millis(300), Duration::from_millis(600)];

/// What bounds the questions of a node's that are under way: held until each of an attempt's is over.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// What one question came to.
pub(super) enum Finding {
    Reflexive { address: SocketAddr, base: SocketAddr },
    Relay(Relay),
    Problem(IceServerError),
    Nothing,
}

/// How many questions were asked.
pub(super) struct Asked {
    pub(super) reflexive: usize,
    pub(super) relays: usize,
}

/// Asks all servers at a time. Each question comes to one finding.
pub(super) fn ask(
    node: &Node,
    servers: &[Arc<Server>],
    local: &[SocketAddr],
    requests: &mpsc::Sender<Request<NativeEngine>>,
    findings: mpsc::Sender<Finding>,
    permit: &Permit,
) -> Asked {
    let (runtime, webrtc) = (node.runtime(), &node.inner().webrtc);
    let mut asked = Asked { reflexive: 0, relays: 0 };
    let mut seen: Vec<(&str, u16)> = Vec::new();
    for server in servers {
        let at = &server.at;
        // TURN servers are STUN servers too.
        let is_udp = at.kind != ServerKind::Turn(Transport::Tcp);
        if is_udp && !seen.contains(&(&at.host, at.port)) {
            seen.push((&at.host, at.port));
            asked.reflexive += 1;
            let asking = Asking {
                runtime: runtime.clone(),
                server: server.clone(),
                local: local.to_vec(),
                findings: findings.clone(),
            };
            let (requests, permit) = (requests.clone(), permit.clone());
            runtime.spawn(Box::pin(async move {
                asking.reflexive(requests).await;
                drop(permit);
            }));
        }
        if let ServerKind::Turn(transport) = at.kind {
            asked.relays += 1;
            let asking = Asking {
                runtime: runtime.clone(),
                server: server.clone(),
                local: local.to_vec(),
                findings: findings.clone(),
            };
            let (bind, buffer) = (webrtc.bind, webrtc.socket_buffer);
            let permit = permit.clone();
            runtime.spawn(Box::pin(async move {
                let asking = asking;
                match asking.address().await {
                    Ok(address) => {
                        relay::run(&asking, address, transport, bind, buffer, permit).await;
                    }
                    Err(problem) => asking.fail(problem),
                }
            }));
        }
    }
    asked
}

/// A question to a server.
pub(super) struct Asking {
    pub(super) runtime: SharedRuntime,
    pub(super) server: Arc<Server>,
    local: Vec<SocketAddr>,
    pub(super) findings: mpsc::Sender<Finding>,
}

impl Asking {
    /// There is room for what each question comes to.
    pub(super) fn tell(&self, finding: Finding) {
        let _ = self.findings.try_send(finding);
    }

    pub(super) fn fail(&self, problem: IceServerProblem) {
        let url = self.server.url.clone();
        self.tell(Finding::Problem(IceServerError { url, problem }));
    }

    /// An address of the server that is of a family that the socket has.
    async fn address(&self) -> Result<SocketAddr, IceServerProblem> {
        let at = &self.server.at;
        let resolved =
            timeout(&*self.runtime, GATHERING, self.runtime.resolve(&at.host, at.port)).await;
        let addresses = match resolved {
            Some(Ok(addresses)) => addresses,
            Some(Err(error)) => return Err(IceServerProblem::Host(error.to_string())),
            None => return Err(IceServerProblem::Host("its name is still being looked up".into())),
        };
        let fits = |address: &&SocketAddr| self.base(**address).is_some();
        addresses.iter().find(fits).copied().ok_or_else(|| {
            IceServerProblem::Host("none of the family of this node's sockets".to_owned())
        })
    }

    /// The socket's address by which this one is reached.
    fn base(&self, server: SocketAddr) -> Option<SocketAddr> {
        self.local.iter().copied().find(|local| local.is_ipv4() == server.is_ipv4())
    }

    /// Asks how the socket is seen.
    async fn reflexive(self, requests: mpsc::Sender<Request<NativeEngine>>) {
        let is_stun = self.server.at.kind == ServerKind::Stun;
        let server = match self.address().await {
            Ok(server) => server,
            Err(problem) if is_stun => return self.fail(problem),
            Err(_) => return self.tell(Finding::Nothing),
        };
        let Some(base) = self.base(server) else { return self.tell(Finding::Nothing) };
        // From loopback nothing goes further.
        if base.ip().is_loopback() && !server.ip().is_loopback() {
            return self.tell(Finding::Nothing);
        }
        let (found, mut told) = mpsc::channel(1);
        for wait in AGAIN {
            let mut transaction = [0; 12];
            if self.runtime.random(&mut transaction).is_err() {
                return self.tell(Finding::Nothing);
            }
            let probe = Probe { server, base, transaction, found: found.clone() };
            if requests.send(Request::Probe(probe)).await.is_err() || self.findings.is_closed() {
                return;
            }
            if let Some(Some(address)) = timeout(&*self.runtime, wait, told.recv()).await {
                return self.tell(Finding::Reflexive { address, base });
            }
        }
        // A TURN server is told of where it gives no address.
        match is_stun {
            true => self.fail(deltawire_turn::TurnError::Silent.into()),
            false => self.tell(Finding::Nothing),
        }
    }
}
