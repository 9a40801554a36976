use std::sync::Arc;
use std::time::Duration;

use deltawire_channels::{Delivery, Limits, Order};
use deltawire_link::runtime::SharedRuntime;
use deltawire_link::{PacingLimits, Runtime, Sessions, SessionsLimits};
use deltawire_signalling::{ClientOptions, Signaller};

use crate::automatic::Automatic;
use crate::network::Network;
use crate::node::Inner;
use crate::settings::{CONNECT_TIMEOUT, Settings};
use crate::{Backoff, BuildError, LinkKind, Node, NodeLimits};

#[cfg(not(target_arch = "wasm32"))]
mod kinds;

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
    serves_documents: bool,
    resume: Resume,
    runtime: Option<SharedRuntime>,
    signaller: Option<Arc<dyn Signaller>>,
    kinds: Vec<Arc<dyn LinkKind>>,
    unencrypted: bool,
    preferred: Option<Vec<String>>,
    #[cfg(all(
        any(feature = "webrtc", feature = "quic", feature = "sctp"),
        not(target_arch = "wasm32")
    ))]
    udp: crate::udp::Options,
    #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
    webrtc: crate::webrtc::Options,
    #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
    quic: crate::quic::Options,
    #[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
    sctp: Option<(std::net::SocketAddr, crate::Admission)>,
    #[cfg(all(any(feature = "tcp", all(feature = "unix", unix)), not(target_arch = "wasm32")))]
    streams: crate::streams::Options,
    #[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
    http: Option<crate::http::Options>,
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

    /// How long, and how many, sessions outlive their links: when what a link goes over is lost, its peer waits, this
    /// node opens another transport to where it had connected, or is connected to again, and nothing is lost,
    /// repeated or reordered on channels that are reliable and ordered. `None`: a session ends with its link, and what
    /// was not delivered is counted. Both nodes have to do it. Default: [`SessionsLimits::default`].
    pub fn resume(mut self, limits: Option<SessionsLimits>) -> Self {
        self.resume = Resume(limits);
        self
    }

    /// Tells each peer that this node serves documents, so that it can subscribe and publish: for a node whose
    /// links a hub attends to. Default: no.
    pub fn serve_documents(mut self) -> Self {
        self.serves_documents = true;
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

    /// Whether links that are not encrypted may leave this machine: to `ws://`, `tcp://` and `sctp://` at other than
    /// loopback addresses. Default: no.
    pub fn allow_unencrypted(mut self, allow: bool) -> Self {
        self.unencrypted = allow;
        self
    }

    /// The kinds of links that are used for addresses that name none, the best first: of `http://…` and
    /// `https://…`, where the other node is asked what it offers. Default: in a browser `webtransport`, natively `quic`, then
    /// everywhere `websocket`, `webrtc`, as far as this node has them. What opens first is taken, and each has 300 ms before the next
    /// is tried beside it, 1 s where that is WebRTC in a browser; what reached an address is tried first there for ten
    /// minutes. With `webrtc` alone nobody is asked.
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
            serves_documents: self.serves_documents,
        };
        #[cfg(not(target_arch = "wasm32"))]
        let default = || Arc::new(crate::TokioRuntime::current()) as SharedRuntime;
        #[cfg(all(
            any(feature = "webrtc", feature = "websocket", feature = "webtransport"),
            target_arch = "wasm32"
        ))]
        let default = || Arc::new(deltawire_browser::BrowserRuntime::new()) as SharedRuntime;
        #[cfg(all(
            not(any(feature = "webrtc", feature = "websocket", feature = "webtransport")),
            target_arch = "wasm32"
        ))]
        let default = || -> SharedRuntime {
            panic!("without the features webrtc, websocket and webtransport, give it a runtime")
        };
        let runtime = self.runtime.unwrap_or_else(default);
        let sessions = self.resume.0.map(|limits| Arc::new(Sessions::new(limits, runtime.clone())));
        let network = Network::new(self.node_limits, sessions);
        #[cfg(feature = "metrics")]
        network.publish(&runtime);
        #[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
        let listening = self.http.clone().map(crate::http::Options::bind).transpose()?;
        let mut kinds = self.kinds;
        let given = kinds.len();
        #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
        let quic = {
            let (token, udp) = (self.client.token.clone(), self.udp.clone());
            let options = self.quic;
            #[cfg(feature = "signalling-server")]
            let options = match (&self.http, udp.listen) {
                (Some(http), Some(listen)) => options.or_accept(http.admission(listen)),
                _ => options,
            };
            let quic = crate::quic::Quic::new(options, udp, &settings, token, &network, &runtime)?;
            let quic = Arc::new(quic);
            kinds.push(quic.clone());
            quic
        };
        #[cfg(all(feature = "quic", not(feature = "webrtc"), not(target_arch = "wasm32")))]
        let listens = quic.listen()?;
        #[cfg(all(feature = "webtransport", target_arch = "wasm32"))]
        kinds.push(Arc::new(crate::webtransport_browser::WebTransport));
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
        #[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
        let sctp = {
            let by = (self.client.token.clone(), self.unencrypted);
            let udp = self.udp.clone();
            crate::sctp::Sctp::new(self.sctp, udp, &settings, by, &network, &runtime)
                .map(Arc::new)?
        };
        #[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
        kinds.push(sctp.clone());
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
        let webrtc = Arc::new(crate::browser::WebRtc::new(signalling)?);
        #[cfg(all(feature = "webrtc", target_arch = "wasm32"))]
        kinds.push(webrtc.clone());
        if let Some(signaller) = signaller {
            let automatic = Automatic::new(signaller, patience, choose(&kinds, self.preferred)?);
            // Before WebRTC, which has the same addresses.
            kinds.insert(given, Arc::new(automatic));
        }
        #[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
        let (http, gone) =
            listening.as_ref().map(|it| crate::http::Serving::new(it.address())).unzip();
        let node = Node::new(Inner {
            settings,
            backoff: self.backoff,
            network,
            runtime,
            kinds,
            #[cfg(feature = "webrtc")]
            webrtc,
            #[cfg(all(feature = "quic", not(target_arch = "wasm32")))]
            quic,
            #[cfg(all(feature = "sctp", not(target_arch = "wasm32")))]
            sctp,
            #[cfg(all(feature = "quic", not(feature = "webrtc"), not(target_arch = "wasm32")))]
            listens,
            #[cfg(all(
                any(feature = "tcp", all(feature = "unix", unix)),
                not(target_arch = "wasm32")
            ))]
            accepting,
            #[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
            http,
        });
        #[cfg(all(feature = "signalling-server", not(target_arch = "wasm32")))]
        if let (Some(listening), Some(gone)) = (listening, gone) {
            listening.start(&node, gone);
        }
        #[cfg(all(
            any(feature = "tcp", all(feature = "unix", unix)),
            not(target_arch = "wasm32")
        ))]
        bound.start(&node);
        Ok(node)
    }
}

/// Whether sessions outlive their links.
#[derive(Clone, Copy, Debug)]
struct Resume(Option<SessionsLimits>);

impl Default for Resume {
    fn default() -> Self {
        Self(Some(SessionsLimits::default()))
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

#[cfg(feature = "signalling-client")]
fn by_http(options: ClientOptions) -> Result<Option<Arc<dyn Signaller>>, BuildError> {
    Ok(Some(Arc::new(deltawire_signalling::SignallingClient::new(options)?)))
}

#[cfg(not(feature = "signalling-client"))]
fn by_http(_options: ClientOptions) -> Result<Option<Arc<dyn Signaller>>, BuildError> {
    Ok(None)
}
