use core::time::Duration;
use std::sync::Arc;

use super::{Authorizer, Cors, PathPrefix, Rate, RoomLimits, TrustedProxies};
use crate::{DEFAULT_MAX_BODY, Token};

/// What a [`router`](super::router) is made with.
#[derive(Clone, Debug)]
pub struct SignallingOptions {
    /// Who has it may signal. Default: none, so everybody may.
    pub token: Option<Token>,
    /// Says who may signal, and who that is. Of who sends the [`token`](Self::token), if one is set: both look at
    /// the same header, so set one of the two. Default: none.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// How long the authorizer may take; then the client is asked to come again (503). Default: 10 s.
    pub authorize_timeout: Duration,
    /// Which pages of other origins may signal. Default: none.
    pub cors: Cors,
    /// The longest body, bytes. Default: 64 KiB.
    pub max_body: usize,
    /// How long a body may take to come. Default: 10 s.
    pub body_timeout: Duration,
    /// How often one address may ask. Default: 64 requests at once, and 20 a second.
    ///
    /// An IPv4 address is one, and so is a /64 network of IPv6. The address is that of the
    /// connection: `axum::extract::ConnectInfo<SocketAddr>`, as [`SignallingServer`] and
    /// `Router::into_make_service_with_connect_info` give it. Without it all clients count as one;
    /// behind a proxy they do too, unless it is one of `trusted_proxies`.
    ///
    /// [`SignallingServer`]: super::SignallingServer
    pub rate: Rate,
    /// The proxies that are believed when they name the client: its address then counts, here and
    /// in `NodeLimits`. Default: none.
    pub trusted_proxies: TrustedProxies,
    /// How many addresses are remembered for that, about 150 bytes each. When there are more,
    /// those that asked longest ago are forgotten, and may ask as if for the first time. Default:
    /// 16 384; fewer than 2 count as 2.
    pub max_rate_keys: usize,
    /// Where offers go. Default: `/webrtc`.
    pub path: PathPrefix,
    /// What bounds the rooms below that path (`/webrtc/rooms/<name>`), in which others than this node take offers. `None`,
    /// the default: there are no rooms.
    pub rooms: Option<RoomLimits>,
}

impl Default for SignallingOptions {
    fn default() -> Self {
        Self {
            token: None,
            authorizer: None,
            authorize_timeout: Duration::from_secs(10),
            cors: Cors::none(),
            max_body: DEFAULT_MAX_BODY,
            body_timeout: Duration::from_secs(10),
            rate: Rate::default(),
            trusted_proxies: TrustedProxies::none(),
            max_rate_keys: 16_384,
            path: PathPrefix::default(),
            rooms: None,
        }
    }
}
