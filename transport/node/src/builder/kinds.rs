//! Options of single kinds of links, and of the sockets that they have.

#[cfg(any(
    feature = "webrtc",
    feature = "quic",
    feature = "signalling-server",
    feature = "sctp",
    feature = "tcp",
    all(feature = "unix", unix)
))]
use crate::NodeBuilder;

/// The UDP sockets of links.
#[cfg(all(
    any(feature = "webrtc", feature = "quic", feature = "sctp"),
    not(target_arch = "wasm32")
))]
impl NodeBuilder {
    /// Where peers' datagrams come. Without it the node accepts nobody. Port 0 lets the system
    /// choose.
    pub fn listen(mut self, address: std::net::SocketAddr) -> Self {
        self.udp.listen = Some(address);
        self
    }

    /// The address that links of this node's own come from, and with which they end. Default: the
    /// one from which the system reaches the other node; such links go on when the host gets
    /// another one.
    pub fn bind(mut self, address: std::net::IpAddr) -> Self {
        self.udp.bind = Some(address);
        self
    }

    /// What the system is asked for as a socket's buffers each way, bytes. It may give less.
    /// Default: 4 MiB.
    pub fn socket_buffer(mut self, bytes: usize) -> Self {
        self.udp.socket_buffer = Some(bytes);
        self
    }
}

/// Signalling over HTTP, and links over WebSocket, at one TCP port.
#[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// Serves HTTP at this address, with [`SignallingOptions::default`](deltawire_signalling::SignallingOptions): signalling, and
    /// WebSockets if the node has those. Clients connect to it by `http://…/webrtc`, and are told of all kinds of links that the node has.
    ///
    /// It has no TLS: for `https` put a proxy in front. It goes on until the node shuts down, or nobody has a handle on it. For
    /// routes of your own beside, or other limits, take [`Node::router`](crate::Node::router) instead.
    ///
    /// With [`listen`](Self::listen) peers may come over QUIC and WebTransport as well, if the node has those and nothing else was
    /// said of them: those that signalling gave a ticket; at a loopback address, where signalling asks for nothing, anyone. When the node
    /// shuts down, or goes, the port is free a moment later.
    pub fn http(self, address: std::net::SocketAddr) -> Self {
        self.http_with(address, deltawire_signalling::SignallingOptions::default())
    }

    /// The same with other options, such as a token. Their trusted proxies are those of the connections as well.
    pub fn http_with(
        mut self,
        address: std::net::SocketAddr,
        options: deltawire_signalling::SignallingOptions,
    ) -> Self {
        self.http = Some(crate::http::Options { address, signalling: options });
        self
    }
}

/// Links over QUIC: those to addresses such as `quic://example.org:4000`.
#[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// Lets peers connect over QUIC, at the port of [`listen`](Self::listen): the same one that WebRTC has. Without
    /// it none can.
    ///
    /// Who has a ticket of this node's signalling is let in as whom signalling knows it by, within 30 s and once by each kind
    /// of link; clients get one by connecting to the address of signalling. `admission` is for those without one, who connect to
    /// `quic://…`; [`Admission::ticket`](crate::Admission::ticket) lets none of them in.
    pub fn accept_quic(mut self, admission: crate::Admission) -> Self {
        self.quic.admission = Some(admission);
        self
    }

    /// The certificate that peers see over QUIC. Default: one that is made for this node, whose SHA-256
    /// [`Node::quic_fingerprint`](crate::Node::quic_fingerprint) gives them to pin.
    pub fn quic_certificate(mut self, certificate: deltawire_quic::QuicCertificate) -> Self {
        self.quic.certificate = Some(certificate);
        self
    }

    /// Which servers this node connects to over QUIC. Default: those at loopback addresses.
    pub fn quic_trust(mut self, trust: deltawire_quic::QuicTrust) -> Self {
        self.quic.trust = trust;
        self
    }
}

/// Links over WebTransport, which browsers open.
#[cfg(all(feature = "webtransport", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// Lets browsers connect over WebTransport, at the port of [`listen`](Self::listen), beside the other kinds of links
    /// there. Without it none can.
    ///
    /// Who has a ticket of this node's signalling is let in as whom signalling knows it by, within 30 s and once by each kind
    /// of link; pages get one by connecting to the address of signalling. `admission` is for those without one, which
    /// browsers give no token to send along: [`Admission::ticket`](crate::Admission::ticket) lets none of them in,
    /// [`Admission::anyone`](crate::Admission::anyone) all.
    pub fn accept_webtransport(mut self, admission: crate::Admission) -> Self {
        self.quic.webtransport.admission = Some(admission);
        self
    }

    /// The path where browsers connect over WebTransport: it begins with `/`, and has letters, digits, `-`, `.`, `_`, `~` and
    /// `/` in it. Default: `/deltawire`.
    pub fn webtransport_path(mut self, path: impl Into<String>) -> Self {
        self.quic.webtransport.path = Some(path.into());
        self
    }

    /// The pages that may connect over WebTransport. Default: those from the host that they connect to, whatever their port,
    /// as the page's own differs from that of links.
    pub fn webtransport_origins(mut self, origins: deltawire_webtransport::Origins) -> Self {
        self.quic.webtransport.origins = origins;
        self
    }

    /// The certificate that browsers see over WebTransport: one that an authority vouches for which browsers trust, and that
    /// has the name which pages connect to. Default: one that is made for this node, told to pages by its hash, and made anew
    /// in time.
    pub fn webtransport_certificate(
        mut self,
        certificate: deltawire_quic::QuicCertificate,
    ) -> Self {
        self.quic.webtransport.certificate = Some(certificate);
        self
    }
}

