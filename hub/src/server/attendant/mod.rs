//! What a hub does for one peer: takes its requests and deltas in, answers, and has its source send what it reads.

mod answers;
mod deltas;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_channels::Command;
use deltawire_framing::documents::{
    DeniedFields, Document, PublishFields, SlowPolicy, SubscribeFields,
};
use deltawire_framing::{DocId, Kind};
use deltawire_link::Identity;
use deltawire_link::runtime::{BoxFuture, Timer};
use deltawire_store::Broken;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::cursor::Cursor;
use super::publication::Publication;
use super::rates::Rates;
use super::reader::{Change, LinkShared, Order, Reader};
use super::{Action, Ask, Inner, Permission};
use crate::DeniedCode;
use crate::arrivals::Arrivals;
use deltas::Incoming;

/// Messages that are taken in at a time, before others have their turn.
const MAX_TURN: usize = 256;

/// Answers that wait for room; past it no more requests and deltas are taken in.
const MAX_ANSWERS: usize = 256;

/// Questions to the policy at a time.
const MAX_ASKING: usize = 64;

pub(super) struct Attendant {
    hub: Arc<Inner>,
    identity: Option<Identity>,
    shared: Arc<LinkShared>,
    /// Names this peer among those that are present.
    number: u64,
    command: Command,
    arrivals: Arrivals,
    /// Whether its session may lose deltas, or reorder them.
    unreliable: bool,
    subscriptions: HashMap<u32, Subscription>,
    publications: HashMap<u32, Publication>,
    /// Publications by document, and whether they are of its presence.
    by_document: HashMap<(DocId, bool), u32>,
    slots: u32,
    asking: FuturesUnordered<BoxFuture<'static, Answered>>,
    /// What is being asked about, by id.
    asked: HashMap<u32, Asked>,
    /// Deltas that were taken in and are not in the log yet: at most a turn of them.
    incoming: VecDeque<Incoming>,
    /// Whether the first of them waits for room in the log.
    stalled: bool,
    /// Whether its peer is in this process: then nothing else tells it that the hub goes away.
    in_process: bool,
    going_away: bool,
    /// Whether its peer cannot be reached for now: what it said of its presence before is not so any more.
    down: bool,
    /// Refusals that wait to be sent.
    refusals: VecDeque<DeniedFields>,
    /// Publications whose acknowledgement waits to be sent.
    acknowledging: VecDeque<u32>,
    /// When a permission ends, or a slow reader is looked at.
    timer: Box<dyn Timer>,
    timer_at: Duration,
    /// When that is looked after next.
    due: Duration,
    rates: Rates,
    /// It is held up until then, for it has brought in as much as it may.
    rests_until: Option<Duration>,
    commands_over: bool,
    arrivals_over: bool,
    /// Whether something was left lying because too much waits for an answer.
    held_up: bool,
}

/// A subscription that the peer has.
struct Subscription {
    doc_id: DocId,
    presence: bool,
    slot: u32,
    shard: usize,
    /// Its key among the document's readers.
    key: usize,
    policy: SlowPolicy,
    reader: Arc<Reader>,
    until: Option<Duration>,
    /// It ends when it does not get on for so long, and where it was when it last did.
    patience: Option<(Duration, u64, Duration)>,
}

/// What is asked of the policy.
#[derive(Clone, Copy)]
enum Request {
    Subscribe(SubscribeFields),
    Publish(PublishFields),
}

/// What became of a request that the policy thinks about.
#[derive(Clone, Copy)]
enum Asked {
    Wanted(DocId),
    /// The peer took it back.
    Withdrawn,
    /// It is refused, whatever the policy says.
    Refused(DeniedCode),
}

struct Answered {
    request: Request,
    answer: Result<Permission, DeniedCode>,
}

impl Attendant {
    pub(super) fn new(
        hub: Arc<Inner>,
        identity: Option<Identity>,
        shared: Arc<LinkShared>,
        command: Command,
        arrivals: Arrivals,
        unreliable: bool,
    ) -> Self {
        let in_process = matches!(arrivals, Arrivals::InProcess(_));
        let timer = hub.runtime.timer();
        let number = hub.next_number();
        let rates = Rates::new(hub.options.rates, &hub.runtime);
        Self {
            hub,
            identity,
            shared,
            number,
            command,
            arrivals,
            unreliable,
            subscriptions: HashMap::new(),
            publications: HashMap::new(),
            by_document: HashMap::new(),
            slots: 0,
            asking: FuturesUnordered::new(),
            asked: HashMap::new(),
            incoming: VecDeque::new(),
            stalled: false,
            in_process,
            going_away: false,
            down: false,
            refusals: VecDeque::new(),
            acknowledging: VecDeque::new(),
            timer,
            timer_at: Duration::ZERO,
            due: Duration::MAX,
            rates,
            rests_until: None,
            commands_over: false,
            arrivals_over: false,
            held_up: false,
        }
    }

