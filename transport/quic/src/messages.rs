//! Deltas that may overtake each other: each message goes by itself, on a stream of its own or in a datagram.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use deltawire_channels::{Delivery, Order, Reliability, TransportMessage};
use quinn_proto::{
    Chunks, Connection, Dir, ReadError, SendDatagramError, StreamId, VarInt, WriteError,
};

use crate::QuicError;

/// What a stream begins with that has one message: what follows until its end.
const NUMBER: u8 = 3;

/// Why a stream was reset: its message was given up.
const GIVEN_UP: VarInt = VarInt::from_u32(3);

/// Streams with a message each that the peer may have open at a time: as many messages may lie here in part.
pub(crate) const MAX_STREAMS: u32 = 256;

/// Datagrams that came and were not read yet, bytes with what they are kept in; then the oldest are lost.
pub(crate) const DATAGRAMS_IN: usize = 256 << 10;

/// Datagrams that wait for the path, bytes with what they are kept in: they go before everything else.
pub(crate) const DATAGRAMS_OUT: usize = 16 << 10;

/// Whether messages of this delivery go by themselves.
pub(crate) fn go_alone(delivery: Delivery) -> bool {
    delivery.order == Order::Unordered
}

/// Messages that this side sends.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// After which time each is given up.
    lifetime: Option<Duration>,
    /// Whether those that fit go in datagrams.
    in_datagrams: bool,
    head: Head,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Messages so far.
    count: u32,
    /// Those that QUIC has whole and the peer does not, each with when it is given up.
    sent: BTreeMap<StreamId, Option<Instant>>,
}

/// What stands before everything that goes by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    /// Of a stream, before its number.
    pub(crate) stream: &'static [u8],
    /// Of a datagram.
    pub(crate) datagram: Option<u8>,
}

/// A message, or what is left of it, that QUIC has no room for.
#[derive(Debug)]
struct Waiting {
    /// Its stream, if that is open.
    stream: Option<StreamId>,
    /// Behind its head and number.
    bytes: Bytes,
    until: Option<Instant>,
}

impl Outgoing {
    pub(crate) fn new(delivery: Delivery) -> Self {
        let (lifetime, in_datagrams) = match delivery.reliability {
            Reliability::MaxLifetime(lifetime) => (Some(lifetime), false),
            Reliability::MaxRetransmits(most) => (None, most == 0),
            Reliability::Reliable => (None, false),
        };
        let (waiting, sent) = (VecDeque::new(), BTreeMap::new());
        let head = Head::default();
        Self { lifetime, in_datagrams, head, waiting, waiting_bytes: 0, count: 0, sent }
    }

    /// Puts this before each message from here on.
    #[cfg(feature = "webtransport")]
    pub(crate) fn begin_with(&mut self, head: Head) {
        self.head = head;
    }

