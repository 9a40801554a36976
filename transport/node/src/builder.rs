use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::{Delivery, Limits, Order};
use deltawire_link::runtime::SharedRuntime;
use deltawire_link::{PacingLimits, Runtime};
use deltawire_signalling::{ClientOptions, Signaller};

use crate::automatic::Automatic;
use crate::network::Network;
use crate::node::Inner;
use crate::settings::{CONNECT_TIMEOUT, Settings};
use crate::{Backoff, BuildError, LinkKind, Node, NodeLimits};

/// Sets a [`Node`] up.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct NodeBuilder {
    limits: Limits,
    node_limits: NodeLimits,
    pacing: PacingLimits,
    connect_timeout: Option<Duration>,
    backoff: Backoff,
    client: ClientOptions,
    command: Order,
    initiator: Delivery,
    acceptor: Delivery,
    runtime: Option<SharedRuntime>,
    signaller: Option<Arc<dyn Signaller>>,
    kinds: Vec<Arc<dyn LinkKind>>,
    unencrypted: bool,
    preferred: Option<Vec<String>>,
    #[cfg(all(any(feature = "webrtc", feature = "quic"), not(target_arch = "wasm32")))]
    udp: crate::udp::Options,
    #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
    webrtc: crate::webrtc::Options,
    #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
    quic: crate::quic::Options,
    #[cfg(all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32")))]
    streams: crate::streams::Options,
}

impl NodeBuilder {
    /// What bounds each peer. Default: [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What bounds the node. Default: [`NodeLimits::default`].
    pub fn node_limits(mut self, limits: NodeLimits) -> Self {
        self.node_limits = limits;
        self
    }

    /// How much is on its way to a peer, over transports whose peer acknowledges. Default:
    /// [`PacingLimits::default`].
    pub fn pacing(mut self, pacing: PacingLimits) -> Self {
        self.pacing = pacing;
        self
    }

    /// How long it may take to reach a peer after the answer. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// The waits of [`Node::keep_connected`]. Default: [`Backoff::default`].
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How this node signals to others: token, time limit. Default: [`ClientOptions::default`].
    pub fn signalling(mut self, options: ClientOptions) -> Self {
        self.client = options;
        self
    }

    /// Whether commands arrive in the order in which they were sent. Both nodes have to say the
    /// same. Default: they do.
    pub fn command_order(mut self, order: Order) -> Self {
        self.command = order;
        self
    }

    /// Delivery of deltas: of those from who connects, and of those from who accepts. Both nodes
    /// have to say the same: else the link ends at once, with
    /// [`ProtocolError::Delivery`](deltawire_channels::session::ProtocolError::Delivery). Default:
    /// reliable and ordered.
    ///
    /// Natively, str0m's SCTP sends what is unordered first: with unordered deltas, give commands
    /// [the same order](Self::command_order), or bulk holds them up on lossy paths.
    pub fn delivery(mut self, from_initiator: Delivery, from_acceptor: Delivery) -> Self {
        self.initiator = from_initiator;
        self.acceptor = from_acceptor;
        self
    }

