use core::fmt;
use std::sync::{Arc, OnceLock};

use deltawire_link::caught;
use deltawire_link::runtime::BoxFuture;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use url::Url;

use super::exchange::{self, Exchange, Success};
use super::{Answered, ClientOptions, Signaller, SignallingError, TakenOffer, offers_of};
use crate::{
    MEDIA_TYPE_FRAGMENT, MEDIA_TYPE_LINKS, MEDIA_TYPE_PROBLEM, MEDIA_TYPE_SDP, OfferedLinks,
    SdpFragment, is_media_type,
};

/// Makes offers to servers, each request over a connection of its own. Clones share what it is made of.
///
/// At most 64 KiB of an answer are taken. Redirects that keep the method (307 and 308) are followed
/// five times: within the origin, and to others if there is no token and https stays https. No
/// proxy is used, whatever the environment says.
///
/// ```no_run
/// # async fn run(offer: String) -> Result<(), deltawire_signalling::SignallingError> {
/// use deltawire_signalling::{ClientOptions, SignallingClient};
///
/// let client = SignallingClient::new(ClientOptions::default())?;
/// let answered = client.offer("http://localhost:8080/webrtc", offer).await?;
/// println!("{}", answered.sdp);
/// if let Some(resource) = &answered.resource {
///     client.hang_up(resource).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SignallingClient {
    // Not hyper-util, whose crates it shares with axum: redirects' addresses and TLS come tried.
    http: Arc<OnceLock<Result<reqwest::Client, String>>>,
    options: ClientOptions,
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        // A connection that is left may lead nowhere when the next link is wanted: that is why one is.
        .pool_max_idle_per_host(0)
        .no_proxy()
        .user_agent(concat!("deltawire/", env!("CARGO_PKG_VERSION")))
}

impl SignallingClient {
    /// A client. Its requests have to be made within a tokio runtime with I/O and time.
    pub fn new(options: ClientOptions) -> Result<Self, SignallingError> {
        let http = OnceLock::new();
        #[cfg(feature = "https")]
        {
            let built = super::tls::trust(builder(), &options)?.build();
            let built = built.map_err(|error| SignallingError::Client { source: error.into() })?;
            let _ = http.set(Ok(built));
        }
        Ok(Self { http: Arc::new(http), options })
    }

    /// Made when it is needed. Where another crate of the program has reqwest built with TLS and without what encrypts
    /// (`rustls-no-provider`), making it panics unless the program has named something: who asks over HTTP is told, and nobody else.
    fn http(&self) -> Result<&reqwest::Client, SignallingError> {
        let make = || match caught(|| builder().build()) {
            Ok(built) => built.map_err(|error| error.to_string()),
            Err(panic) => Err(panic),
        };
        let http = self.http.get_or_init(make).as_ref();
        http.map_err(|why| SignallingError::Client { source: why.clone().into() })
    }

    /// Makes an offer to `http://…` or, with the feature `https`, `https://…`.
    ///
    /// When this fails with [`TimedOut`](SignallingError::TimedOut) or
    /// [`Broken`](SignallingError::Broken), the server may still have made what was asked for: it
    /// gives up peers that do not connect.
    pub async fn offer(
        &self,
        url: &str,
        sdp: impl Into<String>,
    ) -> Result<Answered, SignallingError> {
        let url = exchange::parse(url)?;
        let exchange = self.exchange(Method::POST, Some((MEDIA_TYPE_SDP, sdp.into())))?;
        let (url, answer) = exchange.run(url).await?;
        if answer.status != 201 {
            let status = answer.status.to_string();
            return Err(exchange::not_an_answer("status", &status, "must be 201"));
        }
        let resource = match answer.header(&LOCATION) {
            "" => None,
            location => Some(self.resource(&url, location)?.into()),
        };
        Ok(Answered { sdp: description(answer)?, resource })
    }

    /// Takes the next offer that was made in the room at this address; `None` if none came for now.
    pub async fn take_offer(&self, room: &str) -> Result<Option<TakenOffer>, SignallingError> {
        let url = exchange::parse(&offers_of(room))?;
        let (url, taken) = self.exchange(Method::POST, None)?.run(url).await?;
        match taken.status {
            200 => {}
            204 => return Ok(None),
            status => {
                let status = status.to_string();
                return Err(exchange::not_an_answer("status", &status, "must be 200 or 204"));
            }
        }
        let resource = self.resource(&url, taken.header(&LOCATION))?;
        let sdp = description(taken)?;
        Ok(Some(TakenOffer { sdp, resource: resource.into() }))
    }

    /// Brings the answer to an offer that was taken. To refuse it, [hang up](Self::hang_up).
    pub async fn answer(
        &self,
        resource: &str,
        sdp: impl Into<String>,
    ) -> Result<(), SignallingError> {
        let body = (MEDIA_TYPE_SDP, sdp.into());
        self.exchange(Method::POST, Some(body))?.run(exchange::parse(resource)?).await?;
        Ok(())
    }

