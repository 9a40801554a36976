//! What comes: transport messages, and the control messages among them.

use core::time::Duration;

use deltawire_framing::control::{Control, Hello, Order};
use deltawire_framing::{Channel, Frame, Frames, Kind, frame_step};

use super::incoming::check;
use super::{ProtocolError, Session, State};
use crate::memory::TransportMessage;

impl Session {
    /// Takes in a transport message that came on `channel`. It is kept where it lies; only
    /// fragments are copied, once, to their place.
    ///
    /// Nothing that it holds is an error of the caller's: what breaks the protocol ends the
    /// session, and shows as an event.
    pub fn handle_message(
        &mut self,
        channel: Channel,
        message: impl Into<TransportMessage>,
        now: Duration,
    ) {
        let message = message.into();
        if matches!(self.state, State::Closed) {
            self.handle_late(channel, &message);
            return;
        }
        self.now = self.now.max(now);
        self.resumption.hello_came = false;
        self.liveness.heard(now);
        self.received[channel as usize].add(message.len());
        self.incoming[channel as usize].take_returns(None);
        if let Err(error) = self.take_message(channel, message, now)
            && !matches!(self.state, State::Closed)
        {
            self.fail(error);
        }
        self.note_taken(now);
        self.settle();
    }

    fn take_message(
        &mut self,
        channel: Channel,
        message: TransportMessage,
        now: Duration,
    ) -> Result<(), ProtocolError> {
        let allowed = self.config.limits.max_frame_len.max(Hello::MIN_FRAME_LEN as usize);
        if message.len() > allowed {
            return Err(ProtocolError::FrameTooLong { len: message.len(), allowed });
        }
        let (mut messages, mut cost) = (0, 0);
        for frame in Frames::new(&message) {
            let frame = frame?;
            if frame.channel() != channel {
                return Err(ProtocolError::OutOfPlace("a frame of the other channel"));
            }
            if frame.is_fragment() && frame.kind() != Kind::Control {
                self.liveness.mark_busy();
                self.progress();
                return self.incoming[channel as usize].take_fragment(frame, now);
            }
            if frame.kind() == Kind::Control {
                self.control_received += 1;
                self.handle_control(frame, now)?;
            } else {
                check(frame.kind(), frame.body())?;
                messages += 1;
                cost += frame_step(frame.as_bytes().len()) as u64;
            }
        }
        if messages == 0 {
            return Ok(());
        }
        self.liveness.mark_busy();
        self.progress();
        self.incoming[channel as usize].take_whole(message, messages, cost)
    }

    fn handle_control(&mut self, frame: Frame<'_>, now: Duration) -> Result<(), ProtocolError> {
        if frame.channel() != Channel::Command {
            return Err(ProtocolError::OutOfPlace("a control message on the data channel"));
        }
        if frame.is_fragment() {
            return Err(ProtocolError::OutOfPlace("a control message in fragments"));
        }
        match Control::parse(frame.body())? {
            Control::Hello(hello) => self.handle_hello(hello),
            // Of a session that was begun on the link, before this one goes on over it.
            Control::Window(_) | Control::Position(_) | Control::Acknowledge(_)
                if self.resumption.is_resuming() =>
            {
                Ok(())
            }
            Control::Window(window) => {
                let channel = window.channel();
                let in_order = self.config.command == Order::Ordered;
                let outgoing = &mut self.outgoing[channel as usize];
                let before = outgoing.known_read();
                outgoing.unread.grow(window.grown().into());
                outgoing.window.grant(channel, window.limit(), in_order)?;
                // More room alone is none: a peer can grant it for ever.
                if outgoing.known_read() > before {
                    self.progress();
                }
                Ok(())
            }
            Control::Position(position) => {
                let lost_at = now.saturating_add(self.config.limits.loss_timeout);
                let (sent, unsent) = (position.sent(), position.unsent());
                let incoming = &mut self.incoming[position.channel() as usize];
                // What was read until now shows whether it was in time.
                let read = incoming.take_returns(None);
                incoming.take_position(sent, unsent, lost_at)?;
                if read {
                    self.progress();
                }
                Ok(())
            }
            Control::Ping(ping) => {
                self.pending.answer(ping);
                Ok(())
            }
            Control::Pong(pong) => {
                self.liveness.handle_pong(pong, now);
                Ok(())
            }
            Control::Close(close) => {
                self.handle_close(close, now);
                Ok(())
            }
            Control::Acknowledge(acknowledge) => self.handle_acknowledge(acknowledge),
            Control::Resume(resume) => self.handle_resume(resume),
            Control::Ticket(ticket) => self.handle_ticket(ticket),
            _ => Err(ProtocolError::OutOfPlace("a control message of a later version")),
        }
    }
}
