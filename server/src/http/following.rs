//! Follows a document live: by a subscription, which waits when its client does not read.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use deltawire_framing::DocId;
use deltawire_framing::documents::Start;
use deltawire_hub::{
    Documents, DocumentsOptions, Hub, Item, OpenError, SubscribeOptions, Subscription,
    SubscriptionEnded,
};
use deltawire_link::Identity;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Interval;

use super::counters::{Counted, Place};
use super::encoder::{Encoder, Format};

/// Bytes that are sent at a time.
const TURN: usize = 64 << 10;

pub(super) struct Following {
    documents: Documents,
    subscription: Subscription,
    encoder: Encoder,
    /// All that there was has come, and that is not told yet.
    arrived: bool,
    left: u64,
    heartbeat: Interval,
    ending: watch::Receiver<bool>,
    over: bool,
    counted: Counted,
    place: Place,
    _permit: OwnedSemaphorePermit,
}

/// What it is followed with.
pub(super) struct Follow {
    pub(super) document: DocId,
    pub(super) identity: Identity,
    pub(super) start: Start,
    pub(super) format: Format,
    pub(super) limit: u64,
    pub(super) queue: usize,
    pub(super) heartbeat: Duration,
    pub(super) ending: watch::Receiver<bool>,
    pub(super) counted: Counted,
    pub(super) place: Place,
    pub(super) permit: OwnedSemaphorePermit,
}

enum Happened {
    Came(Result<Item, SubscriptionEnded>),
    Nothing,
    Ending,
}

impl Following {
    pub(super) fn new(hub: &Hub, follow: Follow) -> Result<Self, OpenError> {
        let Follow { document, identity, start, format, limit, queue, .. } = follow;
        let options = DocumentsOptions {
            max_open: 1,
            max_queued_bytes: queue,
            ..DocumentsOptions::default()
        };
        let documents = hub.documents(Some(identity), options);
        let subscribe = SubscribeOptions { start, ..SubscribeOptions::default() };
        let subscription = documents.subscribe(document, subscribe)?;
        let mut heartbeat = tokio::time::interval(follow.heartbeat);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        heartbeat.reset();
        let at = match start {
            Start::Position { epoch, position } => Some(deltawire_hub::Place { epoch, position }),
            _ => None,
        };
        Ok(Self {
            documents,
            subscription,
            encoder: Encoder::new(format, at),
            arrived: false,
            left: limit,
            heartbeat,
            ending: follow.ending,
            over: false,
            counted: follow.counted,
            place: follow.place,
            _permit: follow.permit,
        })
    }

    /// The next part of the answer.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.encoder.take() {
                self.heartbeat.reset();
                if let Some(at) = self.encoder.at() {
                    self.place.note(at.position);
                }
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            // Before it is asked for more: then nothing waits in front of this place.
            let place = self.subscription.place();
            if self.arrived {
                let next = poll_fn(|context| Poll::Ready(self.subscription.poll_next(context)));
                match next.await {
                    Poll::Ready(item) => self.take(item),
                    Poll::Pending => {
                        self.arrived = false;
                        if let Some(place) = place {
                            self.encoder.live(place);
                        }
                    }
                }
            } else {
                let happened = tokio::select! {
                    item = self.subscription.next() => Happened::Came(item),
                    _ = self.heartbeat.tick() => Happened::Nothing,
                    _ = self.ending.wait_for(|ending| *ending) => Happened::Ending,
                };
                match happened {
                    Happened::Came(item) => self.take(item),
                    Happened::Nothing => self.encoder.heartbeat(),
                    Happened::Ending => self.over = true,
                }
            }
            self.fill().await;
        }
    }

    /// Takes what is there already, up to so much.
    async fn fill(&mut self) {
        while !self.over && self.encoder.len() < TURN && self.encoder.len() > 0 {
            let next = poll_fn(|context| Poll::Ready(self.subscription.poll_next(context)));
            match next.await {
                Poll::Ready(item) => self.take(item),
                Poll::Pending => return,
            }
        }
    }

    fn take(&mut self, item: Result<Item, SubscriptionEnded>) {
        match item {
            Ok(Item::Delta { place, message }) => {
                if std::mem::take(&mut self.arrived) {
                    self.encoder.live(place);
                }
                let frame = message.into_kept();
                self.counted.delta(frame.len());
                self.encoder.delta(place, frame);
                self.left = self.left.saturating_sub(1);
                self.over = self.left == 0;
            }
            Ok(Item::Gap(gap)) => {
                // From behind what is not kept any more, or rejected.
                self.encoder.gap(gap.why, gap.to, gap.skipped, gap.skipped_bytes);
            }
            Ok(Item::Rejected { place }) => self.encoder.rejected(place),
            Ok(Item::Live) => self.arrived = true,
            Ok(_) => {}
            Err(ended) => {
                self.encoder.ended(&ended.to_string());
                self.over = true;
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // Its task ends with that.
        self.documents.close();
    }
}
