use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use crossbeam_queue::ArrayQueue;
use deltawire_channels::ring::slot;
use pollster::block_on;

use crate::side_by_side::{compare, run, see, until};

/// Values in a ring.
const SLOTS: usize = 1_024;
/// Values in a batch, at most.
const BATCH: usize = 64;

pub(crate) fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slot/one_thread/push_pop");
    group.throughput(Throughput::Elements(1));
    group.bench_function("deltawire_quiet", |b| {
        let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
        b.iter(|| {
            see(producer.try_push_without_notify(black_box(7)).is_ok());
            consumer.try_pop_without_notify().ok()
        });
    });
    group.bench_function("deltawire", |b| {
        let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
        b.iter(|| {
            see(producer.try_push(black_box(7)).is_ok());
            consumer.try_pop().ok()
        });
    });
    group.bench_function("rtrb", |b| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
        b.iter(|| {
            see(producer.push(black_box(7)).is_ok());
            consumer.pop().ok()
        });
    });
    group.bench_function("array_queue", |b| {
        let queue = ArrayQueue::<u64>::new(SLOTS);
        b.iter(|| {
            see(queue.push(black_box(7)).is_ok());
            queue.pop()
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("slot/one_thread/batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("deltawire_quiet", |b| {
        let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
        b.iter(|| {
            see(producer.push_batch_without_notify(&mut (0..black_box(BATCH as u64))));
            consumer.pop_batch_without_notify(BATCH).sum::<u64>()
        });
    });
    group.bench_function("deltawire", |b| {
        let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
        b.iter(|| {
            see(producer.push_batch(&mut (0..black_box(BATCH as u64))));
            consumer.pop_batch(BATCH).sum::<u64>()
        });
    });
    group.bench_function("rtrb_chunks", |b| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
        b.iter(|| {
            if let Ok(chunk) = producer.write_chunk_uninit(BATCH) {
                chunk.fill_from_iter(0..black_box(BATCH as u64));
            }
            consumer.read_chunk(BATCH).map_or(0, |chunk| chunk.into_iter().sum::<u64>())
        });
    });
    group.finish();
}

pub(crate) fn two_threads() {
    compare(
        "slot/two_threads, u64",
        size_of::<u64>(),
        200_000,
        &[
            ("deltawire quiet", quiet),
            ("deltawire", waking),
            ("deltawire async", waiting),
            ("rtrb", rtrb_one),
            ("array_queue", array_queue),
            ("deltawire batch, quiet", batch),
            ("rtrb chunks", rtrb_chunks),
        ],
    );
}

fn quiet(count: u64) -> Duration {
    let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
    run(
        || (0..count).for_each(|i| until(|| producer.try_push_without_notify(i).ok())),
        || (0..count).for_each(|_| see(until(|| consumer.try_pop_without_notify().ok()))),
    )
}

fn waking(count: u64) -> Duration {
    let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
    run(
        || (0..count).for_each(|i| until(|| producer.try_push(i).ok())),
        || (0..count).for_each(|_| see(until(|| consumer.try_pop().ok()))),
    )
}

fn waiting(count: u64) -> Duration {
    let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
    run(
        || {
            block_on(async {
                for i in 0..count {
                    see(producer.push(i).await.is_ok());
                }
            });
        },
        || {
            block_on(async {
                for _ in 0..count {
                    see(consumer.pop().await);
                }
            });
        },
    )
}

fn rtrb_one(count: u64) -> Duration {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
    run(
        || (0..count).for_each(|i| until(|| producer.push(i).ok())),
        || (0..count).for_each(|_| see(until(|| consumer.pop().ok()))),
    )
}

fn array_queue(count: u64) -> Duration {
    let queue = ArrayQueue::<u64>::new(SLOTS);
    run(
        || (0..count).for_each(|i| until(|| queue.push(i).ok())),
        || (0..count).for_each(|_| see(until(|| queue.pop()))),
    )
}

fn batch(count: u64) -> Duration {
    let (mut producer, mut consumer) = slot::ring::<u64>(SLOTS);
    run(
        || {
            let mut next = 0;
            while next < count {
                let mut values = next..count.min(next + BATCH as u64);
                next += until(|| {
                    let pushed = producer.push_batch_without_notify(&mut values).ok()?;
                    (pushed > 0).then_some(pushed as u64)
                });
            }
        },
        || {
            let mut left = count;
            while left > 0 {
                left -= until(|| {
                    let batch = consumer.pop_batch_without_notify(BATCH);
                    let popped = batch.len() as u64;
                    see(batch.sum::<u64>());
                    (popped > 0).then_some(popped)
                });
            }
        },
    )
}

fn rtrb_chunks(count: u64) -> Duration {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
    run(
        || {
            let mut next = 0;
            while next < count {
                next += until(|| {
                    let room = match producer.cached_slots() {
                        0 => producer.slots(),
                        room => room,
                    };
                    let len = room.min(BATCH).min((count - next) as usize);
                    let chunk = producer.write_chunk_uninit(len).ok()?;
                    let pushed = chunk.fill_from_iter(next..count) as u64;
                    (pushed > 0).then_some(pushed)
                });
            }
        },
        || {
            let mut left = count;
            while left > 0 {
                left -= until(|| {
                    let there = match consumer.cached_slots() {
                        0 => consumer.slots(),
                        there => there,
                    };
                    let chunk = consumer.read_chunk(there.min(BATCH)).ok()?;
                    let popped = chunk.len() as u64;
                    see(chunk.into_iter().sum::<u64>());
                    (popped > 0).then_some(popped)
                });
            }
        },
    )
}
