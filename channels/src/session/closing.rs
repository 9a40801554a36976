//! How a session ends: the stages of a close, and what is still waited for in each.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use deltawire_framing::control::CloseCode;

use super::event::{Closed, Event};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::{CHANNELS, ProtocolError, Session};
use crate::peer::ChannelClosed;

/// How far a session is.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Until the peer says hello.
    Connecting {
        deadline: Duration,
    },
    Open,
    /// We close: what was committed still goes. The peer may have closed too.
    Draining {
        code: CloseCode,
        reason: String,
        deadline: Duration,
        answered: bool,
    },
    /// We told the peer, and wait for its answer, and for what it sent before.
    Closing {
        code: CloseCode,
        deadline: Duration,
        answered: bool,
    },
    /// The peer closed: what both committed still goes, then it gets its answer.
    PeerClosing {
        code: CloseCode,
        reason: String,
        deadline: Duration,
    },
    Closed,
}

impl Session {
    pub(super) fn handle_close(&mut self, code: CloseCode, reason: &str, now: Duration) {
        match &mut self.state {
            State::Closed | State::PeerClosing { .. } => {}
            // Its answer, or both closed at once.
            State::Draining { answered, .. } | State::Closing { answered, .. } => *answered = true,
            State::Connecting { .. } | State::Open => {
                let deadline = now.saturating_add(self.config.limits.close_timeout);
                let reason = reason.to_owned();
                self.state = State::PeerClosing { code, reason, deadline };
                self.end_notice.closing(ChannelClosed::ClosingByPeer(code));
                self.close_outgoing();
            }
        }
        // After an error nothing more comes that would be worth waiting for.
        if code.is_error() && !matches!(self.state, State::Closed) {
            let reason = reason.to_owned();
            self.pending.close = Some((code, String::new()));
            self.end(Closed::ByPeer { code, reason, complete: false });
        }
    }

    /// Ends the session in order: what was committed is still sent, then the peer is told `code`
    /// and `reason`, of which 256 bytes are kept, and answers.
    pub fn close(&mut self, code: CloseCode, reason: &str, now: Duration) {
        if !matches!(self.state, State::Connecting { .. } | State::Open) {
            return;
        }
        self.now = self.now.max(now);
        let deadline = now.saturating_add(self.config.limits.close_timeout);
        self.end_notice.closing(ChannelClosed::ClosingByUs(code));
        self.close_outgoing();
        let reason = reason.to_owned();
        self.state = State::Draining { code, reason, deadline, answered: false };
        self.settle();
    }

    /// The last control messages: how much was sent, and the close.
    fn say_goodbye(&mut self, code: CloseCode, reason: String) {
        CHANNELS.into_iter().for_each(|channel| self.tell_position(channel));
        self.pending.close = Some((code, reason));
    }

    fn close_outgoing(&mut self) {
        self.outgoing.iter_mut().for_each(Outgoing::close);
    }

    /// Ends the session because of what the peer did.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.pending.close = Some((error.close_code(), error.to_string()));
        self.end(Closed::Error(error));
    }

    pub(super) fn end(&mut self, closed: Closed) {
        self.state = State::Closed;
        self.pending.clear_but_goodbye();
        self.end_notice.ended(ChannelClosed::Ended(Arc::new(closed.clone())));
        self.close_outgoing();
        self.incoming.iter_mut().for_each(Incoming::close);
        self.events.push(Event::Closed(closed));
    }

    /// Says why the link is about to go, for [`lose_link`](Self::lose_link): senders and receivers
    /// tell.
    pub fn explain_loss(&mut self, why: impl fmt::Display) {
        if !matches!(self.state, State::Closed) {
            self.end_notice.ended(ChannelClosed::LinkLost(why.to_string().into()));
        }
    }

    /// Tells the session that its link is gone. What came before is still handed on.
    pub fn lose_link(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.end(self.answered().unwrap_or(Closed::LinkLost));
        }
        self.pending.clear();
    }

    /// How the session ends if its peer goes now, provided that this side has closed it and the
    /// peer has answered: in order. It is open only for what the peer sent before, which may have
    /// got lost; a peer that has answered goes as soon as it has nothing left to send.
    #[must_use]
    pub fn answered(&self) -> Option<Closed> {
        match self.state {
            State::Closing { code, answered: true, .. } => {
                Some(Closed::ByUs { code, complete: true })
            }
            _ => None,
        }
    }

    /// Whether the session is open, and nobody is left to talk to the peer.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self.state, State::Open)
            && self.outgoing.iter().all(Outgoing::is_abandoned)
            && self.incoming.iter().all(Incoming::is_abandoned)
    }

    /// Moves on where something that was waited for has happened.
    pub(super) fn settle(&mut self) {
        let now = self.now;
        if self.is_abandoned() {
            self.close(CloseCode::NORMAL, "the application dropped its peer", now);
            return;
        }
        match &self.state {
            State::Draining { code, reason, deadline, answered } => {
                let (code, deadline, answered) = (*code, *deadline, *answered);
                let reason = reason.clone();
                let late = now >= deadline;
                if late || self.outgoing.iter_mut().all(Outgoing::is_empty) {
                    self.say_goodbye(code, reason);
                    self.state = State::Closing { code, deadline, answered };
                }
                if late {
                    self.end(Closed::ByUs { code, complete: false });
                }
            }
            State::Closing { code, answered: true, .. }
                if self.incoming.iter().all(Incoming::is_complete) =>
            {
                let closed = Closed::ByUs { code: *code, complete: true };
                self.end(closed);
            }
            State::Closing { code, deadline, .. } if now >= *deadline => {
                let closed = Closed::ByUs { code: *code, complete: false };
                self.end(closed);
            }
            State::PeerClosing { code, reason, deadline } => {
                let (code, late) = (*code, now >= *deadline);
                let complete = self.incoming.iter().all(Incoming::is_complete)
                    && self.outgoing.iter_mut().all(Outgoing::is_empty);
                if complete || late {
                    let closed = Closed::ByPeer { code, reason: reason.clone(), complete };
                    self.say_goodbye(code, String::new());
                    self.end(closed);
                }
            }
            _ => {}
        }
    }
}
