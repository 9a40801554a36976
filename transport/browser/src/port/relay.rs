use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Array, ArrayBuffer};
use wasm_bindgen::prelude::*;
use web_sys::{Event, MessageChannel, MessageEvent, MessagePort, RtcDataChannel};

use crate::channels::{CLOSE, LOW};

/// A channel that the window keeps, and hands its messages on: buffers change hands and are not
/// copied.
///
/// To the worker go buffers, how many bytes have left the channel's own buffer (a number), and
/// `"open"` and `"closed"`. From the worker come buffers, and [`CLOSE`] behind the last one.
pub(super) struct Relay {
    channel: RtcDataChannel,
    port: MessagePort,
    on_message: Closure<dyn FnMut(MessageEvent)>,
    on_event: Closure<dyn FnMut(Event)>,
    from_worker: Closure<dyn FnMut(MessageEvent)>,
}

impl Relay {
    /// The relay, and the worker's end of it.
    pub(super) fn new(
        channel: RtcDataChannel,
        payload_bytes: Rc<Cell<u64>>,
    ) -> Result<(Self, MessagePort), JsValue> {
        let pair = MessageChannel::new()?;
        let (port, worker_end) = (pair.port1(), pair.port2());
        channel.set_buffered_amount_low_threshold(LOW);
        let count = move |buffer: &ArrayBuffer| {
            payload_bytes.set(payload_bytes.get() + u64::from(buffer.byte_length()));
        };
        let sent = Rc::new(Cell::new(0.0));
        // What is below the threshold counts as gone: no event would tell when it is.
        let tell_gone = {
            let (channel, port, sent) = (channel.clone(), port.clone(), sent.clone());
            move || {
                let buffered = channel.buffered_amount();
                let waiting = if buffered > LOW { f64::from(buffered) } else { 0.0 };
                let _ = port.post_message(&JsValue::from_f64(sent.get() - waiting));
            }
        };
        let on_message = Closure::new({
            let (port, count) = (port.clone(), count.clone());
            move |event: MessageEvent| {
                let data = event.data();
                let buffer = data.dyn_ref::<ArrayBuffer>();
                buffer.map(&count);
                // Text cannot be transferred, and the worker refuses it.
                let _ = match buffer {
                    Some(buffer) => port.post_message_with_transferable(&data, &Array::of1(buffer)),
                    None => port.post_message(&JsValue::NULL),
                };
            }
        });
        let on_event = Closure::new({
            let (port, tell_gone) = (port.clone(), tell_gone.clone());
            move |event: Event| match event.type_().as_str() {
                "bufferedamountlow" => tell_gone(),
                "open" => drop(port.post_message(&"open".into())),
                _ => drop(port.post_message(&"closed".into())),
            }
        });
        let from_worker = Closure::new({
            let (channel, port) = (channel.clone(), port.clone());
            move |event: MessageEvent| {
                let data = event.data();
                if data.as_string().as_deref() == Some(CLOSE) {
                    channel.close();
                    return;
                }
                let Ok(buffer) = data.dyn_into::<ArrayBuffer>() else { return };
                count(&buffer);
                match channel.send_with_array_buffer(&buffer) {
                    Ok(()) => {
                        sent.set(sent.get() + f64::from(buffer.byte_length()));
                        tell_gone();
                    }
                    Err(_) => drop(port.post_message(&"closed".into())),
                }
            }
        });
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let callback = Some(on_event.as_ref().unchecked_ref());
        channel.set_onopen(callback);
        channel.set_onclose(callback);
        channel.set_onerror(callback);
        channel.set_onbufferedamountlow(callback);
        port.set_onmessage(Some(from_worker.as_ref().unchecked_ref()));
        Ok((Self { channel, port, on_message, on_event, from_worker }, worker_end))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let Self { channel, port, on_message, on_event, from_worker } = self;
        channel.set_onmessage(None);
        channel.set_onopen(None);
        channel.set_onclose(None);
        channel.set_onerror(None);
        channel.set_onbufferedamountlow(None);
        port.set_onmessage(None);
        port.close();
        let _ = (on_message, on_event, from_worker);
    }
}
