//! STUN and TURN servers that are silent, wrong or hostile: a link's description waits for them for a second at the most, and
//! says what it would without them. `tests/nat` has a real one.

#![cfg(not(target_arch = "wasm32"))]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deltawire::limits::GATHERING;
use deltawire::prelude::*;
use deltawire::webrtc::EngineKind;
use deltawire::{BuildError, IceServer, IceServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const HERE: [u8; 4] = [127, 0, 0, 1];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Longer than it takes on a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// An answer of this type to a request, with these attributes.
fn answer(request: &[u8], typ: [u8; 2], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut answer = vec![typ[0], typ[1], 0, 0];
    answer.extend(&request[4..20]);
    for (kind, value) in attributes {
        answer.extend(kind.to_be_bytes());
        answer.extend((value.len() as u16).to_be_bytes());
        answer.extend(*value);
        answer.resize(answer.len().next_multiple_of(4), 0);
    }
    let len = (answer.len() - 20) as u16;
    answer[2..4].copy_from_slice(&len.to_be_bytes());
    answer
}

/// An address as an attribute has it.
fn hidden(address: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(address) = address else { panic!("there is no other here") };
    let mut value = vec![0, 1];
    value.extend((address.port() ^ 0x2112).to_be_bytes());
    value.extend(address.ip().octets().iter().zip(COOKIE).map(|(byte, mask)| byte ^ mask));
    value
}

/// Whether a request has a seal, which is the last of its attributes.
fn is_sealed(request: &[u8]) -> bool {
    request.len() > 44 && request[request.len() - 24..].starts_with(&[0, 8, 0, 20])
}

/// What asks for credentials, or for others.
fn refusal(request: &[u8], code: [u8; 2], nonce: &str) -> Vec<u8> {
    let code = [0, 0, code[0], code[1], b'n', b'o'];
    let typ = [request[0] | 1, request[1] | 0x10];
    answer(request, typ, &[(9, &code), (0x14, b"here"), (0x15, nonce.as_bytes())])
}

/// An address for who has the password, and as sealed as the request.
fn sealed_answer(request: &[u8]) -> Vec<u8> {
    use aws_lc_rs::hmac;
    let relayed = hidden(SocketAddr::from(([192, 0, 2, 7], 9)));
    let mut said = answer(request, [1, request[1]], &[(0x16, &relayed), (0x0d, &[0, 0, 2, 88])]);
    let key = <md5::Md5 as md5::Digest>::digest(b"a name:here:a password");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let len = (said.len() - 20 + 24) as u16;
    said[2..4].copy_from_slice(&len.to_be_bytes());
    let seal = hmac::sign(&key, &said);
    said.extend([0, 8, 0, 20]);
    said.extend(seal.as_ref());
    said
}

/// A server over UDP that says this to whatever comes, for as long as the test runs.
async fn udp(say: impl Fn(&[u8], usize) -> Vec<Vec<u8>> + Send + 'static) -> u16 {
    let socket = UdpSocket::bind(here()).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut bytes, mut came) = ([0; 2_048], 0);
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            for said in say(&bytes[..len], came) {
                let _ = socket.send_to(&said, from).await;
            }
            came += 1;
        }
    });
    port
}

/// A port of the system's choice.
fn here() -> SocketAddr {
    (HERE, 0).into()
}

fn node(servers: impl IntoIterator<Item = IceServer>) -> Node {
    Node::builder().listen(here()).ice_servers(servers).build().unwrap()
}

fn turn(port: u16, transport: &str) -> IceServer {
    let url = format!("turn:127.0.0.1:{port}?transport={transport}");
    IceServer::new(url).with_credentials("a name", "a password")
}

/// Has an offer made; gives its candidates, how long it took, and the error that was told, if there was one.
async fn offered(node: &Node) -> (Vec<String>, Duration, Option<IceServerError>) {
    let begun = Instant::now();
    let offer = node.offer_gathered(HERE.into()).await.unwrap();
    let took = begun.elapsed();
    let candidates = offer.sdp().lines().filter(|line| line.starts_with("a=candidate"));
    let candidates: Vec<_> = candidates.map(str::to_owned).collect();
    assert!(candidates.iter().any(|it| it.contains("typ host")), "{candidates:?}");
    let event = tokio::time::timeout(Duration::from_millis(10), node.event()).await;
    let told = match event {
        Ok(NodeEvent::IceServer(error)) => Some(error),
        _ => None,
    };
    (candidates, took, told)
}