    /// Serves the peer until its link is over.
    pub(super) async fn run(mut self) {
        poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.shared.register_attendant(context.waker());
        self.take_orders();
        let mut again = self.take_requests(context);
        // After the requests: what was just asked is polled here for the first time.
        self.take_answers(context);
        again |= self.take_deltas(context);
        if self.shared.take_stored() {
            self.note_stored();
        }
        self.keep_time(context);
        self.send_answers(context);
        // What was left lying for the sake of these is looked at again as soon as they are fewer.
        again |= !self.is_behind() && std::mem::take(&mut self.held_up);
        // A peer that is held up does not outlive its link: what was not acknowledged it sends again.
        let rests = self.rests_until.is_some();
        let over =
            self.commands_over && (rests || (self.arrivals_over && self.incoming.is_empty()));
        if over || (self.going_away && self.in_process && self.is_settled()) {
            return Poll::Ready(());
        }
        if again {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_behind(&self) -> bool {
        self.refusals.len() >= MAX_ANSWERS || self.asking.len() >= MAX_ASKING
    }

    /// Whether the peer was told everything.
    fn is_settled(&self) -> bool {
        let told = self.refusals.is_empty() && self.asking.is_empty();
        let broken =
            |index| self.hub.shard(index).log.broken().is_some_and(|it| *it != Broken::Closed);
        // What waits to be stored where nothing is any more waits in vain.
        told && self.publications.values().all(|publication| broken(publication.shard))
    }

    fn deny(&mut self, id: u32, code: DeniedCode) {
        tracing::debug!(id, code = code.text(), "denied");
        self.refusals.push_back(DeniedFields { id, code, sequence: None, next: 0 });
    }

    // Requests.

    /// Takes commands in. Says whether there may be more at once.
    fn take_requests(&mut self, context: &mut Context<'_>) -> bool {
        for _ in 0..MAX_TURN {
            if self.is_behind() {
                self.held_up = true;
                return false;
            }
            if self.commands_over {
                return false;
            }
            let frame = match self.command.receive.poll_next(context) {
                Poll::Ready(Ok(frame)) => frame,
                Poll::Ready(Err(_)) => {
                    self.commands_over = true;
                    return false;
                }
                Poll::Pending => return false,
            };
            if frame.kind() != Kind::Document {
                continue;
            }
            // The session has checked it.
            match frame.document() {
                Ok(Document::Subscribe(subscribe)) => {
                    let fields = subscribe.fields();
                    self.ask(Request::Subscribe(fields));
                }
                Ok(Document::Publish(publish)) => {
                    let fields = publish.fields();
                    self.ask(Request::Publish(fields));
                }
                Ok(Document::Unsubscribe(unsubscribe)) => {
                    let id = unsubscribe.id();
                    self.withdraw(id);
                    self.end_subscription(id);
                }
                Ok(Document::Unpublish(unpublish)) => {
                    let id = unpublish.id();
                    self.withdraw(id);
                    self.end_publication(id);
                }
                _ => tracing::debug!("a command of a hub's was passed over"),
            }
        }
        true
    }

    /// What is being asked about is not wanted any more.
    fn withdraw(&mut self, id: u32) {
        if let Some(asked) = self.asked.get_mut(&id) {
            *asked = Asked::Withdrawn;
        }
    }

    fn ask(&mut self, request: Request) {
        let (id, doc_id, presence) = request.of();
        let open = self.subscriptions.len() + self.publications.len() + self.asked.len();
        let used = self.asked.contains_key(&id)
            || self.subscriptions.contains_key(&id)
            || self.publications.contains_key(&id);
        let most = self.hub.options.max_open_per_peer;
        let refused = if self.going_away {
            Some(DeniedCode::GOING_AWAY)
        } else if self.unreliable {
            Some(DeniedCode::DELIVERY)
        } else if used {
            Some(DeniedCode::ID)
        } else if open >= most || self.shared.ready() > 2 * most {
            // The second: whoever takes nothing does not come and go without end either.
            Some(DeniedCode::TOO_MANY)
        } else {
            None
        };
        if let Some(code) = refused {
            self.deny(id, code);
            return;
        }
        let action = match request {
            _ if presence => Action::Presence,
            Request::Subscribe(_) => Action::Read,
            Request::Publish(_) => Action::Write,
        };
        self.asked.insert(id, Asked::Wanted(doc_id));
        let answer =
            self.hub.policy.permit(Ask { identity: self.identity.clone(), doc_id, action });
        let (runtime, within) = (self.hub.runtime.clone(), self.hub.options.ask_timeout);
        self.asking.push(Box::pin(async move {
            let answer = deltawire_link::runtime::timeout(&*runtime, within, answer).await;
            let answer = answer.unwrap_or(Err(DeniedCode::UNDECIDED));
            Answered { request, answer }
        }));
    }

    /// Takes in what the policy says.
    fn take_answers(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(answered)) = self.asking.poll_next_unpin(context) {
            let Answered { request, answer } = answered;
            let (id, ..) = request.of();
            let answer = match self.asked.remove(&id) {
                Some(Asked::Wanted(_)) => answer,
                Some(Asked::Refused(code)) => Err(code),
                Some(Asked::Withdrawn) | None => continue,
            };
            match (answer, request) {
                (Err(code), _) => self.deny(id, code),
                (Ok(permission), Request::Subscribe(fields)) => self.subscribe(fields, permission),
                (Ok(permission), Request::Publish(fields)) => self.publish(fields, permission),
            }
        }
    }

    fn until(&self, permission: Permission) -> Option<Duration> {
        permission.valid_for.map(|valid| self.hub.runtime.now().saturating_add(valid))
    }

    fn subscribe(&mut self, fields: SubscribeFields, permission: Permission) {
        let SubscribeFields { id, doc_id, start, policy, presence, .. } = fields;
        let twice =
            self.subscriptions.values().any(|it| it.doc_id == doc_id && it.presence == presence);
        if twice {
            self.deny(id, DeniedCode::ID);
            return;
        }
        let shard = self.hub.shard_of(&doc_id);
        let slot = self.slots;
        self.slots = self.slots.wrapping_add(1);
        let reader = Reader::new(slot, self.shared.clone());
        let (key, cursor) = if presence {
            let key = self.hub.shard(shard).look(doc_id, reader.clone());
            (key, Cursor::of_presence(id, doc_id, shard, reader.clone(), self.number))
        } else {
            let (key, begin) = self.hub.shard(shard).join(doc_id, start, policy, reader.clone());
            (key, Cursor::new(id, doc_id, shard, policy, reader.clone(), begin))
        };
        self.shared.change(Change::Add(slot, Box::new(cursor)));
        let now = self.hub.runtime.now();
        let patience = match policy {
            SlowPolicy::Disconnect { after } if !presence => Some((after, 0, now)),
            _ => None,
        };
        let until = self.until(permission);
        if until.is_some() || patience.is_some() {
            self.due = Duration::ZERO;
        }
        let subscription =
            Subscription { doc_id, presence, slot, shard, key, policy, reader, until, patience };
        self.subscriptions.insert(id, subscription);
    }

    fn publish(&mut self, fields: PublishFields, permission: Permission) {
        let PublishFields { id, doc_id, writer, presence } = fields;
        if self.by_document.contains_key(&(doc_id, presence)) {
            self.deny(id, DeniedCode::ID);
            return;
        }
        let shard = self.hub.shard_of(&doc_id);
        let origin = self.hub.origin_of(self.identity.as_ref(), writer);
        let (until, volatile) = (self.until(permission), self.hub.volatile);
        if until.is_some() {
            self.due = Duration::ZERO;
        }
        let mut publication = Publication::new(
            doc_id,
            presence,
            shard,
            origin,
            permission.snapshots,
            until,
            volatile,
        );
        if !presence {
            let mut shard = self.hub.shard(shard);
            publication.learn(&shard.log);
            if publication.is_storing() {
                shard.wait(&self.shared);
            }
        }
        self.by_document.insert((doc_id, presence), id);
        self.publications.insert(id, publication);
        self.acknowledge(id);
    }

    fn end_subscription(&mut self, id: u32) {
        if let Some(subscription) = self.subscriptions.remove(&id) {
            self.shared.change(Change::Remove(subscription.slot));
            subscription.leave(&self.hub);
        }
    }

    fn end_publication(&mut self, id: u32) {
        if let Some(publication) = self.publications.remove(&id) {
            let of = (publication.doc_id, publication.presence);
            if self.by_document.get(&of) == Some(&id) {
                self.by_document.remove(&of);
            }
            self.leave_presence(&publication);
        }
    }

    /// Ends a publication for this reason, which is told once all that is to be stored of it is.
    fn deny_publication(&mut self, id: u32, code: DeniedCode) {
        let Some(publication) = self.publications.get_mut(&id) else { return };
        self.by_document.remove(&(publication.doc_id, publication.presence));
        if publication.is_storing() || publication.due {
            publication.ending.get_or_insert(code);
            publication.until = None;
            self.acknowledge(id);
        } else {
            self.end_publication(id);
            self.deny(id, code);
        }
    }

    fn leave_presences(&self) {
        self.publications.values().for_each(|publication| self.leave_presence(publication));
    }

    fn leave_presence(&self, publication: &Publication) {
        if publication.presence {
            let now = self.hub.runtime.now();
            self.hub.shard(publication.shard).say(publication.doc_id, self.number, None, now);
        }
    }

    // What comes from elsewhere.

    fn take_orders(&mut self) {
        for order in self.shared.take_orders() {
            match order {
                Order::Revoke { subject, doc_id } => {
                    let of_me = subject.is_none_or(|subject| {
                        self.identity.as_ref().is_some_and(|it| it.subject() == &*subject)
                    });
                    if of_me {
                        self.revoke(
                            |of| doc_id.is_none_or(|doc_id| doc_id == of),
                            DeniedCode::REVOKED,
                        );
                    }
                }
                Order::Deleted(doc_id) => {
                    self.revoke_publications(|of| of == doc_id, DeniedCode::DELETED);
                }
                // It says anew that it is there once it can.
                Order::Down => {
                    self.down = true;
                    self.leave_presences();
                }
                Order::Up => self.down = false,
                Order::GoAway => {
                    self.going_away = true;
                    self.revoke(|_| true, DeniedCode::GOING_AWAY);
                }
            }
        }
    }

    fn revoke(&mut self, which: impl Fn(DocId) -> bool, code: DeniedCode) {
        let ids = self.subscriptions.iter().filter(|(_, it)| which(it.doc_id)).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            self.end_subscription(id);
            self.deny(id, code);
        }
        for asked in self.asked.values_mut() {
            if matches!(asked, Asked::Wanted(of) if which(*of)) {
                *asked = Asked::Refused(code);
            }
        }
        self.revoke_publications(which, code);
    }