    /// Bytes that wait for QUIC to have room.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether the peer has everything that was not given up.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Takes a message over, whole.
    pub(crate) fn write(&mut self, connection: &mut Connection, message: &[u8], now: Instant) {
        let head = self.head.stream;
        let mut bytes = BytesMut::with_capacity(head.len() + 1 + message.len());
        bytes.put_slice(head);
        bytes.put_u8(NUMBER);
        bytes.put_slice(message);
        let until = self.lifetime.and_then(|lifetime| now.checked_add(lifetime));
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Waiting { stream: None, bytes: bytes.freeze(), until });
        if self.waiting.len() == 1 {
            self.flush(connection);
        }
    }

    /// Hands on what waits, as far as QUIC has room.
    pub(crate) fn flush(&mut self, connection: &mut Connection) {
        while let Some(first) = self.waiting.front_mut() {
            let len = first.bytes.len();
            let over = if first.stream.is_none() && self.in_datagrams {
                match send_datagram(connection, &first.bytes, self.head) {
                    Sent::Now => true,
                    Sent::Later => return,
                    Sent::Never => write_stream(connection, first, self.count),
                }
            } else {
                write_stream(connection, first, self.count)
            };
            let left = if over { 0 } else { first.bytes.len() };
            self.waiting_bytes -= len - left;
            if !over {
                return;
            }
            let Some(Waiting { stream, until, .. }) = self.waiting.pop_front() else { return };
            self.count = self.count.wrapping_add(1);
            if let Some(stream) = stream {
                self.sent.insert(stream, until);
            }
        }
    }

    /// The peer has a message, or wants nothing more of it. Says whether it was one of these.
    pub(crate) fn acknowledged(&mut self, stream: StreamId) -> bool {
        if self.sent.remove(&stream).is_some() {
            return true;
        }
        let at = self.waiting.iter().position(|waiting| waiting.stream == Some(stream));
        if let Some(given_up) = at.and_then(|at| self.waiting.remove(at)) {
            self.waiting_bytes -= given_up.bytes.len();
        }
        at.is_some()
    }

    /// When the next message is given up.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        // All have the same time, and streams have the order in which they were opened.
        let sent = self.sent.first_key_value().and_then(|(_, until)| *until);
        sent.or_else(|| self.waiting.front().and_then(|waiting| waiting.until))
    }

    /// Gives up what is too late by now.
    pub(crate) fn handle_timeout(&mut self, connection: &mut Connection, now: Instant) {
        while self.next_timeout().is_some_and(|until| until <= now) {
            let stream = match self.sent.pop_first() {
                Some((stream, _)) => Some(stream),
                None => self.waiting.pop_front().and_then(|first| {
                    self.waiting_bytes -= first.bytes.len();
                    first.stream
                }),
            };
            if let Some(stream) = stream {
                // It may have come meanwhile.
                let _ = connection.send_stream(stream).reset(GIVEN_UP);
            }
        }
    }
}

/// What became of a datagram.
enum Sent {
    Now,
    /// There is no room just now.
    Later,
    /// It does not fit, or the peer takes none.
    Never,
}

/// Sends a message without what it begins with on a stream.
fn send_datagram(connection: &mut Connection, bytes: &Bytes, head: Head) -> Sent {
    let mut message = bytes.slice(head.stream.len() + 1..);
    if let Some(before) = head.datagram {
        message = [&[before][..], &message].concat().into();
    }
    match connection.datagrams().send(message, false) {
        Ok(()) => Sent::Now,
        Err(SendDatagramError::Blocked(_)) => Sent::Later,
        Err(_) => Sent::Never,
    }
}

/// Writes a message, of which so many went before, on its stream as far as there is room. Says whether nothing is left of
/// it.
fn write_stream(connection: &mut Connection, waiting: &mut Waiting, before: u32) -> bool {
    let stream = match waiting.stream {
        Some(stream) => stream,
        None => match connection.streams().open(Dir::Uni) {
            Some(stream) => {
                // One whole after the other, which has the most of them there soonest; all after what is in order.
                let priority = -1 - i32::try_from(before % (1 << 30)).unwrap_or(0);
                let _ = connection.send_stream(stream).set_priority(priority);
                stream
            }
            None => return false,
        },
    };
    waiting.stream = Some(stream);
    let mut stream = connection.send_stream(stream);
    match stream.write_chunks(&mut [waiting.bytes.clone()]) {
        Ok(written) => waiting.bytes.advance(written.bytes),
        Err(WriteError::Blocked) => {}
        // The peer does not want it.
        Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
            let _ = stream.reset(GIVEN_UP);
            waiting.stream = None;
            return true;
        }
    }
    let over = waiting.bytes.is_empty();
    if over && stream.finish().is_err() {
        waiting.stream = None;
    }
    over
}

/// Messages that the peer sends.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The longest that is taken, bytes.
    max: usize,
    streams: BTreeMap<StreamId, Partial>,
    /// Streams on which something may have come: the first is read first.
    readable: BTreeSet<StreamId>,
    /// How long what stands before a message in a datagram is; `None` if that is none of the link's.
    datagram_head: fn(&[u8]) -> Option<usize>,
}

