//! What drivers of connections are woken by. Public for the crates of Deltawire only: atomics live in
//! this crate, where loom sees them.

mod credit;
mod doorbell;
mod flag;

pub use credit::Credit;
pub use doorbell::{Bell, Doorbells};
pub use flag::Flag;
