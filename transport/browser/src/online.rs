//! Whether there is a network.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use js_sys::global;
use wasm_bindgen::prelude::*;
use web_sys::EventTarget;

/// Ready when the browser says that there is a network again: of a window or a worker.
pub(crate) async fn online() {
    let (came, waker) = (Rc::<Cell<bool>>::default(), Rc::new(RefCell::new(None::<Waker>)));
    let _listener = Listener::new({
        let (came, waker) = (came.clone(), waker.clone());
        move || {
            came.set(true);
            let waker = waker.borrow_mut().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    });
    poll_fn(|context| {
        if came.get() {
            return Poll::Ready(());
        }
        *waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Listens until it is dropped.
struct Listener {
    target: Option<EventTarget>,
    callback: Closure<dyn FnMut()>,
}

impl Listener {
    fn new(callback: impl FnMut() + 'static) -> Self {
        let callback = Closure::new(callback);
        let target = global().dyn_into::<EventTarget>().ok();
        if let Some(target) = &target {
            // One that cannot be listened to says nothing.
            let function = callback.as_ref().unchecked_ref();
            let _ = target.add_event_listener_with_callback("online", function);
        }
        Self { target, callback }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(target) = &self.target {
            let function = self.callback.as_ref().unchecked_ref();
            let _ = target.remove_event_listener_with_callback("online", function);
        }
    }
}
