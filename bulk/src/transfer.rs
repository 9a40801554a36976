//! The handle on a transfer.

use core::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use event_listener::Event;

use crate::error::TransferError;
use crate::name::FileName;

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The file is read to know its hash, or it waits for the peer, a link, or its turn.
    #[default]
    Waiting,
    /// Pieces go over.
    Moving,
    /// All is there, and is being made safe.
    Finishing,
    /// It is over.
    Over,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Bytes of the file; 0 until they are known.
    pub len: u64,
    /// Bytes that the receiver has checked and written.
    pub written: u64,
    /// Bytes of pieces that went over the link, those that went again as well.
    pub moved: u64,
}

/// What became of a file that is there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What it is called.
    pub name: FileName,
    /// Bytes of the file.
    pub len: u64,
    /// BLAKE3 of the file.
    pub root: [u8; 32],
    /// Bytes of it that had been there before the transfer.
    pub resumed: u64,
    /// Bytes of pieces that went over the link.
    pub moved: u64,
    /// Parts that came wrong, and were asked for again.
    pub repeated: u32,
    /// How long it took from the acceptance on.
    pub took: Duration,
    /// Where it lies, of files.
    pub path: Option<PathBuf>,
    /// It, in memory.
    pub bytes: Option<Bytes>,
}

/// One file on its way, or about to be. Clones are handles on the same; to drop them changes nothing.
#[derive(Clone)]
pub struct Transfer {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Those who wait for progress.
    changed: Event,
    /// Asks its owner to end it.
    cancel: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    progress: Progress,
    ended: Option<Result<Report, TransferError>>,
}

impl Transfer {
    pub(crate) fn new(cancel: impl Fn() + Send + Sync + 'static) -> Self {
        let shared =
            Shared { state: Mutex::default(), changed: Event::new(), cancel: Box::new(cancel) };
        Self { shared: Arc::new(shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.state().progress
    }

    /// Waits until it is further than `seen`, and says how far. Cancel safe.
    pub async fn changed(&self, seen: Progress) -> Progress {
        loop {
            let changed = self.shared.changed.listen();
            let progress = self.progress();
            if progress != seen || progress.phase == Phase::Over {
                return progress;
            }
            changed.await;
        }
    }

    /// Ends it, and has the peer told. What came so far is kept for another transfer. Returns at once;
    /// [`finished`](Self::finished) waits.
    pub fn cancel(&self) {
        (self.shared.cancel)();
    }

    /// Waits for its end. Cancel safe.
    ///
    /// # Errors
    /// Says why there is no file.
    pub async fn finished(&self) -> Result<Report, TransferError> {
        loop {
            let changed = self.shared.changed.listen();
            if let Some(ended) = self.ended() {
                return ended;
            }
            changed.await;
        }
    }

    /// How it ended; `None` while it goes on.
    #[must_use]
    pub fn ended(&self) -> Option<Result<Report, TransferError>> {
        self.state().ended.clone()
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut Progress)) {
        let mut state = self.state();
        if state.ended.is_none() {
            let before = state.progress;
            update(&mut state.progress);
            let changed = before != state.progress;
            drop(state);
            if changed {
                self.shared.changed.notify(usize::MAX);
            }
        }
    }

    /// Only the first end counts.
    pub(crate) fn end(&self, ended: Result<Report, TransferError>) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.progress.phase = Phase::Over;
            if let Ok(report) = &ended {
                state.progress.written = report.len;
            }
            state.ended = Some(ended);
        }
        drop(state);
        self.shared.changed.notify(usize::MAX);
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("progress", &self.progress()).finish_non_exhaustive()
    }
}
