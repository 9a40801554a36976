//! A peer's deltas on their way into the log.

use std::task::{Context, Poll};

use deltawire_channels::Message;
use deltawire_framing::documents::{DeniedFields, Document, Group};
use deltawire_framing::{Delta, DeltaType, Kind};
use deltawire_store::{Broken, Position, Refused, Room};

use super::super::publication::{Publication, Taken};
use super::super::{Inner, Shard, ShardGuard};
use super::{Attendant, MAX_TURN};
use crate::DeniedCode;
use crate::arrivals::Over;

/// A message that was taken in, and what the policy says of it.
pub(super) struct Incoming {
    message: Message,
    /// `None` if its publication was not there.
    valid: Option<Result<(), DeniedCode>>,
    /// Whether its peer's rates have room for it.
    admitted: bool,
}

impl Attendant {
    /// Takes deltas in, as one batch. Says whether there may be more at once.
    pub(super) fn take_deltas(&mut self, context: &mut Context<'_>) -> bool {
        if self.rests_until.is_some() {
            return false;
        }
        let more = self.look_at_deltas(context);
        let hub = self.hub.clone();
        let mut batch = Batch { hub: &hub, open: None };
        self.stalled = false;
        while let Some(incoming) = self.incoming.pop_front() {
            if self.is_behind() {
                self.incoming.push_front(incoming);
                self.held_up = true;
                break;
            }
            let Incoming { message, valid, admitted } = incoming;
            let len = message.frame().as_bytes().len();
            if !admitted && let Err(until) = self.rates.take_delta(len) {
                self.incoming.push_front(Incoming { message, valid, admitted });
                self.rests_until = Some(until);
                self.stalled = true;
                break;
            }
            if let Err(message) = self.take_delta(message, valid, &mut batch) {
                self.incoming.push_front(Incoming { message, valid, admitted: true });
                self.stalled = true;
                break;
            }
            self.rates.settle();
        }
        batch.end();
        more && !self.stalled && !self.held_up
    }

    /// Takes what came, and has the policy look at it, as long as no lock is held: it may ask the hub anything. Says whether
    /// there may be more.
    fn look_at_deltas(&mut self, context: &mut Context<'_>) -> bool {
        while self.incoming.len() < MAX_TURN {
            if self.arrivals_over {
                return false;
            }
            let message = match self.arrivals.poll_take(context) {
                Poll::Ready(Ok(message)) => message,
                Poll::Ready(Err(Over)) => {
                    self.arrivals_over = true;
                    return false;
                }
                Poll::Pending => return false,
            };
            let of = message.delta().ok().filter(|it| it.delta_type() != DeltaType::PRESENCE);
            let known = of.filter(|it| self.by_document.contains_key(&(it.doc_id(), false)));
            let valid = known.map(|delta| self.validate(delta));
            self.incoming.push_back(Incoming { message, valid, admitted: false });
        }
        true
    }

    /// Whether a delta is let in; of a group each.
    fn validate(&self, delta: Delta<'_>) -> Result<(), DeniedCode> {
        let (policy, identity) = (&self.hub.policy, self.identity.as_ref());
        if delta.delta_type() == DeltaType::GROUP {
            let group = Group::parse(delta).map_err(|_| DeniedCode::REJECTED)?;
            return group.deltas().try_for_each(|delta| policy.validate(identity, delta));
        }
        policy.validate(identity, delta)
    }

