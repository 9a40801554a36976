//! The peer that is killed.

use std::time::Duration;

use deltawire::Node;
use deltawire_channels::{Peer, Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId};

/// Connects, and sends and receives until it is killed, or the server is gone.
pub(crate) fn run(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let node = Node::builder().resume(None).prefer_links(["webrtc"]).build().unwrap();
        let (Peer { mut send, mut receive, command: _command }, _link) =
            node.connect(url).await.unwrap();
        match std::env::var(crate::READS) {
            Ok(reads) => read_slowly(&mut receive, reads.parse().unwrap()).await,
            Err(_) => {
                tokio::join!(flood(&mut send), drain(&mut receive, |_| {}));
            }
        }
    });
}

/// Reads so many deltas, says so, and reads no more.
async fn read_slowly(receiver: &mut Receiver, reads: u64) {
    for number in 0..reads {
        let len = receiver.next().await.unwrap().delta().unwrap().payload().len();
        assert_eq!(len, length(number));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("read {reads}");
    std::future::pending::<()>().await;
}

/// Lengths of deltas, by their number.
pub(crate) fn length(number: u64) -> usize {
    100 + number as usize % 7 * 9_000
}

/// Sends deltas of changing length until the link ends.
pub(crate) async fn flood(sender: &mut Sender) {
    for number in 0.. {
        let len = length(number);
        let Ok(mut grant) = sender.reserve(len).await else { return };
        grant.payload_mut().fill(number as u8);
        grant.commit(DeltaFields::new(DocId([7; 16])), len).unwrap();
    }
}

/// Reads until the link ends, and tells how many deltas came.
pub(crate) async fn drain(receiver: &mut Receiver, mut told: impl FnMut(u64)) {
    let mut count = 0;
    while let Ok(frame) = receiver.next().await {
        frame.delta().unwrap().verify_checksum().unwrap();
        count += 1;
        told(count);
    }
}
