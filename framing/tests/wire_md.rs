//! The examples in `docs/WIRE.md` are what they say they are.

use std::time::Duration;

use deltawire_framing::bulk::Bulk;
use deltawire_framing::control::Control;
use deltawire_framing::documents::Document;
use deltawire_framing::operations::{Operation, Operations};
use deltawire_framing::requests::RequestMessage;
use deltawire_framing::{
    FrameHeader, Frames, Kind, Malformed, Reassembled, Reassembler, ReassemblerLimits,
};

const DOCUMENT: &str = include_str!("../../docs/WIRE.md");

/// The bytes of the blocks that open with "```hex `kind`".
fn examples(kind: &str) -> Vec<Vec<u8>> {
    let opening = format!("```hex {kind}\n");
    let blocks = DOCUMENT.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| {
            let digits: String = block.split_whitespace().collect();
            (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect()
        })
        .collect()
}

#[test]
fn messages_are_valid_and_say_what_the_text_says() {
    let mut reassembler = Reassembler::new(ReassemblerLimits::default(), 0);
    let mut landing = |message: &FrameHeader| Some(vec![0; message.message_len() as usize]);
    let mut found = Vec::new();
    for message in examples("message") {
        for frame in Frames::new(&message) {
            let frame = frame.unwrap();
            match reassembler.insert(frame, Duration::ZERO, &mut landing).unwrap() {
                Reassembled::Whole(frame) => found.push(match frame.kind() {
                    Kind::Delta => {
                        let delta = frame.delta().unwrap();
                        delta.verify_checksum().unwrap();
                        format!("delta {:?}", delta.payload().escape_ascii().to_string())
                    }
                    Kind::Control => match frame.control().unwrap() {
                        Control::Hello(_) => "hello".into(),
                        Control::Window(window) => format!("window {}", window.limit()),
                        Control::Close(close) => format!("close {}", close.reason()),
                        Control::Acknowledge(it) => format!("acknowledge {}", it.taken()),
                        Control::Ticket(ticket) => format!("ticket {}", ticket.number()),
                        Control::Resume(resume) => format!("resume {:?}", resume.taken()),
                        other => panic!("{other:?}"),
                    },
                    Kind::Document => match frame.document().unwrap() {
                        Document::Subscribe(subscribe) => {
                            format!("subscribe {}", subscribe.fields().id)
                        }
                        Document::Mark(mark) => format!("mark {}", mark.fields().position),
                        other => panic!("{other:?}"),
                    },
                    Kind::Request => match frame.request().unwrap() {
                        RequestMessage::Request { id, payload, .. } => {
                            format!("request {id} {:?}", payload.escape_ascii().to_string())
                        }
                        other => format!("{other:?}"),
                    },
                    Kind::Bulk => match frame.bulk().unwrap() {
                        Bulk::Offer(offer, name) => format!("offer {} {name}", offer.fields().id),
                        Bulk::Ask(ask) => format!("ask {}", ask.fields().first),
                        other => panic!("{other:?}"),
                    },
                    Kind::Opaque => format!("opaque {}", frame.body().escape_ascii()),
                }),
                Reassembled::Complete(message) => {
                    assert_eq!(message.buffer, (0..40).collect::<Vec<u8>>());
                    found.push("40 bytes".into());
                }
                Reassembled::Partial => {}
                Reassembled::Duplicate => panic!("no example stands twice"),
            }
        }
    }
    let expected = [
        "opaque abc",
        "opaque defgh",
        "40 bytes",
        "delta \"hello\"",
        "hello",
        "window 1048576",
        "close restart",
        "acknowledge 65536",
        "ticket 3",
        "resume [64, 65536]",
        "subscribe 1",
        "mark 5",
        "request 1 \"ask\"",
        "offer 7 a.bin",
        "ask 1",
    ];
    assert_eq!(found, expected);
}

#[test]
fn operations_are_valid_and_say_what_the_text_says() {
    let examples = examples("operations");
    let found: Result<Vec<_>, Malformed> = Operations::new(&examples[0]).collect();
    let expected =
        [Operation::Insert { offset: 3, data: b"new" }, Operation::Delete { offset: 0, len: 2 }];
    assert_eq!(found.unwrap(), expected);
}
