//! A thread that reads a file as it is asked for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use deltawire_channels::Message;

use super::cached::Cached;
use super::hash_list::HashList;
use crate::driver::{Shared, hashes_message, piece_message};
use crate::error::TransferError;
use crate::outgoing::Part;

/// Starts a thread that reads the file of a transfer, until that is over.
pub(crate) fn spawn_reader(
    shared: Arc<Shared>,
    key: u64,
    path: PathBuf,
    piece_len: u32,
) -> io::Result<()> {
    let work = move || {
        let guard = Guard { shared: &shared, key };
        if let Err(error) = read(&shared, key, &path, piece_len) {
            shared.lock().end_sending(key, Err(error), true);
        }
        drop(guard);
    };
    thread::Builder::new().name("deltawire-read".to_owned()).spawn(work).map(drop)
}

/// Ends the transfer if the thread ends by a panic: nobody waits for ever.
struct Guard<'a> {
    shared: &'a Shared,
    key: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.lock().end_sending(self.key, Err(TransferError::Dropped), true);
        }
    }
}

fn read(shared: &Shared, key: u64, path: &Path, piece_len: u32) -> Result<(), TransferError> {
    let file = File::open(path).map_err(TransferError::io("open the file to send"))?;
    let goes_on = || shared.lock().reader_of(key).is_some();
    let hashed = HashList::of(&file, piece_len, goes_on);
    let Some(list) = hashed.map_err(TransferError::io("read the file to send"))? else {
        return Ok(());
    };
    let Some(wake) = ({
        let mut state = shared.lock();
        state.handle_hashed(key, list.layout, list.modified, Cached::new(&file));
        state.reader_of(key)
    }) else {
        return Ok(());
    };
    loop {
        let (id, part, len) = {
            let mut state = shared.lock();
            loop {
                if state.reader_of(key).is_none() {
                    return Ok(());
                }
                if let Some(next) = state.poll_read(key) {
                    break next;
                }
                state = state.wait(&wake);
            }
        };
        match read_part(&file, &list, id, part) {
            Ok(message) => shared.lock().handle_read(key, id, part, message),
            Err(error) => {
                shared.lock().free_read(len);
                return Err(TransferError::io("read the file to send")(error));
            }
        }
    }
}

/// Reads a part where it is sent from.
fn read_part(file: &File, list: &HashList, id: u32, part: Part) -> io::Result<Message> {
    let layout = &list.layout;
    match part {
        Part::Piece(index) => piece_message(id, index, layout.len_of(index), |room| {
            file.read_exact_at(room, layout.offset(index))
        }),
        Part::PieceHashes(group) => Ok(hashes_message(id, part, &list.pieces_of(file, group)?)),
        Part::GroupHashes => Ok(hashes_message(id, part, &list.groups)),
    }
}
