//! Counts what a message costs in the worker: bytes that are copied, and allocations.
//!
//! Copies are counted where JavaScript makes them, whoever asks for them: `Uint8Array`'s constructor,
//! `set` and `slice`, while they are replaced by proxies. What is sent has to be a view of wasm's own
//! memory, which the browser reads by itself. Copies within wasm are not seen here; those need
//! memory, and allocations are counted.

use std::alloc::System;
use std::cell::Cell;
use std::rc::Rc;

use deltawire::prelude::*;
use js_sys::{Array, Function, Object, Proxy, Reflect, Uint8Array, global};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use wasm_bindgen::prelude::*;

use crate::exercise::DOCUMENT;
use crate::service::{Error, Request};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages each way.
const MESSAGES: u32 = 2_000;

/// Payload that just fits one frame of 16 KiB, bytes.
const PAYLOAD: u32 = 16 * 1_024 - 64;

/// Control messages take a little of what is counted too.
const TOLERANCE: f64 = 0.05;

/// Counts what messages of one frame cost, each way.
///
/// # Errors
///
/// When the link is gone, or they cost more than the one copy of what comes.
pub(super) async fn check(peer: &mut Peer) -> Result<String, Error> {
    // Queues grow to their size first.
    send(peer).await?;
    receive(peer).await?;
    let region = Region::new(ALLOCATOR);
    send(peer).await?;
    let sent = region.change();
    let region = Region::new(ALLOCATOR);
    receive(peer).await?;
    let received = region.change();
    let per_message = |count: usize| count as f64 / f64::from(MESSAGES);
    let allocations = [sent, received].map(|it| per_message(it.allocations + it.reallocations));

    let counter = Counter::install().map_err(|error| format!("{error:?}"))?;
    send(peer).await?;
    let sent = counter.take();
    receive(peer).await?;
    let received = counter.take();
    drop(counter);
    let wire = f64::from(MESSAGES) * f64::from(PAYLOAD + 64);
    let copies = [sent.copied, received.copied].map(|bytes| bytes / wire);
    let detail = format!(
        "a message of one frame: to the server {:.2} copies and {:.2} allocations, from it {:.2} \
         and {:.2}",
        copies[0], allocations[0], copies[1], allocations[1]
    );
    let is = |figure: f64, wanted: f64| (figure - wanted).abs() <= TOLERANCE;
    if sent.from_elsewhere > 0 || sent.from_wasm < wire {
        return Err(format!("{} sends were not of wasm's memory", sent.from_elsewhere).into());
    }
    if !is(copies[0], 0.0) || !is(copies[1], 1.0) {
        return Err(format!("{detail}: 0 and 1 copies are promised").into());
    }
    if allocations[0] > TOLERANCE || allocations[1] > 1.0 + TOLERANCE {
        return Err(format!("{detail}: 0 and 1 allocations are promised").into());
    }
    Ok(detail)
}

/// Sends them, and hears that all came.
async fn send(peer: &mut Peer) -> Result<(), Error> {
    let delta_type = Request::Count.delta_type();
    for sequence in (0..MESSAGES).rev() {
        let grant = peer.send.reserve(PAYLOAD as usize).await?;
        let fields = DeltaFields { delta_type, sequence, ..DeltaFields::new(DOCUMENT) };
        let fields = DeltaFields { checksum: Checksum::Absent, ..fields };
        grant.commit(fields, PAYLOAD as usize)?;
    }
    peer.receive.next().await?;
    Ok(())
}

/// Has as many sent.
async fn receive(peer: &mut Peer) -> Result<(), Error> {
    let mut grant = peer.send.reserve(8).await?;
    grant.payload_as_mut::<u32>()?.copy_from_slice(&[PAYLOAD, MESSAGES]);
    let delta_type = Request::Generate.delta_type();
    grant.commit(DeltaFields { delta_type, ..DeltaFields::new(DOCUMENT) }, 8)?;
    for _ in 0..MESSAGES {
        peer.receive.next().await?;
    }
    Ok(())
}

