//! All deltas or an exact gap, whatever readers ask for; nobody's reading holds up others.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use deltawire::documents::store::{LogOptions, Retention};
use deltawire::documents::{
    Ask, Deliver, DeniedCode, Permission, Policy, SlowPolicy, Start, SubscribeOptions, Why,
};
use deltawire::framing::documents::SnapshotHeader;
use deltawire::framing::{Delta, DeltaFields, DeltaType};
use deltawire::link::runtime::BoxFuture;

use super::support::*;
use super::*;

#[tokio::test]
async fn a_document_that_began_behind_a_gap_says_so() {
    let retention = Retention { per_document_records: 5, ..Retention::default() };
    let options = HubOptions {
        log: LogOptions { retention, ..HubOptions::default().log },
        ..HubOptions::default()
    };
    let hub = Hub::in_memory(options, Everyone, runtime());
    let reader = documents(&hub);
    let mut s = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    assert!(matches!(soon("live", s.next()).await.unwrap(), Item::Live));
    for n in 0..20_u8 {
        hub.append(DeltaFields::new(BOARD), &[n]).unwrap();
    }
    let mut skipped = 0;
    loop {
        match soon("i", s.next()).await.unwrap() {
            Item::Gap(gap) => skipped += gap.skipped,
            Item::Delta { place, .. } => {
                assert_eq!(
                    place.position - 1,
                    skipped,
                    "positions before the first delta that came"
                );
                break;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn deltas_between_what_a_snapshot_covers_and_itself_come() {
    let hub = hub();
    for n in 0..10_u8 {
        hub.append(DeltaFields::new(BOARD), &[n]).unwrap();
    }
    let epoch = hub.head(&BOARD).unwrap().epoch.0;
    let mut payload = Vec::new();
    payload.extend_from_slice(&5_u64.to_le_bytes());
    payload.extend_from_slice(&epoch.to_le_bytes());
    payload.extend_from_slice(&[0; 4]);
    assert!(SnapshotHeader::parse(&payload).is_ok());
    let fields = DeltaFields { delta_type: DeltaType::SNAPSHOT, ..DeltaFields::new(BOARD) };
    hub.append(fields, &payload).unwrap();
    let reader = documents(&hub);
    let options = SubscribeOptions { start: Start::Snapshot, ..Default::default() };
    let mut s = reader.subscribe(BOARD, options).unwrap();
    let mut got = Vec::new();
    loop {
        match soon("i", s.next()).await.unwrap() {
            Item::Delta { place, .. } => got.push(place.position),
            Item::Gap(gap) => panic!("at least told: {gap:?}"),
            Item::Live => break,
            _ => {}
        }
    }
    assert!((6..=10).all(|p| got.contains(&p)), "the snapshot covers 1..=5; got {got:?}");
}

#[tokio::test]
async fn a_revocation_while_the_policy_thinks_holds() {
    let policy = Thinking { think: Duration::from_millis(300), validate: Box::new(|_| Ok(())) };
    let hub = Hub::in_memory(HubOptions::default(), policy, runtime());
    let d = documents(&hub);
    let mut s = d.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    pause(100).await;
    hub.revoke(None, Some(BOARD));
    pause(500).await;
    hub.append(DeltaFields::new(BOARD), b"secret").unwrap();
    let got = tokio::time::timeout(Duration::from_secs(1), async {
        loop {
            match s.next().await {
                Err(_) => return false,
                Ok(Item::Delta { .. }) => return true,
                _ => {}
            }
        }
    });
    assert_ne!(got.await, Ok(true), "it reads what was revoked");
}

#[test]
fn a_policy_may_look_at_the_hub() {
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let hub_of: Arc<OnceLock<Hub>> = Arc::default();
            let h = hub_of.clone();
            let validate: Validate = Box::new(move |_| {
                let _ = h.get().unwrap().head(&BOARD);
                Ok(())
            });
            let policy = Thinking { think: Duration::ZERO, validate };
            let hub = Hub::in_memory(HubOptions::default(), policy, runtime());
            hub_of.set(hub.clone()).ok();
            let d = documents(&hub);
            let mut p = d.publish(BOARD).unwrap();
            for n in 0..50_u8 {
                p.publish(&[n]).await.unwrap();
            }
            p.flush().await.unwrap();
            done.send(()).unwrap();
        });
    });
    assert!(wait.recv_timeout(Duration::from_secs(6)).is_ok(), "DEADLOCK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_is_read_while_somebody_writes() {
    let options = HubOptions { deliver: Deliver::Stored, ..lazy_disk(Duration::from_millis(2)) };
    let folder = Folder::new("latest");
    let hub = open_with(&folder.0, options).await;
    let reader = documents(&hub);
    let options = SubscribeOptions { policy: SlowPolicy::Latest, ..Default::default() };
    let mut s = reader.subscribe(BOARD, options).unwrap();
    let h = hub.clone();
    let writing = std::thread::spawn(move || {
        let begin = Instant::now();
        let mut n = 0_u32;
        while begin.elapsed() < Duration::from_secs(3) {
            let _ = h.append(DeltaFields::new(BOARD), &n.to_le_bytes());
            n += 1;
            std::thread::sleep(Duration::from_micros(50));
        }
        n
    });
    let (mut deltas, mut gaps) = (0, 0);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2_800) {
        match tokio::time::timeout(Duration::from_millis(100), s.next()).await {
            Ok(Ok(Item::Delta { .. })) => deltas += 1,
            Ok(Ok(Item::Gap(_))) => gaps += 1,
            _ => {}
        }
    }
    let written = writing.join().unwrap();
    assert!(deltas > 20, "{deltas} deltas and {gaps} gaps of {written} in 2.8 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_of_a_reader_does_not_hold_the_shard() {
    let options = HubOptions { shards: 1, ..HubOptions::default() };
    let hub = Hub::in_memory(options, Everyone, runtime());
    for n in 0..1_000_000_u32 {
        hub.append(DeltaFields::new(BOARD), &n.to_le_bytes()).unwrap();
    }
    let other = DocId([8; 16]);
    let measure = |hub: &Hub| {
        let begin = Instant::now();
        for _ in 0..200 {
            hub.append(DeltaFields::new(BOARD), b"x").unwrap();
            hub.append(DeltaFields::new(other), b"x").unwrap();
        }
        begin.elapsed()
    };
    let before = measure(&hub);
    let mut held = Vec::new();
    for _ in 0..8 {
        let d = documents(&hub);
        let policy = SlowPolicy::DropOldest { bytes: 0, records: 0 };
        let s = d.subscribe(BOARD, SubscribeOptions { start: Start::Latest, policy });
        held.push((d, s.unwrap()));
    }
    pause(500).await;
    let mut after = Duration::ZERO;
    for _ in 0..3 {
        after = after.max(measure(&hub));
    }
    assert!(
        after < before * 20 + Duration::from_millis(20),
        "400 appends took {before:?} before and {after:?} with 8 readers"
    );
}

#[tokio::test]
async fn many_subscriptions_at_once_all_begin() {
    let hub = hub();
    let d = documents(&hub);
    let mut all: Vec<_> = (0..200_u8)
        .map(|n| d.subscribe(DocId([n; 16]), SubscribeOptions::default()).unwrap())
        .collect();
    for (live, subscription) in all.iter_mut().enumerate() {
        let first = tokio::time::timeout(Duration::from_secs(2), subscription.next()).await;
        assert!(matches!(first, Ok(Ok(Item::Live))), "{live} of 200 began: {:?}", hub.stats());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_subscriptions_at_once_all_begin_over_a_link() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    let documents = connect(address);
    let mut all: Vec<_> = (0..1_000_u32)
        .map(|number| {
            let mut doc = [0; 16];
            doc[..4].copy_from_slice(&number.to_le_bytes());
            documents.subscribe(DocId(doc), SubscribeOptions::default()).unwrap()
        })
        .collect();
    for (live, subscription) in all.iter_mut().enumerate() {
        let first = tokio::time::timeout(Duration::from_secs(5), subscription.next()).await;
        assert!(matches!(first, Ok(Ok(Item::Live))), "{live} of 1000 began: {:?}", hub.stats());
    }
}

/// The first byte of a payload is its key.
#[derive(Debug)]
struct ByFirstByte;

impl Policy for ByFirstByte {
    fn permit(&self, ask: Ask) -> BoxFuture<'static, Result<Permission, DeniedCode>> {
        Everyone.permit(ask)
    }

    fn key_of(&self, delta: Delta<'_>) -> Option<u64> {
        delta.payload().first().map(|key| u64::from(*key))
    }
}

#[tokio::test]
async fn of_each_key_a_slow_reader_gets_the_newest() {
    let hub = Hub::in_memory(HubOptions::default(), ByFirstByte, runtime());
    let append = |key: u8, n: u8| hub.append(DeltaFields::new(BOARD), &[key, n]).unwrap();
    append(1, 0);
    let options = SubscribeOptions { policy: SlowPolicy::LatestPerKey, ..Default::default() };
    let mut slow = hub.subscribe(BOARD, options);
    let mut other = hub.subscribe(BOARD, SubscribeOptions::default());
    for n in 1..=100 {
        for key in [1, 2, 3] {
            append(key, n);
        }
    }
    // Of the third key the newest is rejected: the one before it counts.
    let rejected = append(3, 101);
    hub.reject(&BOARD, rejected, [0; 16]).await.unwrap();
    append(1, 200);
    let (mut deltas, mut skipped) = (Vec::new(), 0);
    while deltas.last() != Some(&(303, vec![1, 200])) {
        match soon("item", slow.next()).await.unwrap() {
            Item::Delta { place, message } => {
                deltas.push((place.position, message.delta().unwrap().payload().to_vec()));
            }
            Item::Gap(gap) => {
                assert_eq!(gap.why, Why::Slow);
                skipped += gap.skipped;
            }
            _ => {}
        }
    }
    // The first was written before somebody wanted keys: it is not known to be old.
    let newest = [(1, vec![1, 0]), (300, vec![2, 100]), (301, vec![3, 100]), (303, vec![1, 200])];
    assert_eq!(deltas, newest);
    assert_eq!(skipped, 303 - 4);
    // Nobody else is touched by that.
    for position in (1..=303).filter(|at| *at != 302) {
        loop {
            match soon("item", other.next()).await.unwrap() {
                Item::Delta { place, .. } => {
                    assert_eq!(place.position, position);
                    break;
                }
                Item::Gap(gap) => assert_eq!((gap.why, gap.skipped), (Why::LeftOut, 1)),
                _ => {}
            }
        }
    }
    // One that keeps up gets each.
    for n in 201..220 {
        let place = append(2, n);
        assert_eq!(next_delta(&mut slow).await, (place, vec![2, n]));
    }
}

#[tokio::test]
async fn a_reader_that_stalls_keeps_nothing_of_what_comes() {
    let log = LogOptions {
        max_record: 64 << 10,
        max_hot_bytes: 1 << 20,
        max_dirty_bytes: 256 << 10,
        max_index_bytes: 1 << 20,
        ..HubOptions::default().log
    };
    let hub =
        Hub::in_memory(HubOptions { log, shards: 1, ..Default::default() }, Everyone, runtime());
    let mut stalled = hub.subscribe(BOARD, SubscribeOptions::default());
    let first = hub.append(DeltaFields::new(BOARD), &[0; 400]).unwrap();
    // It is at the newest, in the middle of nothing.
    assert_eq!(next_delta(&mut stalled).await.0, first);
    while !matches!(soon("live", stalled.next()).await.unwrap(), Item::Live) {}
    let append = |count| {
        for _ in 0..count {
            hub.append(DeltaFields::new(BOARD), &[0; 400]).unwrap();
        }
    };
    append(2);
    next_delta(&mut stalled).await;
    append(5_000);
    let kept = allocation_counter::measure(|| append(200_000)).bytes_current;
    assert!(kept < 1 << 20, "{kept} bytes more, of a document that keeps 1 MiB");
    // Its end does not take a stack that grows with what it has missed.
    let found = soon("item", stalled.next()).await.unwrap();
    drop((found, stalled));
}

#[tokio::test]
async fn a_reader_that_stalls_hides_nothing_from_others() {
    let hub = hub();
    hub.append(DeltaFields::new(BOARD), b"1").unwrap();
    let (reading, stalled) = (documents(&hub), hub.clone());
    let mut reader = reading.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    let mut stalled = stalled.subscribe(BOARD, SubscribeOptions::default());
    for reader in [&mut reader, &mut stalled] {
        assert_eq!(next_delta(reader).await.1, b"1");
        while !matches!(soon("live", reader.next()).await.unwrap(), Item::Live) {}
    }
    hub.append(DeltaFields::new(BOARD), b"2").unwrap();
    for reader in [&mut reader, &mut stalled] {
        assert_eq!(next_delta(reader).await.1, b"2");
    }
    // One waits for more, the other does nothing.
    assert!(tokio::time::timeout(Duration::from_millis(50), reader.next()).await.is_err());
    assert!(hub.delete(&BOARD));
    hub.append(DeltaFields::new(BOARD), b"3").unwrap();
    let item = soon("gap", reader.next()).await.unwrap();
    assert!(matches!(&item, Item::Gap(gap) if gap.why == Why::NewEpoch), "{item:?}");
    assert_eq!(next_delta(&mut reader).await.1, b"3");
}

#[tokio::test]
async fn what_is_not_stored_does_not_supersede_what_is() {
    let folder = Folder::new("superseded");
    let options = HubOptions { deliver: Deliver::Stored, ..lazy_disk(Duration::from_secs(5)) };
    let hub = open_with(&folder.0, options).await;
    let policy = SlowPolicy::LatestPerKey;
    let mut reader = hub.subscribe(BOARD, SubscribeOptions { policy, ..Default::default() });
    let first = hub.append(DeltaFields::new(BOARD), b"1").unwrap();
    assert!(soon("store", hub.stored(&BOARD, first)).await);
    let second = hub.append(DeltaFields::new(BOARD), b"2").unwrap();
    assert_eq!(next_delta(&mut reader).await, (first, b"1".to_vec()));
    assert!(!hub.is_stored(&BOARD, second), "it came to be stored before the first was read");
}

#[tokio::test]
async fn readers_of_its_own_process_end_with_a_hub() {
    let folder = Folder::new("gone");
    for way in 0..2 {
        let hub = open(&folder.0).await;
        let mut waiting = hub.subscribe(BOARD, SubscribeOptions::default());
        // One that nobody polls does not keep the directory.
        let idle = hub.subscribe(BOARD, SubscribeOptions::default());
        while !matches!(soon("item", waiting.next()).await.unwrap(), Item::Live) {}
        let waiting = tokio::spawn(async move { waiting.next().await });
        if way == 0 {
            assert!(hub.shut_down(PATIENCE).await);
            assert!(soon("end", waiting).await.unwrap().is_err());
            let mut late = hub.subscribe(BOARD, SubscribeOptions::default());
            assert!(soon("end", late.next()).await.is_err());
            drop(hub);
        } else {
            drop(hub);
            assert!(soon("end", waiting).await.unwrap().is_err());
        }
        drop(open(&folder.0).await);
        drop(idle);
    }
}
