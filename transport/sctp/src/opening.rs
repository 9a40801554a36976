//! How an association begins over UDP.
//!
//! | | who connects | who accepts |
//! |---|---|---|
//! | 1 | INIT, as long as the answer | |
//! | 2 | | INIT ACK with a cookie: nothing is kept ([`Gate`](crate::gate::Gate)) |
//! | 3 | COOKIE ECHO | |
//! | 4 | | INIT ACK without a cookie: here is the association |
//!
//! That is the handshake of RFC 9260, section 5.1, but for the last packet, which is an INIT ACK in place of a COOKIE ACK:
//! only now is there an association, whose first TSN its stack chooses. What gets lost, who connects says again.

use std::time::Duration;

use crate::gate::ANSWER_LEN;
use crate::handshake::{FIRST_RETRY, LAST_RETRY};
use crate::init::{
    COOKIE_ECHO, INIT_ACK, INIT_LEN, Init, STATE_COOKIE, finish, packet_of, parameter,
};
use crate::packet::{HEADER, INIT, chunks, number, parameters, push, short};

/// The parameter that says how many bytes may come to its sender's socket at once: one that others pass over (RFC 9260,
/// section 3.2.1).
const BURST: u16 = 0xbd57;

/// The parameter that fills up (RFC 4820).
const PADDING: u16 = 0x8005;

/// The longest cookie that is echoed, bytes.
const MAX_COOKIE: usize = 1_024;

/// How often a cookie is echoed before another one is asked for: who made it may have been restarted.
const MAX_ECHOES: u32 = 4;

/// What a side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) init: Init,
    /// So many bytes may come to its socket at once.
    pub(crate) burst: u32,
}

impl Hello {
    fn chunk(&self, kind: u8) -> Vec<u8> {
        let mut chunk = self.init.chunk(None);
        chunk[0] = kind;
        push(&mut chunk, &parameter(BURST, &self.burst.to_be_bytes()));
        chunk
    }

    /// The packet that says it to who let its receiver in.
    pub(crate) fn accept(&self, peer_tag: u32) -> Vec<u8> {
        packet_of(peer_tag, &finish(self.chunk(INIT_ACK)))
    }

    /// The packet that asks for an association.
    fn ask(&self) -> Vec<u8> {
        let mut chunk = self.chunk(INIT);
        let missing = ANSWER_LEN.saturating_sub(HEADER + chunk.len() + 4);
        push(&mut chunk, &parameter(PADDING, &vec![0; missing]));
        packet_of(0, &finish(chunk))
    }
}

/// Reads an INIT or INIT ACK of a peer that these links are for: all of them can give messages up.
/// Whether this INIT ACK says that there is an association: the others have a cookie, by which there may be one.
pub(crate) fn is_last_of_opening(chunk: &[u8]) -> bool {
    chunk.len() >= INIT_LEN
        && !parameters(chunk, INIT_LEN).flatten().any(|it| short(it, 0) == Some(STATE_COOKIE))
}

pub(crate) fn read_init(chunk: &[u8]) -> Option<Hello> {
    let init = Init::read(chunk).filter(|init| init.forward_tsn)?;
    let burst = parameters(chunk, INIT_LEN).flatten().find(|it| short(it, 0) == Some(BURST));
    Some(Hello { init, burst: burst.and_then(|burst| number(burst, 4)).unwrap_or(0) })
}

/// The part of who connects.
#[derive(Debug)]
pub(crate) struct Opening {
    own: Hello,
    state: State,
    at: Duration,
    patience: Duration,
}

#[derive(Debug)]
enum State {
    Asks,
    /// The tag that the cookie came with, and how often it was echoed.
    Echoes {
        tag: u32,
        cookie: Vec<u8>,
        count: u32,
    },
    Done,
}

impl Opening {
    pub(crate) fn ask(own: Hello, now: Duration) -> Self {
        Self { own, state: State::Asks, at: now, patience: FIRST_RETRY }
    }

