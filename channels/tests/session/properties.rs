//! What holds over any link: on reliable channels nothing is lost, doubled or misordered; on others
//! nothing is damaged, and the window does not leak. Memory stays within its bound.

use std::time::Duration;

use deltawire_channels::session::{Event, SessionConfig};
use deltawire_channels::{Delivery, Limits, Order, Reliability};
use deltawire_framing::{DeltaFields, DocId, Kind};
use proptest::prelude::*;

use crate::pipe::{Faults, Link, Random, configs};

const SECOND: Duration = Duration::from_secs(1);

/// Small limits, so that they are reached.
const LIMITS: fn() -> Limits = || Limits {
    send_ring: 1 << 14,
    command_ring: 1 << 12,
    data_window: 1 << 14,
    command_window: 1 << 12,
    max_frame_len: 512,
    max_unfinished: 4,
    max_arrivals: 4,
    max_idle: 2 * SECOND,
    loss_timeout: SECOND / 2,
    ..Limits::default()
};

fn link(data: Delivery, command: Order, faults: Faults, seed: u64) -> Link {
    let configs = configs().map(|config| SessionConfig {
        limits: LIMITS(),
        send: data,
        receive: data,
        command,
        ..config
    });
    let mut link = Link::new(configs, seed);
    link.faults = faults;
    link.budget = 2_048;
    link
}

/// The bytes of message `number`.
fn payload(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let len = match random.below(4) {
        0 => random.below(20),
        1 | 2 => random.below(400),
        _ => random.below(8_000),
    };
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|i| (number + i * 31) as u8));
    bytes
}

/// Sends `count` messages each way, reads now and then, and gives the numbers that arrived.
fn exchange(link: &mut Link, count: u64, read_percent: u64) -> [Vec<u64>; 2] {
    let mut sent = [0; 2];
    let mut received = [Vec::new(), Vec::new()];
    let mut quiet = 0;
    // Until all was sent, and nothing came for a while.
    while quiet < 300 {
        quiet += 1;
        for end in 0..2 {
            while sent[end] < count {
                let bytes = payload(sent[end]);
                let Ok(mut grant) = link.peer(end).send.try_reserve(bytes.len()) else { break };
                grant.payload_mut().copy_from_slice(&bytes);
                let fields =
                    DeltaFields { sequence: sent[end] as u32, ..DeltaFields::new(DocId([7; 16])) };
                grant.commit(fields, bytes.len()).unwrap();
                sent[end] += 1;
                quiet = 0;
            }
            while link.random.percent(read_percent) {
                let Ok(frame) = link.peer(end).receive.try_next() else { break };
                assert_eq!(frame.kind(), Kind::Delta);
                let delta = frame.delta().unwrap();
                delta.verify_checksum().unwrap();
                let number = u64::from_le_bytes(delta.payload()[..8].try_into().unwrap());
                assert_eq!(delta.payload(), payload(number));
                assert_eq!(u64::from(delta.sequence()), number);
                received[1 - end].push(number);
                quiet = 0;
            }
            let held = link.ends[end].session.stats().data_received.queued_bytes;
            assert!(held <= LIMITS().largest_data_window(), "{held}");
        }
        link.run_for(Duration::from_millis(20));
    }
    assert_eq!(sent, [count; 2], "the window leaks: {:?}", link.ends[0].session.stats());
    for end in &link.ends {
        assert!(matches!(end.events[..], [Event::Opened(_)]), "{:?}", end.events);
    }
    received
}

fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Ordered), Just(Order::Unordered)]
}

prop_compose! {
    fn faults()(loss_percent in 0u64..30, duplicate_percent in 0u64..20, jitter_ms in 0u64..100) -> Faults {
        Faults { loss_percent, duplicate_percent, jitter: Duration::from_millis(jitter_ms) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_reliable_ordered_channel_delivers_all_in_order(
        seed: u64, faults in faults(), read_percent in 20u64..100, command_order in orders(),
    ) {
        let mut link = link(Delivery::default(), command_order, faults, seed);
        let all: Vec<u64> = (0..60).collect();
        prop_assert_eq!(exchange(&mut link, 60, read_percent), [all.clone(), all]);
    }

    #[test]
    fn a_reliable_unordered_channel_delivers_all(
        seed: u64, faults in faults(), read_percent in 20u64..100,
    ) {
        let data = Delivery { order: Order::Unordered, ..Delivery::default() };
        let mut link = link(data, Order::Ordered, faults, seed);
        let all: Vec<u64> = (0..60).collect();
        for mut received in exchange(&mut link, 60, read_percent) {
            received.sort_unstable();
            prop_assert_eq!(&received, &all);
        }
    }

    /// Everything else is checked by `exchange`: content, windows, and that the sender never
    /// stops for ever.
    #[test]
    fn a_channel_that_loses_messages_goes_on(
        seed: u64, faults in faults(), read_percent in 20u64..100, order in orders(),
    ) {
        let data = Delivery { order, reliability: Reliability::MaxRetransmits(0) };
        let mut link = link(data, Order::Ordered, faults, seed);
        let received = exchange(&mut link, 60, read_percent);
        if faults.loss_percent == 0 && faults.duplicate_percent == 0 {
            prop_assert_eq!(received.map(|numbers| numbers.len()), [60; 2]);
        }
    }
}
