//! A server that moves segments into another directory loses nothing when it is killed in the middle of that, nor when that
//! directory is away for a while. `ARCHIVE_KILLS=200 cargo test -p deltawire-server --test archived` for long.

mod common;
mod running;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, Directory, document, soon};
use running::Running;

/// An acknowledged delta: position and payload.
type Stored = (u64, Vec<u8>);

/// What there is to move, often: a segment is full after some 40 deltas.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("DELTAWIRE_HUB__SHARDS", "1"),
    ("DELTAWIRE_STORE__DURABILITY", "page-cache"),
    ("DELTAWIRE_STORE__SEGMENT", "1MiB"),
    ("DELTAWIRE_STORE__CHUNK", "64KiB"),
    ("DELTAWIRE_STORE__MAX_RECORD", "64KiB"),
    ("DELTAWIRE_STORE__MAX_HOT_BYTES", "1MiB"),
    ("DELTAWIRE_STORE__MAX_DIRTY_BYTES", "256KiB"),
    ("DELTAWIRE_STORE__MAX_COLD_BYTES", "1MiB"),
    ("DELTAWIRE_STORE__ARCHIVE__KEEP_BYTES", "0"),
    ("DELTAWIRE_LIMITS__MAX_BODY", "32KiB"),
];

async fn start(directory: &Directory, more: &[(&str, &str)]) -> Running {
    let objects = directory.0.join("objects");
    let objects = objects.to_str().unwrap().to_owned();
    let mut environment = ENVIRONMENT.to_vec();
    environment.extend_from_slice(more);
    environment.push(("DELTAWIRE_STORE__ARCHIVE__DIRECTORY", &objects));
    Running::start_at(&directory.0.join("log"), &[], 0, &environment).await
}

fn payload(life: u32, number: u32) -> Vec<u8> {
    let mut bytes = format!("{life}/{number}/").into_bytes();
    bytes.resize(20_000 + (number as usize * 131) % 10_000, number as u8);
    bytes
}

/// Posts one delta after the other until the server is gone: each to the document that is kept, or else only every so many,
/// the others to one that is deleted now and then.
async fn write(client: Client, life: u32, every: u32, stored: Arc<Mutex<Vec<Stored>>>) {
    for number in 0.. {
        let payload = payload(life, number);
        if number % every != 0 {
            let path = format!("/documents/{}", document(2));
            let request = match number % 150 {
                149 => client.request("DELETE", &path),
                _ => client.request("POST", &format!("{path}/deltas")).body(payload),
            };
            if request.send().await.is_err() {
                return;
            }
            continue;
        }
        let path = format!("/documents/{}/deltas?wait=stored", document(1));
        let Ok(answer) = client.request("POST", &path).body(payload.clone()).send().await else {
            return;
        };
        let status = answer.status().as_u16();
        let Ok(text) = answer.text().await else { return };
        if status == 503 {
            // The disk is slower than this.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        assert_eq!(status, 201, "{text}");
        let placed: serde_json::Value = serde_json::from_str(&text).unwrap();
        stored.lock().unwrap().push((placed["position"].as_u64().unwrap(), payload));
    }
}

/// Everything that was stored is there, once, at its place.
async fn check(client: &Client, stored: &[Stored]) {
    let mut found = Vec::new();
    loop {
        let part = client.deltas(document(1), &format!("?from={}", found.len() + 1)).await;
        if part.is_empty() {
            break;
        }
        found.extend(part);
    }
    assert!(found.iter().zip(1..).all(|(line, position)| line.position == position));
    for (position, payload) in stored {
        let line = &found[*position as usize - 1];
        assert!(line.payload == *payload, "another one is at {position}");
    }
    let mut payloads: Vec<_> = found.iter().map(|line| &line.payload).collect();
    payloads.sort_unstable();
    payloads.dedup();
    assert_eq!(payloads.len(), found.len(), "one is there twice");
}

/// Compacted segments: by the version in their headers.
fn compacted(folder: &Path) -> usize {
    let Ok(found) = fs::read_dir(folder) else { return 0 };
    let is_one = |path: std::path::PathBuf| {
        let bytes = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap_or_default() };
        usize::from(bytes.starts_with(b"DLS1\x02"))
    };
    found.map(|it| is_one(it.unwrap().path())).sum()
}

