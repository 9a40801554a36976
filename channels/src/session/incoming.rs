//! What came on a channel: reassembly, the receive window, and the queue to the application.

use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;

use deltawire_framing::bulk::Bulk;
use deltawire_framing::control::{Delivery, Hello, HelloFields, Order, Window};
use deltawire_framing::documents::Document;
use deltawire_framing::requests::RequestMessage;
use deltawire_framing::{
    Channel, Delta, Frame, FrameHeader, Frames, Kind, Reassembled, Reassembler, ReassemblerLimits,
    RecordBuf, Refused,
};

use super::ProtocolError;
use super::window::{ReceiveWindow, cost};
use crate::limits::Limits;
use crate::memory::{Aligned, TransportMessage};
use crate::peer::{Arrived, EndNotice, Memory, Receiver, Returned};
use crate::ring::{PushError, slot};
use crate::sync::{Arc, AtomicBool, Ordering};
use crate::waking::Credit;

/// Transport messages up to this long are copied together while the application does not read.
const SMALL: usize = 1_024;

/// How much is copied together.
const HEAP: usize = 16_384;

/// Free buffers that are kept, so that looking for one takes bounded time.
const MAX_POOLED: usize = 64;

pub(super) struct Incoming {
    reassembler: Reassembler<RecordBuf>,
    pool: Pool,
    pub(super) window: ReceiveWindow,
    order: Order,
    may_lose: bool,
    arrivals: slot::Producer<Arrived>,
    /// Set by the receiver.
    failed: Arc<AtomicBool>,
    returns: slot::Consumer<Returned>,
    /// Where messages that the application keeps give back their part of the window.
    home: Arc<Credit>,
    /// How many were pushed and have not returned.
    out: usize,
    closing: bool,
    /// What the unfinished messages take of the window.
    unfinished: u64,
    /// What found no place in `arrivals`. Bounded by the window.
    waiting: VecDeque<Arrived>,
    pub(super) messages: u64,
    pub(super) copied_bytes: u64,
    pub(super) refused: u64,
}

impl Incoming {
    pub(super) fn new(
        channel: Channel,
        [window, max_window]: [u64; 2],
        delivery: Delivery,
        limits: &Limits,
        seed: u64,
        end: EndNotice,
    ) -> (Self, Receiver) {
        let (arrivals, arrived) = slot::ring(limits.max_arrivals);
        let (returned, returns) = slot::ring(limits.max_arrivals);
        let failed = Arc::new(AtomicBool::new(false));
        let home = Arc::new(Credit::new());
        let may_lose = delivery.may_lose();
        // Deltas may overtake the hello that says how long the peer's frames are.
        let shortest_frame = Hello::MIN_FRAME_LEN as usize;
        let max_messages = limits.unfinished(delivery.order, max_window, shortest_frame);
        let reassembler = ReassemblerLimits {
            max_bytes: max_window,
            max_messages,
            // Where nothing gets lost, a message may wait behind more urgent ones for any time.
            max_idle: if may_lose { limits.max_idle } else { Duration::MAX },
            ..ReassemblerLimits::default()
        };
        let incoming = Self {
            reassembler: Reassembler::new(reassembler, seed),
            pool: Pool { buffers: VecDeque::new(), bytes: 0, max_bytes: max_window },
            window: ReceiveWindow::new(channel, window, max_window),
            order: delivery.order,
            may_lose,
            arrivals,
            failed: failed.clone(),
            returns,
            home: home.clone(),
            out: 0,
            closing: false,
            unfinished: 0,
            waiting: VecDeque::new(),
            messages: 0,
            copied_bytes: 0,
            refused: 0,
        };
        (incoming, Receiver::from_queue(arrived, returned, failed, home, end))
    }

