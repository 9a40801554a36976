//! How many round trips pass until a link is open and its first delta is there: over a path of 1 s, so that nothing else counts.

use std::time::Duration;

use deltawire::Admission;
use deltawire::quic::QuicTrust;
use deltawire::sim::Path;
use deltawire_framing::DeltaFields;

use crate::lab::{DOC, SECOND, builder, pair, server_with};

/// Round trips until `connect` is ready, and until a delta that is sent then is at the other application.
#[test]
fn a_link_over_quic_is_open_after_two_and_the_first_delta_there_half_a_round_trip_later() {
    let path = Path { latency: SECOND / 2, ..Path::default() };
    let (mut sim, [phone, tower]) = pair(1, path);
    let server = server_with(&mut sim, tower, |it| it.accept_quic(Admission::anyone()));
    let pin = QuicTrust::default().pin(server.quic_fingerprint().unwrap());
    let url = format!("quic://{}:4000", sim.address(tower));
    let client = builder(&mut sim, phone).quic_trust(pin).build().unwrap();
    let runtime = client.runtime().clone();
    let begins = runtime.now();
    let meeting = async {
        let (mut here, near) = client.connect(&url).await.unwrap();
        let open = runtime.now() - begins;
        here.send.send(DeltaFields::new(DOC), b"first").await.unwrap();
        let (mut there, _far) = server.accept().await.unwrap();
        there.receive.next().await.map(drop).unwrap();
        drop(near);
        (open, runtime.now() - begins)
    };
    let (open, arrived) = sim.block_on(20 * SECOND, meeting).unwrap();
    println!("open after {open:?}, the first delta there after {arrived:?}");
    let about = |found: Duration, expected: Duration| {
        assert!(found >= expected && found < expected + SECOND / 20, "{found:?}");
    };
    about(open, 2 * SECOND);
    about(arrived, 2 * SECOND + SECOND / 2);
}
