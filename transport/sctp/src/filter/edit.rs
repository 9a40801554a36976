//! Packets without what a stack does not cope with.

use super::{CONTROL, DATA_HEADER, SctpFilter};
use crate::packet::{
    ABORT, DATA, FORWARD_TSN, HEADER, HEARTBEAT, RE_CONFIG, SACK, SACK_HEADER, SHUTDOWN,
    SHUTDOWN_ACK, SHUTDOWN_COMPLETE, chunks, number, parameters, push, seal, short,
};

/// The parameter of a HEARTBEAT (RFC 9260, section 3.3.5).
const HEARTBEAT_INFO: u16 = 1;

/// The parameter of a RE-CONFIG that asks for a stream to be reset (RFC 6525, section 4.1).
const OUTGOING_RESET: u16 = 13;

/// Bit of a chunk's type: one that is not known does not keep the next from being read (RFC 9260, section
/// 3.2).
const SKIP: u8 = 0x80;

impl SctpFilter {
    /// Writes a packet once more, without chunks that no stack needs and that not every stack copes with; and
    /// with the blocks of its SACK in order, each TSN once.
    #[cfg_attr(not(feature = "association"), allow(dead_code))]
    pub fn edit(packet: &[u8]) -> Vec<u8> {
        let mut edited = Vec::with_capacity(packet.len());
        edited.extend_from_slice(packet.get(..HEADER).unwrap_or_default());
        let mut heartbeat = false;
        for chunk in chunks(packet).flatten() {
            match chunk[0] {
                SACK => push(&mut edited, &tidied(chunk)),
                ABORT => push(&mut edited, &[ABORT, 0, 0, 4]),
                HEARTBEAT if heartbeat => {}
                kind if is_plain(chunk) => {
                    heartbeat |= kind == HEARTBEAT;
                    push(&mut edited, chunk);
                }
                kind if kind & SKIP != 0 || is_known(kind) => {}
                _ => break,
            }
        }
        if edited.len() >= HEADER {
            seal(&mut edited);
        }
        edited
    }
}

/// Whether a chunk, other than a SACK, is passed on as it is. What is no part of an association that has
/// begun is not, nor is ERROR or HEARTBEAT ACK, from which nothing follows here. And what is within a chunk
/// has to add up: a stack that goes on where that ends would take the rest for chunks that nobody looked at.
#[inline]
pub(super) fn is_plain(chunk: &[u8]) -> bool {
    let len = chunk.len();
    match chunk[0] {
        DATA => len > DATA_HEADER,
        FORWARD_TSN => len >= 8 && len.is_multiple_of(4),
        HEARTBEAT => {
            let info = short(chunk, 6).map(usize::from);
            short(chunk, 4) == Some(HEARTBEAT_INFO) && info == Some(len - 4)
        }
        ABORT | SHUTDOWN_ACK | SHUTDOWN_COMPLETE => len == 4,
        SHUTDOWN => len == 8,
        _ => false,
    }
}

/// Whether chunks of this type are known, though not passed on.
fn is_known(kind: u8) -> bool {
    kind <= 11 || CONTROL.contains(&kind) || [RE_CONFIG, FORWARD_TSN].contains(&kind)
}

/// Whether the blocks of a SACK ascend and do not overlap; `None` if it is malformed.
pub(super) fn is_tidy(sack: &[u8]) -> Option<bool> {
    let (blocks, duplicates) = (short(sack, 12)?, short(sack, 14)?);
    let len = SACK_HEADER + 4 * (usize::from(blocks) + usize::from(duplicates));
    if sack.len() != len {
        return None;
    }
    let mut before = 0;
    let tidy = gaps(sack).all(|(start, end)| {
        let tidy = start > before && start <= end;
        before = end;
        tidy
    });
    Some(tidy)
}

/// The SACK with its blocks in order, each TSN once, and without the duplicates that it names.
fn tidied(sack: &[u8]) -> Vec<u8> {
    let mut blocks: Vec<(u16, u16)> = gaps(sack).filter(|(start, end)| start <= end).collect();
    blocks.sort_unstable();
    let mut tidied = sack[..SACK_HEADER].to_vec();
    let mut count = 0_u16;
    let mut next = blocks.into_iter().peekable();
    while let Some((start, mut end)) = next.next() {
        while let Some((_, further)) = next.next_if(|(start, _)| *start <= end.saturating_add(1)) {
            end = end.max(further);
        }
        tidied.extend(start.to_be_bytes());
        tidied.extend(end.to_be_bytes());
        count += 1;
    }
    let len = u16::try_from(tidied.len()).unwrap_or(u16::MAX);
    tidied[2..4].copy_from_slice(&len.to_be_bytes());
    tidied[12..14].copy_from_slice(&count.to_be_bytes());
    tidied[14..16].fill(0);
    tidied
}

/// The blocks of a SACK: the first and the last TSN of each, from the acknowledged one on.
fn gaps(sack: &[u8]) -> impl Iterator<Item = (u16, u16)> {
    let count = usize::from(short(sack, 12).unwrap_or(0));
    let blocks = sack.get(SACK_HEADER..).unwrap_or_default().chunks_exact(4).take(count);
    blocks.filter_map(|block| Some((short(block, 0)?, short(block, 2)?)))
}

