//! Time in a browser.

use std::time::Duration;

use js_sys::{JsString, Promise, Reflect};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::error::method;

/// Time since any fixed start.
pub(super) fn now() -> Duration {
    let performance = Reflect::get(&js_sys::global(), &JsString::from("performance"));
    let now = performance.ok().and_then(|it| method(&it, "now").ok()?.call0(&it).ok()?.as_f64());
    Duration::from_secs_f64(now.unwrap_or_default().max(0.0) / 1e3)
}

/// Lets the browser do other things, for so long at least.
pub(super) async fn pause(duration: Duration) {
    let promise = Promise::new(&mut |resolve, _| {
        let milliseconds = JsValue::from(duration.as_secs_f64() * 1e3);
        let set = method(&js_sys::global(), "setTimeout");
        let set = set.map(|it| it.call2(&JsValue::UNDEFINED, &resolve, &milliseconds).is_ok());
        // Without it there is no pause.
        if !set.unwrap_or_default() {
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    });
    let _ = JsFuture::from(promise).await;
}
