use super::*;

use crate::message::Writer;

const MS: Duration = Duration::from_millis(1);
const REALM: &str = "here";

/// A server, as far as it is needed: what it expects, and what it says.
struct Server {
    nonce: &'static str,
    key: [u8; 16],
    lifetime: u32,
    /// What came, oldest first: method and class, and from whom it is sealed.
    seen: Vec<Method>,
    /// What was sent on to peers.
    passed: Vec<(SocketAddr, Vec<u8>)>,
    channel: Option<(u16, SocketAddr)>,
    permit: bool,
}

fn md5(text: &str) -> [u8; 16] {
    use md5::Digest;
    md5::Md5::digest(text.as_bytes()).into()
}

impl Server {
    fn new() -> Self {
        Self {
            nonce: "first",
            key: md5("me:here:secret"),
            lifetime: 600,
            seen: Vec::new(),
            passed: Vec::new(),
            channel: None,
            permit: true,
        }
    }

    fn answer(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        if bytes[0] >= 0x40 {
            let (number, peer) = self.channel.unwrap();
            assert_eq!(bytes[..2], number.to_be_bytes());
            let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
            self.passed.push((peer, bytes[4..4 + len].to_vec()));
            return None;
        }
        let request = Message::read(bytes).unwrap();
        self.seen.push(request.method);
        if request.method == Method::Send {
            let data = request.find(kind::DATA).unwrap().to_vec();
            self.passed.push((request.address(kind::XOR_PEER_ADDRESS).unwrap(), data));
            return None;
        }
        let error = |code: [u8; 2], words: &str| {
            let mut value = vec![0, 0, code[0], code[1]];
            value.extend(words.bytes());
            Writer::new(request.method, Class::Error, request.transaction)
                .attribute(kind::ERROR_CODE, &value)
                .attribute(kind::REALM, REALM.as_bytes())
                .attribute(kind::NONCE, self.nonce.as_bytes())
        };
        if !request.is_sealed(&self.key) {
            return Some(error([4, 1], "Unauthorized").finish());
        }
        assert_eq!(request.text(kind::USERNAME, 9), Some("me"));
        if request.text(kind::NONCE, 99) != Some(self.nonce) {
            return Some(error([4, 38], "Stale nonce").finish());
        }
        let answer = Writer::new(request.method, Class::Success, request.transaction);
        let answer = match request.method {
            Method::Allocate => answer.address(kind::XOR_RELAYED_ADDRESS, relayed()),
            Method::CreatePermission if !self.permit => {
                return Some(error([4, 3], "Forbidden").sealed(&self.key));
            }
            Method::ChannelBind => {
                let number = request.number(kind::CHANNEL_NUMBER).unwrap() >> 16;
                let peer = request.address(kind::XOR_PEER_ADDRESS).unwrap();
                self.channel = Some((number as u16, peer));
                answer
            }
            _ => answer,
        };
        let lifetime = self.lifetime.to_be_bytes();
        Some(answer.attribute(kind::LIFETIME, &lifetime).sealed(&self.key))
    }

    /// Has the two talk until both are silent.
    fn talk(&mut self, allocation: &mut Allocation, now: Duration) {
        let mut said = 0;
        while let Some(message) = allocation.poll_transmit() {
            if let Some(answer) = self.answer(&message) {
                assert_eq!(allocation.handle_message(&answer, now), None);
            }
            said += 1;
            assert!(said < 1_000, "they talk for ever");
        }
    }
}

fn relayed() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 9], 5_000))
}

fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, last], 7))
}

fn config(transport: Transport) -> AllocationConfig {
    let (username, credential) = ("me".to_owned(), "secret".to_owned());
    AllocationConfig { transport, username, credential, ipv6: false, seed: [3; 32] }
}

fn allocated(server: &mut Server) -> Allocation {
    let mut allocation = Allocation::new(config(Transport::Udp), Duration::ZERO);
    server.talk(&mut allocation, Duration::ZERO);
    assert_eq!(allocation.poll_event(), Some(Event::Ready(relayed())));
    allocation
}

