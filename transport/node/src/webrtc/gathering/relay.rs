//! An address at a TURN server, for one link: a task that has a socket to the server, or a connection over TCP, and speaks with
//! it for as long as the link wants the address.
//!
//! The socket is not the one that the link has beside it, as a server gives an address for each that asks (RFC 8656, section 5),
//! and a node's socket has many links.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_link::Transmit;
use deltawire_link::runtime::{SharedRuntime, Timer, timeout};
use deltawire_turn::{Allocation, AllocationConfig, Event, Frames, Transport};
use deltawire_webrtc::{KnownAddresses, MAX_DATAGRAM_LEN, Routes};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::asking::{Asking, Finding, Permit};
use super::{GATHERING, IceServerProblem};
use crate::udp::{Inbox, Socket};

/// Datagrams that may wait on the way to the server; beyond, they are lost, as those of UDP may be.
pub const MAX_TO_RELAY: usize = 512;

/// Datagrams that came by the server and may wait for their link, each of up to 2 KiB.
pub const MAX_FROM_RELAY: usize = 512;

/// Bytes that may wait for a connection over TCP to take them; beyond, datagrams are lost.
pub const MAX_TO_STREAM: usize = 256 << 10;

/// So many bytes wait for it at most before no more is taken from the link.
const ENOUGH_WAITS: usize = 64 << 10;

/// When receiving is tried again that failed.
const RECEIVE_AGAIN: Duration = Duration::from_millis(10);

/// Datagrams that are moved each way before others get their turn.
const TURN: usize = 64;

/// How long a link has the address after it opened without it.
const UNUSED: Duration = Duration::from_secs(30);

/// While nothing is told yet, how often it is looked whether somebody still waits.
const LOOK: Duration = Duration::from_millis(500);

/// A datagram for a peer.
struct ToPeer {
    peer: SocketAddr,
    bytes: Vec<u8>,
    /// Whether more go there.
    lasting: bool,
}

/// A datagram of a peer's, and where it came from.
type FromPeer = (SocketAddr, Vec<u8>);

/// A link's part of an address at a TURN server. When it is dropped, the address is given back.
pub(crate) struct Relay {
    address: SocketAddr,
    is_stream: bool,
    to_peers: mpsc::Sender<ToPeer>,
    from_peers: mpsc::Receiver<FromPeer>,
    /// Whose datagrams the link has anything to do with: the same rule as for those that come to a socket.
    routes: Routes,
    known: KnownAddresses,
    /// Whether what the link says goes by it, and not only checks.
    carries: bool,
    /// Since when the link is open.
    open: Option<Duration>,
}

impl Relay {
    /// Where peers send.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it is over TCP.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// By this its link's peer names who its checks are for.
    pub(crate) fn belongs_to(&mut self, user_fragment: &str) {
        self.known = self.routes.add(0, user_fragment);
    }

    /// Notes that the link is open.
    pub(crate) fn opened(&mut self, now: Duration) {
        self.open.get_or_insert(now);
    }

    /// Whether the link does without.
    pub(crate) fn is_unused(&self, now: Duration) -> bool {
        !self.carries && self.open.is_some_and(|since| now >= since + UNUSED)
    }

    /// Sends a datagram of the link's from there, if it is to go from there; else gives it back.
    pub(crate) fn send(&mut self, transmit: Transmit) -> Option<Transmit> {
        let lasting = matches!(transmit.bytes.first(), Some(20..=63));
        let here = transmit.source == self.address;
        if lasting {
            self.carries = here;
        }
        if !here {
            return Some(transmit);
        }
        let Transmit { destination: peer, bytes, .. } = transmit;
        self.routes.learn(0, &mut self.known, peer, &bytes);
        let _ = self.to_peers.try_send(ToPeer { peer, bytes, lasting });
        None
    }

    /// The next datagram that came there and has to do with the link, and from whom; `None` once there is no such address any more.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<FromPeer>> {
        loop {
            match self.from_peers.poll_recv(context) {
                Poll::Ready(Some((peer, bytes))) if self.routes.find(peer, &bytes).is_none() => {}
                other => return other,
            }
        }
    }
}

