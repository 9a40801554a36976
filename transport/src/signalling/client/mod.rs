//! The offering side.

mod error;
#[cfg(not(target_arch = "wasm32"))]
mod exchange;
#[cfg(not(target_arch = "wasm32"))]
mod http;
mod options;
#[cfg(all(feature = "https", not(target_arch = "wasm32")))]
mod tls;

pub use error::SignallingError;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use exchange::parse;
#[cfg(not(target_arch = "wasm32"))]
pub use http::{Answered, SignallingClient};
pub use options::ClientOptions;
