//! The answering side: a router for any application, and a server for who has none.

mod authorize;
mod body;
mod connections;
mod cors;
mod gate;
mod listen;
mod options;
mod path;
mod proxies;
mod rate;
mod refuse;
mod rooms;
mod routes;
mod tickets;
#[cfg(feature = "websocket")]
mod websocket;

pub use authorize::{AuthorizationRequest, Authorizer, Denial, Tokens};
pub use cors::{Cors, OriginError};
pub use listen::{BindError, ServerLimits, SignallingServer};
pub use options::SignallingOptions;
pub use path::{PathPrefix, PathPrefixError};
pub use proxies::{ProxyError, TrustedProxies};
pub use rate::Rate;
pub use rooms::RoomLimits;
pub use routes::router;
pub use tickets::Tickets;
