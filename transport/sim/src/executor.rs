//! Virtual time, and the application's futures on it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use deltawire_channels::waking::Flag;
use deltawire_link::runtime::BoxFuture;

use super::host::Host;

/// A simulation's time: for futures that run in it. Clones are the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    /// Who sleeps, by when it wakes and in which order it fell asleep.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    count: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Time since the simulation began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.state().now
    }

    /// Waits so long.
    pub async fn sleep(&self, duration: Duration) {
        let until = self.now().saturating_add(duration);
        self.sleep_until(until).await;
    }

    /// Waits until this time.
    pub async fn sleep_until(&self, until: Duration) {
        let mut sleeper = Sleeper::new(self.clone());
        poll_fn(|context| sleeper.poll(until, context)).await;
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.state().sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Moves on, and wakes whose time has come.
    pub(super) fn set(&self, now: Duration) {
        let mut state = self.state();
        state.now = now;
        let later = state.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// Who sleeps, and its place, which it leaves when it is dropped.
pub(super) struct Sleeper {
    clock: Clock,
    key: Option<(Duration, u64)>,
}

impl Sleeper {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, key: None }
    }

    /// Whether it is so late. If not, the task is woken when it is.
    pub(super) fn poll(&mut self, until: Duration, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.clock.state();
        if state.now >= until {
            return Poll::Ready(());
        }
        let number = state.count;
        let key = *self.key.get_or_insert((until, number));
        state.count += 1;
        state.sleepers.insert(key, context.waker().clone());
        Poll::Pending
    }

    /// Sleeps no more.
    pub(super) fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            self.clock.state().sleepers.remove(&key);
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether somebody was woken.
#[derive(Debug)]
pub(super) struct Woken(Flag);

impl Woken {
    /// It was woken.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Flag::new(true)))
    }

    pub(super) fn wake_up(&self) {
        self.0.raise();
    }

    pub(super) fn is_woken(&self) -> bool {
        self.0.is_raised()
    }

    /// Whether somebody was woken since the last time.
    pub(super) fn take(&self) -> bool {
        self.0.take()
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }
}

/// A future, and whether it was woken.
pub(super) struct Task<F: ?Sized> {
    pub(super) woken: Arc<Woken>,
    pub(super) future: Pin<Box<F>>,
}

impl<F: Future + ?Sized> Task<F> {
    /// Polls it if it was woken.
    pub(super) fn poll(&mut self) -> Poll<F::Output> {
        if !self.woken.take() {
            return Poll::Pending;
        }
        let waker = Waker::from(self.woken.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Futures that nobody waits for: the application's, and those of hosts.
#[derive(Default)]
pub(super) struct Tasks(Vec<(Option<Host>, Task<dyn Future<Output = ()>>)>);

impl Tasks {
    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.0.push((None, Task { woken: Woken::new(), future: Box::pin(future) }));
    }

    pub(super) fn spawn_on(&mut self, host: Host, future: BoxFuture<'static, ()>) {
        self.0.push((Some(host), Task { woken: Woken::new(), future }));
    }

    /// Drops those of a host.
    pub(super) fn kill(&mut self, host: Host) {
        self.0.retain(|(of, _)| *of != Some(host));
    }

    /// Whether one was woken.
    pub(super) fn is_due(&self) -> bool {
        self.0.iter().any(|(_, task)| task.woken.is_woken())
    }

    /// Polls those that were woken. Says whether there were any.
    pub(super) fn run(&mut self) -> bool {
        let ran = self.is_due();
        if ran {
            self.0.retain_mut(|(_, task)| task.poll().is_pending());
        }
        ran
    }
}
