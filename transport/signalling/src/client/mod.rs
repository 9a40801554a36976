//! The offering side.

mod error;
#[cfg(all(feature = "client", not(target_arch = "wasm32")))]
mod exchange;
#[cfg(all(feature = "client", target_arch = "wasm32"))]
mod fetch;
#[cfg(all(feature = "client", not(target_arch = "wasm32")))]
mod http;
mod options;
mod signaller;
#[cfg(all(feature = "https", not(target_arch = "wasm32")))]
mod tls;
#[cfg(all(feature = "client", feature = "websocket", not(target_arch = "wasm32")))]
mod websocket;

pub use error::SignallingError;

/// Where the offers are taken that are made in the room at this address.
#[cfg(feature = "client")]
fn offers_of(room: &str) -> String {
    format!("{}/offers", room.trim_end_matches('/'))
}

#[cfg(all(feature = "client", target_arch = "wasm32"))]
pub use fetch::SignallingClient;
#[cfg(all(feature = "client", not(target_arch = "wasm32")))]
pub use http::SignallingClient;
pub use options::ClientOptions;
pub use signaller::{Answered, Signaller, TakenOffer};
