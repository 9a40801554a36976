//! What was taken in, told to a peer that keeps it until then.

use core::time::Duration;

use deltawire_framing::Channel;
use deltawire_framing::control::{Acknowledge, Role};

use super::{CHANNELS, ProtocolError, Session};

/// How long what was taken in may go without being acknowledged.
pub const ACKNOWLEDGE_WITHIN: Duration = Duration::from_millis(25);

/// How much may be taken in without being acknowledged, bytes: or half of the largest window, if that is more. Each time that
/// a window is told an acknowledge goes along.
pub const ACKNOWLEDGE_EACH: u64 = 65_536;

/// What the peer was told of what came.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// Bytes, by channel.
    told: [u64; 2],
    /// When the rest is told at the latest.
    due_at: Option<Duration>,
}

impl Acknowledged {
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.due_at
    }

    /// There is nobody to tell it to.
    pub(super) fn forget_due(&mut self) {
        self.due_at = None;
    }

    /// The peer knows that so much was taken in.
    pub(super) fn begin_again(&mut self, taken: [u64; 2]) {
        *self = Self { told: taken, due_at: None };
    }
}

impl Session {
    /// Bytes of messages that came to their end, by channel.
    #[inline]
    pub(super) fn taken(&self) -> [u64; 2] {
        [self.incoming[0].taken(), self.incoming[1].taken()]
    }

    pub(super) fn handle_acknowledge(
        &mut self,
        acknowledge: &Acknowledge,
    ) -> Result<(), ProtocolError> {
        if !self.resumption.is_agreed() {
            return Err(ProtocolError::OutOfPlace("an acknowledge"));
        }
        let (channel, taken) = (acknowledge.channel(), acknowledge.taken());
        let outgoing = &mut self.outgoing[channel as usize];
        if !outgoing.acknowledge(taken) {
            return Err(ProtocolError::Acknowledged { channel, taken, sent: outgoing.window.sent });
        }
        if self.config.role == Role::Acceptor {
            self.resumption.confirm(acknowledge.ticket());
        }
        if acknowledge.asks() {
            self.acknowledge(channel);
        }
        Ok(())
    }

    /// Sees to it that what was taken in is told in time.
    #[inline]
    pub(super) fn note_taken(&mut self, now: Duration) {
        if !self.resumption.is_agreed() || self.resumption.is_apart() {
            return;
        }
        for channel in CHANNELS {
            let incoming = &self.incoming[channel as usize];
            let untold = self.untold(channel);
            // Who reads is told a window more often, and this goes along with it.
            let each = (incoming.window.max_size() / 2).max(ACKNOWLEDGE_EACH);
            if untold >= each {
                self.acknowledge(channel);
            } else if untold > 0 && self.acknowledged.due_at.is_none() {
                self.acknowledged.due_at = Some(now.saturating_add(ACKNOWLEDGE_WITHIN));
            }
        }
    }

    /// Tells what was taken in, when that is due.
    pub(super) fn tell_taken(&mut self, now: Duration) {
        if self.acknowledged.due_at.take_if(|at| *at <= now).is_some() {
            CHANNELS.into_iter().for_each(|channel| self.acknowledge_along(channel));
        }
    }

    /// Bytes that the peer keeps and need not: none where messages can get lost, which nobody keeps.
    #[inline]
    fn untold(&self, channel: Channel) -> u64 {
        let incoming = &self.incoming[channel as usize];
        if incoming.may_lose() {
            return 0;
        }
        incoming.taken() - self.acknowledged.told[channel as usize]
    }

    /// Asks the peer what it has taken in, where a sender waits for it.
    pub(super) fn ask_taken(&mut self) {
        for channel in CHANNELS {
            if core::mem::take(&mut self.outgoing[channel as usize].asks) {
                self.acknowledge(channel);
                let pending = &mut self.pending.acknowledges[channel as usize];
                *pending = pending.map(Acknowledge::asking);
            }
        }
    }

    /// Acknowledges what was not yet: alone, or in the message in which a window is told.
    pub(super) fn acknowledge_along(&mut self, channel: Channel) {
        if self.resumption.is_agreed() && self.untold(channel) > 0 {
            self.acknowledge(channel);
        }
    }

    /// Tells what was taken in on a channel.
    pub(super) fn acknowledge(&mut self, channel: Channel) {
        let taken = self.incoming[channel as usize].taken();
        self.acknowledged.told[channel as usize] = taken;
        if CHANNELS.into_iter().all(|channel| self.untold(channel) == 0) {
            self.acknowledged.due_at = None;
        }
        let ticket = match self.config.role {
            Role::Initiator => self.resumption.ticket_number(),
            Role::Acceptor => 0,
        };
        let pending = &mut self.pending.acknowledges[channel as usize];
        let asks = pending.is_some_and(|pending| pending.asks());
        let acknowledge = Acknowledge::new(channel, taken).with_ticket(ticket);
        *pending = Some(if asks { acknowledge.asking() } else { acknowledge });
    }
}
