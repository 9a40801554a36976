//! The associations of a socket: begun, told apart, and forgotten.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::time::Duration;

use deltawire_link::{Datagram, Transmit};

use crate::farewell;
use crate::gate::Gate;
use crate::init::{COOKIE_ECHO, INIT_ACK, PORTS, packet_of};
use crate::opening::{Hello, is_last_of_opening};
use crate::packet::{
    ABORT, DATA, FORWARD_TSN, HEADER, HEARTBEAT, INIT, RE_CONFIG, SACK, SHUTDOWN, chunks,
    is_sealed, number, short,
};
use crate::{MAX_DATAGRAM_LEN, MAX_TOKEN_LEN, SctpConfig, SctpError, SctpTransport};

/// Bit of an ABORT whose tag is its receiver's peer's: who sent it knows of no association (RFC 9260, section 8.4).
const REFLECTED: u8 = 1;

/// The associations of one socket, each under a key that whoever moves them chooses.
///
/// It says whose a datagram is, and answers by itself what belongs to none, which keeps nothing: who asks for an association
/// gets a cookie, and who speaks of one that there is not (any more) is told so.
pub struct SctpEndpoint {
    config: SctpConfig,
    /// If it accepts.
    gate: Option<Gate>,
    /// Keys and peers' addresses, by this side's tag, which its peer says in each packet.
    links: HashMap<u32, (usize, SocketAddr)>,
    /// Keys by where the peer is and its tag.
    peers: HashMap<(SocketAddr, u32), usize>,
    /// Under which tags a key is known.
    names: HashMap<usize, Names>,
}

#[derive(Clone, Copy, Debug)]
struct Names {
    tag: u32,
    remote: SocketAddr,
    /// Once it is known.
    peer: Option<u32>,
}

/// Whose a datagram is.
#[derive(Debug)]
pub enum Routed {
    /// That of the association with this key: it is to [take it in](SctpTransport::handle_packet).
    Known(usize),
    /// The peer of this one says that it knows nothing of it: it is [lost](SctpTransport::lose).
    Lost(usize),
    /// Somebody has shown where it is, and wants an association.
    New(Arrival),
    /// Nobody's: this is the answer.
    Answer(Transmit),
    /// Nobody's.
    Nothing,
}

/// Who wants an association.
#[derive(Debug)]
pub struct Arrival {
    hello: Hello,
    remote: SocketAddr,
    local: SocketAddr,
}

impl Arrival {
    /// Where it is, as it has shown.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.remote
    }

    /// What tells it why it gets none.
    #[must_use]
    pub fn refuse(&self, reason: &str) -> Transmit {
        let Self { hello, remote, local } = self;
        let bytes = farewell::refusal(hello.init.tag, reason);
        Transmit { destination: *remote, source: *local, bytes, segment: None }
    }
}

impl SctpEndpoint {
    /// One that accepts if it has a key, random and secret, by which it knows its cookies.
    #[must_use]
    pub fn new(config: SctpConfig, gate: Option<[u8; 32]>) -> Self {
        let gate = gate.map(Gate::new);
        Self { config, gate, links: HashMap::new(), peers: HashMap::new(), names: HashMap::new() }
    }

    /// Takes in nobody from here on.
    pub fn accept_no_more(&mut self) {
        self.gate = None;
    }

