//! Two cores with a wire between them that keeps the order, and everything else by chance.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use deltawire_channels::Message;
use deltawire_framing::requests::{RefusalCode, RequestMessage, message_cost};
use deltawire_framing::{Channel, DeltaFields, DocId, FrameHeader, Kind, RecordBuf};
use proptest::prelude::*;

use super::{Core, MAX_CREDIT, Taken, grant};
use crate::error::{Ended, RequestError, Violation};
use crate::options::RequestsOptions;

fn message(said: &RequestMessage<'_>) -> Message {
    let body = [said.head().as_bytes(), said.payload()].concat();
    let mut record = RecordBuf::with_body_capacity(body.len());
    record.body_mut()[..body.len()].copy_from_slice(&body);
    record.seal(FrameHeader::whole(Kind::Request, Channel::Data, body.len()).unwrap()).unwrap();
    Message::try_from(record).unwrap()
}

#[test]
fn credits_have_an_end() {
    let mut credit = MAX_CREDIT - 5;
    assert_eq!(grant(&mut credit, 5, 7), Ok(()));
    assert_eq!(grant(&mut credit, 1, 7), Err(Violation::TooMuchCredit { id: 7 }));
    assert_eq!(credit, MAX_CREDIT);
}

const OPTIONS: RequestsOptions = RequestsOptions {
    max_pending: 4,
    max_incoming: 3,
    max_incoming_bytes: 3_000,
    max_request_len: 1_000,
    max_answer_len: 1_000,
    answer_window: 4_096,
    max_streams: 2,
    max_stream_len: 50_000,
    stream_window: 4_096,
    max_uncopied: 2_000,
    timeout: Duration::from_secs(1),
};

/// What a test does at one end.
#[derive(Clone, Debug)]
enum Step {
    Ask { many: bool, len: usize },
    PollAnswer(usize),
    DropCall(usize),
    Open { len: usize },
    Write { which: usize, len: usize },
    Finish(usize),
    PollTaken(usize),
    DropWriter(usize),
    Take,
    Answer { which: usize, len: usize, more: bool },
    Refuse(usize),
    Read(usize),
    DropReader(usize),
    Carry,
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..4_usize;
    prop_oneof![
        (any::<bool>(), 0..1_200_usize).prop_map(|(many, len)| Step::Ask { many, len }),
        which.clone().prop_map(Step::PollAnswer),
        which.clone().prop_map(Step::DropCall),
        (0..3_usize).prop_map(|len| Step::Open { len: len * 3_000 }),
        (which.clone(), 1..3_000_usize).prop_map(|(which, len)| Step::Write { which, len }),
        which.clone().prop_map(Step::Finish),
        which.clone().prop_map(Step::PollTaken),
        which.clone().prop_map(Step::DropWriter),
        Just(Step::Take),
        (which.clone(), 0..1_200_usize, any::<bool>())
            .prop_map(|(which, len, more)| Step::Answer { which, len, more }),
        which.clone().prop_map(Step::Refuse),
        which.clone().prop_map(Step::Read),
        which.prop_map(Step::DropReader),
        Just(Step::Carry),
        Just(Step::Carry),
        Just(Step::Carry),
        Just(Step::Wait),
    ]
}

struct End {
    core: Core,
    wire: VecDeque<Message>,
    /// Whether many answers may come.
    calls: BTreeMap<u32, bool>,
    /// How long it is to be, how much went, and whether the last did.
    writers: BTreeMap<u32, (Option<usize>, usize, bool)>,
    requests: BTreeMap<u32, bool>,
    readers: BTreeMap<u32, usize>,
}

fn nth<V: Copy>(map: &BTreeMap<u32, V>, which: usize) -> Option<(u32, V)> {
    map.iter().nth(which % map.len().max(1)).map(|(id, value)| (*id, *value))
}

fn byte(at: usize) -> u8 {
    (at ^ at >> 8) as u8
}

impl End {
    fn new() -> Self {
        let (calls, writers) = (BTreeMap::new(), BTreeMap::new());
        let (requests, readers) = (BTreeMap::new(), BTreeMap::new());
        let core = Core::new(OPTIONS);
        Self { core, wire: VecDeque::new(), calls, writers, requests, readers }
    }

    fn say(&mut self, said: &RequestMessage<'_>) {
        self.flush();
        self.wire.push_back(message(said));
    }

    fn flush(&mut self) {
        while let Some(reply) = self.core.reply() {
            self.wire.push_back(message(&reply.message()));
            self.core.replied();
        }
        drop(self.core.take_woken());
    }