    /// Takes in how long the frames are that the peer cuts messages into, at most, and what it speaks: whether
    /// it marks its last word, and knows that windows grow.
    pub(super) fn learn(&mut self, limits: &Limits, max_frame_len: usize, features: u64) {
        if features & HelloFields::CLOSING != 0 {
            self.window.expect_mark();
        }
        if features & HelloFields::GROWING != 0 {
            self.window.expect_growth();
        }
        let window = self.window.max_size();
        self.reassembler.set_max_messages(limits.unfinished(self.order, window, max_frame_len));
    }

    /// Takes in what the peer says that it has sent, and, if it is its last word, how many messages it will
    /// never send; otherwise it waits for a larger window.
    pub(super) fn take_position(
        &mut self,
        sent: u64,
        unsent: Option<u32>,
        lost_at: Duration,
    ) -> Result<(), ProtocolError> {
        self.window.announce(sent, unsent, lost_at)?;
        if unsent.is_none() {
            self.window.grow(sent, self.unfinished);
        }
        Ok(())
    }

    /// Whether messages can get lost.
    #[inline]
    pub(super) fn may_lose(&self) -> bool {
        self.may_lose
    }

    /// Bytes of messages that came to their end, cumulative.
    #[inline]
    pub(super) fn taken(&self) -> u64 {
        self.window.received() - self.unfinished
    }

    /// Goes on over a link, whose peer has sent `sent` bytes before: where messages can get lost, what did not come
    /// of these will not.
    pub(super) fn lose_until(&mut self, sent: u64) -> Result<(), ProtocolError> {
        if self.may_lose { self.window.lose_until(sent) } else { Ok(()) }
    }

    /// The link is gone: what came in part is forgotten.
    pub(super) fn forget_unfinished(&mut self) {
        while let Some(abandoned) = self.reassembler.poll_expired(Duration::MAX) {
            self.pool.give_back(abandoned.buffer);
        }
        self.window.begin_again(core::mem::take(&mut self.unfinished));
    }

    /// Takes in a transport message of whole frames, `messages` of which are the application's and
    /// take `cost` of the window.
    pub(super) fn take_whole(
        &mut self,
        bytes: TransportMessage,
        messages: u64,
        cost: u64,
    ) -> Result<(), ProtocolError> {
        if let Err(error) = self.window.take(cost) {
            return self.refuse(error);
        }
        self.messages += messages;
        // Control messages between the application's must not lie here uncounted.
        let bytes = if cost < bytes.len() as u64 { self.without_control(&bytes) } else { bytes };
        self.push(Arrived { memory: Memory::Transport(bytes), cost });
        Ok(())
    }

    /// The application's frames of a transport message, by themselves.
    fn without_control(&mut self, bytes: &[u8]) -> TransportMessage {
        let mut kept = Aligned::default();
        for frame in Frames::new(bytes).flatten().filter(|frame| frame.kind() != Kind::Control) {
            kept.push(frame.as_bytes());
        }
        self.copied_bytes += kept.len() as u64;
        kept.shrink_to_fit();
        kept.into()
    }

    /// Takes in a fragment.
    pub(super) fn take_fragment(
        &mut self,
        frame: Frame<'_>,
        now: Duration,
    ) -> Result<(), ProtocolError> {
        let cost = cost(frame.header().message_len());
        // The whole message is charged with its first fragment.
        let begins = !self.reassembler.is_unfinished(frame);
        if begins && let Err(error) = self.window.take(cost) {
            return self.refuse(error);
        }
        let pool = &mut self.pool;
        let mut landing = |message: &FrameHeader| Some(pool.claim(message.message_len() as usize));
        let result = self.reassembler.insert(frame, now, &mut landing);
        match &result {
            Ok(Reassembled::Partial) if begins => self.unfinished += cost,
            Ok(Reassembled::Complete(_)) if !begins => self.unfinished -= cost,
            Ok(Reassembled::Partial | Reassembled::Complete(_)) => {}
            _ if begins => self.window.take_back(cost),
            _ => {}
        }
        match result {
            Ok(Reassembled::Partial) => self.copied_bytes += frame.body().len() as u64,
            Ok(Reassembled::Complete(message)) => {
                self.copied_bytes += frame.body().len() as u64;
                self.messages += 1;
                let mut record = message.buffer;
                if let Err(error) = record.seal(message.header) {
                    unreachable!("a message fits the buffer that was claimed for it: {error}");
                }
                check(message.header.kind(), record.frame()?.body())?;
                self.push(Arrived { memory: Memory::Landed(record), cost });
            }
            Ok(Reassembled::Whole(_) | Reassembled::Duplicate) => {}
            Err(Refused::Malformed(error)) => return Err(error.into()),
            Err(error) => return self.refuse(error.into()),
        }
        Ok(())
    }

