//! Signalling by `fetch`.

use std::time::Duration;

use js_sys::{Function, Promise, Reflect, global};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, Headers, Request, RequestInit, Response, Url};

use deltawire_browser::{explain, timeout};
use deltawire_link::runtime::BoxFuture;

use super::{Answered, ClientOptions, Signaller, SignallingError, TakenOffer, offers_of};
use crate::{
    DEFAULT_MAX_BODY, MEDIA_TYPE_LINKS, MEDIA_TYPE_PROBLEM, MEDIA_TYPE_SDP, OfferedLinks, Problem,
    is_media_type,
};

/// Makes offers to servers, by `fetch`. Redirects are the browser's affair, which takes the token off those
/// that lead to another origin.
#[derive(Clone, Debug)]
pub struct SignallingClient {
    options: ClientOptions,
}

impl SignallingClient {
    /// A client.
    ///
    /// # Errors
    ///
    /// None in a browser.
    pub fn new(options: ClientOptions) -> Result<Self, SignallingError> {
        Ok(Self { options })
    }
}

impl Signaller for SignallingClient {
    fn offer<'a>(
        &'a self,
        url: &'a str,
        sdp: String,
    ) -> BoxFuture<'a, Result<Answered, SignallingError>> {
        Box::pin(async move { offer(&self.options, url, &sdp).await })
    }

    fn links<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<OfferedLinks, SignallingError>> {
        Box::pin(async move { links(&self.options, url).await })
    }

    fn take_offer<'a>(
        &'a self,
        room: &'a str,
    ) -> BoxFuture<'a, Result<Option<TakenOffer>, SignallingError>> {
        Box::pin(async move { take_offer(&self.options, room).await })
    }

    fn answer<'a>(
        &'a self,
        resource: &'a str,
        sdp: String,
    ) -> BoxFuture<'a, Result<(), SignallingError>> {
        Box::pin(
            async move { exchange(&self.options, "POST", resource, Some(&sdp)).await.map(drop) },
        )
    }

    fn hang_up<'a>(&'a self, resource: &'a str) -> BoxFuture<'a, Result<(), SignallingError>> {
        Box::pin(async move { exchange(&self.options, "DELETE", resource, None).await.map(drop) })
    }

    /// Of no use here: the browser finds its way by itself.
    fn host(&self, url: &str) -> Result<(String, u16), SignallingError> {
        check(url)?;
        Ok((String::new(), 0))
    }
}

async fn offer(options: &ClientOptions, url: &str, sdp: &str) -> Result<Answered, SignallingError> {
    check(url)?;
    let response = exchange(options, "POST", url, Some(sdp)).await?;
    let resource = response.description(201, options)?;
    Ok(Answered { sdp: response.body, resource })
}

async fn take_offer(
    options: &ClientOptions,
    room: &str,
) -> Result<Option<TakenOffer>, SignallingError> {
    check(room)?;
    let response = exchange(options, "POST", &offers_of(room), None).await?;
    if response.response.status() == 204 {
        return Ok(None);
    }
    match response.description(200, options)? {
        Some(resource) => Ok(Some(TakenOffer { sdp: response.body, resource })),
        None => Err(not_an_answer("location", "", "must be of the origin that was asked")),
    }
}

/// What kinds of links there are: of a server that does not understand that, WebRTC.
async fn links(options: &ClientOptions, url: &str) -> Result<OfferedLinks, SignallingError> {
    check(url)?;
    let answer = match exchange(options, "POST", url, None).await {
        Err(error) if error.is_not_understood() => return Ok(OfferedLinks::webrtc()),
        answered => answered?,
    };
    OfferedLinks::from_json(answer.body.as_bytes())
        .ok_or_else(|| not_an_answer("body", &answer.body, "must be a document of links"))
}

struct Success {
    response: Response,
    body: String,
}

impl Success {
    /// Says where it leads, if this is a session description.
    fn description(
        &self,
        status: u16,
        options: &ClientOptions,
    ) -> Result<Option<String>, SignallingError> {
        if self.response.status() != status {
            let found = self.response.status().to_string();
            return Err(not_an_answer("status", &found, "must be of success"));
        }
        let content_type = self.header("content-type");
        if !is_media_type(&content_type, MEDIA_TYPE_SDP) {
            return Err(not_an_answer("content-type", &content_type, "must be application/sdp"));
        }
        if !self.body.starts_with("v=0") {
            return Err(not_an_answer("body", &self.body, "must start with v=0"));
        }
        let location = self.header("location");
        let url = self.response.url();
        let same_origin =
            |resource: &Url| Url::new(&url).is_ok_and(|url| url.origin() == resource.origin());
        let resource = Url::new_with_base(&location, &url);
        Ok(resource
            .ok()
            .filter(|_| !location.is_empty())
            .filter(|resource| options.token.is_none() || same_origin(resource))
            .map(|resource| resource.href()))
    }

