//! What this side wants of a hub and has from it, whatever becomes of the links between the two. No I/O.

use core::task::Waker;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use deltawire_channels::Message;
use deltawire_framing::documents::{
    AcknowledgeFields, DeniedCode, DeniedFields, MarkFields, Publish, Subscribe, Unpublish,
    Unsubscribe,
};
use deltawire_framing::{DeltaType, DocId};
use zerocopy::IntoBytes;

use super::DocumentsOptions;
use super::published::Published;
use super::subscribed::Subscribed;

/// What handles, link and tasks share.
#[derive(Debug)]
pub(crate) struct Client {
    state: Mutex<State>,
}

impl Client {
    pub(super) fn new(options: DocumentsOptions) -> Self {
        Self { state: Mutex::new(State { options, ..State::default() }) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) options: DocumentsOptions,
    pub(super) subscriptions: BTreeMap<u32, Subscribed>,
    /// Subscriptions to deltas, by their documents.
    pub(super) by_document: HashMap<DocId, u32>,
    pub(super) publications: BTreeMap<u32, Published>,
    /// The key of the next of either.
    next_key: u32,
    /// What the hub is to be told next.
    requests: VecDeque<Request>,
    /// The id of the next subscription or publication on this link.
    next_id: u32,
    /// Publications that may have something to send.
    pub(super) sendable: VecDeque<u32>,
    /// Which subscription's delta follows, of which writer.
    present: Option<(u32, u64)>,
    pub(super) attended: bool,
    /// Whether what the link goes over is gone, and it waits for another way.
    pub(super) down: bool,
    /// Counts the links.
    pub(super) link: u64,
    pub(super) closed: bool,
    /// The link's task.
    pub(super) attendant: Option<Waker>,
    /// Whoever sends for it.
    pub(super) source: Option<Waker>,
}

/// What the hub is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// Of the subscription with this key.
    Subscribe(u32),
    /// Of this id.
    Unsubscribe(u32),
    /// Of the publication with this key.
    Publish(u32),
    /// Of this id.
    Unpublish(u32),
}

/// The bytes of a request.
pub(super) enum Body {
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    Publish(Publish),
    Unpublish(Unpublish),
}

impl Body {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Subscribe(body) => body.as_bytes(),
            Self::Unsubscribe(body) => body.as_bytes(),
            Self::Publish(body) => body.as_bytes(),
            Self::Unpublish(body) => body.as_bytes(),
        }
    }
}

impl State {
    /// A key for one more, and its place is kept.
    pub(super) fn key(&mut self) -> u32 {
        self.next_key = self.next_key.wrapping_add(1);
        self.next_key
    }

    pub(super) fn len(&self) -> usize {
        self.subscriptions.len() + self.publications.len()
    }

    /// A link is there: everything is asked for anew, from where it stands.
    pub(super) fn begin(&mut self) {
        self.attended = true;
        self.down = false;
        self.link += 1;
        self.next_id = 0;
        self.requests.clear();
        self.sendable.clear();
        self.present = None;
        for (key, subscription) in &mut self.subscriptions {
            subscription.detach();
            if subscription.is_wanted() {
                self.requests.push_back(Request::Subscribe(*key));
            }
        }
        for (key, publication) in &mut self.publications {
            publication.detach();
            if publication.ended.is_none() {
                self.requests.push_back(Request::Publish(*key));
            }
        }
    }

    /// The link is gone.
    pub(super) fn end(&mut self) {
        self.attended = false;
        self.requests.clear();
        self.sendable.clear();
        self.attendant = None;
        // Its source ends, though the link may not.
        self.wake_source();
        for subscription in self.subscriptions.values_mut() {
            subscription.detach();
        }
        self.publications.values_mut().for_each(Published::detach);
    }

    /// The link goes down, or on: maybe both since this was told last.
    pub(super) fn set_down(&mut self, down: bool) {
        self.down = down;
        if !down {
            // The hub may have let this side go meanwhile.
            self.refresh_presences();
        }
    }

    /// Whether this link is the one that there is.
    pub(super) fn is_attended_by(&self, link: u64) -> bool {
        self.attended && self.link == link
    }

