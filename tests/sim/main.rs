//! What links promise, tried on the simulated network: `cargo xtask sim`.
//!
//! A matrix of carriers, networks and kinds of delivery, one cell for each seed; then tables of
//! what a link makes of its path, with bounds. Everything runs on virtual time, so nothing depends
//! on how fast the machine is.

#![cfg(not(target_arch = "wasm32"))]

mod arguments;
mod carrier;
mod checks;
mod matrix;
mod moves;
mod outages;
mod probe;
mod quiet;
mod resuming;
mod sharing;
mod stalls;
mod stream;
mod transfer;
mod utilization;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match arguments::Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.nothing {
        return ExitCode::SUCCESS;
    }
    let result = match arguments.seed {
        Some(seed) => matrix::replay(seed),
        None if arguments.check.is_some() || arguments.engine.is_some() => {
            if let Some(engine) = arguments.engine {
                carrier::only(engine);
            }
            checks::run(arguments.check.as_deref(), arguments.seeds)
        }
        None => matrix::run(&arguments).and_then(|()| checks::run(None, arguments.seeds)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error}");
            ExitCode::FAILURE
        }
    }
}
