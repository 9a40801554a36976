//! Links over QUIC of a native process: `quic://host:port`.

mod address;
pub(crate) mod hub;
#[cfg(feature = "webtransport")]
pub(crate) mod webtransport;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(feature = "webtransport")]
use std::sync::Arc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_link::runtime::{BoxFuture, SharedRuntime};
use deltawire_link::{Link, LinkEnded};
use deltawire_quic::{Fingerprint, QuicCertificate, QuicConfig, QuicEndpoint, QuicTrust};
use deltawire_signalling::Token;
#[cfg(feature = "signalling-server")]
use deltawire_signalling::{OfferedLink, Tickets};
use tokio::sync::mpsc;

use self::address::Address;
use self::hub::{Connect, Hub, Request, Surroundings};
use crate::admission::Decision;
use crate::network::Network;
use crate::race::{HEAD_START, MAX_ADDRESSES, in_turn, race};
use crate::settings::Settings;
use crate::udp::driver::Driver;
use crate::udp::{self, REQUESTS, Socket};
use crate::{Admission, BuildError, ConnectError, LinkKind, Node, admission, offered_address};

/// What [`Link::kind`] says.
const KIND: &str = "quic";

/// What a builder is told of QUIC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) admission: Option<Admission>,
    pub(crate) certificate: Option<QuicCertificate>,
    pub(crate) trust: QuicTrust,
    #[cfg(feature = "webtransport")]
    pub(crate) webtransport: webtransport::Options,
}

impl Options {
    /// The same, where those may come whom `admission` lets in, over each kind of which nothing was said.
    #[cfg(feature = "signalling-server")]
    pub(crate) fn or_accept(mut self, admission: Admission) -> Self {
        self.admission.get_or_insert_with(|| admission.clone());
        #[cfg(feature = "webtransport")]
        self.webtransport.admission.get_or_insert(admission);
        self
    }
}

/// Who may come to a socket.
#[derive(Clone, Default)]
pub(crate) struct Accepts {
    /// Over bare QUIC.
    bare: Option<Admission>,
    #[cfg(feature = "signalling-server")]
    tickets: Tickets,
    #[cfg(feature = "webtransport")]
    webtransport: Option<Arc<webtransport::WebTransport>>,
}

impl Accepts {
    fn nobody(&self) -> bool {
        #[cfg(feature = "webtransport")]
        if self.webtransport.is_some() {
            return false;
        }
        self.bare.is_none()
    }

    /// Says what of a peer that shows this token, or a ticket in place of one; `None` if nobody is let in.
    fn decide(&self, token: &[u8], from: SocketAddr) -> Option<Decision> {
        let admission = self.bare.as_ref()?;
        #[cfg(feature = "signalling-server")]
        if let Some(ticket) = admission::ticket(token) {
            return Some(admission::redeem(&self.tickets, KIND, ticket, from));
        }
        Some(admission.decide(KIND, token, from))
    }
}

/// A node's links over QUIC.
pub(crate) struct Quic {
    config: QuicConfig,
    trust: QuicTrust,
    token: Option<Token>,
    settings: Settings,
    network: Network,
    runtime: SharedRuntime,
    udp: udp::Options,
    accepts: Accepts,
    certificate: Option<QuicCertificate>,
    /// Keeps the socket that accepts: it accepts until nobody can ask it for anything.
    accepting: Mutex<Option<mpsc::Sender<Request>>>,
    /// Where it is reached, once that socket is bound.
    port: OnceLock<u16>,
    /// The sockets of links that this side opens, by whether they are of IPv4.
    outgoing: Mutex<HashMap<bool, mpsc::Sender<Request>>>,
}

impl Quic {
    pub(crate) fn new(
        options: Options,
        udp: udp::Options,
        settings: &Settings,
        token: Option<Token>,
        network: &Network,
        runtime: &SharedRuntime,
    ) -> Result<Self, BuildError> {
        let Options { admission, certificate, trust, .. } = options;
        #[cfg(feature = "signalling-server")]
        let tickets = Tickets::default();
        #[cfg(feature = "webtransport")]
        let webtransport = webtransport::WebTransport::new(
            options.webtransport,
            #[cfg(feature = "signalling-server")]
            tickets.clone(),
        )?;
        let accepts = Accepts {
            bare: admission,
            #[cfg(feature = "signalling-server")]
            tickets,
            #[cfg(feature = "webtransport")]
            webtransport: webtransport.map(Arc::new),
        };
        if !accepts.nobody() && udp.listen.is_none() {
            return Err(BuildError::AcceptNowhere);
        }
        let certificate = match (certificate, &accepts.bare) {
            (Some(certificate), _) => Some(certificate),
            (None, Some(_)) => Some(QuicCertificate::generate()?),
            (None, None) => None,
        };
        Ok(Self {
            config: config(settings),
            trust,
            token,
            settings: settings.clone(),
            network: network.clone(),
            runtime: runtime.clone(),
            udp,
            accepts,
            certificate,
            accepting: Mutex::default(),
            port: OnceLock::new(),
            outgoing: Mutex::default(),
        })
    }

