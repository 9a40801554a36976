//! What of SCTP is let in.
//!
//! The stack counts its receive window in bytes of messages. It does not count what it keeps for each
//! chunk, nor chunks that fill a hole, nor streams, and its work for a chunk grows with how many it
//! holds. So a peer could make it hold any amount. Here each packet is looked at between DTLS and the
//! stack, and what no honest peer sends ends the link: then the stack holds at most [`MAX_AHEAD`]
//! chunks in at most [`MAX_AHEAD_BYTES`] of packets, and one unfinished message.
//!
//! It follows from RFC 9260 that in the order of their TSNs, the chunks of one message stand together
//! (section 6.9), and the ordered messages of each stream are numbered one by one (section 6.6). That is
//! checked when the stack acknowledges chunks. On streams that may lose messages, numbers are left
//! out, so there it is not.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::EngineError;

/// Chunks that may have come and not be acknowledged, because others before them are missing. More are
/// dropped, as if the network had lost them. An honest peer has less than 1 MiB on its way,
/// SCTP's receive window: so many chunks of 256 bytes.
pub const MAX_AHEAD: usize = 4_096;

/// Bytes of the packets of these chunks, which stay in memory with them: twice SCTP's receive window.
pub const MAX_AHEAD_BYTES: usize = 2 << 20;

/// Chunks of one message. The longest, of 64 KiB, takes 131 in datagrams of 576 bytes.
pub const MAX_CHUNKS: u16 = 512;

/// What the stack holds of what a peer sent, at most, bytes: the packets, half a KiB for what it
/// keeps of each chunk, and one message in the most chunks, each in the longest packet.
pub const MAX_HELD: usize = MAX_AHEAD_BYTES + 512 * MAX_AHEAD + 2_048 * MAX_CHUNKS as usize;

/// Times that a peer may begin an association: it repeats itself when nothing comes back.
pub const MAX_INITS: u8 = 16;

/// Streams of a link.
const STREAMS: usize = 3;

/// The gate of one link.
#[derive(Debug, Default)]
pub(super) struct Gate {
    admission: Mutex<Admission>,
    /// Whether the peer acknowledged anything since this was asked last.
    acknowledged: AtomicBool,
    /// Whether the link has to end.
    violated: AtomicBool,
}

#[derive(Debug, Default)]
struct Admission {
    /// Whether streams may lose messages: then order cannot be told from what is missing.
    lossy: bool,
    /// The TSN up to which the stack has acknowledged everything.
    acknowledged: Option<u32>,
    /// What came beyond, by TSN.
    ahead: VecDeque<Chunk>,
    /// Bytes of the packets that it came in.
    ahead_bytes: usize,
    /// The message whose end is not acknowledged: its first chunk, and how many there are.
    current: Option<(Chunk, u16)>,
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
    /// Bytes of its packet, counted with the packet's first chunk.
    packet: u16,
}

const HEADER: usize = 12;
const UNORDERED: u8 = 4;
const BEGIN: u8 = 2;
const END: u8 = 1;

// Types of chunks (RFC 9260, section 3.2; RFC 3758; RFC 8260).
const DATA: u8 = 0;
const INIT: u8 = 1;
const SACK: u8 = 3;
const I_DATA: u8 = 64;
const FORWARD_TSN: u8 = 192;
const I_FORWARD_TSN: u8 = 194;

impl Gate {
    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that streams may lose messages.
    pub(super) fn set_lossy(&self) {
        self.admission().lossy = true;
    }

