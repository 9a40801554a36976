//! Session descriptions of data channels (RFC 8866, RFC 8841), read in place and bounded.
//!
//! | to | use |
//! |---|---|
//! | read what a stranger sent | [`Description::read`] |
//! | write one's own | [`LocalDescription::write`] |
//! | read a candidate, a line, credentials | [`grammar`] |
//! | know which stream carries what | [`stream`] |

#![forbid(unsafe_code)]

mod description;
mod fingerprint;
pub mod grammar;
mod ice_server;
mod local;
mod streams;

pub use description::{
    Description, DescriptionError, MAX_CANDIDATES, MAX_DESCRIPTION_LEN, MAX_SCTP_INIT_LEN, Setup,
    UNSTATED_MAX_MESSAGE_SIZE, read_description,
};
pub use fingerprint::{Fingerprint, Fingerprints, HashFunction};
pub use ice_server::IceServer;
pub use local::LocalDescription;
pub use streams::{StreamMisuse, stream};