#[test]
fn an_address_is_had_kept_and_given_back() {
    let mut server = Server::new();
    let mut allocation = allocated(&mut server);
    assert_eq!(server.seen, [Method::Allocate, Method::Allocate]);
    for nonce in ["second", "third"] {
        let at = allocation.poll_timeout().unwrap();
        server.seen.clear();
        server.nonce = nonce;
        allocation.handle_timeout(at);
        server.talk(&mut allocation, at);
        assert_eq!(server.seen, [Method::Refresh; 2], "once with the old nonce");
    }
    assert_eq!(allocation.poll_timeout(), Some(3 * 450_000 * MS));
    server.seen.clear();
    allocation.close(1_000_000 * MS);
    server.talk(&mut allocation, 1_000_000 * MS);
    assert!(allocation.is_over());
    assert_eq!((server.seen.as_slice(), allocation.poll_timeout()), (&[Method::Refresh][..], None));
}

#[test]
fn datagrams_go_once_the_server_permits_it_and_then_in_a_channel() {
    let mut server = Server::new();
    let mut allocation = allocated(&mut server);
    let now = 5_000 * MS;
    server.seen.clear();
    allocation.send(peer(1), b"one", now);
    allocation.send(peer(1), b"two", now);
    server.talk(&mut allocation, now);
    assert_eq!(server.seen, [Method::CreatePermission, Method::Send, Method::Send]);
    allocation.bind(peer(1), now);
    allocation.send(peer(1), b"three", now);
    server.talk(&mut allocation, now);
    allocation.send(peer(1), b"four", now + MS);
    server.talk(&mut allocation, now);
    let passed: Vec<_> = server.passed.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    assert_eq!(passed, [&b"one"[..], b"two", b"three", b"four"]);
    assert!(server.passed.iter().all(|(to, _)| *to == peer(1)));
    let from_channel = [0x40, 0, 0, 2, 8, 9, 0, 0];
    let came = allocation.handle_message(&from_channel, now);
    assert_eq!(came, Some((peer(1), &[8, 9][..])));
    // What is used is asked for again: the permission, and the channel.
    let at = now + 240_000 * MS;
    assert_eq!(allocation.poll_timeout(), Some(at));
    server.seen.clear();
    allocation.handle_timeout(at);
    server.talk(&mut allocation, at);
    assert_eq!(server.seen, [Method::CreatePermission, Method::ChannelBind]);
    assert_eq!(allocation.poll_timeout(), Some(450_000 * MS), "it is not used since");
}

#[test]
fn only_whom_this_side_sent_to_is_heard() {
    let mut server = Server::new();
    let mut allocation = allocated(&mut server);
    allocation.send(peer(1), b"one", MS);
    server.talk(&mut allocation, MS);
    for (from, heard) in [(peer(1), true), (peer(2), false)] {
        let data = Writer::new(Method::Data, Class::Indication, [9; 12])
            .address(kind::XOR_PEER_ADDRESS, from)
            .attribute(kind::DATA, b"hello")
            .finish();
        let came = allocation.handle_message(&data, MS);
        assert_eq!(came, heard.then_some((from, &b"hello"[..])));
    }
    for number in [0x3fff_u16, 0x4000, 0x4001, 0x4fff, 0x7fff] {
        let [a, b] = number.to_be_bytes();
        assert_eq!(allocation.handle_message(&[a, b, 0, 1, 7], MS), None, "{number}");
    }
    server.permit = false;
    allocation.send(peer(3), b"no", MS);
    server.talk(&mut allocation, MS);
    allocation.send(peer(3), b"no", MS);
    assert_eq!(allocation.poll_transmit(), None, "it was refused");
}

