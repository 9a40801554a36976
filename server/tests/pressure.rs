//! What the program does when it gets no more of what it needs: disk, descriptors. It goes on when there is some again, and
//! what it said to be stored is there.

#![cfg(target_os = "linux")]

mod common;
mod running;

use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Client, Directory, document, soon};
use running::Running;
use tokio::net::TcpStream;

const SMALL: [(&str, &str); 6] = [
    ("DELTAWIRE_STORE__SEGMENT", "1MiB"),
    ("DELTAWIRE_STORE__CHUNK", "64KiB"),
    ("DELTAWIRE_STORE__MAX_RECORD", "256KiB"),
    ("DELTAWIRE_LIMITS__MAX_BODY", "128KiB"),
    ("DELTAWIRE_HUB__SHARDS", "1"),
    ("DELTAWIRE_LIMITS__STORED_TIMEOUT", "1s"),
];

/// Says, with the value "no", to do without tests that need namespaces.
const NAMESPACES: &str = "DELTAWIRE_TEST_NAMESPACES";

/// The program, started by a shell that has prepared something: `$0` is the directory, `$@` the program.
fn prepared(unshared: bool, script: &str, directory: &Directory) -> Command {
    let program = env!("CARGO_BIN_EXE_deltawire-server");
    let mut command = Command::new(if unshared { "unshare" } else { "sh" });
    if unshared {
        command.args(["-rm", "sh"]);
    }
    command.arg("-c").arg(format!("set -e; {script}; exec \"$@\"")).arg(&directory.0).arg(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).stdin(Stdio::null());
    command
}

fn payload(number: u32) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(60_000, number as u8);
    payload
}

/// Each payload that was stored is there, once.
async fn check(client: &Client, stored: &[u32]) {
    let found = client.deltas(document(1), "?limit=100000").await;
    for number in stored {
        let count = found.iter().filter(|line| line.payload == payload(*number)).count();
        assert_eq!(count, 1, "{number} is there {count} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_up_writers_until_there_is_room() {
    let directory = Directory::new("full");
    let script =
        "mount -t tmpfs -o size=12m none \"$0\"; head -c 8000000 /dev/zero > \"$0/ballast\"";
    if std::env::var(NAMESPACES).as_deref() == Ok("no") {
        println!("NOT RUN, because {NAMESPACES} is \"no\"");
        return;
    }
    let works = Command::new("unshare").args(["-rm", "true"]).status();
    assert!(
        works.is_ok_and(|status| status.success()),
        "this test needs namespaces (Debian: util-linux). Where they are not to be had, set {NAMESPACES}=no to do \
         without it"
    );
    let data = directory.0.join("data");
    let command = prepared(true, script, &directory);
    let running = Running::start_by(command, &data, &[], 0, &SMALL).await;
    let client = Client::at(&running.base);
    let mut follower = client.follow(document(1), "").await;
    let (mut stored, mut full, mut sent) = (Vec::new(), 0, 0_u32);
    while full < 3 {
        let (status, answer) = client.post(document(1), "?wait=stored", &payload(sent)).await;
        match status {
            201 => stored.push(sent),
            // Not stored in time, or no room to wait in.
            504 | 503 => full += 1,
            _ => panic!("{status} {answer}"),
        }
        sent += 1;
        assert!(sent < 1_000, "the disk does not get full");
    }
    assert!(stored.len() > 20, "{}", stored.len());
    // Readers go on.
    check(&client, &stored).await;
    assert_eq!(soon("delta", follower.delta()).await.payload, payload(0));
    let file = running.proc().join("root").join(directory.0.strip_prefix("/").unwrap());
    std::fs::remove_file(file.join("ballast")).unwrap();
    soon("room", async {
        loop {
            let (status, answer) = client.post(document(1), "?wait=stored", &payload(sent)).await;
            sent += 1;
            if status == 201 {
                return;
            }
            assert!(matches!(status, 503 | 504), "{status} {answer}");
        }
    })
    .await;
    stored.push(sent - 1);
    check(&client, &stored).await;
    let (status, _) = client.answer("GET", "/ready").await;
    assert_eq!(status, 200, "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_it_waits_for_some() {
    let directory = Directory::new("descriptors");
    let mut environment = SMALL.to_vec();
    environment.push(("DELTAWIRE_LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "1000"));
    // Connections that say nothing are let go after this.
    environment.push(("DELTAWIRE_LIMITS__HEAD_TIMEOUT", "3s"));
    let command = prepared(false, "ulimit -n 80", &directory);
    let running = Running::start_by(command, &directory.0, &[], 0, &environment).await;
    let client = Client::at(&running.base);
    let (mut stored, mut sent) = (Vec::new(), 0_u32);
    assert_eq!(client.post(document(1), "?wait=stored", &payload(sent)).await.0, 201);
    stored.push(sent);
    // More connections than it has descriptors for.
    let address = running.base.trim_start_matches("http://").to_owned();
    let mut connections = Vec::new();
    for _ in 0..200 {
        connections.push(soon("connection", TcpStream::connect(&address)).await.unwrap());
    }
    // The one that is open goes on, and with it segments that have to be made.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        sent += 1;
        let answer =
            client.request("POST", &format!("/documents/{}/deltas?wait=stored", document(1)));
        let answer = answer.body(payload(sent)).timeout(Duration::from_secs(20)).send().await;
        // It may be a new connection, which waits.
        let Ok(answer) = answer else { continue };
        match answer.status().as_u16() {
            201 => stored.push(sent),
            503 | 504 => {}
            other => panic!("{other}"),
        }
    }
    drop(connections);
    soon("answer", async {
        loop {
            sent += 1;
            if client.post(document(1), "?wait=stored", &payload(sent)).await.0 == 201 {
                return;
            }
        }
    })
    .await;
    stored.push(sent);
    assert!(stored.len() > 2, "{}", running.log());
    check(&client, &stored).await;
    assert!(!running.log().contains("read-only"), "{}", running.log());
    assert!(running.log().contains("Too many open files"), "there were enough descriptors");
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_at_once_are_served_or_sent_away() {
    let directory = Directory::new("thousands");
    let environment = [
        ("DELTAWIRE_LIMITS__MAX_CONNECTIONS", "256"),
        ("DELTAWIRE_LIMITS__MAX_CONNECTIONS_PER_ADDRESS", "256"),
    ];
    let running = Running::start_at(&directory.0, &[], 0, &environment).await;
    let client = Client::at(&running.base);
    assert_eq!(client.post(document(1), "?wait=stored", &payload(0)).await.0, 201);
    let mut asking = Vec::new();
    for _ in 0..2_000 {
        // A connection each.
        let client = Client::at(&running.base);
        asking.push(tokio::spawn(async move {
            let path = format!("/documents/{}", document(1));
            client.request("GET", &path).send().await.map(|answer| answer.status().as_u16())
        }));
    }
    let (mut served, mut refused) = (0, 0);
    for asked in asking {
        match soon("end", asked).await.unwrap() {
            Ok(200) => served += 1,
            // Too many together, or from one address.
            Ok(503 | 429) | Err(_) => refused += 1,
            Ok(other) => panic!("{other}"),
        }
    }
    assert!(served >= 256, "{served} served, {refused} refused");
    let later = Client::at(&running.base);
    soon("answer", async {
        loop {
            let path = format!("/documents/{}", document(1));
            let answer = later.request("GET", &path).send().await;
            if answer.is_ok_and(|answer| answer.status().as_u16() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    println!("{served} served, {refused} refused");
}
