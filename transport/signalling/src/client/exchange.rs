//! A request and its answer, with the redirects between them.

use core::error::Error;
use core::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Method, Response};
use url::Url;

#[cfg(feature = "https")]
use super::tls;
use super::{ClientOptions, SignallingError};
use crate::{DEFAULT_MAX_BODY, MEDIA_TYPE_PROBLEM, MEDIA_TYPE_SDP, Problem, is_media_type};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

pub(super) struct Exchange<'a> {
    pub(super) http: &'a Client,
    pub(super) options: &'a ClientOptions,
    pub(super) method: Method,
    pub(super) body: Option<(&'static str, String)>,
    /// Headers of this request alone.
    pub(super) headers: HeaderMap,
}

/// An answer of success.
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    headers: HeaderMap,
}

impl Success {
    /// A header's text: empty if it is not there, or not ASCII.
    pub(super) fn header(&self, name: &HeaderName) -> &str {
        text(&self.headers, name)
    }
}

impl Exchange<'_> {
    /// Asks, and gives what was answered and by which address.
    pub(super) async fn run(self, url: Url) -> Result<(Url, Success), SignallingError> {
        let asked = url.clone();
        self.in_time(&asked, async {
            let (url, response) = self.follow(url).await?;
            let success = self.finish(&url, response).await?;
            Ok((url, success))
        })
        .await
    }

    /// Asks for another protocol, and gives what was answered and the connection.
    #[cfg(feature = "websocket")]
    pub(super) async fn upgrade(
        self,
        url: Url,
    ) -> Result<(HeaderMap, reqwest::Upgraded), SignallingError> {
        let asked = url.clone();
        self.in_time(&asked, async {
            // Where a redirect leads may be another machine, over which nobody was asked.
            let response = self.send(&url).await?;
            let status = response.status();
            if status.as_u16() == 101 {
                let headers = response.headers().clone();
                let upgraded = response.upgrade().await.map_err(|error| failed(&url, error))?;
                return Ok((headers, upgraded));
            }
            self.finish(&url, response).await?;
            Err(not_an_answer("status", status.as_str(), "must be 101: it takes no WebSockets"))
        })
        .await
    }

    async fn in_time<T>(
        &self,
        url: &Url,
        exchange: impl Future<Output = Result<T, SignallingError>>,
    ) -> Result<T, SignallingError> {
        check(url)?;
        let after = self.options.timeout;
        match tokio::time::timeout(after, exchange).await {
            Ok(result) => result,
            Err(_) => Err(SignallingError::TimedOut { url: shown(url), after }),
        }
    }

    /// The answer, and who gave it.
    async fn follow(&self, mut url: Url) -> Result<(Url, Response), SignallingError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url).await?;
            if !matches!(response.status().as_u16(), 307 | 308) {
                return Ok((url, response));
            }
            let location = text(response.headers(), &LOCATION);
            let error = || not_an_answer("location", location, "must be an address of http");
            let next = url.join(location).map_err(|_| error())?;
            check(&next).map_err(|_| error())?;
            if !may_follow(&url, &next, self.options.token.is_some()) {
                return Err(SignallingError::Redirected { from: url.into(), to: next.into() });
            }
            url = next;
        }
        Err(not_an_answer("redirects", url.as_str(), "must be at most 5"))
    }

    async fn send(&self, url: &Url) -> Result<Response, SignallingError> {
        let request = self.http.request(self.method.clone(), url.clone());
        let mut request = request.headers(self.headers.clone());
        if let Some((media_type, body)) = &self.body {
            request = request.header(CONTENT_TYPE, *media_type).body(body.clone());
        }
        if let Some(token) = &self.options.token {
            // A token has no character that a header has not.
            let value = HeaderValue::try_from(token.authorization());
            if let Ok(mut value) = value {
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
        }
        if !self.headers.contains_key(ACCEPT) {
            request = request.header(ACCEPT, format!("{MEDIA_TYPE_SDP}, {MEDIA_TYPE_PROBLEM}"));
        }
        // A connection that was kept may end in the moment in which it is used again: nothing is answered twice, as
        // what an offer made and nobody uses is given up.
        let again = request.try_clone();
        match (request.send().await, again) {
            (Err(error), Some(again)) if broke_off(&error) => again.send().await,
            (sent, _) => sent,
        }
        .map_err(|error| failed(url, error))
    }

    async fn finish(&self, url: &Url, response: Response) -> Result<Success, SignallingError> {
        let status = response.status();
        let headers = response.headers().clone();
        let body = read(url, response).await;
        if status.is_success() {
            return Ok(Success { status: status.as_u16(), body: body?, headers });
        }
        if !status.is_client_error() && !status.is_server_error() {
            return Err(not_an_answer(
                "status",
                status.as_str(),
                "must be of success or an error, or 307 or 308",
            ));
        }
        let is_problem = is_media_type(text(&headers, &CONTENT_TYPE), MEDIA_TYPE_PROBLEM);
        let body = body.ok().filter(|_| is_problem);
        Err(SignallingError::Refused {
            url: shown(url),
            status: status.as_u16(),
            problem: body.and_then(|body| Problem::from_json(&body)).map(Box::new),
            retry_after: text(&headers, &RETRY_AFTER).parse().ok().map(Duration::from_secs),
        })
    }
}

