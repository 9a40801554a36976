//! What the tests of the server share: servers, requests, and documents over WebSocket beside them.

#![allow(dead_code, reason = "not every test takes all of it")]

use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deltawire_framing::DocId;
use deltawire_hub::{Documents, DocumentsOptions};
use deltawire_node::{Node, ReconnectEvent};
use deltawire_server::Server;
use deltawire_server::config::{Access, Config, TokenConfig};
use deltawire_signalling::{ClientOptions, Token};
use serde_json::Value;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

pub(crate) fn document(number: u8) -> DocId {
    DocId([number; 16])
}

/// At ports that are free.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.server.http = (Ipv4Addr::LOCALHOST, 0).into();
    config.server.listen = None;
    config.server.shutdown = Duration::from_secs(6);
    config
}

pub(crate) fn token(text: &str, name: &str, access: Access) -> TokenConfig {
    let token = Token::new(text).unwrap();
    TokenConfig { token, name: name.to_owned(), access, snapshots: access == Access::Admin }
}

/// A directory of the test's own, gone when it is dropped.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("deltawire-server-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks a server.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) token: Option<String>,
}

/// A delta, as a line tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) epoch: u64,
    pub(crate) position: u64,
    pub(crate) payload: Vec<u8>,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Self {
        Self::at(&format!("http://{}", server.address()))
    }

    pub(crate) fn at(base: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, base: base.to_owned(), token: None }
    }

    pub(crate) fn with(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    pub(crate) async fn answer(&self, method: &str, path: &str) -> (u16, Value) {
        json_of(soon("answer", self.request(method, path).send()).await.unwrap()).await
    }

    pub(crate) async fn post(&self, document: DocId, query: &str, payload: &[u8]) -> (u16, Value) {
        let path = format!("/documents/{document}/deltas{query}");
        let request = self.request("POST", &path).body(payload.to_vec());
        json_of(soon("answer", request.send()).await.unwrap()).await
    }

    /// What there is of a document, as lines.
    pub(crate) async fn lines(&self, document: DocId, query: &str) -> Vec<Value> {
        let path = format!("/documents/{document}/deltas{query}");
        let request = self.request("GET", &path).header("accept", "application/x-ndjson");
        let answer = soon("answer", request.send()).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        let text = soon("lines", answer.text()).await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn deltas(&self, document: DocId, query: &str) -> Vec<Line> {
        self.lines(document, query).await.iter().filter_map(line_of).collect()
    }

    pub(crate) async fn follow(&self, document: DocId, query: &str) -> Follower {
        let path = format!("/documents/{document}/deltas?follow{query}");
        let request = self.request("GET", &path).header("accept", "application/x-ndjson");
        let answer = soon("answer", request.send()).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        Follower { answer, rest: Vec::new() }
    }
}

pub(crate) async fn json_of(answer: reqwest::Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    let text = soon("body", answer.text()).await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

pub(crate) fn line_of(value: &Value) -> Option<Line> {
    Some(Line {
        epoch: value.get("epoch")?.as_u64()?,
        position: value.get("position")?.as_u64()?,
        payload: STANDARD.decode(value.get("payload")?.as_str()?).unwrap(),
    })
}

/// Reads lines as they come.
pub(crate) struct Follower {
    answer: reqwest::Response,
    rest: Vec<u8>,
}

impl Follower {
    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() > 1 {
                    return Some(serde_json::from_slice(&line).unwrap());
                }
                continue;
            }
            match soon("line", self.answer.chunk()).await.unwrap() {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return None,
            }
        }
    }

    pub(crate) async fn delta(&mut self) -> Line {
        loop {
            let line = self.line().await.expect("it goes on");
            if let Some(line) = line_of(&line) {
                return line;
            }
            assert!(line.get("gap").is_none(), "{line}");
        }
    }
}

/// Documents over WebSocket, as a program elsewhere has them.
pub(crate) async fn documents(base: &str, token: Option<&str>) -> (Node, Documents) {
    documents_over("websocket", base, token).await
}

/// The same over another kind of link.
pub(crate) async fn documents_over(
    kind: &str,
    base: &str,
    token: Option<&str>,
) -> (Node, Documents) {
    let token = token.map(|token| Token::new(token).unwrap());
    let signalling = ClientOptions { token, ..ClientOptions::default() };
    let node = Node::builder().signalling(signalling).prefer_links([kind]).build().unwrap();
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let (keeper, attended) = (node.clone(), documents.clone());
    let url = format!("{base}/webrtc");
    tokio::spawn(async move {
        let mut connection = keeper.keep_connected(&url);
        while let Some(event) = connection.next().await {
            if let ReconnectEvent::Up(peer, link) = event {
                let _ = attended.attend(&link, *peer).await;
            }
        }
    });
    (node, documents)
}
