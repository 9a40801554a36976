//! Hubs that keep cold segments in an object store: one in memory, one in a folder, and one that does not answer.

use std::path::Path;
use std::sync::Arc;

use deltawire::documents::store::{Durability, LogOptions, OpenError};
use deltawire::documents::{ArchiveStats, Archiving, Start, SubscribeOptions};
use deltawire::framing::DeltaFields;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::support::*;
use super::*;

const OTHER: DocId = DocId([8; 16]);

/// Segments of 1 MiB, of which about two are in memory.
fn options() -> HubOptions {
    let log = LogOptions {
        chunk: 64 << 10,
        max_record: 64 << 10,
        segment: 1 << 20,
        max_hot_bytes: 1 << 20,
        max_dirty_bytes: 256 << 10,
        max_cold_bytes: 1 << 20,
        durability: Durability::PageCache,
        ..LogOptions::default()
    };
    HubOptions { log, shards: 1, ..HubOptions::default() }
}

fn archiving(store: &Arc<dyn ObjectStore>) -> Archiving {
    Archiving {
        prefix: "deltawire/test".into(),
        keep_bytes: 0,
        timeout: Duration::from_millis(300),
        ..Archiving::new(store.clone())
    }
}

async fn open_archived(path: &Path, options: HubOptions, archiving: Archiving) -> Hub {
    for _ in 0..400 {
        match Hub::open_archived(path, options, archiving.clone(), Everyone, runtime()) {
            Ok(hub) => return hub,
            Err(OpenError::Locked { .. }) => pause(5).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the directory stays locked")
}

async fn write(hub: &Hub, doc_id: DocId, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let mut payload = vec![0; 1_000];
        payload[..4].copy_from_slice(&number.to_le_bytes());
        soon("room", async {
            while hub.append(DeltaFields::new(doc_id), &payload).is_err() {
                pause(1).await;
            }
        })
        .await;
    }
}

/// Reads a document from a position on, up to what was written with `to`.
async fn read(hub: &Hub, doc_id: DocId, from: u32, to: u32) {
    let start = match from {
        0 => Start::Oldest,
        _ => Start::Position {
            epoch: hub.head(&doc_id).unwrap().epoch.0,
            position: u64::from(from) + 1,
        },
    };
    let options = SubscribeOptions { start, ..SubscribeOptions::default() };
    let reader = documents(hub);
    let mut subscription = reader.subscribe(doc_id, options).unwrap();
    for number in from..to {
        let (place, payload) = next_delta(&mut subscription).await;
        assert_eq!(place.position, u64::from(number) + 1);
        assert_eq!(payload[..4], number.to_le_bytes());
    }
    reader.close();
}

async fn until(what: &str, hub: &Hub, is_so: impl Fn(ArchiveStats) -> bool) -> ArchiveStats {
    soon(what, async {
        loop {
            let stats = hub.archive_stats().unwrap();
            if is_so(stats) {
                return stats;
            }
            pause(10).await;
        }
    })
    .await
}

fn files(folder: &Folder, extension: &str) -> usize {
    let found = std::fs::read_dir(folder.0.join("log/0000")).unwrap();
    found
        .filter(|it| it.as_ref().unwrap().path().extension().is_some_and(|it| it == extension))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_is_read_resumed_and_deleted_over_restarts() {
    for in_memory in [true, false] {
        let folder = Folder::new(&format!("archived-{in_memory}"));
        let objects = folder.0.join("objects");
        std::fs::create_dir_all(&objects).unwrap();
        let local = || LocalFileSystem::new_with_prefix(&objects).unwrap().with_fsync(true);
        let store: Arc<dyn ObjectStore> =
            if in_memory { Arc::new(InMemory::new()) } else { Arc::new(local()) };
        let path = folder.0.join("log");
        let hub = open_archived(&path, options(), archiving(&store)).await;
        write(&hub, BOARD, 0..6_000).await;
        let stats = until("archived", &hub, |it| it.segments >= 5).await;
        assert!(stats.put_segments >= stats.segments && (stats.errors, stats.failures) == (0, 0));
        assert!(stats.put_bytes > stats.bytes && stats.bytes > 5_000_000, "{stats:?}");
        read(&hub, BOARD, 0, 6_000).await;
        assert!(until("reads", &hub, |it| it.reads > 0).await.read_bytes > 4 << 20);
        soon("cleared", async {
            while files(&folder, "segment") > 2 {
                pause(5).await;
            }
        })
        .await;
        assert!(hub.shut_down(PATIENCE).await);
        drop(hub);

        // Who has no archive cannot open it, and changes nothing.
        let refused = soon("an answer", async {
            loop {
                match Hub::open(&path, options(), Everyone, runtime()) {
                    Err(OpenError::Locked { .. }) => pause(5).await,
                    other => return other,
                }
            }
        })
        .await;
        assert!(matches!(refused, Err(OpenError::Archived { segment: 1, .. })), "{refused:?}");

        // Readers go on where they were, and from the beginning.
        let hub = open_archived(&path, options(), archiving(&store)).await;
        read(&hub, BOARD, 1_234, 6_000).await;
        write(&hub, BOARD, 6_000..6_500).await;
        read(&hub, BOARD, 0, 6_500).await;
        assert!(hub.shut_down(PATIENCE).await);
        drop(hub);

        // Retention deletes there as well.
        let mut small = options();
        small.log.retention.max_bytes = 2 << 20;
        let hub = open_archived(&path, small, archiving(&store)).await;
        let stats = until("erased", &hub, |it| it.erased_segments >= 4).await;
        assert_eq!((stats.errors, stats.failures), (0, 0));
        let first = hub.head(&BOARD).unwrap().first.0;
        assert!(first > 3_000, "{first}");
        read(&hub, BOARD, first as u32 - 1, 6_500).await;
        assert!(files(&folder, "archived") <= 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_damages_nothing_and_holds_up_nobody_else() {
    let folder = Folder::new("unreachable");
    let store = Arc::new(ThrottledStore::new(InMemory::new(), ThrottleConfig::default()));
    let answers = |answers: bool| {
        let wait = if answers { Duration::ZERO } else { Duration::from_secs(3_600) };
        store.config_mut(|it| {
            (it.wait_get_per_call, it.wait_put_per_call) = (wait, wait);
            it.wait_delete_per_call = wait;
        });
    };
    let shared: Arc<dyn ObjectStore> = store.clone();
    let path = folder.0.join("log");
    let two = Archiving { keep_bytes: 2 << 20, ..archiving(&shared) };
    let hub = open_archived(&path, options(), two.clone()).await;
    write(&hub, OTHER, 0..3_000).await;
    write(&hub, BOARD, 0..4_000).await;
    until("archived", &hub, |it| it.segments >= 5).await;
    pause(300).await;
    let before = hub.archive_stats().unwrap();
    answers(false);

    // Those that want what is there wait: twenty readers, and none is told of a gap.
    let (waiting, mut readers) = (hub.clone(), tokio::task::JoinSet::new());
    for reader in 0..20 {
        let hub = waiting.clone();
        readers.spawn(async move {
            let reader_documents = documents(&hub);
            let mut subscription =
                reader_documents.subscribe(OTHER, SubscribeOptions::default()).unwrap();
            for number in 0..2_000 + reader {
                let (place, _) = next_delta(&mut subscription).await;
                assert_eq!(place.position, number + 1);
            }
        });
    }
    until("failure", &hub, |it| it.failing >= 2).await;
    // What is here is read and written as ever, from the disk too.
    for _ in 0..3 {
        read(&hub, BOARD, 2_600, 4_000).await;
    }
    let place = hub.append(DeltaFields::new(BOARD), &4_000_u32.to_le_bytes()).unwrap();
    assert!(soon("stored", hub.stored(&BOARD, place)).await);
    write(&hub, BOARD, 4_001..8_000).await;
    pause(1_500).await;
    let during = hub.archive_stats().unwrap();
    assert_eq!(during.segments, before.segments, "nothing is moved");
    assert_eq!((during.errors, readers.len()), (0, 20));
    // Asked again, and not at every turn.
    assert!(during.failures < 60, "{during:?}");

    answers(true);
    while let Some(done) = soon("readers", readers.join_next()).await {
        done.unwrap();
    }
    let after = until("answers", &hub, |it| it.segments > before.segments + 2).await;
    assert_eq!((after.failing, after.errors), (0, 0));
    read(&hub, OTHER, 0, 3_000).await;
    read(&hub, BOARD, 0, 8_000).await;

    // It opens without the store, and what is deleted meanwhile is erased when that is there again.
    assert!(hub.shut_down(PATIENCE).await);
    drop((hub, waiting));
    answers(false);
    let mut small = options();
    small.log.retention.max_bytes = 3 << 20;
    let hub = open_archived(&path, small, two).await;
    until("failure", &hub, |it| it.failing >= 1).await;
    assert!(files(&folder, "deleting") > 2);
    answers(true);
    until("erased", &hub, |it| it.erased_segments > 2).await;
    soon("nothing to delete", async {
        while files(&folder, "deleting") > 0 {
            pause(5).await;
        }
    })
    .await;
    let first = hub.head(&BOARD).unwrap().first.0;
    read(&hub, BOARD, first as u32 - 1, 8_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compacted_is_archived_and_what_is_archived_is_not_compacted() {
    let folder = Folder::new("compacted");
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = folder.0.join("log");
    let mut some = options();
    some.log.compact_below = 50;
    some.log.retention.per_document_records = 500;
    let keep = Archiving { keep_bytes: 3 << 20, ..archiving(&store) };
    let hub = open_archived(&path, some, keep.clone()).await;
    // Of one document 500 deltas are kept, of the other all that there are, a few in each segment.
    let reading = tokio::spawn({
        let hub = hub.clone();
        async move {
            for _ in 0..8 {
                let head = hub.head(&OTHER).map_or(1, |head| head.next.0);
                read(&hub, OTHER, 0, head as u32 - 1).await;
                pause(100).await;
            }
        }
    });
    for part in 0..40 {
        write(&hub, OTHER, part * 10..part * 10 + 10).await;
        write(&hub, BOARD, part * 500..part * 500 + 500).await;
        // It is looked once a second for what is worth it, and what is archived until then is not compacted.
        pause(150).await;
    }
    soon("reader", reading).await.unwrap();
    let sum = |hub: &Hub| {
        let logs = hub.logs();
        let (some, all) =
            (logs.iter().map(|it| it.compactions), logs.iter().map(|it| it.compacted_segments));
        (some.sum::<u64>(), all.sum::<u64>())
    };
    soon("compaction", async {
        while sum(&hub).0 < 2 {
            pause(20).await;
        }
    })
    .await;
    for _ in 0..2 {
        read(&hub, OTHER, 0, 400).await;
        read(&hub, BOARD, 19_500, 20_000).await;
        pause(300).await;
    }
    let damaged: u64 = hub.logs().iter().map(|it| it.damaged_batches).sum();
    assert_eq!((damaged, hub.archive_stats().unwrap().errors), (0, 0));
    assert!(hub.shut_down(PATIENCE).await);
    drop(hub);

    // All of it goes, compacted or not, and is read from there.
    let hub = open_archived(&path, some, archiving(&store)).await;
    assert!(sum(&hub).1 >= 1);
    until("archived", &hub, |it| it.segments >= 1 && it.failures == 0).await;
    soon("all of it", async {
        while files(&folder, "segment") > 1 {
            pause(20).await;
        }
    })
    .await;
    read(&hub, OTHER, 0, 400).await;
    assert!(hub.shut_down(PATIENCE).await);
    drop(hub);
    let hub = open_archived(&path, some, archiving(&store)).await;
    read(&hub, OTHER, 0, 400).await;
    read(&hub, BOARD, 19_500, 20_000).await;
    let damaged: u64 = hub.logs().iter().map(|it| it.damaged_batches).sum();
    assert_eq!((damaged, hub.archive_stats().unwrap().errors), (0, 0));
}
