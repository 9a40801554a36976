//! Sends a file: `cargo run --release --features bulk-files --example bulk_push -- big.iso http://127.0.0.1:8080/webrtc`.
//! `deltawire receive` takes it.

use deltawire::bulk::{Bulk, BulkOptions, FileName, Source};
use deltawire::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, url] = &arguments[..] else { return Err("bulk_push FILE URL".into()) };
    let name = path.rsplit('/').next().unwrap_or(path);
    let node = Node::builder().build()?;
    let bulk = Bulk::new(node.runtime().clone(), BulkOptions::default())?;
    let transfer = bulk.send(Source::file(path), FileName::new(name)?)?;

    let (peer, link) = node.connect(url).await?;
    let Peer { receive, send: _send, command: _command } = peer; // deltas and commands overtake the file
    let attending = async { bulk.attend(&link, receive).await };
    let sending = async {
        let report = transfer.finished().await;
        link.close(CloseCode::NORMAL, "sent");
        report
    };
    let (_, report) = tokio::join!(attending, sending);
    let report = report?;
    println!("{}: {} bytes in {:.2?}", report.name, report.len, report.took);
    Ok(())
}
