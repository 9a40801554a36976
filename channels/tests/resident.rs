//! What rings take of the machine's memory.
#![cfg(all(target_os = "linux", not(loom)))]
#![allow(clippy::unwrap_used)]

use deltawire_channels::ring::byte;
use deltawire_framing::{Channel, FrameHeader, Kind};

const RINGS: usize = 64;
const CAPACITY: usize = 1 << 20;

/// Bytes of memory that this process takes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    4_096 * pages
}

#[test]
fn rings_with_little_in_them_take_little_however_much_went_through() {
    let mut rings: Vec<_> = (0..RINGS).map(|_| byte::ring(CAPACITY)).collect();
    let header = FrameHeader::whole(Kind::Opaque, Channel::Data, 100).unwrap();
    let before = resident();
    for _ in 0..CAPACITY / 100 {
        for (producer, consumer) in &mut rings {
            for _ in 0..2 {
                let mut grant = producer.try_reserve(100).unwrap();
                grant.body_mut().fill(7);
                grant.commit(header).unwrap();
            }
            for _ in 0..2 {
                assert_eq!(consumer.try_read().unwrap().frame().body(), [7; 100]);
            }
        }
    }
    let each = resident().saturating_sub(before) / RINGS;
    assert!(each <= 16 << 10, "a ring takes {each} bytes, of {CAPACITY}");
}
