//! What drivers of connections are woken by. Public for the crates of Deltawire only: atomics live in
//! this crate, where loom sees them.

mod credit;
mod flag;
mod ready;

pub use credit::Credit;
pub use flag::Flag;
pub use ready::{ReadyHandle, ReadyQueue};