/// Has an address at a server until nobody wants it any more.
pub(super) async fn run(
    asking: &Asking,
    server: SocketAddr,
    transport: Transport,
    bind: Option<IpAddr>,
    buffer: usize,
    permit: Permit,
) {
    let runtime = &asking.runtime;
    let carrier = match transport {
        Transport::Udp => over_udp(runtime, server, bind, buffer),
        Transport::Tcp => over_tcp(runtime, server).await,
    };
    let carrier = match carrier {
        Ok(carrier) => carrier,
        Err(problem) => return asking.fail(problem),
    };
    let mut seed = [0; 32];
    if let Err(error) = runtime.random(&mut seed) {
        return asking.fail(IceServerProblem::NotReached(error.to_string()));
    }
    let of = &asking.server.of;
    let config = AllocationConfig {
        transport,
        username: of.username.clone(),
        credential: of.credential.clone(),
        ipv6: server.is_ipv6(),
        seed,
    };
    let mut worker = Worker {
        asking,
        server,
        carrier,
        allocation: Allocation::new(config, runtime.now()),
        link: Link::Awaited,
        permit: Some(permit),
        receive_again: None,
        alarm: runtime.timer(),
    };
    poll_fn(|context| worker.poll(context)).await;
}

fn over_udp(
    runtime: &SharedRuntime,
    server: SocketAddr,
    bind: Option<IpAddr>,
    buffer: usize,
) -> Result<Carrier, IceServerProblem> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let here = bind.filter(|bind| bind.is_ipv4() == server.is_ipv4()).unwrap_or(any);
    let socket = Socket::bind(&**runtime, SocketAddr::new(here, 0), buffer)
        .map_err(|error| IceServerProblem::NotReached(error.to_string()))?;
    let inbox = Box::new(Inbox::new(socket.local_address()));
    Ok(Carrier::Udp(socket, inbox))
}

async fn over_tcp(
    runtime: &SharedRuntime,
    server: SocketAddr,
) -> Result<Carrier, IceServerProblem> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(IceServerProblem::NoTokio);
    }
    let not_reached = |error: io::Error| IceServerProblem::NotReached(error.to_string());
    match timeout(&**runtime, GATHERING, TcpStream::connect(server)).await {
        Some(stream) => {
            let stream = stream.map_err(not_reached)?;
            stream.set_nodelay(true).map_err(not_reached)?;
            Ok(Carrier::Tcp(Stream { stream, frames: Frames::default(), waiting: VecDeque::new() }))
        }
        None => Err(not_reached(io::ErrorKind::TimedOut.into())),
    }
}

/// What carries messages to the server.
enum Carrier {
    Udp(Socket, Box<Inbox>),
    Tcp(Stream),
}

struct Stream {
    stream: TcpStream,
    frames: Frames,
    /// What the system did not take yet.
    waiting: VecDeque<u8>,
}

/// The link that has the address.
enum Link {
    /// There is none yet.
    Awaited,
    Here(mpsc::Receiver<ToPeer>, mpsc::Sender<FromPeer>),
    Gone,
}

struct Worker<'a> {
    asking: &'a Asking,
    server: SocketAddr,
    carrier: Carrier,
    allocation: Allocation,
    link: Link,
    /// Until a link has the address: then that is what is bounded.
    permit: Option<Permit>,
    /// Receiving failed; then it is tried again.
    receive_again: Option<Duration>,
    alarm: Box<dyn Timer>,
}

