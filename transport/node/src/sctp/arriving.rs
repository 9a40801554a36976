//! Peers that are not let in yet: from when they have shown where they are until their token was found right.

use std::net::SocketAddr;
use std::time::Duration;

use deltawire_framing::control::Role;
use deltawire_link::{MessageTransport, Output, runtime};
use deltawire_sctp::{Arrival, SctpTransport};

use super::KIND;
use super::hub::{Entry, Hub, Request, Stage};
use crate::admission::{AUTHORIZE_TIMEOUT, Decision, Verdict};
use crate::arrival::{Arrival as Place, counted_as};
use crate::udp::Socket;

/// How long a peer that was not let in is told so.
const REFUSED: Duration = Duration::from_secs(3);

/// When it is told again without having said anything, and each time twice as long after that: one that waits says nothing.
const TOLD_AGAIN: Duration = Duration::from_millis(200);

/// Peers that are told so at a time, in places of their own; more are told once.
const MAX_REFUSED: usize = 64;

/// A peer that is not let in yet.
pub(super) struct Arriving {
    pub(super) transport: SctpTransport,
    from: SocketAddr,
    timeout: Option<Duration>,
    deadline: Duration,
    /// Its place among those that are not let in yet; `None` once it was refused, and is only told so.
    pub(super) place: Option<Place>,
    /// When it is told so again, and how long after that.
    again: Option<(Duration, Duration)>,
}

impl Hub {
    /// Somebody has shown where it is, and wants a link.
    pub(super) fn arrive(&mut self, arrival: &Arrival, socket: &mut Socket, now: Duration) {
        let from = arrival.remote_address();
        let place = match Place::begin(&self.around.network, Some(from.ip())) {
            Ok(place) => Some(place),
            Err(error) => {
                tracing::debug!(%from, %error, "a link over SCTP was refused");
                // Nothing is kept of it: it asks again if it does not hear that.
                socket.send(arrival.refuse(&error.to_string()));
                socket.flush();
                return;
            }
        };
        let key = self.entries.vacant_key();
        let transport = match self.endpoint.accept(key, arrival, now) {
            Ok(transport) => transport,
            Err(error) => {
                tracing::warn!(%from, %error, "a link over SCTP cannot be set up");
                return;
            }
        };
        let deadline = now.saturating_add(self.around.settings.connect_timeout);
        let arriving =
            Arriving { transport, from, timeout: Some(now), deadline, place, again: None };
        self.add(Stage::Arriving(Box::new(arriving)));
    }

    pub(super) fn work_arriving(&mut self, key: usize, socket: &mut Socket, now: Duration) {
        let Some(Entry { stage: Stage::Arriving(arriving), .. }) = self.entries.get_mut(key) else {
            return;
        };
        let Arriving { transport, from, timeout, deadline, place, again } = &mut **arriving;
        if timeout.is_some_and(|at| at <= now) {
            transport.handle_timeout(now);
        }
        let (mut over, late) = (false, *deadline <= now);
        if late && place.is_some() {
            return self.decided(key, Err("it took too long".to_owned()), socket, now);
        }
        if let Some((at, wait)) = again.filter(|(at, _)| *at <= now) {
            transport.refuse_again();
            *again = Some((at + 2 * wait, 2 * wait));
        }
        let mut wrong = None;
        loop {
            match transport.poll_output() {
                Ok(Output::Transmit(transmit)) => socket.send(transmit),
                // Not before it is let in.
                Ok(Output::Open | Output::Message(..)) => {}
                Ok(Output::Closed) => over = true,
                Ok(Output::Timeout(at)) => {
                    *timeout = at;
                    break;
                }
                Err(error) => {
                    tracing::debug!(%from, %error, "a link over SCTP did not come to be");
                    wrong = Some(error.to_string());
                }
            }
        }
        socket.flush();
        let again = again.map(|(at, _)| at);
        let next = [*timeout, again].into_iter().flatten().fold(*deadline, Duration::min);
        self.timers.set(key, Some(next));
        let (from, token) = (*from, transport.take_token());
        if over || late {
            self.remove(key);
        } else if let Some(wrong) = wrong {
            self.decided(key, Err(wrong), socket, now);
        } else if let Some(token) = token {
            match self.admission.as_ref().map(|admission| admission.decide(KIND, &token, from)) {
                Some(Decision::Now(verdict)) => self.decided(key, verdict, socket, now),
                Some(Decision::Later(verdict)) => self.wait_for(key, verdict),
                None => self.decided(key, Err("nobody is let in".to_owned()), socket, now),
            }
        }
    }

