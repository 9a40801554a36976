//! What the program can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use deltawire_bulk::Existing;

/// Moves files over Deltawire's links, checked piece by piece and resumed after any interruption.
///
/// Exit codes: 0 all is done; 1 a file was not moved; 2 wrong arguments; 3 it could not start; 4 the other side was not
/// reached; 5 the other side refused; 130 Ctrl+C.
#[derive(Clone, Debug, Parser)]
#[command(name = "deltawire", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) task: Task,
    /// Says what happens as JSON, a line each.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Says nothing but errors.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// The bearer token: what who connects says, and who accepts asks for.
    #[arg(long, global = true, env = "DELTAWIRE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

const EXAMPLES: &str = "Examples:
  deltawire receive --listen 127.0.0.1:8080 --to inbox --once
  deltawire send big.iso notes.txt http://127.0.0.1:8080/
  deltawire serve shared --listen 127.0.0.1:8080
  deltawire get http://127.0.0.1:8080/ big.iso
  deltawire serve shared --listen 127.0.0.1:8080 --writable
  deltawire sync folder http://127.0.0.1:8080/
  deltawire echo --listen 127.0.0.1:8080
  deltawire ping http://127.0.0.1:8080/ --rounds 1000
  deltawire inspect --hex message.txt
  deltawire completions bash > ~/.local/share/bash-completion/completions/deltawire";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub(crate) enum Task {
    /// Takes files that others send.
    #[command(after_help = "Example: deltawire receive --listen 127.0.0.1:8080 --to inbox")]
    Receive(Receive),
    /// Sends files, and connects again until they are there.
    #[command(after_help = "Example: deltawire send big.iso notes.txt http://127.0.0.1:8080/")]
    Send(Send),
    /// Gives the files of a folder to those who ask, and with --writable takes files for `sync`.
    #[command(after_help = "Example: deltawire serve shared --listen 127.0.0.1:8080")]
    Serve(Serve),
    /// Fetches a file from `serve`; without a name, says which there are.
    #[command(after_help = "Example: deltawire get http://127.0.0.1:8080/ big.iso")]
    Get(Get),
    /// Makes a folder and that of `serve --writable` have the same files: of two with one name the newest.
    #[command(after_help = "Example: deltawire sync folder http://127.0.0.1:8080/

Files are compared by their hashes. A file that one side lacks goes there; nothing is deleted. Where both have a file with
different bytes, the one changed last goes over, and only the pieces that differ; the other one is replaced, or with --keep
stays beside it as `name (1).ext`. Subfolders, hidden files and names that some systems do not take are left alone.")]
    Sync(Sync),
    /// Sends back whatever peers send, for `ping`.
    #[command(after_help = "Example: deltawire echo --listen 127.0.0.1:8080")]
    Echo(Listen),
    /// Measures round trips and throughput to `echo`.
    #[command(
        after_help = "Example: deltawire ping http://127.0.0.1:8080/ --rounds 1000 --throughput 256"
    )]
    Ping(Ping),
    /// Shows what bytes of Deltawire's wire mean.
    #[command(after_help = "Example: deltawire inspect --hex message.txt")]
    Inspect(crate::inspect::Arguments),
    /// Prints the completions of a shell.
    #[command(after_help = "Example: deltawire completions zsh > ~/.zfunc/_deltawire")]
    Completions {
        /// Of which shell.
        shell: Shell,
    },
}

/// Where to listen.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Listen {
    /// Where to listen: HTTP, over which links open; port 0 takes one that is free.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) listen: SocketAddr,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IfExists {
    /// It stays, and the new one is refused.
    Refuse,
    /// It stays, and the new one is called `name (1).ext`.
    Rename,
    /// The new one takes its place when it is whole.
    Replace,
}

impl From<IfExists> for Existing {
    fn from(existing: IfExists) -> Self {
        match existing {
            IfExists::Refuse => Self::Refuse,
            IfExists::Rename => Self::Rename,
            IfExists::Replace => Self::Replace,
        }
    }
}

/// Takes files that others send.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Receive {
    /// Where.
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// The folder that they go to.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// Ends when one peer has sent something, and all of it is there.
    #[arg(long)]
    pub(crate) once: bool,
    /// What becomes of a file that is there already.
    #[arg(long, value_enum, default_value_t = IfExists::Refuse)]
    pub(crate) if_exists: IfExists,
    /// The longest file that is taken, MiB.
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    pub(crate) max_len: u64,
}

/// Sends files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Send {
    /// The files, and where to: the last is the address, such as http://127.0.0.1:8080/.
    #[arg(required = true, num_args = 2.., value_names = ["FILE", "URL"])]
    pub(crate) files_and_url: Vec<String>,
    /// How often connecting may fail in a row.
    #[arg(long, default_value_t = 8)]
    pub(crate) retries: u32,
    /// Bytes a second, KiB; 0: as fast as it goes.
    #[arg(long, default_value_t = 0, value_name = "KIB")]
    pub(crate) rate: u64,
}

/// Gives files to those who ask.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Serve {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Where.
    #[command(flatten)]
    pub(crate) listen: Listen,
    /// Takes files too, as `sync` sends them.
    #[arg(long)]
    pub(crate) writable: bool,
    /// The longest file that is taken, MiB.
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    pub(crate) max_len: u64,
}

/// Fetches a file.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Get {
    /// Where from.
    pub(crate) url: String,
    /// What it is called there. Without it: lists what there is.
    pub(crate) name: Option<String>,
    /// The folder that it goes to.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// What becomes of a file that is there already.
    #[arg(long, value_enum, default_value_t = IfExists::Refuse)]
    pub(crate) if_exists: IfExists,
    /// The longest file that is taken, MiB.
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    pub(crate) max_len: u64,
    /// How often connecting may fail in a row.
    #[arg(long, default_value_t = 8)]
    pub(crate) retries: u32,
}

/// Makes two folders have the same files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Sync {
    /// The folder here.
    pub(crate) folder: PathBuf,
    /// Where the other is.
    pub(crate) url: String,
    /// Keeps this side's older file beside the newer one, as `name (1).ext`.
    #[arg(long)]
    pub(crate) keep: bool,
    /// The longest file that is taken, MiB.
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    pub(crate) max_len: u64,
    /// How often connecting may fail in a row.
    #[arg(long, default_value_t = 8)]
    pub(crate) retries: u32,
}

/// Measures round trips and throughput.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Ping {
    /// Where `echo` is.
    pub(crate) url: String,
    /// Round trips.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) rounds: u32,
    /// Payload of a round trip, bytes.
    #[arg(long, default_value_t = 64)]
    pub(crate) size: usize,
    /// How much goes there and back, MiB; 0 skips it.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    pub(crate) throughput: u64,
}

/// Prints the completions of a shell.
pub(crate) fn complete(shell: Shell) {
    clap_complete::generate(shell, &mut Arguments::command(), "deltawire", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_sound() {
        Arguments::command().debug_assert();
    }
}
