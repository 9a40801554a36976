//! Links: how they begin, and what their ends do.

use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_framing::control::Role;
use deltawire_link::{Connection, Link, LinkEnded, LinkId, Progress, TransportError};
use deltawire_webrtc::{AnyEngine, Engine};

use super::Simulation;
use super::end::{EndState, Stack};
use super::frames::Frames;
use super::host::Host;
use super::options::{Carrier, LinkOptions};
use super::way::{Parcel, Target};

/// One end of a link: what a node's `connect` and `accept` give as a pair.
#[derive(Debug)]
pub struct End {
    /// The application's handle on its peer.
    pub peer: Peer,
    /// The handle on the link.
    pub link: Link,
}

impl Simulation {
    /// Connects two hosts with the default [`LinkOptions`]. Time passes until both peers are there.
    ///
    /// # Errors
    ///
    /// Why the link ended before.
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    pub fn connect(&mut self, initiator: Host, acceptor: Host) -> Result<(End, End), LinkEnded> {
        self.connect_with(initiator, acceptor, &LinkOptions::default())
    }

    /// Connects two hosts: `initiator` to `acceptor`. Time passes until both peers are there.
    ///
    /// # Errors
    ///
    /// Why the link ended before.
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    pub fn connect_with(
        &mut self,
        initiator: Host,
        acceptor: Host,
        options: &LinkOptions,
    ) -> Result<(End, End), LinkEnded> {
        let links = match options.carrier {
            Carrier::Frames => self.add_link::<Frames>(initiator, acceptor, options, Stack::Frames),
            Carrier::Datagrams => {
                self.add_link::<AnyEngine>(initiator, acceptor, options, Stack::Datagrams)
            }
        };
        let [here, there] = links.map_err(LinkEnded::Transport)?;
        let first = self.ends_made - 2;
        self.settle();
        while [first, first + 1]
            .iter()
            .any(|end| self.ends.get(end).is_some_and(|end| end.peer.is_none()))
        {
            if let Some(ended) = [&here, &there].into_iter().find_map(Link::ended) {
                return Err(ended);
            }
            if !self.step() {
                break;
            }
        }
        let mut take = |end: usize, link: Link| {
            let peer = self.ends.get_mut(&end).and_then(|end| end.peer.take());
            match peer {
                Some(peer) => Ok(End { peer, link }),
                None => Err(link.ended().unwrap_or(LinkEnded::HungUp)),
            }
        };
        Ok((take(first, here)?, take(first + 1, there)?))
    }

    fn add_link<E: Engine>(
        &mut self,
        initiator: Host,
        acceptor: Host,
        options: &LinkOptions,
        stack: fn(Box<Connection<E>>) -> Stack,
    ) -> Result<[Link; 2], TransportError> {
        let now = self.now();
        let [offering, answering] =
            [Role::Initiator, Role::Acceptor].map(|role| options.engine(role));
        let near = self.hosts[initiator.0].new_address();
        let far = self.hosts[acceptor.0].new_address();
        let (mut offerer, offer) = E::offer(&offering, &[near], now)?;
        let (answerer, answer) = E::answer(&answering, &[far], &offer, now)?;
        offerer.accept_answer(&answer, now)?;
        let first = self.ends_made;
        let mut add = |engine: E, hosts, other, address, role| {
            let number = self.ends_made;
            self.ends_made += 1;
            let (link, shared) = Link::new(LinkId(number as u64), role, None);
            let config = options.connection(role, &mut self.random);
            let user_fragment = engine.user_fragment().to_owned();
            let connection = Connection::new(engine, config, shared, now)?;
            let stack = stack(Box::new(connection));
            let end = EndState::new(stack, hosts, other, address, &user_fragment);
            self.ends.insert(number, end);
            Ok::<_, TransportError>(link)
        };
        Ok([
            add(offerer, [initiator, acceptor], first + 1, near, Role::Initiator)?,
            add(answerer, [acceptor, initiator], first, far, Role::Acceptor)?,
        ])
    }

    pub(super) fn work(&mut self, index: usize, now: Duration) {
        let mut sent = Vec::new();
        let Some(end) = self.ends.get_mut(&index) else { return };
        let progress = end.work(now, &mut sent);
        let (host, to, other, whole) = (end.host, end.peer_host, end.other, end.is_frames());
        let source = self.hosts[host.0].public(end.address);
        match progress {
            Progress::Quiet => {}
            Progress::Merged { .. } | Progress::Resumed(_) | Progress::Detached(_) => {
                unreachable!("these links' sessions end with them")
            }
            Progress::Opened(peer) => {
                end.peer = Some(*peer);
                end.woken.wake_up();
                self.trace.link(now, index, "opened");
            }
            Progress::Ended(ended) => {
                end.woken.wake_up();
                self.trace.link(now, index, &ended.to_string());
            }
            Progress::Gone => end.woken.wake_up(),
            Progress::Over => {
                self.ends.remove(&index);
            }
        }
        for transmit in sent {
            let way = self.way(host, to);
            let (destination, bytes) = (transmit.destination, transmit.bytes);
            let to = Target::End(other);
            let parcel = Parcel { to, way, source, destination, bytes, damaged: false };
            self.ways[way].send(parcel, whole, now, &mut self.arrivals, &mut self.trace);
        }
    }
}
