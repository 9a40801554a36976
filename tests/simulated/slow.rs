//! A close over a slow path: what was committed still arrives, however long that takes.

use deltawire::channels::session::Closed;
use deltawire::quic::QuicTrust;
use deltawire::sim::Path;
use deltawire::{Admission, LinkEnded};
use deltawire_framing::DeltaFields;
use deltawire_framing::control::CloseCode;

use crate::lab::{DOC, MS, SECOND, URL, builder, pair, server_with};

/// Commits messages, closes, and reads what comes.
fn close_over(quic: bool, rate: u64, len: usize, count: usize) {
    // No more than a second of it waits in the path.
    let queue = (32 << 10).min(rate as usize);
    let path = Path { latency: 20 * MS, rate: Some(rate), queue, ..Path::default() };
    let (mut sim, [phone, tower]) = pair(1, path);
    let server = server_with(&mut sim, tower, |it| it.accept_quic(Admission::anyone()));
    let pin = QuicTrust::default().pin(server.quic_fingerprint().unwrap());
    let url = if quic { format!("quic://{}:4000", sim.address(tower)) } else { URL.to_owned() };
    let client = builder(&mut sim, phone).quic_trust(pin).build().unwrap();
    let (mut here, near) = sim.block_on(20 * SECOND, client.connect(&url)).unwrap().unwrap();
    let (mut there, _far) = sim.block_on(20 * SECOND, server.accept()).unwrap().unwrap();
    let sending = async {
        for _ in 0..count {
            here.send.send(DeltaFields::new(DOC), &vec![1; len]).await.unwrap();
        }
    };
    sim.block_on(60 * SECOND, sending).unwrap();
    near.close(CloseCode::NORMAL, "done");
    let reading = async {
        let mut came = 0;
        while let Ok(message) = there.receive.next().await {
            came += message.delta().unwrap().payload().len();
        }
        came
    };
    let came = sim.block_on(200 * SECOND, reading).unwrap();
    assert_eq!(came, len * count, "at {rate} bytes a second, QUIC: {quic}");
    sim.run_for(20 * SECOND);
    let ended = near.ended().unwrap();
    assert!(matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })), "{ended}");
}

#[test]
fn a_close_over_a_slow_path_delivers_what_was_committed() {
    for (rate, len, count) in
        [(30_000, 600_000, 1), (50_000, 600_000, 1), (30_000, 200_000, 5), (60_000, 520_000, 3)]
    {
        for quic in [false, true] {
            close_over(quic, rate, len, count);
        }
    }
}

/// What QUIC holds is more than such a path takes within a close's time-out: what is acknowledged shows that it gets on.
#[test]
fn a_close_waits_for_what_is_acknowledged() {
    for (rate, len, count) in [(12_000, 200_000, 1), (8_000, 150_000, 2), (5_000, 1_000, 120)] {
        close_over(true, rate, len, count);
    }
}
