//! Virtual time, and the application's futures on it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use deltawire_channels::waking::Flag;

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
        let mut place = Place { clock: self, key: None };
        poll_fn(|context| place.poll(until, context)).await;
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

/// A sleeper's place, which it leaves when it is dropped.
struct Place<'a> {
    clock: &'a Clock,
    key: Option<(Duration, u64)>,
}

impl Place<'_> {
    fn poll(&mut self, until: Duration, context: &mut Context<'_>) -> Poll<()> {
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
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.state().sleepers.remove(&key);
        }
    }
}

/// Whether somebody was woken.
#[derive(Debug)]
pub(super) struct Woken(Flag);

impl Woken {
    /// It has rung.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Flag::new(true)))
    }

    pub(super) fn ring(&self) {
        self.0.raise();
    }

    pub(super) fn has_rung(&self) -> bool {
        self.0.is_raised()
    }

    /// Whether it has rung since the last time.
    pub(super) fn take(&self) -> bool {
        self.0.take()
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

/// A future and its bell.
pub(super) struct Task<F: ?Sized> {
    pub(super) bell: Arc<Woken>,
    pub(super) future: Pin<Box<F>>,
}

impl<F: Future + ?Sized> Task<F> {
    /// Polls it if it was woken.
    pub(super) fn poll(&mut self) -> Poll<F::Output> {
        if !self.bell.take() {
            return Poll::Pending;
        }
        let waker = Waker::from(self.bell.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// The application's futures that nobody waits for.
#[derive(Default)]
pub(super) struct Tasks(Vec<Task<dyn Future<Output = ()>>>);

impl Tasks {
    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.0.push(Task { bell: Woken::new(), future: Box::pin(future) });
    }

    /// Polls those that were woken. Says whether there were any.
    pub(super) fn run(&mut self) -> bool {
        let ran = self.0.iter().any(|task| task.bell.has_rung());
        if ran {
            self.0.retain_mut(|task| task.poll().is_pending());
        }
        ran
    }
}
