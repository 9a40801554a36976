//! Links over WebRTC of a native process: UDP sockets, each moved by a task, and offers that travel by
//! signalling.

mod answering;
mod connecting;
pub(crate) mod driver;
#[cfg(feature = "turn")]
pub(crate) mod gathering;
mod outgoing;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use deltawire_channels::Peer;
use deltawire_link::runtime::{BoxFuture, SharedRuntime};
use deltawire_link::{Detached, Resumed};
use deltawire_link::{Link, LinkEnded, LinkId};
use deltawire_signalling::Signaller;
use deltawire_webrtc::{
    AnyEngine, Certificate, DEFAULT_MTU, EngineConfig, EngineKind, MAX_MTU, Routes,
};
use tokio::sync::mpsc;

pub use self::answering::AnswerError;
use self::answering::Resources;
pub use self::connecting::Offer;
use self::driver::{Driver, Observer, Request};
#[cfg(feature = "turn")]
use self::gathering::IceServers;
#[cfg(feature = "turn")]
pub use self::gathering::{IceServerError, IceServerProblem};
use self::outgoing::Outgoing;
use crate::network::Network;
use crate::settings::Settings;
use crate::udp::{REQUESTS, Socket};
use crate::webrtc_signalling::WebRtcSignalling;
use crate::{BuildError, ConnectError, LinkKind, Node, RoomError};

/// The WebRTC stack under all links.
type NativeEngine = AnyEngine;

/// What a builder is told of WebRTC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) advertise: Vec<IpAddr>,
    pub(crate) drivers: usize,
    pub(crate) engine: EngineKind,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) mtu: Option<usize>,
    pub(crate) ice_lite: Option<bool>,
    #[cfg(feature = "turn")]
    pub(crate) ice_servers: Vec<deltawire_sdp::IceServer>,
}

/// A node's links over WebRTC.
pub(crate) struct WebRtc {
    engine: EngineConfig,
    mtu: Option<usize>,
    bind: Option<IpAddr>,
    socket_buffer: usize,
    signalling: WebRtcSignalling,
    listeners: Vec<Listener>,
    next_listener: Mutex<usize>,
    resources: Resources,
    outgoing: Outgoing,
    #[cfg(feature = "turn")]
    ice_servers: IceServers,
}

/// A socket that accepts.
struct Listener {
    /// Where peers find it.
    addresses: Vec<SocketAddr>,
    /// How many bytes may come to it at once.
    burst: u32,
    requests: mpsc::Sender<Request<NativeEngine>>,
}

impl WebRtc {
    #[cfg_attr(feature = "quic", expect(clippy::too_many_arguments, reason = "called once"))]
    pub(crate) fn new(
        options: Options,
        udp: &crate::udp::Options,
        settings: &Settings,
        signalling: WebRtcSignalling,
        network: &Network,
        runtime: &SharedRuntime,
        max_peers: usize,
        #[cfg(feature = "quic")] quic: &crate::quic::Quic,
    ) -> Result<Self, BuildError> {
        options.check(udp.listen)?;
        #[cfg(feature = "turn")]
        let ice_servers = IceServers::read(&options.ice_servers)?;
        let engine = options.engine(settings)?;
        let socket_buffer = udp.buffer();
        let resources = Resources::default();
        let mut listeners = Vec::new();
        if let Some(mut address) = udp.listen {
            for index in 0..options.drivers.max(1) {
                let mut socket = Socket::bind(&**runtime, address, socket_buffer)
                    .map_err(|source| BuildError::Listen { address, source })?;
                if !options.advertise.is_empty() {
                    socket.advertise(&options.advertise);
                }
                let (addresses, burst) = (socket.addresses().to_vec(), socket.burst());
                let observer =
                    ForNetwork { network: network.clone(), resources: Some(resources.clone()) };
                let (requests, receiver) = mpsc::channel(REQUESTS);
                let routes = Routes::default();
                let runtime_of = runtime.clone();
                // Peers are told one port of QUIC's: the first.
                #[cfg(feature = "quic")]
                let hub = if index == 0 { quic.accept_on(&socket)? } else { None };
                #[cfg(not(feature = "quic"))]
                let _ = index;
                let driver = Driver::new(socket, routes, receiver, observer, runtime_of, max_peers);
                #[cfg(feature = "quic")]
                let driver = driver.with_quic(hub);
                runtime.spawn(Box::pin(driver.run()));
                listeners.push(Listener { addresses, burst, requests });
                address.set_port(0);
            }
        }
        Ok(Self {
            engine,
            mtu: options.mtu,
            bind: udp.bind,
            socket_buffer,
            signalling,
            listeners,
            next_listener: Mutex::default(),
            resources,
            outgoing: Outgoing::new(network.clone()),
            #[cfg(feature = "turn")]
            ice_servers,
        })
    }

    /// For links over a socket at this address.
    fn engine(&self, local: IpAddr, burst: u32) -> EngineConfig {
        let default = if local.is_loopback() { MAX_MTU } else { DEFAULT_MTU };
        EngineConfig { mtu: self.mtu.unwrap_or(default), burst, ..self.engine.clone() }
    }

    /// Who takes offers in a room, for a node that can answer them.
    pub(crate) fn for_rooms(&self, url: &str) -> Result<Arc<dyn Signaller>, RoomError> {
        if self.listeners.is_empty() {
            return Err(AnswerError::NotListening.into());
        }
        Ok(self.signalling.for_rooms(url)?)
    }

    /// The sockets that accept take turns.
    fn listener(&self) -> Option<(usize, &Listener)> {
        let mut next = self.next_listener.lock().unwrap_or_else(PoisonError::into_inner);
        let index = next.checked_rem(self.listeners.len())?;
        *next = index + 1;
        Some((index, &self.listeners[index]))
    }
}

