use std::cell::RefCell;
use std::rc::Rc;

use deltawire_channels::session::Closed;
use deltawire_channels::{Delivery, Reliability};
use deltawire_framing::control::CloseCode;
use deltawire_framing::{DeltaFields, DocId};
use deltawire_link::LinkEnded;

use super::way::{Parcel, Target};
use super::*;

const MS: Duration = Duration::from_millis(1);

/// Sends so many datagrams of 1,000 bytes, one each millisecond, through a way, and gives which of
/// them arrived when, in order of arrival.
fn through(path: Path, count: u64) -> (Vec<(u64, Duration, bool)>, PathStats) {
    let mut way = Direction::new(path, Random::new(5));
    let (mut arrivals, mut trace) = (Arrivals::default(), Trace::default());
    let mut arrived = Vec::new();
    let mut take = |now: Duration, arrivals: &mut Arrivals| {
        while let Some(at) = arrivals.next().filter(|at| *at <= now) {
            let parcel = arrivals.pop(at).unwrap();
            let number = u64::from(parcel.source.port());
            arrived.push((number, at, parcel.bytes != [7; 1_000]));
        }
    };
    for number in 0..count {
        let now = number as u32 * MS;
        way.release_late(now, &mut arrivals);
        take(now, &mut arrivals);
        let source = ([10, 0, 0, 1], number as u16).into();
        let destination = ([10, 0, 0, 2], 1).into();
        let bytes = vec![7; 1_000];
        let parcel =
            Parcel { to: Target::End(0), way: 0, source, destination, bytes, damaged: false };
        way.send(parcel, false, now, &mut arrivals, &mut trace);
    }
    for late in 0..1_000 {
        let now = (count as u32 + late) * MS;
        way.release_late(now, &mut arrivals);
        take(now, &mut arrivals);
    }
    (arrived, way.stats)
}

#[test]
fn a_path_delays_as_it_says_and_keeps_the_order() {
    let path = Path { latency: 10 * MS, jitter: 4 * MS, ..Path::default() };
    let (arrived, stats) = through(path, 1_000);
    assert_eq!((stats.sent, arrived.len()), (1_000, 1_000));
    let mut longest = Duration::ZERO;
    for (place, (number, at, damaged)) in arrived.into_iter().enumerate() {
        let took = at - number as u32 * MS;
        assert!(number == place as u64 && took >= 10 * MS && took <= 14 * MS && !damaged);
        longest = longest.max(took);
    }
    assert!(longest > 13 * MS, "{longest:?}");
}

#[test]
fn a_bottleneck_has_a_rate_and_drops_what_its_queue_does_not_hold() {
    // A thousandth of a second for 500 bytes: half of what comes fits through.
    let path = Path { rate: Some(500_000), queue: 10_000, ..Path::default() };
    let (arrived, stats) = through(path, 1_000);
    assert_eq!(stats.overflowed, 1_000 - arrived.len() as u64);
    assert!((500..=512).contains(&arrived.len()), "{}", arrived.len());
    assert!(stats.longest_queue > 9_000 && stats.longest_queue <= 10_000);
    let gaps = arrived.windows(2).map(|pair| pair[1].1 - pair[0].1);
    assert!(gaps.skip(1).all(|gap| gap == 2 * MS));
}

#[test]
fn losses_copies_and_damage_have_their_share() {
    let path =
        Path { loss: Loss::Independent(0.1), duplicate: 0.05, corrupt: 0.02, ..Path::default() };
    let (arrived, stats) = through(path, 20_000);
    assert!((1_800..2_200).contains(&stats.lost), "{stats:?}");
    assert!((800..1_000).contains(&stats.duplicated), "{stats:?}");
    assert!((300..420).contains(&stats.corrupted), "{stats:?}");
    assert_eq!(arrived.len() as u64, stats.sent - stats.lost + stats.duplicated);
    let damaged = arrived.iter().filter(|(.., damaged)| *damaged).count() as u64;
    // A copy is as damaged as the other.
    assert!(damaged >= stats.corrupted && damaged < stats.corrupted + 60);
}

#[test]
fn bursts_last_as_long_as_they_do_on_average() {
    let loss = Loss::Bursts { good: 900 * MS, bad: 100 * MS };
    let (arrived, stats) = through(Path { loss, ..Path::default() }, 60_000);
    assert!((4_000..8_000).contains(&stats.lost), "{stats:?}");
    let gaps = arrived.windows(2).filter(|pair| pair[1].0 > pair[0].0 + 1).count() as u64;
    let length = stats.lost / gaps;
    assert!((70..130).contains(&length), "{length}");
}

