//! Where a lane's messages come from: a sender's ring, or whoever is asked for them.

use core::ops::Deref;
use core::task::{Context, Poll};
use std::collections::VecDeque;

use deltawire_framing::{FragmentInPlace, Fragmenter, Frame, FrameHeader, frame_step};

use crate::peer::Message;
use crate::ring::byte::{Ahead, Consumer, RunView};

/// Messages that a session asks for when there is room for them, in place of a ring that somebody
/// fills: so what many links send lies in memory once, and what is not sent yet can still be chosen.
///
/// A message that was given is accepted: it is sent, or counts as undelivered. They have to be of the
/// data channel, and no longer than the peer takes ([`MessageTooLong`] ends the session).
///
/// [`MessageTooLong`]: super::ProtocolError::MessageTooLong
pub trait FrameSource: Send {
    /// The next message, if there is one now.
    fn try_frame(&mut self) -> Option<Message>;

    /// The next message; `None` when there are no more for ever. Otherwise the task is woken when
    /// there is one.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>>;

    /// The session takes no more but what the source has accepted from others.
    fn close(&mut self);

    /// What it has now is all: the session asks until there is none, and counts it as not sent. A source
    /// that goes on giving never lets it end.
    fn seal(&mut self) {
        self.close();
    }

    /// Whether there are no more for ever, but perhaps some that are there now.
    fn is_closed(&self) -> bool;

    /// A message that it gave was sent to its end, or given up.
    fn done(&mut self, message: Message) {
        drop(message);
    }
}

/// Where a lane's messages come from.
pub(super) enum Source {
    Ring(Consumer),
    Frames(Box<Frames>),
}

/// A source that is asked, and what it gave.
pub(super) struct Frames {
    source: Box<dyn FrameSource>,
    /// Those that it gave and that were not sent, the next one first: one, or those that go again.
    next: VecDeque<Message>,
    /// Those that were sent and may have to go again, oldest first; `None` where none does.
    kept: Option<VecDeque<Message>>,
    /// What these take of the window.
    kept_bytes: u64,
    /// One transport message: fragments need headers, and short messages go together.
    scratch: Vec<u8>,
}

/// Messages up to this long are copied together; longer ones go as they lie. Bytes.
const SHORT: usize = 1_024;

impl Frames {
    pub(super) fn new(source: Box<dyn FrameSource>) -> Self {
        Self { source, next: VecDeque::new(), kept: None, kept_bytes: 0, scratch: Vec::new() }
    }

    fn peek(&mut self) -> Option<&Message> {
        if self.next.is_empty() {
            self.next.extend(self.source.try_frame());
        }
        self.next.front()
    }

    /// A message was sent to its end.
    fn sent(&mut self, message: Message) {
        match &mut self.kept {
            Some(kept) => {
                self.kept_bytes += step(&message);
                kept.push_back(message);
            }
            None => self.source.done(message),
        }
    }

    /// See [`Source::acknowledge`].
    fn acknowledge(&mut self, mut bytes: u64) -> bool {
        while bytes > 0 {
            let first = self.kept.as_mut().and_then(VecDeque::pop_front);
            let Some(message) = first else { return false };
            let step = step(&message);
            self.kept_bytes -= step;
            self.source.done(message);
            let Some(rest) = bytes.checked_sub(step) else { return false };
            bytes = rest;
        }
        true
    }

    /// One message as it lies, or short ones copied together, of at most `max_len` bytes.
    fn read_run(&mut self, max_len: usize) -> Option<SharedRun<'_>> {
        let first = self.next.pop_front()?;
        let len = first.frame().as_bytes().len();
        self.scratch.clear();
        // Others are sent behind it, and go behind it again.
        let kept = self.kept.is_some();
        if kept {
            self.sent(first.clone());
        }
        let mut frames = 1;
        if len <= SHORT {
            while let Some(next_len) = self.peek().map(|next| next.frame().as_bytes().len()) {
                let start = frame_step(self.scratch.len().max(len));
                if next_len > SHORT || start + next_len > max_len {
                    break;
                }
                if self.scratch.is_empty() {
                    self.scratch.reserve(max_len);
                    self.scratch.extend_from_slice(first.frame().as_bytes());
                }
                self.scratch.resize(start, 0);
                let Some(next) = self.next.pop_front() else { break };
                self.scratch.extend_from_slice(next.frame().as_bytes());
                self.sent(next);
                frames += 1;
            }
        }
        Some(SharedRun { frames: self, first: Some(first), kept, count: frames })
    }
}

/// What a message takes of the window.
fn step(message: &Message) -> u64 {
    frame_step(message.frame().as_bytes().len()) as u64
}

impl Source {
    /// Bytes of the next message's frame, header and body; `None` when there is none.
    #[inline]
    pub(super) fn peek_len(&mut self) -> Option<usize> {
        match self {
            Self::Ring(ring) => ring.peek_len(),
            Self::Frames(frames) => frames.peek().map(|it| it.frame().as_bytes().len()),
        }
    }

