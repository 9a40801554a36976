use std::time::Duration;

use bbqueue::nicknames::YakiNiku;
use bbqueue::traits::storage::BoxedSlice;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use deltawire_channels::ring::byte::{self, Consumer, Producer};
use deltawire_framing::{Channel, FrameHeader, Kind};
use pollster::block_on;
use ringbuf::HeapRb;
use ringbuf::traits::{Consumer as _, Observer as _, Producer as _, Split as _};

use crate::side_by_side::{compare, run, see, until};

/// Bytes of a ring: larger than the first-level cache, smaller than the second.
const RING: usize = 256 * 1_024;
/// Bytes of a run of frames, at most: one transport message.
const RUN: usize = 16_384 + FrameHeader::SIZE;

pub(crate) fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("byte/one_thread");
    one_thread_of::<64>(&mut group);
    one_thread_of::<1_024>(&mut group);
    one_thread_of::<16_384>(&mut group);
    group.finish();
}

fn one_thread_of<const LEN: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let source = [1_u8; LEN];
    group.throughput(Throughput::Bytes(LEN as u64));
    group.bench_function(BenchmarkId::new("deltawire_quiet", LEN), |b| {
        let (mut producer, mut consumer) = byte::ring(RING);
        b.iter(|| {
            write_quiet(&mut producer, &source);
            read_quiet(&mut consumer);
        });
    });
    group.bench_function(BenchmarkId::new("deltawire", LEN), |b| {
        let (mut producer, mut consumer) = byte::ring(RING);
        b.iter(|| {
            write(&mut producer, &source);
            read(&mut consumer);
        });
    });
    group.bench_function(BenchmarkId::new("bbqueue_framed", LEN), |b| {
        let queue = YakiNiku::new_with_storage(BoxedSlice::new(RING));
        let (producer, consumer) = (queue.framed_producer(), queue.framed_consumer());
        b.iter(|| {
            if let Ok(mut grant) = producer.grant(LEN as u16) {
                grant.copy_from_slice(&source);
                grant.commit(LEN as u16);
            }
            if let Ok(view) = consumer.read() {
                look(&view);
                view.release();
            }
        });
    });
    group.bench_function(BenchmarkId::new("ringbuf_without_frames", LEN), |b| {
        let (mut producer, mut consumer) = HeapRb::<u8>::new(RING).split();
        let mut landing = [0; LEN];
        b.iter(|| {
            producer.push_slice(&source);
            consumer.pop_slice(&mut landing);
            look(&landing);
        });
    });
}

pub(crate) fn two_threads() {
    two_threads_of::<64>(40_000);
    two_threads_of::<1_024>(20_000);
    two_threads_of::<16_384>(2_000);
}

fn two_threads_of<const LEN: usize>(count: u64) {
    compare(
        &format!("byte/two_threads, {LEN} bytes"),
        LEN,
        count,
        &[
            ("deltawire quiet", quiet::<LEN>),
            ("deltawire", waking::<LEN>),
            ("deltawire async", waiting::<LEN>),
            ("deltawire quiet, in runs", runs::<LEN>),
            ("bbqueue framed", bbqueue_framed::<LEN>),
            ("ringbuf, length and bytes", ringbuf_framed::<LEN>),
            ("ringbuf without frames", ringbuf::<LEN>),
            ("rtrb of arrays", rtrb_of_arrays::<LEN>),
        ],
    );
}

fn quiet<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let (mut producer, mut consumer) = byte::ring(RING);
    run(
        || (0..count).for_each(|_| until(|| write_quiet(&mut producer, &source))),
        || (0..count).for_each(|_| until(|| read_quiet(&mut consumer))),
    )
}

fn waking<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let (mut producer, mut consumer) = byte::ring(RING);
    run(
        || (0..count).for_each(|_| until(|| write(&mut producer, &source))),
        || (0..count).for_each(|_| until(|| read(&mut consumer))),
    )
}

fn waiting<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let (mut producer, mut consumer) = byte::ring(RING);
    run(
        || {
            block_on(async {
                for _ in 0..count {
                    if let Ok(mut grant) = producer.reserve(LEN).await {
                        grant.body_mut().copy_from_slice(&source);
                        see(grant.commit(header(LEN)).is_ok());
                    }
                }
            });
        },
        || {
            block_on(async {
                for _ in 0..count {
                    see(consumer.readable().await.is_ok());
                    see(read(&mut consumer));
                }
            });
        },
    )
}

