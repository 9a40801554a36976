//! Every kind of link through the same checks, over real loopback sockets: `cargo xtask links` prints the table.
//!
//! Not under libtest, because this program is also the server that is killed, and because it prints a table.

#[cfg(not(target_arch = "wasm32"))]
mod checks;
#[cfg(not(target_arch = "wasm32"))]
mod kinds;
#[cfg(not(target_arch = "wasm32"))]
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../node/random.rs"]
mod random;
#[cfg(not(target_arch = "wasm32"))]
mod server;

#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;

    if let Ok(kind) = std::env::var(server::KIND) {
        server::run(&kind);
        return ExitCode::SUCCESS;
    }
    let mut arguments = std::env::args().skip(1);
    let mut only = None;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => return ExitCode::SUCCESS,
            "--kind" => only = arguments.next(),
            _ => {}
        }
    }
    let kinds: Vec<_> = kinds::ALL
        .into_iter()
        .filter(|kind| only.as_deref().is_none_or(|only| only == kind.name))
        .collect();
    if kinds.is_empty() {
        let known = kinds::ALL.map(|kind| kind.name).join(", ");
        eprintln!("no kind of link has this name: there are {known}");
        return ExitCode::FAILURE;
    }
    let header: String = kinds.iter().map(|kind| format!(" {} |", kind.name)).collect();
    println!("| check, seconds |{header}\n|---|{}", "---|".repeat(kinds.len()));
    let mut failures = Vec::new();
    for (name, check) in checks::ALL {
        let mut row = format!("| {name} |");
        for kind in &kinds {
            let start = std::time::Instant::now();
            let cell = match checks::run(check, *kind) {
                Ok(()) => format!("{:.2}", start.elapsed().as_secs_f64()),
                Err(error) => {
                    failures.push(format!("{}, {name}: {error}", kind.name));
                    "FAILED".to_owned()
                }
            };
            row += &format!(" {cell} |");
        }
        println!("{row}");
    }
    for failure in &failures {
        eprintln!("{failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
