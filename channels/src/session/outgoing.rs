//! What is sent next: the scheduler.
//!
//! Frame by frame: of the lanes that have something to send and may, those of the highest priority
//! take turns, each with as many bytes a turn as its weight says (deficit round robin: Shreedhar
//! and Varghese, 1995). So a message that is longer than a frame lets others in between, and among
//! equals nobody starves.

use core::ops::{Deref, Range};
use core::task::{Context, Poll};

use deltawire_framing::{FragmentInPlace, Fragmenter, FrameHeader, frame_step};

use super::event::Undeliverable;
use super::window::{SendWindow, cost};
use crate::ring::byte::{Ahead, Consumer, RunView};

/// How a sender's messages compete with those of the session's other senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Higher goes first. Default: 0.
    pub priority: u8,
    /// How much of the link a sender gets beside others of its priority; at least 1. Default: 1.
    pub weight: u8,
}

impl Default for Share {
    fn default() -> Self {
        Self { priority: 0, weight: 1 }
    }
}

/// One sender's ring, seen from the session.
struct Lane {
    ring: Consumer,
    share: Share,
    /// Bytes that it may still send in this turn; below 0 what it sent too much in the last one.
    deficit: i64,
    /// The message that is being sent in fragments.
    long: Option<Long>,
}

/// A message that is being sent in fragments.
struct Long {
    message: Ahead,
    fragmenter: Fragmenter,
    next: u16,
}

impl Long {
    fn is_sent(&self) -> bool {
        self.next == self.fragmenter.count()
    }
}

/// What the peer takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerLimits {
    pub(super) max_frame_len: usize,
    pub(super) max_message_len: u32,
    pub(super) window: u64,
    pub(super) max_unfinished: u32,
}

impl PeerLimits {
    /// The longest message that the peer takes, and that can be cut into its frames.
    fn max_message(&self) -> u64 {
        let window = (self.window / 16 * 16).saturating_sub(16);
        let fragments = 65_535 * (self.max_frame_len.saturating_sub(16) / 16 * 16) as u64;
        u64::from(self.max_message_len).min(window).min(fragments)
    }
}

/// What a lane would send.
enum Offer {
    /// A transport message of at most this many bytes.
    Bytes(usize),
    /// Something, but the window is used up.
    Blocked,
    Nothing,
}