#[test]
fn what_is_overtaken_is_by_no_more_than_the_distance() {
    let path = Path { reorder: 0.1, reorder_distance: 8, ..Path::default() };
    let (arrived, stats) = through(path, 10_000);
    assert_eq!(arrived.len(), 10_000);
    assert!((900..1_100).contains(&stats.reordered));
    let mut furthest = 0;
    for (place, (number, ..)) in arrived.iter().enumerate() {
        let ahead = arrived[..place].iter().rev().take(40).filter(|(other, ..)| other > number);
        furthest = furthest.max(ahead.count());
    }
    assert_eq!(furthest, 8);
}

#[test]
fn what_nobody_overtakes_comes_all_the_same() {
    let path = Path { reorder: 1.0, ..Path::default() };
    let (arrived, _) = through(path, 1);
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0].1 > 50 * MS && arrived[0].1 < 60 * MS);
}

#[test]
fn long_datagrams_and_cut_paths_end_everything() {
    let (arrived, stats) = through(Path { mtu: 999, ..Path::default() }, 10);
    assert!(arrived.is_empty() && stats.too_long == 10);
    let (arrived, stats) = through(Path { cut: true, ..Path::default() }, 10);
    assert!(arrived.is_empty() && stats.cut == 10);
}

#[test]
fn sleepers_wake_in_their_order_and_at_their_time() {
    let mut sim = Simulation::new(1);
    let woken = Rc::new(RefCell::new(Vec::new()));
    for (name, after) in [("late", 30), ("early", 10), ("also late", 30)] {
        let (clock, woken) = (sim.clock(), woken.clone());
        sim.spawn(async move {
            clock.sleep(after * MS).await;
            woken.borrow_mut().push((name, clock.now()));
        });
    }
    sim.run_for(20 * MS);
    assert_eq!(woken.borrow().len(), 1);
    assert_eq!(sim.now(), 20 * MS);
    while sim.step() {}
    assert_eq!(*woken.borrow(), [("early", 10 * MS), ("late", 30 * MS), ("also late", 30 * MS)]);
    assert_eq!(sim.now(), 30 * MS);
}

#[test]
fn a_future_has_as_long_as_it_has() {
    let mut sim = Simulation::new(1);
    let clock = sim.clock();
    assert_eq!(sim.block_on(20 * MS, clock.sleep(10 * MS)), Ok(()));
    assert_eq!(sim.now(), 10 * MS);
    assert_eq!(sim.block_on(20 * MS, clock.sleep(30 * MS)), Err(TimedOut(20 * MS)));
    assert_eq!(sim.now(), 30 * MS);
    // It left its place.
    assert!(!sim.step());
}

/// Sends one delta, and says when it was read.
fn delta(sim: &mut Simulation, from: &mut End, to: &mut End) -> Result<Duration, TimedOut> {
    delta_within(3, sim, from, to)
}

fn delta_within(
    seconds: u64,
    sim: &mut Simulation,
    from: &mut End,
    to: &mut End,
) -> Result<Duration, TimedOut> {
    let grant = from.peer.send.try_reserve(100).unwrap();
    grant.commit(DeltaFields::new(DocId([1; 16])), 100).unwrap();
    let sent = sim.now();
    sim.block_on(Duration::from_secs(seconds), async {
        to.peer.receive.next().await.unwrap();
    })?;
    Ok(sim.now() - sent)
}

#[test]
fn links_of_both_kinds_open_carry_and_end() {
    for carrier in [Carrier::Frames, Carrier::Datagrams] {
        let mut sim = Simulation::new(1);
        let [one, other] = sim.add_hosts();
        sim.set_path_one_way(one, other, Path { latency: 30 * MS, ..Path::default() });
        sim.set_path_one_way(other, one, Path { latency: 10 * MS, ..Path::default() });
        let options = LinkOptions { carrier, ..LinkOptions::default() };
        let (mut here, mut there) = sim.connect_with(one, other, &options).unwrap();
        let took = delta(&mut sim, &mut here, &mut there).unwrap();
        assert!(took >= 30 * MS && took < 31 * MS, "{carrier:?}: {took:?}");
        let took = delta(&mut sim, &mut there, &mut here).unwrap();
        assert!(took >= 10 * MS && took < 11 * MS, "{carrier:?}: {took:?}");
        here.link.close(CloseCode(1_000), "enough");
        sim.run_for(Duration::from_secs(1));
        assert!(there.link.ended().unwrap().to_string().contains("enough"));
        assert!(here.link.ended().is_some());
        assert!(sim.path_stats(one, other).arrived > 0);
    }
}

#[test]
fn a_host_that_nobody_reaches_is_not_connected() {
    for carrier in [Carrier::Frames, Carrier::Datagrams] {
        let mut sim = Simulation::new(1);
        let [one, other] = sim.add_hosts();
        sim.set_cut(&[one], &[other], true);
        let options = LinkOptions { carrier, ..LinkOptions::default() };
        let ended = sim.connect_with(one, other, &options).unwrap_err();
        assert_eq!(ended, LinkEnded::NotReached(options.connect_timeout));
    }
}

