//! Deltas that are rejected after they were taken in: readers that have them are told, others never get them.

use std::collections::BTreeSet;

use deltawire::documents::store::Refused;
use deltawire::documents::{Gap, RejectError, SlowPolicy, Start, SubscribeOptions, Why};
use deltawire::framing::DeltaFields;

use super::support::*;
use super::*;

const BY: [u8; 16] = [9; 16];

fn append(hub: &Hub, count: u8) -> Place {
    let mut place = None;
    for n in 0..count {
        place = Some(hub.append(DeltaFields::new(BOARD), &[n]).unwrap());
    }
    place.unwrap()
}

#[tokio::test]
async fn whoever_has_a_rejected_delta_is_told_and_others_do_not_get_it() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    let last = append(&hub, 5);
    let third = Place { position: 3, ..last };
    let (near, far) = (documents(&hub), connect(address));
    let mut readers = [
        hub.subscribe(BOARD, SubscribeOptions::default()),
        near.subscribe(BOARD, SubscribeOptions::default()).unwrap(),
        far.subscribe(BOARD, SubscribeOptions::default()).unwrap(),
    ];
    for reader in &mut readers {
        for position in 1..=5 {
            assert_eq!(next_delta(reader).await.0.position, position);
        }
        assert!(matches!(soon("live", reader.next()).await.unwrap(), Item::Live));
    }
    hub.reject(&BOARD, third, BY).await.unwrap();
    hub.reject(&BOARD, third, BY).await.unwrap();
    let sixth = hub.append(DeltaFields::new(BOARD), b"six").unwrap();
    for reader in &mut readers {
        let item = soon("rejection", reader.next()).await.unwrap();
        assert!(matches!(item, Item::Rejected { place } if place == third), "{item:?}");
        assert_eq!(next_delta(reader).await, (sixth, b"six".to_vec()));
    }

    // Who comes now never sees it, and is told where it was.
    let late = documents(&hub);
    let mut late = late.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    assert_eq!(next_delta(&mut late).await.0.position, 1);
    assert_eq!(next_delta(&mut late).await.0.position, 2);
    let fourth = Place { position: 4, ..third };
    let gap =
        Gap { from: Some(third), to: fourth, why: Why::LeftOut, skipped: 1, skipped_bytes: 0 };
    match soon("gap", late.next()).await.unwrap() {
        Item::Gap(found) => assert_eq!(found, gap),
        other => panic!("{other:?}"),
    }
    assert_eq!(next_delta(&mut late).await.0, fourth);
}

#[tokio::test]
async fn what_lies_ready_in_memory_is_rejected_too() {
    let hub = hub();
    let mut early = hub.subscribe(BOARD, SubscribeOptions::default());
    let mut given = BTreeSet::new();
    let mut taken_back = BTreeSet::new();
    let epoch = append(&hub, 1).epoch;
    let mut position = 1;
    // Each round some are written, a few are read, and one of those that were not is rejected.
    for round in 0..50_u64 {
        append(&hub, 8);
        for _ in 0..4 {
            match soon("item", early.next()).await.unwrap() {
                Item::Delta { place, .. } => assert!(given.insert(place.position)),
                Item::Rejected { place } => assert!(taken_back.insert(place.position)),
                _ => {}
            }
        }
        position = hub.head(&BOARD).unwrap().next.0 - 1 - round % 3;
        hub.reject(&BOARD, Place { epoch, position }, BY).await.unwrap();
    }
    append(&hub, 1);
    let last = hub.head(&BOARD).unwrap().next.0 - 1;
    while !given.contains(&last) {
        match soon("item", early.next()).await.unwrap() {
            Item::Delta { place, .. } => assert!(given.insert(place.position)),
            Item::Rejected { place } => assert!(taken_back.insert(place.position)),
            _ => {}
        }
    }
    assert!(position < last);
    let rejected: BTreeSet<u64> = (1..=last).filter(|at| hub_rejected(&hub, *at)).collect();
    assert_eq!(rejected.len(), 50);
    // Everything but those, and of those only what was taken back.
    let kept: BTreeSet<u64> = given.difference(&taken_back).copied().collect();
    assert_eq!(kept, (1..=last).filter(|at| !rejected.contains(at)).collect());
    assert!(taken_back.is_subset(&rejected));
}

