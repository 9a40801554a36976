//! What nodes do not do, and what they say of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use deltawire::sdp::DescriptionError;
use deltawire::signalling::{
    BindError, ClientOptions, Rate, SignallingClient, SignallingError, SignallingOptions,
    SignallingServer, Token,
};
use deltawire::webrtc::EngineError;
use deltawire::{
    AnswerError, BuildError, CapacityError, ConnectError, LinkEnded, Node, NodeBuilder, NodeLimits,
    PacingLimits, TransportError,
};
use deltawire_channels::Limits;
use tokio::net::UdpSocket;

use crate::deltas::transfer;
use crate::nodes::{
    ANY_PORT, LOOPBACK, builder, client, deserted, down, join, listening, pair, serve, serve_with,
    server, soon, until,
};
use crate::random::Random;

#[tokio::test]
async fn an_address_that_nobody_serves_is_named() {
    let client = client();
    let (_socket, url) = deserted();
    match soon("a refusal", client.connect(&url)).await.unwrap_err() {
        ConnectError::Signalling(SignallingError::Unreachable { url: named, .. }) => {
            assert_eq!(named, url);
        }
        other => panic!("{other:?}"),
    }
    assert!(client.peers().is_empty());
}

#[tokio::test]
async fn what_is_no_address_is_refused_as_such() {
    let client = client();
    let mut kinds = vec!["http", "https"];
    kinds.extend(cfg!(feature = "quic").then_some("quic"));
    kinds.extend(["ws", "wss"]);
    kinds.extend(cfg!(feature = "tcp").then_some("tcp"));
    kinds.extend(cfg!(all(feature = "unix", unix)).then_some("unix"));
    kinds.extend(cfg!(feature = "sctp").then_some("sctp"));
    let kinds = kinds.join(", ");
    for url in ["", "nonsense", "127.0.0.1:80", "ftp://127.0.0.1/webrtc", "gopher:/a"] {
        match soon("a refusal", client.connect(url)).await.unwrap_err() {
            ConnectError::NoKind { url: named, known } => {
                assert_eq!((&*named, &*known), (url, &*kinds));
            }
            other => panic!("{url:?}: {other:?}"),
        }
    }
    let error = soon("a refusal", client.connect("http://")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Signalling(SignallingError::Url { .. })), "{error:?}");
    let secret = soon("a refusal", client.connect("ftp://user:secret@host/")).await.unwrap_err();
    assert!(!secret.to_string().contains("secret"), "{secret}");
    assert!(client.peers().is_empty());
}

