//! A transport over a real stream, against a peer that is written by hand.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deltawire_framing::Channel;
use deltawire_link::{
    Fault, MAX_STREAM_MESSAGE, MessageTransport, Output, StreamMessageError, TransportErrorKind,
};
use deltawire_stream::{FramingError, LengthPrefix, StreamTransport};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

type Transport = StreamTransport<DuplexStream, LengthPrefix>;

/// A transport, and the peer's end of a stream that holds so much.
fn transport(room: usize) -> (Transport, DuplexStream) {
    let (near, far) = duplex(room);
    let mut transport = StreamTransport::new("test", near, LengthPrefix);
    transport.attach(Waker::noop());
    assert_eq!(transport.poll_output(), Ok(Output::Open));
    (transport, far)
}

fn frame(channel: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![5; len];
    frame[2] = channel;
    frame
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_le_bytes(), message].concat()
}

/// Everything that the transport has to give now.
fn drain(transport: &mut Transport) -> Vec<Output> {
    let mut outputs = Vec::new();
    loop {
        match transport.poll_output().unwrap() {
            Output::Timeout(_) => return outputs,
            output => outputs.push(output),
        }
    }
}

/// What lies in the stream now.
async fn read(far: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let reading = std::pin::pin!(far.read(&mut bytes));
    let mut context = Context::from_waker(Waker::noop());
    match std::future::Future::poll(reading, &mut context) {
        Poll::Ready(len) => bytes.truncate(len.unwrap()),
        Poll::Pending => bytes.clear(),
    }
    bytes
}

#[tokio::test]
async fn messages_come_whole_however_they_are_cut() {
    let (mut transport, mut far) = transport(1 << 20);
    let messages = [frame(0, 17), frame(1, 30_000), frame(1, MAX_STREAM_MESSAGE), frame(0, 500)];
    let bytes: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
    for step in [1, 3, 1_000, 20_000, 70_000, bytes.len()] {
        let mut outputs = Vec::new();
        for part in bytes.chunks(step) {
            far.write_all(part).await.unwrap();
            outputs.extend(drain(&mut transport));
        }
        assert_eq!(outputs.len(), messages.len());
        for (output, message) in outputs.into_iter().zip(&messages) {
            let Output::Message(channel, came) = output else { panic!("{output:?}") };
            assert_eq!((channel as u8, &*came), (message[2], &message[..]));
        }
        read(&mut far).await;
    }
}

#[tokio::test]
async fn what_comes_is_acknowledged_with_the_next_message_or_when_it_is_due() {
    let (mut transport, mut far) = transport(1 << 20);
    let start = Duration::from_secs(1);
    transport.handle_timeout(start);
    far.write_all(&framed(&frame(1, 100))).await.unwrap();
    assert_eq!(drain(&mut transport).len(), 1);
    assert_eq!(read(&mut far).await, [], "not by itself");
    assert!(transport.write(Channel::Command, &frame(0, 20)).unwrap());
    assert_eq!(drain(&mut transport), []);
    let both = [framed(&100_u64.to_le_bytes()), framed(&frame(0, 20))].concat();
    assert_eq!(read(&mut far).await, both);
    assert_eq!(transport.in_flight(), 20);
    far.write_all(&framed(&20_u64.to_le_bytes())).await.unwrap();
    far.write_all(&framed(&frame(1, 50))).await.unwrap();
    assert_eq!(drain(&mut transport).len(), 1);
    assert_eq!(transport.in_flight(), 0);
    let Ok(Output::Timeout(Some(at))) = transport.poll_output() else { panic!("no time is set") };
    transport.handle_timeout(at);
    assert_eq!(drain(&mut transport), []);
    assert_eq!(read(&mut far).await, framed(&150_u64.to_le_bytes()));
    assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
    // Much is acknowledged at once.
    far.write_all(&framed(&frame(1, 40_000))).await.unwrap();
    drain(&mut transport);
    assert_eq!(read(&mut far).await, framed(&40_150_u64.to_le_bytes()));
}

#[tokio::test]
async fn messages_are_handed_on_together_and_in_order() {
    let (mut transport, mut far) = transport(1 << 20);
    let mut expected = Vec::new();
    for number in 0..10 {
        let message = frame(1, 100 + number);
        assert!(transport.write(Channel::Data, &message).unwrap());
        expected.extend(framed(&message));
    }
    assert_eq!(read(&mut far).await, [], "not one by one");
    // With the lengths in front of them.
    assert_eq!(transport.in_flight(), 10 * (100 + 4) + 45, "they are on their way");
    // Four fragments are not one by one either, and the fourth is enough.
    for number in 0..4 {
        assert_eq!(read(&mut far).await, [], "{number}");
        let long = frame(1, 16_380);
        assert!(transport.write(Channel::Data, &long).unwrap());
        expected.extend(framed(&long));
    }
    assert_eq!(read(&mut far).await, expected);
    // What is not enough waits until nothing more is written.
    let message = frame(1, 16_380);
    for _ in 0..3 {
        assert!(transport.write(Channel::Data, &message).unwrap());
    }
    assert_eq!(read(&mut far).await, []);
    assert_eq!(drain(&mut transport), []);
    assert_eq!(read(&mut far).await, framed(&message).repeat(3));
    // The longest is enough alone.
    let longest = frame(1, MAX_STREAM_MESSAGE);
    assert!(transport.write(Channel::Data, &longest).unwrap());
    assert_eq!(read(&mut far).await, framed(&longest));
}

