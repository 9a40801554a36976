//! Receivers that share a source: each takes messages of its own kind.

use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use deltawire_framing::Kind;

use super::message::Message;
use super::receiver::{Found, Nothing, Over, Source};

/// Bytes that wait for a receiver that was split off, or the one that it was split from, within one
/// process, where no window bounds them. Bytes of frames.
pub const MAX_HANDED_OVER: usize = 64 << 10;

/// Why a kind gets no receiver of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// It has one already.
    #[error("messages of the kind {0:?} have a receiver of their own already: drop it first")]
    Taken(Kind),
    /// No receiver gives control messages: they are the session's.
    #[error("control messages are the session's own: no receiver gives them")]
    Control,
}

impl SplitError {
    pub(super) fn check(kind: Kind) -> Result<(), Self> {
        if kind == Kind::Control { Err(Self::Control) } else { Ok(()) }
    }
}

/// Of all but the kinds that were split off.
const REST: usize = 0;

/// One receiver's part of a source.
pub(super) struct Part {
    shared: Arc<Shared>,
    /// Which of the ends it is.
    index: usize,
    /// The message that is being read.
    current: Option<Message>,
}

struct Shared {
    state: Mutex<State>,
    wakers: Arc<Wakers>,
}

struct State {
    source: Source,
    /// Whether no window bounds what waits.
    unbounded: bool,
    ends: Vec<End>,
    /// A message that finds no room with the end that it is for.
    stalled: Option<(usize, Message)>,
    /// Nothing more comes of the source.
    over: bool,
    /// Wakes all ends: what the source wakes, whoever polled it.
    waker: Waker,
}

/// What waits for one receiver.
#[derive(Default)]
struct End {
    /// `None` is the rest, or nothing any more.
    kind: Option<Kind>,
    queue: VecDeque<Message>,
    bytes: usize,
}

