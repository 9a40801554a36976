//! Peers of `memory::pair`, each in a thread of its own.

use std::thread;

use deltawire::memory;
use hdrhistogram::Histogram;

use crate::deltawire_pair::{echo, limits, ping, receive, send_until_closed};
use crate::harness::Links;
use crate::measure::{OneWay, PingPong};
use crate::plan::Measured;

pub(crate) fn one_way(plan: OneWay, _links: &Links) -> anyhow::Result<Measured> {
    let (alice, bob) = memory::pair_with(&limits(plan.size)).unwrap();
    thread::scope(|scope| {
        let sending = scope.spawn(|| pollster::block_on(send_until_closed(alice.send, plan.size)));
        let flow = pollster::block_on(receive(bob, plan));
        sending.join().expect("the sender does not panic")?;
        flow.map(Measured::from)
    })
}

pub(crate) fn ping_pong(plan: PingPong, _links: &Links) -> anyhow::Result<Histogram<u64>> {
    let (alice, bob) = memory::pair();
    thread::scope(|scope| {
        let echoing = scope.spawn(|| pollster::block_on(echo(bob)));
        let histogram = pollster::block_on(ping(alice, plan));
        // The last echo may find that nobody waits for it.
        let _ = echoing.join().expect("the echo does not panic");
        histogram
    })
}
