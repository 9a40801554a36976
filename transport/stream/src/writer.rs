//! What waits to be sent, and how it is handed to the system.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use crate::framing::{Framing, Mask, PieceKind};

/// Memory that is kept while nothing waits, bytes.
const KEPT: usize = 8 << 10;

/// Messages are gathered until there is so much to hand on with one call, bytes: a call costs more than to copy what is in
/// front of the last one.
const GATHERED: usize = 64 << 10;

thread_local! {
    /// Room for what links of this thread gather in turn: not each keeps some.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What was gathered, and what the system has not taken yet. How much that may be, the caller says.
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

    /// Sends a message behind what waits, and `prefix`, as it is, in front of it. It waits for more, or for
    /// [`flush`](Self::flush); where enough waits already, it goes from where it lies, as far as the system takes it.
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
        let len = self.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        let is_enough = len >= GATHERED;
        let mut taken = 0;
        if is_enough && head.mask.is_none() && stream.is_write_vectored() {
            let waiting = self.buffer.get(self.taken..).unwrap_or_default();
            let [prefix, head, message] = parts;
            let slices = [waiting, prefix, head, message].map(IoSlice::new);
            if let Poll::Ready(len) = Pin::new(&mut *stream).poll_write_vectored(context, &slices) {
                taken = len?;
                self.dirty = true;
                let of_waiting = taken.min(waiting.len());
                taken -= of_waiting;
                self.taken += of_waiting;
            }
        }
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
        }
        if len > KEPT {
            self.take_spare();
        }
        for part in parts {
            let skipped = taken.min(part.len());
            taken -= skipped;
            self.buffer.extend_from_slice(part.get(skipped..).unwrap_or_default());
        }
        if let Some(mask) = head.mask {
            mask_last(&mut self.buffer, message.len(), mask);
        }
        if is_enough { self.flush(stream, context) } else { Ok(()) }
    }

    /// Has room for all that is gathered.
    fn take_spare(&mut self) {
        if self.buffer.capacity() < GATHERED {
            let mut spare = SPARE.take();
            spare.clear();
            spare.reserve_exact(2 * GATHERED);
            spare.extend_from_slice(self.buffer.get(self.taken..).unwrap_or_default());
            (self.buffer, self.taken) = (spare, 0);
        }
    }

    fn leave_spare(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() <= 4 * GATHERED {
            SPARE.set(buffer);
        }
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
        self.buffer.clear();
        if self.buffer.capacity() > KEPT {
            self.leave_spare();
        }
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