/// Links over SCTP, which are not encrypted: those to addresses such as `sctp://127.0.0.1:4000`.
#[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// Lets peers connect by SCTP over UDP at this address, which has to be a loopback address unless
    /// [`allow_unencrypted`](Self::allow_unencrypted) says otherwise. It is a port of its own, beside that of
    /// [`listen`](Self::listen). Port 0 lets the system choose: [`Node::sctp_address`](crate::Node::sctp_address) says what.
    pub fn accept_sctp(
        mut self,
        address: std::net::SocketAddr,
        admission: crate::Admission,
    ) -> Self {
        self.sctp = Some((address, admission));
        self
    }
}

/// Links over TCP, which are not encrypted: those to addresses such as `tcp://127.0.0.1:4000`.
#[cfg(all(feature = "tcp", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// Lets peers connect over TCP at this address, which has to be a loopback address unless
    /// [`allow_unencrypted`](Self::allow_unencrypted) says otherwise. Port 0 lets the system choose:
    /// [`Node::tcp_address`](crate::Node::tcp_address) says what.
    pub fn accept_tcp(
        mut self,
        address: std::net::SocketAddr,
        admission: crate::Admission,
    ) -> Self {
        self.streams.tcp = Some((address, admission));
        self
    }
}

/// Links over Unix sockets, within this machine: those to addresses such as `unix:///run/deltawire.sock`.
#[cfg(all(feature = "unix", unix))]
impl NodeBuilder {
    /// Lets peers connect over a Unix socket at this path. The node makes its file, in place of one at which nobody listens
    /// any more, and removes it when it shuts down or nobody has it any more.
    pub fn accept_unix(
        mut self,
        path: impl Into<std::path::PathBuf>,
        admission: crate::Admission,
    ) -> Self {
        self.streams.unix = Some((path.into(), admission));
        self
    }

    /// Whose processes may be at the other end of links over Unix sockets, whichever side opened them. Default:
    /// [`UnixPeers::OwnUserAndRoot`](crate::UnixPeers).
    pub fn unix_peers(mut self, peers: crate::UnixPeers) -> Self {
        self.streams.peers = peers;
        self
    }
}

/// Where links over WebRTC are made, and how.
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// The addresses at which peers reach this node, with the port of [`listen`](Self::listen). Default: the
    /// one that it listens at; has to be given if that is 0.0.0.0 or ::.
    ///
    /// They need not be this host's own: a node at 10.0.0.2 behind a NAT that has a public address for it,
    /// as clouds have, advertises that one, and the NAT has to keep the port. Answers go out from the
    /// address where the peer's datagrams came in. Who listens at :: is reached over IPv4 as well, and
    /// advertises the addresses of both families.
    pub fn advertise(mut self, addresses: impl IntoIterator<Item = std::net::IpAddr>) -> Self {
        self.webrtc.advertise = addresses.into_iter().collect();
        self
    }

    /// Sockets that accept, each moved by a task of its own, so that more cores work on many peers.
    /// The first has the port of [`listen`](Self::listen), the others those that the system gives
    /// them. Default: 1.
    pub fn drivers(mut self, drivers: usize) -> Self {
        self.webrtc.drivers = drivers;
        self
    }

    /// The WebRTC stack that links run on; it makes no difference to peers. Default:
    /// [`EngineKind::default`](deltawire_webrtc::EngineKind).
    pub fn engine(mut self, engine: deltawire_webrtc::EngineKind) -> Self {
        self.webrtc.engine = engine;
        self
    }

    /// STUN and TURN servers, for a node that may be behind a NAT: each link is offered, or answered, with the addresses that they
    /// give, and both sides check. Default: none. At most 8 addresses, each asked for each link, for 1 s in all; a
    /// server that says nothing, or no, is told as [`NodeEvent::IceServer`](crate::NodeEvent::IceServer), and the
    /// link goes on without it.
    ///
    /// Of TURN servers a link uses one: the first that gives an address over UDP, else over TCP. They see from whom to whom
    /// a link's datagrams go, and nothing of what is in them.
    ///
    /// ```
    /// use deltawire_node::Node;
    /// use deltawire_sdp::IceServer;
    ///
    /// let turn = IceServer::new("turn:turn.example.org").with_credentials("a name", "a password");
    /// let over_tcp = IceServer::new("turn:turn.example.org?transport=tcp")
    ///     .with_credentials("a name", "a password");
    /// let builder = Node::builder().ice_servers([turn, over_tcp]);
    /// ```
    #[cfg(feature = "turn")]
    pub fn ice_servers(
        mut self,
        servers: impl IntoIterator<Item = deltawire_sdp::IceServer>,
    ) -> Self {
        self.webrtc.ice_servers = servers.into_iter().collect();
        self
    }

    /// The certificate that peers see. Default: one that is made for this node.
    pub fn certificate(mut self, certificate: deltawire_webrtc::Certificate) -> Self {
        self.webrtc.certificate = Some(certificate);
        self
    }

    /// Largest datagram, bytes: 576 to [`MAX_MTU`](deltawire_webrtc::MAX_MTU). Default: [`DEFAULT_MTU`](deltawire_webrtc::DEFAULT_MTU), and [`MAX_MTU`](deltawire_webrtc::MAX_MTU) over
    /// loopback.
    pub fn mtu(mut self, mtu: usize) -> Self {
        self.webrtc.mtu = Some(mtu);
        self
    }

    /// Whether connectivity checks are left to those who connect (RFC 8445, section 2.5). Default:
    /// yes, which suits nodes that are reached at their own addresses, and no where there are `ice_servers`: who leaves checks to
    /// others names no addresses but its own.
    pub fn ice_lite(mut self, ice_lite: bool) -> Self {
        self.webrtc.ice_lite = Some(ice_lite);
        self
    }
}
