//! A task that reads a blob as it is asked for.

use std::io;
use std::sync::Arc;

use deltawire_channels::Message;
use wasm_bindgen_futures::spawn_local;
use web_sys::Blob;

use super::blob::{self, HashList};
use crate::driver::{Shared, hashes_message, piece_message};
use crate::error::TransferError;
use crate::outgoing::Part;

/// Starts a task that reads the blob of a transfer, until that is over.
pub(crate) fn spawn_reader(shared: Arc<Shared>, key: u64, blob: Blob, piece_len: u32) {
    spawn_local(async move {
        if let Err(error) = run(&shared, key, &blob, piece_len).await {
            shared.lock().end_sending(key, Err(error), true);
        }
    });
}

async fn run(shared: &Shared, key: u64, blob: &Blob, piece_len: u32) -> Result<(), TransferError> {
    let failed = || TransferError::io("read the blob to send");
    let goes_on = || shared.lock().reader_of(key).is_some();
    let Some(list) = HashList::of(blob, piece_len, goes_on).await.map_err(failed())? else {
        return Ok(());
    };
    let Some(wake) = ({
        let mut state = shared.lock();
        state.handle_hashed(key, list.layout, list.modified, None);
        state.reader_of(key)
    }) else {
        return Ok(());
    };
    loop {
        let changed = wake.listen();
        let next = {
            let mut state = shared.lock();
            if state.reader_of(key).is_none() {
                return Ok(());
            }
            state.poll_read(key)
        };
        let Some((id, part, len)) = next else {
            changed.await;
            continue;
        };
        match read_part(blob, &list, id, part).await {
            Ok(message) => shared.lock().handle_read(key, id, part, message),
            Err(error) => {
                shared.lock().free_read(len);
                return Err(failed()(error));
            }
        }
    }
}

/// Reads a part to where it is sent from.
async fn read_part(blob: &Blob, list: &HashList, id: u32, part: Part) -> io::Result<Message> {
    let layout = &list.layout;
    match part {
        Part::Piece(index) => {
            let len = layout.len_of(index);
            let bytes = blob::read(blob, layout.offset(index), len as u64).await?;
            piece_message(id, index, len, |room| {
                bytes.copy_to(room);
                Ok(())
            })
        }
        Part::PieceHashes(group) => {
            Ok(hashes_message(id, part, &list.pieces_of(blob, group).await?))
        }
        Part::GroupHashes => Ok(hashes_message(id, part, &list.groups)),
    }
}
