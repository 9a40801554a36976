//! Threads that do what logs ask of the disk: two for each shard, so that nothing that serves peers ever waits for it.

#[cfg(not(feature = "archive"))]
mod nowhere;

use std::sync::mpsc::{SendError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use deltawire_link::runtime::sleep;
use deltawire_store::OpenError;
use deltawire_store::files::{Beside, Directory, SegmentFiles};
use deltawire_store::{Io, IoDone, Log, LogPosition};

use super::Inner;
#[cfg(feature = "archive")]
pub(super) use super::archiving::Archiving;
#[cfg(feature = "archive")]
use super::archiving::{Librarian, Routed, Shelf};
#[cfg(not(feature = "archive"))]
pub(super) use nowhere::Archiving;
#[cfg(not(feature = "archive"))]
use nowhere::{Librarian, Routed, Shelf};

/// The threads of a hub in files.
pub(super) struct Storing {
    bells: Vec<Arc<Bell>>,
    /// What is known of its object store, if it has one.
    librarian: OnceLock<Librarian>,
}

/// Wakes a thread.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<Rung>,
    rung: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Rung {
    #[default]
    Not,
    /// There is something to do.
    Work,
    /// The hub is gone.
    Over,
}

impl Bell {
    pub(super) fn ring(&self, why: Rung) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state != Rung::Over {
            *state = why;
        }
        drop(state);
        self.rung.notify_one();
    }

    /// Waits for the bell, or for so long. `false` when the hub is gone.
    fn wait(&self, within: Option<Duration>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == Rung::Not {
            state = match within {
                Some(within) => {
                    let waited = self.rung.wait_timeout(state, within);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waits = |rung: &mut Rung| *rung == Rung::Not;
                    self.rung.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        let over = *state == Rung::Over;
        if !over {
            *state = Rung::Not;
        }
        !over
    }
}

/// What is found in a directory: the log of each shard, and its files.
pub(super) struct Found {
    pub(super) directory: Directory,
    pub(super) logs: Vec<Log>,
    files: Vec<SegmentFiles>,
}

/// Opens each shard's log.
pub(super) fn find(
    path: &std::path::Path,
    shards: usize,
    options: deltawire_store::LogOptions,
    archived: bool,
) -> Result<Found, OpenError> {
    let directory = Directory::open(path, shards)?;
    let (mut logs, mut all_files) = (Vec::new(), Vec::new());
    for index in 0..shards {
        if let Some(segment) = directory.archived(index)?.filter(|_| !archived) {
            return Err(OpenError::Archived { path: path.to_owned(), shard: index, segment });
        }
        let (files, recovered) = directory.shard(index)?;
        let tail = recovered.tail();
        tracing::info!(shard = index, ?tail, "log opened");
        logs.push(Log::open(options, recovered)?);
        all_files.push(files);
    }
    Ok(Found { directory, logs, files: all_files })
}

impl Storing {
    /// Places for as many threads.
    pub(super) fn new(shards: usize) -> Self {
        Self { bells: (0..shards).map(|_| Arc::default()).collect(), librarian: OnceLock::new() }
    }

    /// Starts them.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        &self,
        hub: &Arc<Inner>,
        directory: Directory,
        files: Vec<SegmentFiles>,
        archiving: Option<Archiving>,
    ) -> std::io::Result<()> {
        // Locked until the last of them is done.
        let directory = Arc::new(directory);
        let (mut shelves, mut librarian) = (Vec::new(), None);
        if let Some(archiving) = archiving {
            let places = files.iter().map(|files| files.places().clone()).collect();
            let bells = self.bells.clone();
            let (started, all) = Librarian::start(archiving, hub, &directory, places, bells)?;
            (shelves, librarian) = (all, Some(started));
        }
        if let Some(librarian) = librarian {
            let _ = self.librarian.set(librarian);
        }
        let mut shelves = shelves.into_iter();
        for (index, (bell, files)) in self.bells.iter().zip(files).enumerate() {
            let shelf = shelves.next();
            let (hub, bell, directory) = (Arc::downgrade(hub), bell.clone(), directory.clone());
            thread::Builder::new().name(format!("deltawire-store-{index}")).spawn(move || {
                let beside = start_beside(&hub, index, &bell, &directory);
                store(&hub, index, &bell, files, beside, shelf);
                drop(directory);
            })?;
        }
        Ok(())
    }

    /// What came of what was to go to the object store, and from there; `None` if there is none.
    #[cfg(feature = "archive")]
    pub(super) fn archive_stats(&self) -> Option<super::ArchiveStats> {
        self.librarian.get().map(Librarian::stats)
    }

    pub(super) fn kick(&self, index: usize) {
        if let Some(bell) = self.bells.get(index) {
            bell.ring(Rung::Work);
        }
    }

    /// Ends all logs in order. Says whether everything is stored in time.
    pub(super) async fn close(&self, hub: &Inner, within: Duration) -> bool {
        let deadline = hub.runtime.now().saturating_add(within);
        let ends: Vec<Option<LogPosition>> = (0..self.bells.len())
            .map(|index| {
                let end = hub.shard(index).log.close(hub.now());
                self.kick(index);
                end
            })
            .collect();
        let is_stored = |(index, end): (usize, &Option<LogPosition>)| {
            end.is_some_and(|end| hub.shard(index).log.durable() >= end)
        };
        loop {
            if ends.iter().enumerate().all(is_stored) {
                return true;
            }
            if ends.contains(&None) || hub.runtime.now() >= deadline {
                return false;
            }
            sleep(&*hub.runtime, Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        for bell in &self.bells {
            bell.ring(Rung::Over);
        }
    }
}

impl Found {
    pub(super) fn into_parts(self) -> (Directory, Vec<Log>, Vec<SegmentFiles>) {
        (self.directory, self.logs, self.files)
    }
}

/// Does what a shard's log asks for, until the hub is gone. What others need not wait for is done on a thread beside.
fn store(
    hub: &Weak<Inner>,
    index: usize,
    bell: &Bell,
    mut files: SegmentFiles,
    beside: Option<Sender<Beside>>,
    mut shelf: Option<Shelf>,
) {
    // What was found may have something to do.
    let mut within = Some(Duration::ZERO);
    while bell.wait(within) {
        if let Some(io) = shelf.as_mut().and_then(|shelf| shelf.settle(hub, &mut files))
            && !handle(hub, index, files.perform(io), false)
        {
            return;
        }
        loop {
            let io = {
                let Some(hub) = hub.upgrade() else { return };
                let mut shard = hub.shard(index);
                let io = shard.log.poll_io(hub.now());
                if io.is_none() {
                    let timeout = shard.log.poll_timeout();
                    within = timeout.map(|at| at.saturating_sub(hub.runtime.now()));
                }
                io
            };
            // Neither the lock nor the hub is held while the disk works.
            let Some(io) = io else { break };
            let io = match &mut shelf {
                Some(shelf) => match shelf.route(io, &files) {
                    Routed::Here(io) => io,
                    Routed::AtOnce(io) => {
                        if !handle(hub, index, files.perform(io), false) {
                            return;
                        }
                        continue;
                    }
                    Routed::Away => continue,
                },
                None => io,
            };
            let reads = matches!(io, Io::Read { .. } | Io::Replace { .. });
            let done = match (&beside, files.beside(io)) {
                (Some(beside), Ok(job)) => match beside.send(job) {
                    Ok(()) => continue,
                    Err(SendError(job)) => job.perform(),
                },
                (None, Ok(job)) => job.perform(),
                (_, Err(io)) => files.perform(io),
            };
            if !handle(hub, index, done, reads) {
                return;
            }
        }
        if let Some(shelf) = &mut shelf {
            let Some(hub) = hub.upgrade() else { return };
            shelf.begin(&hub);
        }
    }
}

/// A thread for what others need not wait for. `None` if the system gives none: then they wait.
fn start_beside(
    hub: &Weak<Inner>,
    index: usize,
    bell: &Arc<Bell>,
    directory: &Arc<Directory>,
) -> Option<Sender<Beside>> {
    let (sender, jobs) = channel::<Beside>();
    let (hub, bell, directory) = (hub.clone(), bell.clone(), directory.clone());
    let work = move || {
        // It ends with the thread that it is beside.
        for job in jobs {
            let moves = job.moves();
            if !handle(&hub, index, job.perform(), moves) {
                break;
            }
            bell.ring(Rung::Work);
        }
        drop(directory);
    };
    let started = thread::Builder::new().name(format!("deltawire-sync-{index}")).spawn(work);
    started.is_ok().then_some(sender)
}

/// Takes in what came of a piece of I/O. `false` if the hub is gone.
pub(super) fn handle(hub: &Weak<Inner>, index: usize, done: IoDone, reads: bool) -> bool {
    let Some(hub) = hub.upgrade() else { return false };
    let mut shard = hub.shard(index);
    let before = shard.log.durable();
    let handled = shard.log.handle_io(done, hub.now());
    if let Err(broken) = &handled {
        tracing::error!(shard = index, %broken, "nothing is stored any more");
    }
    if reads || handled.is_err() || shard.log.durable() > before {
        shard.note_io();
    }
    true
}
