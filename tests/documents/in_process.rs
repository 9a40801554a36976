use deltawire::documents::{
    Deliver, DeniedCode, OpenError, PublishError, SlowPolicy, Start, SubscribeOptions,
    SubscriptionEnded, Why,
};
use deltawire::framing::DeltaFields;

use super::support::*;
use super::*;

#[tokio::test]
async fn what_one_publishes_all_read_in_order() {
    let hub = hub();
    let (writer, reader) = (documents(&hub), documents(&hub));
    let mut publisher = writer.publish(BOARD).unwrap();
    let mut early = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    for number in 0..1_000_u32 {
        let receipt = soon("room", publisher.publish(&number.to_le_bytes())).await.unwrap();
        if number % 100 == 0 {
            soon("receipt", receipt.received()).await.unwrap();
        }
    }
    soon("flush", publisher.flush()).await.unwrap();
    let late_reader = documents(&hub);
    let mut late = late_reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    for subscription in [&mut early, &mut late] {
        for number in 0..1_000_u32 {
            let (place, payload) = next_delta(subscription).await;
            assert_eq!(place.position, u64::from(number) + 1);
            assert_eq!(payload, number.to_le_bytes());
        }
    }
    // What comes next is live, and says so once.
    assert!(matches!(soon("live", late.next()).await.unwrap(), Item::Live));
    let place = hub.append(DeltaFields::new(BOARD), b"from the hub").unwrap();
    assert_eq!(next_delta(&mut late).await, (place, b"from the hub".to_vec()));
}

#[tokio::test]
async fn a_hub_in_memory_says_that_nothing_is_stored() {
    let hub = hub();
    let writer = documents(&hub);
    let mut publisher = writer.publish(BOARD).unwrap();
    let receipt = publisher.publish(b"x").await.unwrap();
    soon("receipt", receipt.received()).await.unwrap();
    assert_eq!(soon("answer", receipt.stored()).await, Err(PublishError::Volatile));
    assert!(
        !hub.is_stored(&BOARD, Place { epoch: hub.head(&BOARD).unwrap().epoch.0, position: 1 })
    );
}

#[tokio::test]
async fn a_delta_that_rests_on_an_old_state_is_refused_with_the_new_one() {
    let hub = hub();
    let (alice, bob) = (documents(&hub), documents(&hub));
    let (mut first, mut second) = (alice.publish(BOARD).unwrap(), bob.publish(BOARD).unwrap());
    let fields = DeltaFields::new(BOARD);
    let receipt = first.publish_at(1, fields, b"one").await.unwrap();
    soon("receipt", receipt.received()).await.unwrap();
    let receipt = second.publish_at(1, fields, b"also one").await.unwrap();
    let conflict = PublishError::Denied { code: DeniedCode::CONFLICT, next: 2 };
    assert_eq!(soon("refusal", receipt.received()).await, Err(conflict));
    // The writer goes on from what it was told.
    let receipt = second.publish_at(2, fields, b"two").await.unwrap();
    soon("receipt", receipt.received()).await.unwrap();
    assert_eq!(hub.head(&BOARD).unwrap().next.0, 3);
}

#[tokio::test]
async fn whoever_resumes_gets_exactly_what_is_missing() {
    let hub = hub();
    for number in 0..100_u8 {
        hub.append(DeltaFields::new(BOARD), &[number]).unwrap();
    }
    let epoch = hub.head(&BOARD).unwrap().epoch.0;
    let reader = documents(&hub);
    let start = Start::Position { epoch, position: 61 };
    let options = SubscribeOptions { start, ..Default::default() };
    let mut subscription = reader.subscribe(BOARD, options).unwrap();
    assert_eq!(next_delta(&mut subscription).await, (Place { epoch, position: 61 }, vec![60]));
    // Of another epoch, nothing that the reader has is known.
    let reader = documents(&hub);
    let start = Start::Position { epoch: epoch ^ 1, position: 61 };
    let options = SubscribeOptions { start, ..Default::default() };
    let mut subscription = reader.subscribe(BOARD, options).unwrap();
    match soon("gap", subscription.next()).await.unwrap() {
        Item::Gap(gap) => assert_eq!((gap.why, gap.to.position), (Why::NewEpoch, 1)),
        other => panic!("{other:?}"),
    }
    assert_eq!(next_delta(&mut subscription).await.0.position, 1);
}

