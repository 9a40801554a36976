//! Closes over real sockets: they wait for who gets on, and count what they lose.

use std::time::Duration;

use deltawire::{LinkEnded, Undelivered};
use deltawire_channels::Limits;
use deltawire_channels::session::Closed;
use deltawire_framing::control::CloseCode;

use crate::deltas;
use crate::nodes::{builder, pair, soon};

const LEN: usize = 1_000;

/// Short rings and windows, so that most waits at the writer.
fn limits(close_timeout: Duration) -> Limits {
    Limits { send_ring: 1 << 17, data_window: 1 << 14, close_timeout, ..Limits::default() }
}

#[tokio::test]
async fn a_node_that_shuts_down_waits_for_a_slow_reader() {
    let limits = limits(Duration::from_secs(2));
    let (nodes, ((near, near_link), (mut far, far_link))) = pair(builder().limits(limits)).await;
    let mut send = near.send;
    for number in 0..100 {
        deltas::send(&mut send, number, LEN).await;
    }
    // Twice as long as a close waits for nothing.
    let reading = async {
        let mut read = 0;
        while far.receive.next().await.is_ok() {
            read += 1;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        read
    };
    let (stopped, read) = tokio::join!(nodes[0].shut_down(Duration::from_secs(25)), reading);
    assert_eq!(read, 100);
    assert!(stopped.is_complete(), "{stopped:?}");
    assert_eq!((stopped.in_order, stopped.undelivered), (1, Undelivered::default()));
    for link in [near_link, far_link] {
        let in_order = matches!(
            soon("its end", link.closed()).await,
            LinkEnded::Session(
                Closed::ByUs { complete: true, .. } | Closed::ByPeer { complete: true, .. }
            )
        );
        assert!(in_order, "{:?}", link.ended());
    }
}

#[tokio::test]
async fn a_node_that_shuts_down_says_what_it_lost() {
    let (nodes, ((near, _near_link), (mut far, far_link))) =
        pair(builder().limits(limits(Duration::from_secs(60)))).await;
    let mut send = near.send;
    for number in 0..100 {
        deltas::send(&mut send, number, LEN).await;
    }
    let stopped = soon("the end", nodes[0].shut_down(Duration::from_secs(2))).await;
    assert_eq!((stopped.in_order, stopped.cut_off), (0, 1));
    let Undelivered { unsent, unread, .. } = stopped.undelivered;
    assert_eq!(unsent + unread, 100, "nobody has read any: {stopped:?}");
    match soon("its end", far_link.closed()).await {
        LinkEnded::Session(Closed::ByPeer { code, complete, missing, .. }) => {
            assert_eq!((code, complete), (CloseCode::SHUTDOWN, false));
            assert_eq!(missing.messages, unsent);
        }
        other => panic!("{other}"),
    }
    let mut read = 0;
    while far.receive.next().await.is_ok() {
        read += 1;
    }
    assert_eq!(read + unsent, 100);
}
