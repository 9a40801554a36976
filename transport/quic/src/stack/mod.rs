//! One connection of quinn-proto's: its streams, and what comes and goes on them.

mod beyond;
#[cfg(feature = "webtransport")]
mod browsing;
mod carrying;
mod sending;

use std::net::SocketAddr;
#[cfg(feature = "webtransport")]
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deltawire_channels::TransportMessage;
use deltawire_framing::Channel;
use deltawire_framing::control::Role;
use deltawire_link::{Output, TransportError};
#[cfg(feature = "webtransport")]
use deltawire_webtransport::Rules;
use quinn_proto::{Connection, Dir, Event, StreamEvent, StreamId};

use self::beyond::Beyond;
#[cfg(feature = "webtransport")]
use crate::http3::{self, Http3};
use crate::messages::{self, Incoming, Outgoing};
use crate::progress::Progress;
use crate::reader::{Read, Reader};
use crate::trust::Verdict;
use crate::writer::Writer;
use crate::{BROKEN, CLOSED, PeerEvent, QuicConfig, QuicError, REFUSED};

/// A connection, as what carries a session.
pub(crate) struct Stack {
    connection: Connection,
    role: Role,
    config: QuicConfig,
    start: Instant,
    now: Instant,
    local: SocketAddr,
    /// Datagrams that the socket takes with one call.
    max_segments: usize,
    /// What was wrong with the server's certificate.
    verdict: Option<Verdict>,
    /// Of the initiator, what it will show; of the acceptor, what its peer has shown.
    token: Option<Vec<u8>>,
    admitted: bool,
    command_out: Option<Writer>,
    command_in: Option<Reader>,
    data_out: Option<Writer>,
    data_in: Option<Reader>,
    /// Deltas that go by themselves.
    messages_out: Option<Outgoing>,
    messages_in: Option<Incoming>,
    told_open: bool,
    /// How it was lost, until that is told; what came before is told first.
    lost: Option<Option<QuicError>>,
    /// Whether this side has closed it, or it was lost.
    closed: bool,
    /// Whether nothing more is written.
    finishing: bool,
    /// Frames of the peer's so far.
    frames: u64,
    progress: Progress,
    beyond: Beyond,
    /// What browsers have to keep to, if they may connect.
    #[cfg(feature = "webtransport")]
    rules: Option<Arc<Rules>>,
    /// What stands around the link of a browser's.
    #[cfg(feature = "webtransport")]
    http3: Option<Box<Http3>>,
}

/// Where a connection lies, and who has begun it.
pub(crate) struct Place {
    pub(crate) role: Role,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) local: SocketAddr,
    pub(crate) max_segments: usize,
    #[cfg(feature = "webtransport")]
    pub(crate) rules: Option<Arc<Rules>>,
}

/// That of the stream of commands; the others have 0.
const COMMAND_PRIORITY: i32 = 2;

impl Stack {
    pub(crate) fn new(
        connection: Connection,
        config: QuicConfig,
        place: Place,
        verdict: Option<Verdict>,
        token: Option<Vec<u8>>,
        progress: Progress,
    ) -> Self {
        let Place { role, start, now, local, max_segments, .. } = place;
        let [send, receive] =
            config.deliveries(role).map(|it| Some(it).filter(|it| messages::go_alone(*it)));
        Self {
            connection,
            role,
            config,
            start,
            now,
            local,
            max_segments,
            verdict,
            token,
            admitted: role == Role::Initiator,
            command_out: None,
            command_in: None,
            data_out: None,
            data_in: None,
            messages_out: send.map(Outgoing::new),
            messages_in: receive.map(|_| Incoming::new(config.max_message_len)),
            told_open: false,
            lost: None,
            closed: false,
            finishing: false,
            frames: 0,
            progress,
            beyond: Beyond::default(),
            #[cfg(feature = "webtransport")]
            rules: place.rules,
            #[cfg(feature = "webtransport")]
            http3: None,
        }
    }

