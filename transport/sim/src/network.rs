//! Hosts and the ways between them.

use std::net::SocketAddr;
use std::time::Duration;

use super::Simulation;
use super::host::{Host, HostState, number};
use super::path::{Path, PathStats};
use super::random::{Random, mix};
use super::sockets::Sent;
use super::way::{Direction, Parcel, Target};

impl Simulation {
    /// One more host.
    pub fn add_host(&mut self) -> Host {
        let host = Host(self.hosts.len());
        self.hosts.push(HostState::new(host.0));
        host
    }

    /// So many more hosts.
    pub fn add_hosts<const N: usize>(&mut self) -> [Host; N] {
        std::array::from_fn(|_| self.add_host())
    }

    /// What the way between two hosts is like, both directions, from now on. What is already on its
    /// way arrives as it would have.
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    pub fn set_path(&mut self, one: Host, other: Host, path: Path) {
        self.set_path_one_way(one, other, path);
        self.set_path_one_way(other, one, path);
    }

    /// The same for one direction.
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    pub fn set_path_one_way(&mut self, from: Host, to: Host, path: Path) {
        let way = self.way(from, to);
        (self.ways[way].path, self.ways[way].said) = (path, true);
        self.paths.set(from, to, path);
    }

    /// The ways between hosts of which nothing was said, neither by [`set_path`](Self::set_path)
    /// nor by [`set_cut`](Self::set_cut), from now on. Default: [`Path::default`].
    pub fn set_default_path(&mut self, path: Path) {
        self.default_path = path;
        self.paths.set_default(path);
        self.ways.iter_mut().filter(|way| !way.said).for_each(|way| way.path = path);
    }

    /// What the way from one host to another is like now.
    #[must_use]
    pub fn path(&self, from: Host, to: Host) -> Path {
        let way = self.ways_between.get(&(from, to));
        way.map_or(self.default_path, |way| self.ways[*way].path)
    }

    /// Whether anything gets through between the two groups, in either direction, from now on:
    /// [`Path::cut`] of all ways between them.
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    pub fn set_cut(&mut self, some: &[Host], others: &[Host], cut: bool) {
        for (one, other) in some.iter().flat_map(|one| others.iter().map(move |it| (*one, *it))) {
            for (from, to) in [(one, other), (other, one)] {
                let path = Path { cut, ..self.path(from, to) };
                self.set_path_one_way(from, to, path);
            }
        }
    }

    /// Gives a host another address, as a NAT does that forgot it. The links that it has do not
    /// notice, and what is sent to its old address is lost. Those that begin later know the new one.
    ///
    /// # Panics
    ///
    /// When there is no such host: it is of another simulation.
    pub fn change_address(&mut self, host: Host) {
        self.hosts[host.0].change_address();
    }

    /// What became of the datagrams from one host to another.
    #[must_use]
    pub fn path_stats(&self, from: Host, to: Host) -> PathStats {
        let way = self.ways_between.get(&(from, to));
        way.map(|way| self.ways[*way].stats).unwrap_or_default()
    }

    pub(super) fn deliver(&mut self, parcel: Parcel, now: Duration) {
        let Parcel { to, way, source, destination, bytes, damaged } = parcel;
        let len = bytes.len() as u64;
        let arrived = match to {
            Target::End(end) => self.deliver_to_end(end, source, destination, &bytes, damaged, now),
            Target::Socket(host) => match self.hosts[host.0].local(destination) {
                Some(local) => self.sockets.deliver(local, source, bytes),
                None => None,
            },
        };
        let stats = &mut self.ways[way].stats;
        match arrived {
            Some(true) => {
                stats.arrived += 1;
                stats.arrived_bytes += len;
            }
            Some(false) => stats.overflowed += 1,
            None => stats.misaddressed += 1,
        }
    }

    /// `None` where nobody has the address any more.
    fn deliver_to_end(
        &mut self,
        end: usize,
        source: SocketAddr,
        destination: SocketAddr,
        bytes: &[u8],
        damaged: bool,
        now: Duration,
    ) -> Option<bool> {
        let end = self.ends.get_mut(&end)?;
        if self.hosts[end.host.0].public(end.address) != destination {
            return None;
        }
        // A transport drops what is damaged: this one has no checksum that would say so.
        if !(damaged && end.is_frames()) {
            end.handle_datagram(source, bytes, now);
        }
        Some(true)
    }

    /// Puts on its way what sockets have sent. Says whether there was anything.
    pub(super) fn send_of_sockets(&mut self, now: Duration) -> bool {
        let sent = self.sockets.take_sent();
        let any = !sent.is_empty();
        for Sent { host, source, destination, bytes } in sent {
            let known = number(destination.ip()).filter(|number| *number < self.hosts.len());
            let Some(to) = known.map(Host) else { continue };
            let source = self.hosts[host.0].public(source);
            let way = self.way(host, to);
            let to = Target::Socket(to);
            let parcel = Parcel { to, way, source, destination, bytes, damaged: false };
            self.ways[way].send(parcel, false, now, &mut self.arrivals, &mut self.trace);
        }
        any
    }

    pub(super) fn way(&mut self, from: Host, to: Host) -> usize {
        let Self { seed, hosts, ways, ways_between, default_path, .. } = self;
        *ways_between.entry((from, to)).or_insert_with(|| {
            for host in [from, to] {
                assert!(host.0 < hosts.len(), "{host} is not in this simulation");
            }
            // Not drawn: what a way does must not depend on which others somebody asked for before.
            let seed = mix(*seed ^ mix(from.0 as u64)).wrapping_add(to.0 as u64);
            ways.push(Direction::new(*default_path, Random::new(mix(seed))));
            ways.len() - 1
        })
    }
}
