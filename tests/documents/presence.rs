//! Who is there, and who is not any more.

use std::time::Instant;

use deltawire::documents::SubscribeOptions;
use deltawire::framing::DeltaFields;
use deltawire::framing::documents::{Document, Why};
use zerocopy::IntoBytes;

use super::support::*;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn presence_deltas_are_not_the_documents() {
    let hub = hub();
    let (alice, bob) = (documents(&hub), documents(&hub));
    let mut s = alice.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    let mut there = bob.presence(BOARD).unwrap();
    there.set(b"here").unwrap();
    for round in 0..200_u32 {
        let here = alice.presence(BOARD).unwrap();
        there.set(&round.to_le_bytes()).unwrap();
        pause(2).await;
        there.set(b"again").unwrap();
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(u64::from(round % 50) * 3) {}
        drop(here);
        pause(1).await;
    }
    while let Ok(item) = tokio::time::timeout(Duration::from_millis(200), s.next()).await {
        if let Item::Delta { place, message } = item.unwrap() {
            panic!(
                "phantom delta at {place:?}: {:?}; the document has none",
                message.delta().unwrap().delta_type()
            );
        }
    }
}

#[tokio::test]
async fn who_has_gone_is_not_counted_as_present_nor_kept_without_bound() {
    let hub = hub();
    let here = documents(&hub);
    for number in 0..300_u32 {
        let mut doc = [0; 16];
        doc[..4].copy_from_slice(&number.to_le_bytes());
        let mut presence = here.presence(DocId(doc)).unwrap();
        presence.set(b"x").unwrap();
        soon("presence", async {
            while hub.stats().present == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        drop(presence);
        soon("absence", async {
            while hub.stats().present > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    assert!(hub.live(1_000).is_empty(), "nothing is left of {:?}", hub.live(3));
}

#[tokio::test]
async fn a_presence_that_is_not_read_costs_a_bound() {
    let hub = hub();
    let alice = documents(&hub);
    let mut here = alice.presence(BOARD).unwrap();
    here.set(b"alice").unwrap();
    pause(20).await;
    for _ in 0..400 {
        let bob = documents(&hub);
        let mut p = bob.presence(BOARD).unwrap();
        p.set(&[0; 1_000]).unwrap();
        pause(2).await;
        drop(p);
        bob.close();
        pause(1).await;
    }
    let mut gone = 0;
    while let Ok(item) = tokio::time::timeout(Duration::from_millis(200), here.next()).await {
        gone += usize::from(matches!(item.unwrap(), Item::Gone { .. }));
    }
    assert!(gone < 100, "{gone} items waited: one for everybody who was ever there");
}

#[tokio::test]
async fn who_goes_while_a_reader_is_stalled_is_not_shown_afterwards() {
    let options = HubOptions { presence_timeout: Duration::from_secs(1), ..HubOptions::default() };
    let hub = Hub::in_memory(options, Everyone, runtime());
    let (_node, address) = serve_hub(&hub).await;
    for _ in 0..40 {
        hub.append(DeltaFields::new(BOARD), &vec![0; 900 << 10]).unwrap();
    }
    let (_node, mut peer, _link) = raw(address).await;
    let bob = documents(&hub);
    let mut there = bob.presence(BOARD).unwrap();
    there.set(b"bob").unwrap();
    pause(100).await;
    peer.command.send.send_document(subscribe(1, BOARD, true).as_bytes()).await.unwrap();
    pause(300).await;
    // More than its window: what comes of the presence now waits, for longer than anybody remembers who has gone.
    peer.command.send.send_document(subscribe(2, BOARD, false).as_bytes()).await.unwrap();
    pause(1_500).await;
    drop(there);
    pause(3_500).await;
    let (mut shown, mut begun) = (false, 0);
    while let Ok(message) =
        tokio::time::timeout(Duration::from_millis(700), peer.receive.take()).await
    {
        let message = message.unwrap();
        let Ok(Document::Mark(mark)) = message.frame().document() else { continue };
        let mark = mark.fields();
        match mark.why {
            // Each one begins with nobody.
            Why::Start if mark.id == 1 => (shown, begun) = (false, begun + 1),
            Why::Writer => shown = true,
            Why::Gone => shown = false,
            _ => {}
        }
    }
    assert!(begun > 0 && !shown, "told {begun} times from the beginning");
}
