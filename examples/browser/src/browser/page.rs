//! The window: shows what the worker says, and tells it what people want.

use std::cell::RefCell;
use std::rc::Rc;

use deltawire::browser::{IceServer, Port, PortOptions, spawn_worker};
use wasm_bindgen::prelude::*;
use web_sys::{Document, Element, HtmlInputElement, MessageEvent, Worker, window};

use super::chart::Chart;
use super::message::{self, Counters, Server, ToPage, ToWorker};
use crate::exercise::{Check, Rate};

/// As the page calls the data channels.
const CHANNELS: [&str; 3] = ["command", "send", "receive"];

struct Page {
    document: Document,
    worker: Worker,
    port: Port,
    origin: String,
    /// What stands behind the ? of the address: `run`, `quick`, `relay`, `websocket`, `webtransport`, `measure=…`,
    /// `accept=…` and `meet=…` with the name of a room, `stun=…` with the host and port of a server.
    query: String,
    chart: RefCell<Chart>,
}

pub(super) fn start() -> Result<(), JsValue> {
    let window = window().ok_or("no window")?;
    let document = window.document().ok_or("no document")?;
    let query = window.location().search()?;
    let worker = match spawn_worker() {
        Ok(worker) => worker,
        Err(error) => {
            let state = document.get_element_by_id("state").ok_or("no state")?;
            state.set_text_content(Some(&error.to_string()));
            return Err(JsError::from(error).into());
        }
    };
    let mut options = PortOptions::default();
    options.force_relay = query.contains("relay");
    if let Some(stun) = parameter(&query, "stun") {
        options.ice_servers = vec![IceServer::new(format!("stun:{stun}"))];
    }
    let port = Port::new(worker.clone(), options)?;
    let origin = window.location().origin()?;
    let chart = RefCell::default();
    let page = Rc::new(Page { document, worker, port, origin, query, chart });
    listen(&page.worker, "message", {
        let page = page.clone();
        move |event: MessageEvent| {
            if let Some(message) = message::read(event.data()) {
                // An element that is missing is a mistake in the page.
                page.show(message).unwrap_or_else(|error| wasm_bindgen::throw_val(error));
            }
        }
    })?;
    listen(&page.worker, "error", {
        let page = page.clone();
        move |_: MessageEvent| {
            let _ = page.state("The worker broke: this browser's console says why.", false);
        }
    })?;
    let bulk = page.element("bulk")?;
    listen(&bulk, "click", {
        let page = page.clone();
        move |_: MessageEvent| page.want(&ToWorker::Bulk)
    })?;
    let text = page.element("text")?;
    listen(&text, "input", {
        let page = page.clone();
        move |event: MessageEvent| {
            let input = event.target().and_then(|it| it.dyn_into::<HtmlInputElement>().ok());
            if let Some(input) = input {
                page.want(&ToWorker::Say(input.value()));
            }
        }
    })?;
    Ok(())
}

/// Listens for as long as the page is there.
pub(super) fn listen(
    target: &web_sys::EventTarget,
    event: &str,
    listener: impl FnMut(MessageEvent) + 'static,
) -> Result<(), JsValue> {
    let listener = Closure::<dyn FnMut(MessageEvent)>::new(listener);
    target.add_event_listener_with_callback(event, listener.as_ref().unchecked_ref())?;
    listener.forget();
    Ok(())
}

impl Page {
    fn element(&self, id: &str) -> Result<Element, JsValue> {
        self.document.get_element_by_id(id).ok_or_else(|| format!("no element {id}").into())
    }

    fn text(&self, id: &str, text: &str) -> Result<(), JsValue> {
        self.element(id)?.set_text_content(Some(text));
        Ok(())
    }

