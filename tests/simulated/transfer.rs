//! What is accepted arrives, once and in order, whatever the network does.

use deltawire::sim::{Loss, Path};

use crate::lab::{MS, SECOND, builder, connect, count_up, pair, read_up, server};

#[test]
fn both_ways_over_a_bad_path() {
    for seed in 0..8 {
        let path = Path {
            latency: 20 * MS,
            jitter: 5 * MS,
            loss: Loss::Independent(0.02),
            reorder: 0.02,
            duplicate: 0.02,
            corrupt: 0.01,
            ..Path::default()
        };
        let (mut sim, [phone, tower]) = pair(seed, path);
        let server = server(&mut sim, tower);
        let client = builder(&mut sim, phone).build().unwrap();
        let ((mut here, link), (mut there, _)) = connect(&mut sim, &client, &server);
        assert_eq!(link.remote_address(), Some((sim.address(tower), 4_000).into()));
        let (send, back) = (here.send, there.send);
        let runtime = client.runtime().clone();
        for sender in [send, back] {
            runtime.spawn(Box::pin(async move {
                assert_eq!(count_up(sender, 300, 4_000).await, 300);
                std::future::pending::<()>().await;
            }));
        }
        let read = async {
            let came =
                (read_up(&mut here.receive, 300).await, read_up(&mut there.receive, 300).await);
            assert_eq!(came, (300, 300));
        };
        sim.block_on(120 * SECOND, read).unwrap_or_else(|late| panic!("seed {seed}: {late}"));
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| {
        let path = Path { latency: 10 * MS, loss: Loss::Independent(0.05), ..Path::default() };
        let (mut sim, [phone, tower]) = pair(seed, path);
        let server = server(&mut sim, tower);
        let client = builder(&mut sim, phone).build().unwrap();
        let ((here, _), (mut there, _)) = connect(&mut sim, &client, &server);
        client.runtime().spawn(Box::pin(async move {
            count_up(here.send, 200, 2_000).await;
        }));
        sim.block_on(60 * SECOND, read_up(&mut there.receive, 200)).unwrap();
        let summary = sim.block_on(20 * SECOND, client.shut_down(10 * SECOND)).unwrap();
        (sim.now(), sim.fingerprint(), summary)
    };
    for seed in [3, 4] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(3).1, run(4).1);
}

#[test]
fn a_peer_that_gets_another_address_goes_on() {
    let (mut sim, [phone, tower]) = pair(5, Path { latency: 20 * MS, ..Path::default() });
    let server = server(&mut sim, tower);
    let client = builder(&mut sim, phone).build().unwrap();
    let ((here, _), (mut there, far)) = connect(&mut sim, &client, &server);
    let before = far.remote_address();
    client.runtime().spawn(Box::pin(async move {
        count_up(here.send, 2_000, 1_000).await;
        std::future::pending::<()>().await;
    }));
    sim.block_on(20 * SECOND, read_up(&mut there.receive, 1)).unwrap();
    sim.change_address(phone);
    let rest = async {
        for _ in 1..2_000 {
            there.receive.next().await.unwrap();
        }
    };
    sim.block_on(120 * SECOND, rest).unwrap();
    assert!(far.ended().is_none());
    assert_ne!(far.remote_address(), before, "and it is known where the peer is now");
}

#[test]
fn nodes_that_say_nothing_stay_connected() {
    let (mut sim, [phone, tower]) = pair(6, Path { latency: 50 * MS, ..Path::default() });
    let server = server(&mut sim, tower);
    let client = builder(&mut sim, phone).build().unwrap();
    let ((_here, near), (_there, far)) = connect(&mut sim, &client, &server);
    let sent = || near.stats().datagrams_sent;
    let before = sent();
    sim.run_for(3_600 * SECOND);
    assert_eq!((near.ended(), far.ended()), (None, None));
    let an_hour = sent() - before;
    assert!((600..6_000).contains(&an_hour), "{an_hour} datagrams in an hour");
}
