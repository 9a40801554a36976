//! Sockets that links of one node share, and what becomes of them.

use std::sync::atomic::Ordering;

use deltawire::Backoff;
use deltawire::sim::{Path, Simulation};
use deltawire_framing::DeltaFields;
use deltawire_framing::control::CloseCode;

use crate::deaf::{ALIVE, Deaf};
use crate::lab::{DOC, MS, SECOND, builder, echo_all, pair, server};

/// A link that has ended, and of which the application has not read everything, over a socket that another
/// link shares.
#[test]
fn a_link_beside_what_nobody_read_of_an_old_one() {
    for shared in [false, true] {
        let mut sim = Simulation::new(2);
        let [phone, one, other] = sim.add_hosts();
        let client = builder(&mut sim, phone).build().unwrap();
        let mut servers = Vec::new();
        for (host, url) in [(one, "sim://one"), (other, "sim://other")] {
            let listen = (sim.address(host), 4_000).into();
            let node = builder(&mut sim, host).listen(listen).build().unwrap();
            sim.serve(host, url, node.clone());
            servers.push(node);
        }
        let (mut near, near_link) =
            sim.block_on(20 * SECOND, client.connect("sim://one")).unwrap().unwrap();
        let (mut far, far_link) = sim.block_on(20 * SECOND, servers[0].accept()).unwrap().unwrap();
        let _beside = shared
            .then(|| sim.block_on(20 * SECOND, client.connect("sim://other")).unwrap().unwrap());
        for _ in 0..300 {
            let unread = far.send.send(DeltaFields::new(DOC), &[1; 2_000]);
            sim.block_on(SECOND, unread).unwrap().unwrap();
        }
        sim.run_for(SECOND);
        far_link.close(CloseCode::NORMAL, "");
        far_link.cut_short();
        sim.run_for(20 * SECOND);
        assert!(near_link.ended().is_some() && far_link.ended().is_some());
        assert!(servers[0].peers().is_empty());
        let again = sim.block_on(30 * SECOND, client.connect("sim://one")).unwrap();
        // What came before is still there.
        assert!(near.receive.try_next().is_ok());
        assert!(again.is_ok(), "shared: {shared}: {:?}", again.err());
    }
}

/// Its socket is nobody else's.
#[test]
fn an_offer_beside_a_link_to_the_same_node() {
    let (mut sim, [phone, tower]) = pair(1, Path { latency: 10 * MS, ..Path::default() });
    let server = server(&mut sim, tower);
    sim.spawn(echo_all(server.clone()));
    let address = sim.address(phone);
    let client = builder(&mut sim, phone).bind(address).build().unwrap();
    let offer = client.offer(address).unwrap();
    let _beside = sim.block_on(20 * SECOND, client.connect("sim://server")).unwrap().unwrap();
    let answer = sim.block_on(20 * SECOND, server.answer(offer.sdp())).unwrap().unwrap();
    let finished = sim.block_on(20 * SECOND, offer.finish(&answer)).unwrap();
    assert!(finished.is_ok(), "{:?}", finished.err());
}

/// A node that only connects has no bound of its own in mind.
#[test]
fn a_node_of_any_number_of_peers_connects() {
    let (mut sim, [phone, tower]) = pair(1, Path { latency: 10 * MS, ..Path::default() });
    let server = server(&mut sim, tower);
    sim.spawn(echo_all(server.clone()));
    let limits =
        deltawire::NodeLimits { max_peers: usize::MAX, ..deltawire::NodeLimits::default() };
    let client = builder(&mut sim, phone).node_limits(limits).build().unwrap();
    sim.block_on(20 * SECOND, client.connect("sim://server")).unwrap().unwrap();
}

/// Dropped late, as by a task of a process that was killed.
#[test]
fn a_socket_that_is_dropped_late_leaves_a_later_one() {
    use deltawire::link::Runtime;
    use deltawire::link::runtime::{BindOptions, Datagrams, Received};
    let mut sim = Simulation::new(1);
    let [one, other] = sim.add_hosts();
    let (here, there) = (sim.runtime(one), sim.runtime(other));
    let address = (sim.address(one), 4_000).into();
    let options = BindOptions { address, only_v6: false, buffer: 1 << 20 };
    let old = here.bind(&options).unwrap();
    sim.kill(one);
    let mut new = here.bind(&options).unwrap();
    drop(old);
    let from =
        BindOptions { address: (sim.address(other), 0).into(), only_v6: false, buffer: 1 << 20 };
    let mut from = from_socket(&there, &from);
    from.try_send(&Datagrams { destination: address, source: None, bytes: b"x", segment: 1 })
        .unwrap();
    sim.run_for(SECOND);
    let mut room = [0; 10];
    let mut buffers = [std::io::IoSliceMut::new(&mut room)];
    let mut received = [Received::default()];
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let came = new.poll_receive(&mut buffers, &mut received, &mut context);
    assert!(matches!(came, std::task::Poll::Ready(Ok(1))), "{came:?}");
}

fn from_socket(
    runtime: &deltawire::sim::HostRuntime,
    options: &deltawire::link::runtime::BindOptions,
) -> Box<dyn deltawire::link::runtime::UdpSocket> {
    deltawire::link::Runtime::bind(runtime, options).unwrap()
}