#[tokio::test]
async fn what_the_system_does_not_take_waits_in_order() {
    let (mut transport, mut far) = transport(1_000);
    let messages: Vec<_> = (0..20).map(|number| frame(1, 200 + number)).collect();
    for message in &messages {
        assert!(transport.write(Channel::Data, message).unwrap());
    }
    let expected: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
    let mut came = Vec::new();
    while came.len() < expected.len() {
        came.extend(read(&mut far).await);
        drain(&mut transport);
    }
    assert_eq!(came, expected);
}

#[tokio::test]
async fn what_no_honest_peer_says_ends_the_link_and_it_is_told() {
    let misused = |message: &[u8]| framed(message);
    for (bytes, misuse) in [
        (misused(&[]), StreamMessageError::Length { len: 0 }),
        (misused(&[0; 16]), StreamMessageError::Length { len: 16 }),
        (misused(&frame(3, 20)), StreamMessageError::Channel { channel: 3 }),
        (
            misused(&1_u64.to_le_bytes()),
            StreamMessageError::Acknowledged { acknowledged: 1, written: 0 },
        ),
        (
            // Nothing behind it has to come for that.
            65_537_u32.to_le_bytes().to_vec(),
            StreamMessageError::TooLong { len: 65_537, max: 65_536 },
        ),
        (vec![0xff; 4], StreamMessageError::TooLong { len: 0xffff_ffff, max: 65_536 }),
    ] {
        let (mut transport, mut far) = transport(1 << 20);
        far.write_all(&framed(&frame(0, 17))).await.unwrap();
        far.write_all(&bytes).await.unwrap();
        assert!(matches!(transport.poll_output(), Ok(Output::Message(Channel::Command, _))));
        let error = transport.poll_output().unwrap_err();
        assert_eq!(error.downcast_ref::<FramingError>(), Some(&FramingError::Message(misuse)));
        assert_eq!((error.kind(), error.fault()), (TransportErrorKind::Protocol, Fault::Peer));
        assert!(error.keeps_channels());
        // It is told once; nothing more is heard, and what is written still goes.
        far.write_all(&framed(&frame(0, 17))).await.unwrap();
        assert_eq!(drain(&mut transport), []);
        read(&mut far).await;
        assert!(transport.write(Channel::Command, &frame(0, 30)).unwrap());
        assert_eq!(drain(&mut transport), []);
        assert!(read(&mut far).await.ends_with(&framed(&frame(0, 30))));
        assert_eq!(transport.in_flight(), 0, "nobody acknowledges any more");
    }
}

#[tokio::test]
async fn who_breaks_off_hung_up_and_what_came_before_is_handed_on() {
    for rest in [0, 1, 4, 500] {
        let (mut transport, mut far) = transport(1 << 20);
        let message = framed(&frame(1, 1_000));
        far.write_all(&message).await.unwrap();
        far.write_all(&message[..rest]).await.unwrap();
        drop(far);
        let outputs = drain(&mut transport);
        assert!(matches!(outputs[..], [Output::Message(..), Output::Closed]), "{outputs:?}");
        // Told once, and what is written then is no error of its own.
        assert!(transport.write(Channel::Data, &frame(1, 30)).unwrap());
        assert_eq!(drain(&mut transport), []);
    }
}

#[tokio::test]
async fn who_hangs_up_says_what_came_before() {
    let (mut transport, mut far) = transport(1 << 20);
    far.write_all(&framed(&frame(1, 70))).await.unwrap();
    drain(&mut transport);
    far.write_all(&framed(&frame(1, 80))).await.unwrap();
    transport.close();
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, framed(&70_u64.to_le_bytes()), "and the end of the stream");
    assert_eq!(drain(&mut transport), []);
}