    /// What this node has its time, tasks, sockets and randomness from. Default: the tokio runtime that
    /// [`build`](Self::build) is called in, and in a browser what that has.
    pub fn runtime(mut self, runtime: impl Runtime + 'static) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// Who brings this node's offers of WebRTC links to others. Default: a client by HTTP, with the options
    /// of [`signalling`](Self::signalling).
    pub fn signaller(mut self, signaller: impl Signaller) -> Self {
        self.signaller = Some(Arc::new(signaller));
        self
    }

    /// Whether links that are not encrypted may leave this machine: to `ws://` and the like at other than
    /// loopback addresses. Default: no.
    pub fn allow_unencrypted(mut self, allow: bool) -> Self {
        self.unencrypted = allow;
        self
    }

    /// The kinds of links that are used for addresses that name none, the best first: of `http://…` and
    /// `https://…`, where the other node is asked what it offers. Default: `websocket`, `webrtc`, as far as
    /// this node has them. What opens first is taken, and each has 300 ms before the next is tried beside it; what
    /// reached an address is tried first there for ten minutes. With `webrtc` alone nobody is asked.
    pub fn prefer_links<K: Into<String>>(mut self, kinds: impl IntoIterator<Item = K>) -> Self {
        self.preferred = Some(kinds.into_iter().map(Into::into).collect());
        self
    }

    /// One more kind of link: [`Node::connect`] uses it for addresses of its schemes, and before those that
    /// a node has by itself.
    pub fn link_kind(mut self, kind: impl LinkKind) -> Self {
        self.kinds.push(Arc::new(kind));
        self
    }

    /// Builds it. Natively it has to be called within a tokio runtime with I/O and time, whose tasks will
    /// move its sockets, unless it was given [another](Self::runtime); in a browser, in a dedicated worker.
    ///
    /// # Errors
    ///
    /// [`BuildError`] says what could not be had.
    ///
    /// # Panics
    ///
    /// Natively, without a runtime.
    pub fn build(self) -> Result<Node, BuildError> {
        self.limits.validate()?;
        let PacingLimits { min, max } = self.pacing;
        for (option, value, valid, expected) in [
            ("pacing.min", min, min >= self.limits.max_frame_len, "at least limits.max_frame_len"),
            ("pacing.max", max, (min..=1 << 30).contains(&max), "pacing.min to 1 GiB"),
        ] {
            // A browser does not say what was acknowledged over WebRTC, so nothing is paced there.
            if !valid && cfg!(not(target_arch = "wasm32")) {
                return Err(BuildError::Option { option, value, expected });
            }
        }
        // Where that was let pass, another kind of link takes these.
        let min = min.max(self.limits.max_frame_len).min(1 << 30);
        let pacing = PacingLimits { min, max: max.clamp(min, 1 << 30) };
        let settings = Settings {
            limits: self.limits,
            pacing,
            connect_timeout: self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            command: self.command,
            initiator: self.initiator,
            acceptor: self.acceptor,
        };
        #[cfg(not(target_arch = "wasm32"))]
        let default = || Arc::new(crate::TokioRuntime::current()) as SharedRuntime;
        #[cfg(all(any(feature = "webrtc", feature = "websocket"), target_arch = "wasm32"))]
        let default = || Arc::new(deltawire_browser::BrowserRuntime::new()) as SharedRuntime;
        #[cfg(all(not(any(feature = "webrtc", feature = "websocket")), target_arch = "wasm32"))]
        let default = || -> SharedRuntime {
            panic!("without the features webrtc and websocket, give it a runtime")
        };
        let runtime = self.runtime.unwrap_or_else(default);
        let network = Network::new(self.node_limits);
        #[cfg(feature = "metrics")]
        network.publish(&runtime);
        let mut kinds = self.kinds;
        let given = kinds.len();
        #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
        let quic = {
            let (token, udp) = (self.client.token.clone(), self.udp.clone());
            let quic =
                crate::quic::Quic::new(self.quic, udp, &settings, token, &network, &runtime)?;
            let quic = Arc::new(quic);
            kinds.push(quic.clone());
            quic
        };
        #[cfg(all(feature = "quic", not(feature = "webrtc"), not(target_arch = "wasm32")))]
        let listens = quic.listen()?;
        #[cfg(all(
            feature = "websocket",
            feature = "signalling-client",
            not(target_arch = "wasm32")
        ))]
        kinds.push(Arc::new(crate::websocket::WebSocket::new(
            self.client.clone(),
            self.unencrypted,
        )?));
        #[cfg(all(feature = "websocket", target_arch = "wasm32"))]
        kinds.push(Arc::new(crate::websocket_browser::WebSocket::new(self.unencrypted)));
        #[cfg(all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32")))]
        let (bound, accepting) = {
            kinds.extend(self.streams.kinds(self.client.token.as_ref(), self.unencrypted));
            self.streams.bind(self.unencrypted)?
        };
        let patience = self.client.patience;
        let signaller = match self.signaller {
            Some(signaller) => Some(signaller),
            None => by_http(self.client)?,
        };
        #[cfg(feature = "webrtc")]
        let signalling = {
            let signaller = signaller.clone();
            crate::webrtc_signalling::WebRtcSignalling { signaller, patience }
        };
        #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
        let webrtc = {
            let max_peers = self.node_limits.max_peers;
            let webrtc = crate::webrtc::WebRtc::new(
                self.webrtc,
                &self.udp,
                &settings,
                signalling,
                &network,
                &runtime,
                max_peers,
                #[cfg(feature = "quic")]
                &quic,
            )?;
            Arc::new(webrtc)
        };
        #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
        kinds.push(webrtc.clone());
        #[cfg(all(feature = "webrtc", target_arch = "wasm32"))]
        kinds.push(Arc::new(crate::browser::WebRtc::new(signalling)?));
        if let Some(signaller) = signaller {
            let automatic = Automatic::new(signaller, patience, choose(&kinds, self.preferred)?);
            // Before WebRTC, which has the same addresses.
            kinds.insert(given, Arc::new(automatic));
        }
        let node = Node::new(Inner {
            settings,
            backoff: self.backoff,
            network,
            runtime,
            kinds,
            #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
            webrtc,
            #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
            quic,
            #[cfg(all(feature = "quic", not(feature = "webrtc"), not(target_arch = "wasm32")))]
            listens,
            #[cfg(all(
                any(feature = "tcp", all(feature = "unix", unix)),
                not(target_arch = "wasm32")
            ))]
            accepting,
        });
        #[cfg(all(
            any(feature = "tcp", all(feature = "unix", unix)),
            not(target_arch = "wasm32")
        ))]
        bound.start(&node);
        Ok(node)
    }
}

