//! The last word of an association: an ABORT, with why, if that is said.

use crate::init::packet_of;
use crate::packet::{ABORT, HEADER, chunks, short};

/// The cause of who ends an association because it wants to (RFC 9260, section 3.3.10.12): a text for people.
const BY_USER: u16 = 12;

/// The longest text that says why a peer is not let in, bytes; longer ones are cut before they are sent.
pub const MAX_REASON_LEN: usize = 256;

/// What tells a peer why it is not let in.
pub(crate) fn refusal(peer_tag: u32, reason: &str) -> Vec<u8> {
    // An empty one would be a text that says nothing.
    let reason = if reason.is_empty() { "not authorized" } else { reason };
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON_LEN)];
    let mut chunk = vec![ABORT, 0];
    let len = 4 + reason.len() as u16;
    chunk.extend((4 + len).to_be_bytes());
    chunk.extend(BY_USER.to_be_bytes());
    chunk.extend(len.to_be_bytes());
    chunk.extend_from_slice(reason);
    packet_of(peer_tag, &chunk)
}

/// What is said last, each time that the peer goes on.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    packet: Vec<u8>,
    due: bool,
}

impl Farewell {
    pub(crate) fn say(&mut self, peer_tag: u32, reason: Option<&str>) {
        self.packet = match reason {
            Some(reason) => refusal(peer_tag, reason),
            None => packet_of(peer_tag, &[ABORT, 0, 0, 4]),
        };
        self.due = true;
    }

    /// The peer has not heard it.
    pub(crate) fn again(&mut self) {
        self.due = !self.packet.is_empty();
    }

    pub(crate) fn poll(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.due).then(|| self.packet.clone())
    }

    /// What a packet says of why its sender ends the association.
    pub(crate) fn reason(packet: &[u8]) -> Option<String> {
        if packet.get(HEADER) != Some(&ABORT) {
            return None;
        }
        let chunk = chunks(packet).next().flatten()?;
        let reason = chunk.get(8..).filter(|_| short(chunk, 4) == Some(BY_USER))?;
        let len = usize::from(short(chunk, 6)?).checked_sub(4)?;
        let reason = reason.get(..len.min(MAX_REASON_LEN))?;
        Some(String::from_utf8_lossy(reason).chars().flat_map(char::escape_debug).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why() {
        let long = "ä".repeat(200);
        for (said, read) in [
            ("no", "no"),
            (&*long, &long[..MAX_REASON_LEN]),
            ("a\n", "a\\n"),
            ("", "not authorized"),
        ] {
            let mut farewell = Farewell::default();
            farewell.again();
            assert_eq!(farewell.poll(), None, "nothing was said");
            farewell.say(7, Some(said));
            let packet = farewell.poll().unwrap();
            assert_eq!(Farewell::reason(&packet).as_deref(), Some(read));
            assert_eq!(farewell.poll(), None);
            farewell.again();
            assert_eq!(farewell.poll(), Some(packet.clone()));
            for len in 0..packet.len() {
                Farewell::reason(&packet[..len]);
            }
            farewell.say(7, None);
            assert_eq!(Farewell::reason(&farewell.poll().unwrap()), None);
        }
    }
}