#[test]
fn a_wrong_password_is_told_and_not_tried_for_ever() {
    let mut server = Server::new();
    server.key = md5("me:here:another");
    let mut allocation = Allocation::new(config(Transport::Udp), Duration::ZERO);
    server.talk(&mut allocation, Duration::ZERO);
    let reason = "Unauthorized".to_owned();
    let error = TurnError::Credentials { code: 401, reason };
    assert_eq!(allocation.poll_event(), Some(Event::Failed(error)));
    assert_eq!(server.seen.len(), 2);
    let unnamed = AllocationConfig { username: String::new(), ..config(Transport::Udp) };
    let mut allocation = Allocation::new(unnamed, Duration::ZERO);
    server.talk(&mut allocation, Duration::ZERO);
    assert_eq!(allocation.poll_event(), Some(Event::Failed(TurnError::NoCredentials)));
    assert!(allocation.is_over());
}

#[test]
fn a_server_that_always_has_another_nonce_is_left() {
    let mut server = Server::new();
    let mut allocation = Allocation::new(config(Transport::Udp), Duration::ZERO);
    let mut asked = 0;
    while let Some(request) = allocation.poll_transmit() {
        server.nonce = ["one", "two"][asked % 2];
        let answer = server.answer(&request).unwrap();
        allocation.handle_message(&answer, Duration::ZERO);
        asked += 1;
        assert!(asked < 20);
    }
    assert!(matches!(
        allocation.poll_event(),
        Some(Event::Failed(TurnError::Refused { code: 438, .. }))
    ));
}

#[test]
fn a_silent_server_is_asked_for_sixteen_seconds() {
    for (transport, asked) in [(Transport::Udp, 6), (Transport::Tcp, 1)] {
        let mut allocation = Allocation::new(config(transport), Duration::ZERO);
        let mut at = Vec::new();
        let mut now = Duration::ZERO;
        loop {
            while allocation.poll_transmit().is_some() {
                at.push(now);
            }
            let Some(next) = allocation.poll_timeout() else { break };
            assert!(next > now);
            now = next;
            allocation.handle_timeout(now);
        }
        assert_eq!(allocation.poll_event(), Some(Event::Failed(TurnError::Silent)));
        assert!((15_000 * MS..17_000 * MS).contains(&now), "{now:?}");
        assert_eq!(at.len(), asked);
    }
}

#[test]
fn answers_of_others_change_nothing() {
    let mut server = Server::new();
    let mut allocation = Allocation::new(config(Transport::Udp), Duration::ZERO);
    let first = allocation.poll_transmit().unwrap();
    let answer = server.answer(&first).unwrap();
    allocation.handle_message(&answer, Duration::ZERO);
    let second = allocation.poll_transmit().unwrap();
    let transaction = Message::read(&second).unwrap().transaction;
    let forged = |transaction, key: Option<&[u8]>| {
        let forged = Writer::new(Method::Allocate, Class::Success, transaction)
            .address(kind::XOR_RELAYED_ADDRESS, peer(66));
        key.map_or_else(
            || forged.address(kind::LIFETIME, peer(1)).finish(),
            |key| {
                Writer::new(Method::Allocate, Class::Success, transaction)
                    .address(kind::XOR_RELAYED_ADDRESS, peer(66))
                    .sealed(key)
            },
        )
    };
    for message in [
        forged(transaction, None),
        forged(transaction, Some(b"another key")),
        forged([1; 12], Some(&server.key.clone())),
    ] {
        assert_eq!(allocation.handle_message(&message, Duration::ZERO), None);
        assert_eq!(allocation.poll_event(), None);
    }
    let right = server.answer(&second).unwrap();
    for at in 0..right.len() {
        let mut damaged = right.clone();
        damaged[at] ^= 0x10;
        allocation.handle_message(&damaged, Duration::ZERO);
        allocation.handle_message(&right[..at], Duration::ZERO);
        assert_eq!(allocation.poll_event(), None, "byte {at}");
    }
    allocation.handle_message(&right, Duration::ZERO);
    assert_eq!(allocation.poll_event(), Some(Event::Ready(relayed())));
}

