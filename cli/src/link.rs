//! Links: where they go, and how they are kept.

use std::net::SocketAddr;
use std::path::Path;

use deltawire_bulk::{Bulk, BulkOptions, FileName};
use deltawire_framing::control::CloseCode;
use deltawire_node::{Admission, Backoff, Node, ReconnectEvent};
use deltawire_signalling::{ClientOptions, SignallingOptions, SignallingServer, Token};
use serde_json::json;

use crate::end::End;
use crate::output::Output;

/// What both sides say of themselves.
pub(crate) struct Options {
    pub(crate) token: Option<String>,
}

impl Options {
    fn token(&self) -> Result<Option<Token>, End> {
        let token = self.token.clone().map(Token::new).transpose();
        token.map_err(|error| End::NotStarted(format!("--token: {error}")))
    }
}

/// A node that connects.
pub(crate) fn client(options: &Options, retries: u32) -> Result<Node, End> {
    let options = ClientOptions { token: options.token()?, ..ClientOptions::default() };
    let backoff = Backoff { max_attempts: Some(retries.max(1)), ..Backoff::default() };
    let node = Node::builder().resume(None).signalling(options).backoff(backoff).build();
    node.map_err(|error| End::NotStarted(error.to_string()))
}

/// A node that accepts at an address, and says which that is.
pub(crate) async fn server(
    address: SocketAddr,
    options: &Options,
    output: &Output,
) -> Result<Node, End> {
    let not_started = |error: &dyn std::fmt::Display| End::NotStarted(error.to_string());
    let udp = SocketAddr::new(address.ip(), 0);
    let token = options.token()?;
    // Signalling that asks for nothing gives no tickets.
    let admission = if token.is_some() { Admission::ticket() } else { Admission::anyone() };
    let node = Node::builder()
        .resume(None)
        .listen(udp)
        .accept_quic(admission)
        .build()
        .map_err(|error| not_started(&error))?;
    let signalling = SignallingOptions { token, ..SignallingOptions::default() };
    let router = node.router(signalling);
    let server =
        SignallingServer::bind(address, router).await.map_err(|error| not_started(&error))?;
    let url = format!("http://{}/", server.local_addr());
    tokio::spawn(server.serve(std::future::pending()));
    output.say("listening", &format!("listening at {url}"), json!({ "url": url }));
    Ok(node)
}

/// The address that a node of Deltawire's answers at, of the one that people write.
pub(crate) fn address(url: &str) -> String {
    let is_http = url.starts_with("http://") || url.starts_with("https://");
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    match rest.split_once('/') {
        None if is_http => format!("{url}/webrtc"),
        Some((_, "")) if is_http => format!("{url}webrtc"),
        _ => url.to_owned(),
    }
}

pub(crate) fn bulk(node: &Node, options: BulkOptions) -> Result<Bulk, End> {
    let bulk = Bulk::new(node.runtime().clone(), options);
    bulk.map_err(|error| End::NotStarted(error.to_string()))
}

/// Keeps bulk on links to `url` while `work` goes on, and then ends the link in order.
pub(crate) async fn keep<T>(
    node: &Node,
    url: &str,
    bulk: &Bulk,
    output: &Output,
    work: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    let mut connection = node.keep_connected(&address(url));
    let mut last = None;
    let keeping = async {
        while let Some(event) = connection.next().await {
            match event {
                ReconnectEvent::Up(peer, link) => {
                    // Its other channels stay as they are.
                    let deltawire_channels::Peer { command: _command, send: _send, receive } =
                        *peer;
                    if let Err(error) = bulk.attend(&link, receive).await {
                        link.close(CloseCode::NORMAL, "no bulk");
                        return End::Refused(error.to_string());
                    }
                }
                ReconnectEvent::Down { ended, .. } => {
                    let text = format!("the link is over: {ended}; connecting again");
                    output.say("link_down", &text, json!({ "why": ended.to_string() }));
                }
                ReconnectEvent::Failed { error, retry_after } => {
                    let text = match retry_after {
                        Some(wait) => format!("{error}; again in {wait:.1?}"),
                        None => error.to_string(),
                    };
                    output.say("not_reached", &text, json!({ "why": error.to_string() }));
                    last = Some(error.to_string());
                }
                _ => {}
            }
        }
        End::NotReached(last.unwrap_or_else(|| format!("{url} was not reached")))
    };
    let done = tokio::select! {
        // What is done counts for more than the end of its link.
        biased;
        done = work => done,
        end = keeping => Err(end),
    };
    node.shut_down(std::time::Duration::from_secs(5)).await;
    done
}

/// The name of a file of this side's.
pub(crate) fn name_of(path: &Path) -> Result<FileName, End> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        return Err(End::Failed(format!("{}: its name is no text in UTF-8", path.display())));
    };
    FileName::new(name).map_err(|error| End::Failed(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_people_write() {
        for (written, meant) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/webrtc"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/webrtc"),
            ("https://example.org/files", "https://example.org/files"),
            ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9"),
        ] {
            assert_eq!(address(written), meant);
        }
    }
}
