//! A connection that is kept comes back after each outage, after the waits that were asked for.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use deltawire::sim::{Host, Path, Simulation};
use deltawire::{Backoff, NodeLimits, ReconnectEvent, Reconnecting};
use deltawire_framing::DeltaFields;

use crate::lab::{DOC, MS, SECOND, URL, builder, echo_all, pair, server, server_with};

/// What became of a connection, and when.
type History = Rc<RefCell<Vec<(Duration, &'static str, Option<Duration>)>>>;

/// Keeps a connection, and asks the peer for an echo each time it is up.
async fn keep(mut connection: Reconnecting, history: History, clock: deltawire::sim::Clock) {
    let mut held = None;
    while let Some(event) = connection.next().await {
        let (what, retry_after) = match event {
            ReconnectEvent::Up(mut peer, _) => {
                peer.send.send(DeltaFields::new(DOC), b"are you there?").await.unwrap();
                held = Some(peer);
                ("up", None)
            }
            ReconnectEvent::Down { retry_after, .. } => {
                held = None;
                ("down", retry_after)
            }
            ReconnectEvent::Failed { retry_after, .. } => ("failed", retry_after),
            _ => ("other", None),
        };
        history.borrow_mut().push((clock.now(), what, retry_after));
    }
    drop(held);
    history.borrow_mut().push((clock.now(), "over", None));
}

fn kept(sim: &mut Simulation, phone: Host, backoff: Backoff) -> History {
    let client = builder(sim, phone).backoff(backoff).build().unwrap();
    let history = History::default();
    sim.spawn(keep(client.keep_connected(URL), history.clone(), sim.clock()));
    history
}

fn whats(history: &History) -> Vec<&'static str> {
    history.borrow().iter().map(|(_, what, _)| *what).collect()
}

#[test]
fn it_comes_back_after_each_outage() {
    for seed in 0..5 {
        let (mut sim, [phone, tower]) = pair(seed, Path { latency: 20 * MS, ..Path::default() });
        let server = server(&mut sim, tower);
        sim.spawn(echo_all(server.clone()));
        let history = kept(&mut sim, phone, Backoff::default());
        sim.run_for(5 * SECOND);
        assert_eq!(whats(&history), ["up"]);
        for outage in 1..=3 {
            sim.set_cut(&[phone], &[tower], true);
            sim.run_for(60 * SECOND);
            sim.set_cut(&[phone], &[tower], false);
            let healed = sim.now();
            // An attempt that hangs is given up after ten seconds, and the next follows in half a minute.
            sim.run_for(45 * SECOND);
            let (at, what, _) = *history.borrow().last().unwrap();
            assert_eq!(what, "up", "seed {seed}, outage {outage}: {history:?}");
            assert!(at >= healed);
        }
        let ups = whats(&history).iter().filter(|what| **what == "up").count();
        assert_eq!(ups, 4, "{history:?}");
        assert_eq!(server.peers().len(), 1, "of those before nothing is left");
    }
}

#[test]
fn waits_grow_to_their_limit_and_end_where_it_is_enough() {
    let (mut sim, [phone, _]) = pair(1, Path::default());
    let backoff =
        Backoff { first: SECOND, longest: 8 * SECOND, max_attempts: Some(7), ..Backoff::default() };
    // Nobody serves the address.
    let history = kept(&mut sim, phone, backoff);
    sim.run_for(600 * SECOND);
    let history = history.borrow();
    assert_eq!(history.len(), 8, "{history:?}");
    let waits: Vec<_> = history.iter().filter_map(|(_, _, wait)| *wait).collect();
    assert_eq!(waits.len(), 6);
    for (wait, whole) in waits.iter().zip([1, 2, 4, 8, 8, 8]) {
        let whole = whole * SECOND;
        assert!(*wait >= whole / 2 && *wait <= whole, "{waits:?}");
    }
    for (pair, wait) in history.windows(2).zip(&waits) {
        assert_eq!(pair[1].0 - pair[0].0, *wait, "neither sooner nor later");
    }
}

#[test]
fn a_server_that_starts_anew_has_all_its_peers_back_but_not_at_once() {
    let mut sim = Simulation::new(9);
    let [tower] = sim.add_hosts();
    let phones: [Host; 20] = sim.add_hosts();
    let limits = NodeLimits { max_pending: 4, ..NodeLimits::default() };
    let first = server_with(&mut sim, tower, |builder| builder.node_limits(limits));
    sim.spawn(echo_all(first));
    let histories = phones.map(|phone| kept(&mut sim, phone, Backoff::default()));
    sim.run_for(60 * SECOND);
    for history in &histories {
        assert_eq!(whats(history).last(), Some(&"up"));
    }
    sim.kill(tower);
    sim.run_for(90 * SECOND);
    let second = server_with(&mut sim, tower, |builder| builder.node_limits(limits));
    sim.spawn(echo_all(second.clone()));
    let restarted = sim.now();
    sim.run_for(120 * SECOND);
    let mut back: Vec<_> = histories
        .iter()
        .map(|history| {
            let (at, what, _) = *history.borrow().last().unwrap();
            assert_eq!(what, "up", "{history:?}");
            at - restarted
        })
        .collect();
    back.sort();
    assert_eq!(second.peers().len(), 20);
    assert!(back[15] - back[5] >= SECOND, "they spread out: {back:?}");
}

#[test]
fn a_link_that_is_closed_by_this_side_is_not_opened_again() {
    let (mut sim, [phone, tower]) = pair(1, Path::default());
    let server = server(&mut sim, tower);
    sim.spawn(echo_all(server));
    let client = builder(&mut sim, phone).build().unwrap();
    let history = History::default();
    sim.spawn(keep(client.keep_connected(URL), history.clone(), sim.clock()));
    sim.run_for(5 * SECOND);
    sim.block_on(20 * SECOND, client.shut_down(5 * SECOND)).unwrap();
    sim.run_for(60 * SECOND);
    assert_eq!(whats(&history), ["up", "down", "over"]);
}