/// All lanes of one channel.
pub(super) struct Outgoing {
    /// From the highest priority to the lowest; of equal ones the one whose turn it is first.
    lanes: Vec<Lane>,
    next_message_id: u32,
    pub(super) window: SendWindow,
    pub(super) messages: u64,
    pub(super) undeliverable: u64,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            lanes: Vec::new(),
            next_message_id: 0,
            window: SendWindow::default(),
            messages: 0,
            undeliverable: 0,
        }
    }

    pub(super) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn add(&mut self, ring: Consumer, share: Share) {
        let share = Share { weight: share.weight.max(1), ..share };
        let at = self.lanes.partition_point(|lane| lane.share.priority >= share.priority);
        self.lanes.insert(at, Lane { ring, share, deficit: 0, long: None });
    }

    /// Bytes that were committed and not sent.
    pub(super) fn queued_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.ring.queued_bytes()).sum()
    }

    /// Whether all that was committed has been handed out.
    /// Whether the application dropped all its senders.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lanes.iter().all(|lane| lane.ring.is_closed())
    }

    pub(super) fn is_empty(&mut self) -> bool {
        self.lanes.iter_mut().all(|lane| lane.long.is_none() && lane.ring.is_empty())
    }

    /// Whether a message has begun to wait for a larger window, and the peer does not know it yet.
    pub(super) fn is_newly_blocked(&mut self, max_frame_len: usize) -> bool {
        let available = self.window.available();
        let mut offers = self.lanes.iter_mut().map(|lane| lane.offer(available, max_frame_len));
        self.window.blocked = offers.any(|offer| matches!(offer, Offer::Blocked));
        self.window.newly_blocked()
    }

    /// Whether something may be sent that is longer than `budget`.
    pub(super) fn waits_for_room(&mut self, budget: usize) -> bool {
        let available = self.window.available();
        self.lanes.iter_mut().any(|lane| {
            let waits = |len: usize| len > budget && frame_step(len) as u64 <= available;
            match &lane.long {
                Some(long) => long.fragmenter.max_frame_len() > budget,
                None => lane.ring.peek_len().is_some_and(waits),
            }
        })
    }

    /// Takes no more from the application.
    pub(super) fn close(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.ring.close());
    }

    /// Wakes the task when one of the rings that may send gets something to send.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> bool {
        let blocked = self.window.blocked;
        let mut ready = false;
        for lane in &mut self.lanes {
            if lane.long.is_some() {
                ready = true;
            } else if matches!(lane.ring.poll_readable(context), Poll::Ready(Ok(()))) {
                // Where a message waits for a larger window, only what comes new may go.
                ready |= !blocked;
            }
        }
        ready
    }

    /// Drops, one a call, a message that the peer would never take.
    pub(super) fn poll_undeliverable(&mut self, peer: PeerLimits) -> Option<Undeliverable> {
        for lane in &mut self.lanes {
            if lane.long.is_some() {
                continue;
            }
            let Some(len) = lane.ring.peek_len() else { continue };
            let message_len = len - FrameHeader::SIZE;
            let allowed = peer.max_message();
            if message_len as u64 > allowed {
                drop(lane.ring.try_read());
                self.undeliverable += 1;
                return Some(Undeliverable { len: message_len, allowed });
            }
        }
        None
    }

    /// The next transport message, of at most `budget` bytes; it counts as sent.
    pub(super) fn next(&mut self, budget: usize, peer: PeerLimits) -> Option<Outbound<'_>> {
        let (index, len) = self.choose(budget, peer)?;
        let Self { lanes, window, next_message_id, messages, .. } = self;
        let lane = lanes.get_mut(index)?;
        if lane.long.is_none() && lane.ring.peek_len()? > peer.max_frame_len {
            let message = lane.ring.read_ahead().ok()?;
            let header = *FrameHeader::of_whole(lane.ring.bytes(&message))?;
            *next_message_id = next_message_id.wrapping_add(1);
            let fragmenter = Fragmenter::new(&header, *next_message_id, peer.max_frame_len).ok()?;
            window.take(cost(header.message_len()));
            *messages += 1;
            lane.long = Some(Long { message, fragmenter, next: 0 });
        }
        if let Some(long) = &mut lane.long {
            let index = long.next;
            long.next += 1;
            let message = lane.ring.bytes_mut(&long.message);
            let frame = long.fragmenter.in_place(message, index).ok()?;
            lane.deficit -= frame.len() as i64;
            return Some(Outbound::Fragment(frame));
        }
        // Only the first message of a run was looked at; what is no longer than the peer takes can
        // hold none that is.
        let len = if peer.max_message() < len as u64 { lane.ring.peek_len()? } else { len };
        let run = lane.ring.read_run(len)?;
        window.take(frame_step(run.len()) as u64);
        *messages += run.frame_count() as u64;
        lane.deficit -= run.len() as i64;
        Some(Outbound::Run(run))
    }

    /// Gives back the rings' room of long messages whose last fragment was handed out.
    pub(super) fn release_sent(&mut self) {
        for lane in &mut self.lanes {
            if let Some(long) = lane.long.take_if(|long| long.is_sent()) {
                lane.ring.release(long.message);
            }
        }
        // A lane whose sender is gone and that has nothing left is forgotten.
        self.lanes.retain_mut(|lane| {
            lane.long.is_some() || !lane.ring.is_closed() || !lane.ring.is_empty()
        });
    }

    /// Which lane sends, and at most how many bytes.
    fn choose(&mut self, budget: usize, peer: PeerLimits) -> Option<(usize, usize)> {
        let mut group = 0..0;
        self.window.blocked = false;
        while group.end < self.lanes.len() {
            let priority = self.lanes.get(group.end)?.share.priority;
            let end = self.lanes.partition_point(|lane| lane.share.priority >= priority);
            group = group.end..end;
            let found = self.choose_among(group.clone(), peer);
            if let Some((index, len)) = found {
                let fits = len <= budget || self.fits(index, budget);
                return fits.then(|| (index, len.min(budget)));
            }
        }
        None
    }

    /// The same, among lanes of equal priority.
    fn choose_among(&mut self, group: Range<usize>, peer: PeerLimits) -> Option<(usize, usize)> {
        let available = self.window.available();
        let unfinished = self.lanes.iter().filter(|lane| lane.long.is_some()).count();
        let lanes = self.lanes.get_mut(group.clone())?;
        // When a message waits for a larger window, no other of its priority or a lower one begins:
        // else small ones would use up what is granted, and it would wait for ever. Those that have
        // begun go on: they were charged, and the peer can read nothing of them before their end.
        let blocked = self.window.blocked
            || lanes
                .iter_mut()
                .any(|lane| matches!(lane.offer(available, peer.max_frame_len), Offer::Blocked));
        self.window.blocked = blocked;
        // Whose turn it is stands first. Two rounds: one in which turns may have to begin, one in
        // which somebody has one.
        for _ in 0..=2 * lanes.len() {
            let lane = lanes.first_mut()?;
            let begins_long = lane.long.is_none()
                && lane.ring.peek_len().is_some_and(|len| len > peer.max_frame_len);
            match lane.offer(available, peer.max_frame_len) {
                Offer::Nothing => lane.deficit = 0,
                Offer::Blocked => {}
                Offer::Bytes(_) if blocked && lane.long.is_none() => {}
                Offer::Bytes(_) if begins_long && unfinished >= peer.max_unfinished as usize => {}
                Offer::Bytes(len) if lane.deficit > 0 => return Some((group.start, len)),
                Offer::Bytes(_) => {
                    lane.deficit += peer.max_frame_len as i64 * i64::from(lane.share.weight);
                }
            }
            lanes.rotate_left(1);
        }
        None
    }

    /// Whether something of what a lane would send fits `budget`.
    fn fits(&mut self, index: usize, budget: usize) -> bool {
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        match &lane.long {
            Some(_) => false,
            None => lane.ring.peek_len().is_some_and(|len| len <= budget),
        }
    }
}

impl Lane {
    fn offer(&mut self, available: u64, max_frame_len: usize) -> Offer {
        if let Some(long) = &self.long {
            return if long.is_sent() {
                Offer::Nothing
            } else {
                Offer::Bytes(long.fragmenter.max_frame_len())
            };
        }
        let Some(len) = self.ring.peek_len() else { return Offer::Nothing };
        if frame_step(len) as u64 > available {
            return Offer::Blocked;
        }
        let available = usize::try_from(available).unwrap_or(usize::MAX) / 16 * 16;
        Offer::Bytes(max_frame_len.min(available))
    }
}

/// Bytes of a transport message where they lie.
pub(super) enum Outbound<'a> {
    Run(RunView<'a>),
    Fragment(FragmentInPlace<'a>),
}

impl Deref for Outbound<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Run(run) => run,
            Self::Fragment(frame) => frame,
        }
    }
}
