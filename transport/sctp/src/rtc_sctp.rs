//! [`Sctp`] on [rtc-sctp](https://docs.rs/rtc-sctp).

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deltawire_channels::{Delivery, Order, Reliability};
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier, ReliabilityType, StreamEvent, TimerConfig, TransportConfig,
    max_payload_size_for_mtu,
};

use crate::MAX_MESSAGE_LEN;
use crate::association::{AssociationConfig, MessageKind, Sctp, SctpEvent};
use crate::filter::DATA_HEADER;
use crate::init::{COOKIE_ACK, Init, packet_of};
use crate::packet::{DATA, HEADER, INIT, SACK, SACK_HEADER, chunks, is_after, number, seal, short};

/// Streams of a link.
const STREAMS: u16 = 3;

/// The cookie that the stack is made to believe that its peer gave it.
const COOKIE: &[u8] = b"known by signalling";

/// How far before TSNs wrap around acknowledgements of single chunks are left out: the stack compares TSNs as
/// plain numbers when it writes them. What all came before is acknowledged as always.
const NEAR_WRAP: u32 = u32::MAX - (1 << 16);

/// The association of one link, on rtc-sctp.
pub struct RtcSctp {
    /// The instant at which `now` is 0.
    start: Instant,
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    init: Init,
    max_packet_len: usize,
    packets: VecDeque<Bytes>,
    /// Streams with messages that were not read.
    readable: [bool; STREAMS as usize],
    /// What was read and not asked for yet.
    read: VecDeque<SctpEvent>,
    established: bool,
    closed: bool,
    in_flight: usize,
    /// Bytes of messages that were written, and the newest TSN that was sent: what is not sent yet waits.
    waiting: usize,
    sent: u32,
}

impl RtcSctp {
    fn instant(&self, now: Duration) -> Instant {
        self.start + now
    }

