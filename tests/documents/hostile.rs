//! Peers that do what no client of this project does: others must not notice.

use deltawire::documents::{DeniedCode, PeerRates, SubscribeOptions, keep};
use deltawire::framing::documents::{
    Acknowledge, AcknowledgeFields, Document, Expect, Level, Publish, PublishFields, SlowPolicy,
    Start, Subscribe, SubscribeFields, Unpublish, Unsubscribe, WriterId,
};
use deltawire::framing::{DeltaFields, DeltaType};
use deltawire::link::Link;
use zerocopy::IntoBytes;

use super::support::{Thinking, Validate, connect, pause};
use super::*;

async fn raw_peer(address: SocketAddr) -> (Node, Peer, Link) {
    let node = Node::builder().prefer_links(["websocket"]).build().unwrap();
    let url = format!("http://{address}/webrtc");
    let (peer, link) = soon("link", node.connect(&url)).await.unwrap();
    (node, peer, link)
}

fn subscribe(id: u32, doc_id: DocId) -> Subscribe {
    let (start, policy) = (Start::Oldest, SlowPolicy::Block);
    Subscribe::new(SubscribeFields { id, doc_id, start, policy, presence: false })
}

/// Numbers that are the same in each run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)) % bound
    }
}

/// An honest pair beside all of this.
async fn honest_still_work(address: SocketAddr, doc_id: DocId) {
    let node = Node::builder().prefer_links(["websocket"]).build().unwrap();
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let keeping = documents.clone();
    let url = format!("http://{address}/webrtc");
    tokio::spawn(async move { keep(&node, &url, &keeping).await });
    let mut publisher = documents.publish(doc_id).unwrap();
    let mut subscription = documents.subscribe(doc_id, SubscribeOptions::default()).unwrap();
    for number in 0..100_u8 {
        publisher.publish(&[number]).await.unwrap();
    }
    soon("flush", publisher.flush()).await.unwrap();
    for number in 0..100_u8 {
        assert_eq!(next_delta(&mut subscription).await.1, [number]);
    }
    documents.close();
}

#[tokio::test]
async fn nonsense_harms_nobody_else() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    for seed in 0..6 {
        let mut random = Random(seed);
        let (_node, mut peer, _link) = raw_peer(address).await;
        let doc = |random: &mut Random| DocId([random.below(4) as u8 + 100; 16]);
        for _ in 0..1_500 {
            let (id, doc_id) = (random.below(6) as u32, doc(&mut random));
            let sequence = random.below(5) as u32;
            let sent = match random.below(9) {
                0 => peer.command.send.send_document(subscribe(id, doc_id).as_bytes()).await,
                1 => peer.command.send.send_document(Unsubscribe::new(id).as_bytes()).await,
                2 | 3 => {
                    let writer = WriterId([random.below(3) as u8; 16]);
                    let presence = random.below(3) == 0;
                    let fields = PublishFields { id, doc_id, writer, presence };
                    peer.command.send.send_document(Publish::new(fields).as_bytes()).await
                }
                4 => peer.command.send.send_document(Unpublish::new(id).as_bytes()).await,
                5 => {
                    let position = random.below(20) + 1;
                    peer.send.send_document(Expect::new(id, position).as_bytes()).await
                }
                // What only hubs say.
                6 => {
                    let fields = AcknowledgeFields {
                        id,
                        level: Level::Stored,
                        volatile: false,
                        epoch: 7,
                        last: Some((sequence, 1 << 40)),
                    };
                    peer.command.send.send_document(Acknowledge::new(fields).as_bytes()).await
                }
                _ => {
                    let types = [DeltaType::OPAQUE, DeltaType::SNAPSHOT, DeltaType::PRESENCE];
                    let delta_type = types[random.below(3) as usize];
                    let fields = DeltaFields { delta_type, sequence, ..DeltaFields::new(doc_id) };
                    let payload = vec![0xff; random.below(6_000) as usize];
                    peer.send.send(fields, &payload).await
                }
            };
            sent.unwrap();
            // Whatever comes is read: what is tried here is not back-pressure.
            while peer.receive.try_next().is_ok() {}
            while peer.command.receive.try_next().is_ok() {}
            if random.below(50) == 0 {
                tokio::task::yield_now().await;
            }
        }
        honest_still_work(address, DocId([seed as u8; 16])).await;
    }
    for number in 100..104 {
        if let Some(head) = hub.head(&DocId([number; 16])) {
            assert_eq!(head.next.0 - head.first.0, head.records, "positions stay gapless");
        }
    }
}

