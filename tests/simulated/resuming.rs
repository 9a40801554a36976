//! Sessions of whole nodes that outlive their links.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use deltawire::sim::{Host, Path, Simulation};
use deltawire::{Link, LinkChange, LinkEnded, Node, SessionsLimits};
use deltawire_framing::DeltaFields;

use crate::lab::{DOC, MS, SECOND, builder, connect, count_up, pair, read_up, server_with};

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
                LinkChange::Down { why } => format!("down: {why}"),
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
        assert!(
            seen.borrow().iter().filter(|what| *what == "resumed").count() >= 2,
            "{:?}",
            seen.borrow()
        );
        assert_eq!(server.peers().len(), 1, "{:?} {:?}", server.peers(), seen.borrow());
    }
}

/// Sends a delta.
fn send(sim: &mut Simulation, sender: &mut deltawire_channels::Sender, payload: &[u8]) {
    let fields = DeltaFields::new(DOC);
    sim.block_on(SECOND, sender.send(fields, payload)).unwrap().unwrap();
}

#[test]
fn what_was_not_taken_in_comes_back_when_the_server_has_forgotten_the_session() {
    let path = Path { latency: 10 * MS, ..Path::default() };
    let limits = SessionsLimits { resume_timeout: 10 * SECOND, ..SessionsLimits::default() };
    let (mut sim, [phone, tower], client, server) = nodes(1, path, limits);
    let ((mut near, link), (_far, far_link)) = connect(&mut sim, &client, &server);
    let seen = watch(&mut sim, &link);
    send(&mut sim, &mut near.send, b"taken in");
    sim.run_for(SECOND);
    sim.set_cut(&[phone], &[tower], true);
    for number in 0..5_u8 {
        send(&mut sim, &mut near.send, &[number]);
    }
    sim.run_for(30 * SECOND);
    let ended = link.ended().unwrap();
    assert!(
        matches!(ended, LinkEnded::NotResumed { within, .. } if within == 10 * SECOND),
        "{ended}"
    );
    assert!(matches!(far_link.ended(), Some(LinkEnded::NotResumed { .. })));
    let returned = link.take_returned();
    let payloads: Vec<_> =
        returned.iter().map(|it| it.delta().unwrap().payload().to_vec()).collect();
    assert_eq!(payloads, (0..5_u8).map(|number| vec![number]).collect::<Vec<_>>());
    assert!(link.take_returned().is_empty());
    assert_eq!(link.undelivered().unsent + link.undelivered().unread, 6);
    assert!(near.send.try_send(DeltaFields::new(DOC), b"late").is_err());
    assert_eq!(seen.borrow().len(), 2, "{:?}", seen.borrow());
    assert!(client.peers().is_empty() && server.peers().is_empty());
}

#[test]
fn one_that_is_evicted_says_so_to_both() {
    let path = Path { latency: 10 * MS, ..Path::default() };
    let limits = SessionsLimits { max_detached: 1, ..SessionsLimits::default() };
    let (mut sim, [phone, tower], client, server) = nodes(1, path, limits);
    let ((first, first_link), _one) = connect(&mut sim, &client, &server);
    let ((second, second_link), _other) = connect(&mut sim, &client, &server);
    sim.set_cut(&[phone], &[tower], true);
    sim.run_for(8 * SECOND);
    let ended = [&first_link, &second_link].map(|link| link.ended());
    assert!(
        matches!(
            ended,
            [Some(LinkEnded::Evicted { .. }), None] | [None, Some(LinkEnded::Evicted { .. })]
        ),
        "{ended:?}"
    );
    sim.set_cut(&[phone], &[tower], false);
    drop((first, second));
}

