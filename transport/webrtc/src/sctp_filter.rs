//! What of SCTP is let in.
//!
//! The stack counts its receive window in bytes of messages. It does not count what it keeps for each
//! chunk, nor chunks that fill a hole, nor streams, and its work for a chunk grows with how many it
//! holds. So a peer could make it hold any amount. Here each packet is looked at between DTLS and the
//! stack, and what no honest peer sends ends the link: then the stack holds at most [`max_held`].
//!
//! It follows from RFC 9260 that in the order of their TSNs, the chunks of one message stand together
//! (section 6.9), and the ordered messages of each stream are numbered one by one (section 6.6). That is
//! checked when the stack acknowledges chunks. On a stream that may lose messages, numbers are left out, so
//! there only what stands together is checked.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use deltawire_channels::waking::Flag;
use deltawire_channels::{Delivery, Order as DeliveryOrder};

use crate::{EngineError, MAX_DATAGRAM_LEN};

/// Bytes of packets that may have come and not be acknowledged, because others before them are
/// missing: they stay in memory whole. More are dropped, as if the network had lost them. Twice
/// SCTP's receive window, which is never less than 1 MiB.
#[must_use]
pub const fn max_ahead_bytes(receive_buffer: u32) -> usize {
    let window = receive_buffer as usize;
    2 * if window > 1 << 20 { window } else { 1 << 20 }
}

/// Chunks in these packets. More are dropped too. An honest peer has less than SCTP's receive window on
/// its way: so many chunks of 256 bytes.
#[must_use]
pub const fn max_ahead(receive_buffer: u32) -> usize {
    max_ahead_bytes(receive_buffer) / 512
}

/// Chunks beyond all these that may come in packets which also hold what is missing first: bytes of such
/// packets are [`RESERVE_BYTES`]. Without them a link would hang whose peer bundles what is missing with
/// what is missing later: each such packet would be dropped. Few are enough, because an honest sender
/// repeats in the order of TSNs (RFC 9260, section 6.1): where a packet holds what is missing first and
/// something beyond the room, it holds all that is missing between, so nearly all can be acknowledged.
pub const RESERVE: usize = 256;

/// Bytes of the packets that these chunks come in: so many of the longest.
pub const RESERVE_BYTES: usize = 4 * MAX_DATAGRAM_LEN;

/// Chunks of one message. The longest, of 64 KiB, takes 131 in datagrams of 576 bytes.
pub const MAX_CHUNKS: u16 = 512;

/// What the stack holds of what a peer sent over SCTP, at most, bytes: the packets, half a KiB for
/// what it keeps of each chunk, and two messages in the most chunks, each in the longest packet: one that is
/// not finished, and one that was given up.
///
/// It does not hold where the peer's deltas are ordered and may get lost. There it can send messages
/// behind one that it never sends and never gives up, as short as it likes: up to the receive window in bytes
/// of messages, each with half a KiB and its packet, up to 2 KiB.
#[must_use]
pub const fn max_held(receive_buffer: u32) -> usize {
    max_ahead_bytes(receive_buffer)
        + RESERVE_BYTES
        + 512 * (max_ahead(receive_buffer) + RESERVE)
        + 2 * 2_560 * MAX_CHUNKS as usize
}

/// Times that a peer may begin an association: it repeats itself when nothing comes back.
pub const MAX_INITS: u8 = 16;

/// Streams of a link.
const STREAMS: usize = 3;

/// The filter of one link.
#[derive(Debug)]
pub(super) struct SctpFilter {
    admission: Mutex<Admission>,
    /// Whether the peer acknowledged anything since this was asked last.
    acknowledged: Flag,
    /// Whether the link has to end, and nobody knows yet.
    violated: Flag,
}

#[derive(Debug)]
struct Admission {
    /// What SCTP's receive window is, bytes.
    receive_buffer: u32,
    /// The stream whose messages may get lost, if there is one, and whether they are ordered.
    lossy: Option<(u16, DeliveryOrder)>,
    /// The TSN up to which the stack has acknowledged everything.
    acknowledged: Option<u32>,
    /// What came beyond, by TSN.
    ahead: VecDeque<Chunk>,
    /// Bytes of the packets that it came in.
    ahead_bytes: usize,
    /// The message whose end is not acknowledged: its first chunk, the TSN of its last so far, and how
    /// many there are.
    current: Option<(Chunk, u32, u16)>,
    /// Numbers of the next ordered messages, by stream.
    next: [u16; STREAMS],
    inits: u8,
    violation: Option<EngineError>,
}

/// What a DATA chunk says of itself.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    tsn: u32,
    stream: u16,
    sequence: u16,
    flags: u8,
    /// Bytes of its packet.
    packet: u16,
    /// Whether the packet's bytes are counted with this chunk: the one that is acknowledged last.
    charged: bool,
}

const HEADER: usize = 12;
const UNORDERED: u8 = 4;
const BEGIN: u8 = 2;
const END: u8 = 1;