/// In place: what is sent is copied by the system alone, and what comes lies in memory of its own, once.
#[tokio::test]
async fn a_message_costs_one_allocation_where_it_comes_and_none_where_it_is_sent() {
    const MESSAGES: usize = 100;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    let [mut near, mut far] = [near, far].map(|stream| {
        stream.set_nodelay(true).unwrap();
        StreamTransport::new("tcp", stream, LengthPrefix)
    });
    near.attach(Waker::noop());
    far.attach(Waker::noop());
    assert_eq!((near.poll_output(), far.poll_output()), (Ok(Output::Open), Ok(Output::Open)));
    let mut now = Duration::ZERO;
    for len in [64, 1_000, 16_384] {
        let message = frame(1, len);
        let (mut sending, mut receiving) = (0, 0);
        for round in 0..=MESSAGES {
            let cost = allocation_counter::measure(|| {
                assert!(near.write(Channel::Data, &message).unwrap());
                // One that is short goes with the next, or now.
                assert!(matches!(near.poll_output(), Ok(Output::Timeout(_))));
            });
            let mut came = None;
            let mut taking = 0;
            while came.is_none() {
                tokio::task::yield_now().await;
                let cost = allocation_counter::measure(|| match far.poll_output().unwrap() {
                    Output::Message(_, message) => came = Some(message),
                    Output::Timeout(_) => {}
                    other => panic!("{other:?}"),
                });
                taking += cost.count_total;
            }
            assert_eq!(came.as_deref(), Some(&message[..]));
            let mut acknowledging = 0;
            while near.in_flight() > 0 {
                tokio::task::yield_now().await;
                let cost = allocation_counter::measure(|| {
                    now += Duration::from_secs(1);
                    far.handle_timeout(now);
                    let _ = (far.poll_output(), near.poll_output());
                });
                acknowledging += cost.count_total;
            }
            // What is kept is made in the first round.
            if round > 0 {
                sending += cost.count_total;
                receiving += taking + acknowledging;
            }
        }
        assert_eq!(sending, 0, "{len}");
        assert_eq!(receiving, MESSAGES as u64, "{len}");
    }
}

/// What is always behind holds what waits, and not what went.
#[tokio::test]
async fn a_backlog_holds_no_more_than_waits() {
    let (mut transport, mut far) = transport(1_000);
    let message = frame(1, 1_000);
    let cost = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert!(transport.write(Channel::Data, &message).unwrap());
        }
    });
    assert!(cost.bytes_max > 90_000, "it waits");
    let mut bytes = vec![0; 2_000];
    let mut most = 0;
    for _ in 0..5_000 {
        tokio::task::yield_now().await;
        let cost = allocation_counter::measure(|| {
            let mut context = Context::from_waker(Waker::noop());
            let _ = std::future::Future::poll(std::pin::pin!(far.read(&mut bytes)), &mut context);
            transport.poll_output().unwrap();
            if transport.in_flight() > 0 {
                assert!(transport.write(Channel::Data, &message).unwrap());
            }
        });
        most += cost.bytes_current;
    }
    assert!(most < 400_000, "{most} bytes are held behind 100,000 that wait");
}

#[tokio::test]
async fn what_was_not_sent_cannot_have_come() {
    let (mut transport, mut far) = transport(1_000);
    for number in 1..=100_u64 {
        assert!(transport.write(Channel::Data, &frame(1, 1_000)).unwrap());
        // It takes nothing, and says that it has all.
        far.write_all(&framed(&(number * 1_000).to_le_bytes())).await.unwrap();
        assert_eq!(drain(&mut transport), []);
    }
    assert!(transport.in_flight() > 98_000, "{}", transport.in_flight());
}

#[tokio::test]
async fn acknowledgements_wait_for_a_peer_that_does_not_read() {
    let (mut transport, mut far) = transport(64);
    let mut held = 0;
    for round in 1..=20_000_u64 {
        tokio::task::yield_now().await;
        let sending = std::pin::pin!(far.write_all(&[17, 0, 0, 0]));
        let mut context = Context::from_waker(Waker::noop());
        assert!(std::future::Future::poll(sending, &mut context).is_ready());
        let message = frame(0, 17);
        let sending = std::pin::pin!(far.write_all(&message));
        assert!(std::future::Future::poll(sending, &mut context).is_ready());
        let cost = allocation_counter::measure(|| {
            transport.handle_timeout(Duration::from_secs(round));
            assert_eq!(drain(&mut transport).len(), 1);
            transport.handle_timeout(Duration::from_secs(round) + Duration::from_millis(500));
            assert_eq!(drain(&mut transport), []);
        });
        held += cost.bytes_current;
    }
    // What reads share, of which each thread has one, is in it.
    assert!(held < 100_000, "{held} bytes for 20,000 acknowledgements");
    // Nor does it go round in circles meanwhile.
    assert_eq!(transport.poll_output(), Ok(Output::Timeout(None)));
}

#[tokio::test]
async fn who_broke_a_rule_and_is_gone_hung_up() {
    let (mut transport, mut far) = transport(1 << 20);
    far.write_all(&[0xff; 100]).await.unwrap();
    assert!(transport.poll_output().is_err());
    far.write_all(&vec![7; 500_000]).await.unwrap();
    assert_eq!(drain(&mut transport), []);
    drop(far);
    assert_eq!(drain(&mut transport), [Output::Closed]);
}

/// A stream whose reading is silent and whose writing fails.
struct Failing;

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl tokio::io::AsyncWrite for Failing {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::Error::other("no buffers")))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn what_cannot_be_written_ends_the_link_by_name() {
    let mut transport = StreamTransport::new("test", Failing, LengthPrefix);
    assert_eq!(transport.poll_output(), Ok(Output::Open));
    assert!(transport.write(Channel::Data, &frame(1, 100)).unwrap());
    let error = transport.poll_output().unwrap_err();
    assert_eq!(error.kind(), TransportErrorKind::Failed);
    assert!(error.to_string().contains("no buffers"), "{error}");
}
