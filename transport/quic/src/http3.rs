//! A browser's connection: HTTP/3 as far as WebTransport needs it, around the streams of a link.

use std::sync::Arc;

use deltawire_webtransport::{
    Denied, FROM_ACCEPTOR, Part, Prologue, PrologueError, Request, Rules, StreamHead, StreamKind,
    wire,
};
use quinn_proto::{Connection, Dir, ReadError, StreamId};

use crate::QuicError;
use crate::writer::Writer;

/// Streams that are not known and are not read: an honest client has one or two, to see that they do no harm (RFC 9114,
/// section 6.2.3).
pub(crate) const MAX_UNKNOWN: usize = 16;

/// Unidirectional streams that a client may have open: HTTP/3's three, a link's, and some that are not known.
pub(crate) const MAX_UNIDIRECTIONAL: u32 = 8;

/// Bidirectional ones: that of the request, and a link's.
pub(crate) const MAX_BIDIRECTIONAL: u32 = 2;

/// Bytes of the client's datagrams that lie here until they are dropped: browsers want that there are some.
pub(crate) const DATAGRAMS: usize = 4 << 10;

/// H3_NO_ERROR, H3_STREAM_CREATION_ERROR and H3_REQUEST_REJECTED (RFC 9114, section 8.1).
pub(crate) const NO_ERROR: u32 = 0x100;
const STREAM_CREATION: u32 = 0x103;
const REJECTED: u32 = 0x10b;
/// H3_GENERAL_PROTOCOL_ERROR.
const PROTOCOL: u32 = 0x101;

/// What is HTTP/3's of a connection.
pub(crate) struct Http3 {
    prologue: Prologue,
    /// The client's streams that are HTTP/3's, or of which is not known yet what they are.
    reading: Vec<Reading>,
    unknown: usize,
    /// Whether there are streams with a message each, of which some are given up before it shows what they are.
    gives_up: bool,
    control: Option<Writer>,
    answer: Option<Writer>,
    /// What the client asks for, until it was taken.
    asked: Option<Result<Request, Denied>>,
    /// What it is told if it is not let in.
    status: u16,
    answered: bool,
}

struct Reading {
    stream: StreamId,
    is: Is,
    readable: bool,
}

#[derive(Clone, Copy)]
enum Is {
    Beginning(StreamHead),
    Part(Part),
}

/// What came of reading a stream.
enum Came {
    /// Nothing more for now.
    Nothing,
    /// It is a link's, of this number.
    Link(u8),
    /// It is of no use any more.
    Over,
    /// It was given up before it showed what it is.
    GivenUp,
}

/// How a stream ended.
enum Ended {
    No,
    Finished,
    Reset,
}

impl Http3 {
    /// `gives_up` if the client may send deltas that overtake each other.
    pub(crate) fn new(rules: Arc<Rules>, gives_up: bool) -> Self {
        Self {
            prologue: Prologue::new(rules),
            reading: Vec::new(),
            unknown: 0,
            gives_up,
            control: None,
            answer: None,
            asked: None,
            // The hub says by a reason why; that much a browser keeps from its page anyway.
            status: 403,
            answered: false,
        }
    }

    /// The handshake is over: says what this side does.
    pub(crate) fn begin(&mut self, connection: &mut Connection) {
        let Some(stream) = connection.streams().open(Dir::Uni) else { return };
        let mut writer = Writer::new(0, stream);
        // Nothing can stand in its way yet.
        let _ = writer.write(connection, &wire::control());
        self.control = Some(writer);
    }

    /// Takes a stream that the client has opened.
    pub(crate) fn accept(&mut self, dir: Dir, stream: StreamId) -> Result<(), QuicError> {
        let is = match (dir, stream.index()) {
            (Dir::Uni, _) => Is::Beginning(StreamHead::unidirectional()),
            (Dir::Bi, 0) => {
                self.prologue.open(Part::Request)?;
                self.answer = Some(Writer::new(0, stream));
                Is::Part(Part::Request)
            }
            (Dir::Bi, 1) => Is::Beginning(StreamHead::bidirectional()),
            (Dir::Bi, _) => return Err(QuicError::Extra),
        };
        self.reading.push(Reading { stream, is, readable: true });
        Ok(())
    }

    /// There may be something to read.
    pub(crate) fn wake(&mut self, stream: StreamId) {
        for reading in &mut self.reading {
            reading.readable |= reading.stream == stream;
        }
    }

