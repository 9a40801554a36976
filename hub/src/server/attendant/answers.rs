//! What a peer is told: how far its deltas have got, and what is refused.

use std::task::{Context, Poll};

use deltawire_framing::documents::{Acknowledge, AcknowledgeFields, Denied};
use zerocopy::IntoBytes;

use super::Attendant;

impl Attendant {
    pub(super) fn acknowledge(&mut self, id: u32) {
        if let Some(publication) = self.publications.get_mut(&id)
            && !std::mem::replace(&mut publication.queued, true)
        {
            self.acknowledging.push_back(id);
        }
    }

    /// A shard has stored something: whatever of this peer's that was.
    pub(super) fn note_stored(&mut self) {
        for (id, publication) in &mut self.publications {
            if publication.is_storing() {
                let mut shard = self.hub.shard(publication.shard);
                let stored = publication.note_durable(shard.log.durable());
                if publication.is_storing() {
                    shard.wait(&self.shared);
                }
                drop(shard);
                if stored && !std::mem::replace(&mut publication.queued, true) {
                    self.acknowledging.push_back(*id);
                }
            }
        }
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn send_answers(&mut self, context: &mut Context<'_>) {
        if self.send_refusals(context).is_pending() {
            return;
        }
        while let Some(id) = self.acknowledging.front().copied() {
            let Some(publication) = self.publications.get_mut(&id) else {
                self.acknowledging.pop_front();
                continue;
            };
            let (level, last) = publication.acknowledgement();
            let (volatile, epoch) = (self.hub.volatile, publication.epoch);
            let body = Acknowledge::new(AcknowledgeFields { id, level, volatile, epoch, last });
            match self.command.send.poll_send_document(context, body.as_bytes()) {
                Poll::Ready(Ok(())) => {
                    publication.told(level);
                    if !publication.due {
                        publication.queued = false;
                        self.acknowledging.pop_front();
                        let over = publication.ending.filter(|_| !publication.is_storing());
                        if let Some(code) = over {
                            self.end_publication(id);
                            self.deny(id, code);
                        }
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.acknowledging.clear();
                    self.commands_over = true;
                }
                Poll::Pending => return,
            }
        }
        // What came of that.
        let _ = self.send_refusals(context);
    }

    fn send_refusals(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(denied) = self.refusals.front() {
            let body = Denied::new(*denied);
            match self.command.send.poll_send_document(context, body.as_bytes()) {
                Poll::Ready(Ok(())) => drop(self.refusals.pop_front()),
                Poll::Ready(Err(_)) => {
                    self.refusals.clear();
                    self.commands_over = true;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}
