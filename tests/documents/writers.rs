//! Each delta once, and receipts that are true, whatever becomes of links, writers and permissions.

use std::sync::{Arc, Mutex, OnceLock};

use deltawire::documents::{AppendError, DeniedCode, PublishError, SubscribeOptions};
use deltawire::framing::documents::{Document, Expect, Group, GroupWriter, Level, Unpublish};
use deltawire::framing::{DeltaFields, DeltaType};
use zerocopy::IntoBytes;

use super::support::*;
use super::*;

#[tokio::test]
async fn after_a_refusal_and_a_new_link_a_publication_goes_on() {
    let hub = hub();
    let (node, address) = serve_hub(&hub).await;
    let writer = connect(address);
    let mut publisher = writer.publish(BOARD).unwrap();
    soon("1", publisher.publish(b"1").await.unwrap().received()).await.unwrap();
    let refused = publisher.publish_at(99, DeltaFields::new(BOARD), b"x").await.unwrap();
    assert!(soon("2", refused.received()).await.is_err());
    cut(&node);
    pause(500).await;
    for n in 0..3 {
        let receipt = publisher.publish(b"3").await.unwrap();
        assert_eq!(soon("3", receipt.received()).await, Ok(()), "attempt {n}");
    }
}

#[tokio::test]
async fn two_sessions_of_one_writer_do_not_double() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    let (_n1, mut a, _l1) = raw(address).await;
    let (_n2, mut b, _l2) = raw(address).await;
    a.command.send.send_document(publish(1, BOARD, 9).as_bytes()).await.unwrap();
    b.command.send.send_document(publish(1, BOARD, 9).as_bytes()).await.unwrap();
    pause(300).await;
    for peer in [&mut a, &mut b] {
        for sequence in 1..=3 {
            let fields = DeltaFields { sequence, ..DeltaFields::new(BOARD) };
            peer.send.send(fields, b"x").await.unwrap();
        }
        pause(200).await;
    }
    assert_eq!(hub.head(&BOARD).unwrap().next.0, 4, "sequences 1..=3 of one writer");
}

#[tokio::test]
async fn writers_forgotten_by_the_log_do_not_double() {
    let folder = Folder::new("evict");
    let hub = open_with(&folder.0, lazy_disk(Duration::from_secs(4))).await;
    let (node, address) = serve_hub(&hub).await;
    let writer = connect(address);
    let mut publisher = writer.publish(BOARD).unwrap();
    soon("r", publisher.publish(b"once").await.unwrap().received()).await.unwrap();
    let others: Vec<_> = (0..64).map(|_| documents(&hub)).collect();
    let mut publishers = Vec::new();
    for other in &others {
        let mut p = other.publish(BOARD).unwrap();
        soon("o", p.publish(b"other").await.unwrap().received()).await.unwrap();
        publishers.push(p);
    }
    cut(&node);
    soon("flush", async { while publisher.flush().await.is_err() {} }).await;
    assert_eq!(hub.head(&BOARD).unwrap().next.0, 66, "65 deltas were published");
}

#[tokio::test]
async fn a_dropped_publisher_and_a_new_one() {
    let hub = hub();
    let d = documents(&hub);
    let mut p = d.publish(BOARD).unwrap();
    p.publish(b"1").await.unwrap();
    drop(p);
    let mut p = d.publish(BOARD).unwrap();
    let receipt = p.publish(b"2").await.unwrap();
    assert_eq!(soon("2", receipt.received()).await, Ok(()));
}

#[tokio::test]
async fn a_presence_delta_through_a_publisher_is_not_received() {
    let hub = hub();
    let d = documents(&hub);
    let mut p = d.publish(BOARD).unwrap();
    let fields = DeltaFields { delta_type: DeltaType::PRESENCE, ..DeltaFields::new(BOARD) };
    let Ok(first) = p.publish_with(fields, b"1").await else { return };
    let second = p.publish(b"2").await.unwrap();
    soon("2", second.received()).await.unwrap();
    let said = soon("1", first.received()).await;
    assert!(
        said.is_err() || hub.head(&BOARD).unwrap().next.0 == 3,
        "said {said:?}, kept {}",
        hub.head(&BOARD).unwrap().next.0 - 1
    );
}

