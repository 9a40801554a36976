//! Links through a real HTTP proxy, HAProxy: what it forwards, what it does not, and when it goes away.
//!
//! Not under libtest, so that who has no HAProxy is told, and nothing looks green that was not tried.

#[cfg(target_os = "linux")]
mod haproxy;
#[cfg(target_os = "linux")]
mod links;

#[cfg(target_os = "linux")]
fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    assert!(
        haproxy::is_there(),
        "HAProxy was not found; `sudo apt-get install haproxy`, or `cargo xtask test`, which installs it"
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        links::messages_and_commands_get_through().await;
        println!("test messages_and_commands_get_through ... ok");
        links::who_is_known_only_by_a_trusted_proxy_is_named().await;
        println!("test who_is_known_only_by_a_trusted_proxy_is_named ... ok");
        links::without_upgrades_there_is_another_way().await;
        println!("test without_upgrades_there_is_another_way ... ok");
        links::a_proxy_that_is_killed_ends_its_links().await;
        println!("test a_proxy_that_is_killed_ends_its_links ... ok");
    });
}

/// HAProxy is run where Debian has it.
#[cfg(not(target_os = "linux"))]
fn main() {}
