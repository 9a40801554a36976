//! A peer that speaks bulk and keeps none of its rules: transfers end by name, and nothing wrong is written.

use deltawire_bulk::{BulkOptions, BulkStatus, Existing, Proposal, Sink, Source, TransferError};
use deltawire_channels::session::{FrameSource, SendPriority};
use deltawire_channels::{Message, Peer};
use deltawire_framing::bulk::{Accept, Ask, AskFields, Bulk, Offer, OfferFields, Piece, Wanted};
use deltawire_framing::{Channel, FrameHeader, Kind, RecordBuf};
use deltawire_link::Link;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use zerocopy::IntoBytes;

use crate::lab::{Folder, Nodes, name, soon};

/// The peer's own messages.
#[derive(Clone, Default)]
struct Says(Arc<Mutex<(VecDeque<Message>, Option<Waker>)>>);

impl Says {
    async fn over(link: &Link) -> Self {
        let says = Self::default();
        link.open_source(Box::new(says.clone()), SendPriority::default()).await.unwrap();
        says
    }

    fn say(&self, body: &[u8]) {
        let mut record = RecordBuf::with_body_capacity(body.len());
        record.body_mut()[..body.len()].copy_from_slice(body);
        record.seal(FrameHeader::whole(Kind::Bulk, Channel::Data, body.len()).unwrap()).unwrap();
        let mut state = self.0.lock().unwrap();
        state.0.push_back(Message::try_from(record).unwrap());
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

impl FrameSource for Says {
    fn try_frame(&mut self) -> Option<Message> {
        self.0.lock().unwrap().0.pop_front()
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.0.lock().unwrap();
        match state.0.pop_front() {
            Some(message) => Poll::Ready(Some(message)),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn close(&mut self) {}

    fn is_closed(&self) -> bool {
        false
    }
}

/// The next of what the honest side says, as its type and what is needed of it.
async fn hear(peer: &mut Peer) -> Heard {
    loop {
        let message = soon("message", peer.receive.take()).await.unwrap();
        if message.kind() != Kind::Bulk {
            continue;
        }
        return match message.frame().bulk().unwrap() {
            Bulk::Offer(offer, _) => Heard::Offer(offer.fields()),
            Bulk::Done(done) => Heard::Done(done.fields().status),
            Bulk::Ask(ask) => Heard::Ask(ask.fields()),
            _ => continue,
        };
    }
}

#[derive(Debug)]
enum Heard {
    Offer(OfferFields),
    Done(BulkStatus),
    Ask(AskFields),
}

fn offer(id: u32, len: u64, name: &str) -> Vec<u8> {
    let (root, piece_len) = ([7; 32], 65_536);
    let fields = OfferFields { id, request: 0, len, root, piece_len, modified: 0 };
    Offer::body(&fields, name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_what_it_may_not_gets_nothing_written() {
    let to = Folder::new("hostile");
    let nodes = Nodes::new();
    let [_, far] = nodes.bulk(BulkOptions::default());
    let [(mut peer, link), (honest, honest_link)] = nodes.link().await;
    let bulk = far.clone();
    let _attending = tokio::spawn(async move { bulk.attend(&honest_link, honest.receive).await });
    let says = Says::over(&link).await;
    for file in ["../a", "/etc/a", ".a", "a/b", "nul", "a\\b", "a.part", "a\0"] {
        says.say(&offer(1, 5, file));
        let heard = hear(&mut peer).await;
        assert!(matches!(heard, Heard::Done(BulkStatus::NAME)), "{file:?} {heard:?}");
    }
    says.say(&offer(2, (1 << 30) + 1, "long"));
    assert!(matches!(hear(&mut peer).await, Heard::Done(BulkStatus::TOO_LONG)));
    // Pieces of nothing are passed over.
    let piece = |id, index, len| [Piece::new(id, index).as_bytes(), &vec![1; len]].concat();
    says.say(&piece(99, 0, 100));
    // What was not asked for, what is too long, and what is always wrong.
    for (id, asked) in [(3, false), (4, true), (5, true)] {
        says.say(&offer(id, 50_000, "a"));
        let Some(Proposal::Offer(offered)) = soon("offer", far.proposals()).await else {
            panic!("no offer")
        };
        let transfer = offered.accept(Sink::folder(&to.0, Existing::Refuse)).unwrap();
        let Heard::Ask(ask) = hear(&mut peer).await else { panic!("no ask") };
        assert_eq!((ask.id, ask.wanted, ask.first), (id, Wanted::Pieces, 0));
        let error = match (id, asked) {
            (3, _) => {
                says.say(&piece(id, 1, 50_000));
                soon("end", transfer.finished()).await.unwrap_err()
            }
            (4, _) => {
                says.say(&piece(id, 0, 50_001));
                soon("end", transfer.finished()).await.unwrap_err()
            }
            _ => {
                for _ in 0..3 {
                    says.say(&piece(id, 0, 50_000));
                }
                let again = soon("end", transfer.finished()).await.unwrap_err();
                // It was asked for three times at the most, so the rest had no place; either ends it.
                assert!(
                    matches!(again, TransferError::Checksum(3) | TransferError::OutOfPlace(_)),
                    "{again}"
                );
                continue;
            }
        };
        assert!(matches!(error, TransferError::OutOfPlace(_)), "{error}");
        while !matches!(hear(&mut peer).await, Heard::Done(BulkStatus::OUT_OF_PLACE)) {}
    }
    assert!(!to.names().contains(&"a".to_owned()));
    assert!(link.ended().is_none(), "the session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_floods_with_offers_and_asks_is_bounded() {
    let nodes = Nodes::new();
    let [_, far] = nodes.bulk(BulkOptions::default());
    let [(mut peer, link), (honest, honest_link)] = nodes.link().await;
    let bulk = far.clone();
    let _attending = tokio::spawn(async move { bulk.attend(&honest_link, honest.receive).await });
    let says = Says::over(&link).await;
    for id in 1..=1_000 {
        says.say(&offer(id, 5, "a"));
    }
    let mut refused = 0;
    while refused < 1_000 - 64 {
        if let Heard::Done(status) = hear(&mut peer).await {
            assert_eq!(status, BulkStatus::TOO_MANY);
            refused += 1;
        }
    }
    // Of a file of the honest side's everything is asked for, over and over.
    let sent = far.send(Source::memory(vec![7; 200_000]), name("b")).unwrap();
    let Heard::Offer(fields) = hear(&mut peer).await else { panic!("no offer") };
    says.say(Accept::new(fields.id, 0).as_bytes());
    for _ in 0..2_000 {
        let ask = AskFields {
            id: fields.id,
            wanted: Wanted::Pieces,
            first: 0,
            count: 4,
            written: u64::MAX,
        };
        says.say(Ask::new(ask).as_bytes());
    }
    let error = soon("end", sent.finished()).await.unwrap_err();
    assert!(matches!(error, TransferError::OutOfPlace(_)), "{error}");
    assert!(link.ended().is_none(), "the session goes on");
}
