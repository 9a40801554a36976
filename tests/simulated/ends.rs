//! How links end: each by name, on both sides, and in time.

use deltawire::sim::Path;
use deltawire::{LinkEnded, Undelivered};
use deltawire_channels::session::Closed;
use deltawire_framing::control::CloseCode;

use crate::lab::{MS, SECOND, builder, connect, count_up, pair, read_up, server};

#[test]
fn a_node_that_shuts_down_delivers_what_was_committed() {
    let (mut sim, [phone, tower]) = pair(1, Path { latency: 30 * MS, ..Path::default() });
    let server = server(&mut sim, tower);
    let client = builder(&mut sim, phone).build().unwrap();
    let ((here, near), (mut there, far)) = connect(&mut sim, &client, &server);
    let sent = sim.block_on(20 * SECOND, count_up(here.send, 40, 1_000)).unwrap();
    assert_eq!(sent, 40);
    server.runtime().spawn(Box::pin(async move {
        assert_eq!(read_up(&mut there.receive, 1_000).await, 40, "all, then the end");
    }));
    let summary = sim.block_on(60 * SECOND, client.shut_down(30 * SECOND)).unwrap();
    assert!(summary.is_complete() && summary.in_order == 1, "{summary:?}");
    sim.run_for(SECOND);
    let code = CloseCode::SHUTDOWN;
    let ended = near.ended();
    assert!(
        matches!(&ended, Some(LinkEnded::Session(Closed::ByUs { code: of, .. })) if *of == code),
        "{ended:?}"
    );
    let ended = far.ended();
    assert!(
        matches!(&ended, Some(LinkEnded::Session(Closed::ByPeer { code: of, .. })) if *of == code),
        "{ended:?}"
    );
    assert!(client.peers().is_empty() && server.peers().is_empty());
    // It takes no more, and connects no more.
    assert!(sim.block_on(SECOND, client.accept()).unwrap().is_none());
    assert!(sim.block_on(SECOND, client.connect(crate::lab::URL)).unwrap().is_err());
}

#[test]
fn a_shut_down_in_vain_is_over_in_time_and_says_what_is_lost() {
    let (mut sim, [phone, tower]) = pair(2, Path::default());
    let server = server(&mut sim, tower);
    let client = builder(&mut sim, phone).build().unwrap();
    let ((here, _near), (_there, _far)) = connect(&mut sim, &client, &server);
    sim.set_cut(&[phone], &[tower], true);
    let sent = sim.block_on(20 * SECOND, count_up(here.send, 30, 1_000)).unwrap();
    let began = sim.now();
    let summary = sim.block_on(60 * SECOND, client.shut_down(5 * SECOND)).unwrap();
    assert!(sim.now() - began <= 5 * SECOND + 100 * MS, "{:?}", sim.now() - began);
    assert_eq!((summary.in_order, summary.cut_off), (0, 1));
    let Undelivered { unsent, unread, .. } = summary.undelivered;
    assert_eq!(unsent + unread, sent, "{summary:?}");
}

#[test]
fn a_killed_process_is_noticed_by_its_peers_and_its_memory_is_free() {
    let (mut sim, [phone, tower]) = pair(3, Path { latency: 20 * MS, ..Path::default() });
    let server = server(&mut sim, tower);
    for round in 0..20 {
        let client = builder(&mut sim, phone).build().unwrap();
        let ((_here, near), (_there, far)) = connect(&mut sim, &client, &server);
        sim.kill(phone);
        assert_eq!(near.ended(), Some(LinkEnded::Stopped), "nobody moves it any more");
        let ended = sim.block_on(60 * SECOND, far.closed()).unwrap();
        let silent = matches!(
            &ended,
            LinkEnded::Session(Closed::Error(error)) if error.is_silence()
        );
        assert!(silent, "round {round}: {ended:?}");
        sim.run_for(5 * SECOND);
        assert!(server.peers().is_empty(), "round {round}");
    }
}

#[test]
fn a_peer_that_nothing_reaches_is_given_up() {
    let (mut sim, [phone, tower]) = pair(4, Path { latency: 20 * MS, ..Path::default() });
    let server = server(&mut sim, tower);
    let client = builder(&mut sim, phone).connect_timeout(3 * SECOND).build().unwrap();
    let ((_here, near), (_there, far)) = connect(&mut sim, &client, &server);
    let began = sim.now();
    sim.set_cut(&[phone], &[tower], true);
    for link in [&near, &far] {
        let ended = sim.block_on(60 * SECOND, link.closed()).unwrap();
        assert!(matches!(ended, LinkEnded::Session(Closed::Error(_))), "{ended:?}");
    }
    // `Limits::idle_timeout`, and some.
    assert!(sim.now() - began <= 20 * SECOND, "{:?}", sim.now() - began);
    let error = sim.block_on(60 * SECOND, client.connect(crate::lab::URL)).unwrap().unwrap_err();
    assert!(error.to_string().contains("10s"), "{error}");
}
