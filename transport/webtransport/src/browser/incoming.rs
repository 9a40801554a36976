//! What the server says on one stream.

use std::task::{Context, Poll};

use deltawire_channels::{PartialMessage, TransportMessage};
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::WebTransportMisuse;
use super::bindings::{Came, Readable, Reader};
use super::promised::Promised;

/// What the browser is given to read into, bytes: as much as it fills at a time.
const MEMORY: u32 = 64 << 10;

/// The longest message that is taken, bytes.
pub(super) const MAX_MESSAGE: usize = 65_535;

/// The incoming half of a stream. Nothing is read before what came was taken.
pub(super) struct Incoming {
    reader: Reader,
    /// Whether the browser reads into memory that it is given.
    takes_memory: bool,
    reading: Promised,
    /// What came, in the browser's memory, and how far it was taken.
    chunk: Option<(Uint8Array, u32)>,
    /// The number that the stream has to begin with, until it has.
    number: Option<u8>,
    length: [u8; 4],
    /// Bytes of the length that came.
    have: usize,
    message: Option<PartialMessage>,
    /// The server says no more.
    over: bool,
}

/// Why nothing more comes.
pub(super) enum Lost {
    /// The browser says that the stream is gone.
    Gone,
    Misused(WebTransportMisuse),
}

impl Incoming {
    /// Of a stream that begins with this number; with messages, if it is `None`.
    pub(super) fn new(stream: &Readable, number: Option<u8>) -> Result<Self, JsValue> {
        let options = Object::new();
        Reflect::set(&options, &"mode".into(), &"byob".into())?;
        let (reader, takes_memory) = match stream.get_reader(&options) {
            Ok(reader) => (reader, true),
            Err(_) => (stream.get_reader(&JsValue::UNDEFINED)?, false),
        };
        Ok(Self {
            reader,
            takes_memory,
            reading: Promised::new(),
            chunk: None,
            number,
            length: [0; 4],
            have: 0,
            message: None,
            over: false,
        })
    }

    /// The next message, once it is there whole.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Result<Option<TransportMessage>, Lost> {
        loop {
            if let Some(message) = self.take().map_err(Lost::Misused)? {
                return Ok(Some(message));
            }
            if self.over {
                return Ok(None);
            }
            if !self.reading.waits() {
                // The memory of what was taken is used again.
                let memory = match (self.takes_memory, self.chunk.take()) {
                    (false, _) => JsValue::UNDEFINED,
                    (true, Some((taken, _))) => Uint8Array::new(&taken.buffer()).into(),
                    (true, None) => Uint8Array::new_with_length(MEMORY).into(),
                };
                self.reading.wait_for(self.reader.read(&memory));
            }
            match self.reading.poll(context) {
                Poll::Pending => return Ok(None),
                Poll::Ready(Err(_)) => return Err(Lost::Gone),
                Poll::Ready(Ok(came)) => {
                    let came: Came = came.unchecked_into();
                    self.over = came.done();
                    self.chunk = came.value().dyn_into().ok().map(|chunk| (chunk, 0));
                }
            }
        }
    }

    /// Reads no more.
    pub(super) fn deafen(&mut self) {
        self.over = true;
        self.chunk = None;
    }

    /// Takes what came until a message is whole: each byte is copied once, to where it belongs.
    fn take(&mut self) -> Result<Option<TransportMessage>, WebTransportMisuse> {
        let Some((chunk, at)) = &mut self.chunk else { return Ok(None) };
        let len = chunk.length();
        // What comes next in the chunk, of so many bytes that are wanted.
        let mut next = |wanted: usize| {
            let begin = *at;
            *at = len.min(begin.saturating_add(u32::try_from(wanted).unwrap_or(u32::MAX)));
            chunk.subarray(begin, *at)
        };
        if let Some(expected) = self.number {
            let part = next(1);
            if part.length() == 0 {
                return Ok(None);
            }
            let number = part.get_index(0);
            if number != expected {
                return Err(WebTransportMisuse::Number { number, expected });
            }
            self.number = None;
        }
        loop {
            if let Some(message) = &mut self.message {
                let part = next(message.missing());
                message.fill(part.length() as usize, |room| part.copy_to(room));
                if message.missing() > 0 {
                    return Ok(None);
                }
                return Ok(self.message.take().map(PartialMessage::into_message));
            }
            let Some(room) = self.length.get_mut(self.have..) else { return Ok(None) };
            let part = next(room.len());
            let came = part.length() as usize;
            part.copy_to(room.get_mut(..came).unwrap_or_default());
            self.have += came;
            if self.have < self.length.len() {
                return Ok(None);
            }
            let len = u32::from_le_bytes(self.length);
            if !(1..=MAX_MESSAGE).contains(&(len as usize)) {
                return Err(WebTransportMisuse::Length { len, max: MAX_MESSAGE });
            }
            self.have = 0;
            self.message = Some(PartialMessage::new(len as usize));
        }
    }
}
