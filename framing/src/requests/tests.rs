use std::vec::Vec;

use super::*;
use crate::delta::{DeltaFields, DeltaType, DocId};
use crate::error::Field;

fn written(message: &RequestMessage<'_>) -> Vec<u8> {
    [message.head().as_bytes(), message.payload()].concat()
}

fn all() -> [RequestMessage<'static>; 12] {
    let fields = DeltaFields {
        delta_type: DeltaType::SNAPSHOT,
        timestamp: 7,
        sequence: 9,
        ..DeltaFields::new(DocId([3; 16]))
    };
    [
        RequestMessage::Request { id: 1, answers: None, payload: b"" },
        RequestMessage::Request { id: 2, answers: Some(9), payload: b"ask" },
        RequestMessage::Answer { id: 3, more: false, payload: b"" },
        RequestMessage::Answer { id: 4, more: true, payload: b"tell" },
        RequestMessage::Refused {
            id: 5,
            code: RefusalCode::TOO_MANY,
            may_have_run: false,
            reason: "",
        },
        RequestMessage::Refused {
            id: 6,
            code: RefusalCode(u16::MAX),
            may_have_run: true,
            reason: "no",
        },
        RequestMessage::Cancel { id: 7 },
        RequestMessage::Credit { id: 8, of: CreditOf::Answers, bytes: 1 },
        RequestMessage::Credit { id: 9, of: CreditOf::Pieces, bytes: u32::MAX },
        RequestMessage::Open { id: 10, len: Some(0), fields },
        RequestMessage::Piece { id: 11, last: false, payload: b"x" },
        RequestMessage::Piece { id: u32::MAX, last: true, payload: b"" },
    ]
}

#[test]
fn what_is_written_is_read_back() {
    for message in all() {
        let body = written(&message);
        assert_eq!(RequestMessage::parse(&body), Ok(message));
    }
}

#[test]
fn a_byte_more_or_less_is_an_error_or_a_payload() {
    for message in all() {
        let mut body = written(&message);
        body.push(b'x');
        match (message, RequestMessage::parse(&body)) {
            (
                RequestMessage::Cancel { .. }
                | RequestMessage::Credit { .. }
                | RequestMessage::Open { .. },
                read,
            ) => assert_eq!(read.unwrap_err().field, Field::Length),
            (_, read) => assert!(read.unwrap().payload().ends_with(b"x")),
        }
        assert_eq!(RequestMessage::parse(&body[..15]).unwrap_err().field, Field::Length);
    }
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let reason = "é".repeat(200);
    let code = RefusalCode::APPLICATION;
    let message =
        RequestMessage::Refused { id: 1, code, may_have_run: true, reason: &reason[1 - 1..] };
    assert_eq!(message.payload().len(), 256);
    let odd = std::format!("x{reason}");
    let message = RequestMessage::Refused { id: 1, code, may_have_run: true, reason: &odd };
    assert_eq!(message.payload().len(), 255);
    assert!(RequestMessage::parse(&written(&message)).is_ok());
}

#[test]
fn codes_have_words() {
    for code in 0..=7 {
        assert!(!RefusalCode(code).text().is_empty());
    }
    assert!(std::format!("{}", RefusalCode(300)).contains("300"));
}
