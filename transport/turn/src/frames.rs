//! Takes messages out of a stream (RFC 8656, section 12.5): those of STUN say how long they are, and so does what goes in channels,
//! which is padded to a multiple of four.

use crate::TurnError;
use crate::message::HEADER;

/// The longest message that is taken out of a stream, bytes; longer ones, which carry more than any datagram of a link's,
/// are passed over.
pub const MAX_FRAME: usize = 4_096;

/// Bytes before what goes in a channel.
pub(crate) const CHANNEL_HEADER: usize = 4;

/// What came of a stream: less than [`MAX_FRAME`] bytes of it are kept.
#[derive(Debug, Default)]
pub struct Frames {
    part: Vec<u8>,
    /// Bytes that are passed over.
    skip: usize,
}

impl Frames {
    /// Takes in what came, and hands on each message that is whole.
    ///
    /// # Errors
    ///
    /// When it is no stream of TURN's; it is of no more use then.
    pub fn handle(
        &mut self,
        mut bytes: &[u8],
        mut message: impl FnMut(&[u8]),
    ) -> Result<(), TurnError> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            // As much as tells how long it is, then the rest of it.
            let wanted = match measure(&self.part)? {
                None => CHANNEL_HEADER,
                Some((_, whole)) if whole > MAX_FRAME => {
                    self.skip = whole - self.part.len();
                    self.part.clear();
                    continue;
                }
                Some((_, whole)) => whole,
            };
            let taken = (wanted - self.part.len()).min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            self.part.extend_from_slice(now);
            bytes = later;
            if let Some((len, whole)) = measure(&self.part)?
                && self.part.len() == whole
            {
                message(self.part.get(..len).unwrap_or_default());
                self.part.clear();
            }
        }
        Ok(())
    }
}

/// How long the message is that begins so: without its padding, and with it.
fn measure(part: &[u8]) -> Result<Option<(usize, usize)>, TurnError> {
    let Some([first, _, a, b]) = part.first_chunk::<4>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([*a, *b]));
    match first >> 6 {
        0 => Ok(Some((HEADER + len, HEADER + len))),
        1 => Ok(Some((CHANNEL_HEADER + len, CHANNEL_HEADER + len.next_multiple_of(4)))),
        _ => Err(TurnError::Broken("what comes over TCP is neither STUN's nor a channel's")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut stun = vec![0, 1, 0, 8];
        stun.resize(HEADER + 8, 5);
        let channel = vec![0x40, 1, 0, 3, 7, 8, 9];
        let empty = vec![0x40, 2, 0, 0];
        let mut long = vec![0x40, 1, 0xff, 0xfe];
        long.resize(4 + 0xfffe, 1);
        let mut bytes = Vec::new();
        for message in [&stun, &channel, &long, &empty, &stun] {
            bytes.extend_from_slice(message);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        (bytes, vec![stun.clone(), channel, empty, stun])
    }

    #[test]
    fn messages_come_out_however_the_stream_is_cut() {
        let (bytes, expected) = stream();
        for cut in [1, 2, 3, 5, 7, 1_000, bytes.len()] {
            let (mut frames, mut came) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(cut) {
                frames.handle(piece, |message| came.push(message.to_vec())).unwrap();
                assert!(frames.part.capacity() <= 2 * MAX_FRAME);
            }
            assert!(came == expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_stream_of_turn_is_refused() {
        for first in [0x80, 0xff] {
            let refused = Frames::default().handle(&[first; 9], |_| panic!("there is nothing"));
            assert!(matches!(refused, Err(TurnError::Broken(_))));
        }
    }
}
