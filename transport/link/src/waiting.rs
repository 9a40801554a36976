//! Tasks that wait, and how often they are polled.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

/// Those that were woken, by index.
#[derive(Default)]
struct Woken(Mutex<VecDeque<usize>>);

struct TaskWaker {
    index: usize,
    woken: Arc<Woken>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken.0.lock().unwrap().push_back(self.index);
    }
}

/// Futures that are polled when they are woken, as tasks of an executor are.
pub(crate) struct Tasks<F> {
    tasks: Vec<(Option<Pin<Box<F>>>, Waker)>,
    woken: Arc<Woken>,
    polls: usize,
}

impl<F: Future> Tasks<F> {
    /// All of them are to be polled.
    pub(crate) fn new(futures: impl IntoIterator<Item = F>) -> Self {
        let woken = Arc::new(Woken::default());
        let tasks = futures.into_iter().enumerate().map(|(index, future)| {
            woken.0.lock().unwrap().push_back(index);
            let waker = TaskWaker { index, woken: woken.clone() };
            (Some(Box::pin(future)), Waker::from(Arc::new(waker)))
        });
        Self { tasks: tasks.collect(), woken: woken.clone(), polls: 0 }
    }

    /// Polls those that were woken until nobody is, but each at most ten times. Says how many are
    /// done.
    pub(crate) fn run(&mut self) -> usize {
        for _ in 0..10 * self.tasks.len() {
            let Some(index) = self.woken.0.lock().unwrap().pop_front() else { break };
            let (task, waker) = &mut self.tasks[index];
            let Some(future) = task else { continue };
            self.polls += 1;
            if future.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                *task = None;
            }
        }
        self.tasks.iter().filter(|(task, _)| task.is_none()).count()
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls
    }
}
