//! Time in a browser.

use std::time::Duration;

use js_sys::{Date, Promise};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::error::method;

/// Time since the Unix epoch, which the user may change.
pub(super) fn now() -> Duration {
    Duration::from_secs_f64(Date::now().max(0.0) / 1e3)
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
