use std::path::Path;

use deltawire::documents::store::{Durability, LogOptions, OpenError, Read};
use deltawire::documents::{
    Deliver, DeniedCode, Publisher, Start, SubscribeOptions, SubscriptionEnded, keep,
};
use deltawire::framing::{DeltaFields, Frame};
use tokio::runtime::Runtime;

use super::support::*;
use super::*;

/// All payloads of a document, as the hub has them.
async fn payloads(hub: &Hub, doc_id: &DocId) -> Vec<Vec<u8>> {
    let (mut found, mut from) = (Vec::new(), 1);
    loop {
        match hub.read(doc_id, from, 1 << 20) {
            Read::Run(run) => {
                found.extend(run.records.iter().map(|record| {
                    Frame::parse(&record.frame).unwrap().delta().unwrap().payload().to_vec()
                }));
                from = run.next.0;
            }
            Read::AtHead | Read::Unknown => return found,
            Read::Cold(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            Read::Gap(gap) => panic!("{gap:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_stored_is_there_after_an_orderly_end_and_readers_resume() {
    let folder = Folder::new("orderly");
    let hub = open(&folder.0).await;
    let writer = documents(&hub);
    let mut publisher = writer.publish(BOARD).unwrap();
    let mut receipts = Vec::new();
    for number in 0..500_u32 {
        receipts.push(soon("room", publisher.publish(&number.to_le_bytes())).await.unwrap());
    }
    for receipt in &receipts {
        soon("receipt", receipt.stored()).await.unwrap();
    }
    let epoch = hub.head(&BOARD).unwrap().epoch.0;
    assert!(hub.is_stored(&BOARD, Place { epoch, position: 500 }));
    assert!(hub.shut_down(PATIENCE).await);
    writer.close();
    drop((hub, writer, publisher));

    let hub = open(&folder.0).await;
    let found = payloads(&hub, &BOARD).await;
    assert_eq!(found, (0..500_u32).map(|it| it.to_le_bytes().to_vec()).collect::<Vec<_>>());
    assert_eq!(hub.head(&BOARD).unwrap().epoch.0, epoch, "closed in order, positions hold");
}

#[tokio::test]
async fn long_documents_are_read_back_from_the_disk() {
    let folder = Folder::new("cold");
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
    let hub = open_with(&folder.0, HubOptions { log, ..HubOptions::default() }).await;
    let (writer, reader) = (documents(&hub), documents(&hub));
    let mut publisher = writer.publish(BOARD).unwrap();
    // Eight times what stays in memory.
    for number in 0..8_000_u32 {
        let mut payload = vec![0; 1_000];
        payload[..4].copy_from_slice(&number.to_le_bytes());
        soon("room", publisher.publish(&payload)).await.unwrap();
    }
    soon("flush", publisher.flush()).await.unwrap();
    let mut subscription = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    for number in 0..8_000_u32 {
        let (place, payload) = next_delta(&mut subscription).await;
        assert_eq!(
            (place.position, &payload[..4]),
            (u64::from(number) + 1, &number.to_le_bytes()[..])
        );
    }
}

#[tokio::test]
async fn nobody_sees_what_is_not_stored_where_that_is_asked_for() {
    let folder = Folder::new("held");
    let options = HubOptions { deliver: Deliver::Stored, ..HubOptions::default() };
    let hub = open_with(&folder.0, options).await;
    let reader = documents(&hub);
    let mut subscription = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    for number in 0..200_u8 {
        let place = hub.append(DeltaFields::new(BOARD), &[number]).unwrap();
        let (seen, payload) = next_delta(&mut subscription).await;
        assert_eq!((seen.position, payload), (place.position, vec![number]));
        assert!(hub.is_stored(&BOARD, place), "{number} was seen before it was stored");
    }
}

/// A server whose tasks all end at once, as if it had been killed, when this is dropped.
struct Server {
    runtime: Option<Runtime>,
}

impl Server {
    fn start(path: &Path, address: SocketAddr) -> (Self, SocketAddr) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let address = runtime.block_on(async {
            let hub = open(path).await;
            serve_hub_at(&hub, address).await.1
        });
        (Self { runtime: Some(runtime) }, address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[test]
fn a_server_that_stops_dead_loses_nothing_that_is_waited_for_and_repeats_nothing() {
    const COUNT: u32 = 6_000;
    let folder = Folder::new("dead");
    let (mut server, address) = Server::start(&folder.0, (Ipv4Addr::LOCALHOST, 0).into());
    let client = Runtime::new().unwrap();
    let writing = client.spawn(async move {
        let node = Node::builder()
            .prefer_links(["websocket"])
            .backoff(deltawire::Backoff {
                first: Duration::from_millis(20),
                longest: Duration::from_millis(100),
                ..Default::default()
            })
            .build()
            .unwrap();
        let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
        let keeping = documents.clone();
        let url = format!("http://{address}/webrtc");
        tokio::spawn(async move { keep(&node, &url, &keeping).await });
        let mut publisher: Publisher = documents.publish(BOARD).unwrap();
        let mut last = None;
        for number in 0..COUNT {
            last = Some(publisher.publish(&number.to_le_bytes()).await.unwrap());
            if number % 500 == 0 {
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        }
        last.unwrap().stored().await.unwrap();
    });
    for _ in 0..4 {
        std::thread::sleep(Duration::from_millis(150));
        drop(server);
        (server, _) = Server::start(&folder.0, address);
    }
    client.block_on(async { soon("receipts", writing).await.unwrap() });
    drop(server);
    let hub = client.block_on(open(&folder.0));
    let found = client.block_on(payloads(&hub, &BOARD));
    let numbers: Vec<u32> =
        found.iter().map(|it| u32::from_le_bytes(it[..].try_into().unwrap())).collect();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_was_away_while_a_hub_stopped_dead_again_and_again_goes_on_where_it_was() {
    let folder = Folder::new("away");
    let mut first = None;
    let mut epochs = Vec::new();
    for round in 0..4_u8 {
        let hub = open(&folder.0).await;
        for number in 0..10 {
            let place = hub.append(DeltaFields::new(BOARD), &[10 * round + number]).unwrap();
            assert!(soon("the disk", hub.stored(&BOARD, place)).await);
            first.get_or_insert(place);
        }
        epochs.push(hub.head(&BOARD).unwrap().epoch.0);
        // Without a word.
        drop(hub);
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 4, "after each end the epoch is another one");
    let hub = open(&folder.0).await;
    let Place { epoch, position } = first.unwrap();
    let start = Start::Position { epoch, position: position + 7 };
    let mut reader = hub.subscribe(BOARD, SubscribeOptions { start, ..Default::default() });
    for number in 7..40 {
        let (place, payload) = next_delta(&mut reader).await;
        assert_eq!((place.position, payload), (u64::from(number) + 1, vec![number]));
    }
}

#[tokio::test]
async fn a_hub_that_is_dropped_lets_go_of_its_directory() {
    let folder = Folder::new("dropped");
    let hub = open(&folder.0).await;
    let here = documents(&hub);
    pause(50).await;
    drop(here);
    hub.shut_down(PATIENCE).await;
    drop(hub);
    open(&folder.0).await;
}

#[tokio::test]
async fn a_hub_that_is_dropped_ends_the_documents_of_its_process() {
    let folder = Folder::new("ended");
    let hub = open(&folder.0).await;
    let documents = documents(&hub);
    let mut publisher = documents.publish(BOARD).unwrap();
    let mut reader = documents.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    let receipt = publisher.publish(b"x").await.unwrap();
    soon("receipt", receipt.stored()).await.unwrap();
    // Without a word, and with documents of this process open.
    drop(hub);
    let hub = open(&folder.0).await;
    assert_eq!(hub.head(&BOARD).unwrap().next.0, 2);
    assert_eq!(next_delta(&mut reader).await.1, b"x");
    loop {
        match soon("end", reader.next()).await {
            Ok(_) => {}
            Err(ended) => {
                let away = SubscriptionEnded::Denied(DeniedCode::GOING_AWAY);
                assert!(ended == away || ended == SubscriptionEnded::Closed, "{ended}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_directory_with_archived_segments_is_not_opened() {
    let folder = Folder::new("archived");
    let hub = open(&folder.0).await;
    assert!(hub.shut_down(PATIENCE).await);
    drop(hub);
    // What an archive leaves in place of a segment.
    std::fs::write(folder.0.join("0000/00000000000000000007.archived"), b"").unwrap();
    loop {
        match Hub::open(&folder.0, HubOptions::default(), Everyone, runtime()) {
            Err(OpenError::Locked { .. }) => pause(5).await,
            Err(OpenError::Archived { shard: 0, segment: 7, .. }) => break,
            other => panic!("{other:?}"),
        }
    }
}
