//! What drivers of connections are woken by. Public for the crates of Deltawire only: atomics live in
//! this crate, where loom sees them.

mod doorbell;
mod flag;

pub use doorbell::{Bell, Doorbells};
pub use flag::Flag;
