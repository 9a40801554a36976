//! What of DTLS is let in.
//!
//! The stack keeps records that are ahead of their turn, counts them whatever their length, and takes
//! about 5 KiB for each beside its bytes. So each record is looked at first, and goes to the stack
//! alone: what no handshake needs is dropped, as if the network had lost it. What is then left for the
//! stack to hold has a bound in bytes: [`MAX_HELD`].
//!
//! Records of DTLS 1.2 say in the clear of what kind they are (RFC 6347, section 4.1).

use crate::MAX_DATAGRAM_LEN;

/// How many records DTLS holds that are ahead of their turn, or wait for the next drain.
pub const MAX_QUEUE: usize = 32;

/// The longest message of a handshake, bytes: certificates are the long ones.
pub const MAX_MESSAGE_LEN: usize = 8 << 10;

/// Messages of a handshake: no flight has more than five, and there are three from each side.
const MAX_MESSAGES: u16 = 16;

/// Messages, or pieces of them, in one record.
const MAX_PIECES: usize = 8;

/// Records under the new keys that may come before the handshake is seen to be over: what its other
/// side says first may overtake its last words.
const MAX_EARLY: usize = 8;

/// The longest record of a handshake under the new keys, bytes: it says 12.
const MAX_FINISHED_LEN: usize = 128;

/// What the stack takes for one record beside its bytes.
const RECORD: usize = 6 << 10;

/// What DTLS holds at most of what a peer sent, bytes: its queue, as many buffers that it keeps
/// for records to come, and the messages of the handshake, of which one may be put together.
pub const MAX_HELD: usize = MAX_QUEUE * (RECORD + 2 * MAX_DATAGRAM_LEN) + 8 * MAX_MESSAGE_LEN;

const HEADER: usize = 13;
const PIECE: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// What was seen of one link's DTLS.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Whether the handshake is over.
    pub(super) connected: bool,
    /// Records of data that came before.
    early: usize,
}

impl Records {
    /// Takes the next record off a datagram; `None` if no more is there. Says whether the stack
    /// gets it.
    #[inline]
    pub(super) fn next<'a>(&mut self, datagram: &mut &'a [u8]) -> Option<(&'a [u8], bool)> {
        let len = datagram.get(11..HEADER)?;
        let len = HEADER + usize::from(u16::from_be_bytes([len[0], len[1]]));
        let (record, rest) = datagram.split_at_checked(len)?;
        *datagram = rest;
        Some((record, self.admit(record)))
    }

    #[inline]
    fn admit(&mut self, record: &[u8]) -> bool {
        let Some((header, body)) = record.split_at_checked(HEADER) else { return false };
        let (kind, epoch) = (header[0], u16::from_be_bytes([header[3], header[4]]));
        match (epoch, kind) {
            (1, APPLICATION_DATA) if self.connected => true,
            (1, APPLICATION_DATA) => {
                self.early += 1;
                self.early <= MAX_EARLY
            }
            (0 | 1, ALERT) => body.len() <= MAX_FINISHED_LEN,
            // The last flight may have got lost: it is asked for by the one before it.
            (0, HANDSHAKE) => is_handshake(body),
            (0, CHANGE_CIPHER_SPEC) => !self.connected && body == [1],
            (1, HANDSHAKE) => !self.connected && body.len() <= MAX_FINISHED_LEN,
            _ => false,
        }
    }
}

/// Whether it is messages of a handshake, or pieces of them, that any handshake may have.
fn is_handshake(mut body: &[u8]) -> bool {
    let mut pieces = 0;
    while let Some((header, rest)) = body.split_at_checked(PIECE) {
        let long = |at: usize| {
            u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]) as usize
        };
        let (len, offset, piece) = (long(1), long(6), long(9));
        let message = u16::from_be_bytes([header[4], header[5]]);
        let Some(rest) = rest.get(piece..) else { return false };
        pieces += 1;
        if len > MAX_MESSAGE_LEN || offset + piece > len || message >= MAX_MESSAGES {
            return false;
        }
        body = rest;
    }
    body.is_empty() && (1..=MAX_PIECES).contains(&pieces)
}
