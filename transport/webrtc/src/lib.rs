//! WebRTC with data channels only, without I/O: what native links run on.
//!
//! An [`Engine`] takes in datagrams and gives out datagrams, and carries transport messages over the three
//! negotiated data channels of a link ([`deltawire_sdp::stream`]). There are two, each a feature: [`Lean`], and
//! [`Str0m`] on the stack [str0m](https://docs.rs/str0m); [`AnyEngine`] is the one that an [`EngineKind`]
//! names. What a peer says is bounded before it reaches the stack: its
//! description, its records of DTLS, its packets of SCTP, where its connectivity checks come from; and a
//! panic of the stack ends its own link only.

#![forbid(unsafe_code)]

#[cfg(not(any(feature = "lean", feature = "str0m")))]
compile_error!("deltawire-webrtc needs an engine: the feature `lean`, or `str0m`");

mod any_engine;
mod certificate;
mod checks;
mod config;
mod crypto;
mod engine;
mod error;
#[cfg(feature = "lean")]
mod lean;
mod path;
pub mod records;
mod routes;
mod sources;
#[cfg(feature = "str0m")]
mod str0m;
mod stun;

pub use any_engine::{AnyEngine, EngineKind};
pub use certificate::{Certificate, CertificateError, SharedDtls};
pub(crate) use config::MAX_SENT;
pub use config::{DEFAULT_MTU, EngineConfig, Gathered, MAX_DATAGRAM_LEN, MAX_HANDSHAKE, MAX_MTU};
#[doc(hidden)]
pub use deltawire_sctp::filter::max_ahead;
pub use deltawire_sctp::filter::{self as sctp_filter, max_held};
pub use engine::{Engine, MAX_QUEUE};
pub use error::EngineError;
#[cfg(feature = "lean")]
#[doc(hidden)]
pub use lean::AboveDtls;
#[cfg(feature = "lean")]
pub use lean::Lean;
pub use routes::{ADDRESSES_PER_PEER, KnownAddresses, Routes};
pub use sources::MAX_SOURCES;
#[cfg(feature = "str0m")]
pub use str0m::Str0m;
#[doc(hidden)]
pub use stun::read_check;