    /// The hub is told of something.
    pub(super) fn wake_attendant(&mut self) {
        if let Some(waker) = self.attendant.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_source(&mut self) {
        if let Some(waker) = self.source.take() {
            waker.wake();
        }
    }

    pub(super) fn ask_subscribe(&mut self, key: u32) {
        if self.attended {
            self.requests.push_back(Request::Subscribe(key));
            self.wake_attendant();
        }
    }

    pub(super) fn ask_publish(&mut self, key: u32) {
        if self.attended {
            self.requests.push_back(Request::Publish(key));
            self.wake_attendant();
        }
    }

    fn withdraw(&mut self, request: Request, told: Option<Request>) {
        if !self.attended {
            return;
        }
        // One that was not told is not taken back either.
        self.requests.retain(|waiting| *waiting != request);
        if let Some(told) = told {
            self.requests.push_back(told);
            self.wake_attendant();
        }
    }

    pub(super) fn unsubscribe(&mut self, key: u32, told: Option<u32>) {
        self.withdraw(Request::Subscribe(key), told.map(Request::Unsubscribe));
    }

    pub(super) fn unpublish(&mut self, key: u32, told: Option<u32>) {
        self.withdraw(Request::Publish(key), told.map(Request::Unpublish));
    }

    /// What the hub is to be told next, under which id.
    pub(super) fn peek_request(&mut self) -> Option<Body> {
        loop {
            let id = self.next_id;
            match *self.requests.front()? {
                Request::Subscribe(key) => {
                    if let Some(subscription) = self.subscriptions.get(&key)
                        && subscription.is_wanted()
                    {
                        return Some(Body::Subscribe(subscription.request(id)));
                    }
                }
                Request::Publish(key) => {
                    if let Some(publication) = self.publications.get(&key) {
                        return Some(Body::Publish(publication.request(id)));
                    }
                }
                Request::Unsubscribe(id) => return Some(Body::Unsubscribe(Unsubscribe::new(id))),
                Request::Unpublish(id) => return Some(Body::Unpublish(Unpublish::new(id))),
            }
            // It is not wanted any more.
            self.requests.pop_front();
        }
    }

    /// It was told that.
    pub(super) fn told_request(&mut self) {
        let id = self.next_id;
        match self.requests.pop_front() {
            Some(Request::Subscribe(key)) => {
                self.next_id += 1;
                if let Some(subscription) = self.subscriptions.get_mut(&key) {
                    subscription.told = Some(id);
                }
            }
            Some(Request::Publish(key)) => {
                self.next_id += 1;
                if let Some(publication) = self.publications.get_mut(&key) {
                    publication.told = Some(id);
                }
            }
            Some(Request::Unsubscribe(_) | Request::Unpublish(_)) | None => {}
        }
    }

    fn subscription_of(&mut self, id: u32) -> Option<(u32, &mut Subscribed)> {
        let found = self.subscriptions.iter_mut().find(|(_, it)| it.told == Some(id));
        found.map(|(key, subscription)| (*key, subscription))
    }

    /// Takes in where a subscription stands.
    pub(super) fn handle_mark(&mut self, mark: MarkFields) {
        let max_queued = self.options.max_queued_bytes;
        let Some((key, subscription)) = self.subscription_of(mark.id) else { return };
        match subscription.handle_mark(mark) {
            Some(writer) => self.present = Some((key, writer)),
            None => self.pause(key, max_queued),
        }
    }

    /// What nobody reads is asked for again when it is: others are not to wait for it.
    fn pause(&mut self, key: u32, max_queued: usize) {
        let paused = self.subscriptions.get_mut(&key).and_then(|it| it.pause(max_queued));
        if paused.is_some() {
            self.unsubscribe(key, paused);
        }
    }

    /// Takes in a delta.
    pub(super) fn handle_delta(&mut self, delta: (DocId, DeltaType), message: Message) {
        let (doc_id, delta_type) = delta;
        let present = self.present.take();
        if delta_type == DeltaType::PRESENCE {
            // One whose subscription was dropped meanwhile goes nowhere.
            if let Some((key, writer)) = present
                && let Some(subscription) = self.subscriptions.get_mut(&key)
            {
                subscription.present(writer, message);
            }
            return;
        }
        let max_queued = self.options.max_queued_bytes;
        let Some(key) = self.by_document.get(&doc_id).copied() else { return };
        let found = self.subscriptions.get_mut(&key).filter(|it| it.takes(doc_id));
        let Some(subscription) = found else { return };
        subscription.handle_delta(message);
        self.pause(key, max_queued);
    }

    /// Takes in how far a publication's deltas have got.
    pub(super) fn handle_acknowledge(&mut self, fields: AcknowledgeFields) {
        let found = self.publications.iter_mut().find(|(_, it)| it.told == Some(fields.id));
        let Some((key, publication)) = found else { return };
        let opened = publication.handle_acknowledge(&fields);
        let key = *key;
        if opened {
            self.sendable.push_back(key);
            self.wake_source();
        }
        self.sweep(key);
    }

    /// Takes in what was refused.
    pub(super) fn handle_denied(&mut self, denied: DeniedFields) {
        // A hub that goes away is asked again when it is back.
        let passing = denied.code == DeniedCode::GOING_AWAY;
        if let Some((_, subscription)) = self.subscription_of(denied.id) {
            subscription.told = None;
            if !passing {
                subscription.end(denied.code);
            }
            return;
        }
        let found = self.publications.iter_mut().find(|(_, it)| it.told == Some(denied.id));
        let Some((key, publication)) = found else { return };
        let key = *key;
        let anew = match denied.sequence {
            Some(sequence) => publication.denied(sequence, denied.code, denied.next),
            None if passing => {
                publication.detach();
                false
            }
            None => {
                publication.end(denied.code);
                false
            }
        };
        if anew {
            self.ask_publish(key);
        }
        self.sweep(key);
    }

    /// Ends a publication that its writer has dropped, once all of it is settled.
    pub(super) fn sweep(&mut self, key: u32) {
        let over = |it: &Published| it.dropped && (it.is_settled() || it.ended.is_some());
        if self.publications.get(&key).is_some_and(over)
            && let Some(published) = self.publications.remove(&key)
        {
            self.unpublish(key, published.told);
        }
    }

    /// Has presences say once more that they are there.
    pub(super) fn refresh_presences(&mut self) {
        let again =
            self.publications.iter_mut().filter_map(|(key, it)| it.refresh().then_some(*key));
        let again: Vec<_> = again.collect();
        if !again.is_empty() {
            self.sendable.extend(again);
            self.wake_source();
        }
    }

    /// Nothing more goes on.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.subscriptions.values_mut().for_each(Subscribed::close);
        self.publications.values_mut().for_each(Published::close);
        self.wake_attendant();
        self.wake_source();
    }
}