    /// Asks what kinds of links there are: of a server that does not understand that, WebRTC.
    ///
    /// # Errors
    ///
    /// As of [`offer`](Self::offer).
    pub async fn links(&self, url: &str) -> Result<OfferedLinks, SignallingError> {
        let mut exchange = self.exchange(Method::POST, None)?;
        let accepted = format!("{MEDIA_TYPE_LINKS}, {MEDIA_TYPE_PROBLEM}");
        if let Ok(accepted) = HeaderValue::from_str(&accepted) {
            exchange.headers.insert(ACCEPT, accepted);
        }
        let (_, answer) = match exchange.run(exchange::parse(url)?).await {
            Err(error) if error.is_not_understood() => return Ok(OfferedLinks::webrtc()),
            answered => answered?,
        };
        let expected = "must be a document of links";
        OfferedLinks::from_json(&answer.body).ok_or_else(|| {
            exchange::not_an_answer("body", &String::from_utf8_lossy(&answer.body), expected)
        })
    }

    /// Sends candidates that were found after the offer was made.
    pub async fn add_candidates(
        &self,
        resource: &str,
        fragment: &SdpFragment,
    ) -> Result<(), SignallingError> {
        let body = (MEDIA_TYPE_FRAGMENT, fragment.to_text()?);
        self.exchange(Method::PATCH, Some(body))?.run(exchange::parse(resource)?).await?;
        Ok(())
    }

    /// Ends what an offer made.
    pub async fn hang_up(&self, resource: &str) -> Result<(), SignallingError> {
        self.exchange(Method::DELETE, None)?.run(exchange::parse(resource)?).await?;
        Ok(())
    }

    pub(super) fn exchange(
        &self,
        method: Method,
        body: Option<(&'static str, String)>,
    ) -> Result<Exchange<'_>, SignallingError> {
        let headers = HeaderMap::new();
        Ok(Exchange { http: self.http()?, options: &self.options, method, body, headers })
    }

    /// Where a `Location` leads, if the token may go there.
    fn resource(&self, url: &Url, location: &str) -> Result<Url, SignallingError> {
        let error = |expected| Err(exchange::not_an_answer("location", location, expected));
        let Ok(resource) = url.join(location) else { return error("must be an address") };
        if exchange::check(&resource).is_err() {
            return error("must be an address of http or https without a user name");
        }
        if !exchange::may_follow(url, &resource, self.options.token.is_some()) {
            return error("must be of the origin that was asked, as the token goes to no other");
        }
        Ok(resource)
    }
}

impl Signaller for SignallingClient {
    fn offer<'a>(
        &'a self,
        url: &'a str,
        sdp: String,
    ) -> BoxFuture<'a, Result<Answered, SignallingError>> {
        Box::pin(self.offer(url, sdp))
    }

    fn links<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<OfferedLinks, SignallingError>> {
        Box::pin(self.links(url))
    }

    fn take_offer<'a>(
        &'a self,
        room: &'a str,
    ) -> BoxFuture<'a, Result<Option<TakenOffer>, SignallingError>> {
        Box::pin(self.take_offer(room))
    }

    fn answer<'a>(
        &'a self,
        resource: &'a str,
        sdp: String,
    ) -> BoxFuture<'a, Result<(), SignallingError>> {
        Box::pin(self.answer(resource, sdp))
    }

    fn hang_up<'a>(&'a self, resource: &'a str) -> BoxFuture<'a, Result<(), SignallingError>> {
        Box::pin(self.hang_up(resource))
    }

    fn host(&self, url: &str) -> Result<(String, u16), SignallingError> {
        #[cfg(feature = "websocket")]
        let url = &super::websocket::as_http(url);
        let url = exchange::parse(url)?;
        let host = url.host_str().unwrap_or_default();
        // Of IPv6 without its brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok((host, url.port_or_known_default().unwrap_or(80)))
    }
}

/// The session description that an answer of success has.
fn description(answer: Success) -> Result<String, SignallingError> {
    let content_type = answer.header(&CONTENT_TYPE);
    if !is_media_type(content_type, MEDIA_TYPE_SDP) {
        let expected = "must be application/sdp";
        return Err(exchange::not_an_answer("content-type", content_type, expected));
    }
    let sdp = String::from_utf8(answer.body).map_err(|error| {
        let text = String::from_utf8_lossy(error.as_bytes());
        exchange::not_an_answer("body", &text, "must be UTF-8")
    })?;
    if !sdp.starts_with("v=0") {
        return Err(exchange::not_an_answer("body", &sdp, "must start with v=0"));
    }
    Ok(sdp)
}

impl fmt::Debug for SignallingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignallingClient").field("options", &self.options).finish_non_exhaustive()
    }
}
