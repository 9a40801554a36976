//! The rings beside others, in one run: compare figures within a run, not between runs.
//!
//! Every consumer looks at every byte that it gets, in place where its ring lends it out. Threads
//! that find nothing to do spin a little, then yield.

use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use bbqueue::nicknames::YakiNiku;
use bbqueue::traits::storage::BoxedSlice;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use crossbeam_queue::ArrayQueue;
use deltawire_channels::ring::{byte, slot};
use deltawire_framing::{Channel, FrameHeader, Kind};
use ringbuf::HeapRb;
use ringbuf::traits::{Consumer as _, Observer as _, Producer as _, Split as _};

/// Values in a slot ring.
const SLOTS: usize = 1_024;
/// Values or messages in a batch.
const BATCH: usize = 64;
/// Bytes of a byte ring: larger than the first-level cache, smaller than the second.
const RING: usize = 256 * 1_024;
/// Largest run of frames, as one transport message.
const RUN: usize = 16_384;

criterion_group! {
    name = rings;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200));
    targets = slot_one_thread, slot_two_threads, byte_one_thread, byte_two_threads
}
criterion_main!(rings);

fn slot_one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slot/one_thread/push_pop");
    group.throughput(Throughput::Elements(1));
    group.bench_function("deltawire_quiet", |b| {
        let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
        b.iter(|| {
            let _ = producer.try_push_quiet(black_box(7));
            consumer.try_pop_quiet().ok()
        });
    });
    group.bench_function("deltawire", |b| {
        let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
        b.iter(|| {
            let _ = producer.try_push(black_box(7));
            consumer.try_pop().ok()
        });
    });
    group.bench_function("rtrb", |b| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
        b.iter(|| {
            let _ = producer.push(black_box(7));
            consumer.pop().ok()
        });
    });
    group.bench_function("array_queue", |b| {
        let queue = ArrayQueue::<u64>::new(SLOTS);
        b.iter(|| {
            let _ = queue.push(black_box(7));
            queue.pop()
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("slot/one_thread/batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("deltawire", |b| {
        let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
        b.iter(|| {
            let _ = producer.push_batch(&mut (0..black_box(BATCH as u64)));
            consumer.pop_batch(BATCH).sum::<u64>()
        });
    });
    group.bench_function("rtrb", |b| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
        b.iter(|| {
            if let Ok(chunk) = producer.write_chunk_uninit(BATCH) {
                chunk.fill_from_iter(0..black_box(BATCH as u64));
            }
            consumer
                .read_chunk(BATCH)
                .map(|chunk| chunk.into_iter().sum::<u64>())
        });
    });
    group.finish();
}

fn slot_two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slot/two_threads/one_at_a_time");
    group.throughput(Throughput::Elements(1));
    group.bench_function("deltawire_quiet", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
            two_threads(
                || (0..count).for_each(|i| until(|| producer.try_push_quiet(i).ok())),
                || (0..count).for_each(|_| see(until(|| consumer.try_pop_quiet().ok()))),
            )
        });
    });
    group.bench_function("deltawire", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
            two_threads(
                || (0..count).for_each(|i| until(|| producer.try_push(i).ok())),
                || (0..count).for_each(|_| see(until(|| consumer.try_pop().ok()))),
            )
        });
    });
    group.bench_function("deltawire_async", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
            two_threads(
                || {
                    pollster::block_on(async {
                        for i in 0..count {
                            let _ = producer.push(i).await;
                        }
                    });
                },
                || {
                    pollster::block_on(async {
                        for _ in 0..count {
                            see(consumer.pop().await);
                        }
                    });
                },
            )
        });
    });
    group.bench_function("rtrb", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
            two_threads(
                || (0..count).for_each(|i| until(|| producer.push(i).ok())),
                || (0..count).for_each(|_| see(until(|| consumer.pop().ok()))),
            )
        });
    });
    group.bench_function("array_queue", |b| {
        b.iter_custom(|count| {
            let queue = ArrayQueue::<u64>::new(SLOTS);
            two_threads(
                || (0..count).for_each(|i| until(|| queue.push(i).ok())),
                || (0..count).for_each(|_| see(until(|| queue.pop()))),
            )
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("slot/two_threads/batch");
    group.throughput(Throughput::Elements(1));
    group.bench_function("deltawire", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
            two_threads(
                || {
                    let mut values = 0..count;
                    while !values.is_empty() {
                        let mut batch = values.by_ref().take(BATCH);
                        until(|| (producer.push_batch(&mut batch) != Ok(0)).then_some(()));
                    }
                },
                || {
                    let mut left = count;
                    while left > 0 {
                        let batch = until(|| {
                            let batch = consumer.pop_batch(BATCH);
                            let count = batch.len() as u64;
                            see(batch.sum::<u64>());
                            (count > 0).then_some(count)
                        });
                        left -= batch;
                    }
                },
            )
        });
    });
    group.bench_function("rtrb", |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
            two_threads(
                || {
                    let mut values = 0..count;
                    while !values.is_empty() {
                        let len = values.end - values.start;
                        let len = (len as usize).min(BATCH);
                        let chunk = until(|| {
                            let len = match producer.cached_slots() {
                                0 => producer.slots(),
                                slots => slots,
                            }
                            .min(len);
                            let chunk = producer.write_chunk_uninit(len).ok()?;
                            Some(chunk.fill_from_iter(&mut values)).filter(|count| *count > 0)
                        });
                        see(chunk);
                    }
                },
                || {
                    let mut left = count;
                    while left > 0 {
                        let count = until(|| {
                            let len = match consumer.cached_slots() {
                                0 => consumer.slots(),
                                slots => slots,
                            }
                            .min(BATCH);
                            let chunk = consumer.read_chunk(len).ok()?;
                            see(chunk.into_iter().sum::<u64>());
                            (len > 0).then_some(len as u64)
                        });
                        left -= count;
                    }
                },
            )
        });
    });
    group.finish();
}