    /// Takes in a packet that has this side's tag; gives who the peer is when it ends the opening.
    pub(crate) fn handle_packet(&mut self, packet: &[u8], now: Duration) -> Option<Hello> {
        let chunk = chunks(packet).next().flatten().filter(|chunk| chunk[0] == INIT_ACK)?;
        let cookie = parameters(chunk, INIT_LEN).flatten();
        let cookie =
            cookie.filter(|it| short(it, 0) == Some(STATE_COOKIE)).map(|it| &it[4..]).next();
        match (&self.state, cookie) {
            (State::Asks, Some(cookie)) if cookie.len() <= MAX_COOKIE => {
                let tag = number(chunk, 4).filter(|tag| *tag != 0)?;
                self.state = State::Echoes { tag, cookie: cookie.to_vec(), count: 0 };
                (self.at, self.patience) = (now, FIRST_RETRY);
                None
            }
            (State::Echoes { .. }, None) => {
                let hello = read_init(chunk)?;
                self.state = State::Done;
                Some(hello)
            }
            _ => None,
        }
    }

    /// A packet to be sent.
    pub(crate) fn poll_packet(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.at > now {
            return None;
        }
        if matches!(self.state, State::Echoes { count: MAX_ECHOES, .. }) {
            (self.state, self.patience) = (State::Asks, FIRST_RETRY);
        }
        let packet = match &mut self.state {
            State::Asks => self.own.ask(),
            State::Echoes { tag, cookie, count } => {
                *count += 1;
                let mut echo = vec![COOKIE_ECHO, 0, 0, 0];
                echo.extend_from_slice(cookie);
                packet_of(*tag, &finish(echo))
            }
            State::Done => return None,
        };
        self.at = now + self.patience;
        self.patience = (2 * self.patience).min(LAST_RETRY);
        Some(packet)
    }

    /// When something is said again.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        (!matches!(self.state, State::Done)).then_some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn hello(tag: u32) -> Hello {
        let init = Init { tag, window: 1 << 20, streams: [3, 9], tsn: tag, forward_tsn: true };
        Hello { init, burst: 3 }
    }

    fn with_cookie(cookie: &[u8]) -> Vec<u8> {
        packet_of(7, &hello(8).init.chunk(Some(cookie)))
    }

    #[test]
    fn it_says_again_what_gets_lost_and_asks_anew_where_nobody_knows_its_cookie() {
        let mut opening = Opening::ask(hello(7), Duration::ZERO);
        let mut now = Duration::ZERO;
        let ask = opening.poll_packet(now).unwrap();
        assert_eq!(opening.poll_packet(399 * MS), None);
        now = opening.poll_timeout().unwrap();
        assert_eq!((now, opening.poll_packet(now)), (400 * MS, Some(ask.clone())));
        // What is no answer to that is passed over.
        assert_eq!(opening.handle_packet(&hello(9).accept(7), now), None);
        assert_eq!(opening.handle_packet(&with_cookie(&[1; MAX_COOKIE + 1]), now), None);
        assert_eq!(opening.poll_packet(now), None);
        assert_eq!(opening.handle_packet(&with_cookie(b"cookie"), now), None);
        let echo = opening.poll_packet(now).unwrap();
        assert_eq!((number(&echo, 4), &echo[HEADER..HEADER + 1]), (Some(8), &[COOKIE_ECHO][..]));
        assert_eq!(opening.handle_packet(&with_cookie(b"other"), now), None);
        for _ in 1..MAX_ECHOES {
            now = opening.poll_timeout().unwrap();
            assert_eq!(opening.poll_packet(now), Some(echo.clone()));
        }
        now = opening.poll_timeout().unwrap();
        assert_eq!(opening.poll_packet(now), Some(ask));
        opening.handle_packet(&with_cookie(b"other"), now);
        assert_ne!(opening.poll_packet(now), Some(echo));
        assert_eq!(opening.handle_packet(&hello(9).accept(7), now), Some(hello(9)));
        assert_eq!((opening.poll_packet(now), opening.poll_timeout()), (None, None));
        assert_eq!(opening.handle_packet(&hello(9).accept(7), now), None);
    }
}
