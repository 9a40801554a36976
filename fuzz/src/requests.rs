//! What is asked and streamed over a link, told whatever a peer can say: never a panic, never more memory than its
//! limits allow, and an end by name for each rule that is broken.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use deltawire_channels::Message;
use deltawire_framing::requests::{CreditOf, RefusalCode, RequestMessage, message_cost};
use deltawire_framing::{Channel, DeltaFields, DocId, FrameHeader, Kind, RecordBuf};
use deltawire_requests::core::{Core, Taken};
use deltawire_requests::{Ended, MAX_REPLIES, RequestsOptions};

/// Small, so that short inputs reach every one of them.
const OPTIONS: RequestsOptions = RequestsOptions {
    max_pending: 3,
    max_incoming: 3,
    max_incoming_bytes: 3_000,
    max_request_len: 600,
    max_answer_len: 600,
    answer_window: 4_096,
    max_streams: 2,
    max_stream_len: 5_000,
    stream_window: 4_096,
    max_uncopied: 1_000,
    timeout: Duration::from_secs(1),
};

/// A few for each exchange may wait, however many others do.
const MORE_REPLIES: usize = 2 * (3 + 3 + 2 + 2);

/// Bytes as a message, then as a sequence of actions.
pub fn requests(data: &[u8]) {
    if let Ok(message) = RequestMessage::parse(data) {
        assert_eq!([message.head().as_bytes(), message.payload()].concat(), data);
        assert_ne!(message.id(), 0);
    }
    let mut kept = None;
    let taken = measure(|| {
        let mut run = Run::new(data);
        while run.act() {}
        kept = Some(run);
    });
    drop(kept);
    // What the application of this run took: four of each at a time, and one message that is just being told.
    let applications = 12 * (700 + 512) + 8_192;
    let bound = OPTIONS.memory_bound() + applications;
    assert!(taken.bytes_max <= bound, "{} of {bound} bytes", taken.bytes_max);
}

struct Run<'a> {
    input: &'a [u8],
    core: Core,
    now: Duration,
    calls: Vec<u32>,
    writers: Vec<u32>,
    requests: Vec<(u32, bool)>,
    readers: Vec<u32>,
}

fn message(said: &RequestMessage<'_>) -> Message {
    let body = [said.head().as_bytes(), said.payload()].concat();
    let mut record = RecordBuf::with_body_capacity(body.len());
    record.body_mut()[..body.len()].copy_from_slice(&body);
    record.seal(FrameHeader::whole(Kind::Request, Channel::Command, body.len()).unwrap()).unwrap();
    Message::try_from(record).expect("what is written can be read")
}

fn drop_at<T>(all: &mut Vec<T>, which: u8) -> Option<T> {
    (!all.is_empty()).then(|| all.swap_remove(usize::from(which) % all.len()))
}

impl<'a> Run<'a> {
    fn new(input: &'a [u8]) -> Self {
        let (calls, writers) = (Vec::new(), Vec::new());
        let core = Core::new(OPTIONS);
        let now = Duration::ZERO;
        Self { input, core, now, calls, writers, requests: Vec::new(), readers: Vec::new() }
    }

    fn byte(&mut self) -> u8 {
        let (first, rest) = self.input.split_first().unwrap_or((&0, &[]));
        self.input = rest;
        *first
    }

    /// One thing that the peer says, or the application does; `false` at the end.
    fn act(&mut self) -> bool {
        if self.input.is_empty() {
            return false;
        }
        let (action, which) = (self.byte(), self.byte());
        if action < 160 {
            self.say(action, which);
        } else {
            self.do_something(action, which);
        }
        drop(self.core.take_woken());
        assert!(self.core.waiting_replies() <= MAX_REPLIES + MORE_REPLIES);
        assert!(self.core.held_bytes() as u64 <= OPTIONS.memory_bound());
        assert!(self.core.open_exchanges() <= 3 + 3 + 2 + 2);
        true
    }

