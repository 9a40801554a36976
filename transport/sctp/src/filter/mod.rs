//! What of SCTP is let in.
//!
//! The stack counts its receive window in bytes of messages. It does not count what it keeps for each
//! chunk, nor chunks that fill a hole, nor streams, and its work for a chunk grows with how many it
//! holds. So a peer could make it hold any amount. Here each packet is looked at between DTLS and the
//! stack, and what no honest peer sends ends the link: then the stack holds at most [`max_held`].
//!
//! It follows from RFC 9260 that in the order of their TSNs, the chunks of one message stand together
//! (section 6.9), and the ordered messages of each stream are numbered one by one (section 6.6). That is
//! checked when the stack acknowledges chunks. On a stream that may lose messages, numbers that are left out
//! have to be given up by name first (RFC 3758).
//!
//! Some chunks cost a stack more than they cost who sends them, or end its association, though the protocol
//! has them passed over. Such packets are written once more without them.

mod edit;
mod order;

use deltawire_channels::Delivery;

use self::order::{Arrived, Chunk};
use crate::packet::{
    ABORT, DATA, FORWARD_TSN, HEARTBEAT, HEARTBEAT_ACK, I_DATA, I_FORWARD_TSN, INIT, RE_CONFIG,
    SACK, SHUTDOWN, SHUTDOWN_ACK, SHUTDOWN_COMPLETE, chunks, is_sealed, number, short,
};
use crate::{MAX_DATAGRAM_LEN, Violation};

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

/// Bytes of a chunk of data before its data.
pub const DATA_HEADER: usize = 16;

/// They leave nothing in memory.
const CONTROL: [u8; 7] =
    [SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, SHUTDOWN_COMPLETE];

/// How far a FORWARD TSN goes at most beyond what is acknowledged: the stack's work for it grows with that.
/// An honest peer gives up what it had on its way.
#[must_use]
pub const fn max_forward(receive_buffer: u32) -> u32 {
    4 * max_ahead(receive_buffer) as u32
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stack gets it.
    Pass,
    /// It does not, as if the network had lost it.
    Drop,
    /// It has chunks that not every stack copes with: see [`SctpFilter::edit`].
    Edit,
}

/// The filter of one link.
#[derive(Debug, Default)]
pub struct SctpFilter {
    /// What SCTP's receive window is, bytes.
    receive_buffer: u32,
    arrived: Arrived,
    /// The chunks of a packet that are new, while it is looked at.
    new: Vec<Chunk>,
    inits: u8,
    /// Whether the peer acknowledged anything since this was asked last.
    heard: bool,
    /// The peer closes a stream when this TSN is acknowledged (RFC 6525).
    closes_at: Option<u32>,
    violation: Option<Violation>,
    told: bool,
}

impl SctpFilter {
    /// Says how much room there is, on which stream the peer sends deltas, and what they are promised.
    pub fn configure(&mut self, receive_buffer: u32, deltas: u16, delivery: Delivery) {
        self.receive_buffer = receive_buffer;
        self.arrived.lossy = delivery.may_lose().then_some((deltas, delivery.order));
    }

    /// Says which TSN the peer begins with.
    #[cfg(feature = "association")]
    pub fn begin(&mut self, tsn: u32) {
        self.arrived.begin(tsn);
    }

    /// What becomes of a packet of the peer's.
    pub fn admit(&mut self, packet: &[u8]) -> Verdict {
        if self.violation.is_some() {
            // Last words may still be said, and heard.
            let control = chunks(packet).all(|chunk| {
                chunk.is_some_and(|it| {
                    CONTROL.contains(&it[0]) && (it[0] != SACK || edit::is_tidy(it).is_some())
                })
            });
            return if control { Verdict::Edit } else { Verdict::Drop };
        }
        self.look_at(packet).unwrap_or_else(|error| {
            self.violation = Some(error);
            Verdict::Drop
        })
    }

    /// Notes what the stack sends.
    pub fn sent(&mut self, packet: &[u8]) {
        let sack = chunks(packet).flatten().find(|chunk| chunk.first() == Some(&SACK));
        let Some(tsn) = sack.and_then(|chunk| number(chunk, 4)) else { return };
        if let Err(error) = self.arrived.acknowledge(tsn) {
            self.violation.get_or_insert(error);
        }
    }

