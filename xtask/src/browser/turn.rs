//! A TURN server (coturn) on the network that pages have of their own, and a wall around a process, which only the server sees.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::processes::Stopped;

/// This machine, on that network.
const HERE: &str = "10.9.0.1";
const PORT: u16 = 3_478;

/// Where the process is that nobody reaches.
pub(super) const WALLED: &str = "10.9.0.1:4777";

/// Whom the server knows: a name and a password.
pub(super) const USER: &str = "somebody:a-secret";

/// No UDP gets to the process's own port, or from there.
const WALL: &str = "table inet wall {
 chain in { type filter hook input priority 0; udp dport 4777 drop; }
 chain out { type filter hook output priority 0; udp sport 4777 drop; }
}
";

/// The server. It ends when this is dropped; the wall stays.
pub(super) struct Turn {
    _process: Stopped,
    folder: PathBuf,
}

impl Turn {
    pub(super) fn start() -> anyhow::Result<Self> {
        let mut nft = Command::new("nft");
        let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("nft")?;
        nft.stdin.take().context("nft has no input")?.write_all(WALL.as_bytes())?;
        ensure!(nft.wait()?.success(), "there is no wall");
        let folder = std::env::temp_dir().join(format!("coturn-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let in_folder = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--lt-cred-mech", "--realm=deltawire.example", "--no-tls", "--no-dtls"])
            .args(["--no-cli", "--simple-log"])
            .arg(format!("--user={USER}"))
            .arg(format!("--listening-ip={HERE}"))
            .arg(format!("--relay-ip={HERE}"))
            .arg(format!("--listening-port={PORT}"))
            .arg(format!("--log-file={}", in_folder("log")))
            .arg(format!("--userdb={}", in_folder("users")))
            .arg(format!("--pidfile={}", in_folder("pid")))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Stopped(command.spawn().context("turnserver")?);
        let begun = Instant::now();
        while TcpStream::connect((HERE, PORT)).is_err() {
            ensure!(begun.elapsed() < Duration::from_secs(10), "coturn does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { _process: process, folder })
    }

    /// Where it is, for pages and for processes.
    pub(super) fn address() -> String {
        format!("{HERE}:{PORT}")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
