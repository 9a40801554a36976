//! Asks for a file by its name:
//! `cargo run --release --features bulk-files --example bulk_get -- http://127.0.0.1:8080/webrtc big.iso`.
//! `deltawire serve` has it.

use deltawire::bulk::{Bulk, BulkOptions, Existing, FileName, Sink};
use deltawire::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, name] = &arguments[..] else { return Err("bulk_get URL NAME".into()) };
    let node = Node::builder().build()?;
    let bulk = Bulk::new(node.runtime().clone(), BulkOptions::default())?;
    let transfer = bulk.get(FileName::new(name)?, Sink::folder(".", Existing::Rename))?;

    let (peer, link) = node.connect(url).await?;
    let Peer { receive, send: _send, command: _command } = peer; // deltas and commands overtake the file
    let attending = async { bulk.attend(&link, receive).await };
    let getting = async {
        let mut progress = transfer.progress();
        while transfer.ended().is_none() {
            println!("{} of {} bytes", progress.written, progress.len);
            progress = transfer.changed(progress).await;
        }
        link.close(CloseCode::NORMAL, "got");
        transfer.finished().await
    };
    let (_, report) = tokio::join!(attending, getting);
    println!("{:?}", report?.path);
    Ok(())
}
