//! Who may connect, where peers show a token before anything else.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use deltawire_link::Identity;
use deltawire_link::runtime::BoxFuture;
#[cfg(all(feature = "quic", feature = "signalling-server"))]
use deltawire_signalling::Tickets;
use deltawire_signalling::Token;
#[cfg(feature = "signalling-server")]
use deltawire_signalling::{AuthorizationRequest, Authorizer, Denial};
use subtle::ConstantTimeEq;

/// Says who may connect over QUIC, SCTP, TCP, a Unix socket or WebTransport, and who that is: by the token that a peer shows before anything
/// else, which is that of its [`ClientOptions`](deltawire_signalling::ClientOptions).
#[derive(Clone)]
pub struct Admission(Kind);

#[derive(Clone)]
enum Kind {
    Anyone,
    #[cfg(feature = "quic")]
    Ticket,
    Tokens(Arc<[(Token, Identity)]>),
    #[cfg(feature = "signalling-server")]
    Authorizer(Arc<dyn Authorizer>),
}

/// How long an application has to say whether a peer is let in.
pub(crate) const AUTHORIZE_TIMEOUT: Duration = Duration::from_secs(5);

/// Who a peer is, or what it is told.
pub(crate) type Verdict = Result<Option<Identity>, String>;

/// What is known of a peer that asks to be let in.
pub(crate) enum Decision {
    Now(Verdict),
    #[cfg_attr(
        not(feature = "signalling-server"),
        expect(dead_code, reason = "nobody to wait for")
    )]
    Later(BoxFuture<'static, Verdict>),
}

impl Admission {
    /// Lets anyone in who reaches the socket.
    #[must_use]
    pub fn anyone() -> Self {
        Self(Kind::Anyone)
    }

    #[cfg(all(feature = "quic", feature = "signalling-server"))]
    pub(crate) fn is_ticket(&self) -> bool {
        matches!(self.0, Kind::Ticket)
    }

    /// Lets nobody in: for links over QUIC and WebTransport, where it leaves those who have a ticket of the node's
    /// signalling.
    #[cfg(feature = "quic")]
    #[must_use]
    pub fn ticket() -> Self {
        Self(Kind::Ticket)
    }

    /// Lets in who has one of these tokens, each with whom it names. All are compared in constant time.
    #[must_use]
    pub fn tokens(tokens: impl IntoIterator<Item = (Token, Identity)>) -> Self {
        Self(Kind::Tokens(tokens.into_iter().collect()))
    }

    /// Lets in whom the application's own check does. The request that it is shown is a `CONNECT`, with the kind of link
    /// (`quic`, `sctp`, `tcp`, `unix`, `webtransport`) as its path and the token as bearer token. It is given up after 5 s.
    #[cfg(feature = "signalling-server")]
    #[must_use]
    pub fn authorizer(authorizer: Arc<dyn Authorizer>) -> Self {
        Self(Kind::Authorizer(authorizer))
    }

    /// Says what of a peer that opens a link of this kind.
    pub(crate) fn decide(&self, kind: &'static str, token: &[u8], from: SocketAddr) -> Decision {
        match &self.0 {
            Kind::Anyone => Decision::Now(Ok(None)),
            #[cfg(feature = "quic")]
            Kind::Ticket => Decision::Now(Err(NO_TICKET.to_owned())),
            Kind::Tokens(tokens) => {
                // All of them, so that the time does not tell which one it is like.
                let mut found = None;
                for (known, identity) in tokens.iter() {
                    if secret(known).ct_eq(token).into() {
                        found = Some(identity.clone());
                    }
                }
                let wrong = if token.is_empty() { NO_TOKEN } else { WRONG_TOKEN };
                Decision::Now(found.map(Some).ok_or_else(|| wrong.to_owned()))
            }
            #[cfg(feature = "signalling-server")]
            Kind::Authorizer(authorizer) => {
                let (authorizer, token) = (authorizer.clone(), token.to_vec());
                Decision::Later(Box::pin(
                    async move { ask(&*authorizer, kind, &token, from).await },
                ))
            }
        }
        .of(kind, from)
    }

    /// The same, waited for; `from` is `None` where an address means nothing.
    #[cfg(any(feature = "tcp", all(feature = "unix", unix)))]
    pub(crate) async fn verdict(
        &self,
        kind: &'static str,
        token: &[u8],
        from: Option<SocketAddr>,
    ) -> Verdict {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        match self.decide(kind, token, from.unwrap_or(unknown)) {
            Decision::Now(verdict) => verdict,
            Decision::Later(verdict) => verdict.await,
        }
    }
}

/// How a ticket is told from a token, which has no space in it.
#[cfg(feature = "quic")]
const TICKET: &[u8] = b"ticket ";

/// A ticket as it is sent where a token is expected.
#[cfg(feature = "quic")]
pub(crate) fn as_token(ticket: &str) -> Vec<u8> {
    [TICKET, ticket.as_bytes()].concat()
}

/// The ticket that was sent in place of a token, if one was.
#[cfg(all(feature = "quic", feature = "signalling-server"))]
pub(crate) fn ticket(token: &[u8]) -> Option<&str> {
    std::str::from_utf8(token.strip_prefix(TICKET)?).ok()
}

/// Lets in who has a ticket, as whom signalling knows it by.
#[cfg(all(feature = "quic", feature = "signalling-server"))]
pub(crate) fn redeem(
    tickets: &Tickets,
    kind: &'static str,
    ticket: &str,
    from: SocketAddr,
) -> Decision {
    let identity = tickets.redeem(ticket, kind, std::time::Instant::now());
    let wrong = || "the ticket is none, was used, or is older than 30 s".to_owned();
    Decision::Now(identity.ok_or_else(wrong)).of(kind, from)
}

impl Decision {
    /// Logs who is not let in.
    fn of(self, kind: &str, from: SocketAddr) -> Self {
        if let Self::Now(Err(reason)) = &self {
            tracing::warn!(kind, %from, reason, "a link was refused");
        }
        self
    }
}

#[cfg(feature = "quic")]
const NO_TICKET: &str = "a ticket of its signalling is needed";
const NO_TOKEN: &str = "a token is needed";
const WRONG_TOKEN: &str = "the token is wrong";

/// The token as it is sent.
pub(crate) fn secret(token: &Token) -> Vec<u8> {
    let header = token.authorization();
    header.strip_prefix("Bearer ").unwrap_or(&header).as_bytes().to_vec()
}

#[cfg(feature = "signalling-server")]
async fn ask(authorizer: &dyn Authorizer, kind: &str, token: &[u8], from: SocketAddr) -> Verdict {
    use axum::http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};

    let mut headers = HeaderMap::new();
    if !token.is_empty() {
        let value = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
        headers.insert(AUTHORIZATION, value.map_err(|_| WRONG_TOKEN.to_owned())?);
    }
    let request = AuthorizationRequest::new(from, &Method::CONNECT, kind, &headers);
    authorizer.authorize(request).await.map(Some).map_err(|denial| {
        tracing::warn!(kind, %from, ?denial, "a link was refused");
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

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Anyone => "Admission::anyone",
            #[cfg(feature = "quic")]
            Kind::Ticket => "Admission::ticket",
            Kind::Tokens(_) => "Admission::tokens",
            #[cfg(feature = "signalling-server")]
            Kind::Authorizer(_) => "Admission::authorizer",
        })
    }
}