    /// Whether an acknowledgement of the peer came since the last call.
    pub fn take_acknowledged(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Whether the link has to end.
    pub fn is_violated(&self) -> bool {
        self.violation.is_some() && !self.told
    }

    /// Why the link has to end: once.
    pub fn take_violation(&mut self) -> Option<Violation> {
        if std::mem::replace(&mut self.told, self.violation.is_some()) {
            return None;
        }
        self.violation.clone()
    }

    /// Whether the peer has begun an association.
    pub fn has_begun(&self) -> bool {
        self.inits > 0
    }

    /// Whether the peer has closed a stream, after everything that it sent before.
    #[cfg(feature = "association")]
    pub fn is_closed(&self) -> bool {
        self.closes_at.is_some_and(|tsn| !self.arrived.is_new(tsn))
    }

    /// Looks at each chunk once. The stack gets a packet whole or not at all, but for what is edited.
    fn look_at(&mut self, packet: &[u8]) -> Result<Verdict, Violation> {
        let bytes = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        self.new.clear();
        // The TSN that comes next if nothing is missing before it.
        let missing = self.arrived.floor().map(|tsn| tsn.wrapping_add(1));
        let (mut in_order, mut mends) = (missing, false);
        let (mut edited, mut heard, mut heartbeats, mut forward) = (false, false, 0, None);
        for chunk in chunks(packet) {
            let Some(chunk) = chunk else { return Ok(Verdict::Drop) };
            match chunk[0] {
                DATA => {
                    let Some(data) = Chunk::read(chunk, bytes) else { return Ok(Verdict::Drop) };
                    if usize::from(data.stream) >= STREAMS {
                        let reason = "only streams 0, 1 and 2 are in use";
                        return Err(Violation::Stream { stream: data.stream, reason });
                    }
                    if chunk.len() <= DATA_HEADER {
                        return Err(broken("a chunk of data held none"));
                    }
                    if self.arrived.is_new(data.tsn) {
                        mends |= missing == Some(data.tsn);
                        in_order =
                            in_order.filter(|tsn| *tsn == data.tsn).map(|tsn| tsn.wrapping_add(1));
                        self.new.push(data);
                    }
                }
                SACK => match edit::is_tidy(chunk) {
                    Some(tidy) => (heard, edited) = (true, edited || !tidy),
                    None => return Ok(Verdict::Drop),
                },
                INIT if self.inits == MAX_INITS => return Ok(Verdict::Drop),
                INIT => (self.inits, edited) = (self.inits + 1, true),
                FORWARD_TSN => {
                    // Where nothing may get lost, nothing is given up.
                    let Some(to) = number(chunk, 4).filter(|_| self.arrived.lossy.is_some()) else {
                        return Ok(Verdict::Drop);
                    };
                    let most = max_forward(self.receive_buffer);
                    if self.arrived.is_new(to)
                        && self.arrived.acknowledged.is_some_and(|tsn| to.wrapping_sub(tsn) > most)
                    {
                        return Err(broken("more was given up than can have been on its way"));
                    }
                    // What the stack would not read, or would pass over, counts for nothing here either.
                    if !edit::is_plain(chunk) || forward.is_some() || !is_sealed(packet) {
                        return Ok(Verdict::Drop);
                    }
                    edited = true;
                    // What is missing first is given up.
                    mends |= self.arrived.is_new(to);
                    forward = Some((chunk, to));
                }
                HEARTBEAT => {
                    heartbeats += 1;
                    edited |= heartbeats > 1 || !edit::is_plain(chunk);
                }
                RE_CONFIG => {
                    self.closes_at = self.closes_at.or(edit::last_tsn(chunk));
                    edited = true;
                }
                // Never agreed upon.
                I_DATA | I_FORWARD_TSN => return Ok(Verdict::Drop),
                _ => edited |= !edit::is_plain(chunk),
            }
        }
        if !self.new.is_empty() && in_order.is_none() && !self.has_room(usize::from(bytes), mends) {
            return Ok(Verdict::Drop);
        }
        self.arrived.take(&self.new)?;
        self.heard |= heard;
        let forward = forward.filter(|(_, to)| self.arrived.forward_to(*to));
        for pair in forward.into_iter().flat_map(|(chunk, _)| chunk[8..].chunks_exact(4)) {
            let (stream, sequence) = (short(pair, 0), short(pair, 2));
            if let (Some(stream), Some(sequence)) = (stream, sequence) {
                self.arrived.forward(stream, sequence);
            }
        }
        Ok(if edited { Verdict::Edit } else { Verdict::Pass })
    }

    /// Whether the new chunks of a packet of so many bytes may wait. What is acknowledged at once needs no
    /// room.
    fn has_room(&self, bytes: usize, mends: bool) -> bool {
        let (reserve, reserve_bytes) = if mends { (RESERVE, RESERVE_BYTES) } else { (0, 0) };
        let Self { arrived, new, receive_buffer, .. } = self;
        arrived.chunks_ahead() + new.len() <= max_ahead(*receive_buffer) + reserve
            && arrived.bytes_ahead() + bytes <= max_ahead_bytes(*receive_buffer) + reserve_bytes
    }
}

fn broken(what: &'static str) -> Violation {
    Violation::Protocol(what)
}
