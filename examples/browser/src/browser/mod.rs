//! The window's and the worker's side.

mod chart;
mod checks;
mod copies;
mod message;
mod page;
mod worker;

use deltawire::browser::is_worker;
use wasm_bindgen::prelude::*;

/// Called by the browser when the module is loaded, in the window and then in its worker.
#[wasm_bindgen(start)]
fn start() -> Result<(), JsValue> {
    if is_worker() { worker::start() } else { page::start() }
}

/// What went wrong, for people.
fn explain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text} ({cause})");
        }
        source = error.source();
    }
    text
}
