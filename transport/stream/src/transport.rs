//! A link's transport over a stream of bytes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BufMut;
use deltawire_channels::TransportMessage;
use deltawire_framing::Channel;
use deltawire_link::{
    Acknowledgements, Capabilities, Fault, InFlight, MAX_STREAM_MESSAGE, MessageTransport, Output,
    STREAM_QUEUE, TransportError, TransportErrorKind,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::framing::{Framing, FramingError, PieceKind};
use crate::reader::{Item, Reader};
use crate::writer::{Writer, push};

/// What is read with one call, bytes.
const READ: usize = 64 << 10;

/// If so much of a message is missing, it is read to where it belongs; less is read together with what comes
/// behind it. Bytes.
const IN_PLACE: usize = 8 << 10;

/// What may wait to be sent before pings are no longer answered, and acknowledgements wait, bytes.
const UNPACED: usize = 4 << 10;

/// Messages for which there is room at all times.
const KEPT_ITEMS: usize = 128;

/// What is read and thrown away at a time from a peer that is not heard any more, bytes: what is unread as a link hangs up would have the system tell the peer
/// that the link broke, and throw away what the peer has not read.
const DISCARD: usize = 1 << 20;

thread_local! {
    /// What is read goes from here to where it belongs before anything else is done.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Messages of both channels over one stream.
///
/// It wakes its driver. At most [`MAX_STREAM_MESSAGE`] bytes of a message are held until it is whole, what one
/// read gave until it is taken, and what the system does not take until it does: no more than may be in flight.
#[derive(Debug)]
pub struct StreamTransport<S, F> {
    stream: S,
    kind: &'static str,
    reader: Reader<F>,
    writer: Writer,
    acknowledgements: Acknowledgements,
    items: VecDeque<Item>,
    prefix: Vec<u8>,
    /// What the peer asked last, to be answered when there is room.
    ping: Option<Vec<u8>>,
    driver: Waker,
    now: Duration,
    reading: Reading,
    /// What went wrong in writing: to be told once what came is taken.
    write_error: Option<io::Error>,
    told_open: bool,
    told_closed: bool,
}

#[derive(Debug)]
enum Reading {
    Open,
    /// The peer hung up, or broke off.
    Ended,
    /// It failed; to be told once what came before is taken.
    Failed(TransportError),
    /// The peer broke a rule, and nothing more is heard.
    Deaf,
}

impl<S, F> StreamTransport<S, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Framing,
{
    /// Messages over a stream that is open, in this framing; `kind` is what links over it are
    /// [called](deltawire_link::Link::kind).
    pub fn new(kind: &'static str, stream: S, framing: F) -> Self {
        Self {
            stream,
            kind,
            reader: Reader::new(framing),
            writer: Writer::default(),
            acknowledgements: Acknowledgements::default(),
            items: VecDeque::new(),
            prefix: Vec::new(),
            ping: None,
            driver: Waker::noop().clone(),
            now: Duration::ZERO,
            reading: Reading::Open,
            write_error: None,
            told_open: false,
            told_closed: false,
        }
    }

    /// The same, with bytes that were read from the stream before.
    #[must_use]
    pub fn with_read(mut self, bytes: &[u8]) -> Self {
        if let Err(error) = self.reader.feed(bytes, &mut self.items) {
            self.reading = Reading::Failed(misused(error));
        }
        self
    }

    /// Reads once. Says whether something came.
    fn read(&mut self) -> bool {
        let mut context = Context::from_waker(&self.driver);
        let polled = match self.reader.missing() {
            Some((message, missing)) if missing >= IN_PLACE => {
                let mut room = message.limit(missing);
                let reading = pin!(self.stream.read_buf(&mut room)).poll(&mut context);
                reading.map_ok(|len| {
                    self.reader.filled(len, &mut self.items);
                    (len, Ok(()))
                })
            }
            _ => SCRATCH.with_borrow_mut(|scratch| {
                let mut scratch = ReadBuf::new(scratch);
                let polled = Pin::new(&mut self.stream).poll_read(&mut context, &mut scratch);
                polled.map_ok(|()| {
                    let bytes = scratch.filled();
                    (bytes.len(), self.reader.feed(bytes, &mut self.items))
                })
            }),
        };
        match polled {
            Poll::Pending => return false,
            Poll::Ready(Ok((0, _))) => self.reading = Reading::Ended,
            Poll::Ready(Ok((_, Ok(())))) => {}
            Poll::Ready(Ok((_, Err(error)))) => self.reading = Reading::Failed(misused(error)),
            Poll::Ready(Err(error)) => self.reading = broken(error),
        }
        true
    }

    /// Has the system take what waits; what goes wrong shows in reading too.
    fn flush(&mut self) {
        self.hand_on();
        // Behind that, as what was gathered takes its room.
        if self.has_room()
            && let Some(ping) = self.ping.take()
        {
            self.writer.push(self.reader.framing_mut(), PieceKind::Pong, &ping);
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        let mut context = Context::from_waker(&self.driver);
        let sent = self.writer.flush(&mut self.stream, &mut context);
        self.note(sent);
    }

    fn note(&mut self, sent: io::Result<()>) {
        if let Err(error) = sent {
            tracing::debug!(%error, "a stream takes no more");
            self.write_error.get_or_insert(error);
        }
    }

    /// Throws away what comes, so that the end of the stream is seen.
    fn discard(&mut self) {
        let mut context = Context::from_waker(&self.driver);
        let mut discarded = 0;
        while discarded < DISCARD {
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let mut scratch = ReadBuf::new(scratch);
                let polled = Pin::new(&mut self.stream).poll_read(&mut context, &mut scratch);
                polled.map_ok(|()| scratch.filled().len())
            });
            match read {
                Poll::Pending => return,
                Poll::Ready(Ok(len)) if len > 0 => discarded += len,
                Poll::Ready(_) => {
                    self.reading = Reading::Ended;
                    return;
                }
            }
        }
        // There is more, and nobody else says so.
        self.driver.wake_by_ref();
    }

    /// Whether there is room for what no pacing bounds.
    fn has_room(&self) -> bool {
        self.writer.len() < UNPACED
    }

    fn acknowledge(&mut self) {
        if let Some(acknowledgement) = self.acknowledgements.to_send() {
            let framing = self.reader.framing_mut();
            self.writer.push(framing, PieceKind::Message, &acknowledgement);
        }
    }

    /// Says that this side hangs up, where there is a word for that.
    fn say_farewell(&mut self) {
        let framing = self.reader.framing_mut();
        if let Some(farewell) = framing.farewell() {
            self.writer.push(framing, PieceKind::Close, farewell);
        }
    }

    /// What came next, if anything did.
    fn take(&mut self) -> Result<Option<Output>, TransportError> {
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Message(message) => {
                    let channel = self.acknowledgements.take(&message, self.now);
                    match channel.map_err(|error| misused(error.into()))? {
                        Some(channel) => {
                            let message = TransportMessage::from(message);
                            return Ok(Some(Output::Message(channel, message)));
                        }
                        None => self.reader.reuse(message),
                    }
                }
                Item::Ping(ping) => self.ping = Some(ping),
                Item::Close => {
                    self.items.clear();
                    self.reading = Reading::Ended;
                    self.say_farewell();
                }
            }
        }
        if self.items.capacity() > KEPT_ITEMS {
            self.items = VecDeque::new();
        }
        Ok(None)
    }
}

