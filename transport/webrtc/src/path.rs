//! Connectivity checks of our own, beside those of the stack (RFC 8445).
//!
//! The stack checks every three seconds, and again only three seconds after a check was lost. That is
//! too late for a link that says little and was cut for two seconds, or whose host got another
//! address. So:
//!
//! - The side that connected asks at once where an answer is overdue, and goes on asking until
//!   something comes. Where it is heard, nothing is sent beside the stack's checks.
//! - The side that accepted follows a peer that checks and nominates from a new address. It asks
//!   there first, so that a check that somebody else sends again from elsewhere moves nothing (RFC
//!   9000, section 8.2, does the same). The stack would stay with the old address for 15 seconds.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use deltawire_framing::control::Role;
use deltawire_link::{Datagram, Transmit};
use is::stun::{StunMessage, TransId};

use crate::crypto::hmac_sha1;

/// How long an answer is waited for: as long as most take, and a little less than STUN's 500 ms (RFC
/// 8489, section 6.2.1), so that a cut of 2 s that begins with a check of the stack's leaves time.
const PATIENCE: Duration = Duration::from_millis(400);

/// The priority of an address that is learned from a check (RFC 8445, section 5.1.2.1).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Longest USERNAME that the stack writes, bytes: two user fragments and a colon.
const MAX_USER: usize = 128;

/// Fits a check with it.
const MAX_CHECK: usize = 256;

/// From where to where datagrams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    source: SocketAddr,
    destination: SocketAddr,
}

/// The way to one link's peer.
#[derive(Debug)]
pub(super) struct Path {
    role: Role,
    names: Option<Names>,
    /// Where the peer is.
    way: Option<Way>,
    /// Whether it has moved there, so that the stack may not know.
    moved: bool,
    /// Since when an answer is due that did not come.
    due: Option<Duration>,
    /// When it was last asked.
    asked: Duration,
    /// Where a check came from since the last drain that may be that of a peer which has moved.
    suspect: Option<Way>,
    /// Where a peer that may have moved was asked, and in which transaction.
    question: Option<(Way, TransId)>,
    /// Whether anything came from where the peer was since then.
    heard: bool,
    /// A check to be sent.
    check: Option<Transmit>,
}

/// What the checks to a peer are made with.
struct Names {
    /// The peer's user fragment and ours.
    user: String,
    password: String,
}

