//! What a connection is asked for, what its session tells, and how it ends.

use std::time::Duration;

use deltawire_channels::Peer;
use deltawire_channels::session::{Closed, Event, HangUp, Missing};
use deltawire_framing::control::CloseCode;

use super::{Connection, LAST_WORDS, Stage};
use crate::link::{LinkEnded, SenderRequest};
use crate::{MessageTransport, Transmit};

impl<T: MessageTransport> Connection<T> {
    pub(super) fn take_requests(&mut self, now: Duration) {
        if let Some((code, reason)) = self.shared.take_close() {
            self.session.close(code, &reason, now);
        }
        // Where the transport is there, the peer may know of a session by now: it is closed in order once it has opened.
        if self.shared.is_given_up() && matches!(self.stage, Stage::Connecting { .. }) {
            let (complete, missing) = (true, Missing::default());
            let closed = Closed::ByUs { code: CloseCode::NORMAL, complete, missing };
            self.end_by_name(LinkEnded::Session(closed), CloseCode::NORMAL, "");
        }
        if self.shared.take_cut() {
            self.session.cut_short(now);
        }
        if self.shared.take_wanted() {
            self.let_go(now);
        }
        while let Some(request) = self.shared.take_sender_request() {
            // Who asked may have gone; who gets none is told that there are no more.
            match request {
                SenderRequest::Ring(share, reply) => {
                    let _ = self.session.open_sender(share).map(|sender| reply.send(sender));
                }
                SenderRequest::Shared(share, reply) => {
                    let _ = self.session.open_shared_sender(share).map(|sender| reply.send(sender));
                }
                SenderRequest::Source(share, source, reply) => {
                    let _ = self.session.open_source(source, share).then(|| reply.send(()));
                }
            }
        }
    }

    pub(super) fn take_events(&mut self, now: Duration) -> Option<Box<Peer>> {
        let mut opened = None;
        while let Some(event) = self.session.poll_event() {
            match event {
                // This side has another to take its place.
                Event::Opened(_) if self.roaming.awaits() => {}
                Event::Opened(hello) => {
                    self.register();
                    tracing::debug!(kind = self.capabilities.kind, ?hello, "link opened");
                    opened = self.peer.take();
                }
                Event::Closed(closed) => {
                    if matches!(self.stage, Stage::Connecting { .. } | Stage::Open) {
                        let silent = matches!(&closed, Closed::Error(error) if error.is_silence());
                        // What may get lost is given up as if it had been acknowledged: of a peer that
                        // is silent, that shows nothing.
                        let (limit, patience) = if silent {
                            (self.flush_timeout.min(LAST_WORDS), Duration::ZERO)
                        } else {
                            (self.flush_timeout, self.flush_timeout)
                        };
                        let deadline = now.saturating_add(limit);
                        self.stage = Stage::Flushing { deadline, patience };
                    }
                    self.ended.get_or_insert(LinkEnded::Session(closed));
                    self.publish_end();
                }
                Event::ResumeRequested(request) => self.await_session(request),
                Event::Resumed { repeated_bytes } => self.note_resumed(repeated_bytes, now),
                Event::Silent => {
                    self.lose_silent();
                    break;
                }
                _ => {}
            }
        }
        opened
    }

    /// Goes to the next stage when this one is through; `more` says that the session has more to
    /// say.
    pub(super) fn move_on(&mut self, more: bool, now: Duration, send: &mut impl FnMut(Transmit)) {
        match self.stage {
            Stage::Connecting { since, deadline } if now >= deadline => {
                self.lose(LinkEnded::NotReached(deadline - since));
                self.transport.close();
                self.drain(now, send);
            }
            Stage::Flushing { deadline, .. } => {
                let over = match self.session.hang_up() {
                    HangUp::Now => true,
                    // What says that nothing more comes is to go too.
                    HangUp::Flushed if !more => {
                        let finished = self.transport.finish();
                        self.drain(now, send);
                        finished
                    }
                    HangUp::Flushed | HangUp::Wait => false,
                };
                if over || now >= deadline {
                    self.finish();
                    self.transport.close();
                    self.drain(now, send);
                }
            }
            _ => {}
        }
    }

    /// The peer's identity is no longer valid: it is told so, and has as long as a close that does not get
    /// on, whatever it goes on sending. One that has not said hello yet is not let in.
    pub(super) fn expire(&mut self, now: Duration) {
        if self.peer.is_some() {
            self.lose(LinkEnded::Expired);
            self.transport.close();
            self.dirty = true;
        } else {
            self.session.close(CloseCode::NORMAL, "the peer's identity is no longer valid", now);
            self.cut_at = Some(now.saturating_add(self.flush_timeout));
        }
    }

    /// The peer hung up where signalling said so. A session that is being closed goes on to its
    /// end: it hears by itself when the peer is gone.
    pub fn hang_up(&mut self) {
        if !self.session.is_ending() {
            let reason = "the peer hung up over signalling";
            self.end_by_name(LinkEnded::HungUp, CloseCode::NORMAL, reason);
        }
    }

    /// The transport is of no more use: `ended` is why, unless the session has ended before.
    pub(super) fn lose(&mut self, ended: LinkEnded) {
        if self.stage == Stage::Delivering || self.detach(&ended, self.now) {
            return;
        }
        let hung_up = ended == LinkEnded::HungUp;
        let in_order = hung_up && self.session.has_heard_close();
        if self.ended.is_none() && !in_order {
            self.session.explain_loss(&ended);
        }
        let closed = self.session.lose_link();
        let known = hung_up && closed != Closed::LinkLost;
        self.ended.get_or_insert(if known { LinkEnded::Session(closed) } else { ended });
        self.finish();
    }

    /// Ends the link because of `ended`, and lets the peer know as far as it can.
    pub(super) fn end_by_name(&mut self, ended: LinkEnded, code: CloseCode, reason: &str) {
        match self.stage {
            Stage::Connecting { .. } => {
                self.lose(ended);
                self.transport.close();
                self.dirty = true;
            }
            Stage::Open => {
                self.session.explain_loss(&ended);
                self.ended.get_or_insert(ended);
                self.session.abort(code, reason);
            }
            Stage::Flushing { .. } | Stage::Delivering => {}
        }
    }

    fn finish(&mut self) {
        self.stage = Stage::Delivering;
        // What it did not get to say, such as a close that found no room, nobody will hear.
        self.session.lose_link();
        self.publish_end();
    }

    /// Tells everybody how it ended. Only the first time counts.
    fn publish_end(&mut self) {
        let Some(ended) = self.ended.clone() else { return };
        let undelivered = self.session.undelivered();
        self.span.record("reason", tracing::field::display(&ended));
        let kind = self.capabilities.kind;
        tracing::debug!(kind, reason = %ended, ?undelivered, "link ended");
        self.publish();
        self.unregister();
        self.shared.end(ended, undelivered);
    }
}

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.session.lose_link();
        // Its driver is gone, and nobody moves it any more.
        let ended = self.ended.take().unwrap_or(LinkEnded::Stopped);
        self.unregister();
        self.shared.end(ended, self.session.undelivered());
    }
}
