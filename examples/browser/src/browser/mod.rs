//! The window's and the worker's side.

mod board;
mod chart;
mod checks;
mod copies;
mod message;
mod page;
mod rooms;
mod unordered;
mod worker;

use deltawire::browser::is_worker;
use wasm_bindgen::prelude::*;

/// Called by the browser when the module is loaded, in the window and then in its worker.
#[wasm_bindgen(start)]
fn start() -> Result<(), JsValue> {
    if is_worker() {
        return worker::start();
    }
    // The board's page has a script of its own, which starts it.
    let document = web_sys::window().and_then(|window| window.document()).ok_or("no document")?;
    if document.get_element_by_id("board").is_some() { Ok(()) } else { page::start() }
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