impl Worker<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let runtime = &self.asking.runtime;
        let now = runtime.now();
        if matches!(self.link, Link::Awaited) && self.asking.findings.is_closed() {
            self.allocation.close(now);
        }
        // What the stream does not take waits where the link sees that.
        let held_up = self.is_behind();
        let more = !held_up && self.take_from_link(now, context);
        let received = self.receive(now, context);
        if self.allocation.poll_timeout().is_some_and(|at| at <= now) {
            self.allocation.handle_timeout(now);
        }
        let told = self.tell();
        let sent = self.send(context);
        let more = match (received, sent) {
            (Ok(received), Ok(())) => more || received || told || (held_up && !self.is_behind()),
            (Err(problem), _) | (_, Err(problem)) => {
                self.lose(problem);
                return Poll::Ready(());
            }
        };
        if self.allocation.is_over() {
            return Poll::Ready(());
        }
        let now = self.asking.runtime.now();
        let next = self.allocation.poll_timeout();
        let look = matches!(self.link, Link::Awaited).then_some(now + LOOK);
        let again = self.receive_again.take();
        if let Some(next) = next.into_iter().chain(look).chain(again).min() {
            self.alarm.set(next);
            if self.alarm.poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
        if more {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether so much waits for the stream that nothing more is taken from the link.
    fn is_behind(&self) -> bool {
        matches!(&self.carrier, Carrier::Tcp(stream) if stream.waiting.len() > ENOUGH_WAITS)
    }

    /// What the link sends. Says whether there may be more.
    fn take_from_link(&mut self, now: Duration, context: &mut Context<'_>) -> bool {
        let Link::Here(to_peers, _) = &mut self.link else { return false };
        for _ in 0..TURN {
            match to_peers.poll_recv(context) {
                Poll::Ready(Some(ToPeer { peer, bytes, lasting })) => {
                    self.allocation.send(peer, &bytes, now);
                    if lasting {
                        self.allocation.bind(peer, now);
                    }
                }
                Poll::Ready(None) => {
                    self.link = Link::Gone;
                    self.allocation.close(now);
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    /// What comes from the server. Says whether there may be more.
    fn receive(
        &mut self,
        now: Duration,
        context: &mut Context<'_>,
    ) -> Result<bool, IceServerProblem> {
        let Self { carrier, allocation, link, server, receive_again, .. } = self;
        let mut take = |message: &[u8]| {
            let Some((peer, bytes)) = allocation.handle_message(message, now) else { return };
            // Engines take no longer ones.
            if let Link::Here(_, from_peers) = link
                && bytes.len() <= MAX_DATAGRAM_LEN
            {
                let _ = from_peers.try_send((peer, bytes.to_vec()));
            }
        };
        match carrier {
            Carrier::Udp(socket, inbox) => match socket.poll_receive(inbox, 4, context) {
                Poll::Ready(Ok(places)) => {
                    for datagram in inbox.datagrams(places) {
                        if datagram.source == *server {
                            take(datagram.bytes);
                        }
                    }
                    Ok(true)
                }
                // Not the end of the socket.
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "receiving from a TURN server failed");
                    *receive_again = Some(now + RECEIVE_AGAIN);
                    Ok(false)
                }
                Poll::Pending => Ok(false),
            },
            Carrier::Tcp(stream) => stream.receive(context, take),
        }
    }

    fn send(&mut self, context: &mut Context<'_>) -> Result<(), IceServerProblem> {
        match &mut self.carrier {
            Carrier::Udp(socket, _) => {
                let source = socket.local_address();
                while let Some(bytes) = self.allocation.poll_transmit() {
                    socket.send(Transmit {
                        source,
                        destination: self.server,
                        bytes,
                        segment: None,
                    });
                }
                socket.flush();
                socket.poll_waiting(context);
                Ok(())
            }
            Carrier::Tcp(stream) => {
                while let Some(bytes) = self.allocation.poll_transmit() {
                    // Requests are made once only.
                    if stream.waiting.len() + bytes.len() <= MAX_TO_STREAM || !is_data(&bytes) {
                        stream.waiting.extend(bytes);
                    }
                }
                stream.send(context)
            }
        }
    }

    /// Hands the address to the link, or says why there is none. Says whether there is more to listen to from now on.
    fn tell(&mut self) -> bool {
        match self.allocation.poll_event() {
            Some(Event::Ready(address)) => {
                let (to_peers, from_link) = mpsc::channel(MAX_TO_RELAY);
                let (to_link, from_peers) = mpsc::channel(MAX_FROM_RELAY);
                self.link = Link::Here(from_link, to_link);
                self.permit = None;
                tracing::debug!(url = self.asking.server.url, %address, "a TURN server gave an address");
                self.asking.tell(Finding::Relay(Relay {
                    address,
                    is_stream: matches!(self.carrier, Carrier::Tcp(_)),
                    to_peers,
                    from_peers,
                    routes: Routes::of_initiators(),
                    known: KnownAddresses::default(),
                    carries: false,
                    open: None,
                }));
                return true;
            }
            Some(Event::Failed(error)) => self.lose(error.into()),
            None => {}
        }
        false
    }

    fn lose(&mut self, problem: IceServerProblem) {
        match self.link {
            Link::Awaited => self.asking.fail(problem),
            Link::Here(..) => {
                tracing::warn!(url = self.asking.server.url, error = %problem, "a TURN server takes its address back");
            }
            Link::Gone => {}
        }
        self.link = Link::Gone;
    }
}

impl Stream {
    fn receive(
        &mut self,
        context: &mut Context<'_>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, IceServerProblem> {
        let mut bytes = [0; 16 << 10];
        for _ in 0..4 {
            match self.stream.poll_read_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(lost(&error)),
                Poll::Pending => return Ok(false),
            }
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => {
                    let came = bytes.get(..len).unwrap_or_default();
                    self.frames.handle(came, &mut take).map_err(IceServerProblem::from)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(true)
    }

    fn send(&mut self, context: &mut Context<'_>) -> Result<(), IceServerProblem> {
        while !self.waiting.is_empty() {
            match self.stream.poll_write_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(lost(&error)),
                Poll::Pending => return Ok(()),
            }
            match self.stream.try_write(self.waiting.as_slices().0) {
                Ok(len) => drop(self.waiting.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }
}

/// Whether a message is a datagram for a peer: in a channel, or in an indication.
fn is_data(message: &[u8]) -> bool {
    matches!(message, [0x40..=0xff, ..] | [0, 0x16, ..])
}

fn lost(error: &io::Error) -> IceServerProblem {
    IceServerProblem::NotReached(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 1);
    const SOCKET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 2);

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 1], port))
    }

    /// With the other ends of its queues.
    fn relay() -> (Relay, mpsc::Receiver<ToPeer>, mpsc::Sender<FromPeer>) {
        let (to_peers, from_link) = mpsc::channel(MAX_TO_RELAY);
        let (to_link, from_peers) = mpsc::channel(MAX_FROM_RELAY);
        let (routes, known) = (Routes::of_initiators(), KnownAddresses::default());
        let (is_stream, carries, open) = (false, false, None);
        let mut relay =
            Relay { address: HERE, is_stream, to_peers, from_peers, routes, known, carries, open };
        relay.belongs_to("ours");
        (relay, from_link, to_link)
    }

    fn transmit(source: SocketAddr, destination: SocketAddr, first: u8) -> Transmit {
        Transmit { source, destination, bytes: vec![first; 9], segment: None }
    }

    #[test]
    fn it_takes_what_goes_from_there_and_is_unused_without() {
        let (mut relay, mut from_link, _to_link) = relay();
        assert!(relay.send(transmit(SOCKET, peer(1), 22)).is_some());
        assert!(!relay.is_unused(UNUSED * 9), "it is not open yet");
        relay.opened(UNUSED);
        assert!(!relay.is_unused(UNUSED * 2 - LOOK) && relay.is_unused(UNUSED * 2));
        // Checks alone do not count.
        assert!(relay.send(transmit(HERE, peer(2), 0)).is_none());
        assert!(relay.is_unused(UNUSED * 2));
        assert!(relay.send(transmit(HERE, peer(2), 22)).is_none());
        assert!(!relay.is_unused(UNUSED * 9));
        let went: Vec<_> = std::iter::from_fn(|| from_link.try_recv().ok()).collect();
        let went: Vec<_> = went.iter().map(|it| (it.peer, it.lasting)).collect();
        assert_eq!(went, [(peer(2), false), (peer(2), true)]);
        for _ in 0..2 * MAX_TO_RELAY {
            assert!(relay.send(transmit(HERE, peer(2), 22)).is_none());
        }
        assert_eq!(from_link.len(), MAX_TO_RELAY);
    }

    #[test]
    fn only_what_has_to_do_with_the_link_gets_through() {
        let (mut relay, _from_link, to_link) = relay();
        relay.send(transmit(HERE, peer(1), 0));
        let mut check = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
        check.extend([7; 12]);
        check.extend([0, 6, 0, 8]);
        let (theirs, mut ours) = ([&check[..], b"else:abc"].concat(), check);
        ours.extend(b"ours:abc");
        for (from, bytes) in
            [(2, vec![22; 9]), (2, theirs), (2, ours.clone()), (1, vec![22; 9]), (3, vec![0; 9])]
        {
            to_link.try_send((peer(from), bytes)).unwrap();
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut came = Vec::new();
        while let Poll::Ready(Some((from, bytes))) = relay.poll_receive(&mut context) {
            came.push((from, bytes));
        }
        assert_eq!(came, [(peer(2), ours), (peer(1), vec![22; 9])]);
        drop(to_link);
        assert_eq!(relay.poll_receive(&mut context), Poll::Ready(None));
    }
}
