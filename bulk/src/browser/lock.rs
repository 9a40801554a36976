//! One at a time, over all pages and workers of an origin: <https://w3c.github.io/web-locks/>.

use js_sys::{Array, Function, JsString, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::error::method;

/// What it is called among the origin's locks.
const NAME: &str = "deltawire-bulk";

/// Nobody else opens a file or gives one its name until this is dropped.
pub(super) struct Lock {
    release: Option<Function>,
}

impl Lock {
    /// Waits for it. A browser without locks has nothing to wait for.
    pub(super) async fn new() -> Self {
        let mut granting = None;
        let granted = Promise::new(&mut |resolve, _| granting = Some(resolve));
        let mut release = None;
        let held = Promise::new(&mut |resolve, _| release = Some(resolve));
        let lock = Self { release };
        let callback = Closure::once_into_js(move |_lock: JsValue| -> JsValue {
            if let Some(granting) = granting {
                let _ = granting.call0(&JsValue::UNDEFINED);
            }
            held.into()
        });
        if let Some(requested) = request(&callback) {
            // It is refused, or else ends when the lock does.
            let first = Promise::race(&Array::of2(&granted, &requested));
            let _ = JsFuture::from(first.unchecked_into::<Promise>()).await;
        }
        lock
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            let _ = release.call0(&JsValue::UNDEFINED);
        }
    }
}

fn request(callback: &JsValue) -> Option<Promise> {
    let navigator = Reflect::get(&js_sys::global(), &JsString::from("navigator")).ok()?;
    let locks = Reflect::get(&navigator, &JsString::from("locks")).ok()?;
    let requested = method(&locks, "request").ok()?.call2(&locks, &JsString::from(NAME), callback);
    requested.ok()?.dyn_into().ok()
}