/// Whether reading leaves it out.
fn hub_rejected(hub: &Hub, at: u64) -> bool {
    match hub.read(&BOARD, at, 1) {
        deltawire::documents::store::Read::Run(run) => {
            run.records.first().is_none_or(|record| record.position.0 != at)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reader_that_was_away_is_told_over_a_restart_too() {
    let folder = Folder::new("rejected");
    let hub = open(&folder.0).await;
    let last = append(&hub, 9);
    hub.reject(&BOARD, Place { position: 4, ..last }, BY).await.unwrap();
    hub.reject(&BOARD, Place { position: 9, ..last }, BY).await.unwrap();
    assert!(hub.shut_down(PATIENCE).await);
    drop(hub);
    let hub = open(&folder.0).await;
    let reader = documents(&hub);
    let start = Start::Position { epoch: last.epoch, position: 7 };
    let options = SubscribeOptions { start, ..SubscribeOptions::default() };
    let mut reader = reader.subscribe(BOARD, options).unwrap();
    let item = soon("rejection", reader.next()).await.unwrap();
    assert!(matches!(item, Item::Rejected { place } if place.position == 4), "{item:?}");
    assert_eq!(next_delta(&mut reader).await.0.position, 7);
    assert_eq!(next_delta(&mut reader).await.0.position, 8);
}

#[tokio::test]
async fn a_reader_that_has_missed_very_many_is_told_all() {
    let hub = hub();
    let mut reader = hub.subscribe(BOARD, SubscribeOptions::default());
    let mut last = append(&hub, 1);
    for _ in 0..40 {
        last = append(&hub, 250);
    }
    for position in 1..=last.position {
        assert_eq!(next_delta(&mut reader).await.0.position, position);
    }
    let rejected: BTreeSet<u64> = (1..=last.position).filter(|at| at % 20 == 0).collect();
    for position in rejected.iter().copied() {
        hub.reject(&BOARD, Place { position, ..last }, BY).await.unwrap();
    }
    let mut told = BTreeSet::new();
    while told != rejected {
        match soon("rejection", reader.next()).await.unwrap() {
            Item::Rejected { place } => assert!(told.insert(place.position)),
            Item::Live => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn only_what_is_there_can_be_rejected() {
    let hub = hub();
    let nowhere = Place { epoch: 1, position: 1 };
    let unknown = RejectError::Refused(Refused::Unknown { doc: BOARD });
    assert_eq!(hub.reject(&BOARD, nowhere, BY).await, Err(unknown));
    let last = append(&hub, 2);
    let ahead = Place { position: 3, ..last };
    let refused = hub.reject(&BOARD, ahead, BY).await;
    assert!(matches!(refused, Err(RejectError::Refused(Refused::NoRecord { .. }))), "{refused:?}");
    let epoch = last.epoch + 1;
    let other = RejectError::OtherEpoch { asked: epoch, epoch: last.epoch };
    assert_eq!(hub.reject(&BOARD, Place { epoch, position: 1 }, BY).await, Err(other));
}

#[tokio::test]
async fn many_rejections_do_not_hold_up_a_slow_reader() {
    let hub = hub();
    let mut last = append(&hub, 1);
    for _ in 0..40 {
        last = append(&hub, 250);
    }
    for position in 1..=6_000 {
        hub.reject(&BOARD, Place { position, ..last }, BY).await.unwrap();
    }
    // It was there, and takes little at a time.
    let options = DocumentsOptions { max_queued_bytes: 2_000, ..DocumentsOptions::default() };
    let slow = hub.documents(None, options);
    let start = Start::Position { epoch: last.epoch, position: 9_000 };
    let options = SubscribeOptions { start, ..SubscribeOptions::default() };
    let mut reader = slow.subscribe(BOARD, options).unwrap();
    let (mut told, mut next) = (BTreeSet::new(), 9_000);
    while next <= last.position {
        match soon("item", reader.next()).await.unwrap() {
            Item::Rejected { place } => assert!(told.insert(place.position), "told once"),
            Item::Delta { place, .. } => {
                assert_eq!(place.position, next);
                next += 1;
            }
            Item::Live => {}
            other => panic!("{other:?}"),
        }
        if next % 100 == 0 {
            pause(1).await;
        }
    }
    assert_eq!(told, (1..=6_000).collect());
}

#[tokio::test]
async fn a_rejection_is_of_the_document_that_it_was_in() {
    let hub = hub();
    let mut reader = hub.subscribe(BOARD, SubscribeOptions::default());
    let old = append(&hub, 5);
    for position in 1..=5 {
        assert_eq!(next_delta(&mut reader).await.0.position, position);
    }
    assert!(hub.delete(&BOARD));
    let new = append(&hub, 3);
    hub.reject(&BOARD, Place { position: 2, ..new }, BY).await.unwrap();
    let item = soon("gap", reader.next()).await.unwrap();
    assert!(matches!(&item, Item::Gap(gap) if gap.why == Why::NewEpoch), "{item:?} after {old:?}");
    assert_eq!(next_delta(&mut reader).await.0, Place { position: 1, ..new });
}

#[tokio::test]
async fn the_latest_is_the_newest_that_was_not_rejected() {
    let hub = hub();
    let last = append(&hub, 5);
    let policy = SlowPolicy::Latest;
    let mut reader = hub.subscribe(BOARD, SubscribeOptions { policy, ..Default::default() });
    hub.reject(&BOARD, last, BY).await.unwrap();
    loop {
        match soon("delta", reader.next()).await.unwrap() {
            Item::Delta { place, .. } => {
                assert_eq!(place.position, 4);
                break;
            }
            Item::Gap(gap) => assert_eq!((gap.why, gap.skipped), (Why::Slow, 3)),
            other => panic!("{other:?}"),
        }
    }
}