fn runs<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let (mut producer, mut consumer) = byte::ring(RING);
    run(
        || (0..count).for_each(|_| until(|| write_quiet(&mut producer, &source))),
        || {
            let mut left = count;
            while left > 0 {
                left -= until(|| {
                    let run = consumer.read_run(RUN)?;
                    look(&run);
                    let read = run.frame_count() as u64;
                    run.release_without_notify();
                    Some(read)
                });
            }
        },
    )
}

fn bbqueue_framed<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let queue = YakiNiku::new_with_storage(BoxedSlice::new(RING));
    let (producer, consumer) = (queue.framed_producer(), queue.framed_consumer());
    run(
        || {
            for _ in 0..count {
                let mut grant = until(|| producer.grant(LEN as u16).ok());
                grant.copy_from_slice(&source);
                grant.commit(LEN as u16);
            }
        },
        || {
            for _ in 0..count {
                let view = until(|| consumer.read().ok());
                look(&view);
                view.release();
            }
        },
    )
}

/// Messages of any length need to say it; four bytes are the least.
fn ringbuf_framed<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let (mut producer, mut consumer) = HeapRb::<u8>::new(RING).split();
    run(
        || {
            for _ in 0..count {
                until(|| (producer.vacant_len() >= 4 + LEN).then_some(()));
                producer.push_slice(&(LEN as u32).to_le_bytes());
                producer.push_slice(&source);
            }
        },
        || {
            let mut len = [0; 4];
            let mut landing = [0; LEN];
            for _ in 0..count {
                until(|| (consumer.occupied_len() >= 4).then_some(()));
                consumer.pop_slice(&mut len);
                let len = u32::from_le_bytes(len) as usize;
                until(|| (consumer.occupied_len() >= len).then_some(()));
                consumer.pop_slice(&mut landing[..len]);
                look(&landing[..len]);
            }
        },
    )
}

fn ringbuf<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let (mut producer, mut consumer) = HeapRb::<u8>::new(RING).split();
    run(
        || {
            for _ in 0..count {
                until(|| (producer.vacant_len() >= LEN).then_some(()));
                producer.push_slice(&source);
            }
        },
        || {
            let mut landing = [0; LEN];
            for _ in 0..count {
                until(|| (consumer.occupied_len() >= LEN).then_some(()));
                consumer.pop_slice(&mut landing);
                look(&landing);
            }
        },
    )
}

fn rtrb_of_arrays<const LEN: usize>(count: u64) -> Duration {
    let source = [1; LEN];
    let (mut producer, mut consumer) = rtrb::RingBuffer::<[u8; LEN]>::new(RING / LEN);
    run(
        || (0..count).for_each(|_| until(|| producer.push(source).ok())),
        || {
            for _ in 0..count {
                until(|| {
                    let chunk = consumer.read_chunk(1).ok()?;
                    look(&chunk.as_slices().0[0]);
                    chunk.commit_all();
                    Some(())
                });
            }
        },
    )
}

fn header(len: usize) -> FrameHeader {
    FrameHeader::whole(Kind::Opaque, Channel::Data, len).expect("lengths are from 1 to 16 KiB")
}

#[inline]
fn write(producer: &mut Producer, source: &[u8]) -> Option<()> {
    let mut grant = producer.try_reserve(source.len()).ok()?;
    grant.body_mut().copy_from_slice(source);
    grant.commit(header(source.len())).ok()
}

#[inline]
fn write_quiet(producer: &mut Producer, source: &[u8]) -> Option<()> {
    let mut grant = producer.try_reserve(source.len()).ok()?;
    grant.body_mut().copy_from_slice(source);
    grant.commit_without_notify(header(source.len())).ok()
}

#[inline]
fn read(consumer: &mut Consumer) -> Option<()> {
    let view = consumer.try_read().ok()?;
    look(&view[FrameHeader::SIZE..]);
    Some(())
}

#[inline]
fn read_quiet(consumer: &mut Consumer) -> Option<()> {
    let view = consumer.try_read().ok()?;
    look(&view[FrameHeader::SIZE..]);
    view.release_without_notify();
    Some(())
}

/// Looks at every byte.
#[inline]
fn look(bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0, |all, word| all ^ u64::from_ne_bytes(*word));
    see(rest.iter().fold(words, |all, byte| all ^ u64::from(*byte)));
}
