//! Peers that are not let in yet: from their first datagram until their token was found right.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use deltawire_framing::control::Role;
use deltawire_link::{MessageTransport, Output, runtime};
use deltawire_quic::{Arrival, QuicTransport};

use super::{Entry, Hub, Request, Stage};
use crate::quic::admission::{Decision, Verdict};
use crate::udp::Socket;

/// How long an application has to say whether a peer is let in.
const AUTHORIZE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a peer that was not let in keeps its place.
const REFUSED: Duration = Duration::from_secs(1);

/// A peer that is not let in yet.
pub(super) struct Arriving {
    pub(super) transport: QuicTransport,
    pub(super) from: SocketAddr,
    pub(super) transport_timeout: Option<Duration>,
    pub(super) deadline: Duration,
}

impl Hub {
    /// Somebody begins a connection.
    pub(super) fn arrive(&mut self, arrival: Arrival, socket: &mut Socket, now: Duration) {
        let from = arrival.remote_address();
        let limits = self.around.network.limits();
        let same = counted_as(from.ip());
        let of_address = self.arrivals().filter(|other| counted_as(*other) == same).count();
        let full = self.closing
            || self.admission.is_none()
            || self.arriving >= limits.max_pending
            || of_address >= limits.max_pending_per_address;
        if full {
            tracing::debug!(%from, "a link over QUIC was refused: no room");
            socket.send(self.endpoint.refuse(arrival));
        } else if self.arriving >= limits.max_pending / 2 && !arrival.is_validated() {
            // Half of the places are for those who are where they say.
            socket.send(self.endpoint.retry(arrival));
        } else {
            match self.endpoint.accept(arrival, now) {
                Ok((handle, transport)) => {
                    let deadline = now.saturating_add(self.around.settings.connect_timeout);
                    let transport_timeout = Some(now);
                    let arriving = Arriving { transport, from, transport_timeout, deadline };
                    self.arriving += 1;
                    let span = tracing::debug_span!("arriving", %from);
                    self.add(handle, Stage::Arriving(Box::new(arriving)), span);
                }
                Err(answer) => answer.into_iter().for_each(|answer| socket.send(answer)),
            }
        }
        socket.flush();
    }

    /// Addresses of those that are not let in yet.
    fn arrivals(&self) -> impl Iterator<Item = IpAddr> {
        self.entries.iter().filter_map(|(_, entry)| match &entry.stage {
            Stage::Arriving(arriving) => Some(arriving.from.ip()),
            _ => None,
        })
    }

    pub(super) fn work_arriving(&mut self, key: usize, socket: &mut Socket, now: Duration) {
        let Some(Entry { stage: Stage::Arriving(arriving), handle, .. }) =
            self.entries.get_mut(key)
        else {
            return;
        };
        let Arriving { transport, from, transport_timeout, deadline } = &mut **arriving;
        if transport_timeout.is_some_and(|at| at <= now) {
            transport.handle_timeout(now);
        }
        if *deadline <= now {
            transport.refuse("it took too long");
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
        if over {
            self.remove(key);
            return;
        }
        if again {
            self.mark(key);
        }
        let Some(token) = token else { return };
        match self.admission.as_ref().map(|admission| admission.decide(&token, from)) {
            Some(Decision::Now(verdict)) => self.decided(key, verdict, socket, now),
            Some(Decision::Later(verdict)) => self.wait_for(key, verdict),
            None => self.decided(key, Err("nobody is let in".to_owned()), socket, now),
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

    /// Lets a peer in, or not.
    pub(super) fn decided(
        &mut self,
        key: usize,
        verdict: Verdict,
        socket: &mut Socket,
        now: Duration,
    ) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let Stage::Arriving(mut arriving) = std::mem::replace(&mut entry.stage, Stage::Over) else {
            return;
        };
        self.arriving -= 1;
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
                // It is told again while it goes on, as what is told once may get lost.
                arriving.deadline = now.saturating_add(REFUSED);
                arriving.transport_timeout = Some(now);
                entry.stage = Stage::Arriving(arriving);
                self.arriving += 1;
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
                    let id = connection.state().id();
                    entry.span = tracing::debug_span!("link", %id);
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

/// The address as limits count it: of IPv6 the first 64 bits, which is what one host has.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}