#[test]
fn whatever_a_server_says_is_bounded() {
    for lifetime in [0, 1, u32::MAX] {
        let mut server = Server::new();
        server.lifetime = lifetime;
        let mut allocation = allocated(&mut server);
        let next = allocation.poll_timeout().unwrap();
        assert!((3_000 * MS..=450_000 * MS).contains(&next), "{next:?}");
        for number in 0..=u8::MAX {
            for _ in 0..3 {
                allocation.send(peer(number), &[7; 1_200], MS);
                allocation.bind(peer(number), MS);
            }
        }
        let asked = std::iter::from_fn(|| allocation.poll_transmit()).count();
        assert_eq!(asked, MAX_PERMISSIONS + MAX_CHANNELS);
        // And what is asked is asked again no faster.
        let now = MS + 250 * MS;
        allocation.handle_timeout(now);
        assert_eq!(std::iter::from_fn(|| allocation.poll_transmit()).count(), asked);
    }
}

/// What an address was asked for comes back to who does not want it any more.
#[test]
fn an_address_that_comes_too_late_is_given_back() {
    // Before the server asks for credentials, before it gives the address, and never.
    for answered in [0, 1, 2] {
        let mut server = Server::new();
        let mut allocation = Allocation::new(config(Transport::Udp), Duration::ZERO);
        let mut request = allocation.poll_transmit().unwrap();
        for _ in 0..answered.min(1) {
            let answer = server.answer(&request).unwrap();
            allocation.handle_message(&answer, MS);
            request = allocation.poll_transmit().unwrap();
        }
        allocation.close(2 * MS);
        server.seen.clear();
        let answer = server.answer(&request).unwrap();
        if answered < 2 {
            allocation.handle_message(&answer, 3 * MS);
            server.talk(&mut allocation, 3 * MS);
        }
        let expected: &[Method] = match answered {
            1 => &[Method::Allocate, Method::Refresh],
            _ => &[Method::Allocate],
        };
        assert_eq!(server.seen, expected, "{answered}");
        assert_eq!(allocation.is_over(), answered < 2);
        while let Some(at) = allocation.poll_timeout() {
            assert!(at <= 2 * MS + LEAVING);
            allocation.handle_timeout(at);
        }
        assert!(allocation.is_over() && allocation.poll_event().is_none());
        assert_eq!(allocation.handle_message(&answer, 3 * MS), None);
    }
}

/// What a server did once is still there for a while when it does not do it again.
#[test]
fn a_server_that_fails_for_a_while_keeps_what_it_has() {
    let mut server = Server::new();
    let mut allocation = allocated(&mut server);
    allocation.send(peer(1), b"one", MS);
    allocation.bind(peer(1), MS);
    server.talk(&mut allocation, MS);
    // It says nothing while permission and channel are renewed, and while the address is.
    let until = 590;
    for second in 1..until {
        let now = Duration::from_secs(second);
        if allocation.poll_timeout().is_some_and(|at| at <= now) {
            allocation.handle_timeout(now);
        }
        allocation.send(peer(1), b"more", now);
        if (235..280).contains(&second) || (445..550).contains(&second) {
            while allocation.poll_transmit().is_some() {}
        } else {
            server.talk(&mut allocation, now);
        }
        assert_eq!(allocation.poll_event(), None, "{now:?}");
    }
    let until = Duration::from_secs(until);
    server.seen.clear();
    allocation.send(peer(1), b"last", until);
    server.talk(&mut allocation, until);
    assert!(!allocation.is_over());
    assert!(allocation.poll_timeout().is_some_and(|at| at > Duration::from_secs(600)));
    assert!(server.passed.last().is_some_and(|(to, bytes)| *to == peer(1) && bytes == b"last"));
    let from_channel = [0x40, 0, 0, 2, 8, 9, 0, 0];
    assert!(allocation.handle_message(&from_channel, until).is_some());
}