    /// Begins an association under this key, from `local` to `remote`, which is shown the token.
    ///
    /// # Errors
    ///
    /// When the token is too long, or the stack fails.
    pub fn connect(
        &mut self,
        key: usize,
        [local, remote]: [SocketAddr; 2],
        token: &[u8],
        now: Duration,
    ) -> Result<SctpTransport, SctpError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(SctpError::Token { len: token.len() });
        }
        let make = |config: &SctpConfig| {
            SctpTransport::connect(config, [local, remote], token.to_vec(), now)
        };
        self.make(key, remote, make)
    }

    /// Makes the association of who wants one, under this key.
    ///
    /// # Errors
    ///
    /// When the stack fails.
    pub fn accept(
        &mut self,
        key: usize,
        arrival: &Arrival,
        now: Duration,
    ) -> Result<SctpTransport, SctpError> {
        let Arrival { hello, remote, local } = *arrival;
        let make = |config: &SctpConfig| SctpTransport::accept(config, [local, remote], hello, now);
        let transport = self.make(key, remote, make)?;
        self.learn(key, &transport);
        Ok(transport)
    }

    /// Until its tag, which the stack chooses, is none that is known.
    fn make(
        &mut self,
        key: usize,
        remote: SocketAddr,
        make: impl Fn(&SctpConfig) -> Result<SctpTransport, SctpError>,
    ) -> Result<SctpTransport, SctpError> {
        loop {
            let transport = make(&self.config)?;
            let tag = transport.tag();
            if let Entry::Vacant(vacant) = self.links.entry(tag) {
                vacant.insert((key, remote));
                self.names.insert(key, Names { tag, remote, peer: None });
                return Ok(transport);
            }
        }
    }

    /// Notes the peer's tag, if the association knows it by now.
    pub fn learn(&mut self, key: usize, transport: &SctpTransport) {
        let Some(names) = self.names.get_mut(&key).filter(|names| names.peer.is_none()) else {
            return;
        };
        if let Some(tag) = transport.peer_tag() {
            names.peer = Some(tag);
            self.peers.insert((names.remote, tag), key);
        }
    }

    /// Knows the association no more: its peer is told so if it goes on.
    pub fn forget(&mut self, key: usize) {
        let Some(Names { tag, remote, peer }) = self.names.remove(&key) else { return };
        self.links.remove(&tag);
        if let Some(peer) = peer.map(|tag| (remote, tag))
            && self.peers.get(&peer) == Some(&key)
        {
            self.peers.remove(&peer);
        }
    }

    /// Says whose a datagram is.
    pub fn route(&self, datagram: &Datagram<'_>, now: Duration) -> Routed {
        let Datagram { source, destination, bytes } = *datagram;
        let Some(tag) = number(bytes, 4) else { return Routed::Nothing };
        // The stack passes over what has other ports, and nothing may count that it does not see.
        let ports = [short(bytes, 0), short(bytes, 2)];
        if bytes.len() > MAX_DATAGRAM_LEN || ports != PORTS.map(Some) || !is_sealed(bytes) {
            return Routed::Nothing;
        }
        // From elsewhere it is as if there were none, so that nobody learns which tags there are.
        if let Some((key, _)) = self.links.get(&tag).filter(|(_, remote)| *remote == source) {
            return Routed::Known(*key);
        }
        let Some(Some(first)) = chunks(bytes).next() else { return Routed::Nothing };
        let answer = |bytes| {
            let (source, destination) = (destination, source);
            Routed::Answer(Transmit { destination, source, bytes, segment: None })
        };
        match first[0] {
            INIT if tag == 0 => {
                let gate = self.gate.as_ref();
                let ack = gate.and_then(|gate| gate.answer(bytes, source, now));
                ack.map_or(Routed::Nothing, answer)
            }
            COOKIE_ECHO => {
                let gate = self.gate.as_ref();
                let Some(hello) = gate.and_then(|gate| gate.open(bytes, source, now)) else {
                    return Routed::Nothing;
                };
                match self.peers.get(&(source, hello.init.tag)) {
                    // It did not hear the answer.
                    Some(key) => Routed::Known(*key),
                    None => Routed::New(Arrival { hello, remote: source, local: destination }),
                }
            }
            ABORT if first[1] & REFLECTED != 0 => {
                self.peers.get(&(source, tag)).map_or(Routed::Nothing, |key| Routed::Lost(*key))
            }
            // What only an association says, and no answer to it: it is longer than this.
            DATA | SACK | HEARTBEAT | SHUTDOWN | RE_CONFIG | FORWARD_TSN
                if tag != 0 && bytes.len() > HEADER + 4 =>
            {
                answer(packet_of(tag, &[ABORT, REFLECTED, 0, 4]))
            }
            // What it says last of an association that this side has given up meanwhile.
            INIT_ACK if tag != 0 && is_last_of_opening(first) => {
                answer(packet_of(tag, &[ABORT, REFLECTED, 0, 4]))
            }
            _ => Routed::Nothing,
        }
    }
}

impl std::fmt::Debug for SctpEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SctpEndpoint")
            .field("accepts", &self.gate.is_some())
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}