    fn input(&mut self, packet: Bytes, now: Duration) {
        let now = self.instant(now);
        // No more than one association is ever made: without a configuration for servers no INIT does.
        if let Some((handle, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(now, nowhere(), None, packet)
            && handle == self.handle
        {
            self.association.handle_event(event);
        }
        self.take_events();
    }

    fn take_events(&mut self) {
        while let Some(event) = self.association.poll() {
            match event {
                Event::Stream(StreamEvent::Readable { id }) => {
                    if let Some(readable) = self.readable.get_mut(usize::from(id)) {
                        *readable = true;
                    }
                }
                Event::Stream(StreamEvent::BufferedAmountReleased { n_bytes, .. }) => {
                    self.in_flight = self.in_flight.saturating_sub(n_bytes);
                }
                Event::AssociationLost { .. } | Event::HandshakeFailed { .. } => {
                    self.closed |= self.established;
                }
                _ => {}
            }
        }
    }

    fn read_message(&mut self) -> Option<SctpEvent> {
        for stream in 0..STREAMS {
            if !self.readable[usize::from(stream)] {
                continue;
            }
            let read = self.association.stream(stream).and_then(|mut stream| stream.read());
            let Ok(Some(message)) = read else {
                self.readable[usize::from(stream)] = false;
                continue;
            };
            let kind = match message.ppi {
                PayloadProtocolIdentifier::Dcep => MessageKind::Dcep,
                _ => MessageKind::Data,
            };
            // Reading may have answered something that waited for it.
            self.take_events();
            // No length is too long: what came is what is taken over.
            let bytes = message.to_payload(usize::MAX).ok()?.freeze().into();
            return Some(SctpEvent::Message { stream, kind, bytes });
        }
        None
    }

    /// Counts what is sent for the first time.
    fn note_sent(&mut self, packet: &[u8]) {
        for chunk in chunks(packet).flatten().filter(|chunk| chunk[0] == DATA) {
            let Some(tsn) = number(chunk, 4) else { continue };
            if is_after(tsn, self.sent) {
                self.sent = tsn;
                self.waiting = self.waiting.saturating_sub(chunk.len() - DATA_HEADER);
            }
        }
    }

    /// Fetches what is to be sent.
    fn fetch_packets(&mut self, now: Duration) {
        let now = self.instant(now);
        while let Some(transmit) = self.association.poll_transmit(now) {
            if let Payload::RawEncode(packets) = transmit.message {
                self.packets.extend(packets);
            }
        }
    }
}

impl Sctp for RtcSctp {
    fn new(config: &AssociationConfig, now: Duration) -> Self {
        let AssociationConfig { receive_buffer, max_packet_len, .. } = *config;
        let timers = TimerConfig {
            // Who waits how long, the link decides.
            max_t1_init_retrans: usize::MAX,
            max_t1_cookie_retrans: usize::MAX,
            max_t3_rtx_retrans: usize::MAX,
            max_reconfig_retrans: usize::MAX,
            max_ack_retrans: usize::MAX,
            ..TimerConfig::default()
        };
        let transport = TransportConfig::default()
            .with_max_receive_buffer_size(receive_buffer)
            .with_max_message_size(MAX_MESSAGE_LEN as u32)
            .with_timer_config(timers);
        let mut endpoint_config = EndpointConfig::new();
        let mtu = u32::try_from(max_packet_len).unwrap_or(u32::MAX);
        endpoint_config.max_payload_size(max_payload_size_for_mtu(mtu));
        let mut endpoint =
            Endpoint::new(nowhere(), Default::default(), Arc::new(endpoint_config), None);
        let (handle, mut association) = endpoint
            .connect(config.start + now, ClientConfig::new(transport), nowhere())
            .expect("an endpoint of its own has room for one association");
        let streams = [
            Delivery { order: config.command, ..Delivery::default() },
            config.initiator,
            config.acceptor,
        ];
        for (number, delivery) in (0..).zip(streams) {
            let (reliability, value) = match delivery.reliability {
                Reliability::Reliable => (ReliabilityType::Reliable, 0),
                Reliability::MaxRetransmits(most) => (ReliabilityType::Rexmit, u32::from(most)),
                Reliability::MaxLifetime(most) => {
                    let ms = u16::try_from(most.as_millis()).unwrap_or(u16::MAX);
                    (ReliabilityType::Timed, u32::from(ms))
                }
            };
            let unordered = delivery.order == Order::Unordered;
            association
                .open_stream(number, PayloadProtocolIdentifier::Binary)
                .and_then(|mut stream| stream.set_reliability_params(unordered, reliability, value))
                .expect("a new association has no streams");
        }
        let mut sctp = Self {
            start: config.start,
            endpoint,
            handle,
            association,
            init: Init { tag: 0, window: 0, streams: [0; 2], tsn: 0, forward_tsn: true },
            max_packet_len,
            packets: VecDeque::new(),
            readable: [false; STREAMS as usize],
            read: VecDeque::new(),
            established: false,
            closed: false,
            in_flight: 0,
            waiting: 0,
            sent: 0,
        };
        sctp.fetch_packets(now);
        let init = sctp.packets.pop_front().and_then(|packet| {
            let chunk = chunks(&packet).next().flatten()?;
            (chunk[0] == INIT).then(|| Init::read(chunk)).flatten()
        });
        sctp.init = init.expect("an association begins with its INIT");
        sctp.sent = sctp.init.tsn.wrapping_sub(1);
        sctp
    }

    fn init(&self) -> Init {
        self.init
    }

    /// Plays the peer's part of a handshake that never was on the wire.
    fn establish(&mut self, peer: &Init, now: Duration) {
        let ack = peer.chunk(Some(COOKIE));
        self.input(packet_of(self.init.tag, &ack).into(), now);
        self.input(packet_of(self.init.tag, &[COOKIE_ACK, 0, 0, 4]).into(), now);
        self.fetch_packets(now);
        // Its INIT, perhaps, and the cookie.
        self.packets.clear();
        self.established = !self.association.is_handshaking();
        // What it refuses in an INIT ends the link, and does not leave it deaf.
        self.closed |= !self.established;
    }

    fn handle_packet(&mut self, packet: Bytes, now: Duration) {
        if !self.established {
            return;
        }
        // With its end, an association forgets what was not read.
        if !matches!(packet.get(HEADER), Some(&(DATA | SACK))) {
            while let Some(message) = self.read_message() {
                self.read.push_back(message);
            }
        }
        self.input(packet, now);
    }

    fn poll_packet(&mut self, now: Duration) -> Option<Bytes> {
        if self.packets.is_empty() {
            self.fetch_packets(now);
        }
        let packet = self.packets.pop_front()?;
        self.note_sent(&packet);
        match packet.get(HEADER) {
            Some(&SACK) => Some(clipped(packet, self.max_packet_len)),
            _ => Some(packet),
        }
    }

    fn poll_event(&mut self) -> Option<SctpEvent> {
        let message = self.read.pop_front().or_else(|| self.read_message());
        message.or_else(|| {
            std::mem::take(&mut self.closed).then(|| {
                self.established = false;
                SctpEvent::Closed
            })
        })
    }

    fn write(&mut self, stream: u16, message: &[u8], now: Duration) -> Result<(), String> {
        // Nothing is sent of an empty message, but a number is used up: all later ones would wait for it.
        if message.is_empty() {
            return Err("a transport message is never empty".to_owned());
        }
        let now = self.instant(now);
        let binary = PayloadProtocolIdentifier::Binary;
        let written = self
            .association
            .stream(stream)
            .and_then(|mut stream| stream.write_with_ppi(now, message, binary));
        let len = written.map_err(|error| error.to_string())?;
        self.in_flight += len;
        self.waiting += len;
        Ok(())
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let at = self.association.poll_timeout().filter(|_| self.established)?;
        Some(at.saturating_duration_since(self.start))
    }

    fn handle_timeout(&mut self, now: Duration) {
        if self.established {
            self.association.handle_timeout(self.instant(now));
            self.take_events();
        }
    }

    /// Lets the association believe that it is later. Its timers that run are the one of acknowledgements,
    /// which is sooner, and the one of what is in flight.
    fn retransmit(&mut self) {
        let before = self.association.stats().get_num_t3timeouts();
        for _timer in 0..2 {
            let Some(at) = self.association.poll_timeout() else { break };
            self.association.handle_timeout(at);
            if self.association.stats().get_num_t3timeouts() > before {
                break;
            }
        }
        self.take_events();
    }

    fn round_trip(&self) -> Option<Duration> {
        Some(self.association.rtt()).filter(|round_trip| !round_trip.is_zero())
    }
}

/// An address, of which the stack makes no use: whose a packet is, its tag says.
fn nowhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 5_000))
}

