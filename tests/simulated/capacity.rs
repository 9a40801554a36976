//! Places of a node: bounded by name, and free again when links are gone.

use std::collections::BTreeSet;

use deltawire::signalling::SignallingError;
use deltawire::sim::{Path, Simulation};
use deltawire::{ConnectError, NodeEvent, NodeLimits};

use crate::lab::{MS, SECOND, URL, builder, echo_all, pair, server_with};

#[test]
fn a_node_that_is_full_says_so_and_has_room_again() {
    let (mut sim, [phone, tower]) = pair(1, Path { latency: 10 * MS, ..Path::default() });
    let limits = NodeLimits { max_peers: 3, ..NodeLimits::default() };
    let server = server_with(&mut sim, tower, |builder| builder.node_limits(limits));
    sim.spawn(echo_all(server.clone()));
    // One process for each, as one has only one link to the same node over a socket.
    let clients: Vec<_> = (0..4).map(|_| builder(&mut sim, phone).build().unwrap()).collect();
    let mut links = Vec::new();
    for client in &clients[..3] {
        links.push(sim.block_on(20 * SECOND, client.connect(URL)).unwrap().unwrap());
    }
    let error = sim.block_on(20 * SECOND, clients[3].connect(URL)).unwrap().unwrap_err();
    assert!(
        matches!(error, ConnectError::Signalling(SignallingError::Refused { status: 503, .. })),
        "{error:?}"
    );
    sim.block_on(20 * SECOND, clients[0].shut_down(10 * SECOND)).unwrap();
    sim.run_for(SECOND);
    sim.block_on(20 * SECOND, clients[3].connect(URL)).unwrap().unwrap();
    assert_eq!(server.peers().len(), 3);
}

/// Links to one node need a socket each; those to different nodes share one.
#[test]
fn links_of_one_node_do_not_mix() {
    let mut sim = Simulation::new(2);
    let [phone, one, other] = sim.add_hosts();
    let client = builder(&mut sim, phone).build().unwrap();
    let mut servers = Vec::new();
    for (host, url) in [(one, "sim://one"), (other, "sim://other")] {
        let listen = (sim.address(host), 4_000).into();
        let node = builder(&mut sim, host).listen(listen).build().unwrap();
        sim.serve(host, url, node.clone());
        // A name for the same node, which nobody can tell from the address.
        sim.serve(host, &format!("{url}.alias"), node.clone());
        sim.spawn(echo_all(node.clone()));
        servers.push(node);
    }
    let mut peers = Vec::new();
    for url in ["sim://one", "sim://other", "sim://one", "sim://other.alias", "sim://one.alias"] {
        let connected = sim.block_on(20 * SECOND, client.connect(url)).unwrap();
        peers.push(connected.unwrap_or_else(|error| panic!("{url}: {error}")));
    }
    assert_eq!(servers.iter().map(|node| node.peers().len()).collect::<Vec<_>>(), [3, 2]);
    let sources = |node: &deltawire::Node| -> BTreeSet<_> {
        node.peers().iter().map(|peer| peer.link.remote_address().unwrap()).collect()
    };
    let [one, other] = [&servers[0], &servers[1]].map(sources);
    assert_eq!((one.len(), other.len()), (3, 2), "a socket for each link to the same node");
    assert!(one.intersection(&other).count() > 0, "links to different nodes share one");
    for (number, (peer, _)) in peers.iter_mut().enumerate() {
        let number = number as u64;
        let asked = async {
            let fields = deltawire_framing::DeltaFields::new(crate::lab::DOC);
            peer.send.send(fields, &number.to_le_bytes()).await.unwrap();
            let message = peer.receive.next().await.unwrap();
            assert_eq!(message.delta().unwrap().payload(), number.to_le_bytes());
        };
        sim.block_on(20 * SECOND, asked).unwrap();
    }
}

#[test]
fn events_tell_of_each_link() {
    let (mut sim, [phone, tower]) = pair(3, Path::default());
    let server = server_with(&mut sim, tower, |builder| builder);
    sim.spawn(echo_all(server.clone()));
    let client = builder(&mut sim, phone).build().unwrap();
    let (peer, link) = sim.block_on(20 * SECOND, client.connect(URL)).unwrap().unwrap();
    let up = sim.block_on(SECOND, server.event()).unwrap();
    assert!(matches!(up, NodeEvent::Up { .. }), "{up:?}");
    drop(peer);
    sim.block_on(20 * SECOND, link.closed()).unwrap();
    let down = sim.block_on(20 * SECOND, server.event()).unwrap();
    assert!(matches!(down, NodeEvent::Down { .. }), "{down:?}");
}