/// The whole body, if it is not too long.
async fn read(url: &Url, mut response: Response) -> Result<Vec<u8>, SignallingError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(url, error))? {
        if body.len() + chunk.len() > DEFAULT_MAX_BODY {
            return Err(SignallingError::TooLong { url: shown(url), limit: DEFAULT_MAX_BODY });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failed(url: &Url, error: reqwest::Error) -> SignallingError {
    let (url, unreachable) = (shown(url), error.is_connect());
    #[cfg(feature = "https")]
    if let Some(reason) = tls::untrusted(&error) {
        return SignallingError::Untrusted { url, reason };
    }
    let source = error.without_url().into();
    if unreachable {
        SignallingError::Unreachable { url, source }
    } else {
        SignallingError::Broken { url, source }
    }
}

/// Whether the connection ended before anything was answered.
fn broke_off(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(source) = next {
        if source.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return true;
        }
        next = source.source();
    }
    false
}

/// An address without what may open something: a ticket.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// An error that keeps no more of the value than is shown.
pub(super) fn not_an_answer(
    field: &'static str,
    value: &str,
    expected: &'static str,
) -> SignallingError {
    SignallingError::NotAnAnswer { field, value: value.chars().take(65).collect(), expected }
}

/// An address that can be asked.
pub(crate) fn parse(url: &str) -> Result<Url, SignallingError> {
    let parsed = Url::parse(url).map_err(|error| SignallingError::Url {
        url: without_user(url),
        reason: format!("{error}; it must be like http://example.org/webrtc"),
    })?;
    check(&parsed)?;
    Ok(parsed)
}

/// Whether an address can be asked.
pub(super) fn check(url: &Url) -> Result<(), SignallingError> {
    let has_user = !url.username().is_empty() || url.password().is_some();
    let reason = match url.scheme() {
        _ if has_user => "it names a user: give a token instead",
        "http" => return Ok(()),
        "https" if cfg!(feature = "https") => return Ok(()),
        "https" => "https needs the feature https",
        _ => "it must start with http:// or https://",
    };
    Err(SignallingError::Url { url: without_user(url.as_str()), reason: reason.to_owned() })
}

/// The part of an address that can be shown: what stands before an @ may be a password.
fn without_user(url: &str) -> String {
    url.rsplit('@').next().unwrap_or_default().to_owned()
}

/// Whether a server may send from one address to another.
pub(super) fn may_follow(from: &Url, to: &Url, has_token: bool) -> bool {
    let loses_tls = from.scheme() == "https" && to.scheme() != "https";
    from.origin() == to.origin() || !has_token && !loses_tls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_asked_are_refused() {
        for (url, shown, reason) in [
            ("", "", "relative URL without a base"),
            ("localhost/webrtc", "localhost/webrtc", "relative URL without a base"),
            ("user:secret@a/b", "a/b", "must start with http://"),
            ("ftp://a/b", "ftp://a/b", "must start with http://"),
            ("data:x", "data:x", "must start with http://"),
            ("http://user:secret@a/b", "a/b", "names a user"),
            ("http://:secret@a/b", "a/b", "names a user"),
        ] {
            match parse(url).unwrap_err() {
                SignallingError::Url { url, reason: said } => {
                    assert_eq!(url, shown);
                    assert!(said.contains(reason), "{said}");
                    assert!(!said.contains("secret"));
                }
                other => panic!("{other}"),
            }
        }
        assert!(parse("http://[::1]:8080/webrtc").is_ok());
        assert_eq!(parse("https://a/b").is_ok(), cfg!(feature = "https"));
    }

    #[test]
    fn a_token_stays_with_its_origin_and_tls_is_kept() {
        let https = Url::parse("https://a/webrtc").unwrap();
        for (to, with_token, without) in [
            ("https://a:443/b", true, true),
            ("https://a:444/webrtc", false, true),
            ("https://b/webrtc", false, true),
            ("http://a/webrtc", false, false),
        ] {
            let to = Url::parse(to).unwrap();
            assert_eq!(may_follow(&https, &to, true), with_token, "{to}");
            assert_eq!(may_follow(&https, &to, false), without, "{to}");
        }
        let http = Url::parse("http://a/webrtc").unwrap();
        assert!(may_follow(&http, &https, false) && !may_follow(&http, &https, true));
    }
}
