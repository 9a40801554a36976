//! How a session is carried.

use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::{
    Capabilities, Delivers, InFlight, MessageTransport, Output, Queue, TransportError,
};

use super::SctpTransport;
use crate::association::Sctp;
use crate::config::{MAX_QUEUE, QUEUE_TIME};
use crate::{MAX_MESSAGE_LEN, SctpError, stream};

/// What links over SCTP are called.
const KIND: &str = "sctp";

impl MessageTransport for SctpTransport {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(MAX_MESSAGE_LEN, InFlight::Acknowledged);
        capabilities.kind = KIND;
        capabilities.delivers = Delivers::AsAsked;
        let most = self.burst.min(MAX_QUEUE) as usize;
        capabilities.queue = Queue { time: QUEUE_TIME, certain: 0, most };
        capabilities
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let now = self.now;
        self.stack.with(|stack| {
            if stack.sctp.poll_timeout().is_some_and(|at| at <= now) {
                stack.sctp.handle_timeout(now);
            }
        });
        self.note_in_flight();
        let round_trip = self.stack.with(|stack| stack.sctp.round_trip()).flatten();
        if self.recovery.handle_timeout(round_trip, now) {
            self.stack.with(|stack| stack.sctp.retransmit());
        }
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        loop {
            if let Some(output) = self.poll()? {
                return Ok(output);
            }
        }
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        let number = stream(self.role, channel);
        if !self.opened || self.closed {
            return Err(SctpError::Stack("it is not open".to_owned()).into());
        }
        let (now, most) = (self.now, self.max_buffered);
        let written = self.stack.with(|stack| {
            if stack.sctp.in_flight() + message.len() > most {
                return Ok(false);
            }
            stack.sctp.write(number, message, now).map(|()| true)
        });
        let written = match written {
            Some(written) => written.map_err(SctpError::Stack)?,
            None => return Err(self.panicked().into()),
        };
        self.note_in_flight();
        Ok(written)
    }

    fn in_flight(&mut self) -> usize {
        self.stack.with(|stack| stack.sctp.in_flight()).unwrap_or(0)
    }

    fn waiting(&mut self) -> Option<usize> {
        // What is given up before it was sent is not told.
        if !self.recovery.is_reliable() {
            return None;
        }
        self.stack.with(|stack| stack.sctp.waiting())
    }

    fn close(&mut self) {
        self.hang_up(None);
    }
}
