//! A file over loopback, from disk to disk and checked, beside what the same link carries without files, beside a plain copy
//! over TCP, and beside iroh-blobs: `cargo xtask bench bulk`, about two minutes.
//!
//! - `deltawire, TCP` and `deltawire, QUIC`: `Bulk` with its defaults, from when the receiver accepts until both sides know that the file
//!   is there, synced and with its name.
//! - `the link`: messages of 64 KiB over the same link, no files; `reserve` and `commit`, nothing written.
//! - `plain copy`: `read`, TCP, `write` in blocks of 64 KiB, nothing checked and nothing synced.
//! - `iroh-blobs`: QUIC and BLAKE3 as `sendme` has them: from the connected peer into a store of files, and moved from there to its place.
//!   Without relays and look-ups, loopback only.
//!
//! The sender's hashing before is a row of its own: an offer has the hash. Each contender once a round, in turn; the medians of the
//! rounds, and of their ratios.

#[cfg(target_os = "linux")]
mod deltawire_bulk;
#[cfg(target_os = "linux")]
mod iroh_blobs;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod plain;
#[cfg(target_os = "linux")]
mod report;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(report::run())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("this bench runs on Linux only");
}
