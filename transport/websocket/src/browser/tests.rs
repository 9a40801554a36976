//! Over a socket whose server is this file.

use js_sys::{Array, ArrayBuffer, Function, Reflect, Uint8Array, eval};
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Wake;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

use super::inbox::MAX_WAITING;
use super::*;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const NOW: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(2);

/// What stands for the browser's: it notes what is asked of it.
const FAKE: &str = "({
    sent: [],
    closed: [],
    bufferedAmount: 0,
    send(bytes) { this.sent.push(bytes.slice()); },
    close(code) { this.closed.push(code); },
    open() { this.onopen?.(new Event('open')); },
    message(data) { this.onmessage?.(new MessageEvent('message', { data })); },
    end() { this.onerror?.(new Event('error')); this.onclose?.(new Event('close')); },
})";

struct Fake {
    object: JsValue,
}

impl Fake {
    /// One that is being opened, and the transport on it.
    fn new() -> (Self, BrowserWebSocket) {
        let object = eval(FAKE).unwrap();
        let transport = BrowserWebSocket::over(object.clone().unchecked_into());
        (Self { object }, transport)
    }

    fn open() -> (Self, BrowserWebSocket) {
        let (fake, mut transport) = Self::new();
        transport.handle_timeout(NOW);
        assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
        fake.call("open", &[]);
        assert_eq!(transport.poll_output(), Ok(Output::Open));
        (fake, transport)
    }

    fn call(&self, method: &str, arguments: &[JsValue]) {
        let method: Function = self.property(method).unchecked_into();
        method.apply(&self.object, &arguments.iter().collect::<Array>()).unwrap();
    }

    fn property(&self, name: &str) -> JsValue {
        Reflect::get(&self.object, &name.into()).unwrap()
    }

    fn give(&self, message: &[u8]) {
        let buffer: ArrayBuffer = Uint8Array::from(message).buffer();
        self.call("message", &[buffer.into()]);
    }

    fn sent(&self) -> Vec<Vec<u8>> {
        let sent: Array = self.property("sent").unchecked_into();
        sent.iter().map(|bytes| Uint8Array::new(&bytes).to_vec()).collect()
    }

    fn closed(&self) -> Vec<f64> {
        let closed: Array = self.property("closed").unchecked_into();
        closed.iter().filter_map(|code| code.as_f64()).collect()
    }
}

fn frame(len: usize, channel: u8) -> Vec<u8> {
    let mut frame = vec![7; len];
    frame[2] = channel;
    frame
}

fn misuse(result: &Result<Output, TransportError>) -> Option<WebSocketMisuse> {
    let error = result.as_ref().err()?;
    assert!(error.keeps_channels() && error.fault() == Fault::Peer);
    error.downcast_ref::<WebSocketMisuse>().copied()
}

#[wasm_bindgen_test]
fn what_was_not_sent_cannot_have_come() {
    let (fake, mut transport) = Fake::open();
    assert_eq!(transport.write(Channel::Data, &frame(1_000, 1)), Ok(true));
    Reflect::set(&fake.object, &"bufferedAmount".into(), &900.into()).unwrap();
    fake.give(&1_000_u64.to_le_bytes());
    assert!(matches!(transport.poll_output(), Ok(Output::Timeout(_))));
    assert_eq!(transport.in_flight(), 900);
}

#[wasm_bindgen_test]
fn messages_go_both_ways() {
    let (fake, mut transport) = Fake::open();
    assert_eq!(fake.property("binaryType").as_string().as_deref(), Some("arraybuffer"));
    let mut message = frame(16_384, 1);
    assert_eq!(transport.write(Channel::Data, &message), Ok(true));
    // What is done with the bytes afterwards changes nothing.
    message.fill(9);
    assert_eq!(transport.in_flight(), 16_384);
    assert_eq!(fake.sent(), [frame(16_384, 1)]);
    fake.give(&10_000_u64.to_le_bytes());
    assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
    assert_eq!(transport.in_flight(), 6_384);
    for (channel, number, len) in [(Channel::Command, 0, 17), (Channel::Data, 1, 65_536)] {
        fake.give(&frame(len, number));
        let Ok(Output::Message(came, message)) = transport.poll_output() else { panic!() };
        assert_eq!((came, &message[..]), (channel, &frame(len, number)[..]));
        // As payloads are promised to lie, whatever the allocator gives.
        assert!(message.as_ptr().addr().is_multiple_of(16));
    }
}

#[wasm_bindgen_test]
fn what_came_is_acknowledged_with_a_message_at_once_or_later() {
    let (fake, mut transport) = Fake::open();
    fake.give(&frame(100, 0));
    assert!(matches!(transport.poll_output(), Ok(Output::Message(..))));
    let Ok(Output::Timeout(Some(at))) = transport.poll_output() else { panic!() };
    assert!(at > NOW && fake.sent().is_empty());
    transport.write(Channel::Command, &frame(20, 0)).unwrap();
    assert_eq!(fake.sent(), [100_u64.to_le_bytes().to_vec(), frame(20, 0)]);
    // Of itself when its time has come.
    fake.give(&frame(50, 0));
    assert!(matches!(transport.poll_output(), Ok(Output::Message(..))));
    transport.handle_timeout(LATER);
    assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
    assert_eq!(fake.sent()[2..], [150_u64.to_le_bytes()]);
    // At once when it is much.
    fake.give(&frame(40_000, 1));
    assert!(matches!(transport.poll_output(), Ok(Output::Message(..))));
    assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
    assert_eq!(fake.sent()[3..], [40_150_u64.to_le_bytes()]);
}

