//! An address at a TURN server (RFC 8656), for one link.

mod exchange;
mod peers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use self::exchange::{Exchange, Outcome};
use self::peers::Peers;
pub use self::peers::{MAX_CHANNELS, MAX_HELD, MAX_PERMISSIONS};
use crate::frames::CHANNEL_HEADER;
use crate::message::{Class, Message, Method, Writer, kind};
use crate::{Transport, TurnError};

/// The longest time for which an address is believed to be there without asking again, whatever the server says.
pub const MAX_LIFETIME: Duration = Duration::from_secs(600);

/// The shortest: a server cannot have this side ask all the time.
const MIN_LIFETIME: Duration = Duration::from_secs(4);

/// How long a server that was told that the address is given back may take to answer.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long the answer to a request for an address is waited for that nobody wants any more: if there is one, it is given back.
const LEAVING: Duration = Duration::from_secs(2);

/// How soon what a server did not do is asked for again, while what there was before still is.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// What an allocation is made with.
#[derive(Clone)]
pub struct AllocationConfig {
    /// What carries messages to the server.
    pub transport: Transport,
    /// The name of this side at the server; empty if it asks for none.
    pub username: String,
    /// The password.
    pub credential: String,
    /// Whether the address is to be one of IPv6.
    pub ipv6: bool,
    /// What requests are named by: random.
    pub seed: [u8; 32],
}

/// Without the password.
impl fmt::Debug for AllocationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllocationConfig")
            .field("transport", &self.transport)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What became of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Peers may send there.
    Ready(SocketAddr),
    /// There is no address, or no longer.
    Failed(TurnError),
}

/// What a request of this side's is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Allocate,
    Refresh,
    /// The address is given back.
    GiveBack,
    Permit(std::net::IpAddr),
    Bind(SocketAddr),
}

#[derive(Debug)]
enum State {
    Asking,
    /// Nobody wants the address that was asked for.
    Leaving(Duration),
    Ready(SocketAddr),
    GivingBack(Duration),
    Over,
}

/// An address at a TURN server: without I/O.
///
/// Give it what comes from the server with [`handle_message`](Self::handle_message) and call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says; after each, send all of
/// [`poll_transmit`](Self::poll_transmit) to the server.
#[derive(Debug)]
pub struct Allocation {
    config: AllocationConfig,
    state: State,
    exchange: Exchange,
    peers: Peers,
    /// When to ask for the address to stay.
    refresh_at: Option<Duration>,
    /// Until when it does without that.
    stays_until: Duration,
    event: Option<Event>,
    /// What goes to the server: taken after each call, so no more than that makes.
    out: VecDeque<Vec<u8>>,
}

impl Allocation {
    /// Asks for an address.
    #[must_use]
    pub fn new(config: AllocationConfig, now: Duration) -> Self {
        let exchange = Exchange::new(&config);
        let mut allocation = Self {
            config,
            state: State::Asking,
            exchange,
            peers: Peers::default(),
            refresh_at: None,
            stays_until: Duration::ZERO,
            event: None,
            out: VecDeque::new(),
        };
        allocation.ask(Purpose::Allocate, now);
        allocation
    }

    /// Sends to a peer, by the server. What it does not permit yet is asked for, and a few datagrams wait for that; beyond
    /// they are lost, as those of UDP may be.
    pub fn send(&mut self, peer: SocketAddr, datagram: &[u8], now: Duration) {
        let State::Ready(relayed) = self.state else { return };
        if peer.is_ipv4() != relayed.is_ipv4() {
            return;
        }
        if let Some(number) = self.peers.channel(peer, now) {
            let frame = self.in_channel(number, datagram);
            self.out.push_back(frame);
            return;
        }
        match self.peers.may_send(peer.ip(), now) {
            peers::Answer::Yes => {
                let frame = self.by_indication(peer, datagram);
                self.out.push_back(frame);
            }
            peers::Answer::Ask => {
                self.ask(Purpose::Permit(peer.ip()), now);
                self.peers.hold(peer, datagram);
            }
            peers::Answer::Wait => self.peers.hold(peer, datagram),
            peers::Answer::No => {}
        }
    }