impl LinkKind for WebRtc {
    fn schemes(&self) -> &[&str] {
        self.signalling.schemes()
    }

    fn name(&self) -> &str {
        "webrtc"
    }

    fn address(&self, asked: &str, offered: Option<&str>, _ticket: Option<&str>) -> Option<String> {
        Some(WebRtcSignalling::address(asked, offered))
    }

    fn connect<'a>(
        &'a self,
        node: &'a Node,
        url: &'a str,
        once: bool,
    ) -> BoxFuture<'a, Result<(Peer, Link), ConnectError>> {
        Box::pin(self.connect(node, url, once))
    }
}

impl std::fmt::Debug for WebRtc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses = self.listeners.iter().flat_map(|listener| &listener.addresses);
        f.debug_struct("WebRtc")
            .field("addresses", &addresses.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Options {
    fn check(&self, listen: Option<SocketAddr>) -> Result<(), BuildError> {
        if let Some(address) = listen {
            if address.ip().is_unspecified() && self.advertise.is_empty() {
                return Err(BuildError::Advertise { address });
            }
            let nowhere = self.advertise.iter().find(|address| address.is_unspecified());
            if let Some(nowhere) = nowhere {
                let address = SocketAddr::new(*nowhere, address.port());
                return Err(BuildError::Advertise { address });
            }
        }
        let mtu = self.mtu.unwrap_or(DEFAULT_MTU);
        if (576..=MAX_MTU).contains(&mtu) {
            return Ok(());
        }
        Err(BuildError::Option { option: "mtu", value: mtu, expected: "576 to 1472" })
    }

    fn engine(&self, settings: &Settings) -> Result<EngineConfig, BuildError> {
        let certificate = match &self.certificate {
            Some(certificate) => certificate.clone(),
            None => Certificate::generate()?,
        };
        let mut engine = EngineConfig::new(Arc::new(certificate));
        engine.kind = self.engine;
        let Settings { limits, pacing, .. } = settings;
        // What is on its way never finds the transport full.
        engine.max_buffered = pacing.max.max(pacing.min) + limits.max_frame_len;
        engine.max_message_size = u32::try_from(limits.max_frame_len).unwrap_or(u32::MAX);
        engine.receive_buffer = u32::try_from(limits.largest_data_window()).unwrap_or(u32::MAX);
        // Who leaves checks to others opens no NAT.
        #[cfg(feature = "turn")]
        let is_reached = self.ice_servers.is_empty();
        #[cfg(not(feature = "turn"))]
        let is_reached = true;
        engine.ice_lite = self.ice_lite.unwrap_or(is_reached);
        engine.command = settings.command;
        engine.initiator = settings.initiator;
        engine.acceptor = settings.acceptor;
        Ok(engine)
    }
}

/// What a node has because it has links over WebRTC.
impl Node {
    /// Where peers reach this node by UDP: empty if it listens nowhere.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let listeners = &self.inner().webrtc.listeners;
        listeners.iter().flat_map(|listener| listener.addresses.iter().copied())
    }

    /// Signalling for this node, to be mounted in an application of your own: see
    /// [`router`](deltawire_signalling::router).
    #[cfg(feature = "signalling-server")]
    pub fn router(&self, options: deltawire_signalling::SignallingOptions) -> axum::Router {
        deltawire_signalling::router(Arc::new(self.clone()), options)
    }

    /// Starts a link whose offer travels by other means than signalling: see [`Offer`]. `local` is the
    /// address to be reached at; the link ends when the host loses it.
    ///
    /// # Errors
    ///
    /// When the node is full, or cannot bind a socket at this address.
    pub fn offer(&self, local: IpAddr) -> Result<Offer, ConnectError> {
        Offer::alone(self, local)
    }

    /// The same for a node with `NodeBuilder::ice_servers`: the offer names the addresses that they gave, for which they have 1 s.
    ///
    /// # Errors
    ///
    /// As [`offer`](Self::offer).
    #[cfg(feature = "turn")]
    pub async fn offer_gathered(&self, local: IpAddr) -> Result<Offer, ConnectError> {
        Offer::alone_gathered(self, local).await
    }

    /// Answers an offer that came by other means than signalling. The peer then shows in
    /// [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// When the offer cannot be read or has no data channels, the node is full, or it listens
    /// nowhere.
    pub async fn answer(&self, offer: &str) -> Result<String, AnswerError> {
        answering::answer(self, offer, None, None).await.map(|answered| answered.sdp)
    }

    /// Answers an offer that was taken in a room: of who makes one nobody knows an address, so both sides check.
    pub(crate) async fn answer_in_room(&self, offer: &str) -> Result<String, AnswerError> {
        answering::answer_checking(self, offer).await.map(|answered| answered.sdp)
    }
}

/// Tells the network what drivers tell.
struct ForNetwork {
    network: Network,
    resources: Option<Resources>,
}

impl Observer for ForNetwork {
    fn opened(&self, id: LinkId, peer: Peer) {
        self.network.opened(id, peer);
    }

    fn ended(&self, id: LinkId, ended: LinkEnded) {
        if let Some(resources) = &self.resources {
            resources.remove(id);
        }
        self.network.ended(id, ended);
    }

    fn gone(&self, id: LinkId) {
        self.network.gone(id);
    }

    fn merged(&self, id: LinkId, link: LinkId, peer: Peer) {
        self.network.merged(id, link, peer);
    }

    fn resumed(&self, id: LinkId, resumed: Resumed) {
        self.network.resumed(id, resumed);
    }

    fn detached(&self, id: LinkId, detached: Box<Detached>) {
        if let Some(resources) = &self.resources {
            resources.remove(id);
        }
        self.network.detached(id, detached);
    }
}
