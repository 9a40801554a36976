//! quinn: QUIC over loopback UDP. All messages go through one stream, each with its length in
//! front, as QUIC carries bytes and no messages.
//!
//! Windows of 4 MiB rather than 1.25 MB (`quinn::TransportConfig`), sockets' buffers of 4 MiB as
//! deltawire asks for (quinn leaves them to the application: `quinn::Endpoint::new` takes the
//! socket). GSO, GRO and the search for the path's MTU are on by default. Streams are buffered by
//! tokio's [`BufReader`] and [`BufWriter`], as one lock is taken for each call otherwise.

use std::sync::Arc;

use anyhow::Context;
use hdrhistogram::Histogram;
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::PrivatePkcs8KeyDer;
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};

use crate::deltawire_pair;
use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::messages::{self, Messages};
use crate::plan::{LIMIT, Measured};
use crate::raw_udp;

const WINDOW: u32 = 4 << 20;
/// What is read or written at a time, if there is as much.
const TOGETHER: usize = 64 << 10;
/// Longest message that is taken.
const MAX_MESSAGE: usize = 16 << 20;

/// Whether a message may wait for others.
#[derive(Clone, Copy, PartialEq)]
enum Flush {
    /// Each message goes to quinn at once.
    Each,
    /// 64 KiB go at a time. A program has to flush before it waits; a flood never does.
    Full,
}

pub(crate) fn one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    one_way_flushed(plan, Flush::Each)
}

pub(crate) fn gathered_one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    one_way_flushed(plan, Flush::Full)
}

fn one_way_flushed(plan: OneWay, flush: Flush) -> anyhow::Result<Measured> {
    let flow = deltawire_pair::run(false, LIMIT, async {
        let link = Quic::bind(large_windows())?.connect().await?;
        messages::one_way(link.streams(flush).await?, plan).await
    });
    Ok(flow?.into())
}

pub(crate) fn ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        let link = Quic::bind(large_windows())?.connect().await?;
        messages::ping_pong(link.streams(Flush::Each).await?, plan).await
    })
}

/// For one stream of bulk.
fn large_windows() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(WINDOW.into())
        .receive_window(VarInt::from_u32(2 * WINDOW))
        .send_window(WINDOW.into());
    transport
}

/// A client and a server that do not know of each other yet.
pub(crate) struct Quic {
    client: Endpoint,
    server: Endpoint,
}

impl Quic {
    pub(crate) fn bind(transport: TransportConfig) -> anyhow::Result<Self> {
        let transport = Arc::new(transport);

        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let certificate = certified.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let mut server = ServerConfig::with_single_cert(vec![certificate], key.into())?;
        server.transport_config(Arc::clone(&transport));
        let mut client = ClientConfig::with_root_certificates(Arc::new(roots))?;
        client.transport_config(transport);

        let mut initiator = endpoint(None)?;
        initiator.set_default_client_config(client);
        Ok(Self { client: initiator, server: endpoint(Some(server))? })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Link> {
        let connecting = self.client.connect(self.server.local_addr()?, "localhost")?;
        let accepting = async {
            let incoming = self.server.accept().await.context("the server shut down")?;
            anyhow::Ok(incoming.await?)
        };
        let (alice, bob) = tokio::try_join!(async { Ok(connecting.await?) }, accepting)?;
        Ok(Link { alice, bob })
    }
}

fn endpoint(server: Option<ServerConfig>) -> anyhow::Result<Endpoint> {
    let socket = raw_udp::bind_with_buffers()?;
    Ok(Endpoint::new(EndpointConfig::default(), server, socket, Arc::new(TokioRuntime))?)
}

/// Both ends of a connection.
pub(crate) struct Link {
    alice: Connection,
    bob: Connection,
}

impl Link {
    /// Both ends of a stream for messages that go as they come.
    pub(crate) async fn messages(&self) -> anyhow::Result<[Stream; 2]> {
        self.streams(Flush::Each).await
    }

    /// Both ends of a stream that has been heard of.
    async fn streams(&self, flush: Flush) -> anyhow::Result<[Stream; 2]> {
        let opened = self.alice.open_bi().await?;
        let mut alice = Stream::new(&self.alice, opened, flush);
        alice.hello().await?;
        let accepted = self.bob.accept_bi().await?;
        let mut bob = Stream::new(&self.bob, accepted, flush);
        bob.heard().await?;
        bob.hello().await?;
        alice.heard().await?;
        Ok([alice, bob])
    }
}

/// One end of a stream of messages, each with its length in front.
pub(crate) struct Stream {
    /// It is closed when nobody holds it any more.
    _connection: Connection,
    send: BufWriter<SendStream>,
    receive: BufReader<RecvStream>,
    flush: Flush,
    message: Vec<u8>,
}

impl Stream {
    fn new(
        connection: &Connection,
        (send, receive): (SendStream, RecvStream),
        flush: Flush,
    ) -> Self {
        Self {
            _connection: connection.clone(),
            send: BufWriter::with_capacity(TOGETHER, send),
            receive: BufReader::with_capacity(TOGETHER, receive),
            flush,
            message: Vec::new(),
        }
    }

    /// Makes it go before other streams of the connection.
    pub(crate) fn go_first(&self) -> anyhow::Result<()> {
        Ok(self.send.get_ref().set_priority(1)?)
    }

    async fn hello(&mut self) -> anyhow::Result<()> {
        self.send.write_u32(0).await?;
        Ok(self.send.flush().await?)
    }

    async fn heard(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.receive.read_u32().await? == 0, "the stream began with a message");
        Ok(())
    }
}

impl Messages for Stream {
    async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.send.write_u32(message.len().try_into()?).await?;
        self.send.write_all(message).await?;
        if self.flush == Flush::Each {
            self.send.flush().await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        // The end of the stream, or of the connection.
        let Ok(len) = self.receive.read_u32().await else { return Ok(None) };
        let len = len as usize;
        anyhow::ensure!(len <= MAX_MESSAGE, "a message of {len} bytes");
        self.message.resize(len, 0);
        self.receive.read_exact(&mut self.message).await?;
        Ok(Some(&self.message))
    }
}
