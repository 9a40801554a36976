//! SCTP under links, without I/O: sockets, clocks and tasks are those of whoever moves it.
//!
//! | | |
//! |---|---|
//! | [`filter`] | what of a peer's packets reaches an association, and what it can make that hold |
//! | [`Sctp`], [`RtcSctp`] | an association, and the one that there is: on [rtc-sctp](https://docs.rs/rtc-sctp) |
//! | [`Handshake`] | how an association begins where something else has shown who the peer is: DTLS |
//! | [`Recovery`] | when to send again, sooner than SCTP does by itself |
//!
//! WebRTC's lean engine has these under DTLS. Links straight over UDP, which are not encrypted, are made of them too.

#![forbid(unsafe_code)]

#[cfg(feature = "association")]
mod association;
#[cfg(feature = "links")]
mod config;
#[cfg(feature = "links")]
mod endpoint;
mod error;
#[cfg(feature = "links")]
mod farewell;
pub mod filter;
#[cfg(feature = "links")]
mod gate;
#[cfg(feature = "association")]
mod handshake;
#[cfg(feature = "association")]
mod init;
#[cfg(feature = "links")]
mod opening;
#[doc(hidden)]
pub mod packet;
#[cfg(feature = "association")]
mod recovery;
#[cfg(feature = "association")]
mod rtc_sctp;
#[cfg(feature = "links")]
mod transport;

#[cfg(feature = "association")]
pub use association::{AssociationConfig, MessageKind, Sctp, SctpEvent, stream};
#[cfg(feature = "links")]
pub use config::{DEFAULT_MTU, MAX_MTU, SctpConfig};
#[cfg(feature = "links")]
pub use endpoint::{Arrival, Routed, SctpEndpoint};
#[cfg(feature = "links")]
pub use error::SctpError;
pub use error::Violation;
#[cfg(feature = "links")]
pub use farewell::MAX_REASON_LEN;
#[cfg(feature = "links")]
pub use gate::COOKIE_LIFE;
#[cfg(feature = "association")]
pub use handshake::Handshake;
#[cfg(feature = "association")]
pub use init::{COOKIE_ACK, Init, PORTS, packet_of};
#[cfg(feature = "association")]
pub use recovery::Recovery;
#[cfg(feature = "association")]
pub use rtc_sctp::RtcSctp;
#[cfg(feature = "links")]
pub use transport::SctpTransport;

/// The longest datagram that is taken, bytes: room for what any path carries that is not made for longer ones.
pub const MAX_DATAGRAM_LEN: usize = 2_048;

/// The longest message that is sent, bytes.
pub const MAX_MESSAGE_LEN: usize = 1 << 16;

/// The longest token that is taken, bytes.
#[cfg(feature = "links")]
pub const MAX_TOKEN_LEN: usize = 4_096;

/// Bytes of packets with data that a peer can have lie here before it is let in: a token, some of them twice.
#[cfg(feature = "links")]
pub const MAX_UNADMITTED: usize = 16 << 10;