// Types of chunks (RFC 9260, section 3.2; RFC 3758; RFC 8260).
const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
/// SACK, HEARTBEAT, HEARTBEAT ACK, ABORT, SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE: they leave
/// nothing in memory.
const CONTROL: [u8; 7] = [SACK, 4, 5, 6, 7, 8, 14];
const I_DATA: u8 = 64;
const FORWARD_TSN: u8 = 192;
const I_FORWARD_TSN: u8 = 194;

impl SctpFilter {
    pub(super) fn new() -> Self {
        let admission = Admission {
            receive_buffer: 0,
            lossy: None,
            acknowledged: None,
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            current: None,
            next: [0; STREAMS],
            inits: 0,
            violation: None,
        };
        Self {
            admission: Mutex::new(admission),
            acknowledged: Flag::default(),
            violated: Flag::default(),
        }
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how much room there is, on which stream the peer sends deltas, and what they are promised.
    pub(super) fn configure(&self, receive_buffer: u32, deltas: u16, delivery: Delivery) {
        let mut admission = self.admission();
        admission.receive_buffer = receive_buffer;
        admission.lossy = delivery.may_lose().then_some((deltas, delivery.order));
    }

    /// Whether the stack gets this packet of the peer's.
    pub(super) fn admit(&self, packet: &[u8]) -> bool {
        let mut admission = self.admission();
        if admission.violation.is_some() {
            // Last words may still be said, and heard.
            return chunks(packet).all(|chunk| {
                chunk.and_then(<[u8]>::first).is_some_and(|kind| CONTROL.contains(kind))
            });
        }
        match admission.admit(packet) {
            Ok(admitted) => {
                if admitted && sack(packet).is_some() {
                    self.acknowledged.raise();
                }
                admitted
            }
            Err(error) => {
                self.violate(&mut admission, error);
                false
            }
        }
    }

    /// Notes what the stack sends.
    pub(super) fn sent(&self, packet: &[u8]) {
        let Some(tsn) = sack(packet).and_then(|chunk| number(chunk, 4)) else { return };
        let mut admission = self.admission();
        if let Err(error) = admission.acknowledge(tsn) {
            self.violate(&mut admission, error);
        }
    }

    /// Whether an acknowledgement of the peer came since the last call.
    pub(super) fn take_acknowledged(&self) -> bool {
        self.acknowledged.take()
    }

    /// Why the link has to end: once. It is asked all the time, so it takes the lock only if it has
    /// to.
    pub(super) fn take_violation(&self) -> Option<EngineError> {
        // Pairs with the store of `violate`; the reason itself is behind the lock.
        self.violated.take().then(|| self.admission().violation.clone()).flatten()
    }

    /// Whether the peer has begun an association.
    pub(super) fn has_begun(&self) -> bool {
        self.admission().inits > 0
    }

    fn violate(&self, admission: &mut Admission, error: EngineError) {
        if admission.violation.is_none() {
            admission.violation = Some(error);
            self.violated.raise();
        }
    }
}

impl Admission {
    /// Whether the stack gets a packet: whole or not at all.
    fn admit(&mut self, packet: &[u8]) -> Result<bool, EngineError> {
        let bytes = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        // Data that the stack does not have, and the TSN after it if nothing is missing before it.
        let missing = self.acknowledged.map(|tsn| tsn.wrapping_add(1));
        let (mut new, mut in_order, mut mends) = (0, missing, false);
        for chunk in chunks(packet) {
            let Some(chunk) = chunk else { return Ok(false) };
            match chunk.first() {
                Some(&DATA) => {
                    let Some(chunk) = Chunk::read(chunk, bytes) else { return Ok(false) };
                    if usize::from(chunk.stream) >= STREAMS {
                        let reason = "only streams 0, 1 and 2 are in use";
                        return Err(EngineError::Stream { stream: chunk.stream, reason });
                    }
                    if self.is_new(chunk.tsn) {
                        new += 1;
                        mends |= missing == Some(chunk.tsn);
                        in_order =
                            in_order.filter(|tsn| *tsn == chunk.tsn).map(|tsn| tsn.wrapping_add(1));
                    }
                }
                Some(&INIT) if self.inits == MAX_INITS => return Ok(false),
                Some(&INIT) => self.inits += 1,
                Some(&FORWARD_TSN) if self.lossy.is_none() => return Ok(false),
                // What is missing first is given up.
                Some(&FORWARD_TSN) => mends |= number(chunk, 4).is_some_and(|to| self.is_new(to)),
                // Never agreed upon.
                Some(&(I_DATA | I_FORWARD_TSN)) => return Ok(false),
                _ => {}
            }
        }
        // What is acknowledged at once needs no room.
        let (reserve, reserve_bytes) = if mends { (RESERVE, RESERVE_BYTES) } else { (0, 0) };
        let full = self.ahead.len() + new > max_ahead(self.receive_buffer) + reserve
            || self.ahead_bytes + usize::from(bytes)
                > max_ahead_bytes(self.receive_buffer) + reserve_bytes;
        if new > 0 && full && in_order.is_none() {
            return Ok(false);
        }
        let mut last: Option<u32> = None;
        for chunk in chunks(packet).flatten() {
            if chunk.first() != Some(&DATA) {
                continue;
            }
            let Some(chunk) = Chunk::read(chunk, bytes) else { return Ok(false) };
            if self.take(chunk)? && last.is_none_or(|last| is_after(chunk.tsn, last)) {
                last = Some(chunk.tsn);
            }
        }
        if let Some(chunk) = last.and_then(|tsn| {
            let at = self.position(tsn);
            self.ahead.get_mut(at)
        }) {
            // One that came twice may be kept in the longer packet: the stack may have dropped the other.
            let before = if chunk.charged { chunk.packet } else { 0 };
            (chunk.charged, chunk.packet) = (true, before.max(bytes));
            self.ahead_bytes += usize::from(chunk.packet - before);
        }
        Ok(true)
    }

