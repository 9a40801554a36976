//! The golden vectors of messages of requests and streams, made by an independent encoder, hold both ways.

use deltawire_framing::requests::{CreditOf, RefusalCode, RequestMessage};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    messages: Vec<Message>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Message {
    hex: String,
    #[serde(flatten)]
    fields: Fields,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Fields {
    Request {
        id: u32,
        answers: Option<u32>,
        payload: String,
    },
    Answer {
        id: u32,
        more: bool,
        payload: String,
    },
    Refused {
        id: u32,
        code: u16,
        may_have_run: bool,
        reason: String,
    },
    Cancel {
        id: u32,
    },
    Credit {
        id: u32,
        pieces: bool,
        bytes: u32,
    },
    Open {
        id: u32,
        len: Option<u64>,
        doc_id: String,
        timestamp: u64,
        sequence: u32,
        delta_type: u16,
    },
    Piece {
        id: u32,
        last: bool,
        payload: String,
    },
}

#[derive(Deserialize)]
struct Invalid {
    why: String,
    field: String,
    hex: String,
}

fn vectors() -> Vectors {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../vectors/requests-v1.json")).unwrap();
    assert!(vectors.messages.len() >= 104 && vectors.invalid.len() >= 52);
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn messages_are_written_and_read_as_others_do() {
    for Message { hex, fields } in vectors().messages {
        let body = bytes(&hex);
        let read = RequestMessage::parse(&body).unwrap();
        match (fields, read) {
            (
                Fields::Request { id, answers, payload },
                RequestMessage::Request { id: read, answers: many, payload: found },
            ) => assert_eq!((id, answers, &bytes(&payload)[..]), (read, many, found)),
            (
                Fields::Answer { id, more, payload },
                RequestMessage::Answer { id: read, more: follow, payload: found },
            ) => assert_eq!((id, more, &bytes(&payload)[..]), (read, follow, found)),
            (Fields::Refused { id, code, may_have_run, reason }, read) => {
                let code = RefusalCode(code);
                assert_eq!(
                    read,
                    RequestMessage::Refused { id, code, may_have_run, reason: &reason }
                );
            }
            (Fields::Cancel { id }, read) => assert_eq!(read, RequestMessage::Cancel { id }),
            (Fields::Credit { id, pieces, bytes }, read) => {
                let of = if pieces { CreditOf::Pieces } else { CreditOf::Answers };
                assert_eq!(read, RequestMessage::Credit { id, of, bytes });
            }
            (
                Fields::Open { id, len, doc_id, timestamp, sequence, delta_type },
                RequestMessage::Open { id: read, len: known, fields },
            ) => {
                assert_eq!((id, len), (read, known));
                assert_eq!(fields.doc_id.0[..], bytes(&doc_id));
                assert_eq!((fields.timestamp, fields.sequence), (timestamp, sequence));
                assert_eq!(fields.delta_type.get(), delta_type);
            }
            (
                Fields::Piece { id, last, payload },
                RequestMessage::Piece { id: read, last: end, payload: found },
            ) => assert_eq!((id, last, &bytes(&payload)[..]), (read, end, found)),
            (_, read) => panic!("{hex} was read as {read:?}"),
        }
        assert_eq!([read.head().as_bytes(), read.payload()].concat(), body, "{hex}");
    }
}

#[test]
fn invalid_messages_are_refused_with_the_field() {
    for Invalid { why, field, hex } in vectors().invalid {
        let malformed =
            RequestMessage::parse(&bytes(&hex)).err().unwrap_or_else(|| panic!("{why}"));
        assert_eq!(malformed.field.name(), field, "{why}");
    }
}
