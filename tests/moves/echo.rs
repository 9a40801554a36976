//! The host that moves: it sends back what comes.

use std::io::{Write, stdin, stdout};

use deltawire::Node;
use deltawire_channels::{Limits, Peer};
use deltawire_framing::{DeltaFields, DocId};

/// Longer than a busy machine stalls a process.
pub(crate) const IDLE: std::time::Duration = std::time::Duration::from_secs(20);

/// Says that its namespace is there; connects to the URL that it is told once it has an address.
pub(crate) fn run() {
    println!("ready");
    stdout().flush().unwrap();
    let mut url = String::new();
    stdin().read_line(&mut url).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let limits = Limits { idle_timeout: IDLE, ..Limits::default() };
        let kind = std::env::var(crate::KIND).unwrap();
        // This network has nobody else.
        let builder = Node::builder().prefer_links([&*kind]).allow_unencrypted(true);
        let node = builder.limits(limits).build().unwrap();
        let (peer, link) = node.connect(url.trim()).await.unwrap();
        let Peer { mut send, mut receive, command } = peer;
        while let Ok(frame) = receive.next().await {
            let payload = frame.delta().unwrap().payload();
            let Ok(mut grant) = send.reserve(payload.len()).await else { break };
            grant.payload_mut().copy_from_slice(payload);
            grant.commit(DeltaFields::new(DocId([7; 16])), payload.len()).unwrap();
        }
        println!("{}", link.closed().await);
        drop(command);
    });
}
