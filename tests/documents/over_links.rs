use deltawire::documents::{AttendError, SubscribeOptions, keep};

use super::*;

fn url(address: SocketAddr) -> String {
    format!("http://{address}/webrtc")
}

/// Documents that are kept attended by a node of their own.
fn connect(address: SocketAddr, kind: &str) -> (Documents, Node) {
    let node = Node::builder().prefer_links([kind]).build().unwrap();
    let documents = Documents::new(node.runtime().clone(), DocumentsOptions::default());
    let (keeping, keeper) = (documents.clone(), node.clone());
    tokio::spawn(async move { keep(&keeper, &url(address), &keeping).await });
    (documents, node)
}

#[tokio::test]
async fn what_one_publishes_all_read_in_order_over_every_kind_of_link() {
    let hub = hub();
    let (_node, address) = serve_hub(&hub).await;
    for (index, kind) in ["websocket", "webrtc"].into_iter().enumerate() {
        let doc_id = DocId([index as u8 + 1; 16]);
        let (writer, _writer_node) = connect(address, kind);
        let (reader, _reader_node) = connect(address, kind);
        let mut publisher = writer.publish(doc_id).unwrap();
        let mut subscription = reader.subscribe(doc_id, SubscribeOptions::default()).unwrap();
        let lens = [0, 1, 100, 1_000, 20_000, 300_000];
        let sending = async {
            for (number, len) in lens.iter().cycle().take(120).enumerate() {
                soon("room", publisher.publish(&vec![number as u8; *len])).await.unwrap();
            }
            soon("flush", publisher.flush()).await.unwrap();
        };
        let reading = async {
            for (number, len) in lens.iter().cycle().take(120).enumerate() {
                let (place, payload) = next_delta(&mut subscription).await;
                assert_eq!(place.position, number as u64 + 1);
                assert!(payload.len() == *len && payload.iter().all(|it| *it == number as u8));
            }
        };
        tokio::join!(sending, reading);
    }
}

#[tokio::test]
async fn both_go_on_over_the_next_link_without_loss_or_repetition() {
    let hub = hub();
    let (node, address) = serve_hub(&hub).await;
    let (writer, _writer_node) = connect(address, "websocket");
    let (reader, _reader_node) = connect(address, "websocket");
    let mut publisher = writer.publish(BOARD).unwrap();
    let mut subscription = reader.subscribe(BOARD, SubscribeOptions::default()).unwrap();
    const COUNT: u32 = 20_000;
    let sending = async {
        for number in 0..COUNT {
            soon("room", publisher.publish(&number.to_le_bytes())).await.unwrap();
        }
        soon("flush", publisher.flush()).await.unwrap();
    };
    let reading = async {
        for number in 0..COUNT {
            let (place, payload) = next_delta(&mut subscription).await;
            assert_eq!(
                (place.position, payload),
                (u64::from(number) + 1, number.to_le_bytes().to_vec())
            );
        }
    };
    let cutting = async {
        // Links end in the middle of it.
        for round in 0..8 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            for peer in node.peers().into_iter().skip(round % 2) {
                // Without waiting for what was committed.
                peer.link.close(CloseCode(300), "cut");
                peer.link.cut_short();
            }
        }
    };
    tokio::join!(sending, reading, cutting);
}

#[tokio::test]
async fn a_node_without_a_hub_is_named() {
    let node = Node::builder().listen((Ipv4Addr::LOCALHOST, 0).into()).build().unwrap();
    let router = node.router(SignallingOptions::default());
    let server = SignallingServer::bind((Ipv4Addr::LOCALHOST, 0).into(), router).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    let client = Node::builder().build().unwrap();
    let documents = Documents::new(client.runtime().clone(), DocumentsOptions::default());
    let kept = soon("answer", keep(&client, &url(address), &documents)).await;
    assert_eq!(kept.unwrap_err(), AttendError::NotServed);
}
