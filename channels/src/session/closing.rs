//! How a session ends: who closed it, what is still waited for, and what was not delivered.
//!
//! A close waits for as long as there is progress: each time that something of the application's
//! is sent, acknowledged, read by the peer or received, its deadline moves.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use deltawire_framing::control::{Close, CloseCode, CloseFlags, Control, HelloFields, Role};
use deltawire_framing::{Channel, Frames, Kind};

use super::control::LastWords;
use super::event::{Closed, Missing, Undelivered};
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
    /// One of the two has closed it.
    Closing(Closing),
    Closed,
}

/// What a session waits for that is being closed.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    /// Whether this side closed it, before it heard that the peer did.
    by_us: bool,
    /// Of whoever closed it.
    code: CloseCode,
    reason: String,
    /// When it is given up, unless there is progress.
    pub(super) deadline: Duration,
    /// Whether the peer was told: nothing of the application's goes any more.
    pub(super) told: bool,
    /// Whether the peer has closed it, other than to answer.
    peer_closed: bool,
    /// Whether that was answered.
    replied: bool,
    /// Whether the peer has answered our close.
    answered: bool,
    /// Whether the peer takes nothing more.
    unread: bool,
    /// Whether the peer did not get all.
    missing: bool,
}

/// When the transport under a session that is over is to be hung up: by whoever closed it first,
/// so that nothing is lost that is still on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUp {
    /// At once: the peer has everything.
    Now,
    /// When the peer has acknowledged everything.
    Flushed,
    /// When the peer hangs up, answers, or has had [`close_timeout`] for it.
    ///
    /// [`close_timeout`]: crate::Limits::close_timeout
    Wait,
}

impl Session {
    pub(super) fn handle_close(&mut self, close: Close<'_>, now: Duration) {
        let (code, flags) = (close.code().known(), close.flags());
        let knows = self.peer_knows_closing();
        match &mut self.state {
            State::Closed => {}
            State::Closing(closing) => {
                closing.unread |= flags.contains(CloseFlags::UNREAD);
                if closing.told && closing.by_us && (!knows || flags.contains(CloseFlags::ANSWER)) {
                    closing.answered = true;
                    closing.missing = flags.contains(CloseFlags::MISSING);
                    // Where commands overtake each other, the answer may have overtaken the close.
                    closing.peer_closed |= flags.contains(CloseFlags::CROSSED);
                } else {
                    closing.peer_closed = true;
                    // Our close was not sent yet: the answer takes its place.
                    closing.told &= closing.replied || self.pending.close.is_none();
                }
            }
            State::Connecting { .. } | State::Open => {
                let unread = flags.contains(CloseFlags::UNREAD);
                self.begin_to_end(false, code, close.reason(), now);
                if let State::Closing(closing) = &mut self.state {
                    (closing.peer_closed, closing.unread) = (true, unread);
                }
            }
        }
        // After an error nothing more comes that would be worth waiting for.
        if code.is_error() && !matches!(self.state, State::Closed) {
            let reason = close.reason().to_owned();
            let missing = self.say_goodbye(code, String::new(), CloseFlags::ANSWER);
            self.end(Closed::ByPeer { code, reason, complete: false, missing });
        }
    }

    /// Ends the session in order: what was committed is still sent, then the peer is told `code`
    /// and `reason`, of which 256 bytes are kept, and answers.
    ///
    /// It is given up when nothing gets on for [`close_timeout`](crate::Limits::close_timeout).
    pub fn close(&mut self, code: CloseCode, reason: &str, now: Duration) {
        if !matches!(self.state, State::Connecting { .. } | State::Open) {
            return;
        }
        self.now = self.now.max(now);
        self.begin_to_end(true, code, reason, now);
        self.settle();
    }

    /// Waits no longer for a close: what was not delivered by now is counted, and the peer is told.
    pub fn cut_short(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if let State::Closing(closing) = &mut self.state {
            closing.deadline = self.now;
        }
        self.settle();
    }