    /// As many messages as go together in at most `max_len` bytes; the first does.
    #[inline]
    pub(super) fn read_run(&mut self, max_len: usize) -> Option<Outbound<'_>> {
        Some(match self {
            Self::Ring(ring) => Outbound::Run(ring.read_run(max_len)?),
            Self::Frames(frames) => Outbound::Shared(frames.read_run(max_len)?),
        })
    }

    /// Passes over the next message: gives its length.
    pub(super) fn skip(&mut self) -> Option<usize> {
        match self {
            Self::Ring(ring) => Some(ring.try_read().ok()?.len()),
            Self::Frames(frames) => {
                let len = frames.peek()?.frame().as_bytes().len();
                let message = frames.next.pop_front()?;
                frames.source.done(message);
                Some(len)
            }
        }
    }

    /// Bytes that wait; of a source that is asked only those that it gave.
    pub(super) fn queued_bytes(&self) -> usize {
        match self {
            Self::Ring(ring) => ring.queued_bytes().saturating_sub(ring.kept_bytes()),
            Self::Frames(frames) => frames.next.iter().map(|next| step(next) as usize).sum(),
        }
    }

    /// From now on keeps what is sent until it is acknowledged.
    pub(super) fn keep(&mut self) {
        match self {
            Self::Ring(ring) => ring.keep(),
            Self::Frames(frames) => drop(frames.kept.get_or_insert_default()),
        }
    }

    /// What is kept of what was sent, bytes of the window.
    pub(super) fn kept_bytes(&self) -> u64 {
        match self {
            Self::Ring(ring) => ring.kept_bytes() as u64,
            Self::Frames(frames) => frames.kept_bytes,
        }
    }

    /// Whether it keeps all that it may: a ring does by being full.
    pub(super) fn keeps_too_much(&self, most: u64) -> bool {
        matches!(self, Self::Frames(frames) if frames.kept_bytes >= most)
    }

    /// The peer has taken in what was sent first, `bytes` of the window. Says whether these are whole messages
    /// that were sent.
    pub(super) fn acknowledge(&mut self, bytes: u64) -> bool {
        match self {
            Self::Ring(ring) => usize::try_from(bytes).is_ok_and(|len| ring.acknowledge(len)),
            Self::Frames(frames) => frames.acknowledge(bytes),
        }
    }

    /// Has what is kept sent again, `long` too. Gives how many messages were sent to their end before.
    pub(super) fn send_again(&mut self, long: Option<Long>) -> u64 {
        match (self, long.map(|long| long.message)) {
            (Self::Ring(ring), long) => {
                let unfinished = u64::from(long.is_some());
                if let Some(LongMessage::Ring(message)) = long {
                    ring.forget(message);
                }
                ring.read_again() - unfinished
            }
            (Self::Frames(frames), long) => {
                if let Some(LongMessage::Shared(message)) = long {
                    frames.next.push_front(message);
                }
                frames.kept_bytes = 0;
                let kept = frames.kept.as_mut().map(std::mem::take).unwrap_or_default();
                let messages = kept.len() as u64;
                for message in kept.into_iter().rev() {
                    frames.next.push_front(message);
                }
                messages
            }
        }
    }

    /// Copies of all messages that are not known to have been taken in, `long` too; it has no more but these.
    pub(super) fn give_back(&mut self, long: Option<&Long>, into: &mut Vec<Message>) {
        match self {
            Self::Ring(ring) => ring.look_through(|bytes| {
                if let Ok(frame) = Frame::parse(bytes) {
                    into.push(Message::copy_of(frame));
                }
            }),
            Self::Frames(frames) => {
                into.extend(frames.kept.iter().flatten().cloned());
                if let Some(LongMessage::Shared(message)) = long.map(|long| &long.message) {
                    into.push(message.clone());
                }
                while let Some(message) = frames.source.try_frame() {
                    frames.next.push_back(message);
                }
                into.extend(frames.next.iter().cloned());
            }
        }
    }

    /// Whether nobody adds messages any more.
    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Ring(ring) => ring.is_closed(),
            Self::Frames(frames) => frames.source.is_closed(),
        }
    }

    /// Takes no more from the application but what it is about to commit.
    pub(super) fn close(&mut self) {
        match self {
            Self::Ring(ring) => ring.close(),
            Self::Frames(frames) => frames.source.close(),
        }
    }

    /// Takes nothing more at all: what is there now is all.
    pub(super) fn seal(&mut self) {
        match self {
            Self::Ring(ring) => ring.seal(),
            Self::Frames(frames) => frames.source.seal(),
        }
    }

    /// Says whether there is a message; otherwise the task is woken when there is one.
    #[inline]
    pub(super) fn poll_readable(&mut self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Ring(ring) => matches!(ring.poll_readable(context), Poll::Ready(Ok(()))),
            Self::Frames(frames) => {
                if frames.next.is_empty()
                    && let Poll::Ready(next) = frames.source.poll_frame(context)
                {
                    frames.next.extend(next);
                }
                !frames.next.is_empty()
            }
        }
    }

    /// Begins the message that stands first: one that is longer than a frame and no longer than the
    /// peer takes.
    pub(super) fn begin(&mut self, message_id: u32, max_frame_len: usize) -> Long {
        let (message, header) = match self {
            Self::Ring(ring) => {
                let Ok(message) = ring.read_ahead() else {
                    unreachable!("the message was looked at before");
                };
                let Some(header) = FrameHeader::of_whole(ring.bytes(&message)) else {
                    unreachable!("a ring holds whole messages");
                };
                let header = *header;
                (LongMessage::Ring(message), header)
            }
            Self::Frames(frames) => {
                let Some(message) = frames.next.pop_front() else {
                    unreachable!("the message was looked at before");
                };
                let header = *message.frame().header();
                (LongMessage::Shared(message), header)
            }
        };
        match Fragmenter::new(&header, message_id, max_frame_len) {
            Ok(fragmenter) => Long { message, fragmenter, next: 0 },
            Err(error) => unreachable!("what the peer takes can be cut: {error}"),
        }
    }

    /// The next fragment of a message that it began; there is one. Where it lies, or copied behind a
    /// header if others send from there too.
    pub(super) fn next_fragment<'a>(&'a mut self, long: &'a mut Long) -> Outbound<'a> {
        let index = long.next;
        long.next += 1;
        let fragment = match (self, &long.message) {
            (Self::Ring(ring), LongMessage::Ring(message)) => {
                long.fragmenter.in_place(ring.bytes_mut(message), index).map(Outbound::Fragment)
            }
            (Self::Frames(frames), LongMessage::Shared(message)) => {
                frames.scratch.resize(long.fragmenter.max_frame_len(), 0);
                let body = message.frame().body();
                long.fragmenter.in_scratch(body, index, &mut frames.scratch).map(Outbound::Scratch)
            }
            _ => unreachable!("a message goes on where it began"),
        };
        match fragment {
            Ok(fragment) => fragment,
            Err(error) => unreachable!("a message holds its fragments: {error}"),
        }
    }

    /// A message that it began is over.
    pub(super) fn release(&mut self, long: Long) {
        let sent = long.is_sent();
        match (self, long.message) {
            (Self::Ring(ring), LongMessage::Ring(message)) => ring.release(message),
            (Self::Frames(frames), LongMessage::Shared(message)) if sent => frames.sent(message),
            (Self::Frames(frames), LongMessage::Shared(message)) => frames.source.done(message),
            _ => unreachable!("a message goes on where it began"),
        }
    }
}

