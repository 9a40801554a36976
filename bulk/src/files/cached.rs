//! Pieces that the system has in memory already: they are read where they are sent from, and no thread is woken for them.

use std::fs::File;
use std::io::{self, IoSliceMut};

use deltawire_channels::Message;

use crate::driver::piece_message;
use crate::layout::Layout;

/// A file whose pieces are read only if that waits for no disk; nothing once its file system has said that it cannot.
#[derive(Debug)]
pub(crate) struct Cached(Option<File>);

impl Cached {
    /// Of the same file. `None` where the system cannot tell whether it would wait.
    pub(crate) fn new(file: &File) -> Option<Self> {
        let here = cfg!(target_os = "linux");
        here.then(|| file.try_clone().ok()).flatten().map(|file| Self(Some(file)))
    }

    /// A piece, as a message of the transfer of this number; `None` if it would have to be waited for, or cannot be read.
    pub(crate) fn piece(&mut self, id: u32, layout: &Layout, index: u32) -> Option<Message> {
        let file = self.0.as_ref()?;
        let read = |room: &mut [u8]| -> io::Result<()> {
            let len = room.len();
            let read = read_at_once(file, room, layout.offset(index))?;
            if read == len { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        };
        let piece = piece_message(id, index, layout.len_of(index), read);
        if piece.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Unsupported) {
            self.0 = None;
        }
        piece.ok()
    }

    /// Whether it may have some.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(target_os = "linux")]
fn read_at_once(file: &File, room: &mut [u8], offset: u64) -> io::Result<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};
    Ok(preadv2(file, &mut [IoSliceMut::new(room)], offset, ReadWriteFlags::NOWAIT)?)
}

#[cfg(not(target_os = "linux"))]
fn read_at_once(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
