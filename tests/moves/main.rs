//! A host that gets another address, in network namespaces: two processes, two machines to the
//! system, and the wire between them.
//!
//! Not under libtest, because this program is also what runs in the namespaces. It needs Linux, `ip`
//! of iproute2, and the right to make namespaces, which it has as root or where users may make them.

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod echo;
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
mod lab;

/// What a process of this program is: unset for the first.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const ROLE: &str = "DELTAWIRE_TEST_ROLE";

/// By which kind of link the host that moves connects.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const KIND: &str = "DELTAWIRE_TEST_KIND";

/// `no` where namespaces are not to be had, and it is known.
#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
const NAMESPACES: &str = "DELTAWIRE_TEST_NAMESPACES";

#[cfg(all(target_os = "linux", not(target_arch = "wasm32")))]
fn main() {
    use std::process::{Command, Stdio};

    const NAME: &str = "a_host_that_gets_another_address_keeps_its_link";
    match std::env::var(ROLE).as_deref() {
        Ok("lab") => return lab::run(),
        Ok(_) => return echo::run(),
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
    assert!(
        works(&["unshare", "-rn", "ip", "link"]),
        "this test needs network namespaces and `ip` (Debian: iproute2). Where they are not to be \
         had, set {NAMESPACES}=no to do without it"
    );
    let program = std::env::current_exe().unwrap();
    let lab = Command::new("unshare").arg("-rn").arg(program).env(ROLE, "lab").status();
    assert!(lab.unwrap().success(), "it failed in its namespace: see above");
    println!("test {NAME} ... ok");
}

/// Namespaces are Linux's.
#[cfg(not(all(target_os = "linux", not(target_arch = "wasm32"))))]
fn main() {}
