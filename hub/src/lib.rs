//! Documents that many share.
//!
//! | | |
//! |---|---|
//! | [`Documents`] | what one side reads and writes, natively and in a browser's worker, whatever becomes of its links |
//! | [`Subscription`] | a document's deltas in order: those that there are, then live; what is missing is said exactly |
//! | [`Publisher`] | deltas to a document, each kept once, with a [`Receipt`] |
//! | [`Presence`] | who looks at a document, and what they say of themselves |
//!
//! With the feature `serve` there is the hub itself, which keeps documents and serves them.
//!
//! A document's deltas have positions: 1, 2, 3 and so on, the same for all readers. Each reader has a cursor into the
//! document's log and nothing else, so a slow one costs nothing and holds nobody up.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

mod arrivals;
mod client;
mod outages;
#[cfg(all(feature = "serve", not(target_arch = "wasm32")))]
mod server;

pub use client::{
    AttendError, DeniedCode, Documents, DocumentsOptions, Gap, Item, OpenError, Place, Presence,
    PublishError, Publisher, Receipt, SlowPolicy, Start, SubscribeOptions, Subscription,
    SubscriptionEnded, Why,
};
#[cfg(all(feature = "serve", not(target_arch = "wasm32")))]
pub use server::{
    Action, AppendError, Ask, Deliver, Everyone, Hub, HubOptions, HubStats, LiveDocument,
    PeerRates, Permission, Policy, RejectError, SlowReader, store,
};
#[cfg(all(feature = "archive", not(target_arch = "wasm32")))]
pub use server::{ArchiveStats, Archiving};
