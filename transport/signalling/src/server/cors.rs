use core::time::Duration;

use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, HOST, IF_MATCH, LINK, LOCATION, ORIGIN, RETRY_AFTER,
};
use axum::http::{HeaderMap, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

/// Which pages of other origins may signal from a browser.
///
/// They may then read `Location`, `ETag`, `Link` and `Retry-After`, and send a token and a media
/// type. Browsers ask again after an hour.
#[derive(Clone, Debug, Default)]
pub struct Cors(Origins);

#[derive(Clone, Debug, Default)]
enum Origins {
    #[default]
    None,
    Any,
    Listed(Vec<HeaderValue>),
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin:?} is no origin: it must be like https://example.org or http://localhost:8080")]
pub struct OriginError {
    /// The text.
    pub origin: String,
}

impl Cors {
    /// None: browsers refuse answers to pages of other origins. The default.
    #[must_use]
    pub fn none() -> Self {
        Self(Origins::None)
    }

    /// All pages.
    #[must_use]
    pub fn any() -> Self {
        Self(Origins::Any)
    }

    /// The pages of these origins, each like `https://example.org` or `http://localhost:8080`:
    /// written as browsers do, so in lower case, with nothing behind the port, and without a port
    /// that is the scheme's own.
    pub fn origins<I>(origins: I) -> Result<Self, OriginError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let header = |origin: I::Item| {
            let origin = origin.as_ref();
            let parsed = Url::parse(origin).ok().map(|url| url.origin());
            let is_origin = parsed.is_some_and(|parsed| parsed.ascii_serialization() == origin);
            let value = HeaderValue::from_str(origin).ok().filter(|_| is_origin);
            value.ok_or_else(|| OriginError { origin: origin.to_owned() })
        };
        Ok(Self(Origins::Listed(origins.into_iter().map(header).collect::<Result<_, _>>()?)))
    }

    /// The origin of the page that sends such a request, if that may not.
    pub(super) fn refuses<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let may = is_same(origin, headers.get(HOST)) || self.allows(origin);
        (!may).then_some(origin)
    }

    /// Whether pages of this origin may signal.
    fn allows(&self, origin: &HeaderValue) -> bool {
        match &self.0 {
            Origins::None => false,
            Origins::Any => true,
            Origins::Listed(origins) => origins.contains(origin),
        }
    }

    /// The layer that says so to browsers, if there is anything to say.
    pub(super) fn layer(self) -> Option<CorsLayer> {
        let origins = match self.0 {
            Origins::None => return None,
            Origins::Any => AllowOrigin::any(),
            Origins::Listed(origins) => AllowOrigin::list(origins),
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, IF_MATCH])
            .expose_headers([LOCATION, ETAG, LINK, RETRY_AFTER])
            .max_age(Duration::from_secs(3600));
        Some(layer)
    }
}

/// Whether a page comes from the host that it asks.
fn is_same(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let origin = origin.to_str().unwrap_or_default();
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let of_page = origin.split_once("://").map_or("", |(_, host)| host);
    !host.is_empty() && of_page.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_are_taken() {
        assert!(Cors::origins(["https://example.org", "http://localhost:8080"]).is_ok());
        for origin in ["*", "", "null", "example.org", "https://a.org/", "https://a.org:443"] {
            let error = Cors::origins(["https://example.org", origin]).unwrap_err();
            assert_eq!(error.origin, origin);
        }
    }
}
