//! What the handles, and the task that takes messages in, have in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deltawire_channels::{ChannelClosed, SendError, Sender};
use deltawire_framing::requests::{RefusalCode, RequestMessage};
use deltawire_framing::{DeltaFields, DeltaHeader};
use deltawire_link::runtime::{SharedRuntime, timeout};
use event_listener::{Event, EventListener, IntoNotification};

use crate::core::Core;
use crate::error::{Ended, RequestError};
use crate::options::{RequestsOptions, WhenFull};

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Those that wait for a place.
    places: Event,
    /// Those that wait for room in the ring.
    room: Event,
    /// Those that wait for the end.
    over: Event,
    pub(crate) runtime: SharedRuntime,
}

pub(crate) struct State {
    pub(crate) core: Core,
    /// `None` when it is over.
    sender: Option<Sender>,
    /// The task that takes messages in.
    driver: Option<Waker>,
    /// How much room somebody waits for; 0 is nobody.
    wanted: usize,
    /// When its timer wakes it.
    pub(crate) timer: Option<Duration>,
    handles: usize,
}

/// Why something was not sent.
pub(crate) enum NotNow {
    /// There are as many as there may be.
    Place,
    /// The ring is full.
    Room,
    /// The other side takes no more of it for now.
    Credit,
    /// And never will be.
    Never(RequestError),
}

impl From<RequestError> for NotNow {
    fn from(error: RequestError) -> Self {
        Self::Never(error)
    }
}

impl State {
    /// Sends a message, behind the replies that wait.
    fn write(&mut self, message: &RequestMessage<'_>) -> Result<(), NotNow> {
        let (head, payload) = (message.head(), message.payload());
        let head = head.as_bytes();
        if !self.write_replies() {
            // Whoever wants the least must not wait for ever either.
            self.wanted = self.wanted.max(head.len() + payload.len());
            return Err(NotNow::Room);
        }
        self.core.check_open()?;
        let Some(sender) = &mut self.sender else { return Err(NotNow::Room) };
        match put(sender, head, payload) {
            Ok(()) => Ok(()),
            Err(SendError::Full { .. }) => {
                self.wanted = self.wanted.max(head.len() + payload.len());
                Err(NotNow::Room)
            }
            Err(error) => Err(NotNow::Never(RequestError::of_send(error))),
        }
    }

    /// Sends the replies that wait: `false` while some have no room.
    fn write_replies(&mut self) -> bool {
        while let Some(reply) = self.core.reply() {
            let Some(sender) = &mut self.sender else { return false };
            let message = reply.message();
            match put(sender, message.head().as_bytes(), message.payload()) {
                Ok(()) => self.core.replied(),
                Err(SendError::Full { .. }) => return false,
                Err(SendError::TooLarge { .. } | SendError::TooLongForPeer { .. })
                    if !message.payload().is_empty() =>
                {
                    self.core.shorten_reply();
                }
                // It is over, as the receiver is about to say.
                Err(SendError::Closed(_)) => self.core.forget_replies(),
                Err(_) => self.core.replied(),
            }
        }
        true
    }

