//! The browser's `WebTransport` (W3C), as far as a link needs it: web-sys has it only with `web_sys_unstable_apis`, which a
//! library cannot set for its users. Streams are bound here too, as their options are not those of web-sys.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A session.
    #[derive(Clone)]
    pub(super) type WebTransport;

    #[wasm_bindgen(constructor, catch)]
    pub(super) fn new(url: &str, options: &JsValue) -> Result<WebTransport, JsValue>;

    #[wasm_bindgen(method, getter)]
    pub(super) fn ready(this: &WebTransport) -> Promise;

    #[wasm_bindgen(method, getter)]
    pub(super) fn closed(this: &WebTransport) -> Promise;

    #[wasm_bindgen(method, catch)]
    pub(super) fn close(this: &WebTransport) -> Result<(), JsValue>;

    #[wasm_bindgen(method, js_name = createBidirectionalStream)]
    pub(super) fn create_bidirectional_stream(this: &WebTransport, options: &JsValue) -> Promise;

    #[wasm_bindgen(method, js_name = createUnidirectionalStream)]
    pub(super) fn create_unidirectional_stream(this: &WebTransport, options: &JsValue) -> Promise;

    #[wasm_bindgen(method, getter, js_name = incomingUnidirectionalStreams)]
    pub(super) fn incoming_unidirectional_streams(this: &WebTransport) -> Readable;

    #[wasm_bindgen(method, getter)]
    pub(super) fn datagrams(this: &WebTransport) -> Datagrams;

    /// A session's datagrams.
    pub(super) type Datagrams;

    #[wasm_bindgen(method, getter)]
    pub(super) fn readable(this: &Datagrams) -> Readable;

    /// Of browsers that have one for all.
    #[wasm_bindgen(method, getter)]
    pub(super) fn writable(this: &Datagrams) -> Option<Writable>;

    /// Of those that have as many as are wanted.
    #[wasm_bindgen(method, catch, js_name = createWritable)]
    pub(super) fn create_writable(this: &Datagrams) -> Result<Writable, JsValue>;

    #[wasm_bindgen(method, getter, js_name = maxDatagramSize)]
    pub(super) fn max_datagram_size(this: &Datagrams) -> f64;

    /// Both halves of a stream.
    pub(super) type Pair;

    #[wasm_bindgen(method, getter)]
    pub(super) fn readable(this: &Pair) -> Readable;

    #[wasm_bindgen(method, getter)]
    pub(super) fn writable(this: &Pair) -> Writable;

    pub(super) type Readable;

    #[wasm_bindgen(method, catch, js_name = getReader)]
    pub(super) fn get_reader(this: &Readable, options: &JsValue) -> Result<Reader, JsValue>;

    /// A reader of either kind: one that takes no memory ignores it.
    pub(super) type Reader;

    #[wasm_bindgen(method)]
    pub(super) fn read(this: &Reader, memory: &JsValue) -> Promise;

    /// What a reader read.
    pub(super) type Came;

    #[wasm_bindgen(method, getter)]
    pub(super) fn done(this: &Came) -> bool;

    #[wasm_bindgen(method, getter)]
    pub(super) fn value(this: &Came) -> JsValue;

    pub(super) type Writable;

    #[wasm_bindgen(method, catch, js_name = getWriter)]
    pub(super) fn get_writer(this: &Writable) -> Result<Writer, JsValue>;

    pub(super) type Writer;

    /// Given a view of wasm's memory: a stream with nothing before it copies that before this returns.
    #[wasm_bindgen(method)]
    pub(super) fn write(this: &Writer, chunk: &[u8]) -> Promise;

    #[wasm_bindgen(method, js_name = close)]
    pub(super) fn finish(this: &Writer) -> Promise;

    /// Resets the stream.
    #[wasm_bindgen(method)]
    pub(super) fn abort(this: &Writer) -> Promise;
}