impl Part {
    /// Two ends of one source: of the rest, and of `kind`.
    pub(super) fn pair(source: Source, kind: Kind) -> (Self, Self) {
        let wakers = Arc::new(Wakers::default());
        let state = State {
            unbounded: matches!(source, Source::Ring(_)),
            source,
            ends: vec![End::default(), End { kind: Some(kind), ..End::default() }],
            stalled: None,
            over: false,
            waker: wakers.clone().into(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), wakers });
        let part = |index| Self { shared: shared.clone(), index, current: None };
        (part(REST), part(1))
    }

    /// One more end.
    pub(super) fn split(&self, kind: Kind) -> Result<Self, SplitError> {
        SplitError::check(kind)?;
        let mut state = self.shared.lock();
        if state.ends.iter().any(|end| end.kind == Some(kind)) {
            return Err(SplitError::Taken(kind));
        }
        let free = state.ends.iter().skip(1).position(|end| end.kind.is_none());
        let index = free.map_or(state.ends.len(), |free| free + 1);
        let mut end = End { kind: Some(kind), ..End::default() };
        // What waits already for the one that has it now.
        if let Some(rest) = state.ends.get_mut(REST) {
            let waiting = core::mem::take(&mut rest.queue);
            rest.bytes = 0;
            for message in waiting {
                if message.kind() == kind { &mut end } else { &mut *rest }.push(message);
            }
        }
        match state.ends.get_mut(index) {
            Some(free) => *free = end,
            None => state.ends.push(end),
        }
        drop(state);
        Ok(Self { shared: self.shared.clone(), index, current: None })
    }

    pub(super) fn try_next(&mut self) -> Result<Found, Nothing> {
        self.current = None;
        let mut woken = Woken::default();
        let next = self.shared.lock().next(self.index, None, &mut woken);
        self.shared.wakers.wake_those(woken);
        match next {
            Poll::Ready(Some(message)) => Ok(self.found(message)),
            Poll::Ready(None) => Err(Nothing::EverAgain),
            Poll::Pending => Err(Nothing::Yet),
        }
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Found, Over>> {
        self.current = None;
        // First, so that whoever hands something over from now on finds it.
        self.shared.wakers.set(self.index, context.waker());
        let mut woken = Woken::default();
        let mut state = self.shared.lock();
        let waker = state.waker.clone();
        let next = state.next(self.index, Some(&mut Context::from_waker(&waker)), &mut woken);
        drop(state);
        self.shared.wakers.wake_those(woken);
        match next {
            Poll::Ready(Some(message)) => Poll::Ready(Ok(self.found(message))),
            Poll::Ready(None) => Poll::Ready(Err(Over)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn found(&mut self, message: Message) -> Found {
        let len = message.frame().as_bytes().len();
        self.current = Some(message);
        0..len
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.current.as_ref().map_or(&[], |message| message.frame().as_bytes())
    }

    /// The message that is being read.
    pub(super) fn keep(&mut self) -> Message {
        match self.current.take() {
            Some(message) => message,
            None => unreachable!("a message was found"),
        }
    }

    pub(super) fn release(&mut self) {
        self.current = None;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.shared.lock().source.is_closed()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.current = None;
        let mut woken = Woken::default();
        if self.index != REST {
            let mut state = self.shared.lock();
            let end = state.ends.get_mut(self.index).map(core::mem::take).unwrap_or_default();
            if let Some(rest) = state.ends.get_mut(REST) {
                end.queue.into_iter().for_each(|message| rest.push(message));
            }
            if let Some((of, _)) = &mut state.stalled
                && *of == self.index
            {
                *of = REST;
            }
            woken.all();
        }
        self.shared.wakers.forget(self.index);
        self.shared.wakers.wake_those(woken);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next message of an end; `None` when there is none for ever. Takes in what is in front of it, for
    /// those that it is for.
    fn next(
        &mut self,
        index: usize,
        mut context: Option<&mut Context<'_>>,
        woken: &mut Woken,
    ) -> Poll<Option<Message>> {
        loop {
            if let Some(message) = self.ends.get_mut(index).and_then(End::pop) {
                self.unstall(woken);
                return Poll::Ready(Some(message));
            }
            if self.stalled.is_some() {
                self.unstall(woken);
                if self.stalled.is_some() {
                    return Poll::Pending;
                }
                continue;
            }
            if self.over {
                return Poll::Ready(None);
            }
            let found = match &mut context {
                Some(context) => match self.source.poll_next(context) {
                    Poll::Ready(found) => found,
                    Poll::Pending => return Poll::Pending,
                },
                None => match self.source.try_next() {
                    Ok(found) => Ok(found),
                    Err(Nothing::EverAgain) => Err(Over),
                    Err(Nothing::Yet) => return Poll::Pending,
                },
            };
            let Ok(found) = found else {
                self.over = true;
                woken.all();
                continue;
            };
            let message = self.source.keep(found);
            let kind = Some(message.kind());
            let of = self.ends.iter().position(|end| end.kind == kind).unwrap_or(REST);
            if of == index {
                return Poll::Ready(Some(message));
            }
            self.hand_over(of, message, woken);
        }
    }

    fn hand_over(&mut self, of: usize, message: Message, woken: &mut Woken) {
        let unbounded = self.unbounded;
        match self.ends.get_mut(of) {
            Some(end) if !unbounded || end.has_room(&message) => {
                end.push(message);
                woken.one(of);
            }
            _ => self.stalled = Some((of, message)),
        }
    }

    /// Gives the message that waits for room to the end that it is for, if there is some.
    fn unstall(&mut self, woken: &mut Woken) {
        if let Some((of, message)) = self.stalled.take() {
            self.hand_over(of, message, woken);
            if self.stalled.is_none() {
                // Those that waited for this have not asked the source.
                woken.all();
            }
        }
    }
}

impl Drop for State {
    /// What waits was not read, and is not taken for read.
    fn drop(&mut self) {
        let queues = self.ends.iter_mut().flat_map(|end| end.queue.drain(..));
        queues.chain(self.stalled.take().map(|(_, it)| it)).for_each(Message::forfeit);
    }
}

impl End {
    fn has_room(&self, message: &Message) -> bool {
        self.queue.is_empty() || self.bytes + message.frame().as_bytes().len() <= MAX_HANDED_OVER
    }

    fn push(&mut self, message: Message) {
        self.bytes += message.frame().as_bytes().len();
        self.queue.push_back(message);
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.queue.pop_front()?;
        self.bytes -= message.frame().as_bytes().len();
        Some(message)
    }
}

/// The tasks that wait for the ends.
#[derive(Default)]
struct Wakers(Mutex<Vec<Option<Waker>>>);

/// Which ends are to be woken, once nothing is locked any more.
#[derive(Clone, Copy, Default)]
struct Woken(u64);

impl Woken {
    fn one(&mut self, index: usize) {
        // There are fewer kinds than bits.
        self.0 |= 1 << (index % 64);
    }

    fn all(&mut self) {
        self.0 = u64::MAX;
    }
}

impl Wakers {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<Waker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, index: usize, waker: &Waker) {
        let mut wakers = self.lock();
        if wakers.len() <= index {
            wakers.resize(index + 1, None);
        }
        if let Some(place) = wakers.get_mut(index) {
            match place {
                Some(place) => place.clone_from(waker),
                None => *place = Some(waker.clone()),
            }
        }
    }

    fn forget(&self, index: usize) {
        let forgotten = self.lock().get_mut(index).and_then(Option::take);
        drop(forgotten);
    }

    fn wake_those(&self, woken: Woken) {
        if woken.0 == 0 {
            return;
        }
        let mut index = 0;
        loop {
            let waker = match self.lock().get_mut(index) {
                None => break,
                Some(place) if woken.0 & (1 << (index % 64)) != 0 => place.take(),
                Some(_) => None,
            };
            // Nothing is locked here.
            if let Some(waker) = waker {
                waker.wake();
            }
            index += 1;
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_those(Woken(u64::MAX));
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_those(Woken(u64::MAX));
    }
}