    /// Takes in what the endpoint says is this connection's.
    pub(crate) fn handle_event(&mut self, event: PeerEvent) {
        self.now = self.now.max(event.at);
        self.beyond.heard();
        self.connection.handle_event(event.event);
    }

    /// What the endpoint is to be told.
    pub(crate) fn poll_endpoint_event(&mut self) -> Option<quinn_proto::EndpointEvent> {
        loop {
            let event = self.connection.poll_endpoint_events()?;
            // The endpoint forgets it when it is told to, once.
            if !event.is_drained() {
                return Some(event);
            }
        }
    }

    /// Where the peer is.
    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// What the peer shows to be let in, once that has come: empty if it shows nothing. Of who accepts.
    pub(crate) fn take_token(&mut self) -> Option<Vec<u8>> {
        if self.role == Role::Acceptor { self.token.take() } else { None }
    }

    /// Lets the peer in.
    pub(crate) fn admit(&mut self) {
        if !self.admitted && !self.closed {
            self.admitted = true;
            self.connection.set_receive_window(self.config.receive_window());
            #[cfg(feature = "webtransport")]
            if let Some(http3) = &mut self.http3 {
                self.data_out = http3.admit(&mut self.connection);
                self.take_messages(http3::MAX_UNIDIRECTIONAL);
                return;
            }
            self.take_messages(1);
            self.open_data(2);
        }
    }

    /// Lets the peer open streams with a message each, beside so many others.
    fn take_messages(&mut self, others: u32) {
        if self.messages_in.is_some() {
            let streams = others + messages::MAX_STREAMS;
            self.connection.set_max_concurrent_streams(Dir::Uni, streams.into());
        }
    }

    /// Does not let the peer in, and tells it why.
    pub(crate) fn refuse(&mut self, reason: &str) {
        #[cfg(feature = "webtransport")]
        if let Some(http3) = &mut self.http3
            && http3.refuse(&mut self.connection)
        {
            return;
        }
        self.give_up(reason);
    }

    /// Closes it, because the peer was not let in.
    pub(crate) fn give_up(&mut self, reason: &str) {
        self.close_with(REFUSED, reason);
    }