impl<S, F> MessageTransport for StreamTransport<S, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Framing,
{
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(MAX_STREAM_MESSAGE, InFlight::Acknowledged);
        capabilities.kind = self.kind;
        capabilities.queue = STREAM_QUEUE;
        capabilities.wakes = true;
        capabilities
    }

    fn attach(&mut self, driver: &Waker) {
        self.driver = driver.clone();
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.now = now;
    }

    fn poll_output(&mut self) -> Result<Output, TransportError> {
        if !self.told_open {
            self.told_open = true;
            return Ok(Output::Open);
        }
        loop {
            match self.take() {
                Ok(Some(output)) => return Ok(output),
                Ok(None) => {}
                Err(error) => {
                    self.items.clear();
                    self.reading = Reading::Deaf;
                    return Err(error);
                }
            }
            if !matches!(self.reading, Reading::Open) || !self.read() {
                break;
            }
        }
        if matches!(self.reading, Reading::Deaf) {
            self.discard();
        }
        if self.acknowledgements.is_due(self.now) {
            if !self.has_room() {
                // What was gathered takes room only until it is handed on.
                self.hand_on();
            }
            if self.has_room() {
                self.acknowledge();
            }
        }
        self.flush();
        if let Some(error) = self.write_error.take()
            && matches!(self.reading, Reading::Open)
        {
            self.reading = broken(error);
        }
        match &self.reading {
            Reading::Ended if !self.told_closed => {
                self.told_closed = true;
                Ok(Output::Closed)
            }
            Reading::Failed(error) => {
                let error = error.clone();
                self.reading = Reading::Deaf;
                Err(error)
            }
            // Held back until the system takes more, which wakes.
            _ if !self.has_room() => Ok(Output::Timeout(None)),
            _ => Ok(Output::Timeout(self.acknowledgements.poll_timeout())),
        }
    }

    fn write(&mut self, _channel: Channel, message: &[u8]) -> Result<bool, TransportError> {
        self.acknowledgements.wrote(message.len());
        self.prefix.clear();
        if let Some(acknowledgement) = self.acknowledgements.to_send() {
            let framing = self.reader.framing_mut();
            push(&mut self.prefix, framing, PieceKind::Message, &acknowledgement);
        }
        let mut context = Context::from_waker(&self.driver);
        let Self { stream, reader, writer, prefix, .. } = self;
        let sent = writer.send(stream, &mut context, reader.framing_mut(), prefix, message);
        self.note(sent);
        Ok(true)
    }

    fn in_flight(&mut self) -> usize {
        match self.reading {
            // What was not sent cannot have come, whatever the peer says.
            Reading::Open => self.acknowledgements.in_flight().max(self.writer.len()),
            // Nobody will say.
            _ => self.writer.len(),
        }
    }

    fn close(&mut self) {
        self.acknowledge();
        if !matches!(self.reading, Reading::Ended) {
            self.say_farewell();
        }
        self.flush();
        let mut context = Context::from_waker(&self.driver);
        let _ = Pin::new(&mut self.stream).poll_shutdown(&mut context);
        if matches!(self.reading, Reading::Open | Reading::Deaf) {
            self.discard();
        }
        self.reading = Reading::Ended;
        self.told_closed = true;
    }
}

/// Everybody can still be told.
fn misused(error: FramingError) -> TransportError {
    TransportError::new(TransportErrorKind::Protocol, Fault::Peer, error).with_channels_kept()
}

/// A peer whose process or network is gone hung up, as far as can be told.
fn broken(error: io::Error) -> Reading {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Reading::Ended,
        _ => {
            Reading::Failed(TransportError::new(TransportErrorKind::Failed, Fault::Unknown, error))
        }
    }
}