/// The last TSN before the streams are reset that a RE-CONFIG names.
pub(super) fn last_tsn(chunk: &[u8]) -> Option<u32> {
    let mut resets = parameters(chunk, 4).flatten();
    let reset = resets.find(|parameter| short(parameter, 0) == Some(OUTGOING_RESET))?;
    number(reset, 12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{begin, is_sealed};

    fn sack(blocks: &[(u16, u16)], duplicates: u16) -> Vec<u8> {
        let len = SACK_HEADER as u16 + 4 * (blocks.len() as u16 + duplicates);
        let mut sack = vec![SACK, 0];
        sack.extend(len.to_be_bytes());
        sack.extend([0, 0, 0, 9, 0, 1, 0, 0]);
        sack.extend((blocks.len() as u16).to_be_bytes());
        sack.extend(duplicates.to_be_bytes());
        for (start, end) in blocks {
            sack.extend(start.to_be_bytes());
            sack.extend(end.to_be_bytes());
        }
        sack.extend(vec![0; 4 * usize::from(duplicates)]);
        sack
    }

    #[test]
    fn blocks_are_put_in_order_and_merged() {
        for (blocks, tidy) in [
            (&[][..], true),
            (&[(2, 2), (4, 9)][..], true),
            (&[(4, 9), (2, 2)][..], false),
            (&[(2, 9), (5, 7)][..], false),
            (&[(5, 4)][..], false),
            (&[(0, 4)][..], false),
        ] {
            assert_eq!(is_tidy(&sack(blocks, 0)), Some(tidy), "{blocks:?}");
            assert_eq!(is_tidy(&sack(blocks, 3)), Some(tidy), "{blocks:?}");
            assert_eq!(is_tidy(&sack(blocks, 3)[..16]), None);
        }
        let wild = sack(&[(20, 30), (2, 3), (4, 4), (25, 40), (9, 8), (60, 65_535), (61, 62)], 5);
        let tidied = tidied(&wild);
        assert_eq!(gaps(&tidied).collect::<Vec<_>>(), [(2, 4), (20, 40), (60, 65_535)]);
        assert_eq!((is_tidy(&tidied), tidied.len()), (Some(true), SACK_HEADER + 12));
        assert_eq!(tidied[..12], [&wild[..2], &[0, 28], &wild[4..12]].concat());
    }

    #[test]
    fn what_a_stack_does_not_cope_with_is_left_out() {
        let chunk = |kind: u8, body: &[u8]| {
            let mut chunk = vec![kind, 0, 0, 4 + body.len() as u8];
            chunk.extend(body);
            chunk
        };
        let heartbeat = [0, 1, 0, 8, 1, 2, 3, 4];
        let mut packet = begin([5_000, 5_000], 7);
        for (kind, body) in [
            (DATA, &[7; 13][..]),
            // ERROR, HEARTBEAT ACK, and what belongs to a handshake.
            (9, &[]),
            (5, &heartbeat),
            (1, &[0; 16]),
            (10, &[7; 9]),
            (11, &[]),
            (HEARTBEAT, &heartbeat),
            // Not known, but to be skipped.
            (0x84, &[7; 4]),
            (0xc1, &[7; 4]),
            // One is enough.
            (HEARTBEAT, &heartbeat),
            (RE_CONFIG, &[7; 12]),
            // What is within does not add up.
            (SHUTDOWN, &[0; 8]),
            (SHUTDOWN_ACK, &[0; 4]),
            (FORWARD_TSN, &[0; 6]),
            (ABORT, &[0, 12, 0, 99]),
            (DATA, &[8; 13]),
            // Not known, and nothing behind it counts.
            (0x3f, &[]),
            (DATA, &[9; 13]),
        ] {
            push(&mut packet, &chunk(kind, body));
        }
        let edited = SctpFilter::edit(&packet);
        let left: Vec<_> = chunks(&edited).map(|chunk| chunk.unwrap().to_vec()).collect();
        let [first, second] = [7, 8].map(|byte| chunk(DATA, &[byte; 13]));
        let (beat, abort) = (chunk(HEARTBEAT, &heartbeat), chunk(ABORT, &[]));
        assert_eq!(left, [first, beat, abort, second]);
        assert!(is_sealed(&edited) && !is_sealed(&packet));
        assert_eq!(edited[..8], packet[..8]);
    }

    /// What is behind a parameter that ends before its chunk does would be read as chunks.
    #[test]
    fn nothing_is_smuggled_in() {
        for info in [0, 3, 4, 8, 11, 13, 400] {
            let mut smuggler = vec![HEARTBEAT, 0, 0, 16, 0, 1];
            smuggler.extend(u16::to_be_bytes(info));
            smuggler.extend([RE_CONFIG, 0, 0, 8, 0, 0, 0, 0]);
            assert!(!is_plain(&smuggler), "{info}");
        }
        assert!(is_plain(&[HEARTBEAT, 0, 0, 8, 0, 1, 0, 4]));
    }
}
