//! The handshake of SCTP (RFC 9260, section 5), from both sides.
//!
//! It is done here and not by the stack that has the association, for three reasons. Where both sides' INITs
//! come by signalling (draft-hancke-tsvwg-snap), there is none, and the stack has to go on from two INITs
//! anyway. Some peers begin from both sides at a time, as browsers do, or say nothing until the other side
//! does. And a peer can send any number of INITs: here the answer to each is made from what it says, and
//! nothing is kept of it (section 5.1.3), until its cookie comes back.

use std::time::Duration;

use crate::init::{
    COOKIE_ACK, COOKIE_ECHO, INIT_ACK, INIT_LEN, Init, STATE_COOKIE, finish, packet_of,
};
use crate::packet::{DATA, HEADER, INIT, SACK, chunks, is_sealed, number, parameters, short};

/// When something is said again first; each time takes twice as long, up to [`LAST_RETRY`]. Whether there is
/// somebody to answer, ICE and DTLS have shown.
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(400);
pub(crate) const LAST_RETRY: Duration = Duration::from_secs(3);

/// The longest cookie of a peer's that is echoed, bytes.
const MAX_COOKIE: usize = 1_024;

/// One side of a handshake.
#[derive(Debug)]
pub struct Handshake {
    own: Init,
    state: State,
    /// An answer that is to be sent.
    answer: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    /// The peer may begin.
    Waits,
    /// This side says something until it is answered: an INIT, or the peer's cookie once its INIT is known.
    Asks { peer: Option<(Init, Vec<u8>)>, at: Duration, patience: Duration },
    /// Both INITs are known.
    Done { peer_tag: u32 },
}

impl Handshake {
    /// One that waits, of a side that says this.
    #[must_use]
    pub fn new(own: Init) -> Self {
        Self { own, state: State::Waits, answer: None }
    }

    /// Both INITs came by signalling.
    pub fn finish(&mut self, peer: &Init) {
        self.state = State::Done { peer_tag: peer.tag };
    }

    /// Whether both INITs are known.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Begins, unless the peer has.
    pub fn begin(&mut self, now: Duration) {
        if matches!(self.state, State::Waits) {
            self.state = State::Asks { peer: None, at: now, patience: FIRST_RETRY };
        }
    }

    /// Whether a packet may belong to a handshake, also when it is over here: its last words may have got
    /// lost.
    #[inline]
    pub fn concerns(&self, packet: &[u8]) -> bool {
        !self.is_done() || matches!(packet.get(HEADER), Some(&(INIT | COOKIE_ECHO)))
    }

    /// Whether a packet has the tag and the ports of this side's association, without which the stack passes it
    /// over.
    #[inline]
    pub fn is_addressed(&self, packet: &[u8]) -> bool {
        let ports = [short(packet, 0), short(packet, 2)];
        number(packet, 4) == Some(self.own.tag) && !ports.contains(&Some(0))
    }

    /// Takes in a packet; gives the peer's INIT when it is the one that ends the handshake.
    pub fn handle_packet(&mut self, packet: &[u8], now: Duration) -> Option<Init> {
        let tag = number(packet, 4)?;
        if !is_sealed(packet) {
            return None;
        }
        let chunk = chunks(packet).next().flatten()?;
        match (chunk[0], &mut self.state) {
            // A peer that begins anew would be another peer.
            (INIT, State::Done { .. }) => {}
            (INIT, _) if tag == 0 => {
                let peer = Init::read(chunk)?;
                let ack = self.own.chunk(Some(&peer.cookie()));
                self.answer = Some(packet_of(peer.tag, &ack));
            }
            _ if tag != self.own.tag => {}
            (INIT_ACK, State::Asks { peer: peer @ None, at, patience }) => {
                let init = Init::read(chunk)?;
                let mut cookies = parameters(chunk, INIT_LEN).flatten();
                let cookie = cookies.find(|it| short(it, 0) == Some(STATE_COOKIE))?;
                let cookie = cookie[4..].to_vec();
                if cookie.len() <= MAX_COOKIE {
                    (*peer, *at, *patience) = (Some((init, cookie)), now, FIRST_RETRY);
                }
            }
            (COOKIE_ECHO, State::Done { peer_tag }) => {
                let peer = Init::from_cookie(&chunk[4..])?;
                if peer.tag == *peer_tag {
                    self.answer = Some(packet_of(peer.tag, &finish(vec![COOKIE_ACK, 0, 0, 0])));
                }
            }
            (COOKIE_ECHO, _) => {
                let peer = Init::from_cookie(&chunk[4..])?;
                self.answer = Some(packet_of(peer.tag, &finish(vec![COOKIE_ACK, 0, 0, 0])));
                self.finish(&peer);
                return Some(peer);
            }
            // What only a peer sends that has this side's cookie may overtake the word for it.
            (COOKIE_ACK | DATA | SACK, State::Asks { peer: Some((peer, _)), .. }) => {
                let peer = *peer;
                self.finish(&peer);
                return Some(peer);
            }
            _ => {}
        }
        None
    }

    /// A packet to be sent.
    pub fn poll_packet(&mut self, now: Duration) -> Option<Vec<u8>> {
        if let Some(answer) = self.answer.take() {
            return Some(answer);
        }
        let State::Asks { peer, at, patience } = &mut self.state else { return None };
        if *at > now {
            return None;
        }
        *at = now + *patience;
        *patience = (2 * *patience).min(LAST_RETRY);
        Some(match peer {
            None => packet_of(0, &self.own.chunk(None)),
            Some((peer, cookie)) => {
                let mut echo = vec![COOKIE_ECHO, 0, 0, 0];
                echo.extend_from_slice(cookie);
                packet_of(peer.tag, &finish(echo))
            }
        })
    }

    /// When something is said again.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.state {
            State::Asks { at, .. } => Some(at),
            State::Waits | State::Done { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