#[tokio::test]
async fn a_hub_that_does_not_know_what_a_reader_has_seen_says_so() {
    let hub = hub();
    let reader = documents(&hub);
    let start = Start::Position { epoch: 5, position: 3 };
    let options = SubscribeOptions { start, ..Default::default() };
    let mut subscription = reader.subscribe(BOARD, options).unwrap();
    match soon("gap", subscription.next()).await.unwrap() {
        Item::Gap(gap) => assert_eq!((gap.why, gap.to.position), (Why::NewEpoch, 1)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(soon("live", subscription.next()).await.unwrap(), Item::Live));
}

#[tokio::test]
async fn a_slow_reader_misses_what_its_policy_says_and_is_told_exactly() {
    let hub = hub();
    let reader = documents(&hub);
    for (policy, first) in [
        (SlowPolicy::DropOldest { bytes: 0, records: 10 }, 91),
        (SlowPolicy::Latest, 100),
        (SlowPolicy::Block, 1),
    ] {
        let doc_id = DocId([first; 16]);
        for number in 0..100_u8 {
            hub.append(DeltaFields::new(doc_id), &[number]).unwrap();
        }
        let options = SubscribeOptions { policy, ..Default::default() };
        let mut subscription = reader.subscribe(doc_id, options).unwrap();
        let mut skipped = 0;
        let place = loop {
            match soon("item", subscription.next()).await.unwrap() {
                Item::Gap(gap) => {
                    assert_eq!(gap.why, Why::Slow);
                    skipped += gap.skipped;
                }
                Item::Delta { place, .. } => break place,
                _ => {}
            }
        };
        assert_eq!(
            (place.position, skipped),
            (u64::from(first), u64::from(first) - 1),
            "{policy:?}"
        );
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nobody_up() {
    let hub = hub();
    let (writer, reader) = (documents(&hub), documents(&hub));
    let lazy_doc = DocId([1; 16]);
    let mut lazy = reader.subscribe(lazy_doc, SubscribeOptions::default()).unwrap();
    let mut busy = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    let (mut to_lazy, mut to_busy) =
        (writer.publish(lazy_doc).unwrap(), writer.publish(BOARD).unwrap());
    // Ten times what may wait at the reader, and more than the tail.
    for number in 0..2_600_u32 {
        let mut payload = vec![0; 1_000];
        payload[..4].copy_from_slice(&number.to_le_bytes());
        soon("room", to_lazy.publish(&payload)).await.unwrap();
    }
    soon("flush", to_lazy.flush()).await.unwrap();
    to_busy.publish(b"here").await.unwrap();
    assert_eq!(next_delta(&mut busy).await.1, b"here");
    // And when it reads, all of it is there.
    for number in 0..2_600_u32 {
        let (place, payload) = next_delta(&mut lazy).await;
        assert_eq!(place.position, u64::from(number) + 1);
        assert_eq!(payload[..4], number.to_le_bytes());
    }
}

#[tokio::test]
async fn presence_is_the_last_word_of_each_and_ends() {
    let hub = hub();
    let [alice, bob] = [(); 2].map(|()| documents(&hub));
    let (mut alice_here, mut bob_here) =
        (alice.presence(BOARD).unwrap(), bob.presence(BOARD).unwrap());
    alice_here.set(b"alice at 1").unwrap();
    alice_here.set(b"alice at 2").unwrap();
    let writer = loop {
        match soon("word", bob_here.next()).await.unwrap() {
            Item::Present { writer, message }
                if message.delta().unwrap().payload() == b"alice at 2" =>
            {
                break writer;
            }
            Item::Gone { .. } => panic!("she is there"),
            _ => {}
        }
    };
    bob_here.set(b"bob").unwrap();
    loop {
        if let Item::Present { message, .. } = soon("word", alice_here.next()).await.unwrap() {
            assert_eq!(message.delta().unwrap().payload(), b"bob", "and not her own");
            break;
        }
    }
    drop(alice_here);
    loop {
        if let Item::Gone { writer: gone } = soon("end", bob_here.next()).await.unwrap() {
            assert_eq!(gone, writer);
            break;
        }
    }
}

#[tokio::test]
async fn what_is_deleted_begins_anew_and_readers_are_told() {
    let hub = hub();
    let reader = documents(&hub);
    hub.append(DeltaFields::new(BOARD), b"old").unwrap();
    let mut subscription = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    let (old, _) = next_delta(&mut subscription).await;
    assert!(matches!(soon("live", subscription.next()).await.unwrap(), Item::Live));
    assert!(hub.delete(&BOARD));
    let new = hub.append(DeltaFields::new(BOARD), b"new").unwrap();
    assert_eq!(new.position, 1);
    assert_ne!(new.epoch, old.epoch);
    let mut told = false;
    loop {
        match soon("item", subscription.next()).await.unwrap() {
            Item::Gap(gap) => {
                assert!(matches!(gap.why, Why::NewEpoch | Why::Progress), "{gap:?}");
                told = true;
            }
            Item::Delta { place, message } => {
                assert_eq!((place, message.delta().unwrap().payload()), (new, &b"new"[..]));
                break;
            }
            _ => {}
        }
    }
    assert!(told);
}

#[tokio::test]
async fn what_is_refused_has_a_name() {
    let hub = hub();
    let documents = documents(&hub);
    let mut first = documents.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    let twice = documents.subscribe(BOARD, SubscribeOptions::default()).unwrap_err();
    assert_eq!(twice, OpenError::Twice);
    let mut publisher = documents.publish(BOARD).unwrap();
    let error = publisher.publish(&vec![0; 2 << 20]).await.unwrap_err();
    assert!(matches!(error, PublishError::TooLong { limit: 1_048_576, .. }), "{error:?}");
    let receipt = publisher.publish(b"x").await.unwrap();
    soon("receipt", receipt.received()).await.unwrap();
    hub.revoke(None, Some(BOARD));
    let ended = loop {
        if let Err(ended) = soon("end", first.next()).await {
            break ended;
        }
    };
    assert_eq!(ended, SubscriptionEnded::Denied(DeniedCode::REVOKED));
    let error = loop {
        match publisher.publish(b"x").await {
            Ok(receipt) => drop(soon("answer", receipt.received()).await),
            Err(error) => break error,
        }
    };
    assert_eq!(error, PublishError::Denied { code: DeniedCode::REVOKED, next: 0 });
    documents.close();
    assert!(matches!(documents.publish(DocId([8; 16])), Err(OpenError::Closed)));
}

/// Those that are woken as a batch begins end it: nothing is left lying, whoever comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_is_appended_by_itself_or_in_bursts_comes_at_once() {
    for deliver in [Deliver::Appended, Deliver::Stored] {
        let folder = Folder::new("bursts");
        let options = HubOptions { deliver, ..HubOptions::default() };
        let hub = match deliver {
            Deliver::Appended => Hub::in_memory(options, Everyone, runtime()),
            Deliver::Stored => open_with(&folder.0, options).await,
        };
        const DELTAS: u32 = 3_000;
        let reader = documents(&hub);
        let linked = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
        let here = || hub.subscribe(BOARD, SubscribeOptions::default());
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let readers: Vec<_> = [here(), here(), linked]
            .into_iter()
            .map(|mut subscription| {
                let told = told.clone();
                tokio::spawn(async move {
                    for n in 0..DELTAS {
                        let (place, payload) = next_delta(&mut subscription).await;
                        assert_eq!(
                            (place.position, payload),
                            (u64::from(n) + 1, n.to_le_bytes().into())
                        );
                        let _ = told.send(n);
                    }
                })
            })
            .collect();
        let (mut n, mut round) = (0, 0);
        while n < DELTAS {
            // One after the other waits until all have it; a burst does not.
            round += 1;
            let burst = if round % 2 == 0 { 1 } else { round * 7 % 400 }.min(DELTAS - n);
            for n in n..n + burst {
                hub.append(DeltaFields::new(BOARD), &n.to_le_bytes()).unwrap();
            }
            n += burst;
            let mut left = 3 * burst;
            while left > 0 {
                soon("delta", heard.recv()).await.unwrap();
                left -= 1;
            }
        }
        for reader in readers {
            soon("reader", reader).await.unwrap();
        }
    }
}