#[wasm_bindgen_test]
fn what_no_honest_peer_sends_is_named_and_the_peer_can_be_told() {
    let (len, max) = (65_537, 65_536);
    let (acknowledged, written) = (1, 0);
    for (message, expected) in [
        (JsValue::from("hello"), WebSocketMisuse::Text),
        (buffer(0), StreamMessageError::Length { len: 0 }.into()),
        (buffer(16), StreamMessageError::Length { len: 16 }.into()),
        (buffer(65_537), StreamMessageError::TooLong { len, max }.into()),
        (
            Uint8Array::from(&1_u64.to_le_bytes()[..]).buffer().into(),
            StreamMessageError::Acknowledged { acknowledged, written }.into(),
        ),
    ] {
        let (fake, mut transport) = Fake::open();
        fake.give(&frame(20, 1));
        fake.call("message", &[message]);
        fake.give(&frame(20, 1));
        assert!(matches!(transport.poll_output(), Ok(Output::Message(..))), "what came before");
        assert_eq!(misuse(&transport.poll_output()), Some(expected));
        // Nothing more is heard, what is said still goes out, and nothing is waited for.
        fake.give(&frame(20, 1));
        assert!(matches!(transport.poll_output(), Ok(Output::Timeout(_))));
        assert_eq!(transport.write(Channel::Command, &frame(30, 0)), Ok(true));
        assert_eq!(fake.sent().last(), Some(&frame(30, 0)));
        assert_eq!(transport.in_flight(), 0);
        fake.call("end", &[]);
        assert_eq!(transport.poll_output(), Ok(Output::Closed));
    }
}

#[wasm_bindgen_test]
fn what_waits_is_bounded() {
    let (fake, mut transport) = Fake::open();
    for _ in 0..=MAX_WAITING / 65_536 {
        fake.give(&frame(65_536, 1));
    }
    let mut came = 0;
    let ended = loop {
        match transport.poll_output() {
            Ok(Output::Message(_, message)) => came += message.len(),
            other => break other,
        }
    };
    assert_eq!(came, MAX_WAITING);
    let len = MAX_WAITING + 65_536;
    assert_eq!(misuse(&ended), Some(WebSocketMisuse::TooMuch { len, max: MAX_WAITING }));
}

#[wasm_bindgen_test]
fn the_driver_is_woken_by_whatever_happens() {
    #[derive(Default)]
    struct Woken(Mutex<u32>);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let (fake, mut transport) = Fake::new();
    let woken = Arc::<Woken>::default();
    transport.attach(&woken.clone().into());
    fake.call("open", &[]);
    fake.give(&frame(20, 1));
    fake.call("end", &[]);
    assert_eq!(*woken.0.lock().unwrap(), 3);
    assert_eq!(transport.poll_output(), Ok(Output::Open));
    assert!(matches!(transport.poll_output(), Ok(Output::Message(..))));
    assert_eq!(transport.poll_output(), Ok(Output::Closed));
    assert!(matches!(transport.poll_output(), Ok(Output::Timeout(_))), "told once");
}

#[wasm_bindgen_test]
fn closing_acknowledges_and_takes_the_handlers_off() {
    let (fake, mut transport) = Fake::open();
    fake.give(&frame(20, 1));
    assert!(matches!(transport.poll_output(), Ok(Output::Message(..))));
    transport.close();
    assert_eq!(fake.sent(), [20_u64.to_le_bytes()]);
    assert_eq!(fake.closed(), [1_000.0]);
    fake.give(&frame(20, 1));
    assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
    drop(transport);
    for handler in ["onopen", "onmessage", "onclose"] {
        assert!(!fake.property(handler).is_function(), "{handler}");
    }
    // One that is given up as it is opened.
    let (fake, transport) = Fake::new();
    drop(transport);
    assert!(fake.sent().is_empty());
    assert_eq!(fake.closed(), [1_000.0]);
}

#[wasm_bindgen_test]
fn one_that_does_not_open_says_what_to_look_at() {
    let (fake, mut transport) = Fake::new();
    fake.call("end", &[]);
    let error = transport.poll_output().unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::NotReached);
    for cause in ["address", "origin", "token", "proxies", "https", "local network"] {
        assert!(error.to_string().contains(cause), "{error}");
    }
}

#[wasm_bindgen_test]
fn addresses_are_read_as_the_browser_does() {
    assert_eq!(host("ws://user:word@127.1:8080/webrtc").unwrap(), "127.0.0.1");
    assert_eq!(host("WSS://Example.org").unwrap(), "example.org");
    assert_eq!(host("ws://[0:0::1]:80/").unwrap(), "::1");
    for wrong in ["", "ws://", "ws://a:b/", "nonsense"] {
        assert!(!host(wrong).unwrap_err().reason.is_empty(), "{wrong}");
    }
    let error = BrowserWebSocket::open("nonsense://x").map(drop).unwrap_err();
    assert!(!error.reason.is_empty());
}

fn buffer(len: u32) -> JsValue {
    ArrayBuffer::new(len).into()
}
