//! Sends back whatever peers send: `cargo run --release --example echo_server`.

use std::net::SocketAddr;

use clap::Parser;
use deltawire::framing::Kind;
use deltawire::prelude::*;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Accepts peers and sends back their deltas, opaque messages and commands.
#[derive(Parser)]
struct Arguments {
    /// Where signalling listens (HTTP).
    #[arg(long, default_value = "127.0.0.1:8080")]
    signalling: SocketAddr,
    /// Where peers' datagrams come (UDP).
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Sends every message back. Stops when the peer closes.
async fn echo(mut receive: Receiver, mut send: Sender) -> Result<()> {
    while let Ok(message) = receive.next().await {
        match message.kind() {
            Kind::Delta => {
                let delta = message.delta()?;
                let mut grant = send.reserve(delta.payload().len()).await?;
                grant.payload_mut().copy_from_slice(delta.payload());
                grant.commit(DeltaFields::new(delta.doc_id()), delta.payload().len())?;
            }
            _ => send.send_opaque(message.body()).await?,
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let node = Node::builder().listen(arguments.listen).http(arguments.signalling).build()?;
    let address = node.http_address().ok_or("the node serves HTTP")?;
    println!("connect to http://{address}/webrtc ; Ctrl+C ends");

    while let Some((Peer { command, send, receive }, link)) = node.accept().await {
        println!("{}: connected", link.id());
        for (receive, send) in [(command.receive, command.send), (receive, send)] {
            let id = link.id();
            tokio::spawn(async move {
                if let Err(error) = echo(receive, send).await {
                    eprintln!("{id}: {error}");
                }
            });
        }
        tokio::spawn(async move { println!("{}: {}", link.id(), link.closed().await) });
    }
    Ok(())
}