    fn act(&mut self, step: &Step, now: Duration) {
        let context = &mut Context::from_waker(Waker::noop());
        match *step {
            Step::Ask { many, len } if self.core.has_place_to_ask() => {
                let id = self.core.next_id();
                let payload = vec![id as u8; len];
                let answers = many.then_some(OPTIONS.answer_window);
                self.say(&RequestMessage::Request { id, answers, payload: &payload });
                assert_eq!(self.core.asked(many, now, OPTIONS.timeout), id);
                self.calls.insert(id, many);
            }
            Step::PollAnswer(which) => {
                let Some((id, many)) = nth(&self.calls, which) else { return };
                match self.core.poll_answer(id, context) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(Some(answer))) => {
                        let frame = answer.message().frame();
                        assert!(
                            frame.request().unwrap().payload().iter().all(|it| *it == id as u8)
                        );
                        if !many {
                            self.calls.remove(&id);
                        }
                    }
                    Poll::Ready(Ok(None)) => {
                        assert!(many);
                        self.calls.remove(&id);
                    }
                    Poll::Ready(Err(error)) => {
                        assert!(!matches!(error, RequestError::LinkOver { .. }));
                        self.calls.remove(&id);
                    }
                }
            }
            Step::DropCall(which) => {
                let Some((id, _)) = nth(&self.calls, which) else { return };
                self.core.drop_asked(id);
                self.calls.remove(&id);
            }
            Step::Open { len } if self.core.has_place_to_write() => {
                let (id, len) = (self.core.next_id(), (len > 0).then_some(len));
                let fields = DeltaFields::new(DocId([id as u8; 16]));
                let known = len.map(|len| len as u64);
                self.say(&RequestMessage::Open { id, len: known, fields });
                assert_eq!(self.core.wrote_open(known), id);
                self.writers.insert(id, (len, 0, false));
            }
            Step::Write { which, len } => {
                let Some((id, (_, sent, false))) = nth(&self.writers, which) else { return };
                if let Ok(Some(len)) = self.core.check_piece(id, len) {
                    let payload: Vec<u8> = (sent..sent + len).map(byte).collect();
                    self.say(&RequestMessage::Piece { id, last: false, payload: &payload });
                    self.core.wrote_piece(id, len, false);
                    self.writers.get_mut(&id).unwrap().1 += len;
                }
            }
            Step::Finish(which) => {
                let Some((id, (_, _, false))) = nth(&self.writers, which) else { return };
                if self.core.check_written(id).is_ok()
                    && let Ok(Some(_)) = self.core.check_piece(id, 0)
                {
                    self.say(&RequestMessage::Piece { id, last: true, payload: b"" });
                    self.core.wrote_piece(id, 0, true);
                    self.writers.get_mut(&id).unwrap().2 = true;
                }
            }
            Step::PollTaken(which) => {
                let Some((id, (.., finished))) = nth(&self.writers, which) else { return };
                if let Poll::Ready(done) = self.core.poll_taken(id, context) {
                    assert!(finished || done.is_err());
                    self.writers.remove(&id);
                }
            }
            Step::DropWriter(which) => {
                let Some((id, _)) = nth(&self.writers, which) else { return };
                self.core.drop_written(id);
                self.writers.remove(&id);
            }
            Step::Take => match self.core.poll_arrival(context) {
                Poll::Ready(Some(Taken::Request { id, many, message })) => {
                    let frame = message.message().frame();
                    assert!(frame.request().unwrap().payload().iter().all(|it| *it == id as u8));
                    self.requests.insert(id, many);
                }
                Poll::Ready(Some(Taken::Stream { id, fields, .. })) => {
                    assert_eq!(fields.doc_id, DocId([id as u8; 16]));
                    self.readers.insert(id, 0);
                }
                Poll::Ready(None) => panic!("it is not over"),
                Poll::Pending => {}
            },
            Step::Answer { which, len, more } => {
                let Some((id, many)) = nth(&self.requests, which) else { return };
                let (more, payload) = (more && many, vec![id as u8; len]);
                match self.core.check_answer(id, message_cost(len)) {
                    Ok(true) => {
                        self.say(&RequestMessage::Answer { id, more, payload: &payload });
                        self.core.answered(id, message_cost(len), more);
                        if !more {
                            self.requests.remove(&id);
                        }
                    }
                    Ok(false) => assert!(many),
                    Err(error) => {
                        assert_eq!(error, RequestError::Cancelled);
                        self.core.refuse_served(id, RefusalCode::ABANDONED, String::new());
                        self.requests.remove(&id);
                    }
                }
            }
            Step::Refuse(which) => {
                let Some((id, _)) = nth(&self.requests, which) else { return };
                self.core.refuse_served(id, RefusalCode(256), "no".into());
                self.requests.remove(&id);
            }
            Step::Read(which) => {
                let Some((id, read)) = nth(&self.readers, which) else { return };
                match self.core.poll_piece(id, context) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(Some(piece))) => {
                        let frame = piece.message().frame();
                        let payload = frame.request().unwrap().payload();
                        assert!(payload.iter().enumerate().all(|(at, it)| *it == byte(read + at)));
                        *self.readers.get_mut(&id).unwrap() += payload.len();
                    }
                    Poll::Ready(done) => {
                        assert!(!matches!(done, Err(RequestError::LinkOver { .. })));
                        self.readers.remove(&id);
                    }
                }
            }
            Step::DropReader(which) => {
                let Some((id, _)) = nth(&self.readers, which) else { return };
                self.core.drop_read(id, RefusalCode::CANCELLED, String::new());
                self.readers.remove(&id);
            }
            Step::Ask { .. } | Step::Open { .. } | Step::Carry | Step::Wait => {}
        }
        self.flush();
    }
}