    fn say(&mut self, action: u8, id: u8) {
        let len = usize::from(self.byte()) * 3;
        let payload = vec![id; len];
        let (flag, id) = (action & 8 != 0, u32::from(id % 16) + 1);
        let said = match action & 7 {
            0 => RequestMessage::Request { id, answers: flag.then_some(1_000), payload: &payload },
            1 => RequestMessage::Answer { id, more: flag, payload: &payload },
            2 => RequestMessage::Refused {
                id,
                code: RefusalCode(len as u16 + 1),
                may_have_run: flag,
                reason: "no",
            },
            3 => RequestMessage::Cancel { id },
            4 => {
                let of = if flag { CreditOf::Pieces } else { CreditOf::Answers };
                RequestMessage::Credit { id, of, bytes: len as u32 * 1_000_003 + 1 }
            }
            5 => {
                let fields = DeltaFields::new(DocId([9; 16]));
                RequestMessage::Open { id, len: flag.then_some(len as u64 * 10), fields }
            }
            _ => RequestMessage::Piece { id, last: flag || len == 0, payload: &payload },
        };
        if let Err(violation) = self.core.handle(message(&said)) {
            assert!(!violation.to_string().is_empty());
            self.core.end(Ended::Violation(violation));
            assert!(self.core.reply().is_none());
        }
    }

    fn do_something(&mut self, action: u8, which: u8) {
        let context = &mut Context::from_waker(Waker::noop());
        // Whatever this side opens goes behind the replies.
        let opens = self.core.ended().is_none() && self.core.reply().is_none();
        match action % 16 {
            0 if opens && self.core.has_place_to_ask() => {
                self.calls.push(self.core.asked(which & 1 != 0, self.now, OPTIONS.timeout));
            }
            1 if opens && self.core.has_place_to_write() => {
                let len = (which & 1 != 0).then_some(u64::from(which) * 10);
                self.writers.push(self.core.wrote_open(len));
            }
            2 => {
                if let Some(id) = drop_at(&mut self.calls, which) {
                    match self.core.poll_answer(id, context) {
                        Poll::Ready(Ok(Some(_))) | Poll::Pending => self.calls.push(id),
                        Poll::Ready(_) => {}
                    }
                }
            }
            3 => {
                if let Some(id) = drop_at(&mut self.calls, which) {
                    self.core.drop_asked(id);
                }
            }
            4 => {
                if let Some(&id) = self.writers.get(usize::from(which) % self.writers.len().max(1))
                    && let Ok(Some(len)) = self.core.check_piece(id, 500)
                {
                    self.core.wrote_piece(id, len, which & 128 != 0);
                }
            }
            5 => {
                if let Some(id) = drop_at(&mut self.writers, which)
                    && self.core.poll_taken(id, context).is_pending()
                {
                    self.writers.push(id);
                }
            }
            6 => {
                if let Some(id) = drop_at(&mut self.writers, which) {
                    self.core.drop_written(id);
                }
            }
            7 | 8 if self.requests.len() < 4 && self.readers.len() < 4 => {
                match self.core.poll_arrival(context) {
                    Poll::Ready(Some(Taken::Request { id, many, message })) => {
                        drop(message);
                        self.requests.push((id, many));
                    }
                    Poll::Ready(Some(Taken::Stream { id, .. })) => self.readers.push(id),
                    Poll::Ready(None) => assert!(self.core.ended().is_some()),
                    Poll::Pending => {}
                }
            }
            9 => {
                if let Some((id, many)) = drop_at(&mut self.requests, which) {
                    let more = many && which & 1 != 0;
                    let cost = message_cost(usize::from(which));
                    if let Ok(true) = self.core.check_answer(id, cost) {
                        self.core.answered(id, cost, more);
                        if more {
                            self.requests.push((id, many));
                        }
                    } else {
                        self.core.refuse_served(id, RefusalCode::ABANDONED, String::new());
                    }
                }
            }
            10 | 11 => {
                if let Some(id) = drop_at(&mut self.readers, which) {
                    match self.core.poll_piece(id, context) {
                        Poll::Ready(Ok(Some(_))) | Poll::Pending => self.readers.push(id),
                        Poll::Ready(_) => {}
                    }
                }
            }
            12 => {
                if let Some(id) = drop_at(&mut self.readers, which) {
                    self.core.drop_read(id, RefusalCode::CANCELLED, String::new());
                }
            }
            13 => {
                self.now += Duration::from_millis(u64::from(which) * 10);
                self.core.handle_timeout(self.now);
                assert!(self.core.poll_timeout().is_none_or(|at| at > self.now));
            }
            14 if which > 250 => self.core.stop_serving(),
            _ => {
                for _ in 0..which {
                    let Some(reply) = self.core.reply() else { break };
                    drop(message(&reply.message()));
                    self.core.replied();
                }
            }
        }
    }
}
