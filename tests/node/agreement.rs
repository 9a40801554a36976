//! What two nodes have to be set up with alike.

use std::time::Duration;

use deltawire::LinkEnded;
use deltawire_channels::session::{Closed, ProtocolError};
use deltawire_channels::{Delivery, Order, Reliability};
use deltawire_framing::control::CloseCode;

use crate::nodes::{LOOPBACK, builder, down, listening, soon};

/// Whether the end says both values, or what the peer said of them.
fn is_named(ended: &LinkEnded) -> bool {
    match ended {
        LinkEnded::Session(Closed::Error(ProtocolError::Delivery { .. })) => true,
        LinkEnded::Session(Closed::ByPeer { code: CloseCode::DELIVERY, reason, .. }) => {
            assert!(reason.contains("disagree on delivery"), "{reason}");
            false
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn ends_that_disagree_on_delivery_end_at_once() {
    let unordered = Delivery { order: Order::Unordered, ..Delivery::default() };
    let reliability = Reliability::MaxLifetime(Duration::from_millis(200));
    let lossy = Delivery { reliability, ..Delivery::default() };
    let default = Delivery::default();
    for other in [
        builder().delivery(lossy, default),
        builder().delivery(default, unordered),
        builder().delivery(lossy, lossy).command_order(Order::Unordered),
    ] {
        let client = builder().build().unwrap();
        let server = listening(other);
        let offer = client.offer(LOOPBACK).unwrap();
        let answer = server.answer(offer.sdp()).await.unwrap();
        // One end may have opened before it is told.
        let opened = soon("an outcome", offer.finish(&answer)).await;
        let ends = [down(&client).await.1, down(&server).await.1];
        assert!(ends.iter().map(is_named).fold(false, |any, named| any | named), "{ends:?}");
        drop(opened);
    }
}