#[tokio::test]
async fn a_peer_that_takes_nothing_cannot_come_and_go_without_end() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    for _ in 0..4_000 {
        hub.append(DeltaFields::new(BOARD), &[0; 1_000]).unwrap();
    }
    let (_node, mut peer, _link) = raw_peer(address).await;
    // Its window is full with this, and stays so.
    peer.command.send.send_document(subscribe(0, BOARD).as_bytes()).await.unwrap();
    let mut denied = 0;
    for round in 0..100_u32 {
        let ids = (round * 50 + 1)..(round * 50 + 51);
        for id in ids.clone() {
            let body = subscribe(id, DocId([(id % 50) as u8 + 50; 16]));
            soon("room", peer.command.send.send_document(body.as_bytes())).await.unwrap();
        }
        // So that they have begun when they are taken back.
        tokio::time::sleep(Duration::from_millis(3)).await;
        for id in ids {
            let body = Unsubscribe::new(id);
            soon("room", peer.command.send.send_document(body.as_bytes())).await.unwrap();
        }
        while let Ok(frame) = peer.command.receive.try_next() {
            if let Ok(Document::Denied(refusal)) = frame.document() {
                assert_eq!(refusal.fields().code, DeniedCode::TOO_MANY);
                denied += 1;
            }
        }
    }
    assert!(denied > 500, "{denied} were denied");
    assert!(hub.stats().readers <= 51, "{:?}", hub.stats());
    honest_still_work(address, DocId([3; 16])).await;
}

