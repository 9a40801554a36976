use std::time::{Duration, Instant};

use deltawire_channels::{Delivery, Order};

use crate::{AssociationConfig, MAX_MESSAGE_LEN};

/// Largest datagram that is made by default, bytes: passes where IPv6 does.
pub const DEFAULT_MTU: usize = 1_200;

/// Largest datagram that can be asked for, bytes: an Ethernet frame's payload less the headers of IPv4 and UDP.
pub const MAX_MTU: usize = 1_472;

/// The most that may wait in the socket of a peer that says how much it takes at once, bytes, as over WebRTC.
pub(crate) const MAX_QUEUE: u32 = 512 << 10;

/// How long it may wait there.
pub(crate) const QUEUE_TIME: Duration = Duration::from_millis(2);

/// What links over SCTP are made with.
#[derive(Clone, Copy, Debug)]
pub struct SctpConfig {
    /// Largest datagram, bytes: up to [`MAX_MTU`]. Default: [`DEFAULT_MTU`].
    pub mtu: usize,
    /// What is held of messages that came in part or ahead of others, bytes: the most that the peer may have on its
    /// way. Less than 1 MiB counts as 1 MiB. Default: 1 MiB.
    pub receive_buffer: u32,
    /// Most bytes that are held until the peer has acknowledged them. Default: 4 MiB.
    pub max_buffered: usize,
    /// So many bytes may come to this side's socket at once, which the peer is told. Default: 0.
    pub burst: u32,
    /// Whether commands arrive in the order in which they were sent.
    pub command: Order,
    /// Delivery of the initiator's deltas.
    pub initiator: Delivery,
    /// Delivery of the acceptor's deltas.
    pub acceptor: Delivery,
    /// The instant at which `now` is 0, for a stack that counts in instants. Default: when these options are made.
    pub start: Instant,
}

impl Default for SctpConfig {
    fn default() -> Self {
        Self {
            mtu: DEFAULT_MTU,
            receive_buffer: 1 << 20,
            max_buffered: 4 << 20,
            burst: 0,
            command: Order::default(),
            initiator: Delivery::default(),
            acceptor: Delivery::default(),
            start: Instant::now(),
        }
    }
}

impl SctpConfig {
    pub(crate) fn association(&self) -> AssociationConfig {
        let Self { command, initiator, acceptor, start, .. } = *self;
        let receive_buffer = self.receive_buffer.max(MAX_MESSAGE_LEN as u32).max(1 << 20);
        let max_packet_len = self.mtu.clamp(576, MAX_MTU);
        AssociationConfig { receive_buffer, max_packet_len, command, initiator, acceptor, start }
    }
}
