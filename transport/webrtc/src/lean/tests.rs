//! What a peer that has the keys says between the handshake's packets and in them, without DTLS.

use std::sync::Arc;

use deltawire_channels::{Delivery, Order, Reliability};

use super::*;
use crate::Certificate;
use deltawire_sctp::packet_of;

const UNORDERED: u8 = 4;
const BEGIN: u8 = 2;
const END: u8 = 1;
const WHOLE: u8 = BEGIN | END;

/// The side that is said something.
struct Side {
    handshake: Handshake,
    filter: SctpFilter,
    sctp: RtcSctp,
    tag: u32,
    read: usize,
}

impl Side {
    fn new(deltas: Delivery) -> Self {
        let mut config = EngineConfig::new(Arc::new(Certificate::generate().unwrap()));
        config.initiator = deltas;
        let sctp = RtcSctp::new(&association_config(&config, 1_163), Duration::ZERO);
        let mut filter = SctpFilter::default();
        let stream = stream(Role::Initiator, Channel::Data);
        filter.configure(receive_buffer(&config), stream, deltas);
        let tag = sctp.init().tag;
        Self { handshake: Handshake::new(sctp.init()), filter, sctp, tag, read: 0 }
    }

    /// With a peer whose numbers begin with 1,000.
    fn open(deltas: Delivery) -> Self {
        let mut side = Self::new(deltas);
        side.shake();
        side
    }

    fn shake(&mut self) {
        let (window, streams, tsn) = (1 << 20, [100; 2], 1_000);
        let peer = Init { tag: 77, window, streams, tsn, forward_tsn: true };
        self.hear(&packet_of(0, &peer.chunk(None)));
        let ack = self.handshake.poll_packet(Duration::ZERO).unwrap();
        // Its cookie stands first among the parameters.
        let len = usize::from(u16::from_be_bytes([ack[34], ack[35]]));
        let mut echo = vec![10, 0, 0, len as u8];
        echo.extend(&ack[36..32 + len]);
        self.hear(&packet_of(self.tag, &echo));
        assert!(self.handshake.is_done());
    }

    fn hear(&mut self, packet: &[u8]) {
        let Self { handshake, filter, sctp, .. } = self;
        let mut established = None;
        take_packet(packet, Duration::ZERO, handshake, filter, sctp, &mut established);
        if let Some(peer) = established {
            filter.begin(peer.tsn);
        }
        while self.sctp.poll_event().is_some() {
            self.read += 1;
        }
        while let Some(packet) = self.sctp.poll_packet(Duration::ZERO) {
            self.filter.sent(&packet);
        }
    }

    fn data(&mut self, tsn: u32, stream: u16, sequence: u16, flags: u8) {
        let mut chunk = vec![0, flags, 0, 17];
        chunk.extend(tsn.to_be_bytes());
        chunk.extend([stream, sequence].map(u16::to_be_bytes).concat());
        chunk.extend([0, 0, 0, 53, 9]);
        self.hear(&packet_of(self.tag, &chunk));
    }

    /// Has many whole ordered messages follow; says how many were read before the link had to end, if it had.
    fn flood(&mut self, tsn: u32, stream: u16, sequence: u16) -> (usize, Option<EngineError>) {
        for at in 0..2_000 {
            self.data(tsn + at, stream, sequence.wrapping_add(at as u16), WHOLE);
        }
        (self.read, self.filter.take_violation().map(EngineError::from))
    }
}

fn lossy(order: Order) -> Delivery {
    Delivery { order, reliability: Reliability::MaxRetransmits(0) }
}

/// Says that everything up to this TSN is given up, and messages of stream 1 up to this number.
fn forward(tsn: u32, sequence: u16) -> Vec<u8> {
    let mut chunk = vec![192, 0, 0, 12];
    chunk.extend(tsn.to_be_bytes());
    chunk.extend([1, sequence].map(u16::to_be_bytes).concat());
    chunk
}

#[test]
fn what_came_before_the_handshake_is_not_taken_for_known() {
    let mut side = Side::new(Delivery::default());
    side.data(999, 0, 0, BEGIN);
    side.shake();
    side.data(1_000, 0, 0, END);
    let (read, violation) = side.flood(1_001, 0, 1);
    assert_eq!((read, violation.is_some()), (0, true));
    // What the stack did not see, but may, comes again.
    let mut side = Side::new(Delivery::default());
    side.data(1_001, 0, 1, WHOLE);
    side.shake();
    assert_eq!(side.flood(1_000, 0, 0), (2_000, None));
}

#[test]
fn rests_of_messages_that_nobody_gave_up() {
    for (order, flags) in [
        (Order::Unordered, UNORDERED | END),
        (Order::Ordered, END),
        (Order::Ordered, WHOLE | UNORDERED),
    ] {
        let mut side = Side::open(lossy(order));
        for at in 0..10 {
            side.data(1_000 + at, 1, at as u16, flags);
        }
        assert!(side.filter.take_violation().is_some(), "{order:?} {flags}");
    }
    // The rest of a message is left out, and its number is not named.
    let mut side = Side::open(lossy(Order::Ordered));
    side.data(1_000, 1, 0, BEGIN);
    let nameless = [&[192, 0, 0, 8][..], &1_001_u32.to_be_bytes()].concat();
    side.hear(&packet_of(side.tag, &nameless));
    let (read, violation) = side.flood(1_002, 1, 1);
    assert_eq!((read, violation.is_some()), (0, true));
}

#[test]
fn what_the_stack_passes_over_gives_nothing_up() {
    let broken = |tag: u32| {
        let mut packet = packet_of(tag, &forward(1_000, 0x1000));
        packet[8] ^= 1;
        packet
    };
    let old = |tag: u32| packet_of(tag, &forward(968, 0x1000));
    let foreign = |tag: u32| packet_of(tag ^ 1, &forward(1_000, 0x1000));
    let portless = |tag: u32| {
        let mut packet = packet_of(tag, &forward(1_000, 0x1000));
        packet[..2].fill(0);
        deltawire_sctp::packet::seal(&mut packet);
        packet
    };
    for packet in [&broken as &dyn Fn(u32) -> Vec<u8>, &old, &foreign, &portless] {
        let mut side = Side::open(lossy(Order::Ordered));
        let packet = packet(side.tag);
        side.hear(&packet);
        let (read, violation) = side.flood(1_000, 1, 0x1001);
        assert_eq!((read, violation.is_some()), (0, true));
    }
    // One that is heeded: what was given up by name is not waited for, and what comes of it late counts for nothing.
    let mut side = Side::open(lossy(Order::Ordered));
    let packet = packet_of(side.tag, &forward(1_009, 9));
    side.hear(&packet);
    side.data(1_005, 1, 10, WHOLE);
    assert_eq!(side.flood(1_010, 1, 10), (2_000, None));
}

#[test]
fn after_a_violation_short_words_end_nothing_else() {
    let mut side = Side::open(Delivery::default());
    side.data(1_000, 9, 0, WHOLE);
    assert!(side.filter.take_violation().is_some());
    let short = packet_of(side.tag, &[3, 0, 0, 8, 1, 2, 3, 4]);
    side.hear(&short);
}

#[test]
fn an_init_that_the_stack_refuses_opens_nothing() {
    let peer = Init { tag: 77, window: 1_000, streams: [100; 2], tsn: 5, forward_tsn: true };
    assert_eq!(Init::read(&peer.chunk(None)), None);
    let mut side = Side::new(Delivery::default());
    side.sctp.establish(&peer, Duration::ZERO);
    assert!(matches!(side.sctp.poll_event(), Some(SctpEvent::Closed)));
}
