//! A peer on the board: the same in the page's worker and natively.

use core::future::poll_fn;
use core::task::{Context, Poll};
use std::collections::VecDeque;

use deltawire::documents::{
    Documents, Item, OpenError, Presence, Publisher, SubscribeOptions, Subscription,
};
use deltawire::prelude::{DeltaFields, DeltaType};

use super::{Appearance, BOARD, Logged, Operation, OperationId, Replica, Signed, Status, ToWindow};
use crate::service::Error;

/// Somebody who reads the board, draws on it, and is seen there.
///
/// What it does shows at once and waits for its place in the document. While there is no link it keeps what it did. When the hub
/// has lost deltas that this peer has (a hub that keeps them in memory only, and was killed) it gives them back, each
/// to exactly the position that it had; where another peer was quicker the hub refuses, and nothing is there twice.
#[derive(Debug)]
pub struct Participant {
    documents: Documents,
    publisher: Publisher,
    subscription: Subscription,
    presence: Presence,
    author: u64,
    /// Microseconds since the Unix epoch.
    clock: fn() -> u64,
    replica: Replica,
    /// The number of the last operation of its own.
    last: u32,
    /// Operations of its own that have no place yet.
    waiting: Vec<Waiting>,
    /// What is to be published next.
    outbox: VecDeque<Outgoing>,
    /// What the hub has lost.
    lost: Vec<Logged>,
    epoch: Option<u32>,
    live: bool,
    received: u32,
    sent: u32,
    told: VecDeque<ToWindow>,
}

#[derive(Debug)]
struct Waiting {
    signed: Signed,
    time: u64,
    sent: bool,
    /// It is to be taken back as soon as it has a place.
    unwanted: bool,
}

#[derive(Debug)]
struct Outgoing {
    expect: Option<u64>,
    time: u64,
    delta_type: DeltaType,
    payload: Box<[u8]>,
}

impl Participant {
    /// Joins the board. `author` is a random number, and `clock` says microseconds since the Unix epoch.
    ///
    /// # Errors
    /// When these documents have the board open already.
    pub fn join(documents: &Documents, author: u64, clock: fn() -> u64) -> Result<Self, OpenError> {
        Ok(Self {
            documents: documents.clone(),
            publisher: documents.publish(BOARD)?,
            subscription: documents.subscribe(BOARD, SubscribeOptions::default())?,
            presence: documents.presence(BOARD)?,
            author,
            clock,
            replica: Replica::default(),
            last: 0,
            waiting: Vec::new(),
            outbox: VecDeque::new(),
            lost: Vec::new(),
            epoch: None,
            live: false,
            received: 0,
            sent: 0,
            told: VecDeque::new(),
        })
    }

    /// The board as it is here.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// How it is connected, but for the kind of its link.
    #[must_use]
    pub fn status(&self) -> Status {
        let attended = self.documents.is_connected();
        Status {
            author: self.author,
            attended,
            live: attended && self.live,
            kind: String::new(),
            received: self.received,
            sent: self.sent,
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            next: self.replica.next(),
            digest: self.replica.digest(),
        }
    }

    /// Does something to the board.
    pub fn perform(&mut self, operation: Operation) {
        self.last += 1;
        let id = OperationId { author: self.author, number: self.last };
        let signed = Signed { id, operation };
        if matches!(signed.operation, Operation::Stroke(_) | Operation::Clear) {
            self.told.push_back(ToWindow::Waits(signed.clone()));
        }
        let time = (self.clock)();
        self.waiting.push(Waiting { signed, time, sent: false, unwanted: false });
        self.send_waiting();
    }

    /// Takes back the last stroke or clearing of its own that is not taken back.
    pub fn undo(&mut self) {
        let last = self.waiting.iter().rposition(|it| {
            !it.unwanted && matches!(it.signed.operation, Operation::Stroke(_) | Operation::Clear)
        });
        if let Some(waiting) = last.and_then(|index| self.waiting.get_mut(index)) {
            self.told.push_back(ToWindow::Dropped(waiting.signed.id.number));
            waiting.unwanted = true;
            self.waiting.retain(|it| it.sent || !it.unwanted);
            return;
        }
        // What is being taken back already is not there for its author.
        let asked = |position| {
            self.waiting.iter().any(|it| {
                matches!(it.signed.operation, Operation::Undo { position: of, .. } if of == position)
            })
        };
        let last = self.replica.takeable(self.author).rfind(|it| !asked(it.position));
        let last = last.map(|it| (it.position, it.signed.id.number));
        if let Some((position, number)) = last {
            self.perform(Operation::Undo { position, number });
        }
    }

    /// Takes back the oldest ones until so many are left. Those that have no place yet do not count.
    pub fn keep_only(&mut self, most: usize) {
        let all: Vec<_> = self.replica.takeable(self.author).collect();
        let many = all.len().saturating_sub(most);
        let old: Vec<_> =
            all.iter().take(many).map(|it| (it.position, it.signed.id.number)).collect();
        for (position, number) in old {
            self.perform(Operation::Undo { position, number });
        }
    }

    /// Looks like this to others.
    ///
    /// # Errors
    /// When the hub does not take it.
    pub fn appear(&mut self, appearance: Appearance) -> Result<(), Error> {
        let appearance = Appearance { author: self.author, ..appearance };
        Ok(self.presence.set(&appearance.write())?)
    }

