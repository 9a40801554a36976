//! In a browser's dedicated worker, whose window has no port.
#![cfg(target_arch = "wasm32")]
#![allow(missing_docs)]

use std::time::Duration;

use deltawire_browser::OpeningError;
use deltawire_channels::Limits;
use deltawire_framing::{DeltaFields, DocId};
use deltawire_link::{LinkEnded, TransportErrorKind, memory};
use deltawire_node::{AnswerError, BuildError, ConnectError, Node, RoomError};
use deltawire_sdp::DescriptionError;
use deltawire_signalling::SignallingError;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
async fn a_window_without_a_port_is_named() {
    let node = Node::builder().prefer_links(["webrtc"]).build().unwrap();
    let error = node.connect("http://127.0.0.1:9/webrtc").await.err().unwrap();
    let ConnectError::Window(OpeningError::WindowSilent { after }) = error else {
        panic!("{error}")
    };
    assert_eq!(after, Duration::from_secs(5));
    assert!(node.peers().is_empty());
    assert!(node.shut_down(Duration::from_secs(1)).await.is_complete());
}

/// Offers that cannot be read, and rooms that cannot be, are refused before the window is asked.
#[wasm_bindgen_test]
async fn offers_that_cannot_be_answered_are_named() {
    let node = Node::builder().build().unwrap();
    let error = node.answer("hello").await.unwrap_err();
    let AnswerError::Description(DescriptionError::Malformed { value, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(value, "hello");
    let error = node.answer("v=0\r\n").await.unwrap_err();
    assert!(matches!(error, AnswerError::Description(DescriptionError::NoChannels)), "{error}");
    let error = node.accept_in_room("ftp://a/webrtc/rooms/b").await.unwrap_err();
    assert!(matches!(error, RoomError::Signalling(SignallingError::Url { .. })), "{error}");
    assert!(node.peers().is_empty());
    node.shut_down(Duration::from_secs(1)).await;
    // Once it takes no more links, it is ready.
    node.accept_in_room("http://127.0.0.1:9/webrtc/rooms/a").await.unwrap();
}

/// Nor does it need one. The port is the one for discarding, which browsers do not even ask.
#[wasm_bindgen_test]
async fn a_websocket_that_does_not_open_says_what_to_look_at() {
    let node = Node::builder().build().unwrap();
    let error = node.connect("ws://127.0.0.1:9/webrtc").await.err().unwrap();
    let ConnectError::Ended(LinkEnded::Transport(error)) = error else { panic!("{error}") };
    assert_eq!(error.kind(), TransportErrorKind::NotReached);
    assert!(error.to_string().contains("check the address"), "{error}");
    assert!(node.peers().is_empty());
}

#[wasm_bindgen_test]
async fn websockets_that_cannot_be_are_refused_before_anything_is_sent() {
    let node = Node::builder().build().unwrap();
    let error = node.connect("ws://example.org/webrtc").await.err().unwrap();
    let ConnectError::Unencrypted { scheme: "ws", host } = error else { panic!("{error}") };
    assert_eq!(host, "example.org");
    let error = node.connect("ws://user:word@nowhere:port/").await.err().unwrap();
    let ConnectError::Signalling(SignallingError::Url { url, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(url, "nowhere:port/");
}

#[wasm_bindgen_test]
fn options_out_of_bounds_are_named() {
    let limits = Limits { max_frame_len: 79, ..Limits::default() };
    let error = Node::builder().limits(limits).build().unwrap_err();
    assert!(
        matches!(error, BuildError::Limits(limits) if (limits.field, limits.value) == ("max_frame_len", 79)),
        "{error}"
    );
}

/// Pacing has limits of its own, which are raised to them in a browser.
#[wasm_bindgen_test]
fn the_longest_frames_need_no_other_option() {
    let limits = Limits { max_frame_len: 65_535, ..Limits::default() };
    assert!(Node::builder().limits(limits).build().is_ok());
}

/// Rings where a pointer has 32 bits, with memory that grows while a payload is read in place.
#[wasm_bindgen_test]
async fn peers_in_one_worker_read_in_place() {
    let (mut alice, mut bob) = memory::pair();
    for round in 0_u8..200 {
        let len = 1 + usize::from(round) * 1_000;
        let mut grant = alice.send.reserve(len).await.unwrap();
        grant.payload_mut().fill(round);
        grant.commit(DeltaFields::new(DocId([7; 16])), len).unwrap();
        let frame = bob.receive.next().await.unwrap();
        let payload = frame.delta().unwrap().payload();
        let grown = std::hint::black_box(vec![!round; 1 << 20]);
        assert!(payload.len() == len && payload.iter().all(|byte| *byte == round));
        assert_eq!(grown[usize::from(round)], !round);
    }
}
