//! What no honest browser does: each ends its own connection, by name, and no other.

use std::time::Duration;

use deltawire::{Admission, Node};
use deltawire_channels::{Delivery, Order, Reliability};

use crate::browser::{Browser, Session};
use crate::lab::{PATH, browser, join, listening, server};

/// Codes of HTTP/3's (RFC 9114, section 8.1).
const STREAM_CREATION: u64 = 0x103;
const CLOSED_CRITICAL: u64 = 0x104;
const FRAME_UNEXPECTED: u64 = 0x105;
const EXCESSIVE_LOAD: u64 = 0x107;
const SETTINGS: u64 = 0x109;
const MESSAGE: u64 = 0x10e;
const PROTOCOL: u64 = 0x101;

async fn uni(browser: &Browser, bytes: &[u8]) -> quinn::SendStream {
    let mut stream = browser.connection.open_uni().await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

async fn session(node: &Node) -> Session {
    browser(node).await.ask(PATH, &[]).await.unwrap()
}

async fn ends(browser: &Browser, code: u64, reason: &str) {
    let (came, said) = browser.closed().await;
    assert_eq!(came, code, "{said}");
    assert!(said.contains(reason), "{said:?}, not {reason:?}");
}

#[tokio::test]
async fn streams_of_http3_come_once() {
    let node = server();
    for (kind, name) in [(0, "control"), (2, "QPACK encoder"), (3, "QPACK decoder")] {
        let browser = browser(&node).await;
        let _stream = uni(&browser, &[kind]).await;
        ends(&browser, STREAM_CREATION, &format!("the {name} stream was opened twice")).await;
    }
    let browser = browser(&node).await;
    let _push = uni(&browser, &[1]).await;
    ends(&browser, STREAM_CREATION, "only session 0").await;
}

#[tokio::test]
async fn streams_of_a_link_come_once_and_have_their_numbers() {
    let node = server();
    for (bytes, code, reason) in [
        (&[0x40, 0x54, 0, 1][..], PROTOCOL, "stream 1 was opened twice"),
        (&[0x40, 0x54, 0, 2], STREAM_CREATION, "stream 2 was opened where 1 belongs"),
        // Where deltas have an order.
        (&[0x40, 0x54, 0, 3], PROTOCOL, "a stream began with 3, and 1 belongs there"),
        (&[0x40, 0x54, 4], STREAM_CREATION, "session 4"),
    ] {
        let session = session(&node).await;
        let _streams = session.streams().await;
        let _stream = uni(&session.browser, bytes).await;
        ends(&session.browser, code, reason).await;
    }
    // One more request.
    let session = session(&node).await;
    let (mut second, _) = session.browser.connection.open_bi().await.unwrap();
    second.write_all(&[1, 0]).await.unwrap();
    ends(&session.browser, STREAM_CREATION, "session").await;
}

#[tokio::test]
async fn more_streams_than_there_have_to_be_end_the_connection() {
    let node = server();
    let browser = browser(&node).await;
    for _ in 0..16 {
        uni(&browser, &[0x21]).await.stopped().await.unwrap();
    }
    let _one_more = uni(&browser, &[0x21]).await;
    ends(&browser, PROTOCOL, "more than 16 streams").await;
}

#[tokio::test]
async fn deltas_that_go_by_themselves_are_given_up_without_end_and_checked() {
    let way = Delivery { order: Order::Unordered, reliability: Reliability::Reliable };
    let node = listening().accept_webtransport(Admission::anyone()).delivery(way, way);
    let node = node.build().unwrap();
    let session = session(&node).await;
    let _streams = session.streams().await;
    // Before they show what they are, and after.
    for number in 0..100 {
        let begin: &[u8] = if number % 2 == 0 { &[] } else { &[0x40, 0x54, 0, 3, 1, 2, 3] };
        let mut stream = uni(&session.browser, begin).await;
        stream.reset(3_u32.into()).unwrap();
    }
    // Of another session, of none, and of one byte.
    for datagram in [&[1, 1][..], &[], &[0x40]] {
        session.browser.connection.send_datagram(datagram.to_vec().into()).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(session.browser.connection.close_reason().is_none());
    let _long = uni(&session.browser, &[&[0x40, 0x54, 0, 3][..], &[1; 70_000]].concat()).await;
    ends(&session.browser, PROTOCOL, "on stream 3").await;
}

#[tokio::test]
async fn what_must_stay_open_is_not_closed() {
    let node = server();
    let mut browser = browser(&node).await;
    browser.control.finish().unwrap();
    ends(&browser, CLOSED_CRITICAL, "control").await;
}

#[tokio::test]
async fn lengths_are_checked_before_anything_is_held() {
    let node = server();
    for (bytes, code, reason) in [
        // 2^20 and 2^62 - 1 bytes of fields, of which none come.
        (&[1, 0x80, 0x10, 0, 0][..], EXCESSIVE_LOAD, "a request of 1048576 bytes: at most 8192"),
        (&[1, 255, 255, 255, 255, 255, 255, 255, 255], EXCESSIVE_LOAD, "a request of"),
        (&[0, 1], FRAME_UNEXPECTED, "type 0x0"),
        (&[1, 2, 0, 0], MESSAGE, "no CONNECT for WebTransport"),
        (&[1, 1, 255], MESSAGE, "no CONNECT for WebTransport"),
    ] {
        let browser = browser(&node).await;
        let (mut request, _answer) = browser.connection.open_bi().await.unwrap();
        request.write_all(bytes).await.unwrap();
        ends(&browser, code, reason).await;
    }
    for (bytes, code, reason) in [
        (&[0, 4, 0x80, 0x10, 0, 0][..], EXCESSIVE_LOAD, "settings of 1048576 bytes"),
        (&[0, 4, 1, 0x41], SETTINGS, "the settings cannot be read"),
        (&[0, 0x21, 0], FRAME_UNEXPECTED, "settings come first"),
    ] {
        let hashes = node.webtransport_fingerprints();
        let (connection, _endpoint) =
            crate::browser::connect(crate::lab::at(&node), hashes, b"h3").await.unwrap();
        let mut control = connection.open_uni().await.unwrap();
        control.write_all(bytes).await.unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = connection.closed().await else {
            panic!("{bytes:?}");
        };
        let said = String::from_utf8_lossy(&close.reason);
        assert_eq!(close.error_code.into_inner(), code, "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[tokio::test]
async fn what_says_nothing_has_a_bound() {
    let node = server();
    let client = Node::builder().build().unwrap();
    let _other = join(&client, &node, PATH).await;
    let mut browser = browser(&node).await;
    // A frame of a type that is not known, longer than all that is passed over.
    browser.control.write_all(&[0x21, 0x80, 0x10, 0, 0]).await.unwrap();
    let _ = browser.control.write_all(&[0; 20_000]).await;
    ends(&browser, EXCESSIVE_LOAD, "at most 16384 are passed over").await;
    assert_eq!(node.peers().len(), 1, "others go on");
}

#[tokio::test]
async fn messages_are_checked_as_on_every_link() {
    let node = server();
    let session = session(&node).await;
    let (mut commands, _answers, _deltas) = session.streams().await;
    let _from_server = session.deltas_of_server().await;
    commands.write_all(&(1_u32 << 30).to_le_bytes()).await.unwrap();
    ends(&session.browser, PROTOCOL, "a message of 1073741824 bytes on stream 0").await;
}

#[tokio::test]
async fn a_client_that_closes_its_session_is_gone() {
    let node = server();
    // A capsule, the end of the request, and that of the connection.
    for way in 0..3 {
        let mut session = session(&node).await;
        let _streams = session.streams().await;
        match way {
            0 => session.request.0.write_all(&[0, 7, 0x68, 0x43, 4, 0, 0, 0, 0]).await.unwrap(),
            1 => session.request.0.finish().unwrap(),
            _ => session.browser.connection.close(0x100_u32.into(), b""),
        }
        crate::lab::until("end", || node.peers().is_empty()).await;
    }
}
