//! What stands behind what: chunks in the order of their TSNs.

use std::collections::VecDeque;

use deltawire_channels::Order as DeliveryOrder;

use super::{MAX_CHUNKS, STREAMS, broken};
use crate::Violation;
use crate::packet::{is_after, number};

pub(super) const UNORDERED: u8 = 4;
const BEGIN: u8 = 2;
const END: u8 = 1;

/// What a DATA chunk says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) tsn: u32,
    pub(super) stream: u16,
    sequence: u16,
    flags: u8,
    /// Bytes of its packet.
    packet: u16,
    /// Whether the packet's bytes are counted with this chunk: the one that is acknowledged last.
    charged: bool,
}

impl Chunk {
    pub(super) fn read(chunk: &[u8], packet: u16) -> Option<Self> {
        let streams = number(chunk, 8)?;
        Some(Self {
            tsn: number(chunk, 4)?,
            stream: (streams >> 16) as u16,
            sequence: streams as u16,
            flags: chunk.get(1)? & (UNORDERED | BEGIN | END),
            packet,
            charged: false,
        })
    }
}

/// What came, and what the stack has acknowledged of it.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// The stream whose messages may get lost, if there is one, and whether they are ordered.
    pub(super) lossy: Option<(u16, DeliveryOrder)>,
    /// The TSN up to which the stack has acknowledged everything.
    pub(super) acknowledged: Option<u32>,
    /// The TSN up to which the peer has given everything up, beyond what had come.
    forwarded: Option<u32>,
    /// What came beyond, by TSN.
    ahead: VecDeque<Chunk>,
    /// Bytes of the packets that it came in.
    ahead_bytes: usize,
    /// The message whose end is not acknowledged: its first chunk, the TSN of its last so far, and how
    /// many there are.
    current: Option<(Chunk, u32, u16)>,
    /// Numbers of the next ordered messages, by stream.
    next: [u16; STREAMS],
    /// The chunk that was looked at last.
    last: Option<u32>,
    /// Behind this number the messages of the stream that may lose some were given up.
    given_up: Option<u16>,
}

impl Arrived {
    /// The peer begins with this TSN: what came before it said so, and is not behind it, was never given to the
    /// stack.
    #[cfg(feature = "association")]
    pub(super) fn begin(&mut self, tsn: u32) {
        let before = tsn.wrapping_sub(1);
        self.ahead.retain(|chunk| is_after(chunk.tsn, before));
        self.ahead.make_contiguous().sort_by_key(|chunk| chunk.tsn.wrapping_sub(tsn));
        let charged = self.ahead.iter().filter(|chunk| chunk.charged);
        self.ahead_bytes = charged.map(|chunk| usize::from(chunk.packet)).sum();
        (self.acknowledged, self.last) = (Some(before), Some(before));
    }

    /// Chunks that came and are not acknowledged.
    pub(super) fn chunks_ahead(&self) -> usize {
        self.ahead.len()
    }

    /// Bytes of the packets that they came in.
    pub(super) fn bytes_ahead(&self) -> usize {
        self.ahead_bytes
    }

    /// The TSN up to which the stack needs nothing more, as far as it is known.
    #[inline]
    pub(super) fn floor(&self) -> Option<u32> {
        match (self.acknowledged, self.forwarded) {
            (Some(acknowledged), Some(forwarded)) if is_after(forwarded, acknowledged) => {
                Some(forwarded)
            }
            (acknowledged, forwarded) => acknowledged.or(forwarded),
        }
    }

    /// Whether the stack still takes it.
    #[inline]
    pub(super) fn is_new(&self, tsn: u32) -> bool {
        self.floor().is_none_or(|floor| is_after(tsn, floor))
    }

    /// Where a TSN is in what came beyond, or belongs.
    fn position(&self, tsn: u32) -> usize {
        if self.ahead.back().is_none_or(|last| is_after(tsn, last.tsn)) {
            return self.ahead.len();
        }
        self.ahead.partition_point(|other| is_after(tsn, other.tsn))
    }

    /// Notes the new chunks of one packet.
    pub(super) fn take(&mut self, chunks: &[Chunk]) -> Result<(), Violation> {
        let mut last: Option<u32> = None;
        for chunk in chunks {
            let at = self.position(chunk.tsn);
            match self.ahead.get(at).filter(|other| other.tsn == chunk.tsn) {
                Some(same) => {
                    let [same, chunk] = [same, chunk].map(|it| (it.stream, it.sequence, it.flags));
                    if same != chunk {
                        return Err(broken("a TSN came twice, and differs"));
                    }
                }
                None => self.ahead.insert(at, *chunk),
            }
            if last.is_none_or(|last| is_after(chunk.tsn, last)) {
                last = Some(chunk.tsn);
            }
        }
        let Some(last) = last else { return Ok(()) };
        let at = self.position(last);
        if let Some(chunk) = self.ahead.get_mut(at) {
            let bytes = chunks[0].packet;
            // One that came twice may be kept in the longer packet: the stack may have dropped the other.
            let before = if chunk.charged { chunk.packet } else { 0 };
            (chunk.charged, chunk.packet) = (true, before.max(bytes));
            self.ahead_bytes += usize::from(chunk.packet - before);
        }
        Ok(())
    }

