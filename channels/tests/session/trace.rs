//! The session of `docs/WIRE.md`, "A session step by step": two sessions say what stands there, byte
//! by byte, and nothing else.

use std::time::Duration;

use deltawire_channels::session::{Closed, Event, SessionConfig};
use deltawire_channels::{Limits, Peer, Session};
use deltawire_framing::control::{CloseCode, Role};
use deltawire_framing::{Channel, DeltaFields, DocId};

const DOCUMENT: &str = include_str!("../../../docs/WIRE.md");

/// A transport message of the document: whose it is, its channel, its bytes.
type Block = (Role, Channel, Vec<u8>);

fn blocks() -> Vec<Block> {
    let block = |text: &str| {
        let (title, rest) = text.split_once('\n').unwrap();
        let digits: String = rest.split("```").next().unwrap().split_whitespace().collect();
        let bytes = (0..digits.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
        let (role, channel) = title.split_once(' ').unwrap();
        let role = match role {
            "initiator" => Role::Initiator,
            "acceptor" => Role::Acceptor,
            other => panic!("{other}"),
        };
        let channel = match channel {
            "command" => Channel::Command,
            "data" => Channel::Data,
            other => panic!("{other}"),
        };
        (role, channel, bytes)
    };
    DOCUMENT.split("```hex trace ").skip(1).map(block).collect()
}

/// As the document prints it.
fn hex(bytes: &[u8]) -> String {
    let word = |word: &[u8]| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let line = |line: &[u8]| line.chunks(4).map(word).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

struct Trace {
    now: Duration,
    sessions: [Session; 2],
    peers: [Peer; 2],
    blocks: std::vec::IntoIter<Block>,
    /// What was said and does not stand there.
    wrong: Vec<String>,
}

impl Trace {
    fn new() -> Self {
        let limits = Limits {
            data_window: 256,
            command_window: 128,
            max_frame_len: 160,
            send_ring: 4_096,
            command_ring: 4_096,
            ..Limits::default()
        };
        let [(initiator, first), (acceptor, second)] =
            [(Role::Initiator, 0x11), (Role::Acceptor, 0x22)].map(|(role, id)| {
                let config = SessionConfig { limits, ..SessionConfig::new(role, [id; 16], 0) };
                Session::new(config, Duration::ZERO).unwrap()
            });
        Self {
            now: Duration::ZERO,
            sessions: [initiator, acceptor],
            peers: [first, second],
            blocks: blocks().into_iter(),
            wrong: Vec::new(),
        }
    }

    /// One side says all that it has to say now; the other hears it.
    fn say(&mut self, role: Role) {
        let next = |session: &mut Session| {
            let message = session.poll_transmit(1 << 16)?;
            Some((role, message.channel(), message.to_vec()))
        };
        while let Some(said) = next(&mut self.sessions[role as usize]) {
            if self.blocks.next().as_ref() != Some(&said) {
                let role = if role == Role::Initiator { "initiator" } else { "acceptor" };
                let channel = if said.1 == Channel::Command { "command" } else { "data" };
                self.wrong.push(format!("```hex trace {role} {channel}\n{}\n```", hex(&said.2)));
            }
            self.sessions[1 - role as usize].handle_message(said.1, said.2, self.now);
        }
    }

    fn wait(&mut self, until: Duration) {
        self.now = until;
        self.sessions.iter_mut().for_each(|session| session.handle_timeout(until));
    }

    fn commit(&mut self, role: Role, payload: &[u8], sequence: u32) {
        let mut grant = self.peers[role as usize].send.try_reserve(payload.len()).unwrap();
        grant.payload_mut().copy_from_slice(payload);
        let fields = DeltaFields { sequence, ..DeltaFields::new(DocId([0xdd; 16])) };
        grant.commit(fields, payload.len()).unwrap();
    }

    fn command(&mut self, role: Role, body: &[u8]) {
        let mut grant =
            self.peers[role as usize].command.send.try_reserve_opaque(body.len()).unwrap();
        grant.body_mut().copy_from_slice(body);
        grant.commit(body.len()).unwrap();
    }

    /// The next delta that one side reads.
    fn read(&mut self, role: Role) -> Vec<u8> {
        let frame = self.peers[role as usize].receive.try_next().unwrap();
        frame.delta().unwrap().payload().to_vec()
    }
}

#[test]
fn a_session_says_what_the_document_says() {
    use Role::{Acceptor, Initiator};
    let mut trace = Trace::new();
    // Both say hello, before they know of each other.
    trace.say(Initiator);
    trace.say(Acceptor);
    for session in &mut trace.sessions {
        assert!(matches!(session.poll_event(), Some(Event::Opened(_))));
    }
    // Two short deltas go together; a command comes back.
    trace.commit(Initiator, b"one", 1);
    trace.commit(Initiator, b"two", 2);
    trace.say(Initiator);
    trace.command(Acceptor, b"go on");
    trace.say(Acceptor);
    assert_eq!(trace.read(Acceptor), b"one");
    assert_eq!(trace.read(Acceptor), b"two");
    let command = trace.peers[0].command.receive.try_next().unwrap().body().to_vec();
    assert_eq!(command, b"go on");
    trace.peers[0].command.receive.release();
    // A long one finds no room in the window, and says so.
    let long: Vec<u8> = (0..112).collect();
    trace.commit(Initiator, &long, 3);
    trace.say(Initiator);
    trace.peers[1].receive.release();
    trace.say(Acceptor);
    trace.say(Initiator);
    assert_eq!(trace.read(Acceptor), long);
    trace.peers[1].receive.release();
    trace.say(Acceptor);
    // After a while one asks whether the other is there.
    trace.wait(Duration::from_secs(1));
    trace.say(Initiator);
    trace.say(Acceptor);
    trace.say(Initiator);
    // The initiator closes behind a last delta.
    trace.commit(Initiator, b"end", 4);
    let now = trace.now;
    trace.sessions[0].close(CloseCode(256), "done", now);
    trace.say(Initiator);
    assert_eq!(trace.read(Acceptor), b"end");
    trace.peers[1].receive.release();
    trace.say(Acceptor);
    let ends = trace.sessions.each_mut().map(|session| session.poll_event());
    assert!(matches!(&ends[0], Some(Event::Closed(Closed::ByUs { .. }))), "{ends:?}");
    assert!(matches!(&ends[1], Some(Event::Closed(Closed::ByPeer { .. }))), "{ends:?}");
    let missing = trace.blocks.count();
    assert!(trace.wrong.is_empty(), "said, and not there:\n{}", trace.wrong.join("\n\n"));
    assert_eq!(missing, 0, "blocks that nobody said");
}
