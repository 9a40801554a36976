//! Where the pieces of this side's files come from.

use std::collections::VecDeque;
use std::sync::Arc;

use deltawire_channels::Message;
use deltawire_framing::bulk::Piece;

use super::state::Wakes;
#[cfg(all(feature = "files", unix))]
pub(crate) use crate::files::Cached;
#[cfg(not(all(feature = "files", unix)))]
use crate::layout::Layout;
use crate::outgoing::{Outgoing, Part};
use crate::signal::Signal;
use crate::source::InMemory;

/// Where its pieces come from.
pub(super) enum Origin {
    Memory(InMemory),
    #[cfg_attr(not(feature = "files"), allow(dead_code))]
    Read(Reading),
}

/// A thread or task reads pieces, and waits for more to do.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) ready: VecDeque<(Part, Message)>,
    pub(super) wake: Arc<Signal>,
    /// Gives what is there without waiting, so that nobody is woken for it.
    pub(super) cached: Option<Cached>,
    /// What was not there.
    pub(super) missed: Option<Part>,
    /// So many parts the thread reads in any case: what is behind one that was not there seldom is either.
    cold: u32,
}

/// Parts that a thread reads before what is there without waiting is looked for again.
const COLD: u32 = 16;

/// Elsewhere everything is waited for.
#[cfg(not(all(feature = "files", unix)))]
pub(crate) enum Cached {}

#[cfg(not(all(feature = "files", unix)))]
impl Cached {
    fn piece(&mut self, _id: u32, _layout: &Layout, _index: u32) -> Option<Message> {
        match *self {}
    }

    fn is_open(&self) -> bool {
        match *self {}
    }
}

impl Reading {
    /// Whether parts are taken from where they are there without waiting.
    pub(super) fn takes_cached(&self) -> bool {
        self.cold == 0 && self.cached.as_ref().is_some_and(Cached::is_open)
    }

    /// A part that is there without waiting; one that is not the thread gets.
    pub(super) fn take_cached(
        &mut self,
        id: u32,
        outgoing: &mut Outgoing,
    ) -> Option<(Part, Message)> {
        if !self.takes_cached() {
            return None;
        }
        let part = outgoing.poll_part()?;
        if let (Part::Piece(index), Some(cached)) = (part, &mut self.cached)
            && let Some(message) = cached.piece(id, outgoing.layout(), index)
        {
            return Some((part, message));
        }
        self.missed = Some(part);
        self.cold = if matches!(part, Part::Piece(_)) { COLD } else { 1 };
        None
    }

    /// What the thread is to read next.
    pub(super) fn poll_part(&mut self, outgoing: &mut Outgoing) -> Option<Part> {
        if self.takes_cached() {
            return None;
        }
        self.cold = self.cold.saturating_sub(1);
        self.missed.take().or_else(|| outgoing.poll_part())
    }

    /// Forgets what was read, and is to be: gives its bytes.
    pub(super) fn clear(&mut self, wakes: &mut Wakes) -> usize {
        wakes.signal(&self.wake);
        (self.missed, self.cold) = (None, 0);
        self.ready.drain(..).map(|(_, message)| len_of(&message)).sum()
    }
}

impl Origin {
    /// Forgets what was read: gives its bytes.
    pub(super) fn clear(&mut self, wakes: &mut Wakes) -> usize {
        match self {
            Self::Memory(_) => 0,
            Self::Read(reading) => reading.clear(wakes),
        }
    }
}

/// What a message counts as read ahead, and at the rate: its bytes or hashes.
pub(crate) fn len_of(message: &Message) -> usize {
    message.frame().body().len().saturating_sub(Piece::SIZE)
}