    /// A message that does not fit: where messages can get lost this one is, and is counted.
    fn refuse(&mut self, error: ProtocolError) -> Result<(), ProtocolError> {
        if !self.may_lose {
            return Err(error);
        }
        self.refused += 1;
        Ok(())
    }

    fn push(&mut self, arrived: Arrived) {
        if self.waiting.is_empty() {
            if let Err(arrived) = self.hand_on(arrived) {
                self.wait(arrived);
            }
        } else {
            self.wait(arrived);
        }
    }

    /// Puts a message where the application finds it; gives it back when there is no place.
    fn hand_on(&mut self, arrived: Arrived) -> Result<(), Arrived> {
        // So that there is always a place for it on the way back.
        if self.out == self.arrivals.capacity() && !self.arrivals.is_closed() {
            return Err(arrived);
        }
        match self.arrivals.try_push(arrived) {
            Ok(()) => self.out += 1,
            Err(PushError::Full(arrived)) => return Err(arrived),
            // Nobody will read it: it goes, and its room is not given back, so that the peer does
            // not take it for read.
            Err(PushError::Closed(_)) => {}
        }
        Ok(())
    }

    /// Keeps a message until there is a place for it. Small ones are copied together, so that they
    /// take no more memory than they take of the window.
    fn wait(&mut self, arrived: Arrived) {
        let arrived = self.loosen(arrived);
        if let Memory::Transport(small) = &arrived.memory
            && small.len() <= SMALL
        {
            if let Some(Arrived { memory: Memory::Heap(heap), cost }) = self.waiting.back_mut()
                && heap.len().next_multiple_of(16) + small.len() <= HEAP
            {
                heap.push(small);
                *cost += arrived.cost;
            } else {
                let mut heap = Aligned::default();
                heap.push(small);
                let memory = Memory::Heap(heap);
                self.waiting.push_back(Arrived { memory, cost: arrived.cost });
            }
            self.copied_bytes += small.len() as u64;
            return;
        }
        self.waiting.push_back(arrived);
    }

    /// A short message that came in fragments, as if it had come whole.
    fn loosen(&mut self, arrived: Arrived) -> Arrived {
        match arrived.memory {
            Memory::Landed(record) if record.frame_bytes().len() <= SMALL => {
                let memory = Memory::Transport(record.frame_bytes().to_vec().into());
                self.pool.give_back(record);
                Arrived { memory, cost: arrived.cost }
            }
            memory => Arrived { memory, cost: arrived.cost },
        }
    }

    /// Takes back what the application has read, and hands on what waits. Without a context it
    /// looks only once; with one, the task is woken when more comes back.
    pub(super) fn take_returns(&mut self, mut context: Option<&mut Context<'_>>) -> bool {
        if let Some(context) = &mut context {
            self.home.register(context.waker());
        }
        let dropped = self.home.collect();
        let mut read = dropped > 0;
        self.window.give_back(dropped as u64);
        loop {
            let returned = match &mut context {
                Some(context) => match self.returns.poll_pop(context) {
                    Poll::Ready(returned) => returned,
                    Poll::Pending => break,
                },
                None => self.returns.try_pop().ok(),
            };
            let Some(Returned { cost, landed }) = returned else { break };
            self.out -= 1;
            read = true;
            self.window.give_back(cost);
            if let Some(record) = landed {
                self.pool.give_back(record);
            }
        }
        while let Some(arrived) = self.waiting.pop_front() {
            if let Err(arrived) = self.hand_on(arrived) {
                self.waiting.push_front(arrived);
                break;
            }
        }
        if self.closing && self.waiting.is_empty() {
            self.arrivals.close();
        }
        read
    }

