//! Links beside other transports, beside the stack that they are made of, and beside what lies
//! under and above it: `cargo run --release --manifest-path benches/transport/Cargo.toml`, about 25
//! minutes; `-- --quick` shows within one that everything works.
//!
//! - `deltawire`: two nodes, WebRTC over loopback UDP, defaults; `deltawire on str0m` with the other engine.
//! - `deltawire, QUIC`: two nodes over QUIC.
//! - `deltawire, SCTP`: two nodes by SCTP straight over UDP, not encrypted.
//! - `deltawire, WebSocket`: two nodes over WebSocket; `tungstenite`: the stack that programs take for that.
//! - `deltawire, TCP` and `deltawire, Unix`: two nodes over those; `TCP` and `Unix`: the same streams used plainly.
//! - `webrtc-rs`: data channels of the other WebRTC stack in Rust, tuned.
//! - `quinn`: QUIC, a stream; `quinn, gathered` lets messages wait for others.
//! - `str0m tuned`: the stack with what a program can do around it.
//! - `str0m plain`: the stack as its documentation shows it.
//! - `raw UDP, GSO`: datagrams without any promise, many a system call: the ceiling.
//! - `in process`: peers of `memory::pair`, without any network.
//!
//! `paths` is apart: simulated paths that lose and delay, on virtual time, with the sans-IO parts of the stacks.
//!
//! What each is given stands at the head of its file. A crate apart from the workspace, so that
//! nobody else builds the rivals.
//!
//! The harness is one of its own, because Criterion measures neither the CPU time of a gigabyte
//! nor lets contenders take turns. Here every job runs once a round, so that a machine that is slow
//! for a while is slow for all; the median of the rounds counts, and so it is of their ratios to
//! deltawire. The tables go to stdout as Markdown, progress to stderr. No job can hang: what does
//! not end in time is given up, and the table says so.
//!
//! In throughput and round trips, each message begins as a slice of the application's and ends as
//! a slice that the receiver counts; it looks at the length and three bytes.

#[cfg(target_os = "linux")]
mod commands;
#[cfg(target_os = "linux")]
mod deltawire_pair;
#[cfg(target_os = "linux")]
mod deltawire_quic;
#[cfg(target_os = "linux")]
mod deltawire_sctp;
#[cfg(target_os = "linux")]
mod harness;
#[cfg(target_os = "linux")]
mod idle_peers;
#[cfg(target_os = "linux")]
mod in_process;
#[cfg(target_os = "linux")]
mod many_senders;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod messages;
#[cfg(target_os = "linux")]
mod paths;
#[cfg(target_os = "linux")]
mod plan;
#[cfg(target_os = "linux")]
mod quinn_pair;
#[cfg(target_os = "linux")]
mod raw_udp;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod set_up;
#[cfg(target_os = "linux")]
mod small_buffers;
#[cfg(target_os = "linux")]
mod str0m_pair;
#[cfg(target_os = "linux")]
mod str0m_plain;
#[cfg(target_os = "linux")]
mod str0m_tuned;
#[cfg(target_os = "linux")]
mod streams;
#[cfg(target_os = "linux")]
mod webrtc_rs;
#[cfg(target_os = "linux")]
mod websocket;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    match idle_peers::role() {
        Some(role) => role.play().map_err(|error| {
            // Without a backtrace: this goes into the report of the bench that started it.
            eprintln!("{error:#}");
            std::process::exit(1)
        }),
        None => harness::run(&<harness::Arguments as clap::Parser>::parse()),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("This bench reads the processes' figures as Linux gives them: it runs only there.");
}