    /// What happens next on the board, and who comes and goes. Cancel safe.
    ///
    /// # Errors
    /// When the hub does not let this side read or write.
    pub async fn next(&mut self) -> Result<ToWindow, Error> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<ToWindow, Error>> {
        if !self.documents.is_attended() {
            // The presence says so when the link is lost, which wakes this task.
            self.live = false;
        }
        // What was done while the link was down.
        self.send_waiting();
        loop {
            if let Some(told) = self.told.pop_front() {
                return Poll::Ready(Ok(told));
            }
            self.poll_publish(context)?;
            if let Poll::Ready(item) = self.presence.poll_next(context) {
                self.handle_presence(item?);
            } else if let Poll::Ready(item) = self.subscription.poll_next(context) {
                self.handle(item?);
            } else if self.told.is_empty() {
                return Poll::Pending;
            }
        }
    }

    /// Publishes as much as there is room for.
    fn poll_publish(&mut self, context: &mut Context<'_>) -> Result<(), Error> {
        while let Some(next) = self.outbox.front() {
            let fields = DeltaFields {
                delta_type: next.delta_type,
                timestamp: next.time,
                ..DeltaFields::new(BOARD)
            };
            let publisher = &mut self.publisher;
            match publisher.poll_publish(context, fields, &next.payload, next.expect) {
                Poll::Ready(published) => drop(published?),
                Poll::Pending => break,
            }
            self.sent = self.sent.wrapping_add(1);
            self.outbox.pop_front();
        }
        Ok(())
    }

    fn send_waiting(&mut self) {
        // While the link is down it is kept here: a hub that comes back without its deltas first gets those back.
        if !self.live || !self.documents.is_connected() {
            return;
        }
        for waiting in self.waiting.iter_mut().filter(|it| !it.sent) {
            waiting.sent = true;
            let (delta_type, payload) = (waiting.signed.delta_type(), waiting.signed.write());
            let payload = payload.into_boxed_slice();
            self.outbox.push_back(Outgoing {
                expect: None,
                time: waiting.time,
                delta_type,
                payload,
            });
        }
    }

    fn handle(&mut self, item: Item) {
        match item {
            Item::Delta { place, message } => {
                let Ok(delta) = message.delta() else { return };
                self.received = self.received.wrapping_add(1);
                self.place(Logged {
                    position: place.position,
                    time: delta.timestamp(),
                    kind: delta.delta_type().get(),
                    payload: delta.payload().into(),
                });
            }
            Item::Gap(gap) => self.go_back_to(gap.to.position),
            Item::Live => self.go_live(),
            _ => {}
        }
    }

    fn place(&mut self, logged: Logged) {
        let Some(entry) = self.replica.take(logged) else { return };
        let id = entry.signed.id;
        self.told.push_back(placed(entry));
        if id.author != self.author {
            return;
        }
        let Some(index) = self.waiting.iter().position(|it| it.signed.id == id) else { return };
        if self.waiting.remove(index).unwanted {
            let Some(ToWindow::Placed { position, .. }) = self.told.back() else { return };
            let undo = Operation::Undo { position: *position, number: id.number };
            self.perform(undo);
        }
    }

    /// The document goes on at this position: what lies behind that is not in it, or is another thing now.
    fn go_back_to(&mut self, position: u64) {
        if position >= self.replica.next() {
            return;
        }
        self.lost.extend(self.replica.truncate(position));
        self.told.push_back(ToWindow::Reset);
        self.told.extend(self.replica.entries().iter().map(placed));
        let waiting = self.waiting.iter().filter(|it| !it.unwanted);
        let waiting = waiting.filter(|it| !matches!(it.signed.operation, Operation::Change(_)));
        self.told.extend(waiting.map(|it| ToWindow::Waits(it.signed.clone())));
    }

    /// All that the hub has is here.
    fn go_live(&mut self) {
        self.live = true;
        let place = self.subscription.place();
        if let Some(place) = place {
            // A hub that does not know the document has nothing to tell of it but that this is all.
            self.go_back_to(place.position);
        }
        let epoch = place.map(|place| place.epoch);
        // A document that nobody has written to has epoch 0; getting another one by that loses nothing.
        if self.epoch != epoch && self.epoch.is_some_and(|before| before != 0) {
            // It may have acknowledged what it has lost since. What it gets twice counts once.
            self.waiting.iter_mut().for_each(|it| it.sent = false);
        }
        self.epoch = epoch;
        let next = self.replica.next();
        for lost in std::mem::take(&mut self.lost).into_iter().filter(|it| it.position >= next) {
            if let Ok(delta_type) = DeltaType::application(lost.kind) {
                self.outbox.push_back(Outgoing {
                    expect: Some(lost.position),
                    time: lost.time,
                    delta_type,
                    payload: lost.payload,
                });
            }
        }
        self.send_waiting();
    }

    fn handle_presence(&mut self, item: Item) {
        match item {
            Item::Present { writer, message } => {
                let appearance = message.delta().map(|delta| Appearance::read(delta.payload()));
                if let Ok(Ok(appearance)) = appearance {
                    self.told.push_back(ToWindow::Present { writer, appearance });
                }
            }
            Item::Gone { writer } => self.told.push_back(ToWindow::Gone(writer)),
            Item::Cleared => self.told.push_back(ToWindow::Alone),
            _ => {}
        }
    }
}

fn placed(entry: &super::Entry) -> ToWindow {
    let signed = entry.signed.clone();
    ToWindow::Placed { position: entry.position, time: entry.time, signed }
}
