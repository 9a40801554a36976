//! Deltas of this side that may overtake each other: a stream for each message, or a datagram.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use deltawire_channels::{Delivery, Reliability};
use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;

use super::bindings::{Datagrams, WebTransport, Writable, Writer};
use super::promised::Promised;
use crate::ALONE;

/// Streams with a message each that are open at a time. The server takes 264, HTTP/3's among them, and says late that there is
/// room again.
const MAX_STREAMS: usize = 192;

/// A browser that has no room for one more stream may refuse it; then it is asked again after so long.
const RETRY: Duration = Duration::from_millis(20);

/// What each message counts beside its bytes while it waits.
const OVERHEAD: usize = 64;

/// Messages on their way, the oldest first.
pub(super) struct AloneOut {
    session: WebTransport,
    /// Of streams: that they are waited for.
    options: JsValue,
    /// After which time each is given up.
    lifetime: Option<Duration>,
    datagrams: Option<DatagramsOut>,
    waiting: VecDeque<Waiting>,
    streams: Vec<Sending>,
    /// Of streams that are over: each is two functions of the browser's.
    spare: Vec<Promised>,
    in_flight: usize,
    /// No stream is opened before, as the browser refused one.
    retry_at: Option<Duration>,
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
    /// Nothing can be given up yet.
    Opening,
    Writing(Writer),
    /// Until the server has it all, as far as the browser knows.
    Finishing(Writer),
}

/// What became of a stream.
enum Came {
    GoesOn,
    /// The browser has none to spare.
    NotOpened,
    Over,
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
        let options = Object::new();
        Reflect::set(&options, &"waitUntilAvailable".into(), &true.into())?;
        Ok(Self {
            session: session.clone(),
            options: options.into(),
            lifetime,
            datagrams,
            waiting: VecDeque::new(),
            streams: Vec::new(),
            spare: Vec::new(),
            in_flight: 0,
            retry_at: None,
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

    /// When the next is given up, or tried again.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        // One that is being opened is looked at when it is.
        let open = self.streams.iter().filter(|sending| !matches!(sending.step, Step::Opening));
        let waiting = self.waiting.front().map(|first| [first.until, self.retry_at]);
        let waiting = waiting.into_iter().flatten().flatten();
        open.filter_map(|sending| sending.until).chain(waiting).min()
    }

    /// Hands on what waits, and gives up what is too late by now.
    pub(super) fn poll(&mut self, now: Duration, context: &mut Context<'_>) {
        let late = |until: Option<Duration>| until.is_some_and(|until| until <= now);
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.poll(context);
        }
        self.retry_at = self.retry_at.filter(|at| *at > now);
        let Self { streams, spare, in_flight, waiting, retry_at, .. } = self;
        let mut index = 0;
        while let Some(sending) = streams.get_mut(index) {
            let before = sending.held();
            let came = sending.poll(late(sending.until), context);
            *in_flight -= before - sending.held();
            if matches!(came, Came::GoesOn) {
                index += 1;
                continue;
            }
            let Sending { promised, bytes, until, .. } = streams.swap_remove(index);
            *in_flight -= bytes.len();
            if !promised.waits() {
                spare.push(promised);
            }
            if matches!(came, Came::NotOpened) && !late(until) {
                *retry_at = Some(now.saturating_add(RETRY));
                *in_flight += cost(&bytes);
                waiting.push_front(Waiting { bytes, until });
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
        if self.streams.len() >= MAX_STREAMS || self.retry_at.is_some() {
            return false;
        }
        let mut promised = self.spare.pop().unwrap_or_else(Promised::new);
        promised.wait_for(self.session.create_unidirectional_stream(&self.options));
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

    fn poll(&mut self, late: bool, context: &mut Context<'_>) -> Came {
        loop {
            let came = match self.promised.poll(context) {
                Poll::Ready(Ok(came)) => came,
                Poll::Ready(Err(_)) if matches!(self.step, Step::Opening) => {
                    return Came::NotOpened;
                }
                // The server does not want it, or is gone: the session says so.
                Poll::Ready(Err(_)) => return Came::Over,
                Poll::Pending => {
                    let writer = match &self.step {
                        Step::Writing(writer) | Step::Finishing(writer) => writer,
                        Step::Opening => return Came::GoesOn,
                    };
                    if !late {
                        return Came::GoesOn;
                    }
                    ignore(writer.abort());
                    return Came::Over;
                }
            };
            let step = std::mem::replace(&mut self.step, Step::Opening);
            self.step = match step {
                Step::Opening => {
                    let Ok(writer) = came.unchecked_into::<Writable>().get_writer() else {
                        return Came::Over;
                    };
                    if late {
                        ignore(writer.abort());
                        return Came::Over;
                    }
                    self.promised.wait_for(writer.write(&self.bytes));
                    Step::Writing(writer)
                }
                Step::Writing(writer) => {
                    self.bytes = Vec::new();
                    self.promised.wait_for(writer.finish());
                    Step::Finishing(writer)
                }
                Step::Finishing(_) => return Came::Over,
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
        self.poll(context);
        if self.promised.waits() {
            return Some(false);
        }
        self.taken.clear();
        self.taken.extend_from_slice(message);
        self.promised.wait_for(self.writer.write(&self.taken));
        self.poll(context);
        Some(true)
    }

    /// Notes whether the browser has taken the last one.
    fn poll(&mut self, context: &mut Context<'_>) {
        if self.promised.waits() {
            let _ = self.promised.poll(context);
        }
    }
}

/// What becomes of it is nobody's.
fn ignore(promise: js_sys::Promise) {
    Promised::new().wait_for(promise);
}
