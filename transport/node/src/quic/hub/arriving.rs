//! Peers that are not let in yet: from their first datagram until their token was found right.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use deltawire_framing::control::Role;
use deltawire_link::{MessageTransport, Output, Transmit, runtime};
use deltawire_quic::{Arrival, QuicTransport};

use super::{Entry, Hub, Request, Stage};
use crate::admission::{AUTHORIZE_TIMEOUT, Decision, Verdict};
use crate::arrival::{Arrival as Place, counted_as};
use crate::udp::Socket;

/// How long a peer that was not let in is told so.
const REFUSED: Duration = Duration::from_secs(1);

/// Peers that are told so at a time, in places of their own; more are told once.
const MAX_REFUSED: usize = 64;

/// A peer that is not let in yet.
pub(super) struct Arriving {
    pub(super) transport: QuicTransport,
    pub(super) from: SocketAddr,
    pub(super) transport_timeout: Option<Duration>,
    pub(super) deadline: Duration,
    /// Its place among those that are not let in yet; `None` once it was refused, and is only told so.
    pub(super) place: Option<Place>,
}

impl Hub {
    /// Somebody begins a connection.
    pub(super) fn arrive(&mut self, arrival: Arrival, socket: &mut Socket, now: Duration) {
        let from = arrival.remote_address();
        #[cfg(feature = "webtransport")]
        if let Some(webtransport) = &self.accepts.webtransport {
            webtransport.renew(&mut self.endpoint, &mut self.renewals);
        }
        let taken = self.closing || self.accepts.nobody();
        let answer = if taken {
            Some(self.endpoint.refuse(arrival))
        } else if !arrival.is_validated() && !self.has_room_for_forged(from.ip()) {
            // Who is there shows it, which keeps nothing here, and then has places of its own.
            Some(self.endpoint.retry(arrival))
        } else {
            let known = arrival.is_validated().then(|| from.ip());
            match Place::begin(&self.around.network, known) {
                Ok(place) => self.take_in(arrival, place, now),
                Err(error) => {
                    tracing::debug!(%from, %error, "a link over QUIC was refused");
                    Some(self.endpoint.refuse(arrival))
                }
            }
        };
        answer.into_iter().for_each(|answer| socket.send(answer));
        socket.flush();
    }

    /// Gives what a peer that cannot be taken in is answered.
    fn take_in(&mut self, arrival: Arrival, place: Place, now: Duration) -> Option<Transmit> {
        let from = arrival.remote_address();
        let (handle, transport) = match self.endpoint.accept(arrival, now) {
            Ok(accepted) => accepted,
            Err(answer) => return answer,
        };
        let deadline = now.saturating_add(self.around.settings.connect_timeout);
        let (transport_timeout, place) = (Some(now), Some(place));
        let arriving = Arriving { transport, from, transport_timeout, deadline, place };
        self.add(handle, Stage::Arriving(Box::new(arriving)));
        None
    }

    /// Whether one more may begin from this address without showing that it is there: half of the places, of the address
    /// and of the node, are for those who have shown it.
    fn has_room_for_forged(&self, address: IpAddr) -> bool {
        let limits = self.around.network.limits();
        let same = counted_as(address);
        let (mut all, mut of_address) = (0, 0);
        for (_, entry) in &self.entries {
            if let Stage::Arriving(arriving) = &entry.stage
                && arriving.place.as_ref().is_some_and(|place| !place.is_validated())
            {
                all += 1;
                of_address += usize::from(counted_as(arriving.from.ip()) == same);
            }
        }
        all < limits.max_pending / 2 && of_address < limits.max_pending_per_address / 2
    }

    pub(super) fn work_arriving(&mut self, key: usize, socket: &mut Socket, now: Duration) {
        let Some(Entry { stage: Stage::Arriving(arriving), handle, .. }) =
            self.entries.get_mut(key)
        else {
            return;
        };
        let Arriving { transport, from, transport_timeout, deadline, place } = &mut **arriving;
        if transport_timeout.is_some_and(|at| at <= now) {
            transport.handle_timeout(now);
        }
        transport.set_max_segments(socket.max_segments());
        if *deadline <= now {
            transport.give_up("it took too long");
        }
        let mut over = *deadline <= now;
        loop {
            match transport.poll_output() {
                Ok(Output::Transmit(transmit)) => socket.send(transmit),
                // Not before it is let in.
                Ok(Output::Open | Output::Message(..)) => {}
                Ok(Output::Closed) => over = true,
                Ok(Output::Timeout(at)) => {
                    *transport_timeout = at;
                    break;
                }
                Err(error) => {
                    tracing::debug!(%from, %error, "a link over QUIC did not come to be");
                    over = true;
                }
            }
        }
        socket.flush();
        let mut again = false;
        while let Some(event) = transport.poll_endpoint_event() {
            let Some(handle) = *handle else { break };
            if let Some(event) = self.endpoint.handle_event(handle, event, now) {
                transport.handle_event(event);
                again = true;
            }
        }
        let at = transport_timeout.map_or(*deadline, |at| at.min(*deadline));
        self.timers.set(key, Some(at));
        let (from, token) = (*from, transport.take_token());
        #[cfg(feature = "webtransport")]
        let request = transport.take_request();
        let full = match place {
            Some(place) if transport.is_validated() => place.validate(from.ip()).err(),
            _ => None,
        };
        if over {
            self.remove(key);
            return;
        }
        if again {
            self.mark(key);
        }
        if let Some(full) = full {
            self.decided(key, Err(full.to_string()), socket, now);
            return;
        }
        let asked = token.map(|token| self.accepts.decide(&token, from));
        #[cfg(feature = "webtransport")]
        let asked = asked.or_else(|| {
            let webtransport = self.accepts.webtransport.as_ref();
            request.map(|request| match request {
                Ok(request) => webtransport.map(|it| it.decide(&request, from)),
                Err(denied) => {
                    tracing::warn!(kind = "webtransport", %from, %denied, "a link was refused");
                    Some(Decision::Now(Err(denied.to_string())))
                }
            })
        });
        match asked {
            Some(Some(Decision::Now(verdict))) => self.decided(key, verdict, socket, now),
            Some(Some(Decision::Later(verdict))) => self.wait_for(key, verdict),
            Some(None) => self.decided(key, Err("nobody is let in".to_owned()), socket, now),
            None => {}
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
            Ok(reservation) => reservation,
            Err(reason) => {
                arriving.transport.handle_timeout(now);
                arriving.transport.refuse(&reason);
                // It is told again while it goes on, as what is told once may get lost: if they are not too many.
                let patience = if self.refused < MAX_REFUSED { REFUSED } else { Duration::ZERO };
                arriving.deadline = now.saturating_add(patience);
                arriving.transport_timeout = Some(now);
                entry.stage = Stage::Arriving(arriving);
                self.refused += 1;
                self.work_arriving(key, socket, now);
                return;
            }
        };
        let Arriving { mut transport, .. } = *arriving;
        transport.handle_timeout(now);
        transport.admit();
        match self.connection(transport, Role::Acceptor, &reservation, identity.as_ref(), None) {
            Ok(connection) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.stage = Stage::Link(Box::new(connection));
                }
                reservation.take();
                self.attach(key);
                self.mark(key);
            }
            // The reservation is given up.
            Err(error) => {
                tracing::warn!(%error, "a link over QUIC cannot be set up");
                self.remove(key);
            }
        }
    }
}
