//! A proxy in a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where Debian puts it, which is not in every user's path.
const PROGRAMS: [&str; 2] = ["haproxy", "/usr/sbin/haproxy"];

fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| {
        let mut command = Command::new(program);
        command.arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    })
}

pub(crate) fn is_there() -> bool {
    program().is_some()
}

/// Stopped when it is dropped.
pub(crate) struct Proxy {
    child: Child,
    pub(crate) address: SocketAddr,
    configuration: PathBuf,
}

impl Proxy {
    /// In front of a server; `rules` are those of its frontend.
    pub(crate) fn start(server: SocketAddr, rules: &str) -> Self {
        // Free a moment ago.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let configuration = std::env::temp_dir().join(format!(
            "deltawire-haproxy-{}-{}.cfg",
            std::process::id(),
            address.port()
        ));
        let text = format!(
            "defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  \
             timeout server 30s\n  timeout tunnel 1h\nfrontend front\n  bind {address}\n  {rules}\n  \
             default_backend back\nbackend back\n  server node {server}\n"
        );
        std::fs::write(&configuration, text).unwrap();
        let child = Command::new(program().unwrap())
            .args(["-db", "-f"])
            .arg(&configuration)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let proxy = Self { child, address, configuration };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "HAProxy does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        proxy
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(&self.configuration);
    }
}