#[tokio::test]
async fn silent_servers_cost_a_second() {
    let stun = udp(|_, _| Vec::new()).await;
    // One that takes connections, and never says a word.
    let listener = TcpListener::bind(here()).await.unwrap();
    let tcp = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let stun_url = IceServer::new(format!("stun:127.0.0.1:{stun}"));
    for servers in [vec![stun_url], vec![turn(stun, "udp")], vec![turn(tcp, "tcp")]] {
        let (candidates, took, _) = offered(&node(servers)).await;
        assert_eq!(candidates.len(), 1);
        assert!((GATHERING..GATHERING + SOON).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn what_servers_say_wrongly_changes_nothing() {
    let elsewhere = SocketAddr::from(([192, 0, 2, 7], 9));
    // Garbage, and answers to what nobody asked.
    let garbage = udp(|request, came| {
        let mut said: Vec<Vec<u8>> = (0..200).map(|len| vec![len as u8; len]).collect();
        let mut other = request.to_vec();
        other[8..20].fill(came as u8);
        for typ in [[1, 1], [1, 3], [0, 0x17], [1, 0x13], [0x40, 0]] {
            let address = hidden(SocketAddr::from(([192, 0, 2, 7], 9)));
            said.push(answer(&other, typ, &[(0x20, &address), (0x16, &address), (0x12, &address)]));
            let mut cut = answer(request, typ, &[(0x20, &address)]);
            cut.truncate(cut.len() - 3);
            said.push(cut);
        }
        said
    })
    .await;
    let stun = IceServer::new(format!("stun:127.0.0.1:{garbage}"));
    let (candidates, took, _) = offered(&node([stun, turn(garbage, "udp")])).await;
    assert_eq!(candidates.len(), 1, "{candidates:?}");
    assert!(took < GATHERING + SOON, "{took:?}");
    // Another nonce each time, and one that is always old.
    for code in [[4, 1], [4, 38]] {
        let asked = udp(move |request, came| {
            let code = if is_sealed(request) { code } else { [4, 1] };
            vec![refusal(request, code, &format!("nonce {came}"))]
        })
        .await;
        let (candidates, took, told) = offered(&node([turn(asked, "udp")])).await;
        assert_eq!(candidates.len(), 1);
        assert!(took < GATHERING + SOON, "{took:?}");
        let told = told.unwrap();
        assert!(told.url.contains(&asked.to_string()) && told.to_string().contains("no"), "{told}");
    }
    // Addresses that no host has, under the right name.
    for wrong in [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255], [169, 254, 0, 1]] {
        for port in [0, 9] {
            let asked = udp(move |request, _| {
                let address = hidden(SocketAddr::from((wrong, port)));
                let typ = [1, request[1]];
                vec![answer(request, typ, &[(0x20, &address), (0x16, &address)])]
            })
            .await;
            let (candidates, ..) = offered(&node([turn(asked, "udp")])).await;
            assert_eq!(candidates.len(), 1, "{wrong:?}: {candidates:?}");
        }
    }
    // No seal, though the request had one.
    let unsealed = udp(move |request, _| match is_sealed(request) {
        false => vec![refusal(request, [4, 1], "nonce")],
        true => vec![answer(request, [1, 3], &[(0x16, &hidden(elsewhere))])],
    })
    .await;
    let (candidates, ..) = offered(&node([turn(unsealed, "udp")])).await;
    assert_eq!(candidates.len(), 1);
}

#[tokio::test]
async fn streams_that_are_none_of_turn_are_left() {
    let listener = TcpListener::bind(here()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = match number % 2 {
                0 => vec![0xff; 1 << 16],
                // Long messages without end.
                _ => [0x40, 0, 0xff, 0xff].repeat(1 << 14),
            };
            number += 1;
            tokio::spawn(async move {
                let mut request = [0; 20];
                let _ = stream.read_exact(&mut request).await;
                while stream.write_all(&bytes).await.is_ok() {}
            });
        }
    });
    for _ in 0..2 {
        let (candidates, took, _) = offered(&node([turn(port, "tcp")])).await;
        assert_eq!(candidates.len(), 1);
        assert!(took < GATHERING + SOON, "{took:?}");
    }
    // Nobody is there any more.
    let gone = TcpListener::bind(here()).await.unwrap().local_addr().unwrap().port();
    let (_, took, told) = offered(&node([turn(gone, "tcp")])).await;
    assert!(took < SOON && told.unwrap().to_string().contains("not reached"));
}

#[tokio::test]
async fn an_address_is_given_back_once_nobody_has_it() {
    let (told, mut given_back) = tokio::sync::mpsc::unbounded_channel();
    let server = udp(move |request, _| {
        // Of refreshing, for no time more.
        if request[..2] == [0, 4]
            && request[20..].windows(8).any(|it| it == [0, 13, 0, 4, 0, 0, 0, 0])
        {
            let _ = told.send(());
        }
        let relayed = hidden(SocketAddr::from(([192, 0, 2, 7], 9)));
        vec![answer(request, [1, request[1]], &[(0x16, &relayed)])]
    })
    .await;
    let node = node([turn(server, "udp")]);
    let offer = node.offer_gathered(HERE.into()).await.unwrap();
    assert!(offer.sdp().contains("typ relay"), "{}", offer.sdp());
    assert!(given_back.try_recv().is_err());
    drop(offer);
    tokio::time::timeout(SOON, given_back.recv()).await.unwrap();
    // Who offered gives up while it is asked.
    let offering = node.offer_gathered(HERE.into());
    let _ = tokio::time::timeout(Duration::from_millis(1), offering).await;
    tokio::time::timeout(SOON, given_back.recv()).await.unwrap();
}

