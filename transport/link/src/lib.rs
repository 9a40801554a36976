//! Links: what every kind of them has in common, without I/O.
//!
//! | | |
//! |---|---|
//! | [`MessageTransport`], [`DatagramTransport`] | the seam: what carries a session's messages |
//! | [`Connection`] | a session on a transport, moved by whoever has its clock |
//! | [`Link`] | the handle that an application holds |
//! | [`Runtime`] | what links need of their surroundings: time, tasks, sockets, randomness |
//! | [`memory`] | two peers within one process, without a transport |
//!
//! Nothing here knows WebRTC, a socket, a clock or a runtime, and nothing above knows which transport a
//! session runs on.

#![forbid(unsafe_code)]
#![cfg_attr(
    target_arch = "wasm32",
    allow(clippy::arc_with_non_send_sync, reason = "the same types as where there are threads")
)]

mod acknowledging;
mod changes;
mod connection;
mod error;
mod identity;
mod link;
pub mod memory;
mod pacing;
mod panic_guard;
pub mod runtime;
mod sessions;
mod transport;
#[cfg(test)]
mod waiting;

pub use acknowledging::{
    ACKNOWLEDGEMENT_LEN, Acknowledgements, MAX_STREAM_MESSAGE, STREAM_QUEUE, StreamMessageError,
};
pub use changes::{LinkChange, LinkChanges, Resumed};
pub use connection::{Connection, ConnectionConfig, LAST_WORDS, Progress};
pub use error::{Fault, TransportError, TransportErrorKind};
pub use identity::Identity;
pub use link::{Link, LinkEnded, LinkId, LinkState, LinkStats, NoMoreSenders, Route, Undelivered};
pub use pacing::PacingLimits;
pub use panic_guard::{PanicGuard, caught};
pub use runtime::Runtime;
pub use sessions::{Detached, SessionName, Sessions, SessionsLimits};
pub use transport::{
    Capabilities, Datagram, DatagramTransport, Delivers, InFlight, MessageTransport, Output, Queue,
    Transmit,
};
