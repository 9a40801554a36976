//! A TURN server that is not this project's.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::lab::{Process, SERVERS};

/// Who may have addresses there.
pub(crate) const USER: &str = "somebody";
pub(crate) const PASSWORD: &str = "a-secret";

pub(crate) struct Coturn {
    _process: Process,
    folder: PathBuf,
}

impl Coturn {
    /// At this port.
    pub(crate) fn start(port: u16, options: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("coturn-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let in_folder = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new("turnserver");
        command
            .args(["-n", "--lt-cred-mech", "--realm=deltawire.example", "--no-tls", "--no-dtls"])
            .args(["--no-cli", "--no-multicast-peers", "--fingerprint"])
            .arg(format!("--user={USER}:{PASSWORD}"))
            .arg(format!("--listening-ip={SERVERS}"))
            .arg(format!("--relay-ip={SERVERS}"))
            .arg(format!("--listening-port={port}"))
            .arg(format!("--log-file={}", in_folder("log")))
            .arg("--simple-log")
            .arg(format!("--userdb={}", in_folder("users")))
            .arg(format!("--pidfile={}", in_folder("pid")))
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process(command.spawn().unwrap());
        let begun = Instant::now();
        while TcpStream::connect((SERVERS, port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "coturn does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { _process: process, folder }
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
