//! Time in a window or a worker.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use js_sys::{Function, Reflect, global};
use wasm_bindgen::prelude::*;
use web_sys::{Performance, WorkerGlobalScope};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Function, milliseconds: f64) -> JsValue;

    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(handle: &JsValue);
}

/// Time since this realm began.
pub(crate) fn now() -> Duration {
    thread_local! {
        static PERFORMANCE: Option<Performance> = performance();
    }
    let milliseconds =
        PERFORMANCE.with(|it| it.as_ref().map_or_else(js_sys::Date::now, Performance::now));
    Duration::try_from_secs_f64(milliseconds / 1e3).unwrap_or_default()
}

fn performance() -> Option<Performance> {
    match global().dyn_into::<WorkerGlobalScope>() {
        Ok(scope) => scope.performance(),
        Err(global) => Reflect::get(&global, &"performance".into()).ok()?.dyn_into().ok(),
    }
}

/// An alarm clock for one task.
pub(crate) struct Timer {
    waker: Rc<RefCell<Option<Waker>>>,
    callback: Closure<dyn FnMut()>,
    armed: Option<(Duration, JsValue)>,
    /// Whether it rang since it was set.
    rang: Rc<Cell<bool>>,
}

/// The longest time that a browser's alarm takes; with a longer one it rings at once.
const LONGEST: f64 = i32::MAX as f64;

impl Timer {
    pub(crate) fn new() -> Self {
        let waker = Rc::new(RefCell::new(None::<Waker>));
        let rang = Rc::<Cell<bool>>::default();
        let callback = Closure::new({
            let (waker, rang) = (waker.clone(), rang.clone());
            move || {
                rang.set(true);
                let waker = waker.borrow_mut().take();
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        });
        Self { waker, callback, armed: None, rang }
    }

    /// Wakes the task at this time, or sooner: an alarm that was put off still rings when it was
    /// set for, which is less work than to set it anew each time.
    pub(crate) fn wake_at(&mut self, at: Duration, now: Duration, context: &Context<'_>) {
        // It may ring a little early, as clocks are rounded: then it is set once more.
        if self.rang.take() {
            self.armed = None;
        }
        *self.waker.borrow_mut() = Some(context.waker().clone());
        if self.armed.as_ref().is_some_and(|(armed, _)| *armed <= at) {
            return;
        }
        self.disarm();
        let milliseconds = (at.saturating_sub(now).as_secs_f64() * 1e3).ceil().min(LONGEST);
        let handle = set_timeout(self.callback.as_ref().unchecked_ref(), milliseconds);
        self.armed = Some((at, handle));
    }

    fn disarm(&mut self) {
        if let Some((_, handle)) = self.armed.take() {
            clear_timeout(&handle);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Waits so long.
pub(crate) async fn sleep(duration: Duration) {
    let until = now().saturating_add(duration);
    let mut timer = Timer::new();
    poll_fn(|context| {
        let now = now();
        if now >= until {
            return Poll::Ready(());
        }
        timer.wake_at(until, now, context);
        Poll::Pending
    })
    .await;
}

/// What the future gives, if it does within this time.
pub async fn timeout<T>(within: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep(within));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => sleep.as_mut().poll(context).map(|()| None),
    })
    .await
}
