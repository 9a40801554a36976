//! Peers that open streams: let in or refused, and then moved by a task each.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use deltawire_framing::control::Role;
use deltawire_link::runtime::{self, SharedRuntime};
use deltawire_stream::{ByteStream, LengthPrefix, StreamTransport, preface};
use futures_channel::oneshot;

use crate::Admission;
use crate::admission::AUTHORIZE_TIMEOUT;
use crate::arrival::{Arrival, counted_as};
use crate::network::Network;
use crate::node::WeakNode;

/// How long what accepts is left alone after a failure, such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What peers knock at.
pub(super) trait Listener: Send + Sync + 'static {
    type Stream: ByteStream;

    /// What links over it are called.
    const KIND: &'static str;

    /// Waits for the next. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<Knock<Self::Stream>>> + Send;
}

/// A peer that opened a stream.
pub(super) struct Knock<S> {
    pub(super) stream: S,
    /// Where it is, if that means something.
    pub(super) from: Option<SocketAddr>,
    /// Why it is refused, whatever it shows.
    pub(super) refused: Option<String>,
}

/// Accepts until the node is gone or shuts down.
pub(super) async fn accept<L: Listener>(
    listener: L,
    admission: Admission,
    node: WeakNode,
    gone: oneshot::Receiver<Infallible>,
) {
    let Some((network, runtime, patience)) = node.upgrade().map(|node| {
        let inner = node.inner();
        (inner.network.clone(), inner.runtime.clone(), inner.settings.connect_timeout)
    }) else {
        return;
    };
    let (mut gone, mut closing) = (pin!(gone), pin!(network.closing()));
    loop {
        let knock = {
            let mut accepting = pin!(listener.accept());
            poll_fn(|context| {
                if gone.as_mut().poll(context).is_ready()
                    || closing.as_mut().poll(context).is_ready()
                {
                    return Poll::Ready(None);
                }
                accepting.as_mut().poll(context).map(Some)
            })
            .await
        };
        let Knock { mut stream, from, refused } = match knock {
            None => return,
            Some(Ok(knock)) => knock,
            Some(Err(error)) => {
                tracing::debug!(kind = L::KIND, %error, "a stream was not accepted");
                runtime::sleep(&*runtime, ACCEPT_AGAIN).await;
                continue;
            }
        };
        let place = match refused {
            Some(reason) => Err(reason),
            None => Arrival::begin(&network, from.map(|from| from.ip()))
                .map_err(|error| error.to_string()),
        };
        match place {
            Ok(place) => {
                let (node, network, runtime) = (node.clone(), network.clone(), runtime.clone());
                let arriving = Arriving { kind: L::KIND, from, place, patience };
                let arrival =
                    arriving.run(stream, admission.clone(), node, network, runtime.clone());
                runtime.spawn(Box::pin(arrival));
            }
            Err(reason) => {
                tracing::debug!(kind = L::KIND, ?from, reason, "a link was refused");
                // The system has room for that, or the peer is not told.
                let mut refusing = pin!(preface::refuse(&mut stream, &reason));
                poll_fn(|context| Poll::Ready(refusing.as_mut().poll(context).is_ready())).await;
            }
        }
    }
}

/// A peer that is not let in yet.
struct Arriving {
    kind: &'static str,
    from: Option<SocketAddr>,
    place: Arrival,
    /// How long it may take to show its token.
    patience: Duration,
}

impl Arriving {
    async fn run<S: ByteStream>(
        self,
        mut stream: S,
        admission: Admission,
        node: WeakNode,
        network: Network,
        runtime: SharedRuntime,
    ) {
        let Self { kind, from, place, patience } = self;
        let asked = runtime::timeout(&*runtime, patience, preface::read_token(&mut stream)).await;
        let token = match asked {
            Some(Ok(token)) => token,
            Some(Err(error)) => {
                tracing::debug!(kind, ?from, %error, "a link did not come to be");
                return;
            }
            None => return refuse(stream, "it took too long", patience, &runtime).await,
        };
        let verdict = {
            let deciding = admission.verdict(kind, &token, from);
            let verdict = runtime::timeout(&*runtime, AUTHORIZE_TIMEOUT, deciding).await;
            verdict.unwrap_or_else(|| Err("it took too long to decide".to_owned()))
        };
        // One place after the other: what is a link is none that arrives.
        drop(place);
        let reserved = verdict.and_then(|identity| {
            let address = from.map(|from| counted_as(from.ip()));
            let reserved = network.begin_accept(address, identity.clone());
            reserved.map(|reservation| (reservation, identity)).map_err(|error| error.to_string())
        });
        let (reservation, identity) = match reserved {
            Ok(reserved) => reserved,
            Err(reason) => return refuse(stream, &reason, patience, &runtime).await,
        };
        if let Err(error) = preface::let_in(&mut stream).await {
            tracing::debug!(kind, ?from, %error, "a peer hung up as it was let in");
            return;
        }
        let Some(node) = node.upgrade() else { return };
        let transport = StreamTransport::new(kind, stream, LengthPrefix);
        let started = node.start(reservation, transport, Role::Acceptor, identity.as_ref(), from);
        if let Err(error) = started {
            tracing::warn!(kind, %error, "a stream was opened and cannot be used");
        }
    }
}

async fn refuse<S: ByteStream>(
    mut stream: S,
    reason: &str,
    patience: Duration,
    runtime: &SharedRuntime,
) {
    // It may not read.
    let _ = runtime::timeout(&**runtime, patience, preface::refuse(&mut stream, reason)).await;
}
