//! What a peer that holds its link's keys reaches: the filter and SCTP behind it, without ICE and DTLS. For the fuzzer,
//! which makes thousands a second of these and a hundred of whole links.

use std::time::Duration;

use super::{association_config, take_packet};
use crate::EngineConfig;
use crate::engine::receive_buffer;
use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_sctp::filter::SctpFilter;
use deltawire_sctp::{Handshake, Init, RtcSctp, Sctp, SctpEvent, packet_of};
use deltawire_sdp::stream;

/// An association that is open, of an acceptor.
pub struct AboveDtls {
    handshake: Handshake,
    filter: SctpFilter,
    sctp: RtcSctp,
    tag: u32,
    /// Messages that came.
    pub messages: usize,
    /// Packets that it sent.
    pub sent: usize,
    /// Whether it is over, for whatever reason.
    pub over: bool,
}

impl AboveDtls {
    /// The peer's first TSN.
    pub const PEER_TSN: u32 = 0x4000_0000;

    /// One whose INITs came by signalling.
    #[must_use]
    pub fn open(config: &EngineConfig) -> Self {
        let now = Duration::ZERO;
        let mut sctp = RtcSctp::new(&association_config(config, 1_200), now);
        let own = sctp.init();
        let peer = Init { tag: 0x7777_7777, tsn: Self::PEER_TSN, ..own };
        let (mut handshake, mut filter) = (Handshake::new(own), SctpFilter::default());
        let deltas = stream(Role::Initiator, Channel::Data);
        filter.configure(receive_buffer(config), deltas, config.initiator);
        handshake.finish(&peer);
        sctp.establish(&peer, now);
        filter.begin(peer.tsn);
        let (messages, sent) = (0, 0);
        Self { handshake, filter, sctp, tag: own.tag, messages, sent, over: false }
    }

    /// A packet of the peer's with these chunks.
    #[must_use]
    pub fn packet(&self, chunks: &[u8]) -> Vec<u8> {
        packet_of(self.tag, chunks)
    }

    /// Takes in a packet as DTLS gives it.
    pub fn handle_packet(&mut self, packet: &[u8], now: Duration) {
        let Self { handshake, filter, sctp, .. } = self;
        take_packet(packet, now, handshake, filter, sctp, &mut None);
        self.drain(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.sctp.poll_timeout().is_some_and(|at| at <= now) {
            self.sctp.handle_timeout(now);
        }
        self.drain(now);
    }

    /// Sends a message, so that there is something to acknowledge.
    pub fn write(&mut self, message: &[u8], now: Duration) {
        if self.sctp.in_flight() < 64 << 10 {
            let _ = self.sctp.write(stream(Role::Acceptor, Channel::Data), message, now);
        }
        self.drain(now);
    }

    /// What an engine does once something happened.
    fn drain(&mut self, now: Duration) {
        self.over |= self.filter.take_violation().is_some() || self.filter.is_closed();
        while let Some(event) = self.sctp.poll_event() {
            match event {
                SctpEvent::Message { .. } => self.messages += 1,
                SctpEvent::Closed => self.over = true,
            }
        }
        loop {
            let packet = match self.handshake.poll_packet(now) {
                Some(packet) => packet.into(),
                None => match self.sctp.poll_packet(now) {
                    Some(packet) => packet,
                    None => break,
                },
            };
            self.filter.sent(&packet);
            self.sent += 1;
        }
    }
}
