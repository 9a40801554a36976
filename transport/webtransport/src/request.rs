//! What a client asks for, and whether it may.

use web_transport_proto::ConnectRequest;

use crate::PrologueError;

/// The rules of a server: where its links are, and which pages may open them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// The path, which begins with `/`.
    pub path: String,
    /// The pages that may open them. Clients that are no pages name no origin, and may.
    pub origins: Origins,
}

/// The pages that may open links: browsers let any page try, and say which one it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Those from the host that they open a link to, whatever their port. The default.
    #[default]
    SameHost,
    /// These as well, each written as browsers do: `https://example.org`, `http://localhost:8080`.
    Listed(Vec<String>),
    /// All.
    Any,
}

/// A request for a session.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// The host and port that it was sent to, as the client names them.
    pub authority: String,
    /// The path, without what stands behind `?`.
    pub path: String,
    /// The ticket that lets it in, once: `ticket=` behind the `?`.
    pub ticket: Option<String>,
    /// The bearer token, of clients that are no pages.
    pub token: Option<Vec<u8>>,
    /// The page's origin.
    pub origin: Option<String>,
}

/// A reason for which a request is not granted: the connection goes on until it was told so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// There are no links at this path. Status 404.
    #[error("no links are at {path:?}: they are at {expected:?}")]
    Path {
        /// The path that was asked for; the first 64 characters.
        path: String,
        /// The one that is there.
        expected: String,
    },
    /// A page of another origin asks. Status 403.
    #[error(
        "pages of {origin:?} may open no links here: NodeBuilder::webtransport_origins says which may"
    )]
    Origin {
        /// Whose page it is; the first 64 characters.
        origin: String,
    },
}

impl Denied {
    /// The status that says so (RFC 9110, section 15).
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Path { .. } => 404,
            Self::Origin { .. } => 403,
        }
    }
}

impl Rules {
    /// At this path, for pages from the same host.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), origins: Origins::default() }
    }

    /// Checks that a request is for what is there, and from who may ask.
    ///
    /// # Errors
    ///
    /// [`Denied`] says what is not so.
    pub fn check(&self, request: &Request) -> Result<(), Denied> {
        if request.path != self.path {
            let expected = self.path.clone();
            return Err(Denied::Path { path: start(&request.path), expected });
        }
        let Some(origin) = request.origin.as_deref() else { return Ok(()) };
        let listed = match &self.origins {
            Origins::Any => true,
            Origins::Listed(origins) => origins.iter().any(|listed| listed == origin),
            Origins::SameHost => false,
        };
        let of_page = origin.split_once("://").map_or("", |(_, host)| host_of(host));
        let same = !of_page.is_empty() && of_page.eq_ignore_ascii_case(host_of(&request.authority));
        if listed || same { Ok(()) } else { Err(Denied::Origin { origin: start(origin) }) }
    }
}

/// A host without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // Of IPv6 the last colon may be within the brackets.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// The start of a text, for messages.
fn start(text: &str) -> String {
    text.chars().take(64).collect()
}

impl Request {
    /// Reads it from a frame of HTTP/3, head and all.
    pub(crate) fn read(mut frame: &[u8]) -> Result<Self, PrologueError> {
        // It may have something of the client's in it.
        let unreadable = |reason: String| PrologueError::Request { reason: start(&reason) };
        let request =
            ConnectRequest::decode(&mut frame).map_err(|it| unreadable(it.to_string()))?;
        let field = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = |value: &str| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().as_bytes().to_vec())
        };
        let pairs = request.url.query().unwrap_or_default().split('&');
        Ok(Self {
            authority: request.url.authority().to_owned(),
            path: request.url.path().to_owned(),
            ticket: pairs.filter_map(|pair| pair.strip_prefix("ticket=")).next().map(str::to_owned),
            token: field("authorization").and_then(bearer),
            origin: field("origin").map(str::to_owned),
        })
    }
}

/// Without the ticket and the token: who has them is let in.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("authority", &self.authority)
            .field("path", &self.path)
            .field("origin", &self.origin)
            .field("ticket", &self.ticket.is_some())
            .field("token", &self.token.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authority: &str, origin: Option<&str>) -> Request {
        Request {
            authority: authority.to_owned(),
            path: "/links".to_owned(),
            ticket: None,
            token: None,
            origin: origin.map(str::to_owned),
        }
    }

    #[test]
    fn pages_of_the_same_host_may_and_those_that_are_listed() {
        let mut rules = Rules::new("/links");
        for (authority, origin, may) in [
            ("a.org:4000", None, true),
            ("a.org:4000", Some("https://a.org"), true),
            ("A.org:4000", Some("http://a.ORG:8080"), true),
            ("[::1]:4000", Some("http://[::1]:8080"), true),
            ("[::1]", Some("http://[::1]"), true),
            ("127.0.0.1:4000", Some("http://127.0.0.1:80"), true),
            ("[::1]:4000", Some("http://[::2]:8080"), false),
            ("a.org:4000", Some("https://b.a.org"), false),
            ("a.org:4000", Some("https://a.org.b"), false),
            ("a.org:4000", Some("null"), false),
            ("a.org:4000", Some(""), false),
            ("", Some("https://"), false),
        ] {
            let checked = rules.check(&request(authority, origin));
            assert_eq!(checked.is_ok(), may, "{authority} {origin:?}");
        }
        let other = request("a.org:4000", Some("https://b.org"));
        let denied = rules.check(&other).unwrap_err();
        assert_eq!(denied.status(), 403);
        assert_eq!(denied, Denied::Origin { origin: "https://b.org".to_owned() });
        rules.origins = Origins::Listed(vec!["https://b.org".to_owned()]);
        assert!(rules.check(&other).is_ok());
        assert!(rules.check(&request("a.org:4000", Some("https://a.org"))).is_ok());
        assert!(rules.check(&request("a.org:4000", Some("https://b.org:1"))).is_err());
        rules.origins = Origins::Any;
        assert!(rules.check(&request("a.org:4000", Some("null"))).is_ok());
        rules.path = "/elsewhere".to_owned();
        assert_eq!(rules.check(&other).unwrap_err().status(), 404);
    }
}
