//! Sessions of whole nodes that outlive their links.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use deltawire::sim::{Host, Path, Simulation};
use deltawire::{Link, LinkChange, LinkEnded, Node, NodeEvent, SessionsLimits};
use deltawire_framing::DeltaFields;

use crate::lab::{DOC, MS, SECOND, URL, builder, connect, count_up, pair, read_up, server_with};

fn roams(limits: SessionsLimits) -> Option<SessionsLimits> {
    Some(limits)
}

/// Two nodes whose sessions outlive their links.
fn nodes(seed: u64, path: Path, limits: SessionsLimits) -> (Simulation, [Host; 2], Node, Node) {
    let (mut sim, [phone, tower]) = pair(seed, path);
    let server = server_with(&mut sim, tower, |it| it.resume(roams(limits)));
    let client = builder(&mut sim, phone).resume(roams(limits)).build().unwrap();
    (sim, [phone, tower], client, server)
}

/// What becomes of a link, in words.
fn watch(sim: &mut Simulation, link: &Link) -> Rc<RefCell<Vec<String>>> {
    let (mut changes, seen) = (link.changes(), Rc::new(RefCell::new(Vec::new())));
    let told = seen.clone();
    sim.spawn(async move {
        loop {
            let change = changes.next().await;
            let what = match &change {
                LinkChange::Down { .. } => "down".to_owned(),
                LinkChange::Resumed(_) => "resumed".to_owned(),
                LinkChange::Over(ended) => format!("over: {ended}"),
                _ => "missed".to_owned(),
            };
            told.borrow_mut().push(what);
            if matches!(change, LinkChange::Over(_)) {
                return;
            }
        }
    });
    seen
}

#[test]
fn all_comes_once_and_in_order_over_links_that_are_cut() {
    const COUNT: u64 = 3_000;
    for seed in 0..4 {
        let path = Path { latency: 10 * MS, ..Path::default() };
        let (mut sim, [phone, tower], client, server) =
            nodes(seed, path, SessionsLimits::default());
        let ((near, near_link), (far, _)) = connect(&mut sim, &client, &server);
        assert!(near_link.is_resumable());
        let seen = watch(&mut sim, &near_link);
        let done = Rc::new(RefCell::new([0; 4]));
        let (mut near_in, mut far_in) = (near.receive, far.receive);
        for (at, sender) in [(0, near.send), (1, far.send)] {
            let done = done.clone();
            sim.spawn(async move {
                let sent = count_up(sender, COUNT, 4_000).await;
                done.borrow_mut()[at] = sent;
            });
        }
        let (told, clock) = (done.clone(), sim.clock());
        sim.spawn(async move {
            let came = read_up(&mut near_in, COUNT).await;
            told.borrow_mut()[2] = came;
            let _ = (clock, near_in.next().await);
        });
        let told = done.clone();
        sim.spawn(async move {
            let came = read_up(&mut far_in, COUNT).await;
            told.borrow_mut()[3] = came;
            let _ = far_in.next().await;
        });
        for outage in 1..=6 {
            sim.run_for(Duration::from_millis(150 + 70 * outage));
            sim.set_cut(&[phone], &[tower], true);
            sim.run_for(Duration::from_secs(4 + 3 * (outage % 3)));
            sim.set_cut(&[phone], &[tower], false);
            sim.run_for(SECOND * 8);
        }
        sim.run_for(SECOND * 60);
        assert_eq!(*done.borrow(), [COUNT; 4], "{:?}, {:?}", seen.borrow(), server.peers());
        assert!(seen.borrow().iter().filter(|what| *what == "resumed").count() >= 2, "{:?}", seen.borrow());
        assert_eq!(server.peers().len(), 1);
    }
}