#[test]
fn hosts_that_are_not_cut_off_talk_on() {
    let mut sim = Simulation::new(1);
    let hosts: [Host; 3] = sim.add_hosts();
    let (mut a, mut b) = sim.connect(hosts[0], hosts[1]).unwrap();
    let (mut c, mut d) = sim.connect(hosts[1], hosts[2]).unwrap();
    sim.set_cut(&hosts[..1], &hosts[1..], true);
    assert!(delta(&mut sim, &mut a, &mut b).is_err());
    assert!(delta(&mut sim, &mut c, &mut d).is_ok());
    sim.set_cut(&hosts[..1], &hosts[1..], false);
    assert!(sim.path_stats(hosts[0], hosts[1]).cut > 0);
    let late = sim.block_on(2 * Duration::from_secs(1), b.peer.receive.next());
    assert!(late.is_ok_and(|message| message.is_ok()));
}

#[test]
fn a_moved_host_is_found_again() {
    let mut sim = Simulation::new(1);
    let [one, other] = sim.add_hosts();
    let (mut here, mut there) = sim.connect(one, other).unwrap();
    sim.change_address(one);
    assert!(delta(&mut sim, &mut here, &mut there).is_ok());
    assert!(delta(&mut sim, &mut there, &mut here).is_ok());
    // What is sent to the old address is lost until the peer is heard at the new one.
    sim.change_address(one);
    assert!(delta(&mut sim, &mut there, &mut here).unwrap() > 200 * MS);
    assert!(sim.path_stats(other, one).misaddressed > 0);
}

#[test]
fn only_channels_that_may_lose_messages_do() {
    let lossy = Delivery { reliability: Reliability::MaxRetransmits(0), ..Delivery::default() };
    for (delivery, all) in [(Delivery::default(), true), (lossy, false)] {
        let mut sim = Simulation::new(9);
        let [one, other] = sim.add_hosts();
        sim.set_path(one, other, Path { loss: Loss::Independent(0.2), ..Path::default() });
        let options = LinkOptions { initiator: delivery, ..LinkOptions::default() };
        let (mut here, mut there) = sim.connect_with(one, other, &options).unwrap();
        for number in 0..200_u8 {
            let grant = here.peer.send.try_reserve(10).unwrap();
            grant.commit(DeltaFields::new(DocId([number; 16])), 10).unwrap();
            sim.run_for(10 * MS);
        }
        sim.run_for(Duration::from_secs(10));
        let mut came = Vec::new();
        // What found no place with the application comes as it reads.
        for _ in 0..10 {
            while let Ok(frame) = there.peer.receive.try_next() {
                came.push(frame.delta().unwrap().doc_id().0[0]);
            }
            sim.run_for(10 * MS);
        }
        assert!(came.is_sorted_by(|one, next| one < next), "{came:?}");
        assert_eq!(came.len() == 200, all, "{}", came.len());
        assert!(came.len() > 120);
    }
}

#[test]
fn a_seed_is_a_run() {
    let run = |seed, carrier| {
        let mut sim = Simulation::new(seed);
        let [one, other] = sim.add_hosts();
        let loss = Loss::Independent(0.05);
        let path = Path { loss, jitter: 5 * MS, reorder: 0.05, duplicate: 0.05, ..Path::default() };
        sim.set_path(one, other, path);
        let options = LinkOptions { carrier, ..LinkOptions::default() };
        let (mut here, mut there) = sim.connect_with(one, other, &options).unwrap();
        for _ in 0..20 {
            delta_within(60, &mut sim, &mut here, &mut there).unwrap();
            delta_within(60, &mut sim, &mut there, &mut here).unwrap();
        }
        (sim.now(), sim.fingerprint())
    };
    for carrier in [Carrier::Frames, Carrier::Datagrams] {
        assert_eq!(run(3, carrier), run(3, carrier));
        assert_ne!(run(3, carrier), run(4, carrier));
    }
}

/// SCTP's timer must not start when something was heard last, but now.
#[test]
fn what_is_said_after_a_quiet_while_is_sent_once() {
    let mut sim = Simulation::new(1);
    let [one, other] = sim.add_hosts();
    sim.set_path(one, other, Path { latency: 100 * MS, ..Path::default() });
    let options = LinkOptions { carrier: Carrier::Datagrams, ..LinkOptions::default() };
    let (mut here, mut there) = sim.connect_with(one, other, &options).unwrap();
    for quiet in [900, 1_300, 1_700, 2_100, 2_900] {
        sim.run_for(quiet * MS);
        let before = sim.path_stats(one, other).sent_bytes;
        let grant = here.peer.send.try_reserve(900).unwrap();
        grant.commit(DeltaFields::new(DocId([1; 16])), 900).unwrap();
        sim.run_for(2 * Duration::from_secs(1));
        let sent = sim.path_stats(one, other).sent_bytes - before;
        assert!(there.peer.receive.try_next().is_ok());
        // The message, checks and control messages.
        assert!((964..1_800).contains(&sent), "{sent} bytes after {quiet} ms");
    }
}

