//! Peers that are killed in the middle of a transfer: the node notices, and keeps nothing of them.
//!
//! Not under libtest, because this program is also the peer that is killed, and because it counts
//! what its process holds.

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod held;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod peer;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod server;

/// Where the peer to be killed finds the server.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const URL: &str = "DELTAWIRE_TEST_URL";

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
fn main() {
    if let Ok(url) = std::env::var(URL) {
        return peer::run(&url);
    }
    const NAME: &str = "killed_peers_leave_nothing_behind";
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.all(|argument| argument.starts_with('-') || NAME.contains(&argument));
    if wanted && !std::env::args().any(|argument| argument == "--list") {
        held::give_memory_back();
        server::killed_peers_leave_nothing_behind();
        println!("test {NAME} ... ok");
    }
}

/// What a process holds is read where Linux shows it.
#[cfg(not(all(target_os = "linux", not(target_arch = "wasm32"))))]
fn main() {}
