//! What a stranger cannot make an engine hold, or do, with a session description.

use std::time::Duration;

use allocation_counter::measure;
use deltawire_sdp::grammar::Candidate;
use deltawire_webrtc::{AnyEngine, Engine};

use crate::pair::{address, config};

/// What an engine that answered takes, bytes: all of it, with DTLS, ICE and SCTP.
const ANSWERED: u64 = 160 << 10;

/// How much more an offer may take while it is read, bytes: copies of its values.
const READING: u64 = 32 << 10;

const CANDIDATE: &str = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";

/// Offers of up to 64 KiB, and what is in them.
fn hostile() -> Vec<(&'static str, String)> {
    let (_engine, offer) = AnyEngine::offer(&config(), &[address(0)], Duration::ZERO).unwrap();
    let fill = |line: &str| line.repeat(((64 << 10) - offer.len() - 64) / line.len());
    let after = |line: &str| offer.clone() + &fill(line);
    let before = |line: &str| offer.replacen("m=", &(fill(line) + "m="), 1);
    let candidates = |count: usize| {
        (0..count).map(|at| CANDIDATE.replace("61764", &(1_000 + at).to_string())).collect()
    };
    let more: String = candidates(63);
    let many: String = candidates(1_000);
    vec![
        ("many ssrc", after("a=ssrc:1 cname:x\r\n")),
        ("many ssrc of the session", before("a=ssrc:1 cname:x\r\n")),
        (
            "sections of sound",
            after("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=sendrecv\r\n"),
        ),
        ("short sections", after("m=audio 9 RTP/SAVPF 1\r\n")),
        ("sections of data", after("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")),
        ("formats", after("a=rtpmap:111 opus/48000/2\r\na=fmtp:111 a=b;c=d\r\n")),
        ("fingerprints", after("a=fingerprint:sha-512 00:11\r\n")),
        ("groups", before("a=group:BUNDLE 0 1 2 3\r\n")),
        ("one long line", after("a=x") + "\r\n"),
        ("empty lines", after("\n")),
        ("as many candidates as there may be", offer.clone() + &more),
        ("too many candidates", offer.clone() + &many),
    ]
}

#[test]
fn descriptions_take_what_they_are_worth() {
    let config = config();
    // What is made once is made.
    let (_engine, offer) = AnyEngine::offer(&config, &[address(0)], Duration::ZERO).unwrap();
    drop(AnyEngine::answer(&config, &[address(1)], &offer, Duration::ZERO).unwrap());
    for (what, offer) in hostile() {
        let mut answered = None;
        let taken = measure(|| {
            answered = Some(AnyEngine::answer(&config, &[address(1)], &offer, Duration::ZERO));
        });
        let (most, count, kept) = (taken.bytes_max, taken.count_total, taken.bytes_current);
        println!("{what}: {most} bytes, {count} allocations, keeps {kept}");
        assert!(most <= ANSWERED + READING, "{what}: {most} bytes");
        assert!(count <= 4_000, "{what}: {count} allocations");
    }
}

/// Answers come from servers that an application was told of: they may name no more.
#[test]
fn candidates_of_answers_are_bounded() {
    for (count, taken) in [(63, true), (64, false), (1_000, false)] {
        let (mut engine, offer) =
            AnyEngine::offer(&config(), &[address(0)], Duration::ZERO).unwrap();
        let (_other, answer) =
            AnyEngine::answer(&config(), &[address(1)], &offer, Duration::ZERO).unwrap();
        // One is its own.
        let answer = answer + &CANDIDATE.repeat(count);
        let accepted = engine.accept_answer(&answer, Duration::ZERO);
        assert_eq!(accepted.is_ok(), taken, "{count}: {accepted:?}");
    }
    let (mut engine, offer) = AnyEngine::offer(&config(), &[address(0)], Duration::ZERO).unwrap();
    let (_other, answer) =
        AnyEngine::answer(&config(), &[address(1)], &offer, Duration::ZERO).unwrap();
    let long = format!("{} x {}\r\n", CANDIDATE.trim_end(), "1".repeat(512));
    engine.accept_answer(&(answer + &long), Duration::ZERO).unwrap_err();
}

/// Whatever is said to be usable, the stack reads.
#[test]
fn usable_candidates_are_the_stacks() {
    for (candidate, address) in [
        ("candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host", "192.0.2.1:61764"),
        (
            "candidate:1 1 UDP 1 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 9 generation 0",
            "[2001:db8::1]:9",
        ),
        ("candidate:a+/ 1 udp 0 0.0.0.0 0 typ relay ufrag EsAw network-cost 999", "0.0.0.0:0"),
    ] {
        assert_eq!(Candidate::read(candidate), Ok(Candidate::Usable(candidate)));
        assert_eq!(Candidate::address(candidate), address.parse().ok());
        assert!(str0m::Candidate::from_sdp_string(candidate).is_ok(), "{candidate}");
    }
}