    /// Takes a message in; gives it back if there is no room for it now.
    fn take_delta(
        &mut self,
        message: Message,
        valid: Option<Result<(), DeniedCode>>,
        batch: &mut Batch<'_>,
    ) -> Result<(), Message> {
        let frame = message.frame();
        if frame.kind() == Kind::Document {
            if let Ok(Document::Expect(expect)) = frame.document()
                && let Some(publication) = self.publications.get_mut(&expect.id())
            {
                publication.expect = Some(Position(expect.position()));
            }
            return Ok(());
        }
        let Ok(delta) = frame.delta() else { return Ok(()) };
        let presence = delta.delta_type() == DeltaType::PRESENCE;
        let Some(&id) = self.by_document.get(&(delta.doc_id(), presence)) else {
            // A publication that was refused or revoked while this was on its way: its writer knows by now.
            self.hub.count_unexpected();
            return Ok(());
        };
        let Some(publication) = self.publications.get_mut(&id) else { return Ok(()) };
        if presence && self.down {
            return Ok(());
        }
        if presence {
            let code = say(&self.hub, publication, self.number, delta, &message, batch);
            if let Err(code) = code {
                let sequence = Some(delta.sequence());
                self.refusals.push_back(DeniedFields { id, code, sequence, next: 0 });
            }
            return Ok(());
        }
        let Some(valid) = valid else {
            // It came before it was permitted, and nobody has looked at it.
            self.hub.count_unexpected();
            return Ok(());
        };
        let sequence = delta.sequence();
        let shard = batch.shard(publication.shard);
        publication.catch_up(&shard.log);
        let refused = match publication.check(sequence) {
            Taken::Before => {
                publication.expect = None;
                publication.due = true;
                if publication.is_storing() {
                    shard.wait(&self.shared);
                }
                self.acknowledge(id);
                return Ok(());
            }
            Taken::Ahead => Some(DeniedCode::SEQUENCE),
            Taken::Next => valid.err(),
        };
        let head = shard.log.head(&publication.doc_id);
        let next = head.map_or(Position::FIRST, |head| head.appended);
        let refused = refused.or_else(|| {
            let conflict = publication.expect.is_some_and(|expected| expected != next);
            conflict.then_some(DeniedCode::CONFLICT)
        });
        if let Some(code) = refused {
            self.refuse(id, code, sequence, next);
            return Ok(());
        }
        if head.is_none()
            && let Err(until) = self.rates.take_document()
        {
            self.rests_until = Some(until);
            return Err(message);
        }
        let now = self.hub.now();
        match shard.append(message, publication.origin, publication.snapshots, now) {
            Ok(appended) => {
                publication.expect = None;
                publication.appended(sequence, appended);
                if !self.hub.volatile {
                    shard.wait(&self.shared);
                }
                self.acknowledge(id);
                Ok(())
            }
            Err((Refused::Full { room: Room::Dirty, .. }, message)) => {
                shard.wait(&self.shared);
                Err(message)
            }
            Err((Refused::ReadOnly(Broken::Closed), _)) => {
                // The hub goes away: it is sent again to whoever comes after it.
                self.deny_publication(id, DeniedCode::GOING_AWAY);
                Ok(())
            }
            Err((refused, _)) => {
                tracing::debug!(%refused, "a delta was refused");
                let code = match refused {
                    Refused::TooLong { .. } => DeniedCode::TOO_LONG,
                    Refused::TooManyDocuments { .. } => DeniedCode::TOO_MANY,
                    Refused::ReadOnly(_) => DeniedCode::READ_ONLY,
                    Refused::Full { .. } => DeniedCode::FULL,
                    _ => DeniedCode::REJECTED,
                };
                self.refuse(id, code, sequence, next);
                Ok(())
            }
        }
    }

    /// Refuses a delta, and takes no more of its publication: its writer announces it anew, and sends what follows
    /// again. Otherwise a refusal that is lost with its link could not be told from an acknowledgement.
    fn refuse(&mut self, id: u32, code: DeniedCode, sequence: u32, next: Position) {
        self.end_publication(id);
        let sequence = Some(sequence);
        self.refusals.push_back(DeniedFields { id, code, sequence, next: next.0 });
    }
}

/// Takes in what a writer says of itself.
fn say(
    hub: &Inner,
    publication: &Publication,
    number: u64,
    delta: Delta<'_>,
    message: &Message,
    batch: &mut Batch<'_>,
) -> Result<(), DeniedCode> {
    let len = delta.payload().len();
    if len > hub.options.max_presence_len {
        return Err(DeniedCode::TOO_LONG);
    }
    // A copy: what lies around it in its memory is not to be kept.
    let frame = (len > 0).then(|| message.detach().into_kept());
    let now = hub.runtime.now();
    let taken = batch.shard(publication.shard).say(publication.doc_id, number, frame, now);
    if taken { Ok(()) } else { Err(DeniedCode::TOO_MANY) }
}

/// Deltas that are taken in under one lock.
struct Batch<'a> {
    hub: &'a Inner,
    open: Option<(usize, ShardGuard<'a>)>,
}

impl<'a> Batch<'a> {
    fn shard(&mut self, index: usize) -> &mut Shard {
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            self.end();
            self.open = Some((index, self.hub.shard(index)));
        }
        match &mut self.open {
            Some((_, shard)) => shard,
            None => unreachable!("it was opened"),
        }
    }

    fn end(&mut self) {
        if let Some((index, mut shard)) = self.open.take() {
            let ended = shard.end_batch(self.hub.now());
            drop(shard);
            if ended.is_some() {
                self.hub.kick(index);
            }
        }
    }
}
