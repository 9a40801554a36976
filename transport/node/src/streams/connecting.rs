//! Streams that this side opens.

use std::future::Future;
use std::net::SocketAddr;

use deltawire_channels::Peer;
use deltawire_framing::control::Role;
use deltawire_link::{Link, LinkEnded, TransportError, runtime};
use deltawire_signalling::Token;
use deltawire_stream::{ByteStream, LengthPrefix, StreamTransport, preface};

use crate::{ConnectError, Node, admission};

/// Opens a link on the stream that `opening` gives, and where it leads, if that means something.
pub(super) async fn connect<S: ByteStream>(
    node: &Node,
    kind: &'static str,
    token: Option<&Token>,
    opening: impl Future<Output = Result<(S, Option<SocketAddr>), ConnectError>>,
) -> Result<(Peer, Link), ConnectError> {
    let (reservation, outcome) = node.begin_connect()?;
    let token = token.map(admission::secret).unwrap_or_default();
    let opening = async {
        let (mut stream, remote) = opening.await?;
        preface::ask(&mut stream, &token).await.map_err(TransportError::from)?;
        Ok((stream, remote))
    };
    let within = node.settings().connect_timeout;
    let opened = runtime::timeout(&**node.runtime(), within, opening).await;
    let late = || Err(ConnectError::Ended(LinkEnded::NotReached(within)));
    let (stream, remote) = opened.unwrap_or_else(late)?;
    let transport = StreamTransport::new(kind, stream, LengthPrefix);
    node.start(reservation, transport, Role::Initiator, None, remote)?;
    Ok(outcome.await?)
}