    /// Asks the application in a task of its own.
    fn wait_for(&mut self, key: usize, verdict: runtime::BoxFuture<'static, Verdict>) {
        let Some(serial) = self.entries.get(key).map(|entry| entry.serial) else { return };
        // Decisions do not keep the socket of a node that nobody holds any more.
        let requester = self.requester.clone();
        let runtime = self.around.runtime.clone();
        self.around.runtime.spawn(Box::pin(async move {
            let verdict = runtime::timeout(&*runtime, AUTHORIZE_TIMEOUT, verdict).await;
            let verdict = verdict.unwrap_or_else(|| Err("it took too long to decide".to_owned()));
            if let Some(requester) = requester.upgrade() {
                let _ = requester.send(Request::Decided { key, serial, verdict }).await;
            }
        }));
    }

    /// Nobody is left who could let a peer in.
    pub(super) fn refuse_all(&mut self, socket: &mut Socket, now: Duration) {
        let arriving = self.entries.iter().filter(|(_, it)| matches!(it.stage, Stage::Arriving(_)));
        let keys: Vec<_> = arriving.map(|(key, _)| key).collect();
        for key in keys {
            self.decided(key, Err("the node is gone".to_owned()), socket, now);
        }
    }

    /// Lets a peer in, or not.
    pub(super) fn decided(
        &mut self,
        key: usize,
        verdict: Verdict,
        socket: &mut Socket,
        now: Duration,
    ) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        // One that was refused meanwhile is only told so.
        let waits = matches!(&entry.stage, Stage::Arriving(arriving) if arriving.place.is_some());
        if !waits {
            return;
        }
        let Stage::Arriving(mut arriving) = std::mem::replace(&mut entry.stage, Stage::Over) else {
            return;
        };
        // One place after the other: what is a link is none that arrives.
        drop(arriving.place.take());
        let reserved = verdict.and_then(|identity| {
            let from = Some(counted_as(arriving.from.ip()));
            let reserved = self.around.network.begin_accept(from, identity.clone());
            reserved.map(|reservation| (reservation, identity)).map_err(|error| error.to_string())
        });
        let (reservation, identity) = match reserved {
            Ok(reserved) => reserved,
            Err(reason) => {
                arriving.transport.refuse(&reason);
                // It is told again while it goes on, as what is told once may get lost: if they are not too many.
                let patience = if self.refused < MAX_REFUSED { REFUSED } else { Duration::ZERO };
                arriving.deadline = now.saturating_add(patience);
                arriving.again = Some((now.saturating_add(TOLD_AGAIN), TOLD_AGAIN));
                entry.stage = Stage::Arriving(arriving);
                self.refused += 1;
                self.work_arriving(key, socket, now);
                return;
            }
        };
        let Arriving { mut transport, from, .. } = *arriving;
        transport.handle_timeout(now);
        transport.admit();
        match self.connection(transport, Role::Acceptor, &reservation, identity.as_ref(), None) {
            Ok(mut connection) => {
                connection.set_remote_address(from);
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.stage = Stage::Link(Box::new(connection));
                }
                reservation.take();
                self.attach(key);
                self.mark(key);
            }
            // The reservation is given up.
            Err(error) => {
                tracing::warn!(%error, "a link over SCTP cannot be set up");
                self.remove(key);
            }
        }
    }
}