/// A message that is being sent in fragments.
pub(super) struct Long {
    message: LongMessage,
    fragmenter: Fragmenter,
    next: u16,
}

enum LongMessage {
    Ring(Ahead),
    Shared(Message),
}

impl Long {
    /// What it takes of the window.
    pub(super) fn cost(&self) -> u64 {
        let len = match &self.message {
            LongMessage::Ring(message) => message.len(),
            LongMessage::Shared(message) => message.frame().as_bytes().len(),
        };
        frame_step(len) as u64
    }

    /// The longest of its fragments, with its header.
    pub(super) fn max_frame_len(&self) -> usize {
        self.fragmenter.max_frame_len()
    }

    pub(super) fn is_sent(&self) -> bool {
        self.next == self.fragmenter.count()
    }

    /// Whether its next fragment is its last.
    pub(super) fn is_last(&self) -> bool {
        self.next + 1 == self.fragmenter.count()
    }
}

/// Bytes of a transport message where they lie.
pub(super) enum Outbound<'a> {
    Run(RunView<'a>),
    Fragment(FragmentInPlace<'a>),
    Shared(SharedRun<'a>),
    Scratch(&'a [u8]),
}

impl Outbound<'_> {
    /// How many whole messages it holds.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Run(run) => run.frame_count() as u64,
            Self::Shared(run) => run.count,
            Self::Fragment(_) | Self::Scratch(_) => 0,
        }
    }
}

impl Deref for Outbound<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Run(run) => run,
            Self::Fragment(frame) => frame,
            Self::Shared(run) => run,
            Self::Scratch(bytes) => bytes,
        }
    }
}

/// One shared message, or short ones that were copied together.
pub(super) struct SharedRun<'a> {
    frames: &'a mut Frames,
    first: Option<Message>,
    /// Whether it is kept: then it is not over yet.
    kept: bool,
    count: u64,
}

impl Deref for SharedRun<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.first {
            _ if self.count > 1 => &self.frames.scratch,
            Some(first) => first.frame().as_bytes(),
            None => &[],
        }
    }
}

impl Drop for SharedRun<'_> {
    fn drop(&mut self) {
        if let Some(first) = self.first.take().filter(|_| !self.kept) {
            self.frames.source.done(first);
        }
    }
}
