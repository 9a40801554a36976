//! What this side says on one stream, and what of it QUIC has no room for yet.

use std::collections::VecDeque;

use bytes::Buf;
use quinn_proto::{Connection, FinishError, StreamId, VarInt, WriteError};

use crate::QuicError;

/// One stream's outgoing side. What QUIC does not take waits here: no more than its user writes beyond it.
#[derive(Debug)]
pub(crate) struct Writer {
    number: u8,
    stream: StreamId,
    waiting: VecDeque<u8>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// Everything was written, and QUIC was told so.
    Finished,
    /// The peer has acknowledged everything, or takes nothing more.
    Acknowledged,
}

impl Writer {
    pub(crate) fn new(number: u8, stream: StreamId) -> Self {
        Self { number, stream, waiting: VecDeque::new(), end: End::Open }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.stream
    }

    /// Bytes that wait for QUIC to have room.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes these bytes over, whole.
    pub(crate) fn write(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
    ) -> Result<(), QuicError> {
        let taken = if self.waiting.is_empty() { self.hand_on(connection, bytes)? } else { 0 };
        self.waiting.extend(bytes.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Takes a message over, behind its length.
    pub(crate) fn write_message(
        &mut self,
        connection: &mut Connection,
        message: &[u8],
    ) -> Result<(), QuicError> {
        let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.write(connection, &len.to_le_bytes())?;
        self.write(connection, message)
    }

    /// Hands on what waits, as far as QUIC has room.
    pub(crate) fn flush(&mut self, connection: &mut Connection) -> Result<(), QuicError> {
        while !self.waiting.is_empty() {
            let stream = self.stream;
            let first = self.waiting.as_slices().0;
            match connection.send_stream(stream).write(first) {
                Ok(taken) => self.waiting.advance(taken),
                Err(WriteError::Blocked) => return Ok(()),
                Err(error) => return Err(self.gone(&error)),
            }
        }
        if self.waiting.capacity() > MAX_SPARE {
            self.waiting = VecDeque::new();
        }
        Ok(())
    }

    fn hand_on(&self, connection: &mut Connection, bytes: &[u8]) -> Result<usize, QuicError> {
        match connection.send_stream(self.stream).write(bytes) {
            Ok(taken) => Ok(taken),
            Err(WriteError::Blocked) => Ok(0),
            Err(error) => Err(self.gone(&error)),
        }
    }

    /// Tells QUIC that nothing more comes, once nothing waits. Says whether the peer has everything.
    pub(crate) fn finish(&mut self, connection: &mut Connection) -> bool {
        if self.end == End::Open && self.waiting.is_empty() {
            self.end = match connection.send_stream(self.stream).finish() {
                Ok(()) => End::Finished,
                Err(FinishError::Stopped(_) | FinishError::ClosedStream) => End::Acknowledged,
            };
        }
        self.end == End::Acknowledged
    }

    /// The peer has everything, or wants nothing more.
    pub(crate) fn acknowledged(&mut self) {
        self.end = End::Acknowledged;
        self.waiting.clear();
    }

    /// The peer takes nothing more of this stream.
    pub(crate) fn stopped(&self, code: VarInt) -> QuicError {
        QuicError::Abandoned { number: self.number, code: code.into_inner() }
    }

    fn gone(&self, error: &WriteError) -> QuicError {
        match error {
            WriteError::Stopped(code) => self.stopped(*code),
            WriteError::ClosedStream | WriteError::Blocked => {
                QuicError::Abandoned { number: self.number, code: 0 }
            }
        }
    }
}

/// Room that is kept when nothing waits, bytes.
const MAX_SPARE: usize = 16 << 10;
