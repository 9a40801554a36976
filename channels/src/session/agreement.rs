//! What the two ends say of themselves, and what follows for both.

use deltawire_framing::Channel;
use deltawire_framing::control::{Delivery, Hello, HelloFields};

use super::outgoing::PeerLimits;
use super::resume::can_resume;
use super::window::longest;
use super::{ProtocolError, Session, SessionConfig, State};
use crate::limits::Limits;

impl Session {
    pub(super) fn handle_hello(&mut self, hello: &Hello) -> Result<(), ProtocolError> {
        let fields = hello.fields();
        if fields.role == self.config.role {
            return Err(ProtocolError::OutOfPlace("a hello in the same role"));
        }
        match self.peer {
            Some(before) if before == fields => return Ok(()),
            // The last one before the session goes on counts: others are of a session that was begun on the link.
            Some(_) if self.resumption.is_resuming() => {
                self.check_delivery(&fields)?;
                self.peer = Some(fields);
                return Ok(());
            }
            Some(_) => return Err(ProtocolError::OutOfPlace("a second hello that differs")),
            None => {
                self.peer = Some(fields);
                self.resumption.hello_came = true;
            }
        }
        self.check_delivery(&fields)?;
        // The hello's windows are the first limits: control messages that came ahead of it on an
        // unordered channel may have raised them already.
        for (channel, limit) in
            [(Channel::Command, fields.command_window), (Channel::Data, fields.data_window)]
        {
            let allowed = self.peer_limits(channel, &fields).max_message();
            let outgoing = &mut self.outgoing[channel as usize];
            outgoing.window.grant(channel, limit, false)?;
            outgoing.unread.begin(limit);
            outgoing.limit.set(allowed);
            let max_frame_len = self.max_frame_len(&fields);
            let incoming = &mut self.incoming[channel as usize];
            incoming.learn(&self.config.limits, max_frame_len, fields.features);
        }
        self.agree_to_resume(&fields);
        if matches!(self.state, State::Connecting { .. }) {
            self.state = State::Open;
        }
        self.events.opened(fields);
        Ok(())
    }

    /// Both ends have to say the same of each channel: otherwise one waits for ever for what the
    /// other has given up.
    fn check_delivery(&self, peer: &HelloFields) -> Result<(), ProtocolError> {
        let command = |order| Delivery { order, ..Delivery::default() };
        for (channel, theirs, ours) in [
            (Channel::Command, command(peer.command), command(self.config.command)),
            (Channel::Data, peer.deltas, self.config.receive.on_wire()),
        ] {
            if theirs != ours {
                return Err(ProtocolError::Delivery { channel, theirs, ours });
            }
        }
        Ok(())
    }

    /// The longest frame that both sides take.
    pub(super) fn max_frame_len(&self, peer: &HelloFields) -> usize {
        self.config.limits.max_frame_len.min(peer.max_frame_len as usize)
    }

    pub(super) fn peer_limits(&self, channel: Channel, peer: &HelloFields) -> PeerLimits {
        let window = match channel {
            Channel::Command => peer.command_window,
            Channel::Data => peer.data_window,
        };
        PeerLimits {
            max_frame_len: self.max_frame_len(peer),
            max_message_len: peer.max_message_len,
            window,
            max_unfinished: peer.max_unfinished,
        }
    }
}

/// What this side speaks beyond version 1.
fn features(config: &SessionConfig) -> u64 {
    let hub = if config.serves_documents { HelloFields::HUB } else { 0 };
    let resume = if can_resume(config) { HelloFields::RESUME } else { 0 };
    let messages = HelloFields::DOCUMENTS | HelloFields::REQUESTS | HelloFields::BULK;
    HelloFields::CLOSING | HelloFields::GROWING | messages | hub | resume
}

/// What a session says first.
pub(super) fn hello(config: &SessionConfig) -> Hello {
    let Limits { max_frame_len, data_window, command_window, .. } = config.limits;
    Hello::new(HelloFields {
        role: config.role,
        max_frame_len: u32::try_from(max_frame_len).unwrap_or(u32::MAX),
        max_message_len: u32::try_from(longest(data_window.max(command_window)))
            .unwrap_or(u32::MAX),
        data_window,
        command_window,
        max_unfinished: config.limits.max_unfinished,
        idle_timeout_ms: u32::try_from(config.limits.idle_timeout.as_millis()).unwrap_or(u32::MAX),
        features: features(config),
        command: config.command,
        deltas: config.send,
        session_id: config.session_id,
    })
}
