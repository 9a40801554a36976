//! Documents beside what else carries them: `cargo run --release --manifest-path benches/documents/Cargo.toml`, about 18
//! minutes; `-- --quick` shows within two that everything works.
//!
//! - `deltawire`: a hub; its subscribers are in its process, or peers over the links that a row names.
//! - `tokio broadcast`: `tokio::sync::broadcast`, in one process.
//! - `WebSocket, broadcast`: a server of tokio-tungstenite and `tokio::sync::broadcast`, as many programs have it.
//! - `NATS`, `NATS JetStream`: Debian's `nats-server`, by `async-nats`.
//! - `Redis`: Debian's `redis-server`, streams, by `redis`.
//! - `redb`: a database within the process.
//!
//! What each is given stands at the head of its file. A rival whose program is not installed is left out, with a remark that says how
//! to install it. Each server is a process of its own, on a loopback port, with a folder that goes with it.
//!
//! Every job runs once a round, so that a machine that is slow for a while is slow for all; the median of the rounds counts, and so it
//! is of their ratios to deltawire. The tables go to stdout as Markdown, progress to stderr.
//!
//! Each receiver checks each delivery: its length, and that it is the next in order; and that there were as many as were
//! published. A job where that is not so has failed.

#[cfg(target_os = "linux")]
mod append;
#[cfg(target_os = "linux")]
mod fan_out;
#[cfg(target_os = "linux")]
mod flow;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod in_process;
#[cfg(target_os = "linux")]
mod links;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod nats;
#[cfg(target_os = "linux")]
mod redis_server;
#[cfg(target_os = "linux")]
mod replay;
#[cfg(target_os = "linux")]
#[path = "../../transport/src/report.rs"]
mod report;
#[cfg(target_os = "linux")]
mod role;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod slow;
#[cfg(target_os = "linux")]
mod stamp;
#[cfg(target_os = "linux")]
mod storm;
#[cfg(target_os = "linux")]
mod websocket;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    match role::Role::of_this_process() {
        Some(role) => role?.play(),
        None => {
            let result = harness::run(&<harness::Arguments as clap::Parser>::parse());
            server::kill_all();
            result
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("This bench reads the processes' figures as Linux gives them: it runs only there.");
}
