//! Requests with answers, and messages of any length, over one link.
//!
//! | to | use |
//! |---|---|
//! | ask, and have an answer or an error by name | [`Requests::call`] |
//! | ask once and have many answers, as they come | [`Requests::call_many`] |
//! | send a message that is longer than the rings | [`Requests::stream`] |
//! | answer, and read streams | [`IncomingRequests`] |
//! | go on with commands of one's own on the same channel | [`Commands`] |
//!
//! ```
//! use deltawire_channels::Command;
//! use deltawire_link::Link;
//! use deltawire_link::runtime::SharedRuntime;
//! use deltawire_requests::{CallOptions, Requests, RequestsOptions};
//!
//! async fn ask(
//!     link: &Link,
//!     command: Command,
//!     runtime: SharedRuntime,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let opened = Requests::over_commands(link, command, runtime, RequestsOptions::default())?;
//!     let answer = opened.requests.call(b"how many?", CallOptions::default()).await?;
//!     println!("{} bytes", answer.payload().len());
//!     Ok(())
//! }
//! ```
//!
//! Nothing here knows a socket, a clock or a runtime: a task of the link's
//! [`Runtime`](deltawire_link::Runtime) takes in what comes, natively and in a browser's worker.

#![forbid(unsafe_code)]
#![cfg_attr(
    target_arch = "wasm32",
    allow(clippy::arc_with_non_send_sync, reason = "the same types as where there are threads")
)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

mod answers;
mod commands;
#[doc(hidden)]
pub mod core;
mod driver;
mod error;
mod incoming;
mod options;
mod requests;
mod shared;
mod stream_reader;
mod stream_writer;

pub use crate::core::MAX_REPLIES;
pub use answers::{Answer, Answers};
pub use commands::{CommandSender, Commands};
pub use deltawire_framing::requests::{MAX_REFUSAL_REASON, MESSAGE_OVERHEAD, RefusalCode};
pub use error::{Ended, OpenError, Refusal, RequestError, Violation};
pub use incoming::{AnswerWriter, Incoming, IncomingRequests, Request};
pub use options::{CallOptions, RequestsOptions, WhenFull};
pub use requests::{Opened, Requests};
pub use stream_reader::{Piece, StreamReader};
pub use stream_writer::StreamWriter;

/// The examples of `docs/REQUESTS.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/REQUESTS.md")]
struct Documented;
