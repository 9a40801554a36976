//! What this side says on one stream.

use std::task::{Context, Poll};

use wasm_bindgen::prelude::*;

use super::bindings::{Writable, Writer};
use super::promised::Promised;

/// The outgoing half of a stream. What was written waits in one piece until the browser has taken what went before: it is
/// asked for room once for all of that, and takes its copy of wasm's memory at once only if nothing is before it.
pub(super) struct Outgoing {
    writer: Writer,
    waiting: Vec<u8>,
    /// What the browser takes just now.
    taken: Vec<u8>,
    /// For the browser to have taken it, and in the end for the server to have everything.
    promised: Promised,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// Nothing more is written.
    Finishing,
    /// The browser was told so.
    Closing,
    /// The server has everything, as far as the browser knows, or takes nothing more.
    Over,
}

/// The browser says that the stream is gone.
pub(super) struct Gone;

impl Outgoing {
    /// Of a stream that begins with this number.
    pub(super) fn new(stream: &Writable, number: u8) -> Result<Self, JsValue> {
        Ok(Self {
            writer: stream.get_writer()?,
            waiting: vec![number],
            taken: Vec::new(),
            promised: Promised::new(),
            end: End::Open,
        })
    }

    /// Takes a message over, behind its length.
    pub(super) fn push(&mut self, message: &[u8]) {
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.waiting.extend_from_slice(&len.to_le_bytes());
        self.waiting.extend_from_slice(message);
    }

    /// Bytes that the browser has not taken.
    pub(super) fn in_flight(&self) -> usize {
        self.waiting.len() + self.taken.len()
    }

    /// Hands on what waits, if the browser has taken what went before.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Result<(), Gone> {
        loop {
            if self.promised.waits() {
                match self.promised.poll(context) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(_) if self.end == End::Closing => self.end = End::Over,
                    Poll::Ready(Err(_)) => return Err(Gone),
                    Poll::Ready(Ok(_)) => self.taken.clear(),
                }
            }
            if !self.waiting.is_empty() {
                std::mem::swap(&mut self.waiting, &mut self.taken);
                self.promised.wait_for(self.writer.write(&self.taken));
            } else if self.end == End::Finishing {
                self.end = End::Closing;
                self.promised.wait_for(self.writer.finish());
            } else {
                return Ok(());
            }
        }
    }

    /// Notes that nothing more is written. Says whether the server has everything.
    pub(super) fn finish(&mut self) -> bool {
        if self.end == End::Open {
            self.end = End::Finishing;
        }
        self.end == End::Over
    }
}
