//! Stacks that do as others do what RFCs leave open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deltawire_link::{Datagram, DatagramTransport, MessageTransport, Output};
use deltawire_webrtc::{AnyEngine, Engine};
use str0m::channel::ChannelConfig;
use str0m::config::Fingerprint;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, IceCreds, Input, Rtc, RtcConfig};

use crate::pair::{address, config};

/// What follows this in a description, on its line.
fn value<'a>(description: &'a str, start: &str) -> &'a str {
    let line = description.lines().find_map(|line| line.strip_prefix(start));
    line.unwrap_or_else(|| panic!("{start} in {description}"))
}

/// Who begins SCTP on the side that answered, which is the client of DTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    Never,
    AtOnce,
    At(Duration),
}

/// When our engine, which offered, is open beside such a peer.
fn opens(begins: Begins) -> Option<Duration> {
    const STEP: Duration = Duration::from_millis(10);
    let (ours, theirs): (SocketAddr, SocketAddr) = (address(0), address(1));
    let start = Instant::now();
    let (mut engine, offer) = AnyEngine::offer(&config(), &[ours], Duration::ZERO).unwrap();
    let mut foreign: Rtc = RtcConfig::new().clear_codecs().build(start);
    foreign.add_local_candidate(Candidate::host(theirs, Protocol::Udp).unwrap());
    foreign.add_remote_candidate(
        Candidate::from_sdp_string(&format!("candidate:{}", value(&offer, "a=candidate:")))
            .unwrap(),
    );
    let mut api = foreign.direct_api();
    api.set_ice_controlling(false);
    api.set_remote_ice_credentials(IceCreds {
        ufrag: value(&offer, "a=ice-ufrag:").to_owned(),
        pass: value(&offer, "a=ice-pwd:").to_owned(),
    });
    let fingerprint: Fingerprint = value(&offer, "a=fingerprint:").parse().unwrap();
    api.set_remote_fingerprint(fingerprint);
    let IceCreds { ufrag, pass } = api.local_ice_credentials();
    let answer = format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mid}\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
         a=mid:{mid}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pass}\r\na=setup:active\r\n\
         a=fingerprint:{}\r\na=candidate:1 1 udp 2122260223 {} {} typ host\r\n\
         a=sctp-port:5000\r\na=max-message-size:65536\r\n",
        api.local_dtls_fingerprint(),
        theirs.ip(),
        theirs.port(),
        mid = value(&offer, "a=mid:"),
    );
    api.start_dtls(true).unwrap();
    match begins {
        Begins::Never => api.start_sctp(false),
        Begins::AtOnce => api.start_sctp(true),
        Begins::At(_) => {}
    }
    for stream in 0..3 {
        let negotiated = Some(stream);
        api.create_data_channel(ChannelConfig { negotiated, ..ChannelConfig::default() });
    }
    engine.accept_answer(&answer, Duration::ZERO).unwrap();
    let (mut now, mut opened, mut timeout) = (Duration::ZERO, None, None::<Duration>);
    while now < Duration::from_secs(12) && opened.is_none() {
        if begins == Begins::At(now) {
            foreign.direct_api().start_sctp(true);
        }
        let _ = foreign.handle_input(Input::Timeout(start + now));
        // What is said in a step is heard in the next.
        let mut said = Vec::new();
        while let str0m::Output::Transmit(_) | str0m::Output::Event(_) = {
            let output = foreign.poll_output().unwrap();
            if let str0m::Output::Transmit(transmit) = &output {
                said.push(transmit.contents.to_vec());
            }
            output
        } {}
        if timeout.is_none_or(|at| at <= now) {
            engine.handle_timeout(now);
        }
        let mut heard = Vec::new();
        loop {
            match engine.poll_output().unwrap() {
                Output::Transmit(transmit) => heard.push(transmit.bytes),
                Output::Open => opened = Some(now),
                Output::Timeout(at) => {
                    timeout = at;
                    break;
                }
                _ => {}
            }
        }
        now += STEP;
        for bytes in said {
            engine.handle_datagram(
                Datagram { source: theirs, destination: ours, bytes: &bytes },
                now,
            );
            timeout = Some(now);
        }
        for bytes in heard {
            let receive = Receive::new(Protocol::Udp, ours, theirs, &bytes).unwrap();
            let _ = foreign.handle_input(Input::Receive(start + now, receive));
        }
    }
    opened
}

/// Some let who offered begin SCTP, though they are the client of DTLS: so whoever waits for the other
/// begins after a while.
#[test]
fn the_client_of_dtls_may_leave_sctp_to_the_other() {
    let opened = opens(Begins::Never).expect("a link");
    assert!(opened < Duration::from_secs(2), "{opened:?}");
}

#[test]
fn the_client_of_dtls_may_begin_sctp() {
    let opened = opens(Begins::AtOnce).expect("a link");
    assert!(opened < Duration::from_millis(500), "{opened:?}");
}

/// Both begin at about the same time (RFC 9260, section 5.2).
#[test]
fn both_may_begin_sctp() {
    for at in (900..1_400).step_by(50) {
        let begins = Begins::At(Duration::from_millis(at));
        let opened = opens(begins).unwrap_or_else(|| panic!("{begins:?}"));
        println!("{begins:?}: {opened:?}");
    }
}