#[tokio::test]
async fn what_is_published_while_the_hub_goes_away_is_not_refused_for_good() {
    let folder = Folder::new("away");
    let hub = open_with(&folder.0, lazy_disk(Duration::from_millis(2))).await;
    let (_node, address) = serve_hub(&hub).await;
    assert!(hub.shut_down(PATIENCE).await);
    // A client whose link comes back before the process has ended.
    let d = connect(address);
    let mut p = d.publish(BOARD).unwrap();
    let receipt = p.publish(b"1").await.unwrap();
    let said = tokio::time::timeout(Duration::from_secs(2), receipt.received()).await;
    assert!(said.is_err(), "not kept for the next hub: {said:?}");
}

#[tokio::test]
async fn a_receipt_of_a_kept_delta_does_not_say_refused() {
    let folder = Folder::new("revoked");
    let hub = open_with(&folder.0, lazy_disk(Duration::from_millis(700))).await;
    let d = documents(&hub);
    let mut p = d.publish(BOARD).unwrap();
    let receipt = p.publish(b"1").await.unwrap();
    soon("1", receipt.received()).await.unwrap();
    hub.revoke(None, Some(BOARD));
    let said = soon("2", receipt.stored()).await;
    pause(1_500).await;
    let head = hub.head(&BOARD).unwrap();
    assert!(
        said.is_ok() || head.durable.0 == 1,
        "said {said:?}, but position 1 is stored: {head:?}"
    );
}

#[tokio::test]
async fn a_receipt_of_a_refused_delta_does_not_say_received() {
    let node_of: Arc<OnceLock<Node>> = Arc::default();
    let cutting = Arc::new(Mutex::new(true));
    let (n, c) = (node_of.clone(), cutting.clone());
    let validate: Validate = Box::new(move |payload| {
        if payload == b"bad" {
            return Err(DeniedCode::REJECTED);
        }
        if payload == b"cut" && std::mem::replace(&mut *c.lock().unwrap(), false) {
            cut(n.get().unwrap());
        }
        Ok(())
    });
    let policy = Thinking { think: Duration::ZERO, validate };
    let hub = Hub::in_memory(HubOptions::default(), policy, runtime());
    let (node, address) = serve_hub(&hub).await;
    node_of.set(node).ok();
    let writer = connect(address);
    let mut p = writer.publish(BOARD).unwrap();
    soon("0", p.publish(b"0").await.unwrap().received()).await.unwrap();
    let bad = p.publish(b"bad").await.unwrap();
    let last = p.publish(b"cut").await.unwrap();
    soon("last", last.received()).await.unwrap();
    let said = soon("bad", bad.received()).await;
    assert!(
        said.is_err(),
        "said {said:?}; the hub kept {} deltas",
        hub.head(&BOARD).unwrap().next.0 - 1
    );
}

#[tokio::test]
async fn an_expectation_ends_with_its_delta() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    let (_node, mut peer, _link) = raw(address).await;
    peer.command.send.send_document(publish(1, BOARD, 9).as_bytes()).await.unwrap();
    pause(100).await;
    let fields = |sequence| DeltaFields { sequence, ..DeltaFields::new(BOARD) };
    peer.send.send(fields(1), b"x").await.unwrap();
    peer.send.send_document(Expect::new(1, 1).as_bytes()).await.unwrap();
    peer.send.send(fields(1), b"x").await.unwrap();
    peer.send.send(fields(2), b"y").await.unwrap();
    pause(300).await;
    assert_eq!(hub.head(&BOARD).unwrap().next.0, 3, "the second rests on nothing");
}

