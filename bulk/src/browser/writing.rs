//! A task that checks pieces, writes them, and makes them safe.

use std::sync::Arc;
use std::time::Duration;

use deltawire_framing::bulk::BulkStatus;
use wasm_bindgen_futures::spawn_local;

use super::part::Part;
use super::time;
use crate::driver::{Shared, Work};
use crate::error::TransferError;
use crate::layout::Layout;
use crate::name::FileName;
use crate::pieces::Pieces;
use crate::signal::Signal;
use crate::sink::FolderSink;
use crate::unfinished::{LOCK_PAUSE, LOCK_TIMEOUT, NotOpened, SYNC_AFTER, SYNC_EVERY};

/// Pieces that are looked for at a time, before the browser does other things too.
const LOOKS: u32 = 16;

/// Starts a task that writes the file of a transfer, until that is over.
pub(crate) fn spawn_writer(
    shared: Arc<Shared>,
    key: u64,
    layout: Layout,
    name: FileName,
    sink: FolderSink,
    wake: Arc<Signal>,
) {
    spawn_local(async move {
        if let Err(error) = write(&shared, key, layout, &name, &sink, &wake).await {
            shared.lock().end_receiving(key, Err(error), true);
        }
    });
}

async fn open(
    shared: &Shared,
    key: u64,
    layout: Layout,
    name: &FileName,
    sink: &FolderSink,
) -> Result<Option<(Part, Pieces)>, TransferError> {
    let begun = time::now();
    loop {
        match Part::open(sink, name, layout).await {
            Ok(opened) => return Ok(Some(opened)),
            Err(NotOpened::Failed(error)) => return Err(error),
            Err(NotOpened::There(path)) => {
                shared.lock().handle_there(key, path);
                return Ok(None);
            }
            Err(NotOpened::Busy) if time::now() - begun >= LOCK_TIMEOUT => {
                return Err(TransferError::Here(BulkStatus::BUSY));
            }
            Err(NotOpened::Busy) => time::pause(LOCK_PAUSE).await,
        }
        if !shared.lock().receiving.contains_key(&key) {
            return Ok(None);
        }
    }
}

async fn write(
    shared: &Shared,
    key: u64,
    layout: Layout,
    name: &FileName,
    sink: &FolderSink,
    wake: &Signal,
) -> Result<(), TransferError> {
    let Some((mut part, have)) = open(shared, key, layout, name, sink).await? else {
        return Ok(());
    };
    let mut known = have.clone();
    let (mut unsafe_bytes, mut saved_at) = (0, time::now());
    let mut looks = 0;
    shared.lock().handle_opened(key, have, part.looks);
    loop {
        let changed = wake.listen();
        let work = shared.lock().poll_work(key);
        let done = match work {
            Ok(None) => {
                changed.await;
                continue;
            }
            // It is over: what was written is kept for another transfer.
            Err(()) => {
                let saved = part.save(&known).await;
                return saved.map_err(TransferError::io("make safe what came"));
            }
            Ok(Some(Work::Finish)) => {
                let path = part.finish().await?;
                shared.lock().handle_finished(key, Some(path), None);
                return Ok(());
            }
            Ok(Some(Work::Look(index, hash))) => {
                looks += 1;
                if looks % LOOKS == 0 {
                    time::pause(Duration::ZERO).await;
                }
                part.look(index, &hash).await.map(|found| {
                    if found {
                        known.insert(index);
                    }
                    shared.lock().handle_looked(key, index, found);
                })
            }
            Ok(Some(Work::Write(arrival))) => {
                let bytes = arrival.bytes();
                let (index, len) = (arrival.index, bytes.len() as u64);
                let written = part.write(index, &arrival.hash, bytes);
                // Its part of the link's window goes back before more is asked for.
                drop(arrival);
                written.map(|right| {
                    if right {
                        known.insert(index);
                        unsafe_bytes += len;
                        shared.lock().handle_written(key, index);
                    } else {
                        shared.lock().handle_wrong(key, index);
                    }
                })
            }
        };
        if let Err(error) = done {
            let _ = part.save(&known).await;
            return Err(TransferError::io("write the file")(error));
        }
        let now = time::now();
        let due = unsafe_bytes >= SYNC_EVERY || now - saved_at >= SYNC_AFTER;
        if unsafe_bytes > 0 && due {
            if let Err(error) = part.save(&known).await {
                // Pieces that are not remembered are found by their hashes.
                tracing::warn!(%error, "which pieces of a file came is not remembered");
            }
            (unsafe_bytes, saved_at) = (0, now);
        }
    }
}
