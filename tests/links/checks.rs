//! What every kind of link has to do.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use deltawire::bulk::{Bulk, BulkOptions, FileName, Proposal, Sink, Source};
use deltawire::channels::session::Closed;
use deltawire::channels::{Limits, Peer, Receiver, Sender};
use deltawire::framing::control::CloseCode;
use deltawire::framing::{DeltaFields, DocId};
use deltawire::requests::{CallOptions, Incoming, Opened, Requests, RequestsOptions};
use deltawire::signalling::Token;
use deltawire::{Backoff, Link, LinkEnded, Node, ReconnectEvent};

use crate::kinds::{Kind, Served};
use crate::random::Random;
use crate::server::{Process, echo};

/// Longer than anything takes that goes well on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

const DOC: DocId = DocId([9; 16]);

/// Payloads around everything that has a limit.
const SIZES: [usize; 22] = [
    0, 1, 2, 15, 16, 17, 63, 64, 65, 125, 126, 127, 1_024, 4_096, 16_303, 16_320, 16_384, 65_471,
    65_535, 65_536, 100_000, 1_000_000,
];

type Check = fn(Kind) -> Pin<Box<dyn Future<Output = ()>>>;

pub(crate) const ALL: [(&str, Check); 10] = [
    ("22 sizes both ways", |kind| Box::pin(sizes(kind))),
    ("10,000 mixed messages", |kind| Box::pin(mixed(kind))),
    ("a reader that stalls", |kind| Box::pin(stalled(kind))),
    ("files both ways", |kind| Box::pin(files(kind))),
    ("requests and a stream", |kind| Box::pin(requests(kind))),
    ("kill -9", |kind| Box::pin(killed(kind))),
    ("restart", |kind| Box::pin(restarted(kind))),
    ("token", |kind| Box::pin(token(kind))),
    ("close by who connected", |kind| Box::pin(closed(kind, true))),
    ("close by who accepted", |kind| Box::pin(closed(kind, false))),
];

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs a check. What goes wrong is the text of its panic, which stands on stderr too.
pub(crate) fn run(check: Check, kind: Kind) -> Result<(), String> {
    let checked = std::panic::catch_unwind(|| runtime().block_on(check(kind)));
    checked.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "it panicked".to_owned())
    })
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

struct Pair {
    served: Served,
    client: Node,
    near: (Peer, Link),
    far: (Peer, Link),
}

async fn pair(kind: Kind) -> Pair {
    let served = kind.serve(0, None).await;
    let client = kind.client(None).build().unwrap();
    let near = soon("link", client.connect(&served.url)).await.unwrap();
    let far = soon("peer", served.node.accept()).await.unwrap();
    assert_eq!((near.1.kind(), far.1.kind()), (kind.name, kind.name));
    Pair { served, client, near, far }
}

async fn send(sender: &mut Sender, number: u64, len: usize) {
    let mut grant = soon("room", sender.reserve(len)).await.unwrap();
    Random(number).fill(grant.payload_mut());
    let fields = DeltaFields { sequence: number as u32, ..DeltaFields::new(DOC) };
    grant.commit(fields, len).unwrap();
}

/// Reads the delta of this number and length, and checks every byte.
async fn receive(receiver: &mut Receiver, number: u64, len: usize) {
    let frame = soon("delta", receiver.next()).await.unwrap();
    let delta = frame.delta().unwrap();
    delta.verify_checksum().unwrap();
    assert_eq!((delta.sequence(), delta.payload().len()), (number as u32, len));
    let mut expected = vec![0; len];
    Random(number).fill(&mut expected);
    assert!(delta.payload() == expected, "delta {number} of {len} bytes is damaged");
}

/// Each comes back as it was sent.
async fn sizes(kind: Kind) {
    let pair = pair(kind).await;
    tokio::spawn(echo(pair.far.0));
    let (mut peer, _link) = pair.near;
    for (number, len) in (0..).zip(SIZES) {
        send(&mut peer.send, number, len).await;
        receive(&mut peer.receive, number, len).await;
    }
}