/// What came of a message.
#[derive(Debug, Default)]
struct Partial {
    /// Whether its number did.
    begun: bool,
    body: Vec<u8>,
}

impl Incoming {
    pub(crate) fn new(max: usize) -> Self {
        let (streams, readable) = (BTreeMap::new(), BTreeSet::new());
        Self { max, streams, readable, datagram_head: |_| Some(0) }
    }

    /// Reads datagrams by this from here on.
    #[cfg(feature = "webtransport")]
    pub(crate) fn read_datagrams_by(&mut self, head: fn(&[u8]) -> Option<usize>) {
        self.datagram_head = head;
    }

    /// The peer has opened a stream, of which the number was read.
    #[cfg(feature = "webtransport")]
    pub(crate) fn accept_begun(&mut self, stream: StreamId) {
        self.streams.insert(stream, Partial { begun: true, ..Partial::default() });
        self.readable.insert(stream);
    }

    /// The peer has opened a stream.
    pub(crate) fn accept(&mut self, stream: StreamId) {
        self.streams.insert(stream, Partial::default());
        self.readable.insert(stream);
    }

    /// There may be something to read. Passes over what is no stream of these.
    pub(crate) fn wake(&mut self, stream: StreamId) {
        if self.streams.contains_key(&stream) {
            self.readable.insert(stream);
        }
    }

    /// The next message that is there whole.
    pub(crate) fn next(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<TransportMessage>, QuicError> {
        while let Some(mut message) = connection.datagrams().recv() {
            let Some(head) = (self.datagram_head)(&message) else { continue };
            message.advance(head);
            self.check(message.len())?;
            return Ok(Some(TransportMessage::from(message)));
        }
        while let Some(stream) = self.readable.pop_first() {
            match self.read(connection, stream)? {
                Step::Whole(message) => {
                    self.streams.remove(&stream);
                    self.check(message.len())?;
                    return Ok(Some(TransportMessage::from(message)));
                }
                Step::Over => drop(self.streams.remove(&stream)),
                Step::Waits => {}
            }
        }
        Ok(None)
    }

    fn read(&mut self, connection: &mut Connection, stream: StreamId) -> Result<Step, QuicError> {
        let max = self.max;
        let Some(partial) = self.streams.get_mut(&stream) else { return Ok(Step::Over) };
        let mut stream = connection.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return Ok(Step::Over) };
        let step = partial.read(&mut chunks, max);
        // What it says is sent with what comes next.
        let _ = chunks.finalize();
        step
    }

    fn check(&self, len: usize) -> Result<(), QuicError> {
        if (1..=self.max).contains(&len) {
            return Ok(());
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Err(QuicError::Length { number: NUMBER, len, max: self.max })
    }
}

enum Step {
    Whole(Vec<u8>),
    /// It was given up.
    Over,
    Waits,
}

impl Partial {
    /// Reads what there is.
    fn read(&mut self, chunks: &mut Chunks<'_>, max: usize) -> Result<Step, QuicError> {
        loop {
            // One byte more shows that it is too long.
            let room = if self.begun { (max + 1).saturating_sub(self.body.len()) } else { 1 };
            let chunk = match chunks.next(room.max(1)) {
                Ok(Some(chunk)) => chunk.bytes,
                Ok(None) => return Ok(Step::Whole(std::mem::take(&mut self.body))),
                Err(ReadError::Blocked) => return Ok(Step::Waits),
                Err(ReadError::Reset(_)) => return Ok(Step::Over),
            };
            if std::mem::replace(&mut self.begun, true) {
                self.body.extend_from_slice(&chunk);
            } else if let Some(number) = chunk.first().copied().filter(|it| *it != NUMBER) {
                return Err(QuicError::Number { number, expected: NUMBER });
            }
            if self.body.len() > max {
                let len = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
                return Err(QuicError::Length { number: NUMBER, len, max });
            }
        }
    }
}
