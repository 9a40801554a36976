//! Links whose host is seen at another address from one moment to the next.

#![allow(clippy::disallowed_types)] // only counts

use std::sync::atomic::{AtomicU64, Ordering};

use deltawire::Node;
use tokio::time::Instant;

use crate::deltas::{receive, send};
use crate::nodes::{client, join_with, server, until};
use crate::proxy::Proxy;

/// Deltas each way after each move.
const DELTAS: u64 = 200;
const MOVES: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nat_that_forgets_its_port_loses_and_repeats_nothing() {
    let (client, server): (Node, Node) = (client(), server());
    let address = server.addresses().next().unwrap();
    let proxy = Proxy::before(address).await;
    let (mut near, mut far) =
        join_with(&client, &server, |answer| proxy.hide(address, &answer)).await;
    let (there, here) = (AtomicU64::new(0), AtomicU64::new(0));
    let all = DELTAS * (MOVES + 1);
    // Each side may be so far ahead of what was moved through.
    let allowed = AtomicU64::new(DELTAS);
    let sending = async |sender: &mut deltawire_channels::Sender| {
        for number in 0..all {
            until("its turn", || number < allowed.load(Ordering::Relaxed)).await;
            send(sender, number, 1 + number as usize * 37 % 3_000).await;
        }
    };
    let receiving = async |receiver: &mut deltawire_channels::Receiver, came: &AtomicU64| {
        for number in 0..all {
            assert_eq!(receive(receiver).await.0, number);
            came.store(number + 1, Ordering::Relaxed);
        }
    };
    let moving = async {
        for round in 1..=MOVES {
            let due = DELTAS * round;
            // In the middle of what is sent, and once it has come.
            let begun = if round % 2 == 0 { due } else { due - DELTAS / 2 };
            until("deltas", || {
                [&there, &here].iter().all(|it| it.load(Ordering::Relaxed) >= begun)
            })
            .await;
            proxy.rebind();
            let moved = Instant::now();
            allowed.store(due + DELTAS, Ordering::Relaxed);
            until("deltas", || [&there, &here].iter().all(|it| it.load(Ordering::Relaxed) > due))
                .await;
            println!("move {round}: got on after {:?}", moved.elapsed());
        }
    };
    tokio::join!(
        sending(&mut near.0.send),
        receiving(&mut far.0.receive, &there),
        sending(&mut far.0.send),
        receiving(&mut near.0.receive, &here),
        moving,
    );
    assert!(near.1.ended().is_none() && far.1.ended().is_none());
}