fn byte_one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("byte/one_thread");
    each_length::<64>(&mut group, byte_one_thread_of::<64>);
    each_length::<1_024>(&mut group, byte_one_thread_of::<1_024>);
    each_length::<16_384>(&mut group, byte_one_thread_of::<16_384>);
    group.finish();
}

fn byte_one_thread_of<const LEN: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let source = [1_u8; LEN];
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
    group.bench_function(BenchmarkId::new("bbqueue", LEN), |b| {
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
    group.bench_function(BenchmarkId::new("ringbuf", LEN), |b| {
        let (mut producer, mut consumer) = HeapRb::<u8>::new(RING).split();
        let mut landing = [0; LEN];
        b.iter(|| {
            producer.push_slice(&source);
            consumer.pop_slice(&mut landing);
            look(&landing);
        });
    });
    group.bench_function(BenchmarkId::new("rtrb_of_arrays", LEN), |b| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<[u8; LEN]>::new(RING / LEN);
        b.iter(|| {
            let _ = producer.push(source);
            if let Ok(chunk) = consumer.read_chunk(1) {
                look(&chunk.as_slices().0[0]);
                chunk.commit_all();
            }
        });
    });
}

fn byte_two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("byte/two_threads");
    each_length::<64>(&mut group, byte_two_threads_of::<64>);
    each_length::<1_024>(&mut group, byte_two_threads_of::<1_024>);
    each_length::<16_384>(&mut group, byte_two_threads_of::<16_384>);
    group.finish();
}

