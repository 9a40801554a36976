//! Who may connect over QUIC.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use deltawire_link::Identity;
use deltawire_link::runtime::BoxFuture;
use deltawire_quic::is_same_secret;
use deltawire_signalling::Token;
#[cfg(feature = "signalling-server")]
use deltawire_signalling::{AuthorizationRequest, Authorizer, Denial};

/// Says who may connect over QUIC, and who that is: by the token that a peer shows before anything else, which is that
/// of its [`ClientOptions`](deltawire_signalling::ClientOptions).
#[derive(Clone)]
pub struct QuicAdmission(Kind);

#[derive(Clone)]
enum Kind {
    Anyone,
    Tokens(Arc<[(Token, Identity)]>),
    #[cfg(feature = "signalling-server")]
    Authorizer(Arc<dyn Authorizer>),
}

/// Who a peer is, or what it is told.
pub(super) type Verdict = Result<Option<Identity>, String>;

/// What is known of a peer that asks to be let in.
pub(super) enum Decision {
    Now(Verdict),
    #[cfg_attr(
        not(feature = "signalling-server"),
        expect(dead_code, reason = "nobody to wait for")
    )]
    Later(BoxFuture<'static, Verdict>),
}

impl QuicAdmission {
    /// Lets anyone in who reaches the socket.
    #[must_use]
    pub fn anyone() -> Self {
        Self(Kind::Anyone)
    }

    /// Lets in who has one of these tokens, each with whom it names. All are compared in constant time.
    #[must_use]
    pub fn tokens(tokens: impl IntoIterator<Item = (Token, Identity)>) -> Self {
        Self(Kind::Tokens(tokens.into_iter().collect()))
    }

    /// Lets in whom the application's own check does. The request that it is shown is a `CONNECT` of the path
    /// [`PATH`](Self::PATH), with the token as bearer token. It is given up after 5 s.
    #[cfg(feature = "signalling-server")]
    #[must_use]
    pub fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        Self(Kind::Authorizer(authorizer))
    }

    /// The path that an authorizer sees.
    pub const PATH: &'static str = "quic";

    pub(super) fn decide(&self, token: &[u8], from: SocketAddr) -> Decision {
        match &self.0 {
            Kind::Anyone => Decision::Now(Ok(None)),
            Kind::Tokens(tokens) => {
                // All of them, so that the time does not tell which one it is like.
                let mut found = None;
                for (known, identity) in tokens.iter() {
                    if is_same_secret(&secret(known), token) {
                        found = Some(identity.clone());
                    }
                }
                let wrong = if token.is_empty() { NO_TOKEN } else { WRONG_TOKEN };
                Decision::Now(found.map(Some).ok_or_else(|| wrong.to_owned()))
            }
            #[cfg(feature = "signalling-server")]
            Kind::Authorizer(authorizer) => {
                let (authorizer, token) = (authorizer.clone(), token.to_vec());
                Decision::Later(Box::pin(async move { ask(&*authorizer, &token, from).await }))
            }
        }
        .of(from)
    }
}

impl Decision {
    /// Logs who is not let in.
    fn of(self, from: SocketAddr) -> Self {
        if let Self::Now(Err(reason)) = &self {
            tracing::warn!(%from, reason, "a link over QUIC was refused");
        }
        self
    }
}

const NO_TOKEN: &str = "a token is needed";
const WRONG_TOKEN: &str = "the token is wrong";

/// The token as it is sent.
pub(super) fn secret(token: &Token) -> Vec<u8> {
    let header = token.authorization();
    header.strip_prefix("Bearer ").unwrap_or(&header).as_bytes().to_vec()
}

#[cfg(feature = "signalling-server")]
async fn ask(authorizer: &dyn Authorizer, token: &[u8], from: SocketAddr) -> Verdict {
    use axum::http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};

    let mut headers = HeaderMap::new();
    if !token.is_empty() {
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
        headers.insert(AUTHORIZATION, value.map_err(|_| WRONG_TOKEN.to_owned())?);
    }
    let request = AuthorizationRequest::new(from, &Method::CONNECT, QuicAdmission::PATH, &headers);
    authorizer.authorize(request).await.map(Some).map_err(|denial| {
        tracing::warn!(%from, ?denial, "a link over QUIC was refused");
        match denial {
            Denial::NoToken => NO_TOKEN.to_owned(),
            Denial::WrongToken => WRONG_TOKEN.to_owned(),
            Denial::Forbidden { reason } => reason,
            Denial::Unavailable { retry_after } => {
                format!("it cannot be decided now: try again in {} s", retry_after.as_secs())
            }
            _ => "not authorized".to_owned(),
        }
    })
}

impl fmt::Debug for QuicAdmission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Anyone => "QuicAdmission::anyone",
            Kind::Tokens(_) => "QuicAdmission::tokens",
            #[cfg(feature = "signalling-server")]
            Kind::Authorizer(_) => "QuicAdmission::authorizer",
        })
    }
}
