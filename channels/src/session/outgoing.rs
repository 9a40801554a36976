//! What is sent next: the scheduler.
//!
//! Frame by frame: of the lanes that have something to send and may, those of the highest priority
//! take turns, each with as many bytes a turn as its weight says (deficit round robin: Shreedhar
//! and Varghese, 1995). So a message that is longer than a frame lets others in between, and among
//! equals nobody starves.

use core::ops::Range;
use core::task::Context;

use deltawire_framing::{FRAME_ALIGN, FrameHeader, frame_step};

use super::replay::Replay;
use super::source::{Long, Outbound, Source};
use super::unread::Unread;
use super::window::{SendWindow, longest};
use crate::peer::{Message, MessageLimit};

/// How a sender's messages compete with those of the session's other senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendPriority {
    /// Higher goes first. Default: 64. 0 is below everything: for bulk, which anything may overtake.
    pub priority: u8,
    /// How much of the link a sender gets beside others of its priority; at least 1. Default: 1.
    pub weight: u8,
}

impl Default for SendPriority {
    fn default() -> Self {
        Self { priority: 64, weight: 1 }
    }
}

/// One sender's messages, seen from the session.
struct Lane {
    id: u32,
    source: Source,
    share: SendPriority,
    /// Bytes that it may still send in this turn; below 0 what it sent too much in the last one.
    deficit: i64,
    /// The message that is being sent in fragments.
    long: Option<Long>,
    /// Bytes that were sent to their end since the peer was asked what it has taken in.
    unasked: u64,
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
    /// The longest message body that the peer takes, and that can be cut into its frames.
    pub(super) fn max_message(&self) -> usize {
        let one_frame = self.max_frame_len.saturating_sub(FrameHeader::SIZE);
        let frames = match self.max_unfinished {
            0 => one_frame,
            _ => (one_frame / FRAME_ALIGN * FRAME_ALIGN).saturating_mul(65_535).max(one_frame),
        };
        let whole = longest(self.window).min(self.max_message_len.into());
        usize::try_from(whole).unwrap_or(usize::MAX).min(frames)
    }
}

/// What a lane would send.
enum Demand {
    /// A transport message of at most this many bytes.
    Bytes(usize),
    /// Something, but the window is used up.
    Blocked,
    Nothing,
}

/// All lanes of one channel.
pub(super) struct Outgoing {
    /// From the highest priority to the lowest; of equal ones the one that has waited longest for its turn first.
    #[expect(
        clippy::vec_box,
        reason = "turns move them: with a hundred of them that took a tenth of all time"
    )]
    lanes: Vec<Box<Lane>>,
    next_lane: u32,
    next_message_id: u32,
    /// What is kept until the peer has taken it in, where that may be sent again.
    replay: Option<Replay>,
    /// What a lane may keep of what was sent, bytes. One that has sent half of it asks what the peer has taken in.
    max_kept: u64,
    /// Whether the peer is to be asked.
    pub(super) asks: bool,
    pub(super) window: SendWindow,
    /// What the peer takes, as the senders are told.
    pub(super) limit: MessageLimit,
    pub(super) unread: Unread,
    /// Messages and bytes that were committed and will never be sent.
    pub(super) unsent: (u64, u64),
    pub(super) messages: u64,
    /// Whether the rings are closed from here: grants that were there before may still be committed.
    closed: bool,
}

impl Outgoing {
    /// Lanes may keep `max_kept` bytes of what was sent.
    pub(super) fn new(max_kept: usize) -> Self {
        Self {
            lanes: Vec::new(),
            next_lane: 0,
            next_message_id: 0,
            replay: None,
            max_kept: max_kept as u64,
            asks: false,
            window: SendWindow::default(),
            limit: MessageLimit::unknown(),
            unread: Unread::default(),
            unsent: (0, 0),
            messages: 0,
            closed: false,
        }
    }

    /// Bytes of what was sent that the peer is known to have read.
    pub(super) fn known_read(&self) -> u64 {
        self.unread.known_read(self.window.limit)
    }

