//! TCP over loopback, and Unix sockets: two nodes, and the same streams used plainly. Nothing is encrypted.
//!
//! Plainly: tokio's sockets with TCP_NODELAY, each message with its length in front, written with one call from where it
//! lies and read into the same memory each time, as much as is there with a call.

use std::io::IoSlice;

use anyhow::Context;
use deltawire::{Admission, Node};
use hdrhistogram::Histogram;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::deltawire_pair::{self, End, LOOPBACK};
use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::messages::{self, Messages};
use crate::plan::{LIMIT, Measured};

/// What is read with one call, bytes: as much as a node reads.
const READ: usize = 64 << 10;

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Tcp,
    Unix,
}

pub(crate) fn tcp_one_way(plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    one_way(Kind::Tcp, plan, links)
}

pub(crate) fn unix_one_way(plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    one_way(Kind::Unix, plan, links)
}

pub(crate) fn tcp_ping_pong(plan: PingPong, links: &Links) -> anyhow::Result<Histogram<u64>> {
    ping_pong(Kind::Tcp, plan, links)
}

pub(crate) fn unix_ping_pong(plan: PingPong, links: &Links) -> anyhow::Result<Histogram<u64>> {
    ping_pong(Kind::Unix, plan, links)
}

fn one_way(kind: Kind, plan: OneWay, links: &Links) -> anyhow::Result<Measured> {
    let (flow, _) = deltawire_pair::run(false, LIMIT, async {
        deltawire_pair::one_way_over(connect(kind, plan.size, links).await?, plan).await
    })?;
    Ok(flow.into())
}

fn ping_pong(kind: Kind, plan: PingPong, links: &Links) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        deltawire_pair::ping_pong_over(connect(kind, 0, links).await?, plan).await
    })
}

/// Connects two nodes.
pub(crate) async fn connect(kind: Kind, size: usize, links: &Links) -> anyhow::Result<[End; 2]> {
    let limits = deltawire_pair::limits(size);
    let acceptor = Node::builder().limits(limits);
    let (acceptor, url) = match kind {
        Kind::Tcp => {
            let acceptor =
                acceptor.accept_tcp((LOOPBACK, 0).into(), Admission::anyone()).build()?;
            let address = acceptor.tcp_address().context("it listens nowhere")?;
            (acceptor, format!("tcp://{address}"))
        }
        Kind::Unix => {
            let path = std::env::temp_dir().join(format!("deltawire-bench-{}", std::process::id()));
            let acceptor = acceptor.accept_unix(&path, Admission::anyone()).build()?;
            (acceptor, format!("unix://{}", path.display()))
        }
    };
    let (peer, link) = Node::builder().limits(limits).build()?.connect(&url).await?;
    links.watch("initiator", &link);
    let alice = End { peer, link };
    let (peer, link) = acceptor.accept().await.context("the acceptor shut down")?;
    links.watch("acceptor", &link);
    Ok([alice, End { peer, link }])
}

pub(crate) fn raw_tcp_one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    let flow = deltawire_pair::run(false, LIMIT, async {
        messages::one_way(raw_tcp().await?, plan).await
    });
    Ok(flow?.into())
}

pub(crate) fn raw_unix_one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    let flow =
        deltawire_pair::run(false, LIMIT, async { messages::one_way(raw_unix()?, plan).await });
    Ok(flow?.into())
}

pub(crate) fn raw_tcp_ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        messages::ping_pong(raw_tcp().await?, plan).await
    })
}

pub(crate) fn raw_unix_ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        messages::ping_pong(raw_unix()?, plan).await
    })
}

async fn raw_tcp() -> anyhow::Result<[Plain<TcpStream>; 2]> {
    let listener = TcpListener::bind((LOOPBACK, 0)).await?;
    let connecting = TcpStream::connect(listener.local_addr()?);
    let (near, (far, _)) = tokio::try_join!(connecting, listener.accept())?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok([Plain::new(near), Plain::new(far)])
}

fn raw_unix() -> anyhow::Result<[Plain<UnixStream>; 2]> {
    let (near, far) = UnixStream::pair()?;
    Ok([Plain::new(near), Plain::new(far)])
}

/// One end of a stream of messages, each with its length in front.
struct Plain<S> {
    send: WriteHalf<S>,
    receive: BufReader<ReadHalf<S>>,
    message: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite> Plain<S> {
    fn new(stream: S) -> Self {
        let (receive, send) = tokio::io::split(stream);
        let receive = BufReader::with_capacity(READ, receive);
        Self { send, receive, message: Vec::new() }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Messages for Plain<S> {
    async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let len = u32::try_from(message.len())?.to_le_bytes();
        let slices = [IoSlice::new(&len), IoSlice::new(message)];
        let sent = self.send.write_vectored(&slices).await?;
        if let Some(rest) = len.get(sent..) {
            self.send.write_all(rest).await?;
        }
        let rest = message.get(sent.saturating_sub(len.len())..).unwrap_or_default();
        Ok(self.send.write_all(rest).await?)
    }

    async fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        let Ok(len) = self.receive.read_u32_le().await else { return Ok(None) };
        self.message.resize(len as usize, 0);
        self.receive.read_exact(&mut self.message).await?;
        Ok(Some(&self.message))
    }
}
