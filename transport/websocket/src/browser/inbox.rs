use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

use deltawire_channels::TransportMessage;
use deltawire_link::{ACKNOWLEDGEMENT_LEN, MAX_STREAM_MESSAGE, StreamMessageError};
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::prelude::*;

use super::WebSocketMisuse;

/// What may wait here, bytes: four messages of the longest kind. The driver is woken by each, and takes it before
/// the browser gives the next.
pub(super) const MAX_WAITING: usize = 256 << 10;

/// What came and was not taken yet, and what became of the socket: between the browser's events and the driver.
#[derive(Default)]
pub(super) struct Inbox {
    came: RefCell<VecDeque<Came>>,
    /// Bytes of `came`.
    waiting: Cell<usize>,
    open: Cell<bool>,
    closed: Cell<bool>,
    /// Nothing more is taken in.
    deaf: Cell<bool>,
    /// To be told once what came before is taken.
    end: RefCell<Option<Ended>>,
    driver: RefCell<Option<Waker>>,
}

/// A message.
pub(super) enum Came {
    /// One as short as an acknowledgement. By itself, so that it takes no memory of its own.
    Acknowledgement([u8; ACKNOWLEDGEMENT_LEN]),
    Message(TransportMessage),
}

/// Why nothing more comes.
pub(super) enum Ended {
    Closed,
    Misused(WebSocketMisuse),
}

impl Inbox {
    pub(super) fn attach(&self, driver: &Waker) {
        *self.driver.borrow_mut() = Some(driver.clone());
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.get()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn take(&self) -> Option<Came> {
        let came = self.came.borrow_mut().pop_front()?;
        self.waiting.set(self.waiting.get() - came.len());
        Some(came)
    }

    pub(super) fn take_end(&self) -> Option<Ended> {
        self.end.borrow_mut().take()
    }

    /// Forgets what waits, and takes in nothing more but that the socket closes.
    pub(super) fn deafen(&self) {
        self.deaf.set(true);
        self.waiting.set(0);
        self.came.borrow_mut().clear();
    }

    pub(super) fn opened(&self) {
        self.open.set(true);
        self.wake();
    }

    pub(super) fn closed(&self) {
        self.closed.set(true);
        self.end.borrow_mut().get_or_insert(Ended::Closed);
        self.wake();
    }

    /// Takes in what the socket gave: the one copy is from the browser's memory into wasm's.
    pub(super) fn receive(&self, data: &JsValue) {
        if self.deaf.get() {
            return;
        }
        match self.read(data) {
            Ok(came) => {
                self.waiting.set(self.waiting.get() + came.len());
                self.came.borrow_mut().push_back(came);
            }
            Err(misuse) => {
                // What came before is still taken.
                self.deaf.set(true);
                self.end.borrow_mut().get_or_insert(Ended::Misused(misuse));
            }
        }
        self.wake();
    }

    fn read(&self, data: &JsValue) -> Result<Came, WebSocketMisuse> {
        let buffer = data.dyn_ref::<ArrayBuffer>().ok_or(WebSocketMisuse::Text)?;
        let len = buffer.byte_length() as usize;
        if len > MAX_STREAM_MESSAGE {
            let (len, max) = (len as u64, MAX_STREAM_MESSAGE);
            return Err(StreamMessageError::TooLong { len, max }.into());
        }
        let waiting = self.waiting.get() + len;
        if waiting > MAX_WAITING {
            return Err(WebSocketMisuse::TooMuch { len: waiting, max: MAX_WAITING });
        }
        let bytes = Uint8Array::new(buffer);
        Ok(if len == ACKNOWLEDGEMENT_LEN {
            let mut acknowledgement = [0; ACKNOWLEDGEMENT_LEN];
            bytes.copy_to(&mut acknowledgement);
            Came::Acknowledgement(acknowledgement)
        } else {
            Came::Message(TransportMessage::filled_by(len, |room| bytes.copy_to(room)))
        })
    }

    fn wake(&self) {
        let driver = self.driver.borrow().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }
}

impl Came {
    /// Bytes.
    fn len(&self) -> usize {
        match self {
            Self::Acknowledgement(bytes) => bytes.len(),
            Self::Message(message) => message.len(),
        }
    }
}
