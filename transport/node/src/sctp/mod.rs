//! Links over SCTP straight over UDP, which are not encrypted: `sctp://host:port`.

mod arriving;
mod hub;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_link::runtime::{BoxFuture, SharedRuntime};
use deltawire_link::{Link, LinkEnded};
use deltawire_sctp::{DEFAULT_MTU, MAX_MTU, SctpConfig, SctpEndpoint};
use deltawire_signalling::Token;
use tokio::sync::mpsc;

use self::hub::{Connect, Hub, Request, Surroundings};
use crate::host_and_port::host_and_port;
use crate::network::Network;
use crate::race::{HEAD_START, MAX_ADDRESSES, in_turn, race};
use crate::settings::Settings;
use crate::udp::driver::Driver;
use crate::udp::{self, REQUESTS, Socket};
use crate::{Admission, BuildError, ConnectError, LinkKind, Node, admission};

/// The scheme of its addresses, and what [`Link::kind`] says.
const KIND: &str = "sctp";

/// A node's links over SCTP.
pub(crate) struct Sctp {
    config: SctpConfig,
    token: Option<Token>,
    unencrypted: bool,
    settings: Settings,
    network: Network,
    runtime: SharedRuntime,
    udp: udp::Options,
    /// Where peers reach it, and what keeps that socket: it accepts until nobody can ask it for anything.
    accepting: Option<(SocketAddr, mpsc::Sender<Request>)>,
    /// The sockets of links that this side opens, by whether they are of IPv4 and end at loopback addresses.
    outgoing: Mutex<HashMap<(bool, bool), mpsc::Sender<Request>>>,
}

impl Sctp {
    pub(crate) fn new(
        accept: Option<(SocketAddr, Admission)>,
        udp: udp::Options,
        settings: &Settings,
        (token, unencrypted): (Option<Token>, bool),
        network: &Network,
        runtime: &SharedRuntime,
    ) -> Result<Self, BuildError> {
        let mut sctp = Self {
            config: config(settings),
            token,
            unencrypted,
            settings: settings.clone(),
            network: network.clone(),
            runtime: runtime.clone(),
            udp,
            accepting: None,
            outgoing: Mutex::default(),
        };
        if let Some((address, admission)) = accept {
            if !unencrypted && !is_loopback(&address) {
                return Err(BuildError::Unencrypted { address });
            }
            let socket = Socket::bind(&**runtime, address, sctp.udp.buffer())
                .map_err(|source| BuildError::Listen { address, source })?;
            let bound = socket.local_address();
            let mut key = [0; 32];
            runtime.random(&mut key).map_err(BuildError::Random)?;
            let requests = sctp.start(socket, Some((admission, key)), bound.ip().is_loopback());
            sctp.accepting = Some((bound, requests));
        }
        Ok(sctp)
    }

    /// Moves the links of a socket, in a task of its own.
    fn start(
        &self,
        socket: Socket,
        accepts: Option<(Admission, [u8; 32])>,
        loopback: bool,
    ) -> mpsc::Sender<Request> {
        let mtu = if loopback { MAX_MTU } else { DEFAULT_MTU };
        let config = SctpConfig { mtu, burst: socket.burst(), ..self.config };
        let (admission, gate) = accepts.unzip();
        let endpoint = SctpEndpoint::new(config, gate);
        let (sender, receiver) = mpsc::channel(REQUESTS);
        let around = Surroundings {
            network: self.network.clone(),
            settings: self.settings.clone(),
            runtime: self.runtime.clone(),
        };
        let hub = Hub::new(endpoint, admission, (sender.downgrade(), receiver), around);
        let driver = Driver::new(hub, socket, self.runtime.clone());
        self.runtime.spawn(Box::pin(driver.run()));
        sender
    }