    pub(super) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn add(&mut self, mut source: Source, share: SendPriority) {
        if self.replay.is_some() {
            source.keep();
        }
        let id = self.next_lane;
        self.next_lane = self.next_lane.wrapping_add(1);
        let share = SendPriority { weight: share.weight.max(1), ..share };
        let at = self.lanes.partition_point(|lane| lane.share.priority >= share.priority);
        // Most sessions have one sender a channel.
        self.lanes.reserve_exact(1);
        let lane = Lane { id, source, share, deficit: 0, long: None, unasked: 0 };
        self.lanes.insert(at, Box::new(lane));
    }

    /// From now on keeps what is sent until the peer has taken it in. To be called before anything is.
    pub(super) fn keep(&mut self) {
        self.replay.get_or_insert_default();
        self.lanes.iter_mut().for_each(|lane| lane.source.keep());
    }

    /// Bytes that were sent and are kept.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.source.kept_bytes()).sum()
    }

    /// The peer has taken in `taken` bytes. Says whether that is as many as whole messages that were sent.
    #[must_use]
    pub(super) fn acknowledge(&mut self, taken: u64) -> bool {
        let Some(replay) = &mut self.replay else { return true };
        if taken > replay.completed {
            return false;
        }
        while let Some((id, bytes)) = replay.pop(taken) {
            let lane = self.lanes.iter_mut().find(|lane| lane.id == id);
            if !lane.is_some_and(|lane| lane.source.acknowledge(bytes)) {
                return false;
            }
        }
        true
    }

    /// The link is gone: of what is not kept, a message that was sent in part never comes to its end.
    pub(super) fn lose_unkept(&mut self) {
        self.release_sent();
        if self.replay.is_some() {
            return;
        }
        for lane in &mut self.lanes {
            if let Some(long) = lane.long.take() {
                let cost = long.cost();
                self.window.sent -= cost;
                self.unsent.0 += 1;
                self.unsent.1 += cost;
                lane.source.release(long);
            }
        }
    }

    /// Goes on over another link, whose peer has taken in `taken` bytes: the rest is sent again, or, where it is
    /// not kept, is gone. Gives how many bytes go again; `None` if the peer cannot have taken in as many.
    pub(super) fn begin_again(&mut self, taken: u64) -> Option<u64> {
        self.release_sent();
        if !self.acknowledge(taken) {
            return None;
        }
        let mut messages = 0;
        for lane in &mut self.lanes {
            (lane.deficit, lane.unasked) = (0, 0);
            if self.replay.is_some() {
                messages += lane.source.send_again(lane.long.take());
            }
        }
        self.window.ask_again();
        self.asks = false;
        let Some(replay) = &mut self.replay else { return Some(0) };
        let again = replay.begin_again();
        self.window.sent = replay.taken;
        self.unread.begin_again(replay.taken, messages);
        self.messages -= messages.min(self.messages);
        Some(again)
    }

    /// Copies of all messages that the peer is not known to have taken in.
    pub(super) fn give_back(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        if self.replay.is_some() {
            for lane in &mut self.lanes {
                lane.source.give_back(lane.long.as_ref(), &mut messages);
            }
        }
        messages
    }

    /// Bytes that were committed and not sent.
    pub(super) fn queued_bytes(&self) -> usize {
        self.lanes.iter().map(|lane| lane.source.queued_bytes()).sum()
    }

    /// Whether the application dropped all its senders.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lanes.iter().all(|lane| lane.source.is_closed())
    }

    /// Whether all that was committed has been handed out.
    pub(super) fn is_empty(&mut self) -> bool {
        self.lanes.iter_mut().all(|lane| lane.long.is_none() && lane.source.peek_len().is_none())
    }

    /// Whether a message has begun to wait for a larger window, and the peer does not know it yet.
    pub(super) fn is_newly_blocked(&mut self, max_frame_len: usize) -> bool {
        let available = self.window.available();
        let mut demands = self.lanes.iter_mut().map(|lane| lane.demand(available, max_frame_len));
        self.window.blocked = demands.any(|demand| matches!(demand, Demand::Blocked));
        self.window.newly_blocked()
    }

    /// Whether something may be sent that is longer than `budget`.
    pub(super) fn waits_for_room(&mut self, budget: usize) -> bool {
        let available = self.window.available();
        self.lanes.iter_mut().any(|lane| {
            let waits = |len: usize| len > budget && frame_step(len) as u64 <= available;
            match &lane.long {
                Some(long) => long.max_frame_len() > budget,
                None => lane.source.peek_len().is_some_and(waits),
            }
        })
    }

    /// Takes no more from the application.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.lanes.iter_mut().for_each(|lane| lane.source.close());
    }

    /// Sends nothing more: what is left counts as never to be sent, a long message in the middle of
    /// it too, and nothing can be committed any more. Gives how many messages that are.
    pub(super) fn give_up(&mut self) -> u64 {
        let (messages, bytes) = &mut self.unsent;
        for lane in &mut self.lanes {
            lane.source.seal();
            if let Some(long) = lane.long.take() {
                if !long.is_sent() {
                    let cost = long.cost();
                    // The peer is told of it as if it had not begun.
                    self.window.sent -= cost;
                    *messages += 1;
                    *bytes += cost;
                }
                lane.source.release(long);
            }
            while let Some(len) = lane.source.skip() {
                *messages += 1;
                *bytes += frame_step(len) as u64;
            }
        }
        *messages
    }

    /// Wakes the task when one of the rings that may send gets something to send.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> bool {
        let (blocked, available) = (self.window.blocked, self.window.available());
        let mut ready = false;
        let mut waits: Option<u8> = None;
        let mut fits: Option<u8> = None;
        for lane in &mut self.lanes {
            if lane.long.is_some() {
                ready = true;
            } else if lane.source.keeps_too_much(self.max_kept) {
                // Until the peer acknowledges.
            } else if lane.source.poll_readable(context) {
                let len = lane.source.peek_len().unwrap_or_default();
                let first = if frame_step(len) as u64 > available { &mut waits } else { &mut fits };
                first.get_or_insert(lane.share.priority);
                ready |= !blocked;
            }
        }
        // Where a message waits for a larger window, only what is of a higher priority may go.
        ready || fits > waits
    }

    /// The length of a message that stands first and is longer than the peer takes: it was committed
    /// before that was known.
    pub(super) fn find_too_long(&mut self, allowed: usize) -> Option<usize> {
        let waiting = self.lanes.iter_mut().filter(|lane| lane.long.is_none());
        let mut bodies =
            waiting.filter_map(|lane| Some(lane.source.peek_len()? - FrameHeader::SIZE));
        bodies.find(|len| *len > allowed)
    }

    /// The next transport message, of at most `budget` bytes; it counts as sent.
    pub(super) fn next(&mut self, budget: usize, peer: PeerLimits) -> Option<Outbound<'_>> {
        let (index, len) = self.choose(budget, peer)?;
        let Self {
            lanes, window, unread, next_message_id, messages, replay, max_kept, asks, ..
        } = self;
        let Some(lane) = lanes.get_mut(index) else {
            unreachable!("a lane that was chosen is there");
        };
        let Lane { id, source, deficit, long, unasked, .. } = &mut **lane;
        let mut completed = |bytes: u64| {
            let Some(replay) = replay else { return };
            replay.push(*id, bytes);
            *unasked += bytes;
            if *unasked > *max_kept / 2 {
                *unasked = 0;
                *asks = true;
            }
        };
        let first = source.peek_len().unwrap_or_default();
        // One that was committed since `find_too_long` looked, which finds it the next time.
        let allowed = peer.max_message();
        if long.is_none() && first > allowed.saturating_add(FrameHeader::SIZE) {
            return None;
        }
        if long.is_none() && first > peer.max_frame_len {
            *next_message_id = next_message_id.wrapping_add(1);
            let begun = source.begin(*next_message_id, peer.max_frame_len);
            window.take(begun.cost());
            *long = Some(begun);
            *messages += 1;
        }
        if let Some(long) = long {
            if long.is_last() {
                unread.sent(long.cost(), 1, window.limit);
                completed(long.cost());
            }
            let fragment = source.next_fragment(long);
            *deficit -= fragment.len() as i64;
            return Some(fragment);
        }
        // Only the first message of a run was looked at; what is no longer than the peer takes can
        // hold none that is.
        let len = if allowed < len { first } else { len };
        let Some(run) = source.read_run(len) else {
            unreachable!("a lane that was chosen has a message that fits");
        };
        let (bytes, count) = (frame_step(run.len()) as u64, run.count());
        window.take(bytes);
        unread.sent(bytes, count, window.limit);
        completed(bytes);
        *messages += count;
        *deficit -= run.len() as i64;
        Some(run)
    }

    /// Gives back the room of long messages whose last fragment was handed out.
    pub(super) fn release_sent(&mut self) {
        for lane in &mut self.lanes {
            if let Some(long) = lane.long.take_if(|long| long.is_sent()) {
                lane.source.release(long);
            }
        }
        // A lane whose sender is gone and that has nothing left is forgotten.
        if !self.closed {
            self.lanes.retain_mut(|lane| {
                lane.long.is_some()
                    || !lane.source.is_closed()
                    || lane.source.peek_len().is_some()
                    || lane.source.kept_bytes() > 0
            });
        }
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
        let max_unfinished = peer.max_unfinished as usize;
        let lanes = self.lanes.get_mut(group.clone())?;
        let lanes_len = lanes.len();
        // When a message waits for a larger window, no other of its priority or a lower one begins:
        // else small ones would use up what is granted, and it would wait for ever. Those that have
        // begun go on: they were charged, and the peer can read nothing of them before their end.
        let blocked = self.window.blocked
            || lanes
                .iter_mut()
                .any(|lane| matches!(lane.demand(available, peer.max_frame_len), Demand::Blocked));
        self.window.blocked = blocked;
        // Who begins a turn goes to the end, and sends when all others that stood there have had theirs. Who cannot begin a message now
        // keeps its place. Two rounds: one in which turns may have to begin, one in which somebody has one.
        let (mut index, mut begun) = (0, 0);
        while let Some(lane) = lanes.get_mut(index)
            && begun <= lanes_len
        {
            let begins_long = lane.long.is_none()
                && lane.source.peek_len().is_some_and(|len| len > peer.max_frame_len);
            match lane.demand(available, peer.max_frame_len) {
                _ if lane.long.is_none() && lane.source.keeps_too_much(self.max_kept) => index += 1,
                Demand::Nothing => {
                    lane.deficit = 0;
                    index += 1;
                }
                Demand::Blocked => index += 1,
                Demand::Bytes(_) if blocked && lane.long.is_none() => index += 1,
                Demand::Bytes(_) if begins_long && unfinished >= max_unfinished => index += 1,
                Demand::Bytes(len) if lane.deficit > 0 => return Some((group.start + index, len)),
                Demand::Bytes(_) => {
                    lane.deficit += peer.max_frame_len as i64 * i64::from(lane.share.weight);
                    begun += 1;
                    lanes.get_mut(index..)?.rotate_left(1);
                }
            }
        }
        None
    }

    /// Whether something of what a lane would send fits `budget`.
    fn fits(&mut self, index: usize, budget: usize) -> bool {
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        match &lane.long {
            Some(_) => false,
            None => lane.source.peek_len().is_some_and(|len| len <= budget),
        }
    }
}

impl Lane {
    fn demand(&mut self, available: u64, max_frame_len: usize) -> Demand {
        if let Some(long) = &self.long {
            return if long.is_sent() {
                Demand::Nothing
            } else {
                Demand::Bytes(long.max_frame_len())
            };
        }
        let Some(len) = self.source.peek_len() else { return Demand::Nothing };
        if frame_step(len) as u64 > available {
            return Demand::Blocked;
        }
        let available = usize::try_from(available).unwrap_or(usize::MAX) / 16 * 16;
        Demand::Bytes(max_frame_len.min(available))
    }
}
