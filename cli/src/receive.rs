//! `deltawire receive`.

use std::path::Path;

use deltawire_bulk::{Bulk, BulkOptions, BulkStatus, Existing, Offer, Proposal, Sink};
use deltawire_channels::Peer;
use deltawire_link::Link;
use serde_json::json;
use tokio::task::JoinSet;

use crate::arguments::Receive;
use crate::end::End;
use crate::link;
use crate::output::Output;

/// Takes files that peers send, until Ctrl+C or, with `--once`, the first peer is done.
pub(crate) async fn receive(
    task: &Receive,
    options: &link::Options,
    output: &Output,
) -> Result<(), End> {
    if !task.to.is_dir() {
        return Err(End::NotStarted(format!("{} is no folder", task.to.display())));
    }
    let node = link::server(task.listen.listen, options, output).await?;
    let bounds = BulkOptions { max_len: task.max_len << 20, ..BulkOptions::default() };
    let mut peers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = node.accept() => {
                let Some((peer, link)) = accepted else { return Ok(()) };
                let bulk = link::bulk(&node, bounds)?;
                let (to, existing) = (task.to.clone(), Existing::from(task.if_exists));
                let output = output.clone();
                peers.spawn(async move { of_peer(&bulk, peer, &link, &to, existing, &output).await });
            }
            Some(ended) = peers.join_next() => {
                let came = ended.map_err(|error| End::Failed(error.to_string()))?;
                if task.once && came.files > 0 && came.failed == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// What came from a peer.
#[derive(Default)]
pub(crate) struct Came {
    files: u32,
    failed: u32,
}

async fn of_peer(
    bulk: &Bulk,
    peer: Peer,
    link: &Link,
    to: &Path,
    existing: Existing,
    output: &Output,
) -> Came {
    let text = format!("{} is connected", link.id());
    output.say("connected", &text, json!({ "link": link.id().0, "kind": link.kind() }));
    let Peer { command: _command, send: _send, receive } = peer;
    let attending = bulk.attend(link, receive);
    let mut came = Came::default();
    let mut transfers = JoinSet::new();
    let taking = async {
        while let Some(proposal) = bulk.proposals().await {
            match proposal {
                Proposal::Offer(offer) => {
                    transfers.spawn(take(offer, Sink::folder(to, existing), output.clone()));
                }
                Proposal::Request(request) => request.refuse(BulkStatus::REFUSED),
                _ => {}
            }
        }
    };
    tokio::select! {
        ended = attending => if let Err(error) = ended {
            output.say("refused", &error.to_string(), json!({ "error": error.to_string() }));
        },
        () = taking => {}
    }
    while let Some(taken) = transfers.join_next().await {
        match taken {
            Ok(true) => came.files += 1,
            _ => came.failed += 1,
        }
    }
    came
}

/// Takes one, and says whether it came.
pub(crate) async fn take(offer: Offer, sink: Sink, output: Output) -> bool {
    let name = offer.name().as_str().to_owned();
    match offer.accept(sink) {
        Ok(transfer) => output.follow("received", &name, &transfer).await.is_ok(),
        Err(error) => {
            let text = format!("{name}: {error}");
            output.say("failed", &text, json!({ "name": name, "error": error.to_string() }));
            false
        }
    }
}
