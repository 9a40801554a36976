#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arguments;
mod catalogue;
mod echo;
mod end;
mod get;
#[allow(dead_code, reason = "an example of the wire's crate, with a main of its own")]
mod inspect;
mod link;
mod output;
mod ping;
mod receive;
mod send;
mod sync;

use std::process::ExitCode;

use arguments::{Arguments, Task};
use end::End;

/// Does what the arguments say.
async fn run(arguments: Arguments) -> Result<(), End> {
    let Arguments { task, json, quiet, token } = arguments;
    let output = output::Output::new(json, quiet);
    let node = link::Options { token };
    match task {
        Task::Receive(task) => receive::receive(&task, &node, &output).await,
        Task::Send(task) => send::send(&task, &node, &output).await,
        Task::Serve(task) => get::serve(&task, &node, &output).await,
        Task::Get(task) => get::get(&task, &node, &output).await,
        Task::Sync(task) => sync::sync(&task, &node, &output).await,
        Task::Echo(task) => echo::echo(&task, &node, &output).await,
        Task::Ping(task) => ping::ping(&task, &node, &output).await,
        Task::Inspect(task) => {
            inspect::run(&task).map_err(|error| End::Failed(format!("{error:#}")))
        }
        Task::Completions { shell } => {
            arguments::complete(shell);
            Ok(())
        }
    }
}

/// The program: reads its arguments, does what they say, and says what did not work.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = <Arguments as clap::Parser>::parse();
    let json = arguments.json;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(async {
                tokio::select! {
                    ended = run(arguments) => ended,
                    _ = tokio::signal::ctrl_c() => Err(End::Interrupted),
                }
            });
            // Threads that write files make safe what came.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            ended
        }
        Err(error) => Err(End::NotStarted(error.to_string())),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(end) => {
            if json {
                println!("{}", serde_json::json!({ "event": "error", "error": end.to_string() }));
            } else {
                eprintln!("error: {end}");
            }
            ExitCode::from(end.code())
        }
    }
}
