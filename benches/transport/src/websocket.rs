//! WebSocket over loopback TCP: two nodes, and tungstenite used plainly. Nothing is encrypted.
//!
//! tungstenite: tokio-tungstenite with its defaults, TCP_NODELAY, a binary message each, flushed each. It is given
//! each message as a `Vec` of its own, as it takes nothing else.

use anyhow::{Context, bail};
use deltawire::Node;
use deltawire::signalling::{SignallingOptions, SignallingServer};
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::deltawire_pair::{self, End, LOOPBACK};
use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::messages::{self, Messages};
use crate::plan::{LIMIT, Measured};

pub(crate) fn one_way(plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    let (flow, _) = deltawire_pair::run(false, LIMIT, async {
        deltawire_pair::one_way_over(connect(plan.size, links).await?, plan).await
    })?;
    Ok(flow.into())
}

pub(crate) fn ping_pong(plan: PingPong, links: &Links) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        deltawire_pair::ping_pong_over(connect(0, links).await?, plan).await
    })
}

/// Connects two nodes.
pub(crate) async fn connect(size: usize, links: &Links) -> anyhow::Result<[End; 2]> {
    let limits = deltawire_pair::limits(size);
    let acceptor = Node::builder().limits(limits).build()?;
    let router = acceptor.router(SignallingOptions::default());
    let server = SignallingServer::bind((LOOPBACK, 0).into(), router).await?;
    let url = format!("ws://{}/webrtc", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    let (peer, link) = Node::builder().limits(limits).build()?.connect(&url).await?;
    links.watch("initiator", &link);
    let alice = End { peer, link };
    let (peer, link) = acceptor.accept().await.context("the acceptor shut down")?;
    links.watch("acceptor", &link);
    Ok([alice, End { peer, link }])
}

pub(crate) fn tungstenite_one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    let flow = deltawire_pair::run(false, LIMIT, async {
        messages::one_way(tungstenite().await?, plan).await
    });
    Ok(flow?.into())
}

pub(crate) fn tungstenite_ping_pong(
    plan: PingPong,
    _links: &Links,
) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        messages::ping_pong(tungstenite().await?, plan).await
    })
}

/// One end of a WebSocket.
struct Tungstenite {
    stream: WebSocketStream<TcpStream>,
    message: Bytes,
}

impl Tungstenite {
    fn new(stream: WebSocketStream<TcpStream>) -> Self {
        Self { stream, message: Bytes::new() }
    }
}

async fn tungstenite() -> anyhow::Result<[Tungstenite; 2]> {
    let listener = TcpListener::bind((LOOPBACK, 0)).await?;
    let address = listener.local_addr()?;
    let client = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        anyhow::Ok(client_async(format!("ws://{address}/"), stream).await?.0)
    };
    let server = async {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        anyhow::Ok(accept_async(stream).await?)
    };
    let (client, server) = tokio::try_join!(client, server)?;
    Ok([Tungstenite::new(client), Tungstenite::new(server)])
}

impl Messages for Tungstenite {
    async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::Binary(Bytes::copy_from_slice(message))).await?)
    }

    async fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        match self.stream.next().await.transpose()? {
            Some(Message::Binary(message)) => self.message = message,
            None | Some(Message::Close(_)) => return Ok(None),
            Some(other) => bail!("{other:?} came"),
        }
        Ok(Some(&self.message))
    }
}
