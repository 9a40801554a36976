use super::*;
use crate::{Fingerprint, Fingerprints, HashFunction, LocalDescription};

const CANDIDATE: &str = "candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host";

fn print() -> String {
    (0..32).map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// A description that can be used.
fn good() -> String {
    LocalDescription {
        user_fragment: "EsAw".to_owned(),
        password: "P2uYro0UCOQ4zxjKXaWCBui1".to_owned(),
        fingerprint: format!("sha-256 {}", print()),
        ice_lite: true,
        sctp_init: Some("AQAA".to_owned()),
        max_message_size: 262_144,
        checks: true,
        burst: 1_048_576,
        candidates: vec![CANDIDATE.to_owned()],
        ..LocalDescription::default()
    }
    .write()
}

/// The same with something in place of something.
fn with(from: &str, to: &str) -> String {
    let good = good();
    assert!(good.contains(from), "{from}");
    good.replace(from, to)
}

fn error(text: &str) -> DescriptionError {
    Description::read(text).unwrap_err()
}

#[test]
fn what_is_written_can_be_read() {
    let text = good();
    let mut fingerprints = Fingerprints::default();
    let hash: Vec<u8> = (0..32).collect();
    assert!(fingerprints.add(Fingerprint::new(HashFunction::Sha256, &hash).unwrap()));
    let expected = Description {
        transport: "UDP/DTLS/SCTP",
        mid: "0",
        bundled: true,
        user_fragment: "EsAw",
        password: "P2uYro0UCOQ4zxjKXaWCBui1",
        fingerprints,
        setup: Setup::ActPass,
        ice_lite: true,
        sctp_init: Some("AQAA"),
        max_message_size: 262_144,
        checks: true,
        burst: 1_048_576,
        candidates: vec![CANDIDATE],
        named: 1,
    };
    assert_eq!(Description::read(&text), Ok(expected));
}

/// As browsers write it: credentials for the session, names of hosts, lines that mean nothing here.
#[test]
fn descriptions_of_others_are_read() {
    let text = format!(
        "v=0\no=mozilla...THIS_IS_SDPARTA-99.0 4858251974351650128 0 IN IP4 0.0.0.0\ns=-\nt=0 0\n\
         a=fingerprint:SHA-256 {}\na=fingerprint:sha-512 {}\na=fingerprint:md5 00\na=group:BUNDLE 0 data\n\
         a=ice-options:trickle\na=msid-semantic:WMS *\na=ice-ufrag:abcd\na=setup:active\n\
         m=application 54321 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 203.0.113.141\n\
         b=AS:30\na=candidate:0 1 UDP 2122187007 4f5a.local 54321 typ host\n\
         a=candidate:1 1 TCP 2105458943 192.0.2.2 9 typ host tcptype active\na={CANDIDATE}\n\
         a=sendrecv\na=end-of-candidates\na=ice-pwd:{}\na=ice-ufrag:wxyz\na=mid:data\n\
         a=setup:passive\na=sctp-port:5000\na=x-later\n",
        print(),
        ["5A"; 64].join(":"),
        "p".repeat(22)
    );
    let read = Description::read(&text).unwrap();
    assert_eq!(read.fingerprints.iter().count(), 2);
    let strongest: Vec<_> = read.fingerprints.strongest().copied().collect();
    assert_eq!(strongest, [Fingerprint::new(HashFunction::Sha512, &[0x5a; 64]).unwrap()]);
    assert_eq!((read.user_fragment, read.setup), ("wxyz", Setup::Passive));
    assert_eq!((read.mid, read.bundled, read.ice_lite, read.checks), ("data", true, false, false));
    assert_eq!((read.max_message_size, read.sctp_init), (65_536, None));
    assert_eq!((read.named, &read.candidates[..]), (3, &[CANDIDATE][..]));
}

#[test]
fn what_is_no_description_is_malformed() {
    for text in ["", "\r\n", "hello", "{\"type\":\"offer\"}", "v=1\r\n", "o=x\r\nv=0\r\n", "m=x"] {
        let error = error(text);
        assert!(matches!(error, DescriptionError::Malformed { line: 1, .. }), "{text:?}: {error}");
    }
    let broken = with("a=setup:actpass", "nonsense");
    assert!(matches!(error(&broken), DescriptionError::Malformed { field: "a line", .. }));
}

#[test]
fn what_breaks_a_rule_is_named() {
    for (from, to, field) in [
        ("max-message-size:262144", "max-message-size:1x", "max-message-size"),
        ("max-message-size:262144", "max-message-size:-1", "max-message-size"),
        ("deltawire-burst:1048576", "deltawire-burst:4294967296", "x-deltawire-burst"),
        ("ice-ufrag:EsAw", "ice-ufrag:abc", "ice-ufrag"),
        ("ice-ufrag:EsAw", "ice-ufrag:EsAw\r\na=ice-ufrag:EsAx", "ice-ufrag"),
        ("ice-pwd:P2uY", "ice-pwd:P2 Y", "ice-pwd"),
        ("setup:actpass", "setup:holdconn", "setup"),
        ("mid:0", "mid:", "mid"),
        ("mid:0", "mid:a\rb", "mid"),
        (":1E:1F", ":1E", "fingerprint"),
        (":1E:1F", ":1E:1F:20", "fingerprint"),
        (":1E:1F", ":1E:+1", "fingerprint"),
        (":1E:1F", ":1E:1\u{e9}", "fingerprint"),
        ("sha-256 00", "sha-256", "fingerprint"),
        ("typ host", "typ", "candidate"),
        (" 61764 ", " 65536 ", "candidate"),
    ] {
        match error(&with(from, to)) {
            DescriptionError::Malformed { field: about, value, .. } => {
                assert_eq!(about, field, "{to}");
                assert!(value.len() <= 70 && !value.contains("P2"), "{value}");
            }
            other => panic!("{to}: {other}"),
        }
    }
    for field in ["ice-ufrag", "ice-pwd", "fingerprint"] {
        let without = with(&format!("a={field}"), "a=x");
        assert_eq!(error(&without), DescriptionError::Missing { field });
    }
}

#[test]
fn what_cannot_be_done_is_named() {
    let sha1 = format!("sha-1 {}", &print()[..59]);
    let sha256 = format!("sha-256 {}", print());
    for (from, to, field) in [
        ("max-message-size:262144", "max-message-size:79", "max-message-size"),
        ("sctp-port:5000", "sctp-port:5001", "sctp-port"),
        (sha256.as_str(), sha1.as_str(), "fingerprint"),
    ] {
        match error(&with(from, to)) {
            DescriptionError::Unsupported { field: about, .. } => assert_eq!(about, field),
            other => panic!("{to}: {other}"),
        }
    }
}

#[test]
fn only_one_section_of_data_channels_is_taken() {
    let good = good();
    let (session, section) = good.split_at(good.find("m=").unwrap());
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=ssrc:1 cname:x\r\n";
    for more in [
        format!("{session}{audio}{section}"),
        format!("{session}{section}{audio}"),
        format!("{session}{section}{section}"),
    ] {
        let error = error(&more);
        assert!(matches!(error, DescriptionError::Unsupported { field: "m", .. }), "{error}");
    }
    for none in [
        session.to_owned(),
        format!("{session}{audio}"),
        with("m=application 9", "m=application 0"),
        with("UDP/DTLS/SCTP", "UDP/TLS/RTP/SAVPF"),
        with(" webrtc-datachannel", " 5000\r\na=sctpmap:5000 webrtc-datachannel 1024"),
    ] {
        assert_eq!(error(&none), DescriptionError::NoChannels, "{none}");
    }
}

#[test]
fn the_size_of_messages_has_its_default() {
    let size = |to| {
        Description::read(&with("a=max-message-size:262144", to)).map(|it| it.max_message_size)
    };
    assert_eq!(size("a=max-message-size:0"), Ok(usize::MAX));
    assert_eq!(size("a=x"), Ok(65_536));
    assert_eq!(size("a=max-message-size:80"), Ok(80));
}

#[test]
fn lengths_and_numbers_are_bounded() {
    let long = good() + &"a=x\r\n".repeat(MAX_DESCRIPTION_LEN / 5);
    let limit = MAX_DESCRIPTION_LEN;
    assert!(matches!(error(&long), DescriptionError::TooLong { limit: at, .. } if at == limit));
    let init = with("a=sctp-init:AQAA", &format!("a=sctp-init:{}", "A".repeat(1_025)));
    assert!(matches!(error(&init), DescriptionError::TooLong { field: "sctp-init", .. }));
    let line = format!("a={CANDIDATE}\r\n");
    for other in [line.clone(), line.replace("udp", "tcp")] {
        let many = |count: usize| with(&line, &(line.clone() + &other.repeat(count - 1)));
        assert_eq!(Description::read(&many(64)).unwrap().named, 64);
        let limit = MAX_CANDIDATES;
        assert_eq!(error(&many(65)), DescriptionError::TooManyCandidates { limit });
    }
}

#[test]
fn no_text_makes_it_panic() {
    let good = good();
    for end in 0..good.len() {
        read_description(&good[..end]);
        for byte in [b'\n', b' ', b':', b'0', b'=', 0] {
            let mut damaged = good.clone().into_bytes();
            damaged[end] = byte;
            read_description(std::str::from_utf8(&damaged).unwrap());
        }
    }
    assert!(read_description(&good));
}
