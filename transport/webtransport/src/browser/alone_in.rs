//! Deltas of the server's that may overtake each other: a stream for each message, or a datagram.

use std::task::{Context, Poll};

use deltawire_channels::{PartialMessage, TransportMessage};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::WebTransportMisuse;
use super::bindings::{Came, Readable, Reader, WebTransport};
use super::incoming::{Lost, MAX_MESSAGE};
use super::promised::Promised;
use crate::{ALONE, FROM_ACCEPTOR};

/// Streams that are read at a time; further ones wait in the browser, which bounds them.
const MAX_STREAMS: usize = 256;

/// Pieces of a message that the browser gave: more are put together.
const MAX_PARTS: usize = 16;

/// What the server sends by itself.
pub(super) struct AloneIn {
    streams: Reader,
    accepting: Promised,
    reading: Vec<Reading>,
    datagrams: Reader,
    datagram: Promised,
    /// The stream of deltas in order, which has none here.
    in_order: Option<Reader>,
    /// Of streams that are over.
    spare: Vec<Promised>,
    over: bool,
}

struct Reading {
    reader: Reader,
    promised: Promised,
    /// Whether its number came.
    begun: bool,
    parts: Vec<Uint8Array>,
    len: usize,
}

/// What came of a stream.
enum Step {
    Waits,
    Message(TransportMessage),
    /// It is that of deltas in order.
    InOrder,
    /// It was given up.
    GivenUp,
}

impl AloneIn {
    pub(super) fn new(session: &WebTransport) -> Result<Self, JsValue> {
        let reader = |stream: Readable| stream.get_reader(&JsValue::UNDEFINED);
        Ok(Self {
            streams: reader(session.incoming_unidirectional_streams())?,
            accepting: Promised::new(),
            reading: Vec::new(),
            datagrams: reader(session.datagrams().readable())?,
            datagram: Promised::new(),
            in_order: None,
            spare: Vec::new(),
            over: false,
        })
    }

    /// The next message that is there whole.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<Option<TransportMessage>, Lost> {
        if self.over {
            return Ok(None);
        }
        if let Some(message) = self.poll_datagrams(context)? {
            return Ok(Some(message));
        }
        self.accept(context)?;
        let mut index = 0;
        while let Some(reading) = self.reading.get_mut(index) {
            let step = reading.poll(context).map_err(Lost::Misused)?;
            if matches!(step, Step::Waits) {
                index += 1;
                continue;
            }
            let over = self.reading.swap_remove(index);
            self.spare.push(over.promised);
            match step {
                Step::Message(message) => return Ok(Some(message)),
                Step::InOrder if self.in_order.is_some() => {
                    let (number, expected) = (FROM_ACCEPTOR, ALONE);
                    return Err(Lost::Misused(WebTransportMisuse::Number { number, expected }));
                }
                Step::InOrder => self.in_order = Some(over.reader),
                Step::Waits | Step::GivenUp => {}
            }
        }
        Ok(None)
    }

    /// Reads no more.
    pub(super) fn deafen(&mut self) {
        self.over = true;
        self.reading.clear();
    }

    fn poll_datagrams(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<Option<TransportMessage>, Lost> {
        if !self.datagram.waits() {
            self.datagram.wait_for(self.datagrams.read(&JsValue::UNDEFINED));
        }
        match self.datagram.poll(context) {
            Poll::Ready(Ok(came)) => {
                let came: Came = came.unchecked_into();
                let Ok(bytes) = came.value().dyn_into::<Uint8Array>() else { return Ok(None) };
                let len = bytes.length() as usize;
                whole(&[bytes], len).map(Some).map_err(Lost::Misused)
            }
            Poll::Ready(Err(_)) => Err(Lost::Gone),
            Poll::Pending => Ok(None),
        }
    }

    fn accept(&mut self, context: &mut Context<'_>) -> Result<(), Lost> {
        while self.reading.len() < MAX_STREAMS {
            if !self.accepting.waits() {
                self.accepting.wait_for(self.streams.read(&JsValue::UNDEFINED));
            }
            let Poll::Ready(came) = self.accepting.poll(context) else { return Ok(()) };
            let Ok(came) = came.map(JsCast::unchecked_into::<Came>) else {
                return Err(Lost::Gone);
            };
            if came.done() {
                return Err(Lost::Gone);
            }
            let stream: Readable = came.value().unchecked_into();
            let Ok(reader) = stream.get_reader(&JsValue::UNDEFINED) else { continue };
            let promised = self.spare.pop().unwrap_or_else(Promised::new);
            self.reading.push(Reading {
                reader,
                promised,
                begun: false,
                parts: Vec::new(),
                len: 0,
            });
        }
        Ok(())
    }
}

impl Reading {
    fn poll(&mut self, context: &mut Context<'_>) -> Result<Step, WebTransportMisuse> {
        loop {
            if !self.promised.waits() {
                self.promised.wait_for(self.reader.read(&JsValue::UNDEFINED));
            }
            let came = match self.promised.poll(context) {
                Poll::Pending => return Ok(Step::Waits),
                Poll::Ready(Err(_)) => return Ok(Step::GivenUp),
                Poll::Ready(Ok(came)) => came.unchecked_into::<Came>(),
            };
            if came.done() {
                // One that ended before its number was given up as well.
                return if self.begun {
                    whole(&self.parts, self.len).map(Step::Message)
                } else {
                    Ok(Step::GivenUp)
                };
            }
            let Ok(mut part) = came.value().dyn_into::<Uint8Array>() else { continue };
            if !self.begun && part.length() > 0 {
                match part.get_index(0) {
                    ALONE => part = part.subarray(1, part.length()),
                    FROM_ACCEPTOR => return Ok(Step::InOrder),
                    number => return Err(WebTransportMisuse::Number { number, expected: ALONE }),
                }
                self.begun = true;
            }
            self.len += part.length() as usize;
            if self.len > MAX_MESSAGE {
                return Err(too_long(self.len));
            }
            if part.length() > 0 {
                self.parts.push(part);
            }
            if self.parts.len() > MAX_PARTS {
                self.put_together();
            }
        }
    }
}

impl Reading {
    fn put_together(&mut self) {
        let all = Uint8Array::new_with_length(u32::try_from(self.len).unwrap_or(u32::MAX));
        let mut at = 0;
        for part in self.parts.drain(..) {
            all.set(&part, at);
            at += part.length();
        }
        self.parts.push(all);
    }
}

/// One message of its parts: each byte is copied once.
fn whole(parts: &[Uint8Array], len: usize) -> Result<TransportMessage, WebTransportMisuse> {
    if !(1..=MAX_MESSAGE).contains(&len) {
        return Err(too_long(len));
    }
    let mut message = PartialMessage::new(len);
    for part in parts {
        message.fill(part.length() as usize, |room| part.copy_to(room));
    }
    Ok(message.into_message())
}

fn too_long(len: usize) -> WebTransportMisuse {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    WebTransportMisuse::Length { len, max: MAX_MESSAGE }
}