/// The kinds that are used for addresses that name none, the best first.
fn choose(
    kinds: &[Arc<dyn LinkKind>],
    preferred: Option<Vec<String>>,
) -> Result<Vec<Arc<dyn LinkKind>>, BuildError> {
    let named = || kinds.iter().filter(|kind| !kind.name().is_empty());
    let Some(preferred) = preferred else { return Ok(named().cloned().collect()) };
    let choose = |name: String| match named().find(|kind| kind.name() == name) {
        Some(kind) => Ok(kind.clone()),
        None => {
            let known = named().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
            Err(BuildError::LinkKind { name, known })
        }
    };
    preferred.into_iter().map(choose).collect()
}

/// The UDP sockets of links.
#[cfg(all(any(feature = "webrtc", feature = "quic"), not(target_arch = "wasm32")))]
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

/// Links over QUIC: those to addresses such as `quic://example.org:4000`.
#[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// Lets peers connect over QUIC, at the port of [`listen`](Self::listen): the same one that WebRTC has. Without
    /// it none can.
    pub fn accept_quic(mut self, admission: crate::Admission) -> Self {
        self.quic.admission = Some(admission);
        self
    }

    /// The certificate that peers see over QUIC. Default: one that is made for this node, whose SHA-256
    /// [`Node::quic_fingerprint`] gives them to pin.
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

/// Links over TCP, which are not encrypted: those to addresses such as `tcp://127.0.0.1:4000`.
#[cfg(all(feature = "tcp", not(target_arch = "wasm32")))]
impl NodeBuilder {
    /// Lets peers connect over TCP at this address, which has to be a loopback address unless
    /// [`allow_unencrypted`](Self::allow_unencrypted) says otherwise. Port 0 lets the system choose:
    /// [`Node::tcp_address`] says what.
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
    /// yes, which suits nodes that are reached at their own addresses.
    pub fn ice_lite(mut self, ice_lite: bool) -> Self {
        self.webrtc.ice_lite = Some(ice_lite);
        self
    }
}

#[cfg(feature = "signalling-client")]
fn by_http(options: ClientOptions) -> Result<Option<Arc<dyn Signaller>>, BuildError> {
    Ok(Some(Arc::new(deltawire_signalling::SignallingClient::new(options)?)))
}

#[cfg(not(feature = "signalling-client"))]
fn by_http(_options: ClientOptions) -> Result<Option<Arc<dyn Signaller>>, BuildError> {
    Ok(None)
}
