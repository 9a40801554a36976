//! One subscription: where it stands, and what waits to be read.

use core::task::Waker;
use std::collections::{BTreeSet, VecDeque};

use deltawire_channels::Message;
use deltawire_framing::documents::{
    DeniedCode, MarkFields, SlowPolicy, Start, Subscribe, SubscribeFields, Why,
};
use deltawire_framing::{DocId, frame_step};

use super::item::{Gap, Item, Place};
use super::{SubscribeOptions, SubscriptionEnded};

#[derive(Debug)]
pub(super) struct Subscribed {
    doc_id: DocId,
    start: Start,
    policy: SlowPolicy,
    presence: bool,
    /// The place of the next delta that comes; `None` before the first mark, if it did not begin with a place.
    at: Option<Place>,
    items: VecDeque<Item>,
    /// What `items` take, bytes.
    queued: usize,
    /// Writers of a presence whose words were read; of deltas, positions of which the reader was told that they were rejected.
    shown: BTreeSet<u64>,
    /// How many of `items` are rejections.
    rejections: usize,
    /// Its id on this link, once the hub was asked.
    pub(super) told: Option<u32>,
    /// Whether its first mark on this link is here: deltas before it are of an earlier id.
    started: bool,
    /// Whether nobody reads, and the hub was told to stop.
    paused: bool,
    ended: Option<SubscriptionEnded>,
    pub(super) reader: Option<Waker>,
}

impl Subscribed {
    pub(super) fn new(doc_id: DocId, options: SubscribeOptions, presence: bool) -> Self {
        let SubscribeOptions { start, policy } = options;
        let at = match start {
            Start::Position { epoch, position } => Some(Place { epoch, position }),
            _ => None,
        };
        Self {
            doc_id,
            start,
            policy,
            presence,
            at,
            items: VecDeque::new(),
            queued: 0,
            shown: BTreeSet::new(),
            rejections: 0,
            told: None,
            started: false,
            paused: false,
            ended: None,
            reader: None,
        }
    }

    pub(super) fn is_of(&self, doc_id: DocId, presence: bool) -> bool {
        self.doc_id == doc_id && self.presence == presence
    }

