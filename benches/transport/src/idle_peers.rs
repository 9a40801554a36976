//! What peers cost that are connected and say nothing.
//!
//! The server is a process of its own, so that nothing else is in its memory, and the clients are
//! another. Both are this program again, told by the environment what to be.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, process, thread};

use anyhow::{Context, bail, ensure};
use deltawire::Admission;
use deltawire::prelude::*;
use tokio::task::JoinSet;

use crate::harness::Job;
use crate::measure::{allow_open_files, cpu_time, resident_bytes};
use crate::report::{Place, Table, metric};
use crate::{deltawire_pair, plan, set_up};

static TABLE: Table = Table {
    title: "Idle peers",
    notes: "A server's process, with clients in another: memory that it has more with them than \
            without, 3 s after the last connected, and its CPU time in the 10 s after that.",
    metrics: &[
        metric("peers"),
        metric("memory, MiB"),
        metric("KiB a peer"),
        metric("CPU, % of a core"),
        metric("until all are connected, s"),
    ],
    baseline: None,
};

/// The environment's variable that tells a process what to be.
const ROLE: &str = "DELTAWIRE_BENCH_ROLE";
/// A server gives up after so long.
const LIMIT: Duration = Duration::from_secs(90);
/// Clients that connect at a time.
const AT_A_TIME: usize = 16;
/// Files that a process has open beside a socket for each peer.
const OTHER_FILES: usize = 200;

/// Rows: what kind of link, and how many.
const ROWS: [(&str, &str, usize); 6] = [
    ("deltawire", "webrtc", 1_000),
    ("deltawire, QUIC", "quic", 1_000),
    ("deltawire, WebSocket", "websocket", 1_000),
    ("deltawire, ten thousand", "webrtc", 10_000),
    ("deltawire, QUIC, ten thousand", "quic", 10_000),
    ("deltawire, WebSocket, ten thousand", "websocket", 10_000),
];

pub(crate) fn jobs(quick: bool) -> impl Iterator<Item = Job> {
    // Ten thousand take half a minute each.
    let rows = ROWS.into_iter().take(if quick { 3 } else { ROWS.len() });
    rows.map(move |(row, kind, peers)| job(row, kind, if quick { 100 } else { peers }, quick))
}

fn job(row: &'static str, kind: &'static str, peers: usize, quick: bool) -> Job {
    let place = Place { table: &TABLE, row, column: None };
    let milliseconds = if quick { 2_000 } else { 10_000 };
    let run = move |_links: &_| {
        let role = format!("server {kind} {peers} {milliseconds}");
        let server = Command::new(env::current_exe()?).env(ROLE, role).output()?;
        let complaint = String::from_utf8_lossy(&server.stderr);
        ensure!(server.status.success(), "the server's process failed: {}", complaint.trim());
        let figures = String::from_utf8(server.stdout)?;
        let figures = figures.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        figures.context("the server's process said something else")
    };
    Job { limit: LIMIT, ..plan::job(place, run) }
}

/// What a process is that is not the bench itself.
pub(crate) enum Role {
    /// Accepts so many peers over this kind of link, and is measured for so many milliseconds.
    Server { kind: String, peers: usize, milliseconds: u64 },
    /// Connects so many times.
    Clients { kind: String, peers: usize, url: String },
}

/// What this process was told to be.
pub(crate) fn role() -> Option<Role> {
    let role = env::var(ROLE).ok()?;
    let mut words = role.split(' ');
    let (role, kind) = (words.next()?, words.next()?.to_owned());
    let (peers, last) = (words.next()?.parse().ok()?, words.next()?);
    match role {
        "server" => Some(Role::Server { kind, peers, milliseconds: last.parse().ok()? }),
        _ => Some(Role::Clients { kind, peers, url: last.to_owned() }),
    }
}

impl Role {
    pub(crate) fn play(self) -> anyhow::Result<()> {
        match self {
            Self::Server { kind, peers, milliseconds } => {
                allow_open_files((peers + OTHER_FILES) as u64)?;
                let time = Duration::from_millis(milliseconds);
                let figures = deltawire_pair::run(false, LIMIT, serve(&kind, peers, time))?;
                println!("{}", figures.map(|figure| figure.to_string()).join(" "));
                Ok(())
            }
            Self::Clients { kind, peers, url } => {
                allow_open_files((peers + OTHER_FILES) as u64)?;
                // The server ends, and with it this process's input.
                thread::spawn(|| {
                    let _ = io::stdin().read_to_end(&mut Vec::new());
                    process::exit(0);
                });
                deltawire_pair::run(false, 2 * LIMIT, connect(&kind, peers, url))
            }
        }
    }
}

async fn serve(kind: &str, peers: usize, time: Duration) -> anyhow::Result<[f64; 5]> {
    let limits = NodeLimits {
        max_peers: 2 * peers,
        max_pending: peers,
        max_pending_per_address: peers,
        max_per_address: peers,
        ..NodeLimits::default()
    };
    let listen = (deltawire_pair::LOOPBACK, 0).into();
    let node = Node::builder().listen(listen).accept_quic(Admission::anyone()).node_limits(limits);
    let node = node.build()?;
    let url = set_up::serve(&node).await?;
    let before = resident_bytes()?;

    let start = Instant::now();
    let mut clients = Clients::start(&format!("clients {kind} {peers} {url}"))?;
    let mut held = Vec::new();
    while held.len() < peers {
        let accepted = tokio::time::timeout(Duration::from_secs(5), node.accept()).await;
        let Ok(Some(accepted)) = accepted else {
            let status = clients.0.try_wait()?;
            bail!("{} of {peers} connected, then nobody; the clients: {status:?}", held.len());
        };
        held.push(accepted);
    }
    let connected = start.elapsed();

    tokio::time::sleep(Duration::from_secs(3)).await;
    let memory = resident_bytes()?.saturating_sub(before) as f64;
    let (start, cpu) = (Instant::now(), cpu_time());
    tokio::time::sleep(time).await;
    let busy = (cpu_time() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    let ended: Vec<_> = held.iter().filter_map(|(_, link)| link.ended()).collect();
    ensure!(ended.is_empty(), "{} of {peers} links ended, the first: {}", ended.len(), ended[0]);
    let each = memory / 1_024.0 / peers as f64;
    Ok([peers as f64, memory / 1_048_576.0, each, 100.0 * busy, connected.as_secs_f64()])
}

/// The process that holds the clients; it ends with this.
struct Clients(Child);

impl Clients {
    fn start(role: &str) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().map(Self)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connects, then holds the links until this process ends.
async fn connect(kind: &str, peers: usize, url: String) -> anyhow::Result<()> {
    let limits = NodeLimits { max_peers: 2 * peers, ..NodeLimits::default() };
    let node = Node::builder().prefer_links([kind]).node_limits(limits).build()?;
    let (mut connecting, mut held) = (JoinSet::new(), Vec::new());
    for _ in 0..peers {
        if connecting.len() >= AT_A_TIME {
            held.extend(connecting.join_next().await.transpose()?.transpose()?);
        }
        let (node, url) = (node.clone(), url.clone());
        connecting.spawn(async move { node.connect(&url).await });
    }
    while let Some(connected) = connecting.join_next().await {
        held.push(connected??);
    }
    std::future::pending().await
}
