//! What a transfer takes in memory beyond its session: counted over all of this process, both ends together, beside what the
//! same bytes take as plain messages.

use std::alloc::System;
use std::time::Duration;

use deltawire_bulk::{Bulk, BulkOptions, Existing, FileName, Proposal, Sink, Source};
use deltawire_channels::Peer;
use deltawire_link::Link;
use deltawire_node::{Admission, Node};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// 4,096 pieces: more hashes than are kept in memory.
const LEN: u64 = 256 << 20;

const MESSAGE: usize = 65_552;

fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

/// The most that is held while `work` goes on, beyond what was held before.
async fn most<T>(work: impl Future<Output = T>) -> (T, usize) {
    let before = held();
    let mut most = 0;
    let watching = async {
        loop {
            most = most.max(held().saturating_sub(before));
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = watching => unreachable!(),
    };
    (done, most)
}

async fn link(nodes: &[Node; 2], url: &str) -> [(Peer, Link); 2] {
    let (near, far) = tokio::join!(nodes[0].connect(url), nodes[1].accept());
    [near.unwrap(), far.unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_takes_at_most_256_kib_at_each_end_beyond_its_session() {
    let folder = std::env::temp_dir().join(format!("deltawire-bulk-memory-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("to")).unwrap();
    let source = folder.join("a");
    // Long, and hardly on the disk.
    std::fs::File::create(&source).unwrap().set_len(LEN).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let far = Node::builder().accept_tcp(any, Admission::anyone()).build().unwrap();
    let nodes = [Node::builder().build().unwrap(), far];
    let url = format!("tcp://{}", nodes[1].tcp_address().unwrap());

    // A session by itself, with as much on its way as bulk asks for.
    let [(near, near_link), (far, far_link)] = link(&nodes, &url).await;
    let (Peer { mut send, .. }, Peer { mut receive, .. }) = (near, far);
    let ((), session) = most(async {
        let sending = tokio::spawn(async move {
            for _ in 0..LEN / MESSAGE as u64 {
                let grant = send.reserve_opaque(MESSAGE).await.unwrap();
                grant.commit(MESSAGE).unwrap();
            }
            send
        });
        // Four are held at a time, as an application does that writes them.
        let mut held = std::collections::VecDeque::new();
        for _ in 0..LEN / MESSAGE as u64 {
            held.push_back(receive.take().await.unwrap());
            if held.len() > 4 {
                held.pop_front();
            }
        }
        drop(sending.await.unwrap());
    })
    .await;
    drop((near_link, far_link));

    let [(near, near_link), (far, far_link)] = link(&nodes, &url).await;
    let ((), bulk) = most(async {
        let options = BulkOptions::default();
        let [here, there] =
            nodes.each_ref().map(|it| Bulk::new(it.runtime().clone(), options).unwrap());
        let (attending, receive) = (here.clone(), near.receive);
        tokio::spawn(async move { attending.attend(&near_link, receive).await });
        let (attending, receive) = (there.clone(), far.receive);
        tokio::spawn(async move { attending.attend(&far_link, receive).await });
        let sent = here.send(Source::file(&source), FileName::new("a").unwrap()).unwrap();
        let Some(Proposal::Offer(offer)) = there.proposals().await else { panic!("no offer") };
        let sink = Sink::folder(folder.join("to"), Existing::Refuse);
        let received = offer.accept(sink).unwrap();
        received.finished().await.unwrap();
        sent.finished().await.unwrap();
    })
    .await;
    println!("{} KiB as plain messages, {} KiB as bulk", session >> 10, bulk >> 10);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(bulk <= session + 2 * (256 << 10), "{bulk} beside {session}");
}