/// Of lengths from nothing to 40 KB, both ways at once, with commands between them.
async fn mixed(kind: Kind) {
    const MESSAGES: u64 = 10_000;
    const COMMANDS: u64 = 200;
    fn len(number: u64) -> usize {
        let mut random = Random(number ^ 0x5eed);
        let mut bytes = [0; 2];
        random.fill(&mut bytes);
        let number = u16::from_le_bytes(bytes) as usize;
        // Most are short.
        if number.is_multiple_of(10) { number % 40_000 } else { number % 300 }
    }
    let pair = pair(kind).await;
    let mut tasks = Vec::new();
    for (peer, link) in [pair.near, pair.far] {
        let Peer { mut send, mut receive, mut command } = peer;
        tasks.push(tokio::spawn(async move {
            let sending = async {
                for number in 0..MESSAGES {
                    self::send(&mut send, number, len(number)).await;
                }
            };
            let receiving = async {
                for number in 0..MESSAGES {
                    self::receive(&mut receive, number, len(number)).await;
                }
            };
            let commanding = async {
                for number in 0..COMMANDS {
                    self::send(&mut command.send, number, 100).await;
                }
            };
            let commanded = async {
                for number in 0..COMMANDS {
                    self::receive(&mut command.receive, number, 100).await;
                }
            };
            tokio::join!(sending, receiving, commanding, commanded);
            (link, send, receive, command)
        }));
    }
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(soon("end of both", task).await.unwrap());
    }
}

/// The sender has to wait, its commands get through, and nothing of what it was let send is lost.
async fn stalled(kind: Kind) {
    const LEN: usize = 10_000;
    let pair = pair(kind).await;
    let ((mut here, link), (mut there, _far)) = (pair.near, pair.far);
    let mut accepted = 0;
    while let Ok(()) =
        tokio::time::timeout(Duration::from_millis(500), send(&mut here.send, accepted, LEN)).await
    {
        accepted += 1;
    }
    let limits = Limits::default();
    let most = limits.send_ring as u64 + 2 * limits.max_data_window;
    assert!(accepted * (LEN as u64) < most, "{accepted} were taken, though nobody reads");
    send(&mut here.command.send, 7, 64).await;
    receive(&mut there.command.receive, 7, 64).await;
    for number in 0..accepted {
        receive(&mut there.receive, number, LEN).await;
    }
    send(&mut here.send, accepted, LEN).await;
    receive(&mut there.receive, accepted, LEN).await;
    assert_eq!(link.ended(), None);
}

/// Each side sends a file beside deltas and commands, which go on.
async fn files(kind: Kind) {
    const LEN: usize = 5_000_000;
    const BESIDE: u64 = 50;
    let pair = pair(kind).await;
    let mut tasks = Vec::new();
    for (number, ((peer, link), node)) in
        (0..).zip([(pair.near, pair.client.clone()), (pair.far, pair.served.node.clone())])
    {
        let Peer { mut send, receive, mut command } = peer;
        let bulk = Bulk::new(node.runtime().clone(), BulkOptions::default()).unwrap();
        let (others, mut deltas) = tokio::sync::mpsc::unbounded_channel();
        let attending = bulk.clone();
        tokio::spawn(async move {
            // It ends with the link.
            let _ended =
                attending.attend_beside(&link, receive, |message| drop(others.send(message))).await;
        });
        tasks.push(tokio::spawn(async move {
            let mut bytes = vec![0; LEN];
            Random(number).fill(&mut bytes);
            let sent = bulk.send(Source::memory(bytes), FileName::new("file").unwrap()).unwrap();
            let Some(Proposal::Offer(offer)) = soon("offer", bulk.proposals()).await else {
                panic!("no offer")
            };
            let received = offer.accept(Sink::memory(LEN)).unwrap();
            for number in 0..BESIDE {
                self::send(&mut command.send, number, 100).await;
                self::receive(&mut command.receive, number, 100).await;
                self::send(&mut send, number, 1_000).await;
                let delta = soon("delta", deltas.recv()).await.unwrap();
                assert_eq!(u64::from(delta.delta().unwrap().sequence()), number);
            }
            let report = soon("file", received.finished()).await.unwrap();
            soon("its end", sent.finished()).await.unwrap();
            let mut expected = vec![0; LEN];
            Random(1 - number).fill(&mut expected);
            assert!(report.bytes.unwrap() == expected, "the file is damaged");
            (send, command)
        }));
    }
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(soon("end of both", task).await.unwrap());
    }
}

