use super::*;
use crate::browser::opening;
use crate::node::NodeLimits;

/// Sets a [`Node`] up.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct NodeBuilder {
    limits: Limits,
    node_limits: NodeLimits,
    connect_timeout: Option<Duration>,
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
    /// Data channels that windows have to move would wait for everything that a page does.
    #[error("a node has to be built in a dedicated worker: start one with browser::spawn_worker")]
    NoWorker,
    /// A limit is out of bounds.
    #[error(transparent)]
    Limits(#[from] InvalidLimits),
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
    pub fn delivery(mut self, from_initiator: Delivery, from_acceptor: Delivery) -> Self {
        self.initiator = from_initiator;
        self.acceptor = from_acceptor;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    ///
    /// [`BuildError`] says what could not be had.
    pub fn build(self) -> Result<Node, BuildError> {
        self.limits.validate()?;
        if !opening::listen() {
            return Err(BuildError::NoWorker);
        }
        let settings = Settings {
            limits: self.limits,
            connect_timeout: self.connect_timeout.unwrap_or(Duration::from_secs(10)),
            backoff: self.backoff,
            client: self.client,
            command: self.command,
            initiator: self.initiator,
            acceptor: self.acceptor,
        };
        let network = Network::new(self.node_limits);
        Ok(Node { inner: Rc::new(Inner { settings, network }) })
    }
}