fn files(folder: &Path, extension: &str) -> usize {
    let Ok(found) = fs::read_dir(folder) else { return 0 };
    let entries = found.map(|it| it.unwrap().path());
    let count = |path: std::path::PathBuf| {
        if path.is_dir() {
            files(&path, extension)
        } else {
            usize::from(path.extension().is_some_and(|it| it == extension))
        }
    };
    entries.map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_there_though_the_server_is_killed_while_it_moves_it() {
    let kills: u32 = std::env::var("ARCHIVE_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let directory = Directory::new("archived");
    let (log, objects) = (directory.0.join("log"), directory.0.join("objects"));
    fs::create_dir_all(&objects).unwrap();
    let mut random = fastrand::Rng::with_seed(u64::from(kills));
    let stored = Arc::new(Mutex::new(Vec::new()));
    for life in 0..kills {
        let server = start(&directory, &[]).await;
        let client = Client::at(&server.base);
        if life % 4 == 3 {
            let stored = stored.lock().unwrap().clone();
            check(&client, &stored).await;
        }
        let writing = tokio::spawn(write(client, life, 1, stored.clone()));
        tokio::time::sleep(Duration::from_millis(random.u64(150..800))).await;
        server.kill();
        soon("end", writing).await.unwrap();
    }
    let stored = stored.lock().unwrap().clone();
    let server = start(&directory, &[]).await;
    let client = Client::at(&server.base);
    check(&client, &stored).await;
    let (here, there) = (files(&log, "archived"), files(&objects, "segment"));
    println!("{} stored, {kills} kills, {here} segments archived, {there} objects", stored.len());
    assert!(here > 2 && there >= here);

    // The archive is away: what is there is waited for, and everything else goes on.
    let away = directory.0.join("away");
    fs::rename(&objects, &away).unwrap();
    fs::create_dir(&objects).unwrap();
    let waiting = {
        let (client, stored) = (client.clone(), stored.clone());
        tokio::spawn(async move { check(&client, &stored).await })
    };
    let mut server = server;
    server.says("could not read the object store").await;
    let (status, placed) = client.post(document(2), "?wait=stored", b"meanwhile").await;
    assert_eq!((status, &placed["level"]), (201, &"stored".into()));
    fs::remove_dir(&objects).unwrap();
    fs::rename(&away, &objects).unwrap();
    soon("reader", waiting).await.unwrap();
    server.says("the object store answers again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_there_though_the_server_is_killed_while_it_compacts() {
    let kills: u32 = std::env::var("ARCHIVE_KILLS").map_or(4, |kills| kills.parse().unwrap());
    let directory = Directory::new("compacted");
    let log = directory.0.join("log");
    fs::create_dir_all(directory.0.join("objects")).unwrap();
    let more = [
        ("DELTAWIRE_STORE__COMPACT_BELOW", "60"),
        ("DELTAWIRE_STORE__ARCHIVE__KEEP_BYTES", "6MiB"),
    ];
    let mut random = fastrand::Rng::with_seed(u64::from(kills));
    let stored = Arc::new(Mutex::new(Vec::new()));
    let mut found = 0;
    for life in 0..kills {
        let server = start(&directory, &more).await;
        let client = Client::at(&server.base);
        let before = stored.lock().unwrap().clone();
        if !before.is_empty() {
            check(&client, &before).await;
        }
        let writing = tokio::spawn(write(client, life, 20, stored.clone()));
        // Once a second it is looked for what is to be compacted.
        tokio::time::sleep(Duration::from_millis(random.u64(1_000..2_200))).await;
        server.kill();
        soon("end", writing).await.unwrap();
        found += compacted(&log.join("0000"));
    }
    let stored = stored.lock().unwrap().clone();
    let server = start(&directory, &more).await;
    check(&Client::at(&server.base), &stored).await;
    let there = files(&log, "archived");
    println!(
        "{} stored, {kills} kills, {found} compacted segments, {there} archived",
        stored.len()
    );
    assert!(found > 0 && there > 0);
    assert!(!server.log().contains("damaged"));
}