    /// Gives up messages of which nothing came for too long, and writes off what got lost.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        let over = self.may_lose && self.window.is_over(now);
        let expired = if over { Duration::MAX } else { now };
        while let Some(abandoned) = self.reassembler.poll_expired(expired) {
            let cost = cost(abandoned.header.message_len());
            self.unfinished -= cost;
            self.window.give_back(cost);
            self.pool.give_back(abandoned.buffer);
            self.refused += 1;
        }
        if self.may_lose {
            self.window.write_off(now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let loss = self.window.loss_timeout(self.unfinished).filter(|_| self.may_lose);
        [self.reassembler.poll_timeout(), loss].into_iter().flatten().min()
    }

    /// Nothing more comes. The application can still read what came.
    pub(super) fn close(&mut self) {
        self.closing = true;
        self.take_returns(None);
    }

    /// Whether a new limit is worth a message.
    #[inline]
    pub(super) fn is_window_due(&self) -> bool {
        self.window.due(self.unfinished)
    }

    /// Grants all that can be granted.
    pub(super) fn advertise(&mut self) -> Window {
        self.window.advertise(self.unfinished)
    }

    /// Whether all that the peer says to have sent has come, to its last fragment.
    pub(super) fn is_complete(&self) -> bool {
        let unfinished = self.reassembler.unfinished() > 0 && self.window.unsent() == 0;
        self.window.is_announced() && self.missing() == 0 && !unfinished
    }

    /// Bytes that the peer says to have sent and that did not come to their end.
    pub(super) fn missing(&self) -> u64 {
        self.window.missing_but(self.unfinished)
    }

    /// Whether the application dropped its receiver while its thread panicked.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether the application dropped its receiver.
    pub(super) fn is_abandoned(&self) -> bool {
        self.arrivals.is_closed()
    }

    /// Whether something came that found no place with the application yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// What has to hold of a message's body before the application sees it. A delta's checksum is checked
/// here, where its bytes enter, and nowhere after.
pub(super) fn check(kind: Kind, body: &[u8]) -> Result<(), ProtocolError> {
    match kind {
        Kind::Delta => Ok(Delta::parse(body)?.verify_checksum()?),
        Kind::Opaque => Ok(()),
        Kind::Document => Ok(Document::parse(body).map(drop)?),
        Kind::Request => Ok(RequestMessage::parse(body).map(drop)?),
        Kind::Bulk => Ok(Bulk::parse(body).map(drop)?),
        Kind::Control => Err(ProtocolError::OutOfPlace("a control message in fragments")),
    }
}

/// Buffers for fragmented messages. Keeps at most `max_bytes` of those that are free.
struct Pool {
    buffers: VecDeque<RecordBuf>,
    bytes: u64,
    max_bytes: u64,
}

impl Pool {
    /// A buffer that is not much too long: a short message must not hold a long one's memory.
    fn claim(&mut self, len: usize) -> RecordBuf {
        let fits = len..=(2 * len).max(1_024);
        let fitting =
            self.buffers.iter().rposition(|buffer| fits.contains(&buffer.body_capacity()));
        let Some(buffer) = fitting.and_then(|index| self.buffers.remove(index)) else {
            return RecordBuf::with_body_capacity(len);
        };
        self.bytes -= buffer.body_capacity() as u64;
        buffer
    }

    /// Keeps a buffer, and lets the oldest go until it fits.
    fn give_back(&mut self, mut buffer: RecordBuf) {
        buffer.clear();
        self.bytes += buffer.body_capacity() as u64;
        self.buffers.push_back(buffer);
        while self.bytes > self.max_bytes || self.buffers.len() > MAX_POOLED {
            let Some(oldest) = self.buffers.pop_front() else { break };
            self.bytes -= oldest.body_capacity() as u64;
        }
    }
}