    /// Whether the hub is to be asked for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.ended.is_none() && !self.paused && self.told.is_none()
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.at
    }

    /// Asks for what follows what is here.
    pub(super) fn request(&self, id: u32) -> Subscribe {
        let start = match self.at {
            Some(Place { epoch, position }) if !self.presence => {
                Start::Position { epoch, position }
            }
            _ => self.start,
        };
        Subscribe::new(SubscribeFields {
            id,
            doc_id: self.doc_id,
            start,
            policy: self.policy,
            presence: self.presence,
        })
    }

    /// Its link is gone.
    pub(super) fn detach(&mut self) {
        if self.presence && self.started {
            // Who is there now is told anew.
            self.clear();
        }
        self.told = None;
        self.started = false;
    }

    /// Nobody is present.
    fn clear(&mut self) {
        self.items.clear();
        self.queued = 0;
        self.push(Item::Cleared);
    }

    fn push(&mut self, item: Item) {
        self.queued += cost(&item);
        self.items.push_back(item);
        // A presence is as long as its writers are many; a hub that goes on and on is not believed.
        if self.presence
            && self.items.len() > MAX_PRESENT
            && let Some(oldest) = self.items.pop_front()
        {
            self.queued -= cost(&oldest);
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Takes in a mark; gives the writer whose delta follows, of a presence.
    pub(super) fn handle_mark(&mut self, mark: MarkFields) -> Option<u64> {
        if self.presence {
            let again = std::mem::replace(&mut self.started, true);
            match mark.why {
                // All that are there are told anew.
                Why::Start if again => self.clear(),
                Why::Writer => return Some(mark.skipped),
                Why::Gone => {
                    self.forget_writer(mark.skipped);
                    // Who came and went while nobody read was never there.
                    if self.shown.contains(&mark.skipped) {
                        self.push(Item::Gone { writer: mark.skipped });
                    }
                }
                Why::Live => self.push(Item::Live),
                _ => {}
            }
            return None;
        }
        self.started = true;
        match item_of(&mut self.at, mark) {
            Some(Item::Rejected { place }) => self.reject(place),
            Some(item) => {
                if matches!(&item, Item::Gap(gap) if gap.why == Why::NewEpoch) {
                    self.shown.clear();
                }
                self.push(item);
            }
            None => {}
        }
        None
    }

    /// A hub tells all that was rejected whenever it is asked to go on: what was told once is not told again.
    fn reject(&mut self, place: Place) {
        if self.shown.len() >= MAX_REJECTED {
            self.shown.clear();
        }
        if self.shown.insert(place.position) {
            self.rejections += 1;
            self.push(Item::Rejected { place });
        }
    }

    pub(super) fn takes(&self, doc_id: DocId) -> bool {
        self.started && !self.presence && self.told.is_some() && self.doc_id == doc_id
    }

    /// Takes in a delta.
    pub(super) fn handle_delta(&mut self, message: Message) {
        let Some(place) = self.at else { return };
        self.at = Some(Place { position: place.position.saturating_add(1), ..place });
        self.push(Item::Delta { place, message });
    }

    /// Stops when more than `max_queued` bytes wait. Gives the id of which the hub is to be told that.
    pub(super) fn pause(&mut self, max_queued: usize) -> Option<u32> {
        let many = self.queued > max_queued || self.rejections > MAX_REJECTIONS;
        if !many || self.presence {
            return None;
        }
        self.paused = true;
        self.started = false;
        self.told.take()
    }

    /// Takes in what a writer says of itself: only the last of it counts.
    pub(super) fn present(&mut self, writer: u64, message: Message) {
        self.forget_writer(writer);
        self.push(Item::Present { writer, message });
    }

    fn forget_writer(&mut self, gone: u64) {
        let queued = &mut self.queued;
        self.items.retain(|item| {
            let of = matches!(item, Item::Present { writer, .. } if *writer == gone);
            if of {
                *queued -= cost(item);
            }
            !of
        });
    }

    /// What comes next. Says too whether the hub is to be asked again, because enough was read.
    pub(super) fn next(&mut self, max_queued: usize) -> (Option<Item>, bool) {
        let item = self.items.pop_front();
        if let Some(item) = &item {
            self.queued -= cost(item);
            match item {
                Item::Present { writer, .. } if self.shown.len() < MAX_PRESENT => {
                    self.shown.insert(*writer);
                }
                Item::Gone { writer } => {
                    self.shown.remove(writer);
                }
                Item::Cleared => self.shown.clear(),
                Item::Rejected { .. } => self.rejections -= 1,
                _ => {}
            }
        }
        let few = self.rejections <= MAX_REJECTIONS / 2;
        let resumes = self.paused && self.queued <= max_queued / 2 && few;
        if resumes {
            self.paused = false;
        }
        (item, resumes)
    }

    pub(super) fn ended(&self) -> Option<SubscriptionEnded> {
        self.ended
    }

    pub(super) fn end(&mut self, code: DeniedCode) {
        self.finish(SubscriptionEnded::Denied(code));
    }

    pub(super) fn close(&mut self) {
        self.finish(SubscriptionEnded::Closed);
    }

    fn finish(&mut self, why: SubscriptionEnded) {
        self.ended.get_or_insert(why);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Words of a presence that wait to be read, and writers of whom it is known that they were read; more are let go.
const MAX_PRESENT: usize = 4_096;

/// Rejections that wait to be read; past it the hub is asked to stop, as for deltas that wait.
const MAX_REJECTIONS: usize = 4_096;

/// Rejections that were told and are remembered; past it they may be told again.
const MAX_REJECTED: usize = 65_536;

/// What a mark tells, of deltas; `at` is where the subscription stands.
pub(super) fn item_of(at: &mut Option<Place>, mark: MarkFields) -> Option<Item> {
    let to = Place { epoch: mark.epoch, position: mark.position };
    let from = at.replace(to);
    match mark.why {
        Why::Live => Some(Item::Live),
        Why::Rejected => {
            let (epoch, position) = (mark.epoch, mark.skipped);
            Some(Item::Rejected { place: Place { epoch, position } })
        }
        // What it gave up by where it began is no gap.
        _ if from.is_none() && mark.skipped == 0 => None,
        _ if from == Some(to) => None,
        // Where the epoch is new and the position is not, everything before it is the same.
        Why::Start if from.is_some_and(|from| from.position == to.position) => None,
        // There was no such document before.
        _ if from == Some(Place { epoch: 0, position: 1 }) && mark.skipped == 0 => None,
        why => {
            let (skipped, skipped_bytes) = (mark.skipped, mark.skipped_bytes);
            Some(Item::Gap(Gap { from, to, why, skipped, skipped_bytes }))
        }
    }
}

/// What an item takes of what may wait: the bytes of its message, and what it costs beside them.
fn cost(item: &Item) -> usize {
    let message = match item {
        Item::Delta { message, .. } | Item::Present { message, .. } => {
            frame_step(message.frame().as_bytes().len())
        }
        // They are counted by themselves: a reader must get past them to the deltas.
        Item::Rejected { .. } => return 0,
        _ => 0,
    };
    message + size_of::<Item>()
}
