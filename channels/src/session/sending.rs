//! What goes next: control messages first, then commands, then deltas.

use core::task::Context;

use deltawire_framing::Channel;
use deltawire_framing::control::{Hello, Position};

use super::outgoing::Outgoing;
use super::outgoing_message::Bytes;
use super::{CHANNELS, MIN_RESUMABLE_FRAME, OutgoingMessage, ProtocolError, Session, State};

impl Session {
    /// The next transport message to send, of at most `budget` bytes: as much as the transport
    /// takes now. It counts as sent. Call it until it gives nothing. A long message needs a budget of
    /// [`max_frame_len`](super::Limits::max_frame_len) to get on.
    ///
    /// Control messages go first, then commands, then deltas.
    pub fn poll_transmit(&mut self, budget: usize) -> Option<OutgoingMessage<'_>> {
        self.poll_transmit_with(budget, budget)
    }

    /// The same with a budget of its own for what is `urgent`, control messages and commands: so
    /// that they need not wait for room that `deltas` have taken.
    pub fn poll_transmit_with(
        &mut self,
        urgent: usize,
        deltas: usize,
    ) -> Option<OutgoingMessage<'_>> {
        self.outgoing.iter_mut().for_each(Outgoing::release_sent);
        self.check_lengths();
        self.prepare_control();
        self.settle();
        if self.pending.is_empty() {
            self.transmit_application([urgent, deltas])
        } else {
            self.transmit_control(urgent)
        }
    }

    /// Registers the task to be woken when the application has written or read something, so that
    /// [`poll_transmit`](Self::poll_transmit) may have more to give. Says whether it has now.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> bool {
        let asks = self.outgoing.iter().any(|outgoing| outgoing.asks);
        let mut ready = !self.pending.is_empty() || asks && !self.resumption.is_apart();
        let mut read = false;
        let open = !self.is_apart_or_new() && !matches!(self.state, State::Closed);
        for incoming in &mut self.incoming {
            read |= incoming.take_returns(Some(context));
            ready |= incoming.is_window_due() && open;
        }
        if read {
            self.progress();
        }
        if !self.is_apart_or_new() && !self.state.is_silent() {
            for outgoing in &mut self.outgoing {
                ready |= outgoing.poll_ready(context);
            }
        }
        ready || self.is_abandoned()
    }

    /// Ends the session if it cannot deliver what it has accepted.
    fn check_lengths(&mut self) {
        let Some(peer) = self.peer else { return };
        if matches!(self.state, State::Closed) {
            return;
        }
        for channel in CHANNELS {
            let allowed = self.peer_limits(channel, &peer).max_message();
            if let Some(len) = self.outgoing[channel as usize].find_too_long(allowed) {
                self.fail(ProtocolError::MessageTooLong { channel, len, allowed });
                return;
            }
        }
    }

    fn prepare_control(&mut self) {
        if matches!(self.state, State::Closed) {
            for incoming in &mut self.incoming {
                incoming.take_returns(None);
            }
            return;
        }
        if self.resumption.is_apart() {
            for incoming in &mut self.incoming {
                incoming.take_returns(None);
            }
            return;
        }
        self.ask_taken();
        for channel in CHANNELS {
            let blocked = self.peer.is_some_and(|peer| {
                let max_frame_len = peer.max_frame_len as usize;
                self.outgoing[channel as usize].is_newly_blocked(max_frame_len)
            });
            if blocked {
                self.tell_position(channel);
                self.liveness.mark_busy();
            }
            if self.incoming[channel as usize].take_returns(None) {
                self.progress();
            }
            let incoming = &mut self.incoming[channel as usize];
            if incoming.is_window_due() && self.peer.is_some() {
                self.pending.windows[channel as usize] = Some(incoming.advertise());
                self.acknowledge_along(channel);
            }
        }
    }

    fn transmit_control(&mut self, budget: usize) -> Option<OutgoingMessage<'_>> {
        let peer = self.peer.map_or(Hello::MIN_FRAME_LEN, |peer| peer.max_frame_len) as usize;
        let least = match self.pending.resume {
            Some(_) => MIN_RESUMABLE_FRAME,
            None => Hello::MIN_FRAME_LEN as usize,
        };
        if budget < least {
            return None;
        }
        let bytes = self.pending.next(peer.min(budget))?;
        self.control_sent += 1;
        Some(OutgoingMessage { channel: Channel::Command, bytes: Bytes::Control(bytes) })
    }

    /// With budgets by channel.
    fn transmit_application(&mut self, budgets: [usize; 2]) -> Option<OutgoingMessage<'_>> {
        let peer = self.peer?;
        if self.state.is_silent() || self.resumption.is_apart() {
            return None;
        }
        let limits = CHANNELS.map(|channel| self.peer_limits(channel, &peer));
        // Deltas that need less room must not overtake a command that waits for more.
        let channels = if self.outgoing[0].waits_for_room(budgets[0]) { 1 } else { 2 };
        let deadline = self.now.saturating_add(self.config.limits.close_timeout);
        let Self { outgoing: [commands, data], sent: [commands_sent, data_sent], .. } = self;
        let by_urgency =
            [(Channel::Command, commands, commands_sent), (Channel::Data, data, data_sent)];
        let by_urgency = by_urgency.into_iter().zip(limits).zip(budgets);
        for (((channel, outgoing, sent), limits), budget) in by_urgency.take(channels) {
            if let Some(bytes) = outgoing.next(budget, limits) {
                sent.add(bytes.len());
                self.liveness.mark_busy();
                if let State::Closing(closing) = &mut self.state {
                    closing.deadline = deadline;
                }
                return Some(OutgoingMessage { channel, bytes: Bytes::Outbound(bytes) });
            }
        }
        None
    }

    pub(super) fn tell_position(&mut self, channel: Channel) {
        let sent = self.outgoing[channel as usize].window.sent;
        let position = &mut self.pending.positions[channel as usize];
        // The last word stays.
        if position.is_none_or(|position| position.unsent().is_none()) {
            *position = Some(Position::new(channel, sent));
        }
    }

    /// Says once more what may have got lost.
    pub(super) fn repeat(&mut self) {
        for channel in CHANNELS {
            self.pending.windows[channel as usize] =
                Some(self.incoming[channel as usize].advertise());
            self.windows_repeated += 1;
            if self.outgoing[channel as usize].window.blocked {
                self.tell_position(channel);
            }
        }
    }
}
