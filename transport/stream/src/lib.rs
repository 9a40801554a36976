//! Links over streams of bytes: TCP, Unix sockets, and what WebSocket stands on.
//!
//! A [`Framing`] says how messages stand in a stream; [`StreamTransport`] moves them over anything that is
//! `AsyncRead` and `AsyncWrite`. Both channels share the stream: each frame names its own. A stream does not tell
//! when its bytes arrive, so the two sides tell each other
//! ([`Acknowledgements`](deltawire_link::Acknowledgements)), and no more is on its way than fills the path:
//! that is what a command waits for.
//!
//! What is sent goes from where it lies in the ring to the system; what comes is read into memory of its own, a
//! message each.

#![forbid(unsafe_code)]

mod framing;
pub mod preface;
mod reader;
mod transport;
mod writer;

pub use framing::{
    Framing, FramingError, Head, LengthPrefix, MAX_CONTROL, MAX_HEAD, Mask, Piece, PieceKind,
};
#[doc(hidden)]
pub use reader::{Item, Reader};
pub use transport::StreamTransport;

use tokio::io::{AsyncRead, AsyncWrite};

/// A stream of bytes both ways, whatever it is.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> ByteStream for S {}
