//! Bytes over TCP, for what no well-behaved client or server does.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An answer as it came.
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Raw {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (other, value) = line.split_once(':')?;
            other.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Asserts that it is a problem document of its own status.
    pub(crate) fn assert_problem(&self) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.head);
        assert!(self.body.contains(&format!("\"status\":{}", self.status)), "{}", self.body);
    }
}

/// Sends a request with these header lines and reads the answer to its end.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Raw {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for header in headers {
        request.extend([header, "\r\n"]);
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    send(address, &bytes).await
}

/// Sends bytes and reads the answer to its end.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> Raw {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_to_end(&mut stream).await
}

/// Reads an answer, and that nothing follows.
pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Raw {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Raw { status, head: head.to_owned(), body: body.to_owned() }
}

/// A server that answers every request with the same bytes and closes; with none, it never does
/// either.
pub(crate) async fn answer_with(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if bytes.is_empty() {
                kept.push(stream);
                continue;
            }
            read_request(&mut stream).await;
            // The client may have gone when it has read enough.
            let _ = stream.write_all(&bytes).await;
        }
    });
    address
}

/// Reads a request with its body, so that closing the connection does not break it off.
async fn read_request(stream: &mut TcpStream) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= len.map_or(0, |len| len.parse().unwrap()) {
                return;
            }
        }
        match stream.read(&mut buffer).await.unwrap() {
            0 => return,
            len => request.extend_from_slice(&buffer[..len]),
        }
    }
}
