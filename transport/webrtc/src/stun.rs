//! Reads of STUN (RFC 8489) what links need: connectivity checks and their answers (RFC 8445).

/// Bytes of a message's header.
const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;

/// Identifies a request and its answer: 96 random bits.
pub(crate) type Transaction = [u8; 12];

/// A connectivity check, read in place. Nothing says that it is genuine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check<'a> {
    /// A binding request.
    Request {
        /// Names it.
        transaction: Transaction,
        /// What follows the header.
        attributes: &'a [u8],
    },
    /// The answer to one that proved itself: a binding success.
    Success {
        /// That of the request.
        transaction: Transaction,
    },
}

impl<'a> Check<'a> {
    /// Reads a datagram; `None` if it is neither. Its cost does not depend on the datagram.
    #[inline]
    pub(crate) fn read(datagram: &'a [u8]) -> Option<Self> {
        let [0 | 1, 1, ..] = datagram else { return None };
        let (header, attributes) = datagram.split_at_checked(HEADER)?;
        if header[4..8] != MAGIC_COOKIE {
            return None;
        }
        let transaction = header[8..].try_into().ok()?;
        match header[0] {
            0 => Some(Self::Request { transaction, attributes }),
            _ => Some(Self::Success { transaction }),
        }
    }

    /// The user fragment of whom a request is for: what stands before the colon in its USERNAME
    /// (RFC 8445, section 7.2.2).
    pub(crate) fn user_fragment(&self) -> Option<&'a str> {
        let Self::Request { mut attributes, .. } = *self else { return None };
        loop {
            let (start, rest) = attributes.split_at_checked(4)?;
            let kind = u16::from_be_bytes([start[0], start[1]]);
            let len = usize::from(u16::from_be_bytes([start[2], start[3]]));
            if kind == USERNAME {
                let name = std::str::from_utf8(rest.get(..len)?).ok()?;
                return name.split(':').next();
            }
            attributes = rest.get(len.next_multiple_of(4)..)?;
        }
    }
}

/// Reads a datagram in every way there is, for fuzzing: no bytes make it panic, and what it says
/// it found is there.
#[doc(hidden)]
pub fn read_check(datagram: &[u8]) {
    let Some(check) = Check::read(datagram) else { return };
    let (Check::Request { transaction, .. } | Check::Success { transaction }) = check;
    assert_eq!(datagram.get(8..20), Some(&transaction[..]));
    if let Some(name) = check.user_fragment() {
        assert!(matches!(check, Check::Request { .. }));
        assert!(name.is_empty() || datagram.windows(name.len()).any(|it| it == name.as_bytes()));
    }
}

/// A binding request for whom `username` names, as far as it is read here.
#[cfg(test)]
pub(crate) fn request(transaction: u8, username: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    datagram.extend([transaction; 12]);
    // An attribute before it whose length is no multiple of four.
    datagram.extend([0x80, 0x22, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
    datagram.extend([0, 6, 0, username.len() as u8]);
    datagram.extend(username);
    datagram.resize(datagram.len().next_multiple_of(4), 0);
    let len = (datagram.len() - HEADER) as u16;
    datagram[2..4].copy_from_slice(&len.to_be_bytes());
    datagram
}

/// A binding success, as far as it is read here.
#[cfg(test)]
pub(crate) fn success(transaction: u8) -> Vec<u8> {
    let mut datagram = vec![1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    datagram.extend([transaction; 12]);
    datagram
}

#[cfg(test)]
mod tests {
    use is::stun::{StunMessage, TransId};

    use super::*;

    fn name(datagram: &[u8]) -> Option<&str> {
        Check::read(datagram)?.user_fragment()
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let whole = request(9, b"abcd:efgh");
        for end in 0..whole.len() {
            read_check(&whole[..end]);
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[end] = value;
                read_check(&damaged);
            }
        }
        assert_eq!(name(&whole), Some("abcd"));
        assert_eq!(name(&request(9, b"abcd")), Some("abcd"));
        assert_eq!(name(&request(9, &[0xff, b':'])), None);
        assert_eq!(name(&success(9)), None);
    }

    /// What others write is read as what it is.
    #[test]
    fn checks_of_the_stack_are_read() {
        let hmac = |_: &[u8], _: &[&[u8]]| [7; 20];
        let id = TransId::new();
        let mut bytes = [0; 500];
        let check = StunMessage::binding_request("here:there", id, true, 5, 9, false);
        let len = check.to_bytes(Some(b"secret"), &mut bytes, hmac).unwrap();
        let Some(read @ Check::Request { transaction, .. }) = Check::read(&bytes[..len]) else {
            panic!("it is a request");
        };
        assert_eq!(read.user_fragment(), Some("here"));
        assert_eq!(transaction[..], bytes[8..20]);
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let answer = StunMessage::binding_reply(id, address);
        let len = answer.to_bytes(Some(b"secret"), &mut bytes, hmac).unwrap();
        assert_eq!(Check::read(&bytes[..len]), Some(Check::Success { transaction }));
    }
}