#[test]
fn a_link_takes_over_while_the_other_lives() {
    let path = Path { latency: 10 * MS, ..Path::default() };
    let (mut sim, _, client, server) = nodes(1, path, SessionsLimits::default());
    let ((near, link), (far, _)) = connect(&mut sim, &client, &server);
    let seen = watch(&mut sim, &link);
    let done = Rc::new(RefCell::new(0));
    let (told, mut receiver) = (done.clone(), far.receive);
    sim.spawn(async move {
        *told.borrow_mut() = read_up(&mut receiver, 5_000).await;
        let _ = receiver.next().await;
    });
    sim.spawn(async move {
        count_up(near.send, 5_000, 2_000).await;
        std::future::pending::<()>().await;
    });
    for _ in 0..3 {
        sim.run_for(100 * MS);
        link.migrate();
        sim.run_for(11 * SECOND);
    }
    sim.run_for(20 * SECOND);
    assert_eq!(*done.borrow(), 5_000);
    let both = ["down: another link has taken over", "resumed"];
    assert_eq!(*seen.borrow(), [both, both, both].concat());
    assert_eq!((client.peers().len(), server.peers().len()), (1, 1));
}

#[test]
fn a_session_that_is_closed_without_a_link_ends_and_says_what_it_had() {
    let path = Path { latency: 10 * MS, ..Path::default() };
    let (mut sim, [phone, tower], client, server) = nodes(1, path, SessionsLimits::default());
    let ((mut near, link), _far) = connect(&mut sim, &client, &server);
    sim.set_cut(&[phone], &[tower], true);
    send(&mut sim, &mut near.send, b"kept");
    sim.run_for(8 * SECOND);
    assert!(link.ended().is_none());
    drop(near);
    sim.run_for(SECOND);
    assert!(link.ended().is_none(), "it waits as a close does");
    sim.run_for(6 * SECOND);
    assert!(matches!(link.ended(), Some(LinkEnded::Session(_))), "{:?}", link.ended());
    assert_eq!(link.take_returned().len(), 1);
    let over = sim.block_on(20 * SECOND, server.shut_down(10 * SECOND)).unwrap();
    assert!(!over.is_complete() && server.peers().is_empty());
}

#[test]
fn senders_asked_for_without_a_link_are_there_when_there_is_one() {
    let path = Path { latency: 10 * MS, ..Path::default() };
    let (mut sim, [phone, tower], client, server) = nodes(1, path, SessionsLimits::default());
    let ((_near, link), (mut far, _)) = connect(&mut sim, &client, &server);
    sim.set_cut(&[phone], &[tower], true);
    sim.run_for(8 * SECOND);
    let opened = Rc::new(RefCell::new(false));
    let told = opened.clone();
    sim.spawn(async move {
        let mut sender = link.open_sender(Default::default()).await.unwrap();
        *told.borrow_mut() = true;
        sender.send(DeltaFields::new(DOC), b"by another").await.unwrap();
        std::future::pending::<()>().await;
    });
    sim.run_for(SECOND);
    assert!(!*opened.borrow());
    sim.set_cut(&[phone], &[tower], false);
    let message = sim.block_on(50 * SECOND, far.receive.next()).unwrap().unwrap();
    assert_eq!(message.delta().unwrap().payload(), b"by another");
}

#[test]
fn what_was_sent_before_a_close_in_an_outage_still_comes() {
    let path = Path { latency: 10 * MS, ..Path::default() };
    let (mut sim, [phone, tower], client, server) = nodes(1, path, SessionsLimits::default());
    let ((near, link), (mut far, _)) = connect(&mut sim, &client, &server);
    let deltawire_channels::Peer { mut send, receive, command } = near;
    self::send(&mut sim, &mut send, b"before");
    sim.set_cut(&[phone], &[tower], true);
    self::send(&mut sim, &mut send, b"in the outage");
    // Both were handed out: nothing waits in the ring but what is kept.
    sim.run_for(500 * MS);
    link.migrate();
    sim.run_for(100 * MS);
    sim.set_cut(&[phone], &[tower], false);
    drop((send, receive, command));
    for expected in ["before", "in the outage"] {
        let message = sim.block_on(40 * SECOND, far.receive.next()).unwrap().unwrap();
        assert_eq!(message.delta().unwrap().payload(), expected.as_bytes());
    }
}