/// An acknowledgement that fits a packet. The stack names every hole there is.
fn clipped(packet: Bytes, max_packet_len: usize) -> Bytes {
    let room = max_packet_len.saturating_sub(HEADER + SACK_HEADER) / 4;
    let sack = &packet[HEADER..];
    let (acknowledged, blocks) = (number(sack, 4).unwrap_or(0), short(sack, 12).unwrap_or(0));
    let most = if acknowledged > NEAR_WRAP { 0 } else { room };
    if usize::from(blocks) <= most {
        return packet;
    }
    let mut clipped = packet[..HEADER + SACK_HEADER + 4 * most].to_vec();
    let len = (SACK_HEADER + 4 * most) as u16;
    clipped[HEADER + 2..HEADER + 4].copy_from_slice(&len.to_be_bytes());
    clipped[HEADER + 12..HEADER + 14].copy_from_slice(&(most as u16).to_be_bytes());
    clipped[HEADER + 14..HEADER + 16].fill(0);
    seal(&mut clipped);
    clipped.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::is_sealed;

    fn sack(acknowledged: u32, blocks: u16) -> Bytes {
        let mut chunk = vec![SACK, 0];
        chunk.extend((SACK_HEADER as u16 + 4 * blocks).to_be_bytes());
        chunk.extend(acknowledged.to_be_bytes());
        chunk.extend([0, 1, 0, 0]);
        chunk.extend(blocks.to_be_bytes());
        chunk.extend([0; 2]);
        (0..blocks).for_each(|block| chunk.extend([(2 * block + 2).to_be_bytes(); 2].concat()));
        packet_of(7, &chunk).into()
    }

    #[test]
    fn acknowledgements_fit_a_packet() {
        for (acknowledged, blocks, left) in [
            (9, 0, 0),
            (9, 50, 50),
            (9, 287, 287),
            (9, 288, 287),
            (9, 2_000, 287),
            (u32::MAX, 5, 0),
        ] {
            let before = sack(acknowledged, blocks);
            let after = clipped(before.clone(), 1_176);
            assert!(after.len() <= 1_176 && is_sealed(&after));
            assert_eq!(short(&after, HEADER + 12), Some(left), "{blocks}");
            assert_eq!(after.len(), HEADER + SACK_HEADER + 4 * usize::from(left));
            assert_eq!(after == before, blocks == left);
        }
    }
}
