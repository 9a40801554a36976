//! Peers that are killed in the middle of a transfer: the node notices, keeps nothing of them, and counts what
//! they had not read.
//!
//! Not under libtest, because this program is also the peer that is killed, and because it counts
//! what its process holds.

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod held;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod peer;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod server;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod unread;

/// Where the peer to be killed finds the server.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const URL: &str = "DELTAWIRE_TEST_URL";

/// How many deltas it reads, slowly, before it reads no more: without end, and fast, if this is unset.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const READS: &str = "DELTAWIRE_TEST_READS";

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
fn main() {
    if let Ok(url) = std::env::var(URL) {
        return peer::run(&url);
    }
    let tests: [(&str, fn()); 2] = [
        ("killed_peers_leave_nothing_behind", server::killed_peers_leave_nothing_behind),
        (
            "what_a_killed_peer_had_not_read_is_counted",
            unread::what_a_killed_peer_had_not_read_is_counted,
        ),
    ];
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    for (name, test) in tests {
        let mut arguments = std::env::args().skip(1);
        if arguments.all(|argument| argument.starts_with('-') || name.contains(&argument)) {
            held::give_memory_back();
            test();
            println!("test {name} ... ok");
        }
    }
}

/// What a process holds is read where Linux shows it.
#[cfg(not(all(target_os = "linux", not(target_arch = "wasm32"))))]
fn main() {}
