//! Who may signal, and who that is.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderMap, Method};
use deltawire_link::Identity;
use deltawire_link::runtime::BoxFuture;

use crate::Token;

/// Says who may signal to a node, and who that is: an application's own check of tokens, sessions or
/// addresses. It is asked for each offer, candidate and hanging up, after the address's rate was checked. Who
/// is let in may add candidates to a link, and hang it up, whose address it knows: 128 random bits, which only
/// who made the offer is told.
///
/// ```
/// use deltawire_link::Identity;
/// use deltawire_link::runtime::BoxFuture;
/// use deltawire_signalling::{AuthorizationRequest, Authorizer, Denial};
///
/// #[derive(Debug)]
/// struct Sessions;
///
/// impl Authorizer for Sessions {
///     fn authorize<'a>(
///         &'a self,
///         request: AuthorizationRequest<'a>,
///     ) -> BoxFuture<'a, Result<Identity, Denial>> {
///         Box::pin(async move {
///             // Here a database may be asked.
///             match request.token() {
///                 Some("alice's") => Ok(Identity::new("alice")),
///                 Some(_) => Err(Denial::WrongToken),
///                 None => Err(Denial::NoToken),
///             }
///         })
///     }
/// }
/// ```
pub trait Authorizer: fmt::Debug + Send + Sync + 'static {
    /// Lets a request in, and says who makes it. It is given up after
    /// [`SignallingOptions::authorize_timeout`](super::SignallingOptions::authorize_timeout).
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>>;
}

/// What is known of a request before it is let in.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AuthorizationRequest<'a> {
    /// Where it came from, as trusted proxies say: 0.0.0.0:0 if that is not known.
    pub address: SocketAddr,
    /// `POST` of an offer, `PATCH` of candidates, `DELETE` to hang up; `CONNECT` of a link over QUIC. In rooms the
    /// [`path`](Self::path) says what is posted: an offer to `…/rooms/<name>`, who accepts to what is below `…/rooms/<name>/offers`.
    pub method: &'a Method,
    /// The path that was asked.
    pub path: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
}

impl<'a> AuthorizationRequest<'a> {
    /// A request that came by other means than signalling.
    #[must_use]
    pub fn new(
        address: SocketAddr,
        method: &'a Method,
        path: &'a str,
        headers: &'a HeaderMap,
    ) -> Self {
        Self { address, method, path, headers }
    }

    /// The bearer token (RFC 6750), if there is exactly one.
    #[must_use]
    pub fn token(&self) -> Option<&'a str> {
        let mut values = self.headers.get_all(axum::http::header::AUTHORIZATION).iter();
        let (first, second) = (values.next()?, values.next());
        let text = first.to_str().ok().filter(|_| second.is_none())?;
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    }
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denial {
    /// It has no token. Status 401.
    NoToken,
    /// Its token is wrong, or no longer right. Status 401.
    WrongToken,
    /// Who asks is known, and may not. Status 403.
    Forbidden {
        /// What the client is told.
        reason: String,
    },
    /// It cannot be decided now. Status 503, with `Retry-After`.
    Unavailable {
        /// How long the client is asked to wait.
        retry_after: Duration,
    },
}

/// A fixed list of tokens, each with whom it names: the simplest [`Authorizer`].
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<(Token, Identity)>);

impl Tokens {
    /// These. Each is compared in constant time.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = (Token, Identity)>) -> Self {
        Self(tokens.into_iter().collect())
    }
}

impl Authorizer for Tokens {
    fn authorize<'a>(
        &'a self,
        request: AuthorizationRequest<'a>,
    ) -> BoxFuture<'a, Result<Identity, Denial>> {
        let found = request.token().map(|token| {
            // All of them, so that the time does not tell which one it is like.
            let mut matching = None;
            for (known, identity) in &self.0 {
                if known.is(token) {
                    matching = Some(identity);
                }
            }
            matching.cloned().ok_or(Denial::WrongToken)
        });
        Box::pin(std::future::ready(found.unwrap_or(Err(Denial::NoToken))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Result<String, Denial> {
        let tokens = Tokens::new([
            (Token::new("a").unwrap(), Identity::new("alice")),
            (Token::new("b").unwrap(), Identity::new("bob")),
        ]);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        let request = AuthorizationRequest {
            address: SocketAddr::from(([0; 4], 0)),
            method: &Method::POST,
            path: "/webrtc",
            headers: &map,
        };
        let mut answer = tokens.authorize(request);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match answer.as_mut().poll(&mut context) {
            std::task::Poll::Ready(answer) => answer.map(|identity| identity.subject().to_owned()),
            std::task::Poll::Pending => panic!("it has nothing to wait for"),
        }
    }

    #[test]
    fn each_token_names_one_and_others_none() {
        assert_eq!(asked(&[("authorization", "Bearer a")]).unwrap(), "alice");
        assert_eq!(asked(&[("authorization", "bearer b")]).unwrap(), "bob");
        assert_eq!(asked(&[("authorization", "Bearer ab")]), Err(Denial::WrongToken));
        assert_eq!(asked(&[("authorization", "Basic a")]), Err(Denial::NoToken));
        assert_eq!(asked(&[]), Err(Denial::NoToken));
        let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(asked(&two), Err(Denial::NoToken), "which of the two counts is nobody's guess");
    }
}
