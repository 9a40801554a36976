//! Whole messages, from one application to the other: `cargo bench -p deltawire --bench channels`.
//!
//! - `in process`: peers of `memory::pair`, the receiver reading the sender's memory.
//! - `two sessions`: both state machines in full, joined in one thread; what one gives out is
//!   copied once, as a transport does, and taken in by the other.
//! - `memcpy`: the same without any channel, the bytes copied in and out.
//!
//! In all of them payloads are written from a slice, and read to the last byte.

mod support;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use deltawire::channels::session::{Session, SessionConfig};
use deltawire::channels::{Limits, Peer, Receiver, Sender};
use deltawire::framing::control::Role;
use deltawire::framing::{Checksum, DeltaFields, DocId};
use deltawire::memory;
use zerocopy::IntoBytes;

const SIZES: [usize; 4] = [64, 1_024, 16_384, 65_536];

/// How many messages go at a time: what 256 KiB hold, at most 1,000.
fn batch(size: usize) -> usize {
    (262_144 / (size + 64)).min(1_000)
}

/// Writes a batch: each payload is copied to where it is sent from.
fn send(sender: &mut Sender, source: &[u8]) {
    let fields = DeltaFields { checksum: Checksum::Absent, ..DeltaFields::new(DocId([7; 16])) };
    for _ in 0..batch(source.len()) {
        let mut grant = sender.try_reserve(source.len()).expect("the ring holds a batch");
        grant.payload_mut().copy_from_slice(black_box(source));
        grant.commit_without_notify(fields, source.len()).expect("as long as reserved");
    }
    sender.notify();
}

/// Reads a batch: every byte of every payload.
fn receive(receiver: &mut Receiver, size: usize) {
    for _ in 0..batch(size) {
        let frame = receiver.try_next().expect("a batch was sent");
        let delta = frame.delta().expect("a delta was sent");
        black_box(read(delta.payload_as().expect("payloads lie at multiples of 16")));
    }
    receiver.release();
}

fn read(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, number| sum ^ number)
}

/// Two sessions that have said hello.
struct Joined {
    sessions: [Session; 2],
    peers: [Peer; 2],
    now: Duration,
}

impl Joined {
    fn new() -> Self {
        let joined = [Role::Initiator, Role::Acceptor].map(|role| {
            let limits = Limits { data_window: 1 << 20, ..Limits::default() };
            Session::new(
                SessionConfig { limits, ..SessionConfig::new(role, [1; 16], 1) },
                Duration::ZERO,
            )
            .unwrap()
        });
        let [(one, alice), (other, bob)] = joined;
        let mut joined = Self { sessions: [one, other], peers: [alice, bob], now: Duration::ZERO };
        joined.pump();
        joined
    }

    /// Carries over what there is, both ways, until there is nothing.
    fn pump(&mut self) {
        self.now += Duration::from_micros(1);
        let [one, other] = &mut self.sessions;
        loop {
            let there = carry(one, other, self.now);
            let back = carry(other, one, self.now);
            if !there && !back {
                break;
            }
        }
    }

    fn round(&mut self, source: &[u8]) {
        send(&mut self.peers[0].send, source);
        self.pump();
        receive(&mut self.peers[1].receive, source.len());
        self.pump();
    }
}

fn carry(from: &mut Session, to: &mut Session, now: Duration) -> bool {
    let mut any = false;
    while let Some(message) = from.poll_transmit(1 << 20) {
        let (channel, bytes) = (message.channel(), message.to_vec());
        drop(message);
        to.handle_message(channel, bytes, now);
        any = true;
    }
    any
}

fn one_way(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one way");
    for size in SIZES {
        let bytes = (batch(size) * size) as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: batch(size) as u64, bytes });
        let source = vec![7u8; size];
        let (mut alice, mut bob) = memory::pair();
        group.bench_function(BenchmarkId::new("in process", size), |bencher| {
            bencher.iter(|| {
                send(&mut alice.send, &source);
                receive(&mut bob.receive, size);
            });
        });
        let mut joined = Joined::new();
        group.bench_function(BenchmarkId::new("two sessions", size), |bencher| {
            bencher.iter(|| joined.round(&source));
        });
        let mut between = vec![0u64; size / 8];
        let mut target = vec![0u64; size / 8];
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| {
                for _ in 0..batch(size) {
                    between.as_mut_bytes().copy_from_slice(black_box(&source));
                    target.copy_from_slice(black_box(&between));
                    black_box(read(&target));
                }
            });
        });
    }
    group.finish();

    let (mut alice, mut bob) = memory::pair();
    let source = [7; 1_024];
    support::print_allocations("in process, a batch of 1 KiB", || {
        send(&mut alice.send, &source);
        receive(&mut bob.receive, 1_024);
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = one_way
}
criterion_main!(benches);
