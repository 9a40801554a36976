//! How a session is opened, and what people can do if it is not.

use deltawire_channels::{Delivery, Order};
use deltawire_link::{Fault, TransportError, TransportErrorKind};
use js_sys::{Array, Object, Promise, Reflect, Uint8Array, global};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::alone_in::AloneIn;
use super::alone_out::AloneOut;
use super::bindings::{Came, Pair, Readable, WebTransport, Writable};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::{DeltasIn, Streams};
use crate::{COMMANDS, FROM_ACCEPTOR, FROM_INITIATOR};

/// Has the browser begin to open a session.
pub(super) fn begin(url: &str, hashes: &[[u8; 32]]) -> Result<WebTransport, TransportError> {
    if Reflect::get(&global(), &"WebTransport".into()).is_ok_and(|it| it.is_undefined()) {
        let text =
            "this browser has no WebTransport, or has it for pages from https or localhost only";
        return Err(TransportError::new(TransportErrorKind::Unsupported, Fault::Local, text));
    }
    let begun = options(hashes).and_then(|options| WebTransport::new(url, &options));
    begun.map_err(|error| {
        TransportError::new(TransportErrorKind::SetUp, Fault::Local, explain(&error))
    })
}

fn options(hashes: &[[u8; 32]]) -> Result<JsValue, JsValue> {
    let options = Object::new();
    if !hashes.is_empty() {
        let list = Array::new();
        for hash in hashes {
            let entry = Object::new();
            Reflect::set(&entry, &"algorithm".into(), &"sha-256".into())?;
            Reflect::set(&entry, &"value".into(), &Uint8Array::from(&hash[..]))?;
            list.push(&entry);
        }
        Reflect::set(&options, &"serverCertificateHashes".into(), &list)?;
    }
    Ok(options.into())
}

/// Opens this side's streams, and waits for the server's. Deltas go and come as told.
pub(super) async fn open(
    session: WebTransport,
    send: Delivery,
    receive: Delivery,
) -> Result<Streams, JsValue> {
    JsFuture::from(session.ready()).await?;
    // Where it is not known, streams take turns.
    let first = Object::new();
    Reflect::set(&first, &"sendOrder".into(), &2.into())?;
    let opening = Array::of2(
        &session.create_bidirectional_stream(&first),
        &session.create_unidirectional_stream(&JsValue::UNDEFINED),
    );
    let opened: Array = JsFuture::from(Promise::all(&opening)).await?.unchecked_into();
    let commands: Pair = opened.get(0).unchecked_into();
    let deltas: Writable = opened.get(1).unchecked_into();
    let messages_out = match send.order {
        Order::Ordered => None,
        Order::Unordered => Some(AloneOut::new(&session, send)?),
    };
    let deltas_in = match receive.order {
        // Its stream may come behind some with a message.
        Order::Unordered => DeltasIn::Alone(AloneIn::new(&session)?),
        Order::Ordered => {
            let streams = session.incoming_unidirectional_streams();
            let came = streams.get_reader(&JsValue::UNDEFINED)?.read(&JsValue::UNDEFINED);
            let came: Came = JsFuture::from(came).await?.unchecked_into();
            if came.done() {
                return Err(JsValue::UNDEFINED);
            }
            let stream: Readable = came.value().unchecked_into();
            DeltasIn::InOrder(Incoming::new(&stream, Some(FROM_ACCEPTOR))?)
        }
    };
    // Their numbers show the server that its streams are there.
    Ok(Streams {
        commands_out: Outgoing::new(&commands.writable(), COMMANDS)?,
        commands_in: Incoming::new(&commands.readable(), None)?,
        deltas_out: Outgoing::new(&deltas, FROM_INITIATOR)?,
        messages_out,
        deltas_in,
        gone: false,
    })
}

/// A browser says no more than that it did not work.
pub(super) fn not_reached(error: &JsValue) -> TransportError {
    let said = explain(error);
    let text = format!(
        "the browser opened no WebTransport, and says only {said:?}: check that UDP gets to the server's port, which \
         firewalls and proxies may block; that its certificate is the one whose hash the page was told, at most 14 days old, \
         or one that the browser trusts, of this name; that the path is right; that the server lets in pages of this origin, \
         and who has this ticket, for 30 s and one use; and that this browser may reach devices of the local network, \
         if the server is one"
    );
    TransportError::new(TransportErrorKind::NotReached, Fault::Unknown, text)
}

fn explain(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>();
    error.map_or_else(String::new, |error| String::from(error.message()))
}