/// Each attempt used to have a socket of its own, so a socket that is dead was got rid of.
#[test]
fn who_reconnects_gets_rid_of_a_dead_socket() {
    let mut sim = Simulation::new(2);
    let hosts: [_; 9] = sim.add_hosts();
    let [phone, servers @ ..] = hosts;
    let runtime = Deaf {
        inner: sim.runtime(phone),
        bound: std::sync::Arc::default(),
        deaf: std::sync::Arc::default(),
    };
    // So often that attempts always overlap.
    let backoff = Backoff { first: 3 * SECOND, longest: 3 * SECOND, ..Backoff::default() };
    let client =
        builder(&mut sim, phone).runtime(runtime.clone()).backoff(backoff).build().unwrap();
    let ups = std::rc::Rc::new(std::cell::RefCell::new(vec![Vec::new(); 8]));
    for (number, host) in servers.into_iter().enumerate() {
        let url = format!("sim://{number}");
        let listen = (sim.address(host), 4_000).into();
        let node = builder(&mut sim, host).listen(listen).build().unwrap();
        sim.serve(host, &url, node.clone());
        sim.spawn(echo_all(node));
        let mut kept = client.keep_connected(&url);
        let (ups, clock) = (ups.clone(), sim.clock());
        sim.spawn(async move {
            let mut held = None;
            while let Some(event) = kept.next().await {
                held = match event {
                    deltawire::ReconnectEvent::Up(peer, _) => {
                        ups.borrow_mut()[number].push(clock.now());
                        Some(peer)
                    }
                    _ => None,
                };
            }
            drop(held);
        });
    }
    sim.run_for(20 * SECOND);
    // All but one are away.
    sim.set_cut(&[phone], &servers[1..], true);
    sim.run_for(600 * SECOND);
    runtime.deaf.store(runtime.bound.load(Ordering::Relaxed), Ordering::Relaxed);
    let since = sim.now();
    sim.run_for(3_600 * SECOND);
    assert!(
        ups.borrow()[0].iter().any(|at| *at > since && *at < since + 60 * SECOND),
        "a minute later; it is {since:?}"
    );
}

/// What a simulation made is gone with it.
#[test]
#[allow(clippy::disallowed_types, reason = "whether it was dropped")]
fn a_simulation_that_is_dropped_leaves_nothing() {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    #[derive(Debug)]
    struct Kind(Arc<AtomicBool>);
    impl Drop for Kind {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    impl deltawire::LinkKind for Kind {
        fn schemes(&self) -> &[&str] {
            &["none"]
        }
        fn connect<'a>(
            &'a self,
            _node: &'a deltawire::Node,
            _url: &'a str,
            _once: bool,
        ) -> deltawire::link::runtime::BoxFuture<
            'a,
            Result<(deltawire_channels::Peer, deltawire::Link), deltawire::ConnectError>,
        > {
            Box::pin(std::future::pending())
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let mut sim = Simulation::new(1);
    let [tower] = sim.add_hosts();
    let node = crate::lab::server_with(&mut sim, tower, |builder| {
        builder.link_kind(Kind(dropped.clone()))
    });
    drop(node);
    drop(sim);
    assert!(dropped.load(Ordering::Relaxed), "the node lives on, with all that it holds");
}

/// A future of connecting that is dropped at any time leaves nothing.
#[test]
fn connecting_that_is_dropped_leaves_nothing() {
    for beside in [false, true] {
        let mut sim = Simulation::new(2);
        let [phone, one, other] = sim.add_hosts();
        sim.set_default_path(Path { latency: 10 * MS, ..Path::default() });
        let runtime = Deaf {
            inner: sim.runtime(phone),
            bound: std::sync::Arc::default(),
            deaf: std::sync::Arc::default(),
        };
        let client = builder(&mut sim, phone).runtime(runtime.clone()).build().unwrap();
        let mut servers = Vec::new();
        for (host, url) in [(one, "sim://one"), (other, "sim://other")] {
            let listen = (sim.address(host), 4_000).into();
            let node = builder(&mut sim, host).listen(listen).build().unwrap();
            sim.serve(host, url, node.clone());
            sim.serve(host, &format!("{url}.alias"), node.clone());
            sim.spawn(echo_all(node.clone()));
            servers.push(node);
        }
        let held = beside
            .then(|| sim.block_on(20 * SECOND, client.connect("sim://one")).unwrap().unwrap());
        for after in 0..160 {
            for url in ["sim://other", "sim://one.alias"] {
                let _ = sim.block_on(after * MS, client.connect(url));
            }
        }
        sim.run_for(120 * SECOND);
        let left = usize::from(beside);
        assert_eq!(client.peers().len(), left, "{:?}", client.peers());
        assert_eq!(servers[0].peers().len() + servers[1].peers().len(), left);
        let alive = ALIVE.with(std::cell::Cell::get);
        assert_eq!(alive, left as isize);
        drop(held);
        sim.run_for(120 * SECOND);
        assert_eq!(ALIVE.with(std::cell::Cell::get), 0);
    }
}