    /// Has what goes to this peer, and comes from it, take 4 bytes more and not 36.
    pub fn bind(&mut self, peer: SocketAddr, now: Duration) {
        if matches!(self.state, State::Ready(_)) && self.peers.begin_channel(peer) {
            self.ask(Purpose::Bind(peer), now);
        }
    }

    /// Gives the address back.
    pub fn close(&mut self, now: Duration) {
        match self.state {
            State::Ready(_) => self.give_back(now),
            // The server may have one for it already.
            State::Asking => self.state = State::Leaving(now + LEAVING),
            State::Leaving(_) | State::GivingBack(_) | State::Over => {}
        }
    }

    fn give_back(&mut self, now: Duration) {
        self.exchange.forget();
        self.refresh_at = None;
        self.state = State::GivingBack(now + FAREWELL);
        self.ask(Purpose::GiveBack, now);
    }

    /// Whether nothing more comes of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes in a whole message of the server's; gives what came from a peer, and from which.
    pub fn handle_message<'a>(
        &mut self,
        message: &'a [u8],
        now: Duration,
    ) -> Option<(SocketAddr, &'a [u8])> {
        if self.is_over() {
            return None;
        }
        match message.first()? {
            0x40..=0x7f => {
                let ([a, b, c, d], rest) = message.split_first_chunk::<CHANNEL_HEADER>()?;
                let peer = self.peers.behind(u16::from_be_bytes([*a, *b]))?;
                Some((peer, rest.get(..usize::from(u16::from_be_bytes([*c, *d])))?))
            }
            _ => {
                let read = Message::read(message)?;
                if (read.method, read.class) == (Method::Data, Class::Indication) {
                    let peer = read.address(kind::XOR_PEER_ADDRESS)?;
                    // The server has to know whom this side wants to hear, so that nobody else is.
                    return self
                        .peers
                        .may_come(peer.ip())
                        .then_some((peer, read.find(kind::DATA)?));
                }
                self.handle_answer(&read, now);
                None
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        if let State::Leaving(until) | State::GivingBack(until) = self.state
            && until <= now
        {
            self.state = State::Over;
        }
        if self.is_over() {
            return;
        }
        if let Some(purpose) = self.exchange.handle_timeout(now, &mut self.out) {
            self.give_up(purpose, TurnError::Silent, now);
        }
        if self.refresh_at.take_if(|at| *at <= now).is_some() {
            self.ask(Purpose::Refresh, now);
        }
        if matches!(self.state, State::Ready(_)) {
            for ip in self.peers.permissions_to_ask(now) {
                self.ask(Purpose::Permit(ip), now);
            }
            for peer in self.peers.channels_to_ask(now) {
                self.ask(Purpose::Bind(peer), now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let (farewell, peers) = match self.state {
            State::Leaving(until) | State::GivingBack(until) => (Some(until), None),
            State::Over => return None,
            State::Ready(_) => (None, self.peers.poll_timeout()),
            State::Asking => (None, None),
        };
        [farewell, self.exchange.poll_timeout(), self.refresh_at, peers].into_iter().flatten().min()
    }

    /// The next message that is to be sent to the server.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    /// What became of it.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    fn ask(&mut self, purpose: Purpose, now: Duration) {
        self.ask_again(purpose, 0, now);
    }

    fn ask_again(&mut self, purpose: Purpose, tries: u8, now: Duration) {
        let Self { config, exchange, peers, out, .. } = self;
        exchange.ask((purpose, tries), config, peers, now, out);
    }

    fn handle_answer(&mut self, answer: &Message<'_>, now: Duration) {
        let outcome = self.exchange.handle_answer(answer, &self.config);
        match outcome {
            Outcome::Ignored => {}
            // There is none, and now none will be asked for.
            Outcome::Again(..) | Outcome::Refused(..)
                if matches!(self.state, State::Leaving(_)) =>
            {
                self.state = State::Over;
            }
            Outcome::Again(purpose, tries) => self.ask_again(purpose, tries, now),
            Outcome::Refused(purpose, error) => self.give_up(purpose, error, now),
            Outcome::Done(purpose) => self.done(purpose, answer, now),
        }
    }

    fn done(&mut self, purpose: Purpose, answer: &Message<'_>, now: Duration) {
        match purpose {
            Purpose::Allocate if matches!(self.state, State::Leaving(_)) => self.give_back(now),
            Purpose::Allocate => {
                let relayed = answer.address(kind::XOR_RELAYED_ADDRESS);
                let relayed = relayed.filter(|it| it.is_ipv6() == self.config.ipv6);
                match relayed.filter(|it| it.port() != 0 && !it.ip().is_unspecified()) {
                    Some(relayed) => {
                        self.state = State::Ready(relayed);
                        self.event = Some(Event::Ready(relayed));
                        self.refresh_later(answer, now);
                    }
                    None => self.fail(TurnError::Broken("it gave no address that can be used")),
                }
            }
            Purpose::Refresh => self.refresh_later(answer, now),
            Purpose::GiveBack => self.state = State::Over,
            Purpose::Permit(ip) => {
                for (peer, datagram) in self.peers.permitted(ip, now) {
                    let frame = self.by_indication(peer, &datagram);
                    self.out.push_back(frame);
                }
            }
            Purpose::Bind(peer) => self.peers.bound(peer, now),
        }
    }

    /// A request will not be fulfilled.
    fn give_up(&mut self, purpose: Purpose, error: TurnError, now: Duration) {
        match purpose {
            // It is still there for a while, and the server may be itself again by then.
            Purpose::Refresh if error.may_pass() && now + ASK_AGAIN < self.stays_until => {
                self.refresh_at = Some(now + ASK_AGAIN);
            }
            Purpose::Allocate if matches!(self.state, State::Leaving(_)) => {
                self.state = State::Over;
            }
            Purpose::Allocate | Purpose::Refresh => self.fail(error),
            Purpose::GiveBack => self.state = State::Over,
            Purpose::Permit(ip) => self.peers.refused(ip, now + ASK_AGAIN),
            Purpose::Bind(peer) => self.peers.unbound(peer, now + ASK_AGAIN),
        }
    }

    fn fail(&mut self, error: TurnError) {
        self.state = State::Over;
        self.event = Some(Event::Failed(error));
    }

    /// The server says for how long the address is there; asked again is well before.
    fn refresh_later(&mut self, answer: &Message<'_>, now: Duration) {
        let told = answer.number(kind::LIFETIME).map(|seconds| Duration::from_secs(seconds.into()));
        let lifetime = told.unwrap_or(MAX_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME);
        self.refresh_at = Some(now + lifetime / 4 * 3);
        self.stays_until = now + lifetime;
    }

    fn by_indication(&mut self, peer: SocketAddr, datagram: &[u8]) -> Vec<u8> {
        Writer::new(Method::Send, Class::Indication, self.exchange.name())
            .address(kind::XOR_PEER_ADDRESS, peer)
            .attribute(kind::DATA, datagram)
            .finish()
    }

    fn in_channel(&self, number: u16, datagram: &[u8]) -> Vec<u8> {
        let len = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
        let mut frame = Vec::with_capacity(CHANNEL_HEADER + datagram.len() + 3);
        frame.extend(number.to_be_bytes());
        frame.extend(len.to_be_bytes());
        frame.extend(datagram.iter().take(len.into()));
        if self.config.transport == Transport::Tcp {
            frame.resize(frame.len().next_multiple_of(4), 0);
        }
        frame
    }
}