    /// Whether the stack has not acknowledged it.
    fn is_new(&self, tsn: u32) -> bool {
        self.acknowledged.is_none_or(|acknowledged| is_after(tsn, acknowledged))
    }

    /// Where a TSN is in what came beyond, or belongs.
    fn position(&self, tsn: u32) -> usize {
        if self.ahead.back().is_none_or(|last| is_after(tsn, last.tsn)) {
            return self.ahead.len();
        }
        self.ahead.partition_point(|other| is_after(tsn, other.tsn))
    }

    /// Notes a chunk of data. Says whether the stack may keep it.
    fn take(&mut self, chunk: Chunk) -> Result<bool, EngineError> {
        if !self.is_new(chunk.tsn) {
            // It came before; the stack says so once more.
            return Ok(false);
        }
        let at = self.position(chunk.tsn);
        if let Some(same) = self.ahead.get(at).filter(|other| other.tsn == chunk.tsn) {
            let differs = (same.stream, same.sequence, same.flags)
                != (chunk.stream, chunk.sequence, chunk.flags);
            return if differs { Err(broken("a TSN came twice, and differs")) } else { Ok(true) };
        }
        self.ahead.insert(at, chunk);
        Ok(true)
    }

    /// The stack has everything up to `tsn`.
    fn acknowledge(&mut self, tsn: u32) -> Result<(), EngineError> {
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

    /// The next chunk in the order of TSNs.
    fn follow(&mut self, chunk: Chunk) -> Result<(), EngineError> {
        let lossy =
            self.lossy.filter(|(stream, _)| *stream == chunk.stream).map(|(_, order)| order);
        let begins = chunk.flags & BEGIN != 0;
        let ordered = chunk.flags & UNORDERED == 0;
        if ordered && lossy == Some(DeliveryOrder::Unordered) {
            return Err(broken("a message was ordered where none is"));
        }
        // What was left out is the rest of the message, which the stack has given up.
        if let Some((first, ..)) = self.current.take_if(|(_, last, _)| !follows(chunk.tsn, *last))
            && self.lossy.is_none_or(|(stream, _)| stream != first.stream)
        {
            return Err(broken("a message was left out where none may get lost"));
        }
        let (first, count) = match self.current {
            None if !begins && lossy.is_none() => {
                return Err(broken("a message began without its first chunk"));
            }
            None => {
                let next = &mut self.next[usize::from(chunk.stream)];
                if ordered && lossy.is_none() {
                    if chunk.sequence != *next {
                        return Err(broken("a stream's messages were not numbered one by one"));
                    }
                    *next = next.wrapping_add(1);
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
}

impl Chunk {
    fn read(chunk: &[u8], packet: u16) -> Option<Self> {
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

/// Whether a TSN is the next after another.
fn follows(tsn: u32, other: u32) -> bool {
    tsn == other.wrapping_add(1)
}

/// Whether a TSN comes after another: they wrap around (RFC 1982).
fn is_after(tsn: u32, other: u32) -> bool {
    (tsn.wrapping_sub(other) as i32) > 0
}

fn broken(what: &'static str) -> EngineError {
    EngineError::Sctp(what)
}

/// The big-endian number that stands here.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The acknowledgement in a packet.
fn sack(packet: &[u8]) -> Option<&[u8]> {
    chunks(packet).flatten().find(|chunk| chunk.first() == Some(&SACK))
}

/// The chunks of a packet; `None`, and no more, where the packet breaks off.
fn chunks(packet: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = packet.get(HEADER..);
    std::iter::from_fn(move || {
        let bytes = rest?;
        if bytes.is_empty() {
            return None;
        }
        let len = bytes.get(2..4).map(|len| usize::from(u16::from_be_bytes([len[0], len[1]])));
        let chunk = len.filter(|len| *len >= 4).and_then(|len| bytes.get(..len));
        rest = chunk.and_then(|chunk| bytes.get(chunk.len().next_multiple_of(4)..).or(Some(&[])));
        Some(chunk)
    })
}
