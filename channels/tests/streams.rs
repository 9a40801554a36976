//! Receivers as streams and senders as sinks.

use deltawire_channels::ring::byte;
use deltawire_channels::{ChannelClosed, Receiver, SendError, Sender};
use deltawire_framing::{Channel, DeltaFields, DocId, Kind};
use futures_util::{SinkExt, StreamExt};

const FIELDS: DeltaFields = DeltaFields::new(DocId([7; 16]));

fn channel(capacity: usize) -> (Sender, Receiver) {
    let (producer, consumer) = byte::ring(capacity);
    (Sender::new(producer, Channel::Data), Receiver::from_ring(consumer))
}

#[test]
fn what_goes_into_a_sink_comes_out_of_a_stream() {
    // Room for two: the sink waits for the stream again and again.
    let (sender, receiver) = channel(256);
    let (mut sink, mut stream) = (sender.into_sink(), receiver.into_stream());
    let sent: Vec<Vec<u8>> = (0..100).map(|len| vec![len; len.into()]).collect();
    let (came, ()) = pollster::block_on(async {
        let sending = async {
            for payload in &sent {
                sink.send((FIELDS, payload)).await.unwrap();
            }
            sink.close().await.unwrap();
        };
        let receiving = async {
            let mut came = Vec::new();
            while let Some(message) = stream.next().await {
                came.push(message.frame().delta().unwrap().payload().to_vec());
            }
            came
        };
        futures_util::join!(receiving, sending)
    });
    assert_eq!(came, sent);
    assert_eq!(stream.get_ref().closed_reason(), Some(ChannelClosed::Dropped));
    let refused = pollster::block_on(sink.send((FIELDS, &sent[1])));
    assert_eq!(refused, Err(SendError::Closed(ChannelClosed::Dropped)));
}

#[test]
fn a_message_of_a_stream_is_a_copy_and_its_room_is_free_again() {
    let (mut sender, receiver) = channel(256);
    let mut stream = receiver.into_stream();
    sender.try_send_opaque(&[9; 200]).unwrap();
    let message = pollster::block_on(stream.next()).unwrap();
    sender.try_send_opaque(&[1; 200]).unwrap();
    let frame = message.frame();
    assert_eq!((frame.kind(), frame.body()), (Kind::Opaque, &[9; 200][..]));
}

#[test]
fn a_delta_that_can_never_be_sent_is_refused_and_the_sink_goes_on() {
    let (sender, mut receiver) = channel(256);
    let mut sink = sender.into_sink();
    let refused = pollster::block_on(sink.send((FIELDS, vec![0; 1_000])));
    assert!(matches!(refused, Err(SendError::TooLarge { needed: 1_064, capacity: 256 })));
    pollster::block_on(sink.send((FIELDS, vec![1; 10]))).unwrap();
    assert_eq!(receiver.try_next().unwrap().delta().unwrap().payload(), [1; 10]);
}
