//! Senders of a session: the first two, and those that are opened later.

use deltawire_framing::Channel;

use super::outgoing::SendPriority;
use super::source::{FrameSource, Frames as Asked, Source};
use super::{Session, State};
use crate::peer::{Sender, SharedSender};
use crate::ring::byte;

impl Session {
    /// One more sender for the data channel, with a ring of its own, so that its messages go
    /// between the fragments of other senders' long ones. `None` when there are
    /// [`max_senders`](super::Limits::max_senders), or the session is closing.
    pub fn open_sender(&mut self, share: SendPriority) -> Option<Sender> {
        let capacity = self.config.limits.send_ring;
        self.takes_senders().then(|| self.add_sender(Channel::Data, capacity, share))
    }

    /// One more sender for the data channel, of [messages that others send too](SharedSender). It counts as
    /// any other.
    pub fn open_shared_sender(&mut self, share: SendPriority) -> Option<SharedSender> {
        let limit = self.outgoing[1].limit.clone();
        let (end, capacity) = (self.end_notice.clone(), self.config.limits.send_ring);
        let (sender, source) = SharedSender::new(capacity, end, limit);
        self.open_source(source, share).then_some(sender)
    }

    /// Has the data channel's messages come from `source` too, which is asked when there is room. It
    /// counts as a sender: `false` when there are [`max_senders`](super::Limits::max_senders), or the session is
    /// closing.
    pub fn open_source(&mut self, source: Box<dyn FrameSource>, share: SendPriority) -> bool {
        let open = self.takes_senders();
        if open {
            self.outgoing[1].add(Source::Frames(Box::new(Asked::new(source))), share);
        }
        open
    }

    fn takes_senders(&self) -> bool {
        let full = self.outgoing[1].lane_count() >= self.config.limits.max_senders;
        !full && matches!(self.state, State::Connecting { .. } | State::Open)
    }

    pub(super) fn add_sender(
        &mut self,
        channel: Channel,
        capacity: usize,
        share: SendPriority,
    ) -> Sender {
        let (producer, consumer) = byte::ring(capacity.next_power_of_two().max(64));
        let end = self.end_notice.clone();
        let outgoing = &mut self.outgoing[channel as usize];
        outgoing.add(Source::Ring(consumer), share);
        Sender::of_session(producer, channel, end, outgoing.limit.clone())
    }
}
