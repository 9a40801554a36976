//! The program: what it says of configurations, and how it answers signals.

mod common;

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{Client, Directory, document, soon};
use running::Running;

mod running;

fn check(text: &str, environment: &[(&str, &str)]) -> Output {
    let directory = Directory::new(&format!("check-{:?}", std::thread::current().id()));
    let path = directory.0.join("deltawire.toml");
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    running::program()
        .args(["--check", "--config", "deltawire.toml"])
        .current_dir(&directory.0)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn check_says_what_is_wrong_with_its_line() {
    let good = check(include_str!("../deltawire.example.toml"), &[]);
    assert!(good.status.success(), "{good:?}");
    let none = running::program().arg("--check").output().unwrap();
    assert!(none.status.success(), "{none:?}");
    for (text, environment, message) in [
        (
            "[hub]\ntial = \"1MiB\"",
            &[][..],
            "deltawire.toml:2:1: hub.tial: unknown key; did you mean hub.tail?",
        ),
        (
            "\n[hub]\nmax_peers = \"x\"",
            &[],
            "deltawire.toml:3:13: hub.max_peers: invalid type: string \"x\", expected u64",
        ),
        (
            "",
            &[("DELTAWIRE_SERVER__HTTP", "nowhere")],
            "DELTAWIRE_SERVER__HTTP: server.http: \"nowhere\" is no address with a port, such as 127.0.0.1:8080",
        ),
    ] {
        let output = check(text, environment);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8(output.stderr).unwrap().trim_end(), message);
    }
    let missing =
        running::program().args(["--check", "--config", "/nowhere.toml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        String::from_utf8(missing.stderr).unwrap().starts_with("/nowhere.toml:1:1: cannot be read")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_in_order() {
    let directory = Directory::new("sigterm");
    let mut expected = Vec::new();
    for round in 0..3_u8 {
        let mut running = Running::start(&directory.0, &[]).await;
        let client = Client::at(&running.base);
        for number in 0..50_u8 {
            // Not waited for: it is the end that stores them.
            assert_eq!(client.post(document(1), "", &[round, number]).await.0, 201);
            expected.push(vec![round, number]);
        }
        let mut follower = client.follow(document(1), "&from=latest").await;
        let waiting = client.post(document(2), "?wait=stored", &[round]).await;
        assert_eq!(waiting.0, 201);
        running.signal(rustix::process::Signal::TERM);
        let status = running.ended().await;
        assert_eq!(status.code(), Some(0), "{}", running.log());
        assert!(running.log().contains("\"stored\":true"), "{}", running.log());
        while let Some(line) = follower.line().await {
            assert!(line.get("live").is_some(), "{line}");
        }
    }
    let running = Running::start(&directory.0, &[]).await;
    let client = Client::at(&running.base);
    let deltas = client.deltas(document(1), "?limit=1000").await;
    let found: Vec<_> = deltas.iter().map(|line| line.payload.clone()).collect();
    assert_eq!(found, expected);
    // It was closed in order each time: positions mean the same.
    assert!(deltas.iter().all(|line| line.epoch == deltas[0].epoch));
    // Another one keeps off.
    let second = running::program()
        .env("DELTAWIRE_STORE__DIRECTORY", &directory.0)
        .env("DELTAWIRE_SERVER__HTTP", "127.0.0.1:0")
        .env("DELTAWIRE_SERVER__LISTEN", "off")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("store.directory") && said.contains("locked"), "{said}");
    let address = running.base.trim_start_matches("http://").to_owned();
    let third = running::program()
        .env("DELTAWIRE_SERVER__HTTP", &address)
        .env("DELTAWIRE_SERVER__LISTEN", "off")
        .output();
    let third = third.unwrap();
    assert_eq!(third.status.code(), Some(2));
    assert!(String::from_utf8(third.stderr).unwrap().contains("is in use"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_exchanges_tokens_and_says_what_needs_a_restart() {
    let directory = Directory::new("sighup");
    let path = directory.0.join("deltawire.toml");
    let write = |token: &str, tail: &str| {
        let text = format!(
            "[server]\ntokens = [{{ token = \"{token}\", name = \"alice\" }}]\n[hub]\ntail = \"{tail}\"\n"
        );
        std::fs::write(&path, text).unwrap();
    };
    write("old", "256KiB");
    let data = directory.0.join("data");
    let mut running = Running::start(&data, &["--config", path.to_str().unwrap()]).await;
    let client = Client::at(&running.base);
    let (old, new) = (client.with("old"), client.with("new"));
    assert_eq!(old.post(document(1), "", b"a").await.0, 201);
    assert_eq!(new.post(document(1), "", b"a").await.0, 401);
    write("new", "512KiB");
    running.signal(rustix::process::Signal::HUP);
    soon("new token", async {
        while new.post(document(1), "", b"b").await.0 != 201 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(old.post(document(1), "", b"a").await.0, 401);
    running.says("these need a restart").await;
    assert!(running.log().contains("hub.tail"), "{}", running.log());
    // What is wrong changes nothing.
    std::fs::write(&path, "[sever]\n").unwrap();
    running.signal(rustix::process::Signal::HUP);
    running.says("did you mean server?").await;
    assert_eq!(new.post(document(1), "", b"c").await.0, 201);
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.ended().await.code(), Some(0), "{}", running.log());
}

#[test]
fn a_bad_start_is_said_and_not_tried_again() {
    let output = Command::new(env!("CARGO_BIN_EXE_deltawire-server"))
        .env_clear()
        .env("DELTAWIRE_STORE__DIRECTORY", "/proc/nowhere")
        .env("DELTAWIRE_SERVER__HTTP", "127.0.0.1:0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("store.directory: could not"), "{said}");
}
