//! What waits to be sent, and how it is handed to the system.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::framing::{Framing, Mask, PieceKind};

/// Memory that is kept while nothing waits, bytes.
const KEPT: usize = 40 << 10;

/// What the system has not taken yet. How much that may be, the caller says.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    buffer: Vec<u8>,
    /// Of `buffer`, what the system has taken.
    taken: usize,
    /// Whether the stream may hold something back.
    dirty: bool,
}

impl Writer {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// Puts a piece behind what waits.
    pub(crate) fn push(&mut self, framing: &mut impl Framing, kind: PieceKind, bytes: &[u8]) {
        push(&mut self.buffer, framing, kind, bytes);
    }

    /// Sends a message from where it lies, as far as the system takes it; the rest waits. In front of it goes
    /// `prefix`, as it is.
    pub(crate) fn send<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        framing: &mut impl Framing,
        prefix: &[u8],
        message: &[u8],
    ) -> io::Result<()> {
        let head = framing.write(PieceKind::Message, message.len());
        let parts = [prefix, head.as_bytes(), message];
        let mut taken = 0;
        if self.len() == 0 && head.mask.is_none() && stream.is_write_vectored() {
            let slices = parts.map(IoSlice::new);
            if let Poll::Ready(len) = Pin::new(&mut *stream).poll_write_vectored(context, &slices) {
                taken = len?;
                self.dirty = true;
            }
        }
        for part in parts {
            let skipped = taken.min(part.len());
            taken -= skipped;
            self.buffer.extend_from_slice(part.get(skipped..).unwrap_or_default());
        }
        if let Some(mask) = head.mask {
            mask_last(&mut self.buffer, message.len(), mask);
        }
        self.flush(stream, context)
    }

    /// Gives room back that what was taken had: on a link that always has something to send, nothing else does.
    fn forget(&mut self) {
        if self.taken >= KEPT && 2 * self.taken >= self.buffer.len() {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Hands on what waits, as far as the system takes it.
    pub(crate) fn flush<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> io::Result<()> {
        while let Some(rest) = self.buffer.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *stream).poll_write(context, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(len)) => self.taken += len,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.forget();
                    return Ok(());
                }
            }
            self.dirty = true;
        }
        self.taken = 0;
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        if self.dirty && Pin::new(stream).poll_flush(context)?.is_ready() {
            self.dirty = false;
        }
        Ok(())
    }
}

/// Lays a piece behind what is there.
pub(crate) fn push(
    buffer: &mut Vec<u8>,
    framing: &mut impl Framing,
    kind: PieceKind,
    bytes: &[u8],
) {
    let head = framing.write(kind, bytes.len());
    buffer.extend_from_slice(head.as_bytes());
    buffer.extend_from_slice(bytes);
    if let Some(mask) = head.mask {
        mask_last(buffer, bytes.len(), mask);
    }
}

fn mask_last(buffer: &mut [u8], len: usize, mask: Mask) {
    let start = buffer.len().saturating_sub(len);
    mask.apply(buffer.get_mut(start..).unwrap_or_default(), 0);
}
