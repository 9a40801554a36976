//! One document to many readers in one process, beside `tokio::sync::broadcast`: deliveries a second, how long one delta takes
//! to reach all, memory of a subscription. `cargo bench -p deltawire --features hub --bench hub`; the table goes to stdout as
//! Markdown. Everything runs on one thread, and both sides are polled by the same loop: what is compared is what a
//! delivery costs.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use deltawire::TokioRuntime;
use deltawire::documents::{
    Everyone, Hub, HubOptions, Item, Start, SubscribeOptions, Subscription,
};
use deltawire::framing::DeltaFields;
use deltawire::link::runtime::SharedRuntime;
use deltawire::prelude::*;
use tokio::sync::broadcast;

const DOC: DocId = DocId([7; 16]);
const ROUNDS: usize = 5;

/// A task that is polled anyway.
struct Woken;

impl Wake for Woken {
    fn wake(self: Arc<Self>) {}
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    println!("| what | readers | payload | deltawire | tokio broadcast | ratio |");
    println!("|---|---|---|---|---|---|");
    for (readers, len, deltas) in
        [(1, 128, 400_000), (4, 128, 100_000), (100, 128, 5_000), (4, 4_096, 20_000)]
    {
        let (ours, theirs) = medians(|| {
            (
                deliveries(&mut Ours::new(readers), len, deltas),
                deliveries(&mut Theirs::new(readers), len, deltas),
            )
        });
        println!(
            "| deliveries, M/s | {readers} | {len} | {:.2} | {:.2} | {:.2} |",
            ours / 1e6,
            theirs / 1e6,
            ours / theirs
        );
    }
    for readers in [1_000, 25_000] {
        let (ours, theirs) = medians(|| {
            (one_to_all(&mut Ours::new(readers)), one_to_all(&mut Theirs::new(readers)))
        });
        println!(
            "| one delta to all, ms | {readers} | 128 | {:.2} | {:.2} | {:.2} |",
            ours * 1e3,
            theirs * 1e3,
            ours / theirs
        );
    }
    let readers = 1_000;
    let mut ours = Ours::new(0);
    let with = allocation_counter::measure(|| ours.join(readers));
    println!(
        "| memory of a subscription, B | {readers} | – | {} | – | – |",
        with.bytes_current / readers as i64
    );
    let mut slow = Ours::new(readers);
    let before = allocation_counter::measure(|| slow.publish(&[0; 128]));
    let after = allocation_counter::measure(|| (0..1_000).for_each(|_| slow.publish(&[0; 128])));
    // What the log and the tail keep, whoever reads: 1,000 readers that do not.
    println!(
        "| memory of 1,000 deltas that 1,000 slow readers wait with, B a reader | {readers} | 128 | {} | – | – |",
        (after.bytes_current - before.bytes_current) / readers as i64
    );
}

/// Medians of both over some rounds, in turns.
fn medians(mut round: impl FnMut() -> (f64, f64)) -> (f64, f64) {
    let (mut ours, mut theirs): (Vec<_>, Vec<_>) = (0..ROUNDS).map(|_| round()).unzip();
    ours.sort_by(f64::total_cmp);
    theirs.sort_by(f64::total_cmp);
    (ours[ROUNDS / 2], theirs[ROUNDS / 2])
}

/// One that publishes to all, and those that read.
trait FanOut {
    fn readers(&self) -> usize;
    fn publish(&mut self, payload: &[u8]);
    /// Has each reader read all that there is; counts what they read.
    fn read_all(&mut self) -> usize;
}

/// Publishes in bursts of 16, and has all read after each: deliveries a second.
fn deliveries(fan_out: &mut impl FanOut, len: usize, deltas: usize) -> f64 {
    let payload = vec![7; len];
    fan_out.read_all();
    let start = Instant::now();
    let mut read = 0;
    for _ in 0..deltas / 16 {
        for _ in 0..16 {
            fan_out.publish(&payload);
        }
        read += fan_out.read_all();
    }
    let took = start.elapsed();
    assert_eq!(read, deltas / 16 * 16 * fan_out.readers());
    read as f64 / took.as_secs_f64()
}

/// How long one delta takes to have been read by all, who all wait for it.
fn one_to_all(fan_out: &mut impl FanOut) -> f64 {
    fan_out.read_all();
    let start = Instant::now();
    fan_out.publish(&[7; 128]);
    let read = fan_out.read_all();
    assert_eq!(read, fan_out.readers());
    start.elapsed().as_secs_f64()
}

struct Ours {
    hub: Hub,
    readers: Vec<Subscription>,
    waker: Waker,
}

impl Ours {
    fn new(readers: usize) -> Self {
        let runtime: SharedRuntime = Arc::new(TokioRuntime::current());
        let hub = Hub::in_memory(HubOptions::default(), Everyone, runtime);
        let mut ours = Self { hub, readers: Vec::new(), waker: Waker::from(Arc::new(Woken)) };
        ours.join(readers);
        ours
    }

    fn join(&mut self, readers: usize) {
        let options = SubscribeOptions { start: Start::Latest, ..SubscribeOptions::default() };
        self.readers.extend((0..readers).map(|_| self.hub.subscribe(DOC, options)));
    }
}

impl FanOut for Ours {
    fn readers(&self) -> usize {
        self.readers.len()
    }

    fn publish(&mut self, payload: &[u8]) {
        self.hub.append(DeltaFields::new(DOC), payload).unwrap();
    }

    fn read_all(&mut self) -> usize {
        let mut context = Context::from_waker(&self.waker);
        let mut read = 0;
        for reader in &mut self.readers {
            while let Poll::Ready(item) = reader.poll_next(&mut context) {
                match item.unwrap() {
                    Item::Delta { message, .. } => {
                        std::hint::black_box(message.delta().unwrap().payload());
                        read += 1;
                    }
                    Item::Gap(gap) => panic!("{gap:?}"),
                    _ => {}
                }
            }
        }
        read
    }
}

struct Theirs {
    sender: broadcast::Sender<Arc<[u8]>>,
    readers: Vec<broadcast::Receiver<Arc<[u8]>>>,
    waker: Waker,
}

impl Theirs {
    fn new(readers: usize) -> Self {
        let (sender, _) = broadcast::channel(1_024);
        let readers = (0..readers).map(|_| sender.subscribe()).collect();
        Self { sender, readers, waker: Waker::from(Arc::new(Woken)) }
    }
}

impl FanOut for Theirs {
    fn readers(&self) -> usize {
        self.readers.len()
    }

    fn publish(&mut self, payload: &[u8]) {
        self.sender.send(Arc::from(payload)).unwrap();
    }

    fn read_all(&mut self) -> usize {
        let mut context = Context::from_waker(&self.waker);
        let mut read = 0;
        for reader in &mut self.readers {
            loop {
                let next = pin!(reader.recv()).poll(&mut context);
                let Poll::Ready(payload) = next else { break };
                std::hint::black_box(&payload.unwrap()[..]);
                read += 1;
            }
        }
        read
    }
}