/// Each side asks and answers, and streams what is longer than any ring.
async fn requests(kind: Kind) {
    const CALLS: u32 = 200;
    const STREAM: usize = 3_000_000;
    let pair = pair(kind).await;
    let mut tasks = Vec::new();
    for ((peer, link), node) in
        [(pair.near, pair.client.clone()), (pair.far, pair.served.node.clone())]
    {
        let Peer { command, send, receive } = peer;
        let runtime = node.runtime().clone();
        let options = RequestsOptions::default();
        let opened = Requests::over_commands(&link, command, runtime, options).unwrap();
        let Opened { requests, mut incoming, commands } = opened;
        tasks.push(tokio::spawn(async move {
            let asking = async {
                for number in 0..CALLS {
                    let asked = number.to_le_bytes();
                    let answer = requests.call(&asked, CallOptions::default());
                    assert_eq!(soon("answer", answer).await.unwrap().payload(), asked);
                }
            };
            let streaming = async {
                let mut writer = requests.stream(DeltaFields::new(DOC), None).await.unwrap();
                for _ in 0..STREAM / 1_000 {
                    soon("room", writer.write(&[7; 1_000])).await.unwrap();
                }
                writer.finish().await.unwrap();
            };
            let answering = async {
                let (mut asked, mut streamed) = (0, 0);
                while asked < CALLS || streamed < STREAM {
                    match soon("request", incoming.next()).await.unwrap() {
                        Incoming::Request(request) => {
                            let payload = request.payload().to_vec();
                            request.respond(&payload).await.unwrap();
                            asked += 1;
                        }
                        Incoming::Stream(mut stream) => {
                            while let Some(piece) = soon("piece", stream.next()).await.unwrap() {
                                streamed += piece.payload().len();
                            }
                        }
                    }
                }
                assert_eq!((asked, streamed), (CALLS, STREAM));
            };
            tokio::join!(asking, streaming, answering);
            (link, requests, incoming, commands, send, receive)
        }));
    }
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(soon("end of both", task).await.unwrap());
    }
}

/// Who loses its peer is told in time.
async fn killed(kind: Kind) {
    let mut process = Process::start(kind, 0);
    let client = kind.client(None).build().unwrap();
    let (mut peer, link) = soon("link", client.connect(&process.url)).await.unwrap();
    send(&mut peer.send, 1, 1_000).await;
    receive(&mut peer.receive, 1, 1_000).await;
    process.kill();
    let ended = soon("end", link.closed()).await;
    let in_order = matches!(ended, LinkEnded::Session(Closed::ByPeer { .. } | Closed::ByUs { .. }));
    assert!(!in_order, "{ended}");
    soon("error", async { while peer.receive.next().await.is_ok() {} }).await;
}

/// Who keeps its connection gets it back.
async fn restarted(kind: Kind) {
    let mut process = Process::start(kind, 0);
    let (port, url) = (process.port(), process.url.clone());
    let backoff = Backoff { first: Duration::from_millis(50), ..Backoff::default() };
    let client = kind.client(None).backoff(backoff).build().unwrap();
    let mut kept = client.keep_connected(&url);
    for round in 0..3 {
        let up = async {
            loop {
                if let ReconnectEvent::Up(peer, link) = kept.next().await.unwrap() {
                    return (peer, link);
                }
            }
        };
        let (mut peer, _link) = soon("link", up).await;
        send(&mut peer.send, round, 1_000).await;
        receive(&mut peer.receive, round, 1_000).await;
        if round < 2 {
            process.kill();
            process = Process::start(kind, port);
            // Dropped before it knows, it would be over in order.
            let down = soon("end", kept.next()).await.unwrap();
            assert!(matches!(down, ReconnectEvent::Down { .. }), "{down:?}");
        }
    }
}

/// Who has it is let in, and nobody else.
async fn token(kind: Kind) {
    let right = Token::new("right").unwrap();
    let served = kind.serve(0, Some(right.clone())).await;
    for wrong in [None, Some(Token::new("wrong").unwrap())] {
        let client = kind.client(wrong).build().unwrap();
        let refused = soon("refusal", client.connect(&served.url)).await.unwrap_err();
        assert!(refused.to_string().contains("token"), "{refused}");
        assert!(served.node.peers().is_empty());
    }
    let client = kind.client(Some(right)).build().unwrap();
    soon("link", client.connect(&served.url)).await.unwrap();
    soon("peer", served.node.accept()).await.unwrap();
}

/// What was committed before arrives, and both sides say how it ended.
async fn closed(kind: Kind, by_near: bool) {
    const DELTAS: u64 = 50;
    const LEN: usize = 5_000;
    let pair = pair(kind).await;
    let (closing, other) = if by_near { (pair.near, pair.far) } else { (pair.far, pair.near) };
    let ((mut here, near), (mut there, far)) = (closing, other);
    for number in 0..DELTAS {
        send(&mut here.send, number, LEN).await;
    }
    near.close(CloseCode::NORMAL, "done");
    for number in 0..DELTAS {
        receive(&mut there.receive, number, LEN).await;
    }
    assert!(soon("end", there.receive.next()).await.is_err());
    let ended = soon("end", near.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::ByUs { complete: true, .. })), "{ended}");
    let ended = soon("end", far.closed()).await;
    assert!(matches!(ended, LinkEnded::Session(Closed::ByPeer { .. })), "{ended}");
    assert!(ended.to_string().contains("done"), "{ended}");
    let nobody = async {
        while !pair.client.peers().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("room", nobody).await;
}
