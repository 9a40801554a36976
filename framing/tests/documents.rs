//! The golden vectors of messages about documents, made by an independent encoder, hold both ways.

use std::time::Duration;

use deltawire_framing::DocId;
use deltawire_framing::documents::{
    Acknowledge, AcknowledgeFields, Denied, DeniedCode, DeniedFields, Document, Expect, Level,
    Mark, MarkFields, Publish, PublishFields, SlowPolicy, Start, Subscribe, SubscribeFields,
    Unpublish, Unsubscribe, Why, WriterId,
};
use serde::Deserialize;
use zerocopy::IntoBytes;

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
    Subscribe {
        id: u32,
        doc_id: String,
        start: u8,
        epoch: u32,
        position: u64,
        policy: u8,
        max_behind_bytes: u64,
        max_behind_records: u64,
        max_behind_ms: u64,
        presence: bool,
    },
    Unsubscribe {
        id: u32,
    },
    Publish {
        id: u32,
        doc_id: String,
        writer: String,
        presence: bool,
    },
    Unpublish {
        id: u32,
    },
    Acknowledge {
        id: u32,
        level: u8,
        volatile: bool,
        epoch: u32,
        last: Option<(u32, u64)>,
    },
    Denied {
        id: u32,
        code: u16,
        sequence: Option<u32>,
        next: u64,
    },
    Mark {
        id: u32,
        why: u8,
        epoch: u32,
        position: u64,
        skipped: u64,
        skipped_bytes: u64,
    },
    Expect {
        id: u32,
        position: u64,
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
        serde_json::from_str(include_str!("../vectors/documents-v1.json")).unwrap();
    assert!(vectors.messages.len() >= 92 && vectors.invalid.len() >= 36);
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn array(hex: &str) -> [u8; 16] {
    bytes(hex).try_into().unwrap()
}

const WHYS: [Why; 11] = [
    Why::Start,
    Why::Progress,
    Why::Live,
    Why::Slow,
    Why::Expired,
    Why::NewEpoch,
    Why::Snapshot,
    Why::LeftOut,
    Why::Writer,
    Why::Gone,
    Why::Rejected,
];

#[test]
fn messages_are_written_and_read_as_others_do() {
    for Message { hex, fields } in vectors().messages {
        let body = bytes(&hex);
        let read = Document::parse(&body).unwrap();
        let written = match (fields, read) {
            (
                Fields::Subscribe {
                    id,
                    doc_id,
                    start,
                    epoch,
                    position,
                    policy,
                    max_behind_bytes: bytes,
                    max_behind_records: records,
                    max_behind_ms,
                    presence,
                },
                Document::Subscribe(read),
            ) => {
                let start = match start {
                    0 => Start::Position { epoch, position },
                    1 => Start::Oldest,
                    2 => Start::Latest,
                    _ => Start::Snapshot,
                };
                let policy = match policy {
                    0 => SlowPolicy::Block,
                    1 => SlowPolicy::DropOldest { bytes, records },
                    2 => SlowPolicy::Latest,
                    3 => SlowPolicy::SnapshotThenTail { records },
                    4 => SlowPolicy::Disconnect { after: Duration::from_millis(max_behind_ms) },
                    _ => SlowPolicy::LatestPerKey,
                };
                let doc_id = DocId(array(&doc_id));
                let fields = SubscribeFields { id, doc_id, start, policy, presence };
                assert_eq!(read.fields(), fields);
                Subscribe::new(fields).as_bytes().to_vec()
            }
            (Fields::Unsubscribe { id }, Document::Unsubscribe(read)) => {
                assert_eq!(read.id(), id);
                Unsubscribe::new(id).as_bytes().to_vec()
            }
            (Fields::Publish { id, doc_id, writer, presence }, Document::Publish(read)) => {
                let (doc_id, writer) = (DocId(array(&doc_id)), WriterId(array(&writer)));
                let fields = PublishFields { id, doc_id, writer, presence };
                assert_eq!(read.fields(), fields);
                Publish::new(fields).as_bytes().to_vec()
            }
            (Fields::Unpublish { id }, Document::Unpublish(read)) => {
                assert_eq!(read.id(), id);
                Unpublish::new(id).as_bytes().to_vec()
            }
            (
                Fields::Acknowledge { id, level, volatile, epoch, last },
                Document::Acknowledge(read),
            ) => {
                let level =
                    [Level::Received, Level::Stored, Level::Replicated][usize::from(level) - 1];
                let fields = AcknowledgeFields { id, level, volatile, epoch, last };
                assert_eq!(read.fields(), fields);
                Acknowledge::new(fields).as_bytes().to_vec()
            }
            (Fields::Denied { id, code, sequence, next }, Document::Denied(read)) => {
                let fields = DeniedFields { id, code: DeniedCode(code), sequence, next };
                assert_eq!(read.fields(), fields);
                Denied::new(fields).as_bytes().to_vec()
            }
            (
                Fields::Mark { id, why, epoch, position, skipped, skipped_bytes },
                Document::Mark(read),
            ) => {
                let why = WHYS[usize::from(why)];
                let fields = MarkFields { id, why, epoch, position, skipped, skipped_bytes };
                assert_eq!(read.fields(), fields);
                Mark::new(fields).as_bytes().to_vec()
            }
            (Fields::Expect { id, position }, Document::Expect(read)) => {
                assert_eq!((read.id(), read.position()), (id, position));
                Expect::new(id, position).as_bytes().to_vec()
            }
            (_, read) => panic!("{hex} was read as {read:?}"),
        };
        assert_eq!(written, body, "{hex}");
    }
}

#[test]
fn invalid_messages_are_refused_with_the_field() {
    for Invalid { why, field, hex } in vectors().invalid {
        let malformed = Document::parse(&bytes(&hex)).err().unwrap_or_else(|| panic!("{why}"));
        assert_eq!(malformed.field.name(), field, "{why}");
    }
}
