use super::*;
use crate::packet::seal;

const MS: Duration = Duration::from_millis(1);

fn init(tag: u32) -> Init {
    Init { tag, window: 1 << 20, streams: [3, 9], tsn: 100 * tag, forward_tsn: true }
}

fn pair() -> [Handshake; 2] {
    [Handshake::new(init(1)), Handshake::new(init(2))]
}

/// Moves packets until nothing is said; `lost` says which packets get lost. Gives whom each side found.
fn settle(ends: &mut [Handshake; 2], lost: impl Fn(usize) -> bool) -> [Option<Init>; 2] {
    let (mut found, mut now, mut sent) = ([None; 2], Duration::ZERO, 0);
    for _ in 0..200 {
        let mut quiet = true;
        for here in [0, 1] {
            while let Some(packet) = ends[here].poll_packet(now) {
                quiet = false;
                sent += 1;
                if lost(sent - 1) {
                    continue;
                }
                let there = 1 - here;
                if let Some(peer) = ends[there].handle_packet(&packet, now) {
                    assert!(found[there].replace(peer).is_none(), "it ends once");
                }
            }
        }
        if quiet {
            let next = ends.iter().filter_map(Handshake::poll_timeout).min();
            let Some(next) = next else { break };
            now = now.max(next);
        }
    }
    found
}

#[test]
fn each_side_may_begin_and_both_at_a_time() {
    for begins in [&[0][..], &[1], &[0, 1], &[1, 0]] {
        let mut ends = pair();
        begins.iter().for_each(|end| ends[*end].begin(Duration::ZERO));
        assert_eq!(settle(&mut ends, |_| false), [Some(init(2)), Some(init(1))], "{begins:?}");
        assert!(ends.iter().all(Handshake::is_done));
    }
}

#[test]
fn each_loss_is_got_over() {
    for lost in 0_u32..256 {
        for begins in [&[0][..], &[0, 1]] {
            let mut ends = pair();
            begins.iter().for_each(|end| ends[*end].begin(Duration::ZERO));
            let is_lost = |packet| packet < 8 && lost >> packet & 1 == 1;
            let found = settle(&mut ends, is_lost);
            assert_eq!(found, [Some(init(2)), Some(init(1))], "{lost:#b} {begins:?}");
        }
    }
}

#[test]
fn nothing_is_kept_of_inits_and_repeats_change_nothing() {
    let [mut alice, mut bob] = pair();
    for tag in 1..1_000 {
        let foreign = packet_of(0, &init(tag).chunk(None));
        assert_eq!(bob.handle_packet(&foreign, Duration::ZERO), None);
        assert!(bob.poll_packet(Duration::ZERO).is_some() && !bob.is_done());
    }
    alice.begin(Duration::ZERO);
    let first = alice.poll_packet(Duration::ZERO).unwrap();
    assert_eq!(alice.poll_packet(399 * MS), None);
    assert_eq!(alice.poll_packet(400 * MS).unwrap(), first);
    bob.handle_packet(&first, Duration::ZERO);
    let ack = bob.poll_packet(Duration::ZERO).unwrap();
    alice.handle_packet(&ack, Duration::ZERO);
    let echo = alice.poll_packet(Duration::ZERO).unwrap();
    assert_eq!(bob.handle_packet(&echo, Duration::ZERO), Some(init(1)));
    // The word for it gets lost; the cookie comes again.
    bob.poll_packet(Duration::ZERO).unwrap();
    assert_eq!(bob.handle_packet(&echo, Duration::ZERO), None);
    let last = bob.poll_packet(Duration::ZERO).unwrap();
    assert_eq!(alice.handle_packet(&last, Duration::ZERO), Some(init(2)));
    for late in [&first, &ack, &last] {
        assert_eq!(alice.handle_packet(late, Duration::ZERO), None);
        assert_eq!(bob.handle_packet(late, Duration::ZERO), None);
    }
    assert_eq!((alice.poll_packet(MS), bob.poll_packet(MS)), (None, None));
}

#[test]
fn data_that_overtakes_the_last_word_ends_it_too() {
    let [mut alice, mut bob] = pair();
    alice.begin(Duration::ZERO);
    let packet = alice.poll_packet(Duration::ZERO).unwrap();
    bob.handle_packet(&packet, Duration::ZERO);
    let data = packet_of(1, &finish(vec![DATA, 0, 0, 0]));
    assert_eq!(alice.handle_packet(&data, Duration::ZERO), None, "it has no cookie yet");
    let packet = bob.poll_packet(Duration::ZERO).unwrap();
    alice.handle_packet(&packet, Duration::ZERO);
    for not_ours in [packet_of(3, &finish(vec![DATA, 0, 0, 0])), data[..14].to_vec()] {
        assert_eq!(alice.handle_packet(&not_ours, Duration::ZERO), None);
    }
    assert_eq!(alice.handle_packet(&data, Duration::ZERO), Some(init(2)));
}

#[test]
fn what_is_written_is_read_and_no_bytes_make_it_panic() {
    for forward_tsn in [false, true] {
        let init = Init { forward_tsn, ..init(7) };
        assert_eq!(Init::read(&init.chunk(None)), Some(init));
        assert_eq!(Init::read(&init.chunk(Some(b"12345"))), Some(init));
        assert_eq!(Init::read_whole(&init.chunk(None)), Some(init));
        assert_eq!(Init::from_cookie(&init.cookie()), Some(init));
    }
    let cut = init(7).chunk(None)[4..].to_vec();
    for wrong in [vec![], vec![0; 3], init(0).chunk(None), cut] {
        assert_eq!(Init::read_whole(&wrong), None, "{wrong:?}");
    }
    let mut whole = packet_of(0, &init(7).chunk(Some(b"cookie")));
    for at in 0..whole.len() {
        for value in [0, 1, 7, 0x7f, 0x80, 0xff] {
            let before = std::mem::replace(&mut whole[at], value);
            for len in [whole.len(), at] {
                let mut damaged = whole[..len].to_vec();
                if len >= HEADER {
                    seal(&mut damaged);
                }
                for mut end in pair() {
                    end.begin(Duration::ZERO);
                    end.handle_packet(&damaged, Duration::ZERO);
                }
            }
            whole[at] = before;
        }
    }
}
