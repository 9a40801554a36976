//! What the tasks, threads and handles of one [`Bulk`](super::Bulk) share.

use core::ops::{Deref, DerefMut};
use core::task::Waker;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use deltawire_framing::bulk::{BulkDone, BulkStatus, DoneFields, Subject};
use event_listener::Event;
use zerocopy::IntoBytes;

use super::receiving::{Accepted, Getting, Receiving};
use super::sending::Sending;
use crate::error::Refused;
use crate::name::FileName;
use crate::options::BulkOptions;
use crate::signal::Signal;

/// Messages without pieces that may wait for the link; past it nothing more is taken from the peer.
pub(super) const MAX_CONTROL: usize = 256;

/// What is shared.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Those who wait for proposals, and for the end of transfers.
    pub(super) changed: Event,
}

impl Shared {
    pub(super) fn new(options: BulkOptions) -> Arc<Self> {
        Arc::new_cyclic(|shared| Self {
            state: Mutex::new(State::new(options, shared.clone())),
            changed: Event::new(),
        })
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { shared: self, state: Some(state) }
    }
}

/// The state, for as long as nobody else has it. Whoever is to be woken is woken after that, as they want it too.
pub(crate) struct Locked<'a> {
    #[cfg_attr(not(all(feature = "files", unix)), allow(dead_code))]
    shared: &'a Shared,
    /// Always there but in the end.
    state: Option<MutexGuard<'a, State>>,
}

impl Locked<'_> {
    /// Gives the state up until there may be something to do.
    #[cfg(all(feature = "files", unix))]
    pub(crate) fn wait(mut self, signal: &Signal) -> Self {
        let shared = self.shared;
        match self.state.take() {
            Some(state) if state.wakes.is_empty() => {
                Self { shared, state: Some(signal.wait(state)) }
            }
            state => {
                drop(Self { shared, state });
                shared.lock()
            }
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        match &self.state {
            Some(state) => state,
            None => unreachable!("a state that was given up is not asked"),
        }
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        match &mut self.state {
            Some(state) => state,
            None => unreachable!("a state that was given up is not asked"),
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else { return };
        let wakes = core::mem::take(&mut state.wakes);
        drop(state);
        wakes.tasks.into_iter().for_each(Waker::wake);
        wakes.signals.iter().for_each(|signal| signal.notify());
    }
}

/// Whom to wake.
#[derive(Default)]
pub(crate) struct Wakes {
    tasks: Vec<Waker>,
    signals: Vec<Arc<Signal>>,
}

impl Wakes {
    #[cfg(all(feature = "files", unix))]
    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.signals.is_empty()
    }

    pub(super) fn task(&mut self, waker: &mut Option<Waker>) {
        self.tasks.extend(waker.take());
    }

    pub(super) fn signal(&mut self, signal: &Arc<Signal>) {
        self.signals.push(signal.clone());
    }
}

pub(crate) struct State {
    pub(crate) options: BulkOptions,
    pub(super) shared: Weak<Shared>,
    /// The runtime's time when the link's task looked last.
    pub(crate) now: Duration,
    /// Which link bulk goes over.
    pub(super) link: u64,
    pub(super) attended: bool,
    /// Nothing new is taken from the application and the peer.
    pub(super) refusing: bool,
    /// Nothing goes on at all.
    pub(super) closed: bool,
    next_id: u32,
    next_key: u64,
    /// Messages without pieces, for the link.
    pub(super) control: VecDeque<Vec<u8>>,
    pub(super) attendant: Option<Waker>,
    pub(super) control_source: Option<Waker>,
    pub(super) piece_source: Option<Waker>,
    pub(crate) sending: BTreeMap<u64, Sending>,
    pub(crate) receiving: BTreeMap<u64, Receiving>,
    /// Offers that were accepted and wait for their turn.
    pub(super) accepted: VecDeque<Accepted>,
    /// Offers and requests of the peer's that nobody has answered.
    pub(super) proposed: VecDeque<Proposed>,
    /// Requests of this side's.
    pub(super) getting: BTreeMap<u32, Getting>,
    /// Which transfer sent a piece last, and which asked for some.
    pub(super) turn: u64,
    pub(super) ask_turn: u64,
    /// Bytes that are read ahead of the link, or are being read.
    pub(crate) read_ahead: usize,
    /// When the next piece may go, by the rate.
    pub(super) paced: Duration,
    /// Whether a piece waits for that.
    pub(super) waits_for_pace: bool,
    /// Whom to wake once nobody has this.
    pub(super) wakes: Wakes,
}

