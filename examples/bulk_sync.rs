//! Makes two folders have the same files: of two with one name the one that was changed last.
//!
//! `cargo run --release --features bulk-files,tcp --example bulk_sync -- FOLDER` prints an address, and with that behind it another folder
//! is brought to the same. `deltawire sync` does more: it asks first, and tells what it did.

use deltawire::bulk::{
    Bulk, BulkOptions, BulkStatus, Existing, FileName, Proposal, Sink, Source, hash_file,
};
use deltawire::prelude::*;
use deltawire::{Admission, Link};
use std::path::Path;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[..] {
        [_, folder] => {
            let any = "127.0.0.1:0".parse()?;
            let node = Node::builder().accept_tcp(any, Admission::anyone()).build()?;
            let address = node.tcp_address().ok_or("it does not listen")?;
            println!("tcp://{address}");
            while let Some((peer, link)) = node.accept().await {
                sync(&node, peer, link, folder.as_ref()).await?;
            }
        }
        [_, folder, url] => {
            let node = Node::builder().build()?;
            let (peer, link) = node.connect(url).await?;
            sync(&node, peer, link, folder.as_ref()).await?;
        }
        _ => return Err("bulk_sync FOLDER [URL]".into()),
    }
    Ok(())
}

/// The same at both ends: offers all files, and takes those that are newer than its own.
async fn sync(
    node: &Node,
    peer: Peer,
    link: Link,
    folder: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let bulk = Bulk::new(node.runtime().clone(), BulkOptions::default())?;
    let Peer { receive, mut command, send: _send } = peer;
    let attending = bulk.attend(&link, receive);
    let taking = async {
        while let Some(Proposal::Offer(offer)) = bulk.proposals().await {
            let path = folder.join(offer.name().as_str()); // a FileName is never a path
            let own = hash_file(&path, 64 << 10).ok();
            let newer = own.is_none_or(|own| {
                (own.modified, own.layout.root()) < (offer.modified(), offer.root())
            });
            if newer {
                println!("takes {}", offer.name());
                let _ = offer.accept(Sink::folder(folder, Existing::Replace).keep_modified());
            } else {
                offer.refuse(BulkStatus::EXISTS);
            }
        }
    };
    let offering = async {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            // What may not be called so elsewhere stays here, and so does a folder.
            if let Ok(name) = FileName::new(&entry.file_name().to_string_lossy())
                && entry.file_type()?.is_file()
            {
                // One that the other side has, or a newer one, it refuses.
                let _ = bulk.send(Source::file(entry.path()), name)?.finished().await;
            }
        }
        command.send.send(DeltaFields::new(DocId([0; 16])), b"all offered").await?;
        command.receive.next().await?; // so is all of the other side's
        link.close(CloseCode::NORMAL, "in sync");
        link.closed().await;
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    tokio::select! {
        offered = offering => offered,
        ended = attending => Ok(ended.map(drop)?),
        () = taking => Ok(()),
    }
}