    /// Sends replies, and says whether there is what was wanted; the task is woken when there is.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.write_replies() {
                let len = self.core.reply().map_or(0, |reply| {
                    let message = reply.message();
                    message.head().as_bytes().len() + message.payload().len()
                });
                let Some(sender) = &mut self.sender else { return Poll::Pending };
                match sender.poll_reserve_request(context, len) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) => continue,
                }
            }
            if self.wanted == 0 {
                return Poll::Pending;
            }
            let Some(sender) = &mut self.sender else { return Poll::Pending };
            // Whoever wanted it finds out what is wrong by trying.
            return sender.poll_reserve_request(context, self.wanted).map(|_| self.wanted = 0);
        }
    }

    pub(crate) fn try_ask(
        &mut self,
        payload: &[u8],
        many: bool,
        now: Duration,
        timeout: Duration,
    ) -> Result<u32, NotNow> {
        self.core.check_open()?;
        if !self.core.has_place_to_ask() {
            return Err(NotNow::Place);
        }
        let id = self.core.next_id();
        let answers = many.then(|| self.core.options().answer_window);
        self.write(&RequestMessage::Request { id, answers, payload })?;
        Ok(self.core.asked(many, now, timeout))
    }

    pub(crate) fn try_open(
        &mut self,
        fields: DeltaFields,
        len: Option<u64>,
    ) -> Result<u32, NotNow> {
        self.core.check_open()?;
        if !self.core.has_place_to_write() {
            return Err(NotNow::Place);
        }
        self.write(&RequestMessage::Open { id: self.core.next_id(), len, fields })?;
        Ok(self.core.wrote_open(len))
    }

    pub(crate) fn try_answer(&mut self, id: u32, payload: &[u8], more: bool) -> Result<(), NotNow> {
        let message = RequestMessage::Answer { id, more, payload };
        if !self.core.check_answer(id, message.cost())? {
            return Err(NotNow::Credit);
        }
        self.write(&message)?;
        self.core.answered(id, message.cost(), more);
        Ok(())
    }

    /// Sends as much of `bytes` as one piece takes, and says how much that was.
    pub(crate) fn try_piece(&mut self, id: u32, bytes: &[u8]) -> Result<usize, NotNow> {
        let Some(len) = self.core.check_piece(id, bytes.len())? else {
            return Err(NotNow::Credit);
        };
        let payload = bytes.get(..len).unwrap_or_default();
        self.write(&RequestMessage::Piece { id, last: false, payload })?;
        self.core.wrote_piece(id, len, false);
        Ok(len)
    }

    pub(crate) fn try_finish(&mut self, id: u32) -> Result<(), NotNow> {
        self.core.check_written(id)?;
        if self.core.check_piece(id, 0)?.is_none() {
            return Err(NotNow::Credit);
        }
        self.write(&RequestMessage::Piece { id, last: true, payload: &[] })?;
        self.core.wrote_piece(id, 0, true);
        Ok(())
    }

    /// Sends a command of the application's own.
    pub(crate) fn try_command(
        &mut self,
        fields: Option<DeltaFields>,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        let Some(sender) = &mut self.sender else {
            let why = match self.core.ended() {
                Some(Ended::Closed(why)) => why.clone(),
                _ => ChannelClosed::Dropped,
            };
            return Err(SendError::Closed(why));
        };
        let (sent, len) = match fields {
            Some(fields) => (sender.try_send(fields, bytes), DeltaHeader::SIZE + bytes.len()),
            None => (sender.try_send_opaque(bytes), bytes.len()),
        };
        if matches!(sent, Err(SendError::Full { .. })) {
            self.wanted = self.wanted.max(len);
        }
        sent
    }
}

fn put(sender: &mut Sender, head: &[u8], payload: &[u8]) -> Result<(), SendError> {
    let len = head.len() + payload.len();
    let mut grant = sender.try_reserve_request(len)?;
    let (front, behind) = grant.body_mut().split_at_mut(head.len());
    front.copy_from_slice(head);
    behind.get_mut(..payload.len()).unwrap_or_default().copy_from_slice(payload);
    Ok(grant.commit(len)?)
}