/// Carries what is on its way, at most so many messages.
fn carry(ends: &mut [End; 2], at_most: usize) {
    for from in 0..2 {
        for _ in 0..at_most {
            let Some(message) = ends[from].wire.pop_front() else { break };
            ends[1 - from].core.handle(message).unwrap();
            ends[1 - from].flush();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Two honest ends never find a rule broken, hold no more than they may, and in the end have nothing left.
    #[test]
    fn honest_ends_agree_however_it_goes(
        steps in prop::collection::vec((any::<bool>(), step()), 1..400),
    ) {
        let mut ends = [End::new(), End::new()];
        let mut now = Duration::ZERO;
        for (end, step) in &steps {
            match step {
                Step::Carry => carry(&mut ends, 3),
                Step::Wait => {
                    now += OPTIONS.timeout / 4;
                    ends.iter_mut().for_each(|end| {
                        end.core.handle_timeout(now);
                        end.flush();
                    });
                }
                step => ends[usize::from(*end)].act(step, now),
            }
            for end in &ends {
                prop_assert!(end.core.held_bytes() as u64 <= OPTIONS.memory_bound());
                prop_assert!(end.core.open_exchanges() <= 4 + 3 + 4);
            }
        }
        // Everybody lets go: what is left is told to the other, and forgotten.
        for end in &mut ends {
            for _ in 0..8 {
                end.act(&Step::DropCall(0), now);
                end.act(&Step::DropWriter(0), now);
            }
        }
        for _ in 0..3 {
            carry(&mut ends, usize::MAX);
            for end in &mut ends {
                for _ in 0..8 {
                    end.act(&Step::Take, now);
                    end.act(&Step::Refuse(0), now);
                    end.act(&Step::DropReader(0), now);
                }
            }
        }
        carry(&mut ends, usize::MAX);
        for end in &mut ends {
            prop_assert_eq!(end.core.open_exchanges(), 0);
            prop_assert_eq!(end.core.held_bytes(), 0);
            prop_assert_eq!(end.core.poll_timeout(), None);
        }
    }

    /// The end, at any time, ends everything by name.
    #[test]
    fn the_end_ends_everything(steps in prop::collection::vec((any::<bool>(), step()), 1..100)) {
        let mut ends = [End::new(), End::new()];
        for (end, step) in &steps {
            ends[usize::from(*end)].act(step, Duration::ZERO);
            if matches!(step, Step::Carry) {
                carry(&mut ends, 5);
            }
        }
        let context = &mut Context::from_waker(Waker::noop());
        for end in &mut ends {
            end.core.end(Ended::ByUs);
            for id in end.calls.keys() {
                while let Poll::Ready(Ok(Some(_))) = end.core.poll_answer(*id, context) {}
                prop_assert!(end.core.poll_answer(*id, context).is_ready());
            }
            for id in end.writers.keys() {
                prop_assert!(end.core.poll_taken(*id, context).is_ready());
            }
            for id in end.requests.keys() {
                prop_assert!(end.core.poll_cancelled(*id, context).is_ready());
                prop_assert!(end.core.check_answer(*id, 256).is_err());
            }
            while let Poll::Ready(Some(taken)) = end.core.poll_arrival(context) {
                drop(taken);
            }
            for id in end.readers.keys() {
                while let Poll::Ready(Ok(Some(_))) = end.core.poll_piece(*id, context) {}
            }
            prop_assert!(end.core.reply().is_none());
        }
    }
}
