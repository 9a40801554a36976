//! The host that stays, and the wire: all in a network namespace of its own.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deltawire::Node;
use deltawire::signalling::{SignallingOptions, SignallingServer};
use deltawire_channels::{Limits, Peer, Receiver, Sender};
use deltawire_framing::{DeltaFields, DocId};
use tokio::sync::Notify;

use crate::echo::IDLE;

/// The host that stays is at 10.9.0.1.
const HERE: [u8; 4] = [10, 9, 0, 1];

/// Kinds of links: one that goes on by itself from another address, and one whose session goes on over another link.
const KINDS: [&str; 2] = ["webrtc", "websocket"];

/// Before silence says that a link is gone, something else has.
const SOON: Duration = Duration::from_secs(15);
const _: () = assert!(SOON.as_secs() < IDLE.as_secs());

/// What becomes of the other host's address, one after the other.
const MOVES: [(&str, &[&str]); 4] = [
    (
        "another address",
        &["addr flush dev far0", "addr add 10.9.0.3/24 dev far0", "route add default via 10.9.0.1"],
    ),
    (
        "back to the old one",
        &["addr flush dev far0", "addr add 10.9.0.2/24 dev far0", "route add default via 10.9.0.1"],
    ),
    (
        "another network",
        &["addr flush dev far0", "addr add 10.8.0.2/24 dev far0", "route add default via 10.8.0.1"],
    ),
    // Without an address there is no way to send for a while.
    (
        "a wire that was out",
        &[
            "link set far0 down",
            "addr flush dev far0",
            "addr add 10.9.0.4/24 dev far0",
            "link set far0 up",
            "route add default via 10.9.0.1",
        ],
    ),
];

/// Deltas that go there and back between two moves.
const DELTAS: u64 = 300;
/// How many may be on their way.
const AHEAD: u64 = 100;

/// How far the exchange is.
#[derive(Default)]
struct Progress {
    came: Cell<u64>,
    changed: Notify,
    more: Notify,
}

/// The other host's process, which is killed at the latest when this is dropped.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn system(words: &str) {
    let mut all = words.split_whitespace();
    let status = Command::new(all.next().unwrap()).args(all).status().unwrap();
    assert!(status.success(), "{words}: {status}");
}

/// Runs `ip` in the other host's namespace.
fn there(host: &Host, words: &str) {
    system(&format!("nsenter -t {} -n ip {words}", host.0.id()));
}

/// The other host, on its end of the wire.
fn other_host(kind: &str) -> Host {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.arg("-n").arg(program).env(crate::ROLE, "echo").env(crate::KIND, kind);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut host = Host(child);
    let mut ready = String::new();
    BufReader::new(host.0.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready.trim(), "ready");
    system(&format!("ip link set far0 netns {}", host.0.id()));
    there(&host, "addr add 10.9.0.2/24 dev far0");
    there(&host, "link set far0 up");
    // Its way into the network beyond, of which it only looks where that begins.
    there(&host, "route add default via 10.9.0.1");
    host
}

pub(crate) fn run() {
    system("ip link set lo up");
    KINDS.into_iter().for_each(run_over);
}

fn run_over(kind: &str) {
    println!("over {kind}:");
    // The wire goes with the host at its other end.
    system("ip link add near0 type veth peer name far0");
    let mut host = other_host(kind);
    system("ip addr add 10.9.0.1/24 dev near0");
    system("ip addr add 10.8.0.1/24 dev near0");
    system("ip link set near0 up");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let limits = Limits { idle_timeout: IDLE, ..Limits::default() };
        let listen = (HERE, 0).into();
        let node = Node::builder().listen(listen).limits(limits).build().unwrap();
        let router = node.router(SignallingOptions::default());
        let server = SignallingServer::bind(listen, router).await.unwrap();
        let url = format!("http://{}/webrtc", server.local_addr());
        tokio::spawn(server.serve(std::future::pending()));
        host.0.stdin.as_mut().unwrap().write_all(format!("{url}\n").as_bytes()).unwrap();
        let (peer, link) = node.accept().await.unwrap();
        let Peer { send, receive, command } = peer;
        let (progress, all) = (Progress::default(), DELTAS * (MOVES.len() as u64 + 1));
        let exchange = async {
            tokio::join!(send_all(send, all, &progress), receive_all(receive, all, &progress))
        };
        tokio::select! {
            (_, _) = async { tokio::join!(exchange, move_about(&host, &progress)) } => {}
            ended = link.closed() => panic!("the link did not live: {ended}"),
        }
        drop(command);
        link.close(deltawire_framing::control::CloseCode(0), "");
        link.closed().await;
    });
    assert!(host.0.wait().unwrap().success());
    // It may have gone with its other end, which takes its time.
    let _ = Command::new("ip").args(["link", "del", "near0"]).stderr(Stdio::null()).status();
}

/// Sends numbered deltas, not too far ahead of what came back.
async fn send_all(mut sender: Sender, all: u64, progress: &Progress) -> Sender {
    for number in 0..all {
        while number > progress.came.get() + AHEAD {
            progress.more.notified().await;
        }
        let len = 8 + number as usize * 37 % 3_000;
        let mut grant = sender.reserve(len).await.unwrap();
        let payload = grant.payload_mut();
        payload.fill(number as u8);
        payload[..8].copy_from_slice(&number.to_le_bytes());
        grant.commit(DeltaFields::new(DocId([7; 16])), len).unwrap();
    }
    sender
}

/// Checks that each comes back once, in its place.
async fn receive_all(mut receiver: Receiver, all: u64, progress: &Progress) -> Receiver {
    for number in 0..all {
        let frame = receiver.next().await.unwrap();
        let delta = frame.delta().unwrap();
        delta.verify_checksum().unwrap();
        let (start, rest) = delta.payload().split_at(8);
        assert_eq!(u64::from_le_bytes(start.try_into().unwrap()), number);
        assert_eq!(rest.len(), number as usize * 37 % 3_000);
        assert!(rest.iter().all(|byte| *byte == number as u8), "delta {number} is damaged");
        progress.came.set(number + 1);
        progress.more.notify_one();
        progress.changed.notify_one();
    }
    receiver
}

/// Moves the other host while the exchange goes on.
async fn move_about(host: &Host, progress: &Progress) {
    let until = async |came| {
        while progress.came.get() < came {
            progress.changed.notified().await;
        }
    };
    for (round, (what, commands)) in (1..).zip(MOVES) {
        until(DELTAS * round - AHEAD).await;
        commands.iter().for_each(|words| there(host, words));
        let began = Instant::now();
        let moved_at = progress.came.get();
        // What was on its way when it moved, and more.
        until(moved_at + AHEAD + 1).await;
        assert!(began.elapsed() < SOON, "{what}: it went on by silence");
        println!(
            "{what}: went on after {:?}",
            Duration::from_millis(began.elapsed().as_millis() as u64)
        );
    }
}
