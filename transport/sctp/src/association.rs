//! What links need of an SCTP, so that it can be exchanged.

use std::time::{Duration, Instant};

use bytes::Bytes;
use deltawire_channels::{Delivery, Order, TransportMessage};
use deltawire_framing::Channel;
use deltawire_framing::control::Role;

use crate::init::Init;

/// An association of SCTP (RFC 9260) with its three streams, without I/O and without a handshake: this side's
/// INIT and the peer's are all that it is made of.
pub trait Sctp: Sized {
    /// One that waits for the peer's INIT.
    fn new(config: &AssociationConfig, now: Duration) -> Self;

    /// What its INIT says.
    fn init(&self) -> Init;

    /// Goes on with the peer's INIT, as if a handshake had been made.
    fn establish(&mut self, peer: &Init, now: Duration);

    /// Takes in a packet of the peer's.
    fn handle_packet(&mut self, packet: Bytes, now: Duration);

    /// A packet to be sent.
    fn poll_packet(&mut self, now: Duration) -> Option<Bytes>;

    /// What came.
    fn poll_event(&mut self) -> Option<SctpEvent>;

    /// Takes over a message, whole.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    fn write(&mut self, stream: u16, message: &[u8], now: Duration) -> Result<(), String>;

    /// Bytes of messages that were written and neither acknowledged nor given up.
    fn in_flight(&self) -> usize;

    /// Bytes of those that no packet had room for yet, as long as none is given up.
    fn waiting(&self) -> usize;

    /// When to let time pass.
    fn poll_timeout(&self) -> Option<Duration>;

    /// Lets time pass.
    fn handle_timeout(&mut self, now: Duration);

    /// Sends what is not acknowledged again, as when its timer runs out.
    fn retransmit(&mut self);

    /// The round trip, if it is known.
    fn round_trip(&self) -> Option<Duration>;
}

/// What came over an association.
pub enum SctpEvent {
    /// A message.
    Message {
        /// On which stream.
        stream: u16,
        /// What kind of message it is (RFC 8831, section 8).
        kind: MessageKind,
        /// What it holds.
        bytes: TransportMessage,
    },
    /// It is over.
    Closed,
}

/// Kinds of messages (RFC 8831, section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// One of the application's.
    Data,
    /// One that opens a channel (RFC 8832).
    Dcep,
}

/// What an association is made with.
#[derive(Clone, Copy, Debug)]
pub struct AssociationConfig {
    /// Its receive window, bytes.
    pub receive_buffer: u32,
    /// The longest packet that it sends, bytes.
    pub max_packet_len: usize,
    /// Whether commands, on stream 0, arrive in the order in which they were sent.
    pub command: Order,
    /// Delivery of the initiator's deltas, on stream 1.
    pub initiator: Delivery,
    /// Delivery of the acceptor's deltas, on stream 2.
    pub acceptor: Delivery,
    /// The instant at which `now` is 0: the stack counts in instants.
    pub start: Instant,
}

/// The SCTP stream that carries what `role` sends on `channel`: 0 commands both ways, 1 deltas of the initiator, 2
/// deltas of the acceptor. Links over WebRTC have the same.
#[must_use]
pub fn stream(role: Role, channel: Channel) -> u16 {
    match (channel, role) {
        (Channel::Command, _) => 0,
        (Channel::Data, Role::Initiator) => 1,
        (Channel::Data, Role::Acceptor) => 2,
    }
}
