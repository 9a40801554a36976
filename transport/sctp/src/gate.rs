//! Answers to who asks for an association over UDP, of which nothing is kept (RFC 9260, section 5.1.3): who echoes the
//! cookie has shown that it is where it says.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use constant_time_eq::constant_time_eq_16;

use crate::init::{
    COOKIE_ECHO, INIT_ACK, INIT_LEN, Init, STATE_COOKIE, finish, packet_of, parameter,
};
use crate::opening::{Hello, read_init};
use crate::packet::{HEADER, chunks, number, push};

/// How long a cookie is good for, seconds (RFC 9260, section 16).
pub const COOKIE_LIFE: u32 = 60;

/// Bytes of a cookie: when it was made, what the INIT said, and the code that proves that it was made here.
const COOKIE_LEN: usize = 4 + INIT_LEN + CODE_LEN;
const CODE_LEN: usize = 16;

/// Bytes of what who asks is answered. Who asks says as much, so that nobody is made to send others more than was sent to
/// it.
pub(crate) const ANSWER_LEN: usize = HEADER + INIT_LEN + 4 + COOKIE_LEN;

/// What makes cookies, and knows them again.
pub(crate) struct Gate {
    key: [u8; 32],
}

impl Gate {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// What an INIT is answered, which came from here. It is to be answered by an echo of the cookie, whereupon the
    /// association is made.
    pub(crate) fn answer(
        &self,
        packet: &[u8],
        source: SocketAddr,
        now: Duration,
    ) -> Option<Vec<u8>> {
        let mut chunks = chunks(packet);
        let chunk = chunks.next().flatten()?;
        // No more than one is read, and none may stand beside it.
        if packet.len() < ANSWER_LEN || chunks.next().is_some() {
            return None;
        }
        let hello = read_init(chunk)?;
        let mut cookie = seconds(now).to_be_bytes().to_vec();
        hello.init.write_fixed(&mut cookie);
        cookie.extend(hello.burst.to_be_bytes());
        let (code, tag) = self.code(&cookie, source);
        cookie.extend(code);
        let mut ack = vec![INIT_ACK, 0, 0, 0];
        // Of the association that is made later, this says nothing yet.
        Init { tag, tsn: 0, ..hello.init }.write_fixed(&mut ack);
        push(&mut ack, &parameter(STATE_COOKIE, &cookie));
        Some(packet_of(hello.init.tag, &finish(ack)))
    }

    /// Who it is whose echo of a cookie came from here.
    pub(crate) fn open(&self, packet: &[u8], source: SocketAddr, now: Duration) -> Option<Hello> {
        let chunk = chunks(packet).next().flatten().filter(|chunk| chunk[0] == COOKIE_ECHO)?;
        let cookie = chunk.get(4..).filter(|cookie| cookie.len() == COOKIE_LEN)?;
        let (said, code) = cookie.split_at_checked(COOKIE_LEN - CODE_LEN)?;
        let (right, tag) = self.code(said, source);
        if !constant_time_eq_16(&right, code.try_into().ok()?) || number(packet, 4) != Some(tag) {
            return None;
        }
        let age = seconds(now).checked_sub(number(said, 0)?)?;
        let init = Init::read_fixed(said.get(4..)?)?;
        let burst = number(said, INIT_LEN)?;
        (age <= COOKIE_LIFE).then_some(Hello { init: Init { forward_tsn: true, ..init }, burst })
    }

    /// What proves who made a cookie, and for whom; and the tag that stands in the packet with its echo.
    fn code(&self, said: &[u8], source: SocketAddr) -> ([u8; CODE_LEN], u32) {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        let address = match source.ip() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        hasher.update(&address.octets());
        hasher.update(&source.port().to_be_bytes());
        hasher.update(said);
        let hash = *hasher.finalize().as_bytes();
        let (mut code, mut tag) = ([0; CODE_LEN], [0; 4]);
        code.copy_from_slice(&hash[..CODE_LEN]);
        tag.copy_from_slice(&hash[CODE_LEN..CODE_LEN + 4]);
        // Zero is the tag of who has none yet.
        (code, u32::from_be_bytes(tag).max(1))
    }
}

fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::Opening;
    use crate::packet::seal;

    const NOW: Duration = Duration::from_secs(1_000);

    fn hello() -> Hello {
        let init = Init { tag: 7, window: 1 << 20, streams: [3, 9], tsn: 99, forward_tsn: true };
        Hello { init, burst: 212_992 }
    }

    /// The two packets of who asks.
    fn asked(gate: &Gate, source: SocketAddr) -> [Vec<u8>; 3] {
        let mut opening = Opening::ask(hello(), NOW);
        let ask = opening.poll_packet(NOW).unwrap();
        let answer = gate.answer(&ask, source, NOW).unwrap();
        assert!(opening.handle_packet(&answer, NOW).is_none());
        let echo = opening.poll_packet(NOW).unwrap();
        [ask, answer, echo]
    }

    #[test]
    fn who_echoes_its_cookie_is_known_by_what_it_said() {
        let gate = Gate::new([5; 32]);
        let source = "127.0.0.1:4000".parse().unwrap();
        let [ask, answer, echo] = asked(&gate, source);
        assert_eq!(answer.len(), ANSWER_LEN);
        assert!(ask.len() >= answer.len() && echo.len() <= answer.len());
        assert_eq!(gate.open(&echo, source, NOW), Some(hello()));
        let late = Duration::from_secs(u64::from(COOKIE_LIFE));
        assert_eq!(gate.open(&echo, source, NOW + late), Some(hello()));
        assert_eq!(gate.open(&echo, source, NOW + late + Duration::from_secs(1)), None);
        assert_eq!(gate.open(&echo, source, Duration::ZERO), None, "it is of the future");
        for other in ["127.0.0.1:4001", "127.0.0.2:4000", "[::1]:4000"] {
            assert_eq!(gate.open(&echo, other.parse().unwrap(), NOW), None, "{other}");
        }
        assert_eq!(
            gate.open(&echo, "[::ffff:127.0.0.1]:4000".parse().unwrap(), NOW),
            Some(hello())
        );
        assert_eq!(Gate::new([6; 32]).open(&echo, source, NOW), None, "another made it");
    }

    #[test]
    fn what_was_changed_is_not_believed_and_nothing_makes_it_panic() {
        let gate = Gate::new([5; 32]);
        let source = "127.0.0.1:4000".parse().unwrap();
        let [ask, _, echo] = asked(&gate, source);
        for packet in [&ask, &echo] {
            for at in 0..packet.len() {
                for value in [0, 1, 4, 0x7f, 0x80, 0xff] {
                    let mut changed = packet.clone();
                    changed[at] = value;
                    seal(&mut changed);
                    let same = changed == *packet;
                    let opened = gate.open(&changed, source, NOW);
                    // Ports mean nothing, nor do flags of the chunk.
                    let ignored = at < 4 || at == HEADER + 1 || (8..12).contains(&at);
                    assert!(same || ignored || opened.is_none(), "byte {at} as {value}");
                    let answer = gate.answer(&changed, source, NOW);
                    assert!(answer.is_none_or(|answer| answer.len() <= changed.len()));
                    gate.answer(&changed[..at], source, NOW);
                    gate.open(&changed[..at], source, NOW);
                }
            }
        }
        let two = [&ask[..], &ask[HEADER..]].concat();
        assert!(gate.answer(&two, source, NOW).is_none());
        assert!(gate.answer(&ask[..ANSWER_LEN - 4], source, NOW).is_none());
    }
}