#[test]
fn looking_changes_nothing() {
    let run = |look: bool| {
        let mut sim = Simulation::new(3);
        let hosts: [Host; 3] = sim.add_hosts();
        if look {
            assert_eq!(sim.path(hosts[2], hosts[0]), Path::default());
            assert_eq!(sim.path_stats(hosts[0], hosts[1]), PathStats::default());
            sim.set_cut(&hosts[..1], &hosts[2..], true);
        }
        sim.set_default_path(Path { loss: Loss::Independent(0.3), ..Path::default() });
        assert_eq!(sim.path(hosts[0], hosts[1]).loss, Loss::Independent(0.3));
        let (mut here, mut there) = sim.connect(hosts[0], hosts[1]).unwrap();
        delta_within(60, &mut sim, &mut here, &mut there).unwrap();
        (sim.now(), sim.path_stats(hosts[0], hosts[1]))
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn a_host_that_has_moved_is_connected_to() {
    for carrier in [Carrier::Frames, Carrier::Datagrams] {
        let mut sim = Simulation::new(1);
        let [one, other] = sim.add_hosts();
        sim.change_address(one);
        sim.change_address(other);
        let options = LinkOptions { carrier, ..LinkOptions::default() };
        let (mut here, mut there) = sim.connect_with(one, other, &options).unwrap();
        assert!(delta(&mut sim, &mut here, &mut there).is_ok());
    }
}

#[test]
fn a_path_without_rate_fills_its_queue() {
    let path = Path { rate: Some(0), queue: 10_000, ..Path::default() };
    let (_, stats) = through(path, 100);
    assert_eq!((stats.sent, stats.overflowed), (100, 90));
}

/// What is said last waits for nothing but the way: neither for an acknowledgement that SCTP puts off (200
/// ms), nor for a timer. Until both ends are told, and until nothing is left of their link.
#[test]
fn an_orderly_close_waits_for_no_timer() {
    const LATENCY: Duration = Duration::from_millis(10);
    /// How long SCTP may put an acknowledgement off (RFC 9260, section 6.2).
    const DELAYED: Duration = Duration::from_millis(200);
    for carrier in [Carrier::Frames, Carrier::Datagrams] {
        for quiet in [0, 1, 500, 2_900] {
            for closing in [[true, false], [false, true], [true, true]] {
                let (told, gone) = close(carrier, LATENCY, quiet * MS, closing);
                let what = format!("{carrier:?}, quiet for {quiet} ms, {closing:?}");
                assert!(told <= 2 * LATENCY, "{what}: told after {told:?}");
                // Of two closes that cross, one end waits until its answer is acknowledged.
                let crossing = closing == [true, true];
                let most = if crossing { 4 * LATENCY + DELAYED } else { 3 * LATENCY };
                assert!(gone <= most, "{what}: gone after {gone:?}");
            }
        }
    }
}

/// Closes a link at these ends after a quiet while. Gives after how long both were told that it is complete,
/// and after how long nothing was left of it.
fn close(
    carrier: Carrier,
    latency: Duration,
    quiet: Duration,
    closing: [bool; 2],
) -> (Duration, Duration) {
    let mut sim = Simulation::new(1);
    let [one, other] = sim.add_hosts();
    sim.set_path(one, other, Path { latency, ..Path::default() });
    let options = LinkOptions { carrier, ..LinkOptions::default() };
    let (here, there) = sim.connect_with(one, other, &options).unwrap();
    sim.run_for(quiet);
    let asked = sim.now();
    let ends = [here, there];
    for (end, closes) in ends.iter().zip(closing) {
        if closes {
            end.link.close(CloseCode::NORMAL, "");
        }
    }
    let mut told = None;
    while !sim.ends.is_empty() {
        if ends.iter().all(|end| end.link.ended().is_some()) {
            told.get_or_insert(sim.now() - asked);
        }
        assert!(sim.step());
    }
    for end in ends {
        let ended = end.link.ended().unwrap();
        let LinkEnded::Session(
            Closed::ByUs { complete: true, .. } | Closed::ByPeer { complete: true, .. },
        ) = ended
        else {
            panic!("{ended}")
        };
    }
    (told.unwrap(), sim.now() - asked)
}