fn byte_two_threads_of<const LEN: usize>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let source = [1_u8; LEN];
    group.bench_function(BenchmarkId::new("deltawire_quiet", LEN), |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = byte::ring(RING);
            two_threads(
                || (0..count).for_each(|_| until(|| write_quiet(&mut producer, &source))),
                || (0..count).for_each(|_| until(|| read_quiet(&mut consumer))),
            )
        });
    });
    group.bench_function(BenchmarkId::new("deltawire", LEN), |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = byte::ring(RING);
            two_threads(
                || (0..count).for_each(|_| until(|| write(&mut producer, &source))),
                || (0..count).for_each(|_| until(|| read(&mut consumer))),
            )
        });
    });
    group.bench_function(BenchmarkId::new("deltawire_runs", LEN), |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = byte::ring(RING);
            two_threads(
                || (0..count).for_each(|_| until(|| write_quiet(&mut producer, &source))),
                || {
                    let mut left = count;
                    while left > 0 {
                        left -= until(|| {
                            let run = consumer.read_run(RUN.max(LEN + FrameHeader::SIZE))?;
                            look(&run);
                            let count = run.frame_count() as u64;
                            run.release_quiet();
                            Some(count)
                        });
                    }
                },
            )
        });
    });
    group.bench_function(BenchmarkId::new("deltawire_async", LEN), |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = byte::ring(RING);
            let header = header(LEN);
            two_threads(
                || {
                    pollster::block_on(async {
                        for _ in 0..count {
                            let Ok(mut grant) = producer.reserve(LEN).await else {
                                return;
                            };
                            grant.body_mut().copy_from_slice(&source);
                            let _ = grant.commit(header);
                        }
                    });
                },
                || {
                    pollster::block_on(async {
                        for _ in 0..count {
                            let _ = consumer.readable().await;
                            see(read(&mut consumer));
                        }
                    });
                },
            )
        });
    });
    group.bench_function(BenchmarkId::new("bbqueue", LEN), |b| {
        b.iter_custom(|count| {
            let queue = YakiNiku::new_with_storage(BoxedSlice::new(RING));
            let (producer, consumer) = (queue.framed_producer(), queue.framed_consumer());
            two_threads(
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
        });
    });
    group.bench_function(BenchmarkId::new("ringbuf", LEN), |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = HeapRb::<u8>::new(RING).split();
            two_threads(
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
        });
    });
    group.bench_function(BenchmarkId::new("rtrb_of_arrays", LEN), |b| {
        b.iter_custom(|count| {
            let (mut producer, mut consumer) = rtrb::RingBuffer::<[u8; LEN]>::new(RING / LEN);
            two_threads(
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
        });
    });
}

fn each_length<const LEN: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    run: fn(&mut BenchmarkGroup<'_, WallTime>),
) {
    group.throughput(Throughput::Bytes(LEN as u64));
    run(group);
}

fn header(len: usize) -> FrameHeader {
    FrameHeader::whole(Kind::Opaque, Channel::Data, len).expect("lengths are from 1 to 16 KiB")
}

#[inline]
fn write(producer: &mut byte::Producer, source: &[u8]) -> Option<()> {
    let mut grant = producer.try_reserve(source.len()).ok()?;
    grant.body_mut().copy_from_slice(source);
    grant.commit(header(source.len())).ok()
}

#[inline]
fn write_quiet(producer: &mut byte::Producer, source: &[u8]) -> Option<()> {
    let mut grant = producer.try_reserve(source.len()).ok()?;
    grant.body_mut().copy_from_slice(source);
    grant.commit_quiet(header(source.len())).ok()
}

#[inline]
fn read(consumer: &mut byte::Consumer) -> Option<()> {
    let view = consumer.try_read().ok()?;
    look(&view[FrameHeader::SIZE..]);
    Some(())
}

#[inline]
fn read_quiet(consumer: &mut byte::Consumer) -> Option<()> {
    let view = consumer.try_read().ok()?;
    look(&view[FrameHeader::SIZE..]);
    view.release_quiet();
    Some(())
}

/// Looks at every byte.
#[inline]
fn look(bytes: &[u8]) {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words
        .iter()
        .fold(0, |all, word| all ^ u64::from_ne_bytes(*word));
    see(rest.iter().fold(words, |all, byte| all ^ u64::from(*byte)));
}

#[inline]
fn see<T>(value: T) {
    black_box(value);
}

/// Tries until there is an answer.
#[inline]
fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut failed = 0_u32;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        failed += 1;
        if failed.is_multiple_of(128) {
            thread::yield_now();
        } else {
            spin_loop();
        }
    }
}

/// Runs both at the same time and measures until both are done.
fn two_threads(producer: impl FnOnce() + Send, consumer: impl FnOnce()) -> Duration {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            barrier.wait();
            producer();
        });
        barrier.wait();
        let start = Instant::now();
        consumer();
        thread.join().expect("the producer does not panic");
        start.elapsed()
    })
}
