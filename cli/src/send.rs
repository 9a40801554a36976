//! `deltawire send`.

use std::path::PathBuf;

use deltawire_bulk::{BulkOptions, Source, TransferError};
use tokio::task::JoinSet;

use crate::arguments::Send;
use crate::end::End;
use crate::link;
use crate::output::Output;

/// Sends files, and connects again until they are there.
pub(crate) async fn send(task: &Send, options: &link::Options, output: &Output) -> Result<(), End> {
    let Some((url, files)) = task.files_and_url.split_last() else {
        return Err(End::NotStarted("no files".to_owned()));
    };
    let mut named = Vec::new();
    for file in files {
        let path = PathBuf::from(file);
        if !path.is_file() {
            return Err(End::Failed(format!("{file} is no file")));
        }
        named.push((link::name_of(&path)?, path));
    }
    let node = link::client(options, task.retries)?;
    let bounds = BulkOptions {
        max_rate: task.rate << 10,
        max_pending: named.len().max(64),
        ..BulkOptions::default()
    };
    let bulk = link::bulk(&node, bounds)?;
    let mut transfers = JoinSet::new();
    for (name, path) in named {
        let transfer = bulk.send(Source::file(path), name.clone());
        let transfer = transfer.map_err(|error| End::Failed(error.to_string()))?;
        let output = output.clone();
        transfers.spawn(async move { output.follow("sent", name.as_str(), &transfer).await });
    }
    let work = async {
        let mut end = Ok(());
        while let Some(sent) = transfers.join_next().await {
            match sent {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => end = Err(end_of(&error)),
                Err(error) => end = Err(End::Failed(error.to_string())),
            }
        }
        end
    };
    link::keep(&node, url, &bulk, output, work).await
}

/// The exit code of a transfer that did not do what it was for.
pub(crate) fn end_of(error: &TransferError) -> End {
    match error {
        TransferError::Peer(_) | TransferError::Unanswered => End::Refused(error.to_string()),
        _ => End::Failed(error.to_string()),
    }
}
