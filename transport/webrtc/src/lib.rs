//! WebRTC with data channels only, without I/O: what native links run on.
//!
//! An [`Engine`] takes in datagrams and gives out datagrams, and carries transport messages over the three
//! negotiated data channels of a link ([`deltawire_sdp::stream`]). [`Str0m`] is one, on the stack
//! [str0m](https://docs.rs/str0m). What a peer says is bounded before it reaches the stack: its
//! description, its records of DTLS, its packets of SCTP, where its connectivity checks come from; and a
//! panic of the stack ends its own link only.

#![forbid(unsafe_code)]

mod certificate;
mod checks;
mod config;
mod engine;
mod error;
mod panic_guard;
mod path;
pub mod records;
mod routes;
pub mod sctp_filter;
mod sources;
mod str0m;
mod stun;

pub use certificate::{Certificate, CertificateError, SharedDtls};
pub use config::{DEFAULT_MTU, EngineConfig, MAX_DATAGRAM_LEN, MAX_HANDSHAKE, MAX_MTU};
pub use engine::Engine;
pub use error::EngineError;
pub use routes::{ADDRESSES_PER_PEER, KnownAddresses, Routes};
#[doc(hidden)]
pub use sctp_filter::max_ahead;
pub use sctp_filter::max_held;
pub use sources::MAX_SOURCES;
pub use str0m::Str0m;
#[doc(hidden)]
pub use stun::read_check;