    /// Whether the peer has shown that it is where it says.
    pub(crate) fn is_validated(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// How many datagrams go in one call from here on.
    pub(crate) fn set_max_segments(&mut self, max_segments: usize) {
        self.max_segments = max_segments;
    }

    fn close_with(&mut self, code: u32, reason: &str) {
        if !self.closed {
            self.closed = true;
            let reason = Bytes::copy_from_slice(reason.as_bytes());
            #[cfg(feature = "webtransport")]
            let code = if self.http3.is_some() { http3::code(code) } else { code };
            self.connection.close(self.now, code.into(), reason);
        }
    }

    /// Ends it because of what the peer did.
    fn fail(&mut self, error: QuicError) -> TransportError {
        #[cfg(feature = "webtransport")]
        if let QuicError::Http3(broken) = &error
            && !std::mem::replace(&mut self.closed, true)
        {
            let reason = Bytes::from(error.to_string().into_bytes());
            self.connection.close(self.now, broken.code().into(), reason);
        }
        self.close_with(BROKEN, &error.to_string());
        self.lost = None;
        error.into()
    }

    fn at(&self, now: Duration) -> Instant {
        self.start.checked_add(now).unwrap_or(self.now).max(self.now)
    }

    fn open_data(&mut self, number: u8) {
        let Some(stream) = self.connection.streams().open(Dir::Uni) else { return };
        let mut writer = Writer::new(number, stream);
        // Nothing can stand in its way yet.
        let _ = writer.write(&mut self.connection, &[number]);
        self.data_out = Some(writer);
    }

    /// The handshake is over: opens what the initiator opens.
    fn connected(&mut self) {
        #[cfg(feature = "webtransport")]
        if let Some(http3) = &mut self.http3 {
            http3.begin(&mut self.connection);
        }
        if self.role == Role::Acceptor {
            return;
        }
        let max = self.config.max_message_len;
        if let Some(stream) = self.connection.streams().open(Dir::Bi) {
            let _ = self.connection.send_stream(stream).set_priority(COMMAND_PRIORITY);
            let token = self.token.take().unwrap_or_default();
            let mut writer = Writer::new(0, stream);
            let _ = writer.write(&mut self.connection, &[0]);
            let _ = writer.write_message(&mut self.connection, &token);
            self.command_out = Some(writer);
            self.command_in = Some(Reader::answering(0, stream, max));
        }
        self.open_data(1);
    }

    /// Takes the streams that the peer has opened.
    fn accept(&mut self, dir: Dir) -> Result<(), QuicError> {
        let max = self.config.max_message_len;
        while let Some(stream) = self.connection.streams().accept(dir) {
            #[cfg(feature = "webtransport")]
            if let Some(http3) = &mut self.http3 {
                http3.accept(dir, stream)?;
                continue;
            }
            let (number, reader) = match (dir, self.role) {
                (Dir::Bi, _) => (0, &mut self.command_in),
                (Dir::Uni, Role::Acceptor) => (1, &mut self.data_in),
                (Dir::Uni, Role::Initiator) => (2, &mut self.data_in),
            };
            if let (Dir::Uni, Some(_), Some(messages)) = (dir, &reader, &mut self.messages_in) {
                messages.accept(stream);
                continue;
            }
            if reader.is_some() {
                return Err(QuicError::Twice { number });
            }
            *reader = Some(Reader::numbered(number, stream, max));
            if dir == Dir::Bi {
                let _ = self.connection.send_stream(stream).set_priority(COMMAND_PRIORITY);
                self.command_out = Some(Writer::new(number, stream));
            }
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), QuicError> {
        let (browses, mut left) = (self.browses(), false);
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.connected(),
                #[cfg(feature = "webtransport")]
                Event::HandshakeDataReady => self.learn_protocol(),
                #[cfg(feature = "webtransport")]
                Event::ConnectionLost { reason } if self.http3.is_some() => {
                    self.lost = Some(QuicError::of_http3(&reason));
                    self.closed = true;
                }
                // Browsers only want to know that they may; and who was not let in says nothing yet.
                Event::DatagramReceived if !self.admitted || self.messages_in.is_none() => {
                    while self.connection.datagrams().recv().is_some() {}
                }
                Event::ConnectionLost { reason } => {
                    let verdict = self.verdict.as_ref().and_then(|verdict| verdict.get().cloned());
                    self.lost = Some(verdict.or_else(|| QuicError::of(&reason)));
                    self.closed = true;
                }
                Event::Stream(StreamEvent::Opened { dir }) => self.accept(dir)?,
                Event::Stream(StreamEvent::Readable { id }) => {
                    let mut readers = [&mut self.command_in, &mut self.data_in].into_iter();
                    if let Some(reader) =
                        readers.find_map(|it| it.as_mut().filter(|it| it.stream() == id))
                    {
                        reader.wake();
                    } else if let Some(messages) = &mut self.messages_in {
                        messages.wake(id);
                    }
                    #[cfg(feature = "webtransport")]
                    if let Some(http3) = &mut self.http3 {
                        http3.wake(id);
                    }
                }
                Event::Stream(StreamEvent::Finished { id }) if self.is_message(id) => {}
                // The peer does not want this one.
                Event::Stream(StreamEvent::Stopped { id, .. }) if self.is_message(id) => {
                    let _ = self.connection.send_stream(id).reset(0_u32.into());
                }
                Event::Stream(StreamEvent::Finished { id }) => {
                    if let Some(writer) = self.writer(id) {
                        writer.acknowledged();
                    }
                }
                Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                    let finishing = self.finishing;
                    match self.writer(id) {
                        Some(writer) if finishing => writer.acknowledged(),
                        Some(_) if browses => left = true,
                        Some(writer) => return Err(writer.stopped(error_code)),
                        None => {}
                    }
                }
                // What waits is tried each time.
                Event::Stream(StreamEvent::Writable { .. } | StreamEvent::Available { .. })
                | Event::DatagramsUnblocked
                | Event::DatagramReceived => {}
                #[cfg(not(feature = "webtransport"))]
                Event::HandshakeDataReady => {}
            }
        }
        #[cfg(feature = "webtransport")]
        self.read_http3()?;
        if left {
            self.leave();
        }
        Ok(())
    }

    /// Whether the peer is a browser: one that ends its session may stop and reset streams at once, which breaks no rule.
    fn browses(&self) -> bool {
        #[cfg(feature = "webtransport")]
        return self.http3.is_some();
        #[cfg(not(feature = "webtransport"))]
        false
    }

    /// The peer is gone: what came before is told first.
    fn leave(&mut self) {
        if !self.closed {
            self.lost = Some(None);
            self.close_with(CLOSED, "");
        }
    }

    /// Whether a stream carries a delta by itself, of which nothing more is to be sent.
    fn is_message(&mut self, stream: StreamId) -> bool {
        self.messages_out.as_mut().is_some_and(|messages| messages.acknowledged(stream))
    }

    fn writer(&mut self, stream: StreamId) -> Option<&mut Writer> {
        let mut writers = [&mut self.command_out, &mut self.data_out].into_iter();
        writers.find_map(|it| it.as_mut().filter(|it| it.stream() == stream))
    }

    /// Reads what stands before messages. Says whether both channels can be used.
    fn is_open(&mut self) -> Result<bool, QuicError> {
        for reader in [&mut self.command_in, &mut self.data_in].into_iter().flatten() {
            while !reader.is_begun() {
                match reader.read(&mut self.connection)? {
                    Read::Token(token) => self.token = Some(token),
                    Read::Nothing => break,
                    Read::Begun | Read::Message(_) => {}
                }
            }
        }
        let begun = |reader: &Option<Reader>| reader.as_ref().is_some_and(Reader::is_begun);
        Ok(self.admitted
            && begun(&self.command_in)
            && begun(&self.data_in)
            && self.command_out.is_some()
            && self.data_out.is_some())
    }

    fn next_message(&mut self) -> Result<Option<Output>, QuicError> {
        let (browses, mut left) = (self.browses(), false);
        let readers =
            [(Channel::Command, &mut self.command_in), (Channel::Data, &mut self.data_in)];
        for (channel, reader) in readers {
            let Some(reader) = reader else { continue };
            match reader.read(&mut self.connection) {
                Ok(Read::Message(message)) => {
                    return Ok(Some(Output::Message(channel, TransportMessage::from(message))));
                }
                Err(QuicError::Abandoned { .. }) if browses => left = true,
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        if let Some(messages) = &mut self.messages_in
            && let Some(message) = messages.next(&mut self.connection)?
        {
            return Ok(Some(Output::Message(Channel::Data, message)));
        }
        if left {
            self.leave();
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<Output>, QuicError> {
        self.take_events()?;
        let was_broken = self.closed && self.lost.is_none();
        if !was_broken && self.is_open()? {
            if !self.told_open {
                self.told_open = true;
                return Ok(Some(Output::Open));
            }
            if let Some(message) = self.next_message()? {
                return Ok(Some(message));
            }
        }
        match self.lost.take() {
            Some(Some(error)) => return Err(error),
            Some(None) => return Ok(Some(Output::Closed)),
            None => {}
        }
        if !self.closed {
            #[cfg(feature = "webtransport")]
            if let Some(http3) = &mut self.http3 {
                http3.flush(&mut self.connection);
            }
            self.flush()?;
            if self.finishing {
                self.finish_streams();
            }
        }
        Ok(self.transmit().map(Output::Transmit))
    }
}
