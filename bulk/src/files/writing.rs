//! A thread that checks pieces, writes them, and makes them safe.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::part::Part;
use crate::driver::{Shared, Work};
use crate::error::TransferError;
use crate::layout::Layout;
use crate::name::FileName;
use crate::pieces::Pieces;
use crate::signal::Signal;
use crate::sink::FolderSink;
use crate::unfinished::{LOCK_PAUSE, LOCK_TIMEOUT, NotOpened, SYNC_AFTER, SYNC_EVERY};
use deltawire_framing::bulk::BulkStatus;

/// Starts a thread that writes the file of a transfer, until that is over.
pub(crate) fn spawn_writer(
    shared: Arc<Shared>,
    key: u64,
    layout: Layout,
    name: FileName,
    modified: u64,
    sink: FolderSink,
    wake: Arc<Signal>,
) -> io::Result<()> {
    let work = move || {
        let guard = Guard { shared: &shared, key };
        match write(&shared, key, layout, &name, modified, &sink, &wake) {
            Ok(()) => {}
            Err(error) => shared.lock().end_receiving(key, Err(error), true),
        }
        drop(guard);
    };
    thread::Builder::new().name("deltawire-write".to_owned()).spawn(work).map(drop)
}

/// Ends the transfer if the thread ends by a panic: nobody waits for ever.
struct Guard<'a> {
    shared: &'a Shared,
    key: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.lock().end_receiving(self.key, Err(TransferError::Dropped), true);
        }
    }
}

fn open(
    shared: &Shared,
    key: u64,
    layout: Layout,
    name: &FileName,
    modified: u64,
    sink: &FolderSink,
) -> Result<Option<(Part, Pieces)>, TransferError> {
    let begun = Instant::now();
    loop {
        match Part::open(sink, name, layout, modified) {
            Ok(opened) => return Ok(Some(opened)),
            Err(NotOpened::Failed(error)) => return Err(error),
            Err(NotOpened::There(path)) => {
                shared.lock().handle_there(key, path);
                return Ok(None);
            }
            Err(NotOpened::Busy) if begun.elapsed() >= LOCK_TIMEOUT => {
                return Err(TransferError::Here(BulkStatus::BUSY));
            }
            Err(NotOpened::Busy) => thread::sleep(LOCK_PAUSE),
        }
        if !shared.lock().receiving.contains_key(&key) {
            return Ok(None);
        }
    }
}

fn write(
    shared: &Shared,
    key: u64,
    layout: Layout,
    name: &FileName,
    modified: u64,
    sink: &FolderSink,
    wake: &Signal,
) -> Result<(), TransferError> {
    let Some((mut part, have)) = open(shared, key, layout, name, modified, sink)? else {
        return Ok(());
    };
    let mut known = have.clone();
    let mut saving = Saving::default();
    shared.lock().handle_opened(key, have, part.looks);
    loop {
        let work = {
            let mut state = shared.lock();
            loop {
                match state.poll_work(key) {
                    Err(()) => break None,
                    Ok(Some(work)) => break Some(work),
                    Ok(None) => {}
                }
                state = state.wait(wake);
            }
        };
        let failed = TransferError::io("write the file");
        let done = match work {
            // It is over: what was written is kept for another transfer.
            None => {
                saving.wait();
                return Part::save(&part.file, part.state(), &layout, &known)
                    .map_err(TransferError::io("make safe what came"));
            }
            Some(Work::Finish) => {
                saving.wait();
                let finished = part.finish();
                return finished.map(|path| shared.lock().handle_finished(key, Some(path), None));
            }
            Some(Work::Look(index, hash)) => part.look(index, &hash).map(|found| {
                if found {
                    known.insert(index);
                }
                shared.lock().handle_looked(key, index, found);
            }),
            Some(Work::Write(arrival)) => {
                let bytes = arrival.bytes();
                let (index, len) = (arrival.index, bytes.len() as u64);
                let written = part.write(index, &arrival.hash, bytes);
                // Its part of the link's window goes back before more is asked for.
                drop(arrival);
                written.map(|right| {
                    if right {
                        known.insert(index);
                        saving.note(len);
                        shared.lock().handle_written(key, index);
                    } else {
                        shared.lock().handle_wrong(key, index);
                    }
                })
            }
        };
        if let Err(error) = done {
            saving.wait();
            let _ = Part::save(&part.file, part.state(), &layout, &known);
            return Err(failed(error));
        }
        saving.begin_if_due(&part, &known);
    }
}

/// Makes what is written safe while more is written: on a thread, one at a time.
#[derive(Default)]
struct Saving {
    bytes: u64,
    last: Option<Instant>,
    running: Option<JoinHandle<()>>,
}

impl Saving {
    fn note(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn begin_if_due(&mut self, part: &Part, known: &Pieces) {
        let last = *self.last.get_or_insert_with(Instant::now);
        let due = self.bytes >= SYNC_EVERY || (self.bytes > 0 && last.elapsed() >= SYNC_AFTER);
        if !due || self.running.as_ref().is_some_and(|it| !it.is_finished()) {
            return;
        }
        let Ok(file) = part.file.try_clone() else { return };
        // Only what is written before the sync counts.
        let (state, layout, known) = (part.state().to_owned(), part.layout, known.clone());
        let save = move || {
            if let Err(error) = Part::save(&file, &state, &layout, &known) {
                // Pieces that are not remembered are found by their hashes.
                tracing::warn!(%error, "which pieces of a file came is not remembered");
            }
        };
        self.running = thread::Builder::new().name("deltawire-sync".to_owned()).spawn(save).ok();
        (self.bytes, self.last) = (0, Some(Instant::now()));
    }

    fn wait(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}