#[tokio::test]
async fn a_peer_brings_in_no_more_than_its_rates_and_loses_nothing() {
    let rates = PeerRates { deltas: 400, bytes: 64 << 10, new_documents: 100 };
    let options = HubOptions { rates, ..HubOptions::default() };
    let hub = Hub::in_memory(options, Everyone, runtime());
    let (_node, address) = serve_hub(&hub).await;
    let (busy, other) = (connect(address), connect(address));
    let mut publisher = busy.publish(BOARD).unwrap();
    let started = std::time::Instant::now();
    // By their number: 400 at once, 400 a second from then on.
    let mut last = None;
    for n in 0..800_u32 {
        last = Some(soon("room", publisher.publish(&n.to_le_bytes())).await.unwrap());
    }
    // Another peer is not held up by that.
    let mut others = other.publish(DocId([8; 16])).unwrap();
    let receipt = others.publish(b"x").await.unwrap();
    soon("receipt of another's", receipt.received()).await.unwrap();
    soon("receipt", last.unwrap().received()).await.unwrap();
    assert_eq!(hub.head(&BOARD).unwrap().next.0, 801);
    // A lower bound of time holds however busy the machine is.
    assert!(started.elapsed() >= Duration::from_millis(950), "{:?}", started.elapsed());

    // By their bytes: 64 KiB at once, and of what is longer than that the rest when there is room for it.
    let started = std::time::Instant::now();
    for _ in 0..2 {
        let receipt = soon("room", publisher.publish(&[7; 100_000])).await.unwrap();
        soon("receipt", receipt.received()).await.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_millis(1_900), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_peer_makes_documents_no_faster_than_it_may() {
    let rates = PeerRates { new_documents: 2_000, ..PeerRates::default() };
    let options = HubOptions { rates, max_open_per_peer: 8_000, ..HubOptions::default() };
    let hub = Hub::in_memory(options, Everyone, runtime());
    let options = DocumentsOptions { max_open: 8_000, ..DocumentsOptions::default() };
    let busy = hub.documents(None, options);
    let started = std::time::Instant::now();
    let mut publishers = Vec::new();
    for n in 0..4_000_u32 {
        let mut doc_id = [0; 16];
        doc_id[..4].copy_from_slice(&n.to_le_bytes());
        let mut publisher = busy.publish(DocId(doc_id)).unwrap();
        drop(publisher.publish(b"x").await.unwrap());
        publishers.push(publisher);
    }
    for publisher in &mut publishers {
        soon("flush", publisher.flush()).await.unwrap();
    }
    assert_eq!(hub.stats().documents, 4_000);
    assert!(started.elapsed() >= Duration::from_millis(950), "{:?}", started.elapsed());
}

/// Permits late, and lets in nothing that is evil.
fn strict(think: Duration) -> Thinking {
    let validate: Validate =
        Box::new(|payload| if payload == b"evil" { Err(DeniedCode::REJECTED) } else { Ok(()) });
    Thinking { think, validate }
}

async fn send(peer: &mut Peer, doc_id: DocId, sequence: u32, payload: &[u8]) {
    let mut grant = soon("room", peer.send.reserve(payload.len())).await.unwrap();
    grant.payload_mut()[..payload.len()].copy_from_slice(payload);
    grant.commit(DeltaFields { sequence, ..DeltaFields::new(doc_id) }, payload.len()).unwrap();
}

#[tokio::test]
async fn what_comes_before_it_is_permitted_is_not_let_in_unseen() {
    let rates = PeerRates { deltas: 2, ..PeerRates::default() };
    let options = HubOptions { rates, ..HubOptions::default() };
    let hub = Hub::in_memory(options, strict(Duration::from_millis(200)), runtime());
    let (_node, address) = serve_hub(&hub).await;
    let (_of, mut peer, _link) = raw_peer(address).await;
    let other = DocId([8; 16]);
    let publish = |id, doc_id| {
        Publish::new(PublishFields {
            id,
            doc_id,
            writer: WriterId([id as u8; 16]),
            presence: false,
        })
    };
    peer.command.send.send_document(publish(1, BOARD).as_bytes()).await.unwrap();
    soon("acknowledgement", peer.command.receive.next()).await.unwrap();
    peer.command.send.send_document(publish(2, other).as_bytes()).await.unwrap();
    // It is held up by the rate of its first deltas while the second publication is permitted.
    for sequence in 1..=4 {
        send(&mut peer, BOARD, sequence, b"good").await;
    }
    send(&mut peer, other, 1, b"evil").await;
    for sequence in 5..=6 {
        send(&mut peer, BOARD, sequence, b"good").await;
    }
    soon("the rest", async {
        while hub.head(&BOARD).is_none_or(|head| head.next.0 < 7) {
            pause(10).await;
        }
    })
    .await;
    assert!(hub.head(&other).is_none(), "nobody has looked at it");
    assert_eq!(hub.stats().unexpected, 1);
}

#[tokio::test]
async fn a_peer_that_is_held_up_does_not_outlive_its_link() {
    let rates = PeerRates { deltas: 2, ..PeerRates::default() };
    let options = HubOptions { rates, ..HubOptions::default() };
    let hub = Hub::in_memory(options, Everyone, runtime());
    let (_node, address) = serve_hub(&hub).await;
    for _ in 0..3 {
        let (node, mut peer, link) = raw_peer(address).await;
        let writer = WriterId([1; 16]);
        let publish = PublishFields { id: 1, doc_id: BOARD, writer, presence: false };
        peer.command.send.send_document(Publish::new(publish).as_bytes()).await.unwrap();
        soon("acknowledgement", peer.command.receive.next()).await.unwrap();
        for sequence in 1..=1_000 {
            send(&mut peer, BOARD, sequence, &[0; 64]).await;
        }
        pause(100).await;
        drop((peer, link));
        drop(node);
    }
    soon("end of all", async {
        while hub.stats().peers > 0 {
            pause(20).await;
        }
    })
    .await;
}
