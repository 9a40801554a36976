//! A WebSocket server that sends on to all what anybody sends, as many programs have it: tokio-tungstenite and
//! `tokio::sync::broadcast`, in a process of its own.
//!
//! TCP_NODELAY; a task for each connection; what is there goes together, and is flushed when there is no more. The channel holds 4,096
//! messages, so that nobody lags here. No positions, nothing is kept, nobody is told what is missing.

use std::net::Ipv4Addr;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, error::TryRecvError};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::Request;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

use crate::flow::{LEN, Publish, Subscribe};
use crate::server::Server;
use crate::stamp::Stamp;

/// Messages that a subscriber may be behind.
const CAPACITY: usize = 4_096;

/// Where those connect that publish, and get nothing.
const PUBLISH: &str = "/publish";

/// Where the others do.
const SUBSCRIBE: &str = "/";

/// Serves for ever, and says where.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("address {}", listener.local_addr()?);
    let (sender, _) = broadcast::channel(CAPACITY);
    loop {
        let (stream, _) = listener.accept().await?;
        let (sender, receiver) = (sender.clone(), sender.subscribe());
        tokio::spawn(async move {
            // A client that misses something notices.
            let _ = attend(stream, sender, receiver).await;
        });
    }
}

async fn attend(
    stream: TcpStream,
    sender: broadcast::Sender<Bytes>,
    mut receiver: broadcast::Receiver<Bytes>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut publishes = false;
    #[expect(clippy::result_large_err, reason = "tungstenite wants it so")]
    let path = |request: &Request, response| {
        publishes = request.uri().path() == PUBLISH;
        Ok(response)
    };
    let (mut sink, mut stream) = accept_hdr_async(stream, path).await?.split();
    let sending = async {
        if publishes {
            drop(receiver);
            return std::future::pending().await;
        }
        loop {
            sink.feed(Message::Binary(receiver.recv().await?)).await?;
            loop {
                match receiver.try_recv() {
                    Ok(message) => sink.feed(Message::Binary(message)).await?,
                    Err(TryRecvError::Empty) => break,
                    Err(error) => return Err(anyhow::Error::from(error)),
                }
            }
            sink.flush().await?;
        }
    };
    let receiving = async {
        while let Some(message) = stream.next().await.transpose()? {
            if let Message::Binary(message) = message {
                // There is always one who listens: this task.
                let _ = sender.send(message);
            }
        }
        bail!("the client is gone")
    };
    tokio::select! { result = sending => result, result = receiving => result }
}

/// A connection of a client.
pub(crate) struct Client {
    stream: WebSocketStream<TcpStream>,
}

impl Client {
    async fn connect(server: &Server, path: &str) -> anyhow::Result<Self> {
        let address = server.said("address")?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: client_async(format!("ws://{address}{path}"), stream).await?.0 })
    }
}

/// A publisher and so many subscribers.
pub(crate) async fn ends(
    server: &Server,
    subscribers: usize,
) -> anyhow::Result<(Client, Vec<Client>)> {
    let publisher = Client::connect(server, PUBLISH).await?;
    let mut clients = Vec::new();
    for _ in 0..subscribers {
        clients.push(Client::connect(server, SUBSCRIBE).await?);
    }
    Ok((publisher, clients))
}

impl Publish for Client {
    async fn publish(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.feed(Message::Binary(Bytes::copy_from_slice(payload))).await?)
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.flush().await?)
    }
}

impl Subscribe for Client {
    async fn next(&mut self) -> anyhow::Result<Stamp> {
        match self.stream.next().await.context("the server is gone")?? {
            Message::Binary(message) => Stamp::read(&message, LEN),
            other => bail!("{other:?} came"),
        }
    }
}
