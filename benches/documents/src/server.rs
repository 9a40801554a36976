//! Servers: processes of their own, which end with what holds them.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::measure::{cpu_time, resident_bytes};
use crate::role::Role;

/// All that run, so that none is left over, whatever becomes of the job that started it.
static RUNNING: Mutex<BTreeMap<u32, Child>> = Mutex::new(BTreeMap::new());

fn running() -> MutexGuard<'static, BTreeMap<u32, Child>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends those that are left.
pub(crate) fn kill_all() {
    let left: Vec<u32> = running().keys().copied().collect();
    left.into_iter().for_each(kill);
}

fn kill(process: u32) {
    let Some(mut child) = running().remove(&process) else { return };
    // It may have ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// A process; it ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    process: u32,
    input: Option<ChildStdin>,
    /// The first line that it said: where it is reached.
    said: String,
}

impl Server {
    /// This program once more, with another part to play.
    pub(crate) fn play(role: &Role) -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.env(Role::VARIABLE, role.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("this program cannot be started again")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut server = Self::hold(child, input);
        let mut said = String::new();
        BufReader::new(output.context("no output")?).read_line(&mut said)?;
        server.said = said.trim().to_owned();
        if server.said.is_empty() {
            bail!("{role}: the server's process ended at once");
        }
        Ok(server)
    }

    /// Another program, which listens on this port.
    pub(crate) fn start(command: &mut Command, port: u16) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let server = Self::hold(child, None);
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if start.elapsed() > Duration::from_secs(10) {
                bail!("{command:?} does not listen");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn hold(child: Child, input: Option<ChildStdin>) -> Self {
        let process = child.id();
        running().insert(process, child);
        Self { process, input, said: String::new() }
    }

    /// The word behind this one in what it said first.
    pub(crate) fn said(&self, name: &str) -> anyhow::Result<&str> {
        let mut words = self.said.split(' ').skip_while(|word| *word != name);
        words.nth(1).with_context(|| format!("the server said no {name}: {}", self.said))
    }

    /// Tells it to begin.
    pub(crate) fn go(&mut self) -> anyhow::Result<()> {
        Ok(self.input.as_mut().context("it does not listen")?.write_all(b"go\n")?)
    }

    pub(crate) fn cpu_time(&self) -> anyhow::Result<f64> {
        cpu_time(self.process)
    }

    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        resident_bytes(self.process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill(self.process);
    }
}

/// A port that nobody has right now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(listener.local_addr()?.port())
}

/// Where a program is; otherwise what to do. `/usr/sbin` is not in everybody's path, and Debian has servers there.
pub(crate) fn find(program: &str) -> Result<PathBuf, String> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&folders).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| {
        format!("Without `{program}`, which is not installed: `apt-get install {program}`.")
    })
}
