//! Links over WebSocket of a native process: opened by HTTP, and then a stream of bytes that a task moves.

#[cfg(feature = "signalling-client")]
pub(crate) use connecting::WebSocket;

#[cfg(feature = "signalling-client")]
mod connecting {
    use deltawire_channels::Peer;
    use deltawire_framing::control::Role;
    use deltawire_link::Link;
    use deltawire_link::runtime::BoxFuture;
    use deltawire_signalling::{ClientOptions, Signaller, SignallingClient};
    use deltawire_stream::StreamTransport;
    use deltawire_websocket::{Side, WebSocketFraming};

    use crate::patience::patiently;
    use crate::websocket_address;
    use crate::{BuildError, ConnectError, LinkKind, Node};

    /// Links to `ws://` and `wss://`.
    #[derive(Debug)]
    pub(crate) struct WebSocket {
        client: SignallingClient,
        patience: std::time::Duration,
        unencrypted: bool,
    }

    impl WebSocket {
        pub(crate) fn new(options: ClientOptions, unencrypted: bool) -> Result<Self, BuildError> {
            let patience = options.patience;
            Ok(Self { client: SignallingClient::new(options)?, patience, unencrypted })
        }

        async fn connect(
            &self,
            node: &Node,
            url: &str,
            once: bool,
        ) -> Result<(Peer, Link), ConnectError> {
            let (host, _) = self.client.host(url)?;
            websocket_address::check(url, host, self.unencrypted)?;
            let (reservation, outcome) = node.begin_connect()?;
            let runtime = node.runtime();
            let mut key = [0; 16];
            runtime.random(&mut key).map_err(ConnectError::Random)?;
            let patience = if once { Default::default() } else { self.patience };
            let open = || self.client.open_websocket(url, key);
            let stream = patiently(&**runtime, patience, open).await?;
            let random = {
                let runtime = runtime.clone();
                Box::new(move |bytes: &mut [u8]| {
                    if let Err(error) = runtime.random(bytes) {
                        tracing::warn!(%error, "no random masks: what proxies store may be confused");
                    }
                })
            };
            let framing = WebSocketFraming::new(Side::Client { random });
            let transport = StreamTransport::new(deltawire_websocket::KIND, stream, framing);
            node.start(reservation, transport, Role::Initiator, None, None)?;
            Ok(outcome.await?)
        }
    }

    impl LinkKind for WebSocket {
        fn schemes(&self) -> &[&str] {
            if cfg!(feature = "https") { &["ws", "wss"] } else { &["ws"] }
        }

        fn name(&self) -> &str {
            deltawire_websocket::KIND
        }

        fn address(
            &self,
            asked: &str,
            offered: Option<&str>,
            ticket: Option<&str>,
        ) -> Option<String> {
            websocket_address::address(asked, offered, ticket)
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
}

#[cfg(feature = "signalling-server")]
mod accepting {
    use deltawire_framing::control::Role;
    use deltawire_signalling::{AttachStream, Offerer, Refusal};
    use deltawire_stream::StreamTransport;
    use deltawire_websocket::{Side, WebSocketFraming};

    use crate::Node;

    impl Node {
        /// Makes room for a peer that opens a WebSocket.
        pub(crate) fn accept_websocket(&self, from: Offerer) -> Result<AttachStream, Refusal> {
            let network = &self.inner().network;
            let reservation = network.begin_accept(from.network(), from.identity.clone())?;
            let node = self.clone();
            Ok(Box::new(move |stream| {
                let framing = WebSocketFraming::new(Side::Server);
                let transport = StreamTransport::new(deltawire_websocket::KIND, stream, framing);
                let identity = from.identity.as_ref();
                // 0.0.0.0:0 is not known.
                let remote = Some(from.address).filter(|from| !from.ip().is_unspecified());
                let started = node.start(reservation, transport, Role::Acceptor, identity, remote);
                if let Err(error) = started {
                    tracing::warn!(%error, "a WebSocket was opened and cannot be used");
                }
            }))
        }
    }
}