#[tokio::test]
async fn a_hub_in_memory_never_says_stored() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    let (_node, mut peer, _link) = raw(address).await;
    peer.command.send.send_document(publish(1, BOARD, 9).as_bytes()).await.unwrap();
    pause(100).await;
    peer.send.send(DeltaFields { sequence: 1, ..DeltaFields::new(BOARD) }, b"x").await.unwrap();
    pause(100).await;
    peer.command.send.send_document(Unpublish::new(1).as_bytes()).await.unwrap();
    peer.command.send.send_document(publish(2, BOARD, 9).as_bytes()).await.unwrap();
    let mut levels = Vec::new();
    while let Ok(message) =
        tokio::time::timeout(Duration::from_millis(400), peer.command.receive.take()).await
    {
        if let Ok(Document::Acknowledge(acknowledge)) = message.unwrap().frame().document() {
            levels.push(acknowledge.fields().level);
        }
    }
    assert!(levels.len() >= 3, "{levels:?}");
    assert!(levels.iter().all(|level| *level == Level::Received), "{levels:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attend_that_is_dropped_leaves_the_next_link_alone() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    let (_n1, peer1, link1) = raw(address).await;
    let (_n2, peer2, link2) = raw(address).await;
    let d = Documents::new(runtime(), DocumentsOptions::default());
    let mut p = d.publish(BOARD).unwrap();
    let first = async {
        for n in 0..500_u32 {
            p.publish(&n.to_le_bytes()).await.unwrap();
        }
        p.flush().await.unwrap();
    };
    tokio::select! { _ = d.attend(&link1, peer1) => panic!("over"), () = first => {} }
    let d2 = d.clone();
    tokio::spawn(async move {
        let r = d2.attend(&link2, peer2).await;
        println!("{r:?}");
    });
    let mut receipts = Vec::new();
    for n in 0..5_000_u32 {
        receipts.push(soon("room", p.publish(&n.to_le_bytes())).await.unwrap());
    }
    let mut bad = 0;
    for r in receipts {
        let got = tokio::time::timeout(Duration::from_secs(2), r.received()).await;
        if !matches!(got, Ok(Ok(()))) {
            println!("{got:?}");
        }
        bad += usize::from(!matches!(got, Ok(Ok(()))));
        if bad > 3 {
            break;
        }
    }
    assert!(
        bad == 0 && hub.head(&BOARD).unwrap().next.0 == 5_501,
        "{bad} bad (or more), {:?}",
        hub.head(&BOARD).unwrap().next
    );
}

#[tokio::test]
async fn a_group_is_kept_and_given_as_one() {
    // Looks at each delta of a group.
    let validate: Validate =
        Box::new(|payload| if payload == b"bad" { Err(DeniedCode::REJECTED) } else { Ok(()) });
    let hub = Hub::in_memory(
        HubOptions::default(),
        Thinking { think: Duration::ZERO, validate },
        runtime(),
    );
    let (_node, address) = serve_hub(&hub).await;
    let (writer, reader) = (connect(address), connect(address));
    let mut publisher = writer.publish(BOARD).unwrap();
    let mut subscription = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    let mut group = GroupWriter::new(BOARD);
    for payload in [b"take it here", b"put it there"] {
        group.push(DeltaFields::new(BOARD), payload).unwrap();
    }
    let receipt = soon("room", publisher.publish_group(&group)).await.unwrap();
    soon("receipt", receipt.received()).await.unwrap();
    assert_eq!(hub.head(&BOARD).unwrap().next.0, 2);
    // One delta of it is not let in: none is.
    group.push(DeltaFields::new(BOARD), b"bad").unwrap();
    let receipt = soon("room", publisher.publish_group(&group)).await.unwrap();
    let refused = soon("refusal", receipt.received()).await.unwrap_err();
    assert!(
        matches!(refused, PublishError::Denied { code: DeniedCode::REJECTED, .. }),
        "{refused}"
    );
    // What only says that it is one is refused.
    for payload in [&b""[..], b"nonsense"] {
        let fields = DeltaFields { delta_type: DeltaType::GROUP, ..DeltaFields::new(BOARD) };
        assert!(matches!(hub.append(fields, payload), Err(AppendError::NoGroup(_))));
        let receipt = soon("room", publisher.publish_with(fields, payload)).await.unwrap();
        let refused = soon("refusal", receipt.received()).await.unwrap_err();
        let code = DeniedCode::REJECTED;
        assert!(
            matches!(refused, PublishError::Denied { code: it, .. } if it == code),
            "{refused}"
        );
    }
    soon("room", publisher.publish(b"after")).await.unwrap();
    loop {
        match soon("group", subscription.next()).await.unwrap() {
            Item::Delta { place, message } => {
                assert_eq!(place.position, 1);
                let group = Group::parse(message.delta().unwrap()).unwrap();
                let payloads: Vec<_> = group.deltas().map(|delta| delta.payload()).collect();
                assert_eq!(payloads, [b"take it here", b"put it there"]);
                // In place, and where numbers can be seen.
                assert!(payloads.iter().all(|it| it.as_ptr().addr().is_multiple_of(16)));
                break;
            }
            Item::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
    assert_eq!(next_delta(&mut subscription).await.1, b"after");
}
