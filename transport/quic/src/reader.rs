//! What the peer says on one stream.

use quinn_proto::{Chunks, Connection, ReadError, ReadableError, StreamId};

use crate::{MAX_TOKEN_LEN, QuicError};

/// One stream's incoming side.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The stream's number.
    number: u8,
    stream: StreamId,
    /// The longest message that is taken, bytes.
    max: usize,
    expects: Expects,
    length: Length,
    body: Vec<u8>,
    /// Whether there may be something to read.
    readable: bool,
    finished: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Number,
    Token,
    Message,
}

/// The length of what comes, as far as it is there.
#[derive(Clone, Copy, Debug, Default)]
struct Length {
    bytes: [u8; 4],
    have: usize,
}

/// What was read.
#[derive(Debug)]
pub(crate) enum Read {
    /// Its number came: it is the stream that it should be.
    Begun,
    Token(Vec<u8>),
    Message(Vec<u8>),
    /// Nothing more is there yet.
    Nothing,
}

impl Reader {
    /// Of a stream that begins with its number.
    pub(crate) fn numbered(number: u8, stream: StreamId, max: usize) -> Self {
        Self {
            number,
            stream,
            max,
            expects: Expects::Number,
            length: Length::default(),
            body: Vec::new(),
            readable: true,
            finished: false,
        }
    }

    /// Of a stream of which is known what it is, such as the half of one that this side has opened.
    pub(crate) fn answering(number: u8, stream: StreamId, max: usize) -> Self {
        Self { expects: Expects::Message, ..Self::numbered(number, stream, max) }
    }

    /// Whether what comes next is a message.
    pub(crate) fn is_begun(&self) -> bool {
        self.expects == Expects::Message
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    /// There may be something to read.
    pub(crate) fn wake(&mut self) {
        self.readable = true;
    }

    /// Reads the next of what is there.
    pub(crate) fn read(&mut self, connection: &mut Connection) -> Result<Read, QuicError> {
        if !self.readable || self.finished {
            return Ok(Read::Nothing);
        }
        let mut stream = connection.recv_stream(self.stream);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
                self.finished = true;
                return Ok(Read::Nothing);
            }
        };
        let read = self.next(&mut chunks);
        // What it says is sent with what comes next.
        let _ = chunks.finalize();
        read
    }

    fn next(&mut self, chunks: &mut Chunks<'_>) -> Result<Read, QuicError> {
        if self.expects == Expects::Number {
            let Some(chunk) = self.chunk(chunks, 1)? else { return Ok(Read::Nothing) };
            let number = chunk.first().copied().unwrap_or_default();
            if number != self.number {
                return Err(QuicError::Number { number, expected: self.number });
            }
            self.expects = if number == 0 { Expects::Token } else { Expects::Message };
            return Ok(Read::Begun);
        }
        while self.length.have < self.length.bytes.len() {
            let Some(chunk) = self.chunk(chunks, self.length.bytes.len() - self.length.have)?
            else {
                return Ok(Read::Nothing);
            };
            for (to, from) in self.length.bytes.iter_mut().skip(self.length.have).zip(&*chunk) {
                *to = *from;
            }
            self.length.have += chunk.len();
            if self.length.have == self.length.bytes.len() {
                let len = self.check(u32::from_le_bytes(self.length.bytes))?;
                // Not before the length was checked.
                self.body = Vec::with_capacity(len);
            }
        }
        let len = u32::from_le_bytes(self.length.bytes) as usize;
        while self.body.len() < len {
            let Some(chunk) = self.chunk(chunks, len - self.body.len())? else {
                return Ok(Read::Nothing);
            };
            self.body.extend_from_slice(&chunk);
        }
        self.length = Length::default();
        let body = std::mem::take(&mut self.body);
        if self.expects == Expects::Token {
            self.expects = Expects::Message;
            return Ok(Read::Token(body));
        }
        Ok(Read::Message(body))
    }

    fn check(&self, len: u32) -> Result<usize, QuicError> {
        let bytes = len as usize;
        match self.expects {
            Expects::Token if bytes <= MAX_TOKEN_LEN => Ok(bytes),
            Expects::Token => Err(QuicError::Token { len }),
            _ if (1..=self.max).contains(&bytes) => Ok(bytes),
            _ => Err(QuicError::Length { number: self.number, len, max: self.max }),
        }
    }

    /// Up to so many bytes, if any are there.
    fn chunk(
        &mut self,
        chunks: &mut Chunks<'_>,
        most: usize,
    ) -> Result<Option<bytes::Bytes>, QuicError> {
        match chunks.next(most) {
            Ok(Some(chunk)) => Ok(Some(chunk.bytes)),
            Ok(None) => {
                self.finished = true;
                match self.missing() {
                    0 => Ok(None),
                    missing => Err(QuicError::Cut { number: self.number, missing }),
                }
            }
            Err(ReadError::Blocked) => {
                self.readable = false;
                Ok(None)
            }
            Err(ReadError::Reset(code)) => {
                self.finished = true;
                Err(QuicError::Abandoned { number: self.number, code: code.into_inner() })
            }
        }
    }

    /// Bytes that are missing of what has begun to come; of a length, of that alone.
    fn missing(&self) -> usize {
        match (self.expects, self.length.have) {
            (Expects::Number, _) => 1,
            (Expects::Message, 0) => 0,
            (_, have) if have < self.length.bytes.len() => self.length.bytes.len() - have,
            _ => (u32::from_le_bytes(self.length.bytes) as usize).saturating_sub(self.body.len()),
        }
    }
}
