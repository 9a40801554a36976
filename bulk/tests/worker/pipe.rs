//! A transport within one worker: a browser has no listening sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use deltawire_channels::TransportMessage;
use deltawire_framing::Channel;
use deltawire_link::{Capabilities, InFlight, MessageTransport, Output, TransportError};

const MAX_MESSAGE_LEN: usize = 64 << 10;

/// What may be on its way, bytes.
const BUFFER: usize = 256 << 10;

/// One direction.
#[derive(Default)]
struct Way {
    messages: VecDeque<(Channel, Vec<u8>)>,
    bytes: usize,
    closed: bool,
    wakers: [Option<Waker>; 2],
}

impl Way {
    fn wake(&self) {
        self.wakers.iter().flatten().for_each(Waker::wake_by_ref);
    }
}

/// One end.
pub(crate) struct Pipe {
    out: Rc<RefCell<Way>>,
    into: Rc<RefCell<Way>>,
    told_open: bool,
    told_closed: bool,
}

/// Breaks a pipe.
pub(crate) struct Cut([Rc<RefCell<Way>>; 2]);

pub(crate) fn pair() -> (Pipe, Pipe, Cut) {
    let ways: [Rc<RefCell<Way>>; 2] = Default::default();
    let [there, back] = ways.clone();
    let end = |out, into| Pipe { out, into, told_open: false, told_closed: false };
    (end(there.clone(), back.clone()), end(back, there), Cut(ways))
}

impl Cut {
    pub(crate) fn cut(self) {
        for way in self.0 {
            let mut way = way.borrow_mut();
            (way.closed, way.bytes) = (true, 0);
            way.messages.clear();
            way.wake();
        }
    }
}

impl MessageTransport for Pipe {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities =
            Capabilities::new(MAX_MESSAGE_LEN, InFlight::HandedOn { max: BUFFER });
        capabilities.wakes = true;
        capabilities
    }

    fn attach(&mut self, driver: &Waker) {
        self.out.borrow_mut().wakers[0] = Some(driver.clone());
        self.into.borrow_mut().wakers[1] = Some(driver.clone());
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if !self.told_open {
            self.told_open = true;
            return Ok(Output::Open);
        }
        let mut into = self.into.borrow_mut();
        if let Some((channel, message)) = into.messages.pop_front() {
            into.bytes -= message.len();
            into.wake();
            return Ok(Output::Message(channel, TransportMessage::from(message)));
        }
        if into.closed && !self.told_closed {
            self.told_closed = true;
            return Ok(Output::Closed);
        }
        Ok(Output::Timeout(None))
    }

    fn write(&mut self, channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        let mut out = self.out.borrow_mut();
        if !out.closed {
            out.bytes += message.len();
            out.messages.push_back((channel, message.to_vec()));
            out.wake();
        }
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        self.out.borrow().bytes
    }

    fn close(&mut self) {
        let mut out = self.out.borrow_mut();
        out.closed = true;
        out.wake();
    }
}
