//! The board's worker, and what the window has of it.

pub(super) mod window;
pub(super) mod worker;
