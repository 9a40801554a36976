//! Native nodes behind NATs, with a real TURN server (coturn), in network namespaces: two hosts, a NAT before each, and
//! the network between them.
//!
//! Not under libtest, because this program is also what runs in the namespaces, and it prints a table: `cargo xtask nat`. It
//! needs Linux, `ip` of iproute2, `nft` of nftables, `turnserver` of coturn, and the right to make namespaces, which it has as
//! root or where users may make them.

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod cases;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod coturn;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod ends;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod lab;

/// What a process of this program is: unset for the first.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const ROLE: &str = "DELTAWIRE_TEST_ROLE";

/// `no` where namespaces are not to be had, and it is known.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const NAMESPACES: &str = "DELTAWIRE_TEST_NAMESPACES";

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
fn main() {
    use std::process::{Command, Stdio};

    const NAME: &str = "native_nodes_reach_each_other_through_nats";
    match std::env::var(ROLE).as_deref() {
        Ok("lab") => return cases::run(),
        Ok("accept") => return ends::accept(),
        Ok(_) => return ends::connect(),
        Err(_) => {}
    }
    let mut arguments = std::env::args().skip(1);
    let wanted = arguments.all(|argument| argument.starts_with('-') || NAME.contains(&argument));
    if !wanted || std::env::args().any(|argument| argument == "--list") {
        return;
    }
    if std::env::var(NAMESPACES).as_deref() == Ok("no") {
        println!("test {NAME} ... NOT RUN, because {NAMESPACES} is \"no\"");
        return;
    }
    let works = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdout(Stdio::null()).status().is_ok_and(|it| it.success())
    };
    for (words, what) in [
        (&["unshare", "-rn", "ip", "link"][..], "network namespaces and `ip` (Debian: iproute2)"),
        (&["unshare", "-rn", "nft", "list", "ruleset"], "`nft` in them (Debian: nftables)"),
        (&["turnserver", "--version"], "a TURN server (Debian: coturn)"),
    ] {
        assert!(
            works(words),
            "this test needs {what}. Where that is not to be had, set {NAMESPACES}=no to do without it"
        );
    }
    let program = std::env::current_exe().unwrap();
    let lab = Command::new("unshare").arg("-rn").arg(program).env(ROLE, "lab").status();
    assert!(lab.unwrap().success(), "it failed in its namespace: see above");
    println!("test {NAME} ... ok");
}

/// Namespaces are Linux's.
#[cfg(not(all(target_os = "linux", not(target_arch = "wasm32"))))]
fn main() {}
