//! The server that is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use deltawire::channels::Peer;
use deltawire::framing::DeltaFields;

use crate::kinds::Kind;

/// Says that this process is a server, and of which kind.
pub(crate) const KIND: &str = "DELTAWIRE_LINKS_KIND";

/// The port that it takes.
const PORT: &str = "DELTAWIRE_LINKS_PORT";

/// Answers what peers send with the same, until it is killed.
pub(crate) fn run(kind: &str) {
    let port = std::env::var(PORT).ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    crate::checks::runtime().block_on(async {
        let served = Kind::named(kind).serve(port, None).await;
        println!("{}", served.url);
        while let Some((peer, _link)) = served.node.accept().await {
            tokio::spawn(echo(peer));
        }
    });
}

/// Sends back what comes, until the link ends.
pub(crate) async fn echo(peer: Peer) {
    let Peer { mut send, mut receive, command: _command } = peer;
    while let Ok(frame) = receive.next().await {
        let delta = frame.delta().unwrap();
        let fields = DeltaFields { sequence: delta.sequence(), ..DeltaFields::new(delta.doc_id()) };
        if send.send(fields, delta.payload()).await.is_err() {
            return;
        }
    }
}

/// A server in a process of its own, which is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    pub(crate) fn start(kind: Kind, port: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(KIND, kind.name)
            .env(PORT, port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        Self { child, url }
    }

    /// The port in its address.
    pub(crate) fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().unwrap_or_default();
        port.trim_end_matches("/webrtc").parse().unwrap()
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