/// What the proxies saw, bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    copied: f64,
    /// Given to a data channel, a WebSocket or a stream right from wasm's memory.
    from_wasm: f64,
    /// Times that something else was given to one.
    from_elsewhere: u32,
}

/// Stands between the module and JavaScript. Dropped, it goes away.
struct Counter {
    seen: Rc<Cell<Seen>>,
    /// Object, property, and what was there.
    replaced: Vec<(JsValue, &'static str, JsValue)>,
}

impl Counter {
    fn install() -> Result<Self, JsValue> {
        let mut counter = Self { seen: Rc::default(), replaced: Vec::new() };
        let globals = JsValue::from(global());
        let views = property(&property(&globals, "Uint8Array")?, "prototype")?;
        counter.on_call(&views, "set", |seen, _, source| seen.copied += len(source))?;
        counter.on_call(&views, "slice", |seen, view, _| seen.copied += len(view))?;
        for (kind, send) in [
            ("RTCDataChannel", "send"),
            ("WebSocket", "send"),
            ("WritableStreamDefaultWriter", "write"),
        ] {
            let links = property(&property(&globals, kind)?, "prototype")?;
            counter.on_call(&links, send, |seen, _, message| {
                match message.dyn_ref::<Uint8Array>() {
                    Some(view) if JsValue::from(view.buffer()) == memory() => {
                        seen.from_wasm += len(view);
                    }
                    _ => seen.from_elsewhere += 1,
                }
            })?;
        }
        let seen = counter.seen.clone();
        let construct = Closure::<dyn Fn(Function, Array) -> Result<JsValue, JsValue>>::new(
            move |target: Function, arguments: Array| {
                let mut now = seen.get();
                now.copied += len(&arguments.get(0));
                seen.set(now);
                Reflect::construct(&target, &arguments)
            },
        );
        counter.replace(&globals, "Uint8Array", "construct", &construct.into_js_value())?;
        Ok(counter)
    }

    /// Looks at `this` and the first argument of each call of a method.
    fn on_call(
        &mut self,
        object: &JsValue,
        name: &'static str,
        look: impl Fn(&mut Seen, &JsValue, &JsValue) + 'static,
    ) -> Result<(), JsValue> {
        let seen = self.seen.clone();
        let apply = Closure::<dyn Fn(Function, JsValue, Array) -> Result<JsValue, JsValue>>::new(
            move |target: Function, this: JsValue, arguments: Array| {
                let mut now = seen.get();
                look(&mut now, &this, &arguments.get(0));
                seen.set(now);
                Reflect::apply(&target, &this, &arguments)
            },
        );
        self.replace(object, name, "apply", &apply.into_js_value())
    }

    /// Puts a proxy with this trap in a function's place.
    fn replace(
        &mut self,
        object: &JsValue,
        name: &'static str,
        trap: &str,
        callback: &JsValue,
    ) -> Result<(), JsValue> {
        let handler = Object::new();
        Reflect::set(&handler, &trap.into(), callback)?;
        let original = property(object, name)?;
        Reflect::set(object, &name.into(), &Proxy::new(&original, &handler))?;
        self.replaced.push((object.clone(), name, original));
        Ok(())
    }

    fn take(&self) -> Seen {
        self.seen.take()
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        for (object, name, original) in &self.replaced {
            let _ = Reflect::set(object, &(*name).into(), original);
        }
    }
}

fn property(object: &JsValue, name: &str) -> Result<JsValue, JsValue> {
    Reflect::get(object, &name.into())
}

/// The buffer that is wasm's memory.
fn memory() -> JsValue {
    property(&wasm_bindgen::memory(), "buffer").unwrap_or_default()
}

/// Bytes of a view.
fn len(view: &JsValue) -> f64 {
    view.dyn_ref::<Uint8Array>().map_or(0.0, |view| f64::from(view.byte_length()))
}