/// Who asks is told to say who it is, as of most servers, and gives up meanwhile.
#[tokio::test]
async fn what_comes_too_late_is_given_back() {
    let (told, mut came) = tokio::sync::mpsc::unbounded_channel();
    let socket = std::sync::Arc::new(UdpSocket::bind(here()).await.unwrap());
    let port = socket.local_addr().unwrap().port();
    let serving = socket.clone();
    tokio::spawn(async move {
        let mut bytes = [0; 2_048];
        while let Ok((len, from)) = serving.recv_from(&mut bytes).await {
            let (request, socket, told) = (bytes[..len].to_vec(), serving.clone(), told.clone());
            tokio::spawn(async move {
                // Of both messages of asking: it takes 200 ms before there is an address.
                tokio::time::sleep(Duration::from_millis(100)).await;
                let answer = match (request[1], is_sealed(&request)) {
                    (3, false) => refusal(&request, [4, 1], "nonce"),
                    (kind, true) => {
                        let _ = told.send(kind);
                        sealed_answer(&request)
                    }
                    _ => return,
                };
                let _ = socket.send_to(&answer, from).await;
            });
        }
    });
    for patience in [20, 150, 250] {
        let node = node([turn(port, "udp")]);
        let offering = node.offer_gathered(HERE.into());
        let offered = tokio::time::timeout(Duration::from_millis(patience), offering).await;
        drop(offered);
        tokio::time::sleep(Duration::from_millis(800)).await;
        let mut kinds = std::iter::from_fn(|| came.try_recv().ok()).collect::<Vec<_>>();
        kinds.dedup();
        // None was asked for, or it was given back: a request to refresh comes behind that for an address.
        let expected: &[u8] = if patience < 100 { &[] } else { &[3, 4] };
        assert_eq!(kinds, expected, "after {patience} ms");
    }
}

/// Over the sockets' own addresses a link opens, and goes on, whatever comes by the server.
#[tokio::test]
async fn a_turn_server_that_floods_stops_no_link() {
    for engine in [EngineKind::Lean, EngineKind::Str0m] {
        let flooding = udp(|request, came| {
            let relayed = hidden(SocketAddr::from(([192, 0, 2, 7], 9)));
            let mut said = vec![answer(request, [1, request[1]], &[(0x16, &relayed)])];
            for number in 0..2_000_u32 {
                let from = hidden(SocketAddr::from((HERE, 1_024 + number as u16)));
                let mut data = vec![[20, 22, 0, 1][number as usize % 4]; 900];
                data[1] = number as u8;
                said.push(answer(request, [0, 0x17], &[(0x12, &from), (0x13, &data)]));
                said.push(vec![0x40, number as u8, 0, 4, 22, came as u8, 0, 0]);
            }
            said
        })
        .await;
        let build = |servers: Vec<IceServer>| {
            let builder = Node::builder().listen(here()).engine(engine);
            builder.ice_servers(servers).build().unwrap()
        };
        let (here, there) = (build(vec![turn(flooding, "udp")]), build(Vec::new()));
        let offer = here.offer_gathered(HERE.into()).await.unwrap();
        assert!(offer.sdp().contains("typ relay"), "{}", offer.sdp());
        let answer = there.answer(offer.sdp()).await.unwrap();
        let (opened, accepted) = tokio::join!(offer.finish(&answer), there.accept());
        let (mut peer, link) = opened.unwrap();
        let (mut other, _) = accepted.unwrap();
        for number in 0..200_u8 {
            peer.send.send(DeltaFields::new(DocId([7; 16])), &[number; 5_000]).await.unwrap();
            let message = other.receive.next().await.unwrap();
            assert_eq!(message.delta().unwrap().payload(), [number; 5_000]);
        }
        link.close(CloseCode::NORMAL, "done");
        link.closed().await;
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_refused_by_name() {
    for (url, why) in [
        ("turns:turn.example.org", "without TLS"),
        ("http://turn.example.org", "stun: or turn:"),
        ("stun:", "host"),
    ] {
        let built = Node::builder().ice_servers([IceServer::new(url)]).build();
        let Err(error @ BuildError::IceServer { .. }) = built else { panic!("{built:?}") };
        assert!(error.to_string().contains(url) && error.to_string().contains(why), "{error}");
    }
    let many = (0..9).map(|port| IceServer::new(format!("stun:127.0.0.1:{}", port + 1)));
    let built = Node::builder().ice_servers(many).build();
    assert!(matches!(built, Err(BuildError::Option { option: "ice_servers", value: 9, .. })));
    let named = IceServer::new("turn:turn.example.org").with_credentials("me", "a-secret");
    assert!(!format!("{named:?}").contains("a-secret"));
}