    fn header(&self, name: &str) -> String {
        header(&self.response, name)
    }
}

async fn exchange(
    options: &ClientOptions,
    method: &str,
    url: &str,
    body: Option<&str>,
) -> Result<Success, SignallingError> {
    let after = options.timeout;
    let controller = AbortController::new().map_err(|error| failed(url, &error))?;
    // Where nobody waits any more, the browser would go on, and a server with it.
    let controller = Aborted(controller);
    let exchange = ask(options, method, url, body, &controller.0);
    let timed_out = || SignallingError::TimedOut { url: url.to_owned(), after };
    timeout(after, exchange).await.unwrap_or_else(|| Err(timed_out()))
}

/// Ends a request when it is dropped. One that is over does not mind.
struct Aborted(AbortController);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(
    options: &ClientOptions,
    method: &str,
    url: &str,
    body: Option<&str>,
    controller: &AbortController,
) -> Result<Success, SignallingError> {
    let request =
        request(options, method, url, body, controller).map_err(|error| failed(url, &error))?;
    let fetch = Reflect::get(&global(), &"fetch".into()).unwrap_or_default();
    let fetch: Function = fetch.dyn_into().map_err(|error| failed(url, &error))?;
    let promise = fetch.call1(&global(), &request).map_err(|error| failed(url, &error))?;
    let response = JsFuture::from(Promise::from(promise)).await;
    let response: Response = response.map_err(|error| failed(url, &error))?.unchecked_into();
    let too_long = || SignallingError::TooLong { url: url.to_owned(), limit: DEFAULT_MAX_BODY };
    // The browser has the whole body before it gives any; this refuses what says its length.
    let stated: usize = header(&response, "content-length").parse().unwrap_or(0);
    if stated > DEFAULT_MAX_BODY {
        controller.abort();
        return Err(too_long());
    }
    let text = response.text().map(JsFuture::from).map_err(|error| broken(url, &error))?;
    let body = text.await.map_err(|error| broken(url, &error))?.as_string().unwrap_or_default();
    if response.ok() {
        if body.len() > DEFAULT_MAX_BODY {
            return Err(too_long());
        }
        return Ok(Success { response, body });
    }
    let is_problem = is_media_type(&header(&response, "content-type"), MEDIA_TYPE_PROBLEM);
    let problem = if is_problem { Problem::from_json(body.as_bytes()).map(Box::new) } else { None };
    let retry_after = header(&response, "retry-after").parse().ok().map(Duration::from_secs);
    let (url, status) = (url.to_owned(), response.status());
    Err(SignallingError::Refused { url, status, problem, retry_after })
}

fn request(
    options: &ClientOptions,
    method: &str,
    url: &str,
    body: Option<&str>,
    controller: &AbortController,
) -> Result<Request, JsValue> {
    let headers = Headers::new()?;
    // Without a body it is asked what links there are, or hung up.
    let accepted = if body.is_some() { MEDIA_TYPE_SDP } else { MEDIA_TYPE_LINKS };
    headers.set("accept", &format!("{accepted}, {MEDIA_TYPE_PROBLEM}"))?;
    if let Some(token) = &options.token {
        headers.set("authorization", &token.authorization())?;
    }
    let init = RequestInit::new();
    init.set_method(method);
    init.set_signal(Some(&controller.signal()));
    if let Some(body) = body {
        headers.set("content-type", MEDIA_TYPE_SDP)?;
        init.set_body(&body.into());
    }
    init.set_headers(&headers);
    Request::new_with_str_and_init(url, &init)
}

/// Whether an address can be asked.
fn check(url: &str) -> Result<(), SignallingError> {
    let parsed = Url::new(url).ok();
    let reason = match &parsed {
        None => "it must be like http://example.org/webrtc",
        Some(url) if !url.username().is_empty() || !url.password().is_empty() => {
            "it names a user: give a token instead"
        }
        Some(url) if !["http:", "https:"].contains(&url.protocol().as_str()) => {
            "it must start with http:// or https://"
        }
        Some(_) => return Ok(()),
    };
    let url = url.rsplit('@').next().unwrap_or_default().to_owned();
    Err(SignallingError::Url { url, reason: reason.to_owned() })
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).ok().flatten().unwrap_or_default()
}

fn failed(url: &str, error: &JsValue) -> SignallingError {
    SignallingError::Unreachable { url: url.to_owned(), source: explain(error).into() }
}

fn broken(url: &str, error: &JsValue) -> SignallingError {
    SignallingError::Broken { url: url.to_owned(), source: explain(error).into() }
}

fn not_an_answer(field: &'static str, value: &str, expected: &'static str) -> SignallingError {
    SignallingError::NotAnAnswer { field, value: value.chars().take(65).collect(), expected }
}