impl Shared {
    pub(crate) fn new(sender: Sender, runtime: SharedRuntime, options: RequestsOptions) -> Self {
        let core = Core::new(options);
        let state =
            State { core, sender: Some(sender), driver: None, wanted: 0, timer: None, handles: 0 };
        Self {
            state: Mutex::new(state),
            places: Event::new(),
            room: Event::new(),
            over: Event::new(),
            runtime,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, says what there is to say about it, and wakes whom it concerns.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        // Of what waited before, the task waits for room already.
        let (before, waited) = (state.wanted, state.core.reply().is_some());
        let result = change(&mut state);
        let late = match (state.core.poll_timeout(), state.timer) {
            (Some(due), Some(timer)) => due < timer,
            (due, _) => due.is_some(),
        };
        let stuck = (!state.write_replies() && !waited) || state.wanted > before || late;
        let driver = if stuck { state.driver.clone() } else { None };
        self.settle(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Unlocks, and wakes those that were waited for.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        let (woken, freed) = state.core.take_woken();
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        if freed > 0 {
            self.places.notify(freed.additional());
        }
    }

    /// What the task does that takes messages in, under one lock.
    pub(crate) fn drive<R>(
        &self,
        context: &mut Context<'_>,
        change: impl FnOnce(&mut State) -> R,
    ) -> R {
        let mut state = self.lock();
        match &mut state.driver {
            Some(driver) => driver.clone_from(context.waker()),
            None => state.driver = Some(context.waker().clone()),
        }
        let room = state.poll_room(context).is_ready();
        let result = change(&mut state);
        self.settle(state);
        if room {
            self.room.notify(usize::MAX);
        }
        result
    }

    /// Ends everything that is open.
    pub(crate) fn end(&self, ended: Ended) {
        let mut state = self.lock();
        state.core.end(ended);
        let sender = state.sender.take();
        let driver = state.driver.take();
        self.settle(state);
        drop(sender);
        self.places.notify(usize::MAX);
        self.room.notify(usize::MAX);
        self.over.notify(usize::MAX);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Waits for the end.
    pub(crate) async fn closed(&self) -> Ended {
        loop {
            let over = self.over.listen();
            // It may have come in between.
            if let Some(ended) = self.lock().core.ended() {
                return ended.clone();
            }
            over.await;
        }
    }

    /// Whether nobody is left who asks, and everything was said.
    pub(crate) fn is_left(&self) -> bool {
        let state = self.lock();
        state.handles == 0 && state.core.reply().is_none()
    }

    /// Opens an exchange: waits for a place and for room, until then.
    pub(crate) async fn open(
        &self,
        within: Option<Duration>,
        when_full: WhenFull,
        limit: usize,
        mut attempt: impl FnMut(&mut State) -> Result<u32, NotNow>,
    ) -> Result<u32, RequestError> {
        let begun = within.map(|_| self.runtime.now());
        let mut waiting = Opening { shared: self, waited: false };
        // Whether it was looked again since the listener is there: it may have come in between.
        let mut listening: Option<(bool, EventListener)> = None;
        loop {
            let for_place = match self.update(&mut attempt) {
                Ok(id) => return Ok(id),
                Err(NotNow::Never(error)) => return Err(error),
                Err(NotNow::Place) if when_full == WhenFull::Refuse => {
                    return Err(RequestError::TooMany { limit });
                }
                Err(NotNow::Place) => true,
                Err(NotNow::Room | NotNow::Credit) => false,
            };
            waiting.waited = true;
            let listener = match listening.take() {
                Some((same, listener)) if same == for_place => listener,
                _ => {
                    let event = if for_place { &self.places } else { &self.room };
                    listening = Some((for_place, event.listen()));
                    continue;
                }
            };
            let late = match within.zip(begun) {
                None => {
                    listener.await;
                    false
                }
                Some((within, begun)) => {
                    let gone = self.runtime.now().saturating_sub(begun);
                    let left = within.saturating_sub(gone);
                    timeout(&*self.runtime, left, listener).await.is_none()
                }
            };
            if late {
                let after = within.unwrap_or_default();
                return Err(RequestError::TimedOut { after, may_have_run: false });
            }
        }
    }

    /// Waits for room, unless it came in between.
    pub(crate) async fn wait_for_room<T, E>(
        &self,
        mut attempt: impl FnMut(&mut State) -> Result<T, E>,
        is_full: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        loop {
            match self.update(&mut attempt) {
                Err(error) if is_full(&error) => {}
                done => return done,
            }
            let listener = self.room.listen();
            match self.update(&mut attempt) {
                Err(error) if is_full(&error) => listener.await,
                done => return done,
            }
        }
    }
}

/// Somebody waits for a place: if it was told of one and does not take it, another is told.
struct Opening<'a> {
    shared: &'a Shared,
    waited: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if self.waited {
            self.shared.places.notify(1);
        }
    }
}

/// A handle: while there is one, the requests go on.
pub(crate) struct Handle(Arc<Shared>);

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.lock().handles += 1;
        Self(shared)
    }

    pub(crate) fn refuse(&self, id: u32, code: RefusalCode, reason: &str) {
        self.update(|state| state.core.refuse_served(id, code, reason.to_owned()));
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl core::ops::Deref for Handle {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.handles -= 1;
        let driver = if state.handles == 0 { state.driver.clone() } else { None };
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}
