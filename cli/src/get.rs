//! `deltawire serve` and `deltawire get`.

use std::path::{Path, PathBuf};

use deltawire_bulk::{
    Bulk, BulkOptions, BulkStatus, Existing, FileName, Proposal, Request, Sink, Source,
};
use deltawire_channels::Peer;
use deltawire_link::Link;
use serde_json::json;

use crate::arguments::{Get, Serve};
use crate::catalogue::{self, MAX_CATALOGUE};
use crate::end::End;
use crate::link;
use crate::output::Output;
use crate::receive::take;
use crate::send::end_of;

/// Gives the files of a folder to those who ask, until Ctrl+C.
pub(crate) async fn serve(
    task: &Serve,
    options: &link::Options,
    output: &Output,
) -> Result<(), End> {
    if !task.folder.is_dir() {
        return Err(End::NotStarted(format!("{} is no folder", task.folder.display())));
    }
    let node = link::server(task.listen.listen, options, output).await?;
    let bounds = BulkOptions { max_len: task.max_len << 20, ..BulkOptions::default() };
    while let Some((peer, link)) = node.accept().await {
        let bulk = link::bulk(&node, bounds)?;
        let (folder, writable, output) = (task.folder.clone(), task.writable, output.clone());
        tokio::spawn(async move { to_peer(&bulk, peer, &link, folder, writable, &output).await });
    }
    Ok(())
}

async fn to_peer(
    bulk: &Bulk,
    peer: Peer,
    link: &Link,
    folder: PathBuf,
    writable: bool,
    output: &Output,
) {
    let Peer { command: _command, send: _send, receive } = peer;
    let answering = async {
        while let Some(proposal) = bulk.proposals().await {
            match proposal {
                Proposal::Offer(offer) if writable => {
                    // Who sends here has compared: the newest replaces.
                    let sink = Sink::folder(&folder, Existing::Replace).keep_modified();
                    tokio::spawn(take(offer, sink, output.clone()));
                }
                Proposal::Offer(offer) => offer.refuse(BulkStatus::REFUSED),
                Proposal::Request(request) => {
                    tokio::spawn(answer(request, folder.clone(), output.clone()));
                }
                _ => {}
            }
        }
    };
    tokio::select! {
        ended = bulk.attend(link, receive) => if let Err(error) = ended {
            output.say("refused", &error.to_string(), json!({ "error": error.to_string() }));
        },
        () = answering => {}
    }
}

async fn answer(request: Request, folder: PathBuf, output: Output) {
    let (source, name) = match request.name() {
        Some(name) => {
            let path = folder.join(name.as_str());
            // A link leads out of the folder.
            if !std::fs::symlink_metadata(&path).is_ok_and(|it| it.is_file()) {
                return request.refuse(BulkStatus::NOT_FOUND);
            }
            (Source::file(path), name.clone())
        }
        None => {
            let listed = catalogue::of_folder(&folder).await;
            let json = listed.ok().and_then(|listed| serde_json::to_vec(&listed).ok());
            let (Some(json), Ok(name)) = (json, FileName::new("catalogue")) else {
                return request.refuse(BulkStatus::ERROR);
            };
            (Source::memory(json), name)
        }
    };
    match request.answer(source, name.clone()) {
        Ok(transfer) => drop(output.follow("sent", name.as_str(), &transfer).await),
        Err(error) => {
            let text = format!("{name}: {error}");
            output.say("failed", &text, json!({ "error": error.to_string() }));
        }
    }
}

/// Fetches a file, or says which there are.
pub(crate) async fn get(task: &Get, options: &link::Options, output: &Output) -> Result<(), End> {
    let name = task.name.as_deref().map(FileName::new).transpose();
    let name = name.map_err(|error| End::NotStarted(error.to_string()))?;
    let node = link::client(options, task.retries)?;
    let bounds = BulkOptions { max_len: task.max_len << 20, ..BulkOptions::default() };
    let bulk = link::bulk(&node, bounds)?;
    let work = async {
        match &name {
            Some(name) => fetch(&bulk, name, &task.to, task.if_exists.into(), output).await,
            None => {
                for (name, entry) in list(&bulk).await? {
                    let text = format!("{:>14}  {name}", entry.len);
                    output.say("file", &text, json!({ "name": name, "entry": entry }));
                }
                Ok(())
            }
        }
    };
    link::keep(&node, &task.url, &bulk, output, work).await
}

async fn fetch(
    bulk: &Bulk,
    name: &FileName,
    to: &Path,
    existing: Existing,
    output: &Output,
) -> Result<(), End> {
    let transfer = bulk.get(name.clone(), Sink::folder(to, existing));
    let transfer = transfer.map_err(|error| End::Failed(error.to_string()))?;
    let got = output.follow("received", name.as_str(), &transfer).await;
    got.map(drop).map_err(|error| end_of(&error))
}

/// What files the other side has.
pub(crate) async fn list(bulk: &Bulk) -> Result<catalogue::Catalogue, End> {
    let transfer = bulk.get_catalogue(Sink::memory(MAX_CATALOGUE));
    let transfer = transfer.map_err(|error| End::Failed(error.to_string()))?;
    let report = transfer.finished().await.map_err(|error| end_of(&error))?;
    catalogue::parse(&report.bytes.unwrap_or_default())
}