    /// The SHA-256 of the certificate that peers see, if it accepts any.
    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        let accepts = self.accepts.bare.as_ref();
        accepts.and(self.certificate.as_ref()).map(QuicCertificate::fingerprint)
    }

    /// What signalling says of it.
    #[cfg(feature = "signalling-server")]
    pub(crate) fn offered(&self) -> Vec<OfferedLink> {
        let Some(port) = self.port.get().copied() else { return Vec::new() };
        let bare = self.fingerprint().map(|hash| offered(KIND, "quic", port, "", [hash]));
        #[cfg(feature = "webtransport")]
        let bare = bare.into_iter().chain(self.webtransport().map(|it| it.offered(port)));
        bare.into_iter().collect()
    }

    /// Where signalling puts the tickets that it gives, if any are taken.
    #[cfg(feature = "signalling-server")]
    pub(crate) fn tickets(&self) -> Option<Tickets> {
        (!self.accepts.nobody()).then(|| self.accepts.tickets.clone())
    }

    /// Whether there are peers that nothing but a ticket lets in.
    #[cfg(feature = "signalling-server")]
    pub(crate) fn needs_tickets(&self) -> bool {
        let Accepts { bare, .. } = &self.accepts;
        #[cfg(feature = "webtransport")]
        if self.accepts.webtransport.as_ref().is_some_and(|it| it.needs_tickets()) {
            return true;
        }
        bare.as_ref().is_some_and(Admission::is_ticket)
    }

    /// Its links over WebTransport, if it accepts any.
    #[cfg(feature = "webtransport")]
    pub(crate) fn webtransport(&self) -> Option<&webtransport::WebTransport> {
        self.accepts.webtransport.as_deref()
    }

    fn hub(
        &self,
        socket: &Socket,
        accepts: bool,
    ) -> Result<(mpsc::Sender<Request>, Hub), BuildError> {
        let mut seed = [0; 32];
        self.runtime.random(&mut seed).map_err(BuildError::Random)?;
        let accepts = if accepts { self.accepts.clone() } else { Accepts::default() };
        let certificate = self.certificate.as_ref().filter(|_| accepts.bare.is_some());
        let (local, segments) = (socket.local_address(), socket.max_segments());
        #[cfg_attr(not(feature = "webtransport"), expect(unused_mut, reason = "as it is"))]
        let mut endpoint = QuicEndpoint::new(self.config, certificate, local, segments, seed)?;
        #[cfg(feature = "webtransport")]
        if let Some(webtransport) = &accepts.webtransport {
            webtransport.accept_on(&mut endpoint)?;
        }
        let (sender, receiver) = mpsc::channel(REQUESTS);
        let around = Surroundings {
            network: self.network.clone(),
            settings: self.settings.clone(),
            runtime: self.runtime.clone(),
        };
        let hub = Hub::new(endpoint, accepts, (sender.downgrade(), receiver), around);
        Ok((sender, hub))
    }

    /// What moves the links that come in over this socket, if it accepts any.
    pub(crate) fn accept_on(&self, socket: &Socket) -> Result<Option<Hub>, BuildError> {
        if self.accepts.nobody() {
            return Ok(None);
        }
        let (sender, hub) = self.hub(socket, true)?;
        // Only the first is told to peers.
        let _ = self.port.set(socket.local_address().port());
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Ok(Some(hub))
    }

    /// Binds a socket of its own to accept on; gives where it is.
    #[cfg(not(feature = "webrtc"))]
    pub(crate) fn listen(&self) -> Result<Option<SocketAddr>, BuildError> {
        let Some(address) = self.udp.listen else { return Ok(None) };
        let socket = Socket::bind(&*self.runtime, address, self.udp.buffer())
            .map_err(|source| BuildError::Listen { address, source })?;
        let bound = socket.local_address();
        if let Some(hub) = self.accept_on(&socket)? {
            let driver = Driver::new(hub, socket, self.runtime.clone());
            self.runtime.spawn(Box::pin(driver.run()));
        }
        Ok(Some(bound))
    }

    /// Who moves the links that this side opens to addresses of this family.
    fn outgoing(&self, remote: SocketAddr) -> Result<mpsc::Sender<Request>, ConnectError> {
        let mut outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ipv4 = remote.is_ipv4();
        if let Some(sender) = outgoing.get(&is_ipv4).filter(|sender| !sender.is_closed()) {
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
        let (sender, hub) = self
            .hub(&socket, false)
            .map_err(|error| ConnectError::Socket { address, source: io::Error::other(error) })?;
        let driver = Driver::new(hub, socket, self.runtime.clone());
        self.runtime.spawn(Box::pin(driver.run()));
        outgoing.insert(is_ipv4, sender.clone());
        Ok(sender)
    }

    async fn connect(&self, node: &Node, url: &str) -> Result<(Peer, Link), ConnectError> {
        let Address { host, port, ticket, pins } = Address::read(url)?;
        let token = match (ticket, &self.token) {
            (Some(ticket), _) => admission::as_token(ticket),
            (None, Some(token)) => admission::secret(token),
            (None, None) => Vec::new(),
        };
        // What the address says of the server says it all.
        let trust = match &*pins {
            [] => self.trust.clone(),
            pins => pins.iter().fold(QuicTrust::default(), |trust, pin| trust.pin(*pin)),
        };
        let server = &Server { host, token, trust };
        let runtime = &*self.runtime;
        let deadline = runtime.now().saturating_add(self.settings.connect_timeout);
        let found = self.runtime.resolve(host, port).await;
        let unknown = |source| ConnectError::Host { host: host.to_owned(), source };
        let addresses = in_turn(found.map_err(unknown)?, MAX_ADDRESSES);
        let attempts = addresses.iter().map(|remote| {
            let attempt = async move {
                let left = deadline.saturating_sub(runtime.now());
                self.connect_to(node, *remote, server, left).await
            };
            Box::pin(attempt) as BoxFuture<'_, _>
        });
        // Another address of the host's may do, of a family that this host has; a peer that answered says the same there,
        // but for one that has had the ticket from an attempt that still goes on.
        let once = ticket.is_some();
        let answered = |error: &ConnectError| {
            !once
                && !matches!(
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
        server: &Server<'_>,
        timeout: Duration,
    ) -> Result<(Peer, Link), ConnectError> {
        let requests = self.outgoing(remote)?;
        let (reservation, outcome) = node.begin_connect()?;
        let Ok(request) = requests.reserve().await else {
            return Err(ConnectError::Ended(LinkEnded::Stopped));
        };
        request.send(Request::Connect(Box::new(Connect {
            remote,
            host: server.host.to_owned(),
            token: server.token.clone(),
            trust: server.trust.clone(),
            timeout,
            reservation,
        })));
        Ok(outcome.await?)
    }
}

/// Who is connected to, whatever its address.
struct Server<'a> {
    host: &'a str,
    /// What it is shown.
    token: Vec<u8>,
    trust: QuicTrust,
}

impl LinkKind for Quic {
    fn schemes(&self) -> &[&str] {
        &["quic"]
    }

    fn name(&self) -> &str {
        KIND
    }

    fn address(&self, asked: &str, offered: Option<&str>, ticket: Option<&str>) -> Option<String> {
        offered_address::address("quic", asked, offered, ticket)
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

impl std::fmt::Debug for Quic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quic").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// What a node has because it has links over QUIC.
impl Node {
    /// Where peers reach this node by UDP: empty if it listens nowhere.
    #[cfg(not(feature = "webrtc"))]
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.inner().listens.into_iter()
    }

    /// The SHA-256 of the certificate that peers see over QUIC, for them to pin: `None` if it accepts nobody there.
    #[must_use]
    pub fn quic_fingerprint(&self) -> Option<Fingerprint> {
        self.inner().quic.fingerprint()
    }
}

/// A kind of link at this port of the host whose signalling offers it, which need not be known here.
#[cfg(feature = "signalling-server")]
fn offered(
    kind: &str,
    scheme: &str,
    port: u16,
    path: &str,
    hashes: impl IntoIterator<Item = Fingerprint>,
) -> OfferedLink {
    let mut url = format!("{scheme}://:{port}{path}");
    for (before, hash) in std::iter::once('#').chain(std::iter::repeat(',')).zip(hashes) {
        url.push(before);
        url.push_str(&hash.to_string());
    }
    OfferedLink::at(kind, url)
}

fn config(settings: &Settings) -> QuicConfig {
    let limits = settings.limits;
    let window = limits.largest_data_window().max(limits.command_window);
    let mut config = QuicConfig::new(window, limits.max_frame_len);
    (config.initiator, config.acceptor) = (settings.initiator, settings.acceptor);
    let pacing = settings.pacing;
    config.send_window = u64::try_from(pacing.max.max(pacing.min)).unwrap_or(u64::MAX);
    // The session's own judgement comes first.
    let idle = limits.idle_timeout;
    config.idle_timeout = idle.saturating_mul(2).max(settings.connect_timeout.saturating_add(idle));
    config.keep_alive = idle / 4;
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With and without the feature `webrtc`.
    #[tokio::test]
    async fn nodes_connect() {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Node::builder().listen(listen).accept_quic(Admission::anyone());
        let (server, client) = (server.build().unwrap(), Node::builder().build().unwrap());
        let url = format!("quic://{}", server.addresses().next().unwrap());
        let (connected, accepted) = tokio::join!(client.connect(&url), server.accept());
        let (_near, _far) = (connected.unwrap(), accepted.unwrap());
        assert_eq!((client.peers().len(), server.peers().len()), (1, 1));
    }
}
