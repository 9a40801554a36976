//! What is lost with a peer that read slowly, and was killed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use deltawire::signalling::{SignallingOptions, SignallingServer};
use deltawire::{Node, NodeEvent, Undelivered};
use deltawire_channels::Peer;
use deltawire_framing::{DeltaFields, DocId};
use tokio::time::timeout;

use crate::peer::length;
use crate::server::{Process, soon};

/// What the peer reads, of deltas.
const READS: u64 = 100;
/// Commands that it never reads.
const COMMANDS: u64 = 40;
const COMMAND: usize = 500;

pub(crate) fn what_a_killed_peer_had_not_read_is_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listen = ([127, 0, 0, 1], 0).into();
        let node = Node::builder().resume(None).listen(listen).build().unwrap();
        let router = node.router(SignallingOptions::default());
        let server = SignallingServer::bind(listen, router).await.unwrap();
        let url = format!("http://{}/webrtc", server.local_addr());
        tokio::spawn(server.serve(std::future::pending()));
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.env(crate::URL, url).env(crate::READS, READS.to_string()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let (peer, link) = soon("the peer", node.accept()).await.unwrap();
        let Peer { mut send, mut command, .. } = peer;
        let fields = DeltaFields::new(DocId([7; 16]));
        for _ in 0..COMMANDS {
            soon("room", command.send.send(fields, &[7; COMMAND])).await.unwrap();
        }
        // Until neither the peer's window nor the ring takes any more.
        let mut lengths = Vec::new();
        loop {
            let len = length(lengths.len() as u64);
            let Ok(grant) = timeout(Duration::from_secs(1), send.reserve(len)).await else { break };
            grant.unwrap().commit(fields, len).unwrap();
            lengths.push(len);
        }
        let said = process.0.stdout.take().unwrap();
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            BufReader::new(said).read_line(&mut line).unwrap();
            line
        });
        assert_eq!(soon("what it read", read).await.unwrap().trim(), format!("read {READS}"));
        drop(process);
        let lost = loop {
            if let NodeEvent::Down { undelivered, .. } = soon("the end", node.event()).await {
                break undelivered;
            }
        };
        assert_eq!(link.undelivered(), lost);
        let Undelivered { unsent, unsent_bytes, unread, unread_bytes } = lost;
        println!("{lost:?} of {} deltas", lengths.len());
        let all = lengths.len() as u64 + COMMANDS;
        assert!((all - READS..=all).contains(&(unsent + unread)), "{lost:?} of {all}");
        let unread_deltas: usize = lengths[READS as usize..].iter().sum();
        let bytes = (unread_deltas + COMMAND * COMMANDS as usize) as u64;
        assert!(unsent_bytes + unread_bytes >= bytes, "{lost:?}: {bytes} bytes were lost");
        assert!(unsent > 0 && unread > 0, "{lost:?}");
    });
}
