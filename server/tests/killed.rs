//! What the program said to be stored is there after `kill -9` under load, and nothing is there twice. Acknowledgements are
//! checked from outside: those of requests over HTTP, and those of a writer over WebSocket that lives through all of it.
//! `SERVER_KILLS=200 cargo test -p deltawire-server --test killed` for long.

mod common;
mod running;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, Directory, document, documents, soon};
use deltawire_hub::{Item, SubscribeOptions};
use running::Running;

const WRITERS: u8 = 6;
const DOCUMENTS: u8 = 3;

/// An acknowledged delta: document, epoch, position, payload.
type Stored = (u8, u64, u64, Vec<u8>);

fn payload(kill: u32, writer: u8, number: u32) -> Vec<u8> {
    let mut bytes = format!("{kill}/{writer}/{number}/").into_bytes();
    bytes.resize(bytes.len() + (number as usize * 131) % 1_500, writer);
    bytes
}

/// Posts one delta after the other until the server is gone. Each is sent once.
async fn write(client: Client, kill: u32, writer: u8, stored: Arc<Mutex<Vec<Stored>>>) {
    for number in 0.. {
        let (of, payload) = (writer % DOCUMENTS, payload(kill, writer, number));
        // Of some it does not matter whether they are stored.
        let query = if number % 4 == 3 { "" } else { "?wait=stored" };
        let path = format!("/documents/{}/deltas{query}", document(of));
        let Ok(answer) = client.request("POST", &path).body(payload.clone()).send().await else {
            return;
        };
        let status = answer.status().as_u16();
        let Ok(text) = answer.text().await else { return };
        assert_eq!(status, 201, "{text}");
        let placed: serde_json::Value = serde_json::from_str(&text).unwrap();
        if placed["level"] == "stored" {
            let (epoch, position) = (&placed["epoch"], &placed["position"]);
            let place = (epoch.as_u64().unwrap(), position.as_u64().unwrap());
            stored.lock().unwrap().push((of, place.0, place.1, payload));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_there_once() {
    let kills: u32 = std::env::var("SERVER_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let directory = Directory::new("killed");
    // The same for all lives, so that the writer over WebSocket finds it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Client::at(&format!("http://127.0.0.1:{port}"));
    let (_node, through) = documents(&client.base, None).await;
    let mut random = fastrand::Rng::with_seed(u64::from(kills));
    let stored = Arc::new(Mutex::new(Vec::new()));
    // Over WebSocket: it goes on through all lives, and sends again what was not acknowledged.
    let own = document(100);
    let mut publisher = through.publish(own).unwrap();
    let publishing = tokio::spawn(async move {
        let mut receipts = Vec::new();
        for number in 0_u32.. {
            let Ok(receipt) = publisher.publish(&number.to_le_bytes()).await else { break };
            receipts.push(receipt);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        receipts
    });
    let mut subscription = through.subscribe(own, SubscribeOptions::default()).unwrap();
    let live = Arc::new(Mutex::new((0_u32, 0_u32)));
    let seen = live.clone();
    let reading = tokio::spawn(async move {
        while let Ok(item) = subscription.next().await {
            match item {
                Item::Delta { message, .. } => {
                    let bytes = message.delta().unwrap().payload().try_into().unwrap();
                    seen.lock().unwrap().0 = u32::from_le_bytes(bytes);
                }
                Item::Gap(_) => seen.lock().unwrap().1 += 1,
                _ => {}
            }
        }
    });
    let environment = [
        ("DELTAWIRE_STORE__SEGMENT", "1MiB"),
        ("DELTAWIRE_STORE__CHUNK", "64KiB"),
        ("DELTAWIRE_STORE__MAX_RECORD", "256KiB"),
        ("DELTAWIRE_LIMITS__MAX_BODY", "128KiB"),
        ("DELTAWIRE_HUB__SHARDS", "2"),
    ];
    let durabilities = ["grouped", "page-cache", "each"];
    for kill in 0..=kills {
        let durability = durabilities[kill as usize % durabilities.len()];
        let mut variables = environment.to_vec();
        variables.push(("DELTAWIRE_STORE__DURABILITY", durability));
        let running = Running::start_at(&directory.0, &[], port, &variables).await;
        let so_far = stored.lock().unwrap().clone();
        check(&client, &so_far, kill).await;
        if kill == kills {
            // The last one is for looking.
            through_all(&client, own, publishing, &through).await;
            let (last, gaps) = *live.lock().unwrap();
            let stored = stored.lock().unwrap().len();
            println!(
                "{kills} kills, {stored} posts stored, {last} published and read live, {gaps} gaps told"
            );
            assert!(stored > kills as usize, "the load did something");
            reading.abort();
            running.kill();
            return;
        }
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(client.clone(), kill, writer, stored.clone())))
            .collect();
        tokio::time::sleep(Duration::from_millis(random.u64(100..900))).await;
        running.kill();
        for writer in writers {
            soon("end of a writer", writer).await.unwrap();
        }
    }
}

/// Everything that was acknowledged is where it was said to be, and no payload is there twice.
async fn check(client: &Client, stored: &[Stored], kill: u32) {
    for of in 0..DOCUMENTS {
        let (status, _) = client.answer("GET", &format!("/documents/{}", document(of))).await;
        let found = match status {
            404 => Vec::new(),
            _ => client.deltas(document(of), "?limit=10000000").await,
        };
        let mut places = HashMap::new();
        for line in &found {
            let before = places.insert(line.payload.clone(), line.position);
            assert_eq!(before, None, "kill {kill}: there twice");
        }
        for (_, _, position, payload) in stored.iter().filter(|(it, ..)| *it == of) {
            let name = String::from_utf8_lossy(&payload[..payload.len().min(16)]);
            assert_eq!(places.get(payload), Some(position), "kill {kill}: {name} was stored");
        }
    }
}

/// What was published over WebSocket is there, each once and in order.
async fn through_all(
    client: &Client,
    own: deltawire_framing::DocId,
    publishing: tokio::task::JoinHandle<Vec<deltawire_hub::Receipt>>,
    documents: &deltawire_hub::Documents,
) {
    // Until the link is there again, and some more.
    soon("link", async {
        while !documents.is_attended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    documents.close();
    let receipts = soon("receipts", publishing).await.unwrap();
    let mut acknowledged = 0;
    for (number, receipt) in receipts.iter().enumerate() {
        if receipt.stored().await.is_ok() {
            acknowledged = number + 1;
        }
    }
    let found = client.deltas(own, "?limit=10000000").await;
    assert!(found.len() >= acknowledged, "{acknowledged} acknowledged, {} found", found.len());
    assert!(acknowledged > 100, "{acknowledged}");
    for (number, line) in found.iter().enumerate() {
        assert_eq!(line.payload, (number as u32).to_le_bytes(), "at {}", line.position);
    }
}
