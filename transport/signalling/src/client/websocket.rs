//! Opens WebSockets.

use deltawire_stream::ByteStream;
use deltawire_websocket::{SUBPROTOCOL, opening};
use reqwest::Method;
use reqwest::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};

use super::exchange::{self, not_an_answer};
use super::{SignallingClient, SignallingError};

impl SignallingClient {
    /// Opens a WebSocket at `ws://…` or, with the feature `https`, `wss://…`, and gives the stream that its
    /// frames are to go over. `random` is what the server has to show that it understood: of this request alone.
    ///
    /// # Errors
    ///
    /// As of [`offer`](Self::offer).
    pub async fn open_websocket(
        &self,
        url: &str,
        random: [u8; 16],
    ) -> Result<Box<dyn ByteStream>, SignallingError> {
        let url = exchange::parse(&as_http(url))?;
        let key = opening::key(random);
        let mut exchange = self.exchange(Method::GET, None)?;
        exchange.headers = HeaderMap::from_iter([
            (CONNECTION, HeaderValue::from_static("Upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_VERSION, HeaderValue::from_static(opening::VERSION)),
            (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL)),
        ]);
        if let Ok(key) = HeaderValue::from_str(&key) {
            exchange.headers.insert(SEC_WEBSOCKET_KEY, key);
        }
        let (headers, upgraded) = exchange.upgrade(url).await?;
        let accept = opening::accept(&key);
        let expected = [
            (SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", accept.as_str(), "must answer the key"),
            (SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol", SUBPROTOCOL, "must be deltawire.1"),
        ];
        for (name, field, wanted, rule) in expected {
            let value = text(&headers, &name);
            if value != wanted {
                return Err(not_an_answer(field, value, rule));
            }
        }
        if let Some(extensions) = headers.get("sec-websocket-extensions") {
            let value = extensions.to_str().unwrap_or_default();
            return Err(not_an_answer("sec-websocket-extensions", value, "must not be there"));
        }
        Ok(Box::new(upgraded))
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// The address that is asked for a WebSocket's.
pub(super) fn as_http(url: &str) -> String {
    match url.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ws") => format!("http:{rest}"),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("wss") => format!("https:{rest}"),
        _ => url.to_owned(),
    }
}