    /// Ends the session at once, for a reason of the transport's. The peer is told `code` and
    /// `reason` if the transport still carries them.
    pub fn abort(&mut self, code: CloseCode, reason: &str) {
        if !matches!(self.state, State::Closed) {
            self.explain(&Closed::LinkLost);
            self.say_goodbye(code, reason.to_owned(), CloseFlags::UNREAD);
            self.awaits_answer = true;
            self.end(Closed::LinkLost);
        }
    }

    /// Whether one of the two has closed it, and it is not over yet.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        matches!(self.state, State::Closing(_))
    }

    fn begin_to_end(&mut self, by_us: bool, code: CloseCode, reason: &str, now: Duration) {
        let timeout = self.config.limits.close_timeout;
        self.state = State::Closing(Closing {
            by_us,
            code,
            reason: reason.to_owned(),
            deadline: now.saturating_add(timeout),
            told: false,
            peer_closed: false,
            replied: false,
            answered: false,
            unread: false,
            missing: false,
        });
        let closing = if by_us { ChannelClosed::ClosingByUs } else { ChannelClosed::ClosingByPeer };
        self.end_notice.closing(closing(code));
        self.liveness.hurry(timeout / 5);
        self.close_outgoing();
    }

    /// Tells the session that the transport got on with what the application sent.
    pub fn note_progress(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.progress();
    }

    /// Something got on: a close goes on waiting.
    pub(super) fn progress(&mut self) {
        if let State::Closing(closing) = &mut self.state {
            closing.deadline = self.now.saturating_add(self.config.limits.close_timeout);
        }
    }

    pub(super) fn peer_knows_closing(&self) -> bool {
        self.peer.is_some_and(|peer| peer.features & HelloFields::CLOSING != 0)
    }

    /// The last control messages: how much was read, how much was sent and how much will not be,
    /// and the close. Gives what of the peer's will not come.
    fn say_goodbye(&mut self, code: CloseCode, reason: String, flags: CloseFlags) -> Missing {
        self.close_outgoing();
        self.keep_returned();
        let knows = self.peer_knows_closing();
        for channel in CHANNELS {
            let incoming = &mut self.incoming[channel as usize];
            incoming.take_returns(None);
            self.pending.windows[channel as usize] = Some(incoming.advertise());
            let unsent = self.outgoing[channel as usize].give_up();
            self.tell_position(channel);
            if knows && let Some(position) = &mut self.pending.positions[channel as usize] {
                *position = position.last(u32::try_from(unsent).unwrap_or(u32::MAX));
            }
        }
        let gone = self.incoming.iter().all(Incoming::is_abandoned);
        let flags = flags.with(CloseFlags::UNREAD, gone);
        let flags = if knows { flags } else { CloseFlags::default() };
        self.pending.close = Some(LastWords { code, flags, reason });
        self.missing()
    }

    /// What the peer says to have committed and what has not come.
    fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        for incoming in &self.incoming {
            missing.messages += incoming.window.unsent();
            missing.bytes += incoming.missing();
        }
        missing
    }

    fn unsent(&self) -> u64 {
        self.outgoing.iter().map(|outgoing| outgoing.unsent.0).sum()
    }

    /// What was committed and is not known to have been read, once the session is over.
    #[must_use]
    pub fn undelivered(&self) -> Undelivered {
        let mut undelivered = Undelivered::default();
        let orders = [self.config.command, self.config.send.order];
        for (outgoing, order) in self.outgoing.iter().zip(orders) {
            let (messages, bytes) = outgoing.unsent;
            undelivered.unsent += messages;
            undelivered.unsent_bytes += bytes;
            let (messages, bytes) = outgoing.unread.count(outgoing.window.limit, order);
            undelivered.unread += messages;
            undelivered.unread_bytes += bytes;
        }
        undelivered
    }

    fn close_outgoing(&mut self) {
        self.outgoing.iter_mut().for_each(Outgoing::close);
    }

    /// Ends a session that was begun in place of another, with which its peer wanted to go on.
    pub(super) fn say_not_resumed(&mut self, why: &str) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.say_goodbye(CloseCode::NOT_RESUMED, why.to_owned(), CloseFlags::UNREAD);
        self.awaits_answer = true;
        self.end(Closed::LinkLost);
    }

    /// Ends the session because of what the peer did.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        let closed = Closed::Error(error);
        self.explain(&closed);
        self.say_goodbye(error.close_code(), error.to_string(), CloseFlags::UNREAD);
        self.awaits_answer = true;
        self.end(closed);
    }

    pub(super) fn end(&mut self, closed: Closed) {
        self.state = State::Closed;
        self.closed = Some(closed.clone());
        self.pending.clear_but_goodbye();
        self.explain(&closed);
        // Once more: a grant may have been committed since.
        self.give_up();
        self.incoming.iter_mut().for_each(Incoming::close);
        self.events.closed(closed);
    }

    /// Looks for the peer's answer in what comes after the end.
    pub(super) fn handle_late(&mut self, channel: Channel, message: &[u8]) {
        if !self.awaits_answer || channel != Channel::Command {
            return;
        }
        let controls = Frames::new(message).flatten().filter(|it| it.kind() == Kind::Control);
        if controls
            .filter(|it| !it.is_fragment())
            .any(|frame| matches!(Control::parse(frame.body()), Ok(Control::Close(_))))
        {
            self.hang_up = HangUp::Now;
        }
    }

    /// When to hang up, once the session is over.
    #[must_use]
    pub fn hang_up(&self) -> HangUp {
        self.hang_up
    }

    /// Leaves word of the end for senders and receivers, before their rings are closed.
    fn explain(&self, closed: &Closed) {
        self.end_notice.ended(ChannelClosed::Ended(Arc::new(closed.clone())));
    }

    /// Says why the link is about to go, for [`lose_link`](Self::lose_link): senders and receivers
    /// tell.
    pub fn explain_loss(&mut self, why: impl fmt::Display) {
        if !matches!(self.state, State::Closed) {
            self.end_notice.ended(ChannelClosed::LinkLost(why.to_string().into()));
        }
    }

    /// Whether the peer has closed the session or answered: if it hangs up now, that is in order.
    #[must_use]
    pub fn has_heard_close(&self) -> bool {
        match &self.state {
            State::Closing(closing) => closing.peer_closed || closing.answered,
            _ => false,
        }
    }

    /// Tells the session that its link is gone. What came before is still handed on. Gives how it has
    /// ended, as its event says: not [`Closed::LinkLost`] if it was over before, or its peer had closed
    /// it or answered; what it sent before may have got lost.
    pub fn lose_link(&mut self) -> Closed {
        if !matches!(self.state, State::Closed) {
            if !self.is_ending() {
                self.explain(&Closed::LinkLost);
            }
            // Before what it holds is taken: a source that has more to read for it reads it no more.
            self.close_outgoing();
            self.keep_returned();
            self.give_up();
            self.end(self.heard_close().unwrap_or(Closed::LinkLost));
        }
        self.pending.clear();
        self.closed.clone().unwrap_or(Closed::LinkLost)
    }

    /// How the session ends if its peer goes now, provided that the peer has closed it or answered.
    pub(super) fn heard_close(&self) -> Option<Closed> {
        let State::Closing(closing) = &self.state else { return None };
        (closing.peer_closed || closing.answered).then(|| self.closed(closing))
    }

    /// Counts what was not sent as never to be.
    pub(super) fn give_up(&mut self) {
        self.close_outgoing();
        for outgoing in &mut self.outgoing {
            outgoing.give_up();
        }
    }

    /// How the session has ended.
    fn closed(&self, closing: &Closing) -> Closed {
        let (code, missing) = (closing.code, self.missing());
        let came = missing == Missing::default() && self.incoming.iter().all(Incoming::is_complete);
        let sent = self.unsent() == 0;
        if !closing.by_us {
            let reason = closing.reason.clone();
            return Closed::ByPeer { code, reason, complete: came && sent, missing };
        }
        // An application that is gone misses nothing.
        let came = came || self.incoming.iter().all(Incoming::is_abandoned);
        let heard = closing.answered || closing.peer_closed && !closing.told;
        let complete = heard && !closing.missing && came && sent;
        Closed::ByUs { code, complete, missing }
    }

    /// Whether the session is open, and nobody is left to talk to the peer.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        matches!(self.state, State::Open)
            && self.outgoing.iter().all(Outgoing::is_abandoned)
            && self.incoming.iter().all(Incoming::is_abandoned)
    }

    /// Moves on where something that was waited for has happened.
    pub(super) fn settle(&mut self) {
        let now = self.now;
        if self.is_abandoned() {
            if self.incoming.iter().any(Incoming::has_failed) {
                self.close(CloseCode::FAILED, "the application failed", now);
            } else {
                self.close(CloseCode::NORMAL, "the application dropped its peer", now);
            }
            return;
        }
        let State::Closing(closing) = &self.state else { return };
        let (late, told) = (now >= closing.deadline, closing.told);
        let (code, peer_closed, unread) = (closing.code, closing.peer_closed, closing.unread);
        // What the last words may say, only the peer's hello tells.
        let drained =
            self.peer.is_some() && (unread || self.outgoing.iter_mut().all(Outgoing::is_empty));
        // Without a link, what was handed out may have to go again.
        let drained = drained && !self.resumption.is_apart();
        let came = self.incoming.iter().all(Incoming::is_complete);
        if told {
            self.settle_told(came, late);
        } else if peer_closed {
            if (drained && came) || late {
                self.answer(came);
                self.end_as_said();
            }
        } else if drained || late {
            let State::Closing(closing) = &mut self.state else { return };
            closing.told = true;
            let reason = closing.reason.clone();
            self.say_goodbye(
                code,
                reason,
                CloseFlags::default().with(CloseFlags::UNREAD, !drained),
            );
            if drained {
                self.settle_told(came, false);
            } else {
                self.awaits_answer = true;
                self.end_as_said();
            }
        }
    }

    /// Waits for the peer's answer, and answers its close if the two crossed.
    fn settle_told(&mut self, came: bool, late: bool) {
        let State::Closing(Closing { answered, peer_closed, replied, .. }) = self.state else {
            return;
        };
        if peer_closed && !replied && (came || late) {
            self.answer(came);
        }
        if answered && came || late {
            self.hang_up = match (answered, peer_closed) {
                (true, false) if self.peer_knows_closing() => HangUp::Now,
                (true, false) => HangUp::Flushed,
                // One of the two, so that both hear the other's answer.
                (true, true) if self.config.role == Role::Initiator => HangUp::Flushed,
                _ => HangUp::Wait,
            };
            self.awaits_answer = !answered;
            self.end_as_said();
        }
    }

    fn answer(&mut self, came: bool) {
        let State::Closing(closing) = &mut self.state else { return };
        closing.replied = true;
        let reason = if closing.by_us { closing.reason.clone() } else { String::new() };
        let code = closing.code;
        let crossed = closing.by_us && closing.told;
        let flags =
            CloseFlags::ANSWER.with(CloseFlags::MISSING, !came).with(CloseFlags::CROSSED, crossed);
        self.say_goodbye(code, reason, flags);
    }

    fn end_as_said(&mut self) {
        // Once more: a grant may have been committed since, and then not all was sent.
        self.give_up();
        if let State::Closing(closing) = &self.state {
            let closed = self.closed(closing);
            self.end(closed);
        }
    }
}

impl Closing {
    /// Whether one of the two has said its last words.
    pub(super) fn is_told(&self) -> bool {
        self.told || self.peer_closed
    }
}

impl State {
    /// Whether nothing more of the application's is to be sent.
    pub(super) fn is_silent(&self) -> bool {
        match self {
            Self::Connecting { .. } | Self::Open => false,
            Self::Closing(closing) => closing.told || closing.unread,
            Self::Closed => true,
        }
    }
}
