//! The program as a process.

#![allow(dead_code, reason = "not every test takes all of it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// It, with an environment of its own.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltawire-server"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// One that runs; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    log: Arc<Mutex<String>>,
    pub(crate) base: String,
}

impl Running {
    /// Starts it at a port that is free.
    pub(crate) async fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_at(directory, arguments, 0, &[]).await
    }

    pub(crate) async fn start_at(
        directory: &Path,
        arguments: &[&str],
        port: u16,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_by(program(), directory, arguments, port, environment).await
    }

    /// Starts it by a command that ends in it.
    pub(crate) async fn start_by(
        mut command: Command,
        directory: &Path,
        arguments: &[&str],
        port: u16,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut child = command
            .args(arguments)
            .env("DELTAWIRE_STORE__DIRECTORY", directory)
            .env("DELTAWIRE_SERVER__HTTP", format!("127.0.0.1:{port}"))
            .env("DELTAWIRE_SERVER__LISTEN", "off")
            .env("DELTAWIRE_SERVER__LOG_FORMAT", "json")
            .env("DELTAWIRE_SERVER__SHUTDOWN", "20s")
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (output, kept) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut running = Self { child, log, base: String::new() };
        running.says("deltawire-server starts").await;
        let log = running.log();
        let line = log.lines().find(|line| line.contains("deltawire-server starts")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        running.base = format!("http://{}", line["fields"]["http"].as_str().unwrap());
        running
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until its log has this.
    pub(crate) async fn says(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            let status = self.child.try_wait().unwrap();
            assert!(status.is_none(), "{status:?}\n{}", self.log());
            assert!(begun.elapsed() < Duration::from_secs(30), "no {text:?} in\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Its folder in `/proc`.
    pub(crate) fn proc(&self) -> std::path::PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it said last is still being read.
                tokio::time::sleep(Duration::from_millis(50)).await;
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(40), "it goes on\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