    /// Who moves the links that this side opens to addresses of this family.
    fn outgoing(&self, remote: SocketAddr) -> Result<mpsc::Sender<Request>, ConnectError> {
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_ipv4, loopback) = (remote.is_ipv4(), is_loopback(&remote));
        let known = outgoing.get(&(is_ipv4, loopback)).filter(|sender| !sender.is_closed());
        if let Some(sender) = known {
            return Ok(sender.clone());
        }
        let any: IpAddr =
            if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let buffer = self.udp.buffer();
        let (address, bound) = match self.udp.bind.filter(|bind| bind.is_ipv4() == is_ipv4) {
            Some(bind) => (bind, Socket::bind(&*self.runtime, SocketAddr::new(bind, 0), buffer)),
            None => (any, Socket::bind_to_host(&*self.runtime, any, buffer)),
        };
        let address = SocketAddr::new(address, 0);
        let socket = bound.map_err(|source| ConnectError::Socket { address, source })?;
        let sender = self.start(socket, None, loopback);
        outgoing.insert((is_ipv4, loopback), sender.clone());
        Ok(sender)
    }

    async fn connect(&self, node: &Node, url: &str) -> Result<(Peer, Link), ConnectError> {
        let (host, port) = host_and_port(url, KIND)?;
        let runtime = &*self.runtime;
        let deadline = runtime.now().saturating_add(self.settings.connect_timeout);
        let unknown = |source| ConnectError::Host { host: host.to_owned(), source };
        let found = runtime.resolve(host, port).await.map_err(unknown)?;
        let addresses = in_turn(found, MAX_ADDRESSES);
        if !self.unencrypted && !addresses.iter().all(is_loopback) {
            return Err(ConnectError::Unencrypted { scheme: KIND, host: host.to_owned() });
        }
        let attempts = addresses.iter().map(|remote| {
            let attempt = async move {
                let left = deadline.saturating_sub(runtime.now());
                self.connect_to(node, *remote, left).await
            };
            Box::pin(attempt) as BoxFuture<'_, _>
        });
        // Another address of the host's may do; a peer that answered says the same there.
        let answered = |error: &ConnectError| {
            !matches!(
                error,
                ConnectError::Socket { .. } | ConnectError::Ended(LinkEnded::NotReached(_))
            )
        };
        let raced = race(runtime, |_| HEAD_START, attempts, answered).await;
        let nothing = || unknown(io::Error::other("the name has no address"));
        raced.map_err(|mut failed| failed.pop().unwrap_or_else(nothing))
    }

    async fn connect_to(
        &self,
        node: &Node,
        remote: SocketAddr,
        timeout: Duration,
    ) -> Result<(Peer, Link), ConnectError> {
        let requests = self.outgoing(remote)?;
        let (reservation, outcome) = node.begin_connect()?;
        let Ok(request) = requests.reserve().await else {
            return Err(ConnectError::Ended(LinkEnded::Stopped));
        };
        let token = self.token.as_ref().map(admission::secret).unwrap_or_default();
        request.send(Request::Connect(Box::new(Connect { remote, token, timeout, reservation })));
        Ok(outcome.await?)
    }
}

impl LinkKind for Sctp {
    fn schemes(&self) -> &[&str] {
        &[KIND]
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        _once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(self.connect(node, url))
    }
}

impl std::fmt::Debug for Sctp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = self.accepting.as_ref().map(|(address, _)| address);
        f.debug_struct("Sctp").field("address", &address).finish_non_exhaustive()
    }
}

/// What a node has because it has links over SCTP.
impl Node {
    /// Where peers reach this node by SCTP over UDP: `None` if it accepts nobody there.
    #[must_use]
    pub fn sctp_address(&self) -> Option<SocketAddr> {
        self.inner().sctp.accepting.as_ref().map(|(address, _)| *address)
    }
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn config(settings: &Settings) -> SctpConfig {
    let Settings { limits, pacing, command, initiator, acceptor, .. } = settings;
    SctpConfig {
        // What is on its way never finds the transport full.
        max_buffered: pacing.max.max(pacing.min) + limits.max_frame_len,
        receive_buffer: u32::try_from(limits.largest_data_window()).unwrap_or(u32::MAX),
        command: *command,
        initiator: *initiator,
        acceptor: *acceptor,
        ..SctpConfig::default()
    }
}
