//! Deltas of this side that may overtake each other: a stream for each message, or a datagram.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_channels::{Delivery, Reliability};
use wasm_bindgen::prelude::*;

use super::bindings::{Datagrams, WebTransport, Writable, Writer};
use super::promised::Promised;
use crate::ALONE;

/// Streams with a message each that are open at a time: as many as the server takes.
const MAX_STREAMS: usize = 256;

/// What each message counts beside its bytes while it waits.
const OVERHEAD: usize = 64;

/// Messages on their way, the oldest first.
pub(super) struct AloneOut {
    session: WebTransport,
    /// After which time each is given up.
    lifetime: Option<Duration>,
    datagrams: Option<DatagramsOut>,
    waiting: VecDeque<Waiting>,
    streams: Vec<Sending>,
    /// Of streams that are over: each is two functions of the browser's.
    spare: Vec<Promised>,
    in_flight: usize,
}

/// A message of which the browser was not told yet, behind its number.
struct Waiting {
    bytes: Vec<u8>,
    until: Option<Duration>,
}

struct Sending {
    step: Step,
    promised: Promised,
    /// Empty once the browser has taken it.
    bytes: Vec<u8>,
    until: Option<Duration>,
}

enum Step {
    Opening,
    Writing(Writer),
    /// Until the server has it all, as far as the browser knows.
    Finishing(Writer),
}

struct DatagramsOut {
    datagrams: Datagrams,
    writer: Writer,
    /// What the browser takes just now.
    taken: Vec<u8>,
    promised: Promised,
}

impl AloneOut {
    pub(super) fn new(session: &WebTransport, delivery: Delivery) -> Result<Self, JsValue> {
        let (lifetime, in_datagrams) = match delivery.reliability {
            Reliability::MaxLifetime(lifetime) => (Some(lifetime), false),
            Reliability::MaxRetransmits(most) => (None, most == 0),
            Reliability::Reliable => (None, false),
        };
        let datagrams = if in_datagrams { DatagramsOut::new(session)? } else { None };
        Ok(Self {
            session: session.clone(),
            lifetime,
            datagrams,
            waiting: VecDeque::new(),
            streams: Vec::new(),
            spare: Vec::new(),
            in_flight: 0,
        })
    }

    /// Takes a message over.
    pub(super) fn push(&mut self, message: &[u8], now: Duration) {
        let mut bytes = Vec::with_capacity(1 + message.len());
        bytes.push(ALONE);
        bytes.extend_from_slice(message);
        self.in_flight += cost(&bytes);
        let until = self.lifetime.map(|lifetime| now.saturating_add(lifetime));
        self.waiting.push_back(Waiting { bytes, until });
    }

    /// What the browser has not taken, bytes, with what each message takes beside its own.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether the server has everything that was not given up, as far as the browser knows.
    pub(super) fn is_done(&self) -> bool {
        let taken = self.datagrams.as_ref().is_none_or(|datagrams| !datagrams.promised.waits());
        self.waiting.is_empty() && self.streams.is_empty() && taken
    }

