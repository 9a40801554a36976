//! webrtc-rs: two peer connections over loopback UDP, one data channel, ordered and reliable.
//!
//! - Sockets' buffers of 4 MiB, as deltawire asks for. It has no setting for them, but takes a
//!   runtime that makes sockets (`webrtc::runtime::Runtime`): here tokio's, with larger buffers.
//!   With the system's default it loses bursts and then waits for its timers.
//! - Back-pressure by `PeerConnectionBuilder::with_data_channel_send_buffer_limit`: sending waits
//!   while so much is not acknowledged.
//! - Datagrams of up to 1,469 bytes, about as long as deltawire's over loopback, by
//!   `SettingEngineBuilder::with_sctp_mtu`.
//! - Messages of up to 64 KiB, its default, which longer ones are cut into.
//! - aws-lc-rs does its cryptography, as it does deltawire's and quinn's.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::BytesMut;
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    SettingEngineBuilder,
};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use crate::deltawire_pair::{self, LOOPBACK};
use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::messages::{self, Messages};
use crate::plan::{LIMIT, Measured};
use crate::raw_udp;

/// Longest message, as its descriptions say.
const MAX_MESSAGE: usize = 64 << 10;
/// A channel takes nothing more while so much is not acknowledged. With the 1 MiB of the library's
/// example `data-channels-flow-control`, as much as the receiver's window, messages of 1 KiB and
/// less stall.
const SEND_BUFFER: usize = 256 << 10;
/// Longest SCTP packet: DTLS adds 37 bytes.
const SCTP_PACKET: u32 = 1_432;

pub(crate) fn one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    let flow = deltawire_pair::run(false, LIMIT, async {
        let [ends] = connect(["messages"]).await?;
        messages::one_way(ends, plan).await
    });
    Ok(flow?.into())
}

pub(crate) fn ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    deltawire_pair::run(plan.one_core, LIMIT, async {
        let [ends] = connect(["messages"]).await?;
        messages::ping_pong(ends, plan).await
    })
}

/// One end of a data channel.
pub(crate) struct Channel {
    _connection: Arc<dyn PeerConnection>,
    channel: Arc<dyn DataChannel>,
    message: BytesMut,
}

impl Messages for Channel {
    async fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        for piece in message.chunks(MAX_MESSAGE) {
            self.channel.send(BytesMut::from(piece)).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<Option<&[u8]>> {
        while let Some(event) = self.channel.poll().await {
            if let DataChannelEvent::OnMessage(message) = event {
                self.message = message.data;
                return Ok(Some(&self.message));
            }
        }
        Ok(None)
    }
}

impl Channel {
    async fn opened(&self) -> anyhow::Result<()> {
        while let Some(event) = self.channel.poll().await {
            if matches!(event, DataChannelEvent::OnOpen) {
                return Ok(());
            }
        }
        anyhow::bail!("the data channel did not open")
    }
}

/// Connects two peer connections that have these data channels, and gives both ends of each.
pub(crate) async fn connect<const N: usize>(
    labels: [&str; N],
) -> anyhow::Result<[[Channel; 2]; N]> {
    let (alice, mut alice_events) = peer_connection().await?;
    let mut ours = Vec::new();
    for label in labels {
        let init = RTCDataChannelInit { ordered: true, ..RTCDataChannelInit::default() };
        ours.push(alice.create_data_channel(label, Some(init)).await?);
    }
    let offer = alice.create_offer(None).await?;
    alice.set_local_description(offer).await?;
    alice_events.gathered.recv().await.context("no candidates")?;
    let offer = alice.local_description().await.context("no offer")?;

    let (bob, mut bob_events) = peer_connection().await?;
    bob.set_remote_description(offer).await?;
    let answer = bob.create_answer(None).await?;
    bob.set_local_description(answer).await?;
    bob_events.gathered.recv().await.context("no candidates")?;
    let answer = bob.local_description().await.context("no answer")?;
    alice.set_remote_description(answer).await?;

    let mut theirs = Vec::new();
    for _ in labels {
        let channel = bob_events.channels.recv().await.context("no data channel")?;
        theirs.push((channel.label().await?, channel));
    }
    let mut pairs = Vec::new();
    for (label, ours) in labels.iter().zip(ours) {
        let at = theirs.iter().position(|(theirs, _)| theirs == label);
        let (_, theirs) = theirs.swap_remove(at.context("another data channel")?);
        let end = |connection: &Arc<dyn PeerConnection>, channel| Channel {
            _connection: Arc::clone(connection),
            channel,
            message: BytesMut::new(),
        };
        let ends = [end(&alice, ours), end(&bob, theirs)];
        for end in &ends {
            end.opened().await?;
        }
        pairs.push(ends);
    }
    pairs.try_into().map_err(|_| anyhow::anyhow!("not as many data channels"))
}

async fn peer_connection() -> anyhow::Result<(Arc<dyn PeerConnection>, Events)> {
    let (gathered_sender, gathered) = mpsc::unbounded_channel();
    let (channels_sender, channels) = mpsc::unbounded_channel();
    let handler = Handler { gathered: gathered_sender, channels: channels_sender };
    let connection = PeerConnectionBuilder::new()
        .with_handler(Arc::new(handler))
        .with_runtime(Arc::new(LargeBuffers))
        .with_udp_addrs(vec![SocketAddr::new(LOOPBACK, 0)])
        .with_data_channel_send_buffer_limit(SEND_BUFFER)
        .with_setting_engine(SettingEngineBuilder::new().with_sctp_mtu(SCTP_PACKET).build())
        .build()
        .await?;
    Ok((Arc::new(connection), Events { gathered, channels }))
}

/// What a peer connection tells.
struct Events {
    gathered: mpsc::UnboundedReceiver<()>,
    channels: mpsc::UnboundedReceiver<Arc<dyn DataChannel>>,
}

struct Handler {
    gathered: mpsc::UnboundedSender<()>,
    channels: mpsc::UnboundedSender<Arc<dyn DataChannel>>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            // Whoever waited may have given up; below too.
            let _ = self.gathered.send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.channels.send(channel);
    }
}

/// tokio, but for the buffers of the sockets that it makes.
#[derive(Debug)]
struct LargeBuffers;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for LargeBuffers {
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        raw_udp::enlarge_buffers(&socket)?;
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn spawn_reactor(&self, size: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn_reactor(size, future)
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "tokio, larger buffers"
    }
}
