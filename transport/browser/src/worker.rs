//! Starts the worker.

use js_sys::{Array, JSON};
use wasm_bindgen::prelude::*;
use web_sys::{
    Blob, BlobPropertyBag, DedicatedWorkerGlobalScope, Url, Worker, WorkerOptions, WorkerType,
};

use super::envelope::explain;

#[wasm_bindgen]
extern "C" {
    /// Where the module that `wasm-bindgen --target web` made was loaded from.
    #[wasm_bindgen(thread_local_v2, js_namespace = ["import", "meta"], js_name = url)]
    static MODULE: JsValue;
}

/// Why no worker was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this browser starts no worker: {reason}")]
#[non_exhaustive]
pub struct NoWorker {
    /// What the browser says.
    pub reason: String,
}

/// Starts a dedicated worker that runs this very module: what `#[wasm_bindgen(start)]` marks is
/// called there too, and can ask [`is_worker`] where it runs.
///
/// The module has to be made for the target `web` of wasm-bindgen. A content security policy has to
/// allow `worker-src blob:`.
///
/// # Errors
///
/// [`NoWorker`] where the browser starts none.
pub fn spawn_worker() -> Result<Worker, NoWorker> {
    start().map_err(|error| NoWorker { reason: explain(&error) })
}

fn start() -> Result<Worker, JsValue> {
    let module = JSON::stringify(&MODULE.with(JsValue::clone))?;
    let start = format!("import start from {module}; await start();");
    let options = BlobPropertyBag::new();
    options.set_type("text/javascript");
    let parts = Array::of1(&JsValue::from_str(&start));
    let blob = Blob::new_with_str_sequence_and_options(&parts, &options)?;
    let address = Url::create_object_url_with_blob(&blob)?;
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    Worker::new_with_options(&address, &options)
}

/// Whether this is a dedicated worker.
#[must_use]
pub fn is_worker() -> bool {
    js_sys::global().has_type::<DedicatedWorkerGlobalScope>()
}