    /// The stack has everything up to `tsn`.
    pub(super) fn acknowledge(&mut self, tsn: u32) -> Result<(), Violation> {
        self.acknowledged = Some(tsn);
        while self.ahead.front().is_some_and(|chunk| !is_after(chunk.tsn, tsn)) {
            let Some(chunk) = self.ahead.pop_front() else { break };
            if chunk.charged {
                self.ahead_bytes -= usize::from(chunk.packet);
            }
            self.follow(chunk)?;
        }
        Ok(())
    }

    /// The peer has given up everything up to this TSN. Says whether the stack heeds it: it passes over one that
    /// is not beyond what has come without a gap.
    pub(super) fn forward_to(&mut self, tsn: u32) -> bool {
        let Some(mut end) = self.floor() else { return true };
        for chunk in &self.ahead {
            if chunk.tsn == end.wrapping_add(1) {
                end = chunk.tsn;
            } else if is_after(chunk.tsn, end) {
                break;
            }
        }
        let heeded = is_after(tsn, end);
        if heeded {
            self.forwarded = Some(tsn);
        }
        heeded
    }

    /// The peer has given up ordered messages of a stream up to this number (RFC 3758, section 3.2).
    pub(super) fn forward(&mut self, stream: u16, sequence: u16) {
        let lossy = self.lossy.is_some_and(|(lossy, _)| lossy == stream);
        if let Some(next) = self.next.get_mut(usize::from(stream)).filter(|_| lossy) {
            let after = sequence.wrapping_add(1);
            if is_behind(*next, after) {
                *next = after;
            }
            if self.given_up.is_none_or(|it| is_behind(it, after)) {
                self.given_up = Some(after);
            }
        }
    }

    /// The next chunk in the order of TSNs.
    fn follow(&mut self, chunk: Chunk) -> Result<(), Violation> {
        let lossy =
            self.lossy.filter(|(stream, _)| *stream == chunk.stream).map(|(_, order)| order);
        let begins = chunk.flags & BEGIN != 0;
        let ordered = chunk.flags & UNORDERED == 0;
        if lossy.is_some_and(|order| ordered != (order == DeliveryOrder::Ordered)) {
            return Err(broken(if ordered {
                "a message was ordered where none is"
            } else {
                "a message was unordered where none is"
            }));
        }
        // Right behind a chunk that came, nothing was given up.
        let follows =
            self.last.replace(chunk.tsn).is_some_and(|last| last.wrapping_add(1) == chunk.tsn);
        // What was left out is the rest of the message, which the stack has given up.
        if let Some((first, ..)) =
            self.current.take_if(|(_, last, _)| chunk.tsn != last.wrapping_add(1))
        {
            if self.lossy.is_none_or(|(stream, _)| stream != first.stream) {
                return Err(broken("a message was left out where none may get lost"));
            }
            if first.flags & UNORDERED == 0
                && !self.given_up.is_some_and(|it| is_behind(first.sequence, it))
            {
                return Err(broken("the rest of a message was left out, and not given up"));
            }
        }
        let (first, count) = match self.current {
            None if !begins && (lossy.is_none() || follows) => {
                return Err(broken("a message began without its first chunk"));
            }
            None => {
                if ordered {
                    self.count(chunk, begins, lossy.is_some())?;
                }
                (chunk, 1)
            }
            Some((first, _, count)) => {
                let same = (first.stream, first.sequence) == (chunk.stream, chunk.sequence)
                    && (first.flags ^ chunk.flags) & UNORDERED == 0;
                if begins || !same {
                    return Err(broken("a message began within another"));
                }
                (first, count + 1)
            }
        };
        if count > MAX_CHUNKS {
            return Err(broken("a message came in more chunks than any needs"));
        }
        let ends = chunk.flags & END != 0;
        self.current = (!ends).then_some((first, chunk.tsn, count));
        Ok(())
    }

    /// An ordered message begins, or what is left of one.
    fn count(&mut self, chunk: Chunk, begins: bool, lossy: bool) -> Result<(), Violation> {
        let next = &mut self.next[usize::from(chunk.stream)];
        if chunk.sequence == *next && begins {
            *next = next.wrapping_add(1);
            return Ok(());
        }
        // What was given up may have come in part. Behind what is neither there nor given up everything would
        // wait for ever.
        match lossy && is_behind(chunk.sequence, *next) {
            true => Ok(()),
            false => Err(broken("a stream's messages were not numbered one by one")),
        }
    }
}

/// Whether a message's number comes before another: they wrap around (RFC 1982).
fn is_behind(sequence: u16, other: u16) -> bool {
    (sequence.wrapping_sub(other) as i16) < 0
}
