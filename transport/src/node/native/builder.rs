use super::*;
use crate::driver::{Driver, Socket};
use crate::engine::{Certificate, CertificateError};
use crate::node::{NodeLimits, network};
use crate::signalling::{ClientOptions, SignallingError};

/// Sets a [`Node`] up.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct NodeBuilder {
    listen: Option<SocketAddr>,
    advertise: Vec<IpAddr>,
    bind: Option<IpAddr>,
    drivers: usize,
    certificate: Option<Certificate>,
    mtu: Option<usize>,
    ice_lite: Option<bool>,
    limits: Limits,
    node_limits: NodeLimits,
    flight: FlightLimits,
    connect_timeout: Option<Duration>,
    socket_buffer: Option<usize>,
    backoff: Backoff,
    client: ClientOptions,
    command: Order,
    initiator: Delivery,
    acceptor: Delivery,
}

/// A node could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A socket could not be bound where the node should listen.
    #[error("cannot listen for UDP at {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why: if the port is in use, another program has it.
        source: std::io::Error,
    },
    /// Peers have to be told where the node listens, and 0.0.0.0 or :: says nothing.
    #[error(
        "{address} says nothing to peers: name the addresses at which they reach this node with \
         NodeBuilder::advertise"
    )]
    Advertise {
        /// Where it should listen.
        address: SocketAddr,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The signalling client could not be made.
    #[error(transparent)]
    Signalling(#[from] SignallingError),
    /// A limit of each peer is out of bounds.
    #[error(transparent)]
    Limits(#[from] InvalidLimits),
    /// Another option is out of bounds.
    #[error("{option} is {value}, must be {expected}")]
    Option {
        /// Which.
        option: &'static str,
        /// What it is.
        value: usize,
        /// What it must be.
        expected: &'static str,
    },
}

impl NodeBuilder {
    /// Where peers' datagrams come. Without it the node accepts nobody. Port 0 lets the system
    /// choose.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// The addresses at which peers reach this node, with the port of [`listen`](Self::listen). Default: the
    /// one that it listens at; has to be given if that is 0.0.0.0 or ::.
    ///
    /// They need not be this host's own: a node at 10.0.0.2 behind a NAT that has a public address for it,
    /// as clouds have, advertises that one, and the NAT has to keep the port. Answers go out from the
    /// address where the peer's datagrams came in. Who listens at :: is reached over IPv4 as well, and
    /// advertises the addresses of both families.
    pub fn advertise(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.advertise = addresses.into_iter().collect();
        self
    }

    /// The address that links of this node's own come from, and with which they end. Default: the
    /// one from which the system reaches the signalling server; such links go on when the host gets
    /// another one.
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// Sockets that accept, each moved by a task of its own, so that more cores work on many peers.
    /// The first has the port of [`listen`](Self::listen), the others those that the system gives
    /// them. Default: 1.
    pub fn drivers(mut self, drivers: usize) -> Self {
        self.drivers = drivers;
        self
    }

    /// The certificate that peers see. Default: one that is made for this node.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Largest datagram, bytes: 576 to [`MAX_MTU`]. Default: [`DEFAULT_MTU`], and [`MAX_MTU`] over
    /// loopback.
    pub fn mtu(mut self, mtu: usize) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Whether connectivity checks are left to those who connect (RFC 8445, section 2.5). Default:
    /// yes, which suits nodes that are reached at their own addresses.
    pub fn ice_lite(mut self, ice_lite: bool) -> Self {
        self.ice_lite = Some(ice_lite);
        self
    }

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

    /// How much is on its way to a peer. Default: [`FlightLimits::default`].
    pub fn flight(mut self, flight: FlightLimits) -> Self {
        self.flight = flight;
        self
    }

    /// How long it may take to reach a peer after the answer. Default: 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// What the system is asked for as a socket's buffers each way, bytes. It may give less.
    /// Default: 4 MiB.
    pub fn socket_buffer(mut self, bytes: usize) -> Self {
        self.socket_buffer = Some(bytes);
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
    /// str0m's SCTP sends what is unordered first: with unordered deltas, give commands
    /// [the same order](Self::command_order), or bulk holds them up on lossy paths.
    pub fn delivery(mut self, from_initiator: Delivery, from_acceptor: Delivery) -> Self {
        self.initiator = from_initiator;
        self.acceptor = from_acceptor;
        self
    }

    /// Builds it. Has to be called within a tokio runtime with I/O and time, whose tasks will move
    /// its sockets.
    ///
    /// # Errors
    ///
    /// [`BuildError`] says what could not be had.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Node, BuildError> {
        self.check()?;
        let certificate = match self.certificate {
            Some(certificate) => certificate,
            None => Certificate::generate()?,
        };
        let mut engine = EngineConfig::new(Arc::new(certificate));
        // What is on its way never finds the transport full.
        engine.max_buffered = self.flight.max.max(self.flight.min) + self.limits.max_frame_len;
        engine.max_message_size = u32::try_from(self.limits.max_frame_len).unwrap_or(u32::MAX);
        engine.receive_buffer = u32::try_from(self.limits.data_window).unwrap_or(u32::MAX);
        engine.ice_lite = self.ice_lite.unwrap_or(true);
        engine.command = self.command;
        engine.initiator = self.initiator;
        engine.acceptor = self.acceptor;
        let start = engine.start;
        let settings = Settings {
            engine,
            mtu: self.mtu,
            limits: self.limits,
            flight: self.flight,
            connect_timeout: self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            socket_buffer: self.socket_buffer.unwrap_or(SOCKET_BUFFER),
            bind: self.bind,
            backoff: self.backoff,
            patience: self.client.patience,
        };
        let network = network::Network::new(self.node_limits);
        let resources = Resources::default();
        let mut listeners = Vec::new();
        if let Some(mut address) = self.listen {
            for _ in 0..self.drivers.max(1) {
                let mut socket = Socket::bind(address, settings.socket_buffer)
                    .map_err(|source| BuildError::Listen { address, source })?;
                let observer =
                    ForNetwork { network: network.clone(), resources: Some(resources.clone()) };
                let (requests, receiver) = mpsc::channel(REQUESTS);
                if !self.advertise.is_empty() {
                    socket.advertise(&self.advertise);
                }
                let addresses = socket.addresses().to_vec();
                let capacity = self.node_limits.max_peers;
                let driver = Driver::new(socket, receiver, observer, start, capacity);
                tokio::spawn(driver.run());
                listeners.push(Listener { addresses, requests });
                address.set_port(0);
            }
        }
        let inner = Inner {
            settings,
            network,
            client: SignallingClient::new(self.client)?,
            listeners,
            next_listener: Mutex::default(),
            resources,
            start,
        };
        Ok(Node { inner: Arc::new(inner) })
    }

    fn check(&self) -> Result<(), BuildError> {
        if let Some(address) = self.listen
            && address.ip().is_unspecified()
            && self.advertise.is_empty()
        {
            return Err(BuildError::Advertise { address });
        }
        self.limits.validate()?;
        let mtu = self.mtu.unwrap_or(DEFAULT_MTU);
        let FlightLimits { min, max } = self.flight;
        for (option, value, valid, expected) in [
            ("mtu", mtu, (576..=MAX_MTU).contains(&mtu), "576 to 1472"),
            ("flight.min", min, min >= self.limits.max_frame_len, "at least limits.max_frame_len"),
            ("flight.max", max, (min..=1 << 30).contains(&max), "flight.min to 1 GiB"),
        ] {
            if !valid {
                return Err(BuildError::Option { option, value, expected });
            }
        }
        Ok(())
    }
}

/// [`NodeBuilder::connect_timeout`] by default.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// [`NodeBuilder::socket_buffer`] by default, bytes.
pub(crate) const SOCKET_BUFFER: usize = 4 << 20;

/// Requests that may wait for a driver.
pub(crate) const REQUESTS: usize = 64;
