//! Waits for one promise after the other, without memory for each.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;

/// What waits for a promise. Dropped, what becomes of it is nobody's any more.
pub(super) struct Promised {
    slot: Rc<Slot>,
    /// Called by the browser, and freed with what calls them.
    on_fulfilled: Function,
    on_rejected: Function,
    waits: bool,
}

#[derive(Default)]
struct Slot {
    result: Cell<Option<Result<JsValue, JsValue>>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn set(&self, result: Result<JsValue, JsValue>) {
        self.result.set(Some(result));
        let waker = self.waker.borrow().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[wasm_bindgen]
extern "C" {
    /// A promise whose handlers are functions that stay.
    type Thenable;

    #[wasm_bindgen(method)]
    fn then(this: &Thenable, on_fulfilled: &Function, on_rejected: &Function) -> JsValue;
}

impl Promised {
    pub(super) fn new() -> Self {
        let slot = Rc::<Slot>::default();
        let function = |rejected: bool| {
            let slot = slot.clone();
            let set = move |value: JsValue| slot.set(if rejected { Err(value) } else { Ok(value) });
            Closure::<dyn Fn(JsValue)>::new(set).into_js_value().unchecked_into()
        };
        let (on_fulfilled, on_rejected) = (function(false), function(true));
        Self { slot, on_fulfilled, on_rejected, waits: false }
    }

    /// Whether there is a promise of which is not known what became of it.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Waits for this one; what was waited for before has been [polled](Self::poll) to its end.
    pub(super) fn wait_for(&mut self, promise: Promise) {
        self.waits = true;
        let promise: Thenable = promise.unchecked_into();
        promise.then(&self.on_fulfilled, &self.on_rejected);
    }

    /// What became of it.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<JsValue, JsValue>> {
        match self.slot.result.take() {
            Some(result) => {
                self.waits = false;
                Poll::Ready(result)
            }
            None => {
                let mut waker = self.slot.waker.borrow_mut();
                if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    *waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}
