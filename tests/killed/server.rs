//! The node whose peers are killed.

use std::collections::BTreeSet;
use std::future::Future;
use std::process::{Child, Command};
use std::time::Duration;

use deltawire::signalling::{Rate, SignallingOptions, SignallingServer};
use deltawire::{LinkEnded, Node, NodeEvent};
use deltawire_channels::session::{Closed, ProtocolError};
use deltawire_channels::{Limits, Peer};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::held::Held;
use crate::peer::{drain, flood};

const IDLE: Duration = Duration::from_secs(2);
/// Killed at once.
const CROWD: usize = 10;
/// What is allocated once is there after so many.
const WARM_UP: usize = 20;
const KILLED: usize = 50;
/// What the allocator may keep for itself, KiB: up to 4.6 MiB were seen. A peer takes 1.1 MiB at
/// least, so one in ten that is not freed is too much.
const TOLERANCE: u64 = 8 << 10;

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(30), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited 30 s for {what}"),
    }
}

/// A process that is killed at the latest when this is dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL. It may have ended by itself, when the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(url: &str) -> Process {
    let program = std::env::current_exe().unwrap();
    Process(Command::new(program).env(crate::URL, url).spawn().unwrap())
}

pub(crate) fn killed_peers_leave_nothing_behind() {
    // One thread, so that the allocator has one arena, whose size says something.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let limits = Limits { idle_timeout: IDLE, ..Limits::default() };
        let listen = ([127, 0, 0, 1], 0).into();
        let node = Node::builder().resume(None).listen(listen).limits(limits).build().unwrap();
        let rate = Rate { refill: Duration::ZERO, ..Rate::default() };
        let router = node.router(SignallingOptions { rate, ..SignallingOptions::default() });
        let server = SignallingServer::bind(listen, router).await.unwrap();
        let url = format!("http://{}/webrtc", server.local_addr());
        tokio::spawn(server.serve(std::future::pending()));
        let base = Held::now();
        for _ in 0..WARM_UP / CROWD {
            kill_a_crowd(&node, &url, base).await;
        }
        // What was said last to those who do not hear it is given up after a second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = Held::now();
        for _ in 0..KILLED / CROWD {
            kill_a_crowd(&node, &url, base).await;
        }
        let enough = before.resident + TOLERANCE;
        let freed = async {
            while Held::now().resident > enough {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // When it never is, the assertion says by how much.
        let _ = timeout(Duration::from_secs(10), freed).await;
        let after = Held::now();
        println!("{before:?} before {KILLED} were killed, {after:?} after");
        assert_eq!((after.files, after.tasks), (before.files, before.tasks));
        assert!(after.resident <= enough, "{before:?}, then {after:?}");
    });
}

/// Several peers at once: each is in the middle of a transfer when it is killed.
async fn kill_a_crowd(node: &Node, url: &str, base: Held) {
    let processes: Vec<_> = (0..CROWD).map(|_| start(url)).collect();
    let (busy, mut are_busy) = tokio::sync::mpsc::channel(CROWD);
    let mut transfers = JoinSet::new();
    let mut expected = BTreeSet::new();
    for _ in 0..CROWD {
        let (peer, link) = soon("a peer", node.accept()).await.unwrap();
        expected.insert(link.id());
        let Peer { mut send, mut receive, command } = peer;
        let busy = busy.clone();
        transfers.spawn(async move {
            let _command = command;
            let told = |count| {
                if count == 50 {
                    busy.try_send(Ok(())).unwrap();
                }
            };
            tokio::join!(flood(&mut send), drain(&mut receive, told));
            let ended = link.closed().await;
            // Nobody looks at it once all were busy.
            let _ = busy.try_send(Err((ended.clone(), link.stats())));
            ended
        });
    }
    for _ in 0..CROWD {
        let Ok(busy) = timeout(Duration::from_secs(30), are_busy.recv()).await else {
            let stats: Vec<_> = node.peers().iter().map(|info| info.link.stats()).collect();
            panic!("waited 30 s for a transfer to be under way: {stats:#?}");
        };
        busy.unwrap().expect("it is up until it is killed");
    }
    drop(processes);

    let timed_out = LinkEnded::Session(Closed::Error(ProtocolError::TimedOut(IDLE)));
    while !expected.is_empty() {
        match soon("the end of a link", node.event()).await {
            NodeEvent::Up { id, .. } => assert!(expected.contains(&id)),
            NodeEvent::Down { id, ended, .. } => {
                assert!(expected.remove(&id), "{id} ended twice, or is nobody's");
                assert_eq!(ended, timed_out);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(node.peers().is_empty());
    for ended in soon("the transfers' ends", transfers.join_all()).await {
        assert_eq!(ended, timed_out);
    }
    // The tasks of signalling see their connections end a moment later.
    soon("everything to be free", async {
        while (Held::now().tasks, Held::now().files) != (base.tasks, base.files) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
