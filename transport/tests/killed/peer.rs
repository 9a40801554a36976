//! The peer that is killed.

use deltawire_channels::{Peer, Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId};
use deltawire_transport::Node;

/// Connects, and sends and receives until it is killed, or the server is gone.
pub(crate) fn run(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let node = Node::builder().build().unwrap();
        let (Peer { mut send, mut receive, .. }, _link) = node.connect(url).await.unwrap();
        tokio::join!(flood(&mut send), drain(&mut receive, |_| {}));
    });
}

/// Sends deltas of changing length until the link ends.
pub(crate) async fn flood(sender: &mut Sender) {
    for number in 0_usize.. {
        let len = 100 + number % 7 * 9_000;
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
