//! One delta to many subscribers: a server sends each to all of them, over WebRTC on loopback
//! sockets. `cargo bench -p deltawire --bench fan_out`; `-- --help` says what can be chosen.
//!
//! The server has threads of its own and everything of it runs there, so that its CPU time and what
//! it does for each delta can be told from what the subscribers do, which share another thread. The
//! table goes to stdout as Markdown. Counts repeat; times are the machine's.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    linux::run(<linux::Arguments as clap::Parser>::parse())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("This bench reads the CPU time of threads as Linux gives it: it runs only there.");
}