    /// Whether the stack gets this packet of the peer's.
    pub(super) fn admit(&self, packet: &[u8]) -> bool {
        let mut admission = self.admission();
        if admission.violation.is_some() {
            return false;
        }
        match admission.admit(packet) {
            Ok(admitted) => {
                if admitted && sack(packet).is_some() {
                    self.acknowledged.store(true, Ordering::Relaxed);
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
        self.acknowledged.load(Ordering::Relaxed)
            && self.acknowledged.swap(false, Ordering::Relaxed)
    }

    /// Why the link has to end. It is asked all the time, so it takes the lock only if it has to.
    pub(super) fn violation(&self) -> Option<EngineError> {
        // Pairs with the store of `violate`; the reason itself is behind the lock.
        self.violated.load(Ordering::Acquire).then(|| self.admission().violation.clone()).flatten()
    }

    fn violate(&self, admission: &mut Admission, error: EngineError) {
        admission.violation.get_or_insert(error);
        self.violated.store(true, Ordering::Release);
    }
}

impl Admission {
    fn admit(&mut self, packet: &[u8]) -> Result<bool, EngineError> {
        let mut bytes = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        for chunk in chunks(packet) {
            let Some(chunk) = chunk else { return Ok(false) };
            match chunk.first() {
                Some(&DATA) => {
                    let Some(chunk) = Chunk::read(chunk, bytes) else { return Ok(false) };
                    bytes = 0;
                    if !self.take(chunk)? {
                        return Ok(false);
                    }
                }
                Some(&INIT) if self.inits == MAX_INITS => return Ok(false),
                Some(&INIT) => self.inits += 1,
                Some(&FORWARD_TSN) if !self.lossy => return Ok(false),
                // Never agreed upon.
                Some(&(I_DATA | I_FORWARD_TSN)) => return Ok(false),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Notes a chunk of data. Says whether there is room for it.
    fn take(&mut self, chunk: Chunk) -> Result<bool, EngineError> {
        if usize::from(chunk.stream) >= STREAMS {
            let reason = "only streams 0, 1 and 2 are in use";
            return Err(EngineError::Stream { stream: chunk.stream, reason });
        }
        if self.acknowledged.is_some_and(|tsn| !is_after(chunk.tsn, tsn)) {
            // It came before; the stack says so once more.
            return Ok(true);
        }
        let newest = self.ahead.back().is_none_or(|last| is_after(chunk.tsn, last.tsn));
        let at = if newest {
            self.ahead.len()
        } else {
            self.ahead.partition_point(|other| is_after(chunk.tsn, other.tsn))
        };
        if let Some(same) = self.ahead.get(at).filter(|other| other.tsn == chunk.tsn) {
            let differs = (same.stream, same.sequence, same.flags)
                != (chunk.stream, chunk.sequence, chunk.flags);
            return if differs { Err(broken("a TSN came twice, and differs")) } else { Ok(true) };
        }
        let bytes = self.ahead_bytes + usize::from(chunk.packet);
        if self.ahead.len() == MAX_AHEAD || bytes > MAX_AHEAD_BYTES {
            return Ok(false);
        }
        self.ahead_bytes = bytes;
        self.ahead.insert(at, chunk);
        Ok(true)
    }

    /// The stack has everything up to `tsn`.
    fn acknowledge(&mut self, tsn: u32) -> Result<(), EngineError> {
        self.acknowledged = Some(tsn);
        while let Some(chunk) = self.ahead.pop_front_if(|chunk| !is_after(chunk.tsn, tsn)) {
            self.ahead_bytes -= usize::from(chunk.packet);
            if !self.lossy {
                self.follow(chunk)?;
            }
        }
        Ok(())
    }

    /// The next chunk in the order of TSNs.
    fn follow(&mut self, chunk: Chunk) -> Result<(), EngineError> {
        let begins = chunk.flags & BEGIN != 0;
        let count = match &self.current {
            None if !begins => return Err(broken("a message began without its first chunk")),
            None => {
                let next = &mut self.next[usize::from(chunk.stream)];
                if chunk.flags & UNORDERED == 0 {
                    if chunk.sequence != *next {
                        return Err(broken("a stream's messages were not numbered one by one"));
                    }
                    *next = next.wrapping_add(1);
                }
                1
            }
            Some((first, count)) => {
                let same = (first.stream, first.sequence) == (chunk.stream, chunk.sequence)
                    && (first.flags ^ chunk.flags) & UNORDERED == 0;
                if begins || !same {
                    return Err(broken("a message began within another"));
                }
                count + 1
            }
        };
        if count > MAX_CHUNKS {
            return Err(broken("a message came in more chunks than any needs"));
        }
        let ends = chunk.flags & END != 0;
        let first = self.current.map_or(chunk, |(first, _)| first);
        self.current = (!ends).then_some((first, count));
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
        })
    }
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