    /// What the address says of this, behind its ?.
    fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.query, name)
    }

    /// By WebSocket, WebTransport or whichever opens of both if the address says so, and else by WebRTC.
    fn server(&self) -> Server {
        let mut named = ["websocket", "webtransport,websocket", "webtransport"].into_iter();
        let kind = named.find(|kind| self.parameter(kind).is_some()).unwrap_or("webrtc");
        Server { origin: self.origin.clone(), kind: kind.to_owned() }
    }

    /// The address of a room of the server's.
    fn room(&self, name: &str) -> String {
        format!("{}/webrtc/rooms/{name}", self.origin)
    }

    fn want(&self, wish: &ToWorker) {
        let _ = self.worker.post_message(&message::written(wish));
    }

    fn show(&self, message: ToPage) -> Result<(), JsValue> {
        match message {
            ToPage::Ready => {
                let server = self.server();
                if let Some(job) = self.parameter("measure") {
                    let quick = self.parameter("quick").is_some();
                    self.want(&ToWorker::Measure { server, job, quick });
                } else if let Some(name) = self.parameter("accept") {
                    self.want(&ToWorker::Accept { room: self.room(&name) });
                } else if let Some(name) = self.parameter("meet") {
                    self.want(&ToWorker::Meet { room: self.room(&name) });
                } else if self.query.contains("run") {
                    self.state("running all checks…", true)?;
                    let quick = self.query.contains("quick");
                    self.want(&ToWorker::Run { server, quick });
                } else {
                    self.want(&ToWorker::Connect(server));
                }
                Ok(())
            }
            ToPage::State { text, up } => self.state(&text, up),
            ToPage::Channels(text) => {
                for channel in CHANNELS {
                    let element = self.element(&format!("{channel}-state"))?;
                    element.set_text_content(Some(&text));
                    element.set_class_name(if text == "open" { "up" } else { "down" });
                }
                Ok(())
            }
            ToPage::Answer(text) => self.text("answer", &text),
            ToPage::RoundTrip(time) => {
                let mut chart = self.chart.borrow_mut();
                let (points, top) = chart.push(time);
                self.element("line")?.set_attribute("points", &points)?;
                self.text("top", &format!("{top:.0} µs"))?;
                self.text("round-trip", &format!("{:.0} µs", chart.median()))
            }
            ToPage::Progress(done) => {
                let done = format!("{:.0}%", done * 100.0);
                self.element("bar")?.set_attribute("style", &format!("width:{done}"))?;
                self.text("progress", &done)
            }
            ToPage::Rate(rate) => self.rate(rate),
            ToPage::Counters(counters) => self.counters(&counters),
            ToPage::Check(check) => self.check(&check),
            ToPage::Measured(measured) => self.text("result", &message::json(&measured)),
            ToPage::Report(mut report) => {
                report.main_thread_bytes = self.port.stats().payload_bytes;
                let passed = report.checks.iter().all(|check| check.passed);
                let words = if passed { "all checks passed" } else { "some checks failed" };
                self.state(words, passed)?;
                let times = report.round_trips;
                self.text("round-trip", &format!("{:.0} µs", times.p50))?;
                self.counters(&report.counters)?;
                self.text("result", &message::json(&report))
            }
        }
    }

    fn state(&self, text: &str, up: bool) -> Result<(), JsValue> {
        self.text("state", text)?;
        self.element("state")?.set_class_name(if up { "up" } else { "down" });
        Ok(())
    }

    fn rate(&self, rate: Rate) -> Result<(), JsValue> {
        let id = format!("rate-{}", rate.size);
        self.text(&format!("{id}-up"), &format!("{:.1} MB/s", rate.up))?;
        self.text(&format!("{id}-down"), &format!("{:.1} MB/s", rate.down))
    }

    fn counters(&self, counters: &Counters) -> Result<(), JsValue> {
        for (channel, (messages, bytes)) in
            CHANNELS.iter().zip(counters.messages.iter().zip(counters.bytes))
        {
            let text = format!("{messages} messages · {}", size(bytes));
            self.text(channel, &text)?;
        }
        self.text("route", &counters.route)?;
        self.text("main-thread", &size(self.port.stats().payload_bytes))?;
        self.text("reassembled", &size(counters.reassembled))?;
        self.text("queued", &size(counters.queued))?;
        self.text("buffered", &size(counters.buffered))?;
        self.text("waits", &counters.waits.to_string())
    }

    fn check(&self, check: &Check) -> Result<(), JsValue> {
        let row = self.document.create_element("li")?;
        row.set_class_name(if check.passed { "up" } else { "down" });
        row.set_text_content(Some(&format!("{} — {}", check.name, check.detail)));
        self.element("checks")?.append_child(&row)?;
        Ok(())
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let parameters = query.trim_start_matches('?').split('&');
    let mut pairs = parameters.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned())
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