/// What the peer would send or have.
pub(super) struct Proposed {
    pub(super) key: u64,
    /// The link that it came over.
    pub(super) link: u64,
    /// Whether the application has it in hand.
    pub(super) taken: bool,
    pub(super) what: ProposedWhat,
}

#[derive(Clone)]
pub(super) enum ProposedWhat {
    Offer(PeerOffer),
    Request { id: u32, name: Option<FileName> },
}

/// An offer of the peer's.
#[derive(Clone, Debug)]
pub(super) struct PeerOffer {
    pub(super) id: u32,
    pub(super) name: FileName,
    pub(super) layout: crate::layout::Layout,
    pub(super) modified: u64,
}

impl State {
    fn new(options: BulkOptions, shared: Weak<Shared>) -> Self {
        Self {
            options,
            shared,
            now: Duration::ZERO,
            link: 0,
            attended: false,
            refusing: false,
            closed: false,
            next_id: 0,
            next_key: 0,
            control: VecDeque::new(),
            attendant: None,
            control_source: None,
            piece_source: None,
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            accepted: VecDeque::new(),
            proposed: VecDeque::new(),
            getting: BTreeMap::new(),
            turn: 0,
            ask_turn: 0,
            read_ahead: 0,
            paced: Duration::ZERO,
            waits_for_pace: false,
            wakes: Wakes::default(),
        }
    }

    pub(super) fn is_attended_by(&self, link: u64) -> bool {
        self.attended && self.link == link
    }

    /// A number for an offer or a request: never used twice in a session, and not 0.
    pub(super) fn id(&mut self) -> u32 {
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.next_id
    }

    pub(super) fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Whether one more of `count` may wait.
    pub(super) fn check_open(&self, count: usize) -> Result<(), Refused> {
        let limit = self.options.max_pending;
        if self.refusing || self.closed {
            Err(Refused::Closed)
        } else if count >= limit {
            Err(Refused::TooMany { limit })
        } else {
            Ok(())
        }
    }

    /// Has the link send a message.
    pub(crate) fn tell(&mut self, body: Vec<u8>) {
        if self.attended {
            self.control.push_back(body);
            self.wakes.task(&mut self.control_source);
        }
    }

    pub(crate) fn tell_done(&mut self, subject: Subject, id: u32, status: BulkStatus) {
        let done = BulkDone::new(DoneFields { subject, id, status });
        self.tell(done.as_bytes().to_vec());
    }

    /// Has the link's task look.
    pub(crate) fn wake_attendant(&mut self) {
        self.wakes.task(&mut self.attendant);
    }

    pub(crate) fn wake_pieces(&mut self) {
        self.wakes.task(&mut self.piece_source);
    }

    /// Tells those who wait for proposals and ends.
    pub(super) fn note_change(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.changed.notify(usize::MAX);
        }
    }

    /// Whether a clock has to be looked at.
    pub(super) fn is_timed(&self) -> bool {
        !(self.sending.is_empty() && self.receiving.is_empty() && self.getting.is_empty())
    }

    /// A link is there.
    pub(super) fn begin(&mut self) {
        self.attended = true;
        self.link += 1;
        self.offer_next();
        self.ask_again();
    }

    /// The link is gone. What goes on over the next one waits; what does not ends.
    pub(super) fn end_link(&mut self) {
        self.attended = false;
        self.control.clear();
        self.proposed.clear();
        self.rest_sending();
        self.rest_receiving();
        self.wakes.task(&mut self.control_source);
        self.wakes.task(&mut self.piece_source);
        self.note_change();
    }

    /// Time has gone on.
    pub(super) fn handle_time(&mut self) {
        if self.waits_for_pace && self.now >= self.paced {
            self.waits_for_pace = false;
            self.wakes.task(&mut self.piece_source);
        }
        self.time_out_sending();
        self.time_out_receiving();
        self.offer_next();
    }

    /// When to look at the clock again.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        /// Time-outs are seconds: this is often enough for them.
        const TICK: Duration = Duration::from_millis(250);
        let pace = self.waits_for_pace.then_some(self.paced);
        let tick = self.is_timed().then(|| self.now.saturating_add(TICK));
        pace.into_iter().chain(tick).min()
    }
}
