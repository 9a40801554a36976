//! A board that many draw on: what is on it, and how that is written into deltas. The same code in the page's worker, in
//! native peers and in the server, which lets nothing else in.
//!
//! The board is one document. Its deltas are [operations](Operation) in the order in which the hub took them, so every
//! [`Replica`] that has the same deltas shows the same board. Who is there, where they point and what they are drawing at
//! this moment is presence, of which nothing is kept.

mod appearance;
mod bytes;
mod editor;
mod message;
mod operation;
mod participant;
mod replica;
#[cfg(not(target_arch = "wasm32"))]
mod rules;
mod text;

pub use appearance::{Appearance, MAX_NAME, MAX_PREVIEW};
pub use bytes::Malformed;
pub use editor::Editor;
pub use message::{Status, ToWindow, Wish};
pub use operation::{Change, MAX_INSERT, MAX_POINTS, Operation, OperationId, Signed, Stroke};
pub use participant::Participant;
pub use replica::{Entry, Logged, Replica};
#[cfg(not(target_arch = "wasm32"))]
pub use rules::Rules;
pub use text::{Edit, MAX_TEXT, apply, difference};

use deltawire::prelude::DocId;

/// The board's document.
pub const BOARD: DocId = DocId(*b"deltawire/board!");

/// Where the server signals for it.
pub const PATH: &str = "/board/webrtc";

/// Its width and height, in units of [`Stroke::points`].
pub const SIZE: [i16; 2] = [16_000, 10_000];

#[cfg(test)]
mod tests;