    /// When the next is given up.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let sent = self.streams.iter().filter_map(|sending| sending.until);
        sent.chain(self.waiting.front().and_then(|waiting| waiting.until)).min()
    }

    /// Hands on what waits, and gives up what is too late by now.
    pub(super) fn poll(&mut self, now: Duration, context: &mut Context<'_>) {
        let late = |until: Option<Duration>| until.is_some_and(|until| until <= now);
        let Self { streams, spare, in_flight, .. } = self;
        let mut index = 0;
        while let Some(sending) = streams.get_mut(index) {
            let before = sending.held();
            let goes_on = sending.poll(late(sending.until), context);
            if goes_on {
                *in_flight -= before - sending.held();
                index += 1;
                continue;
            }
            *in_flight -= before;
            let over = streams.swap_remove(index);
            if !over.promised.waits() {
                spare.push(over.promised);
            }
        }
        while let Some(first) = self.waiting.front() {
            if !late(first.until) && !self.begin(context) {
                return;
            }
            if let Some(late) = self.waiting.pop_front() {
                self.in_flight -= cost(&late.bytes);
            }
        }
    }

    /// Has the browser begin with the first that waits, whose bytes are taken if they still count. Says whether it has.
    fn begin(&mut self, context: &mut Context<'_>) -> bool {
        let Some(first) = self.waiting.front_mut() else { return false };
        if let Some(datagrams) = &mut self.datagrams
            && let Some(sent) = datagrams.send(first.bytes.get(1..).unwrap_or_default(), context)
        {
            return sent;
        }
        if self.streams.len() == MAX_STREAMS {
            return false;
        }
        let mut promised = self.spare.pop().unwrap_or_else(Promised::new);
        promised.wait_for(self.session.create_unidirectional_stream(&JsValue::UNDEFINED));
        let bytes = std::mem::take(&mut first.bytes);
        let mut sending = Sending { step: Step::Opening, promised, bytes, until: first.until };
        sending.poll(false, context);
        self.streams.push(sending);
        true
    }
}

/// What a message that waits counts, bytes.
fn cost(bytes: &[u8]) -> usize {
    OVERHEAD + bytes.len()
}

impl Sending {
    fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Says whether it is not over.
    fn poll(&mut self, late: bool, context: &mut Context<'_>) -> bool {
        loop {
            let came = match self.promised.poll(context) {
                Poll::Ready(Ok(came)) => came,
                // The server does not want it, or is gone: the session says so.
                Poll::Ready(Err(_)) => return false,
                Poll::Pending => {
                    let writer = match &self.step {
                        Step::Writing(writer) | Step::Finishing(writer) => writer,
                        // There is nothing yet that could be given up.
                        Step::Opening => return true,
                    };
                    if late {
                        ignore(writer.abort());
                    }
                    return !late;
                }
            };
            let step = std::mem::replace(&mut self.step, Step::Opening);
            self.step = match step {
                Step::Opening => {
                    let Ok(writer) = came.unchecked_into::<Writable>().get_writer() else {
                        return false;
                    };
                    if late {
                        ignore(writer.abort());
                        return false;
                    }
                    self.promised.wait_for(writer.write(&self.bytes));
                    Step::Writing(writer)
                }
                Step::Writing(writer) => {
                    self.bytes = Vec::new();
                    self.promised.wait_for(writer.finish());
                    Step::Finishing(writer)
                }
                Step::Finishing(_) => return false,
            };
        }
    }
}

impl DatagramsOut {
    /// `None` where the browser has none.
    fn new(session: &WebTransport) -> Result<Option<Self>, JsValue> {
        let datagrams = session.datagrams();
        let stream = match datagrams.writable() {
            Some(stream) => stream,
            None => match datagrams.create_writable() {
                Ok(stream) => stream,
                Err(_) => return Ok(None),
            },
        };
        let (writer, promised) = (stream.get_writer()?, Promised::new());
        Ok(Some(Self { datagrams, writer, taken: Vec::new(), promised }))
    }

    /// Says whether it was sent; `None` if it does not fit.
    fn send(&mut self, message: &[u8], context: &mut Context<'_>) -> Option<bool> {
        if message.len() > self.datagrams.max_datagram_size() as usize {
            return None;
        }
        if self.promised.waits() && self.promised.poll(context).is_pending() {
            return Some(false);
        }
        self.taken.clear();
        self.taken.extend_from_slice(message);
        self.promised.wait_for(self.writer.write(&self.taken));
        // Often it is taken at once.
        let _ = self.promised.waits() && self.promised.poll(context).is_ready();
        Some(true)
    }
}

/// What becomes of it is nobody's.
fn ignore(promise: js_sys::Promise) {
    Promised::new().wait_for(promise);
}