#[tokio::test]
async fn ports_in_use_are_named() {
    let server = server();
    let taken = server.addresses().next().unwrap();
    match builder().listen(taken).build() {
        Err(BuildError::Listen { address, .. }) => assert_eq!(address, taken),
        other => panic!("{other:?}"),
    }
    let options = SignallingOptions::default;
    let first = SignallingServer::bind(ANY_PORT, server.router(options())).await.unwrap();
    let second = SignallingServer::bind(first.local_addr(), server.router(options())).await;
    match second {
        Err(BindError::InUse { address }) => assert_eq!(address, first.local_addr()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_address_that_says_nothing_has_to_be_advertised() {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    match builder().listen(any).build() {
        Err(BuildError::Advertise { address }) => assert_eq!(address, any),
        other => panic!("{other:?}"),
    }
    let server = builder().listen(any).advertise([LOOPBACK]).build().unwrap();
    assert!(server.addresses().all(|address| address.ip() == LOOPBACK && address.port() != 0));
    let ((mut near, _near_link), (mut far, _far_link)) = join(&client(), &server).await;
    transfer(&mut near.send, &mut far.receive, &[0, 1_000, 100_000]).await;
    transfer(&mut far.send, &mut near.receive, &[0, 1_000, 100_000]).await;
}

/// The status that connecting was refused with, and the kind of problem.
async fn refused(client: &Node, url: &str) -> (u16, String) {
    match soon("a refusal", client.connect(url)).await.unwrap_err() {
        ConnectError::Signalling(SignallingError::Refused { status, problem, .. }) => {
            (status, problem.unwrap().kind)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let server = server();
    let token = |text: &str| Some(Token::new(text).unwrap());
    let options = SignallingOptions { token: token("right-token-1234"), ..Default::default() };
    let (url, _serving) = serve_with(&server, ANY_PORT, options).await;
    let with = |token| {
        let options = ClientOptions { token, ..ClientOptions::default() };
        builder().signalling(options).build().unwrap()
    };
    for wrong in [None, token("wrong-token-1234")] {
        assert_eq!(refused(&with(wrong), &url).await.0, 401);
    }
    assert!(server.peers().is_empty());
    let right = with(token("right-token-1234"));
    let (connected, accepted) =
        soon("a link", async { tokio::join!(right.connect(&url), server.accept()) }).await;
    connected.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn a_full_node_says_so_to_those_that_connect() {
    let limits = NodeLimits { max_peers: 1, ..NodeLimits::default() };
    let server = listening(builder().node_limits(limits));
    let (url, _serving) = serve(&server, ANY_PORT).await;
    let first = client();
    let (_peer, link) = soon("a link", first.connect(&url)).await.unwrap();
    let (status, kind) = refused(&client(), &url).await;
    assert_eq!((status, kind.as_str()), (503, "urn:deltawire:signalling:too-many-peers"));

    // There is a place again when the first has gone.
    link.close(deltawire_framing::control::CloseCode::NORMAL, "");
    until("the place", || server.peers().is_empty()).await;
    let _second = soon("a link", client().connect(&url)).await.unwrap();
}

#[tokio::test]
async fn one_address_takes_no_more_than_its_places() {
    let limits = NodeLimits { max_per_address: 2, ..NodeLimits::default() };
    let server = listening(builder().node_limits(limits));
    let (url, _serving) = serve(&server, ANY_PORT).await;
    let client = client();
    let (_first, link) = soon("a link", client.connect(&url)).await.unwrap();
    let _second = soon("a link", client.connect(&url)).await.unwrap();
    let (status, kind) = refused(&client, &url).await;
    assert_eq!((status, kind.as_str()), (503, "urn:deltawire:signalling:too-many-of-address"));
    // Offers that came by other means have no address.
    let _third = join(&client, &server).await;

    // It keeps its place until its last words have been heard.
    link.close(deltawire_framing::control::CloseCode::NORMAL, "");
    let _fourth = soon("the place", async {
        loop {
            match client.connect(&url).await {
                Ok(fourth) => break fourth,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
}

#[tokio::test]
async fn forty_that_come_at_once_from_one_address_all_connect() {
    let server = server();
    let (url, _serving) = serve_with(&server, ANY_PORT, SignallingOptions::default()).await;
    let client = client();
    let connecting: Vec<_> = (0..40)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move { client.connect(&url).await })
        })
        .collect();
    for connecting in connecting {
        soon("a link", connecting).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_that_says_when_is_asked_again_then() {
    let rate = Rate { burst: NonZeroU16::MIN, refill: Duration::from_millis(200) };
    let server = server();
    let options = SignallingOptions { rate, ..SignallingOptions::default() };
    let (url, _serving) = serve_with(&server, ANY_PORT, options).await;
    let client = client();
    for _ in 0..2 {
        soon("a link", client.connect(&url)).await.unwrap();
    }
    let options = ClientOptions { patience: Duration::ZERO, ..ClientOptions::default() };
    let hasty = builder().signalling(options).build().unwrap();
    assert_eq!(refused(&hasty, &url).await.0, 429);
}

#[tokio::test]
async fn a_full_node_connects_to_nobody() {
    let limits = NodeLimits { max_peers: 1, ..NodeLimits::default() };
    let client = builder().node_limits(limits).build().unwrap();
    let _offer = client.offer(LOOPBACK).unwrap();
    let error = client.offer(LOOPBACK).unwrap_err();
    assert!(matches!(error, ConnectError::Capacity(CapacityError::Peers { limit: 1 })), "{error}");
}

#[tokio::test]
async fn those_that_only_begin_take_a_bounded_number_of_places_for_a_bounded_time() {
    let limits = NodeLimits { max_pending: 2, ..NodeLimits::default() };
    let timeout = Duration::from_millis(300);
    let server = listening(builder().node_limits(limits).connect_timeout(timeout));
    let (url, _serving) = serve(&server, ANY_PORT).await;
    // It does not wait for a place.
    let options = ClientOptions { patience: Duration::ZERO, ..ClientOptions::default() };
    let client = builder().signalling(options).build().unwrap();
    let offers = [(); 2].map(|()| client.offer(LOOPBACK).unwrap());
    for offer in &offers {
        server.answer(offer.sdp()).await.unwrap();
    }
    let error = server.answer(offers[0].sdp()).await.unwrap_err();
    assert!(matches!(error, AnswerError::Capacity(CapacityError::Pending { limit: 2 })), "{error}");
    let (status, kind) = refused(&client, &url).await;
    assert_eq!((status, kind.as_str()), (503, "urn:deltawire:signalling:too-many-pending"));
    for _ in 0..2 {
        assert_eq!(down(&server).await.1, LinkEnded::NotReached(timeout));
    }
    soon("a link", client.connect(&url)).await.unwrap();
}

#[tokio::test]
async fn offers_that_cannot_be_used_are_refused_by_what_is_wrong_with_them() {
    let server = server();
    let (url, _serving) = serve(&server, ANY_PORT).await;
    let client = client();
    let offer = client.offer(LOOPBACK).unwrap();
    let good = offer.sdp();
    let posts = SignallingClient::new(ClientOptions::default()).unwrap();
    let without = |start: &str| {
        good.lines().filter(|line| !line.starts_with(start)).collect::<Vec<_>>().join("\r\n")
            + "\r\n"
    };
    let cases = [
        ("nothing", String::new(), 400),
        ("no description", "hello".to_owned(), 400),
        ("no m=application", good.split("m=application").next().unwrap().to_owned(), 422),
        ("no SCTP", good.replace("UDP/DTLS/SCTP", "UDP/TLS/RTP/SAVPF"), 422),
        ("a port of 0", good.replace("m=application 9", "m=application 0"), 422),
        ("no version", without("v="), 400),
        ("a size that is no number", good.replace("max-message-size:", "max-message-size:x"), 400),
        ("a broken line", good.replace("a=setup", "zzz"), 400),
        ("no fingerprint", without("a=fingerprint"), 422),
        ("a weak fingerprint", good.replace("sha-256", "sha-1"), 422),
        ("a short fingerprint", good.replace("sha-256 ", "sha-256 00:"), 400),
        ("a broken candidate", good.replace(" typ ", " type "), 400),
        ("another section", good.to_owned() + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", 422),
        ("no credentials", without("a=ice-pwd"), 422),
    ];
    for (what, sdp, expected) in cases {
        match soon("a refusal", posts.offer(&url, sdp.clone())).await {
            Err(SignallingError::Refused { status, problem, .. }) => {
                let problem = problem.unwrap();
                assert_eq!(status, expected, "{what}: {problem}");
                assert!(!problem.detail.is_empty(), "{what}");
            }
            other => panic!("{what}: {other:?}\n{sdp}"),
        }
    }
    until("no places to be taken", || server.peers().is_empty()).await;
    posts.offer(&url, good).await.unwrap();
}

/// Descriptions come from strangers.
#[tokio::test]
async fn no_description_makes_a_node_panic() {
    let limits = NodeLimits { max_pending: 1_000, ..NodeLimits::default() };
    let builder = builder().node_limits(limits).connect_timeout(Duration::from_millis(20));
    let (client, server) = (builder.clone().build().unwrap(), listening(builder));
    let mut random = Random(11);
    let mut answered = 0;
    for _ in 0..200 {
        let offer = client.offer(LOOPBACK).unwrap();
        let damaged = damage(offer.sdp(), &mut random);
        match server.answer(&damaged).await {
            Ok(answer) => {
                answered += 1;
                let damaged = damage(&answer, &mut random);
                // It may even open, when what was damaged does not matter.
                let _ = soon("the outcome", offer.finish(&damaged)).await;
            }
            Err(AnswerError::Engine(_)) => {}
            Err(other) => panic!("{other:?}\n{damaged}"),
        }
    }
    assert!(answered > 0);
    until("all places to be free", || server.peers().is_empty() && client.peers().is_empty()).await;
    // Both still work; within 20 ms, which a busy machine may need to be asked for more than once.
    for attempt in 1.. {
        let offer = client.offer(LOOPBACK).unwrap();
        let answer = server.answer(offer.sdp()).await.unwrap();
        if soon("the outcome", offer.finish(&answer)).await.is_ok() {
            break;
        }
        assert!(attempt < 200, "no link opens");
    }
}

/// Changes some characters, drops or doubles lines, or cuts the text short.
fn damage(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        if lines.is_empty() {
            break;
        }
        let at = random.below(lines.len() as u64) as usize;
        let len = lines[at].len() as u64;
        match random.below(5) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2 => lines.truncate(at + 1),
            _ if len == 0 => {}
            _ => {
                let mut bytes = std::mem::take(&mut lines[at]).into_bytes();
                let index = random.below(len) as usize;
                bytes[index] = b"0 9:/-aZ=\n\xff~"[random.below(12) as usize];
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    lines.join("\r\n") + "\r\n"
}

#[tokio::test]
async fn a_peer_that_takes_next_to_nothing_does_no_harm() {
    let limits = Limits { hello_timeout: Duration::ZERO, ..Limits::default() };
    let builder = builder().limits(limits).connect_timeout(Duration::from_millis(500));
    let server = listening(builder.clone());
    for size in ["1", "79", "80", "4294967295", "99999999999999999999"] {
        let client = builder.clone().build().unwrap();
        let offer = client.offer(LOOPBACK).unwrap();
        let sdp =
            offer.sdp().replace("max-message-size:16384", &format!("max-message-size:{size}"));
        assert_ne!(sdp, offer.sdp());
        if let Ok(answer) = server.answer(&sdp).await {
            // Whether it opens is the engine's to say.
            drop(soon("an outcome", offer.finish(&answer)).await);
        }
        until("the place", || server.peers().is_empty()).await;
    }
    join(&client(), &server).await;
}

#[tokio::test]
async fn an_answer_without_data_channels_is_refused() {
    let client = client();
    for answer in ["v=0\r\n", "v=0\r\nm=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"] {
        match client.offer(LOOPBACK).unwrap().finish(answer).await.unwrap_err() {
            ConnectError::Transport(error)
                if is_description(&error, |it| *it == DescriptionError::NoChannels) => {}
            other => panic!("{other:?}"),
        }
    }
    match client.offer(LOOPBACK).unwrap().finish("").await.unwrap_err() {
        ConnectError::Transport(error)
            if is_description(&error, |it| matches!(it, DescriptionError::Malformed { .. })) => {}
        other => panic!("{other:?}"),
    }
    assert!(client.peers().is_empty());
}

fn hasty() -> NodeBuilder {
    builder().connect_timeout(Duration::from_secs(2))
}

/// The description with another fingerprint.
fn forge(sdp: &str) -> String {
    let (before, after) = sdp.split_once("a=fingerprint:sha-256 ").unwrap();
    let first = if after.starts_with("00") { "01" } else { "00" };
    format!("{before}a=fingerprint:sha-256 {first}{}", &after[2..])
}

#[tokio::test]
async fn an_offer_with_a_wrong_fingerprint_opens_no_link() {
    let (client, server) = (hasty().build().unwrap(), listening(hasty()));
    let offer = client.offer(LOOPBACK).unwrap();
    let answer = server.answer(&forge(offer.sdp())).await.unwrap();
    // Who offered finds nothing wrong itself.
    let outcome = soon("an outcome", offer.finish(&answer)).await;
    assert!(matches!(outcome, Err(ConnectError::Ended(_))), "{outcome:?}");
    let ended = down(&server).await.1;
    assert_eq!(ended, LinkEnded::Transport(EngineError::Fingerprint.into()));
    assert!(server.peers().is_empty() && client.peers().is_empty());
}

#[tokio::test]
async fn an_answer_with_a_wrong_fingerprint_opens_no_link() {
    let (client, server) = (hasty().build().unwrap(), listening(hasty()));
    let offer = client.offer(LOOPBACK).unwrap();
    let answer = server.answer(offer.sdp()).await.unwrap();
    match soon("an outcome", offer.finish(&forge(&answer))).await {
        Err(ConnectError::Ended(LinkEnded::Transport(error)))
            if error == EngineError::Fingerprint.into() => {}
        other => panic!("{other:?}"),
    }
    let (_, ended, _) = down(&server).await;
    assert!(!matches!(ended, LinkEnded::Session(_)), "{ended}");
    assert!(server.peers().is_empty() && client.peers().is_empty());
}

#[tokio::test]
async fn an_answerer_that_never_speaks_is_given_up() {
    let timeout = Duration::from_millis(200);
    let client = builder().connect_timeout(timeout).build().unwrap();
    let server = server();
    let silent = UdpSocket::bind(ANY_PORT).await.unwrap();
    let port = |address: SocketAddr| format!("127.0.0.1 {} typ", address.port());
    let offer = client.offer(LOOPBACK).unwrap();
    let answer = server.answer(offer.sdp()).await.unwrap();
    let listening = server.addresses().next().unwrap();
    let edited = answer.replace(&port(listening), &port(silent.local_addr().unwrap()));
    assert_ne!(answer, edited);
    match soon("an outcome", offer.finish(&edited)).await {
        Err(ConnectError::Ended(LinkEnded::NotReached(after))) => assert_eq!(after, timeout),
        other => panic!("{other:?}"),
    }
    let mut check = [0; 2_000];
    assert!(soon("a check", silent.recv(&mut check)).await.unwrap() > 0);
    assert!(client.peers().is_empty());
}

#[tokio::test]
async fn a_node_that_listens_nowhere_answers_nobody() {
    let client = client();
    let offer = client.offer(LOOPBACK).unwrap();
    let error = client.answer(offer.sdp()).await.unwrap_err();
    assert!(matches!(error, AnswerError::NotListening), "{error}");
}

#[tokio::test]
async fn options_out_of_bounds_are_refused_by_name() {
    let frames = |max_frame_len| Limits { max_frame_len, ..Limits::default() };
    let flight = |min, max| PacingLimits { min, max };
    let cases = [
        ("mtu", builder().mtu(575)),
        ("mtu", builder().mtu(1_473)),
        ("mtu", builder().mtu(0)),
        ("limits.max_frame_len", builder().limits(frames(79))),
        ("limits.max_frame_len", builder().limits(frames(65_536))),
        ("pacing.min", builder().pacing(flight(16_383, 1 << 20))),
        ("pacing.max", builder().pacing(flight(50_000, 49_999))),
        ("pacing.max", builder().pacing(flight(50_000, usize::MAX))),
        ("limits.max_arrivals", builder().limits(Limits { max_arrivals: 0, ..Limits::default() })),
        (
            "limits.send_ring",
            builder().limits(Limits { send_ring: usize::MAX, ..Limits::default() }),
        ),
        (
            "limits.command_ring",
            builder().limits(Limits { command_ring: usize::MAX, ..Limits::default() }),
        ),
        (
            "limits.data_window",
            builder().limits(Limits { data_window: u64::MAX, ..Limits::default() }),
        ),
        (
            "limits.command_window",
            builder().limits(Limits { command_window: u64::MAX, ..Limits::default() }),
        ),
    ];
    for (name, builder) in cases {
        match builder.build() {
            Err(BuildError::Option { option, .. }) => assert_eq!(option, name),
            Err(BuildError::Limits(error)) => assert_eq!(format!("limits.{}", error.field), name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn options_at_their_bounds_work() {
    let max = Duration::MAX;
    let patient = Limits {
        max_idle: max,
        hello_timeout: max,
        idle_timeout: max,
        close_timeout: max,
        loss_timeout: max,
        ..Limits::default()
    };
    let least = Limits {
        send_ring: 1,
        command_ring: 1,
        data_window: 1 << 10,
        command_window: 1 << 10,
        max_frame_len: 80,
        max_unfinished: 1,
        max_arrivals: 1,
        ..Limits::default()
    };
    let cases = [
        ("the least mtu", builder().mtu(576)),
        ("endless patience", builder().limits(patient).connect_timeout(max)),
        (
            "the longest frames",
            builder()
                .limits(Limits { max_frame_len: 65_535, ..Limits::default() })
                .pacing(PacingLimits { min: 65_535, max: 65_535 }),
        ),
        ("the least", builder().limits(Limits { send_ring: 1 << 10, ..least })),
        (
            "no time-out",
            builder().limits(Limits { idle_timeout: Duration::ZERO, ..Limits::default() }),
        ),
        ("no socket buffer", builder().socket_buffer(0)),
        ("the largest socket buffer", builder().socket_buffer(usize::MAX)),
        ("no drivers", builder().drivers(0)),
    ];
    for (name, builder) in cases {
        let (_nodes, ((mut near, _near_link), (mut far, _far_link))) = pair(builder).await;
        let moving = transfer(&mut near.send, &mut far.receive, &[0, 1, 200, 700, 3]);
        soon(name, moving).await;
    }
}

/// Whether it is about a session description, of which this says more.
fn is_description(error: &TransportError, is: impl FnOnce(&DescriptionError) -> bool) -> bool {
    match error.downcast_ref::<EngineError>() {
        Some(EngineError::Description(error)) => is(error),
        _ => false,
    }
}