    fn revoke_publications(&mut self, which: impl Fn(DocId) -> bool, code: DeniedCode) {
        let ids = self.publications.iter().filter(|(_, it)| which(it.doc_id)).map(|(id, _)| *id);
        for id in ids.collect::<Vec<_>>() {
            self.deny_publication(id, code);
        }
    }

    /// Ends what is not permitted any longer, and those that do not get on; goes on with a peer that was held up.
    fn keep_time(&mut self, context: &mut Context<'_>) {
        loop {
            let now = self.hub.runtime.now();
            if self.rests_until.is_some_and(|until| until <= now) {
                self.rests_until = None;
                context.waker().wake_by_ref();
            }
            if self.due <= now {
                self.due = self.look_after_time(now);
            }
            let next = self.due.min(self.rests_until.unwrap_or(Duration::MAX));
            if next == Duration::MAX {
                return;
            }
            if self.timer_at != next {
                self.timer_at = next;
                self.timer.set(next);
            }
            if self.timer.poll(context).is_pending() {
                return;
            }
        }
    }

    /// Looks at all that ends by time. Says when to look again.
    fn look_after_time(&mut self, now: Duration) -> Duration {
        let mut next = Duration::MAX;
        let mut over = Vec::new();
        for (id, it) in &mut self.subscriptions {
            if it.until.is_some_and(|until| until <= now) {
                over.push((*id, DeniedCode::REVOKED));
                continue;
            }
            next = next.min(it.until.unwrap_or(Duration::MAX));
            if let Some((after, seen, since)) = &mut it.patience {
                let at = it.reader.position();
                let head = self.hub.shard(it.shard).log.head(&it.doc_id);
                let behind = head.is_some_and(|head| at < head.next.0);
                if !behind || at != *seen {
                    (*seen, *since) = (at, now);
                } else if now.saturating_sub(*since) >= *after {
                    over.push((*id, DeniedCode::TOO_SLOW));
                }
                let look = (*after / 4).max(Duration::from_millis(10));
                next = next.min(now.saturating_add(look));
            }
        }
        for (id, code) in over {
            self.end_subscription(id);
            self.deny(id, code);
        }
        let over = self.publications.iter().filter(|(_, it)| it.until.is_some_and(|it| it <= now));
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.deny_publication(id, DeniedCode::REVOKED);
        }
        self.publications.values().filter_map(|it| it.until).fold(next, Duration::min)
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.shared.finish();
        for subscription in self.subscriptions.values() {
            subscription.leave(&self.hub);
        }
        self.leave_presences();
        self.hub.forget_link(&self.shared);
    }
}

impl Subscription {
    fn leave(&self, hub: &Inner) {
        let mut shard = hub.shard(self.shard);
        if self.presence {
            shard.look_away(self.doc_id, self.key);
        } else {
            shard.leave(self.doc_id, self.key, self.policy);
        }
    }
}

impl Request {
    /// Its id, its document, and whether it is of that's presence.
    fn of(&self) -> (u32, DocId, bool) {
        match self {
            Self::Subscribe(fields) => (fields.id, fields.doc_id, fields.presence),
            Self::Publish(fields) => (fields.id, fields.doc_id, fields.presence),
        }
    }
}