impl Path {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            names: None,
            way: None,
            moved: false,
            due: None,
            asked: Duration::ZERO,
            suspect: None,
            question: None,
            heard: false,
            check: None,
        }
    }

    /// Takes the peer's user fragment and password. Where the names are too long nothing is asked.
    pub(super) fn know(&mut self, fragment: &str, password: &str, local_fragment: &str) {
        let user = format!("{fragment}:{local_fragment}");
        if user.len() <= MAX_USER {
            self.names = Some(Names { user, password: password.to_owned() });
        }
    }

    /// Notes that an answer is due.
    #[inline]
    pub(super) fn expect(&mut self, now: Duration) {
        self.due.get_or_insert(now);
    }

    /// Notes a datagram that came, before the stack takes it. Says whether it shows that the peer has moved.
    #[inline]
    pub(super) fn received(&mut self, datagram: &Datagram<'_>) -> bool {
        let Some(way) = self.way else { return false };
        if datagram.source == way.destination {
            self.due = None;
            self.heard = true;
            return false;
        }
        self.role == Role::Acceptor && self.take_stray(datagram)
    }

    /// Notes where a datagram goes that the stack sends, or sends it where the peer is.
    #[inline]
    pub(super) fn send(&mut self, transmit: &mut Transmit, now: Duration) {
        match transmit.bytes[..] {
            // A check.
            [0, 1, ..] => self.expect(now),
            // The answer to one that proved itself.
            [1, 1, ..] => self.ask_suspect(transmit.destination),
            // DTLS (RFC 7983).
            [20..=63, ..] => match self.way {
                Some(way) if self.moved => {
                    (transmit.source, transmit.destination) = (way.source, way.destination);
                }
                _ => {
                    let Transmit { source, destination, .. } = *transmit;
                    self.way = Some(Way { source, destination });
                }
            },
            _ => {}
        }
    }

    /// A check of ours that is to be sent.
    #[inline]
    pub(super) fn poll_check(&mut self) -> Option<Transmit> {
        self.check.take()
    }

    /// When to ask next. The longer the peer is silent, the longer it is waited for: what heals
    /// after a while is found within another eighth of it.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let due = self.due.filter(|_| self.role == Role::Initiator && self.names.is_some())?;
        self.way?;
        let silence = self.asked.saturating_sub(due);
        Some(due.max(self.asked).saturating_add(PATIENCE.max(silence / 8)))
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if self.poll_timeout().is_some_and(|at| at <= now)
            && let Some(way) = self.way
        {
            self.asked = now;
            self.ask(way);
        }
    }

    /// Takes in what comes from where the peer is not. Says whether the peer is there from now on.
    fn take_stray(&mut self, datagram: &Datagram<'_>) -> bool {
        let way = Way { source: datagram.destination, destination: datagram.source };
        match (datagram.bytes, &self.question) {
            // Whether it is the peer's shows when the stack answers.
            ([0, 1, ..], _) => {
                let nominates = StunMessage::parse(datagram.bytes)
                    .is_ok_and(|check| check.is_binding_request() && check.use_candidate());
                if nominates {
                    self.suspect = Some(way);
                }
            }
            // A peer that is still heard where it was has not moved.
            ([1, 1, ..], Some((asked, transaction)))
                if *asked == way && !self.heard && self.answers(datagram.bytes, *transaction) =>
            {
                tracing::debug!(from = ?self.way, to = ?way, "the peer has moved");
                (self.way, self.moved, self.question) = (Some(way), true, None);
                return true;
            }
            _ => {}
        }
        false
    }

    /// Asks a peer that may have moved, once its check has been answered.
    fn ask_suspect(&mut self, answered: SocketAddr) {
        let Some(way) = self.suspect.take_if(|way| way.destination == answered) else { return };
        if let Some(transaction) = self.ask(way) {
            self.question = Some((way, transaction));
            self.heard = false;
        }
    }

    fn ask(&mut self, Way { source, destination }: Way) -> Option<TransId> {
        let Names { user, password } = self.names.as_ref()?;
        let (transaction, controls) = (TransId::new(), self.role == Role::Initiator);
        // Roles were settled when the link opened, so no tie is left to break.
        let check =
            StunMessage::binding_request(user, transaction, controls, 0, PRIORITY, controls);
        let mut bytes = vec![0; MAX_CHECK];
        let len = check.to_bytes(Some(password.as_bytes()), &mut bytes, hmac_sha1).ok()?;
        bytes.truncate(len);
        self.check = Some(Transmit { destination, source, bytes, segment: None });
        Some(transaction)
    }

    fn answers(&self, datagram: &[u8], transaction: TransId) -> bool {
        let Some(Names { password, .. }) = &self.names else { return false };
        StunMessage::parse(datagram).is_ok_and(|answer| {
            answer.is_successful_binding_response()
                && answer.trans_id() == transaction
                && answer.verify(password.as_bytes(), hmac_sha1)
        })
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DTLS: [u8; 3] = [23, 254, 253];

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// A path from port 1 to a peer at port 2.
    fn path(role: Role) -> Path {
        let mut path = Path::new(role);
        path.know("peer", "password of the peer", "ours");
        assert_eq!(goes_to(&mut path), address(2));
        path
    }

    /// Where a datagram of DTLS goes that the stack sends to port 2.
    fn goes_to(path: &mut Path) -> SocketAddr {
        let (source, destination) = (address(1), address(2));
        let (bytes, segment) = (DTLS.to_vec(), None);
        let mut transmit = Transmit { source, destination, bytes, segment };
        path.send(&mut transmit, Duration::ZERO);
        assert_eq!(transmit.source, source);
        transmit.destination
    }

    /// Says whether it shows that the peer has moved.
    fn comes(path: &mut Path, port: u16, bytes: &[u8]) -> bool {
        path.received(&Datagram { source: address(port), destination: address(1), bytes })
    }

    fn sealed(message: StunMessage<'_>, password: &str) -> Vec<u8> {
        let mut bytes = vec![0; MAX_CHECK];
        let len = message.to_bytes(Some(password.as_bytes()), &mut bytes, hmac_sha1).unwrap();
        bytes.truncate(len);
        bytes
    }

    /// A check of the peer's from this port, which the stack answers.
    fn is_checked(path: &mut Path, port: u16, nominates: bool) {
        let check =
            StunMessage::binding_request("ours:peer", TransId::new(), true, 0, 1, nominates);
        comes(path, port, &sealed(check, "ours too"));
        assert!(path.poll_check().is_none(), "nothing is sent to who has proved nothing");
        let (source, destination) = (address(1), address(port));
        let (bytes, segment) = (vec![1, 1, 0, 0], None);
        let mut answer = Transmit { source, destination, bytes, segment };
        path.send(&mut answer, Duration::ZERO);
        assert_eq!(answer.destination, destination);
    }

    /// The answer to our check, made with this password.
    fn answer(check: &Transmit, password: &str) -> Vec<u8> {
        let transaction = StunMessage::parse(&check.bytes).unwrap().trans_id();
        sealed(StunMessage::binding_reply(transaction, address(1)), password)
    }

    #[test]
    fn an_overdue_answer_is_asked_for_until_something_comes() {
        let mut path = path(Role::Initiator);
        assert_eq!(path.poll_timeout(), None);
        path.expect(1_000 * MS);
        path.expect(1_300 * MS);
        let mut asked = Vec::new();
        while asked.len() < 20 {
            let now = path.poll_timeout().unwrap();
            path.handle_timeout(now - MS);
            assert!(path.poll_check().is_none());
            path.handle_timeout(now);
            let check = path.poll_check().unwrap();
            assert_eq!((check.source, check.destination), (address(1), address(2)));
            let message = StunMessage::parse(&check.bytes).unwrap();
            assert_eq!(message.split_username(), Some(("peer", "ours")));
            assert!(message.verify(b"password of the peer", hmac_sha1));
            assert!(message.use_candidate() && message.ice_controlling().is_some());
            asked.push(now);
        }
        assert_eq!(asked[..4], [1_400, 1_800, 2_200, 2_600].map(|at| at * MS));
        let late = asked.windows(2).find(|pair| {
            let silence = pair[0] - 1_000 * MS;
            pair[1] - pair[0] > (silence / 8).max(PATIENCE)
        });
        assert_eq!(late, None);
        assert!(!comes(&mut path, 3, &DTLS));
        assert!(path.poll_timeout().is_some());
        assert!(!comes(&mut path, 2, &DTLS));
        assert_eq!(path.poll_timeout(), None);
    }

    #[test]
    fn the_side_that_accepted_asks_nothing_by_itself() {
        let mut path = path(Role::Acceptor);
        path.expect(Duration::ZERO);
        assert_eq!(path.poll_timeout(), None);
    }

    #[test]
    fn a_peer_is_followed_to_an_address_that_answers() {
        let mut path = path(Role::Acceptor);
        for port in [3, 4, 2, 3] {
            is_checked(&mut path, port, true);
            let Some(check) = path.poll_check() else { panic!("port {port} is not asked") };
            assert_eq!(check.destination, address(port));
            assert!(comes(&mut path, port, &answer(&check, "password of the peer")));
            assert_eq!(goes_to(&mut path), address(port));
        }
    }

    #[test]
    fn nobody_else_moves_a_peer() {
        let mut path = path(Role::Acceptor);
        // Who repeats the peer's check from elsewhere has no answer, or not in time.
        is_checked(&mut path, 3, true);
        let check = path.poll_check().unwrap();
        assert!(!comes(&mut path, 3, &answer(&check, "another password")));
        assert!(!comes(&mut path, 4, &answer(&check, "password of the peer")));
        assert!(!comes(&mut path, 3, &answer(&check, "password of the peer")[..30]));
        assert_eq!(goes_to(&mut path), address(2));
        is_checked(&mut path, 4, true);
        let newer = path.poll_check().unwrap();
        assert!(!comes(&mut path, 3, &answer(&check, "password of the peer")));
        assert_eq!(goes_to(&mut path), address(2));
        // The peer is still where it was.
        assert!(!comes(&mut path, 2, &DTLS));
        assert!(!comes(&mut path, 4, &answer(&newer, "password of the peer")));
        assert_eq!(goes_to(&mut path), address(2));
        // It only looks whether there is another way.
        is_checked(&mut path, 5, false);
        assert!(path.poll_check().is_none());
    }

    #[test]
    fn long_names_give_no_checks() {
        let longest = MAX_USER - ":ours".len();
        for (len, asks) in [(longest + 1, false), (longest, true)] {
            let mut path = Path::new(Role::Initiator);
            path.know(&"x".repeat(len), "x", "ours");
            goes_to(&mut path);
            path.expect(Duration::ZERO);
            assert_eq!(path.poll_timeout().is_some(), asks);
            path.handle_timeout(1_000 * MS);
            assert_eq!(path.poll_check().is_some(), asks);
        }
    }
}