    /// Reads what is there. Gives the next stream that turns out to be a link's, with its number.
    pub(crate) fn read(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<(StreamId, u8)>, QuicError> {
        let mut index = 0;
        while let Some(reading) = self.reading.get_mut(index) {
            let stream = reading.stream;
            let came = if reading.readable {
                Self::read_stream(&mut self.prologue, reading, connection)?
            } else {
                Came::Nothing
            };
            match came {
                Came::Nothing => index += 1,
                Came::Link(number) => {
                    self.reading.swap_remove(index);
                    return Ok(Some((stream, number)));
                }
                Came::GivenUp if self.gives_up => drop(self.reading.swap_remove(index)),
                Came::Over | Came::GivenUp => {
                    self.reading.swap_remove(index);
                    // Those of HTTP/3 do not end.
                    self.unknown += 1;
                    if self.unknown > MAX_UNKNOWN {
                        return Err(QuicError::Unknown { max: MAX_UNKNOWN });
                    }
                }
            }
        }
        if self.asked.is_none() {
            self.asked = self.prologue.take_request();
        }
        Ok(None)
    }

    fn read_stream(
        prologue: &mut Prologue,
        reading: &mut Reading,
        connection: &mut Connection,
    ) -> Result<Came, QuicError> {
        let stream = reading.stream;
        let mut received = connection.recv_stream(stream);
        let Ok(mut chunks) = received.read(true) else { return Ok(Came::Over) };
        let came = loop {
            // What follows a head may be a link's.
            let most = if matches!(reading.is, Is::Beginning(_)) { 1 } else { usize::MAX };
            let (bytes, ended) = match chunks.next(most) {
                Ok(Some(chunk)) => (chunk.bytes, Ended::No),
                Ok(None) => (Default::default(), Ended::Finished),
                Err(ReadError::Reset(_)) => (Default::default(), Ended::Reset),
                Err(ReadError::Blocked) => {
                    reading.readable = false;
                    break Ok(Came::Nothing);
                }
            };
            match Self::take(prologue, &mut reading.is, &bytes, ended) {
                Ok(None) => {}
                Ok(Some(came)) => break Ok(came),
                Err(error) => break Err(error.into()),
            }
        };
        // What it says is sent with what comes next.
        let _ = chunks.finalize();
        if matches!(came, Ok(Came::Over)) {
            // It may be over by itself.
            let _ = connection.recv_stream(stream).stop(STREAM_CREATION.into());
        }
        came
    }

    /// Takes what came on a stream, or that nothing more does.
    fn take(
        prologue: &mut Prologue,
        is: &mut Is,
        bytes: &[u8],
        ended: Ended,
    ) -> Result<Option<Came>, PrologueError> {
        match (&mut *is, ended) {
            (Is::Part(part), Ended::No) => prologue.feed(*part, bytes).map(|()| None),
            // Of tables that are not used it makes no difference.
            (Is::Part(part), _) => prologue.finish(*part).map(|()| Some(Came::Over)),
            (Is::Beginning(head), Ended::No) => {
                let Some(byte) = bytes.first() else { return Ok(None) };
                let Some(kind) = head.read(*byte)? else { return Ok(None) };
                match (kind, Part::of(kind)) {
                    (StreamKind::Link(number), _) => Ok(Some(Came::Link(number))),
                    (_, Some(part)) => {
                        prologue.open(part)?;
                        *is = Is::Part(part);
                        Ok(None)
                    }
                    (_, None) => Ok(Some(Came::Over)),
                }
            }
            (Is::Beginning(_), Ended::Reset) => Ok(Some(Came::GivenUp)),
            (Is::Beginning(_), Ended::Finished) => Ok(Some(Came::Over)),
        }
    }

    /// What the client asks for, once.
    pub(crate) fn take_request(&mut self) -> Option<Result<Request, Denied>> {
        let asked = self.asked.take()?;
        if let Err(denied) = &asked {
            self.status = denied.status();
        }
        Some(asked)
    }

    /// Whether the client has closed the session.
    pub(crate) fn is_closed(&self) -> bool {
        self.prologue.is_closed()
    }

    /// Grants the request, and opens this side's stream of deltas.
    pub(crate) fn admit(&mut self, connection: &mut Connection) -> Option<Writer> {
        self.answer(connection, 200);
        let stream = connection.streams().open(Dir::Uni)?;
        let mut writer = Writer::new(FROM_ACCEPTOR, stream);
        // Nothing can stand in its way yet.
        let _ = writer.write(connection, wire::STREAM);
        let _ = writer.write(connection, &[FROM_ACCEPTOR]);
        Some(writer)
    }

    /// Does not grant the request. Says whether the client is told so; else, and the second time, the connection is to be
    /// closed.
    pub(crate) fn refuse(&mut self, connection: &mut Connection) -> bool {
        let told = !self.answered && self.answer.is_some();
        if told {
            self.answer(connection, self.status);
            if let Some(answer) = &mut self.answer {
                answer.finish(connection);
            }
        }
        told
    }

    fn answer(&mut self, connection: &mut Connection, status: u16) {
        if let Some(answer) = &mut self.answer
            && !std::mem::replace(&mut self.answered, true)
        {
            // A client that does not take it does not get it.
            let _ = answer.write(connection, &wire::response(status));
        }
    }

    /// Hands on what waited for room.
    pub(crate) fn flush(&mut self, connection: &mut Connection) {
        for writer in [&mut self.control, &mut self.answer].into_iter().flatten() {
            let _ = writer.flush(connection);
        }
    }
}

/// The code of HTTP/3 that says what one of a link's does.
pub(crate) fn code(of_link: u32) -> u32 {
    match of_link {
        crate::CLOSED => NO_ERROR,
        crate::REFUSED => REJECTED,
        _ => PROTOCOL,
    }
}
