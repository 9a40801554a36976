//! The golden vectors of messages about bulk, made by an independent encoder, hold both ways.

use deltawire_framing::bulk::{
    Accept, Ask, AskFields, Bulk, BulkDone, BulkStatus, DoneFields, Get, GetWhat, Hashes, Offer,
    OfferFields, Piece, Subject, Wanted,
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
    Offer {
        id: u32,
        request: u32,
        len: u64,
        root: String,
        piece_len: u32,
        modified: u64,
        name: String,
    },
    Accept {
        id: u32,
        have: u64,
    },
    Ask {
        id: u32,
        wanted: usize,
        first: u32,
        count: u32,
        written: u64,
    },
    Piece {
        id: u32,
        index: u32,
        bytes: String,
    },
    Hashes {
        id: u32,
        wanted: usize,
        first: u32,
        hashes: String,
    },
    Done {
        id: u32,
        status: u8,
        subject: usize,
    },
    Get {
        id: u32,
        wanted: usize,
        name: String,
    },
}

#[derive(Deserialize)]
struct Invalid {
    why: String,
    field: String,
    hex: String,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/bulk-v1.json")).unwrap();
    assert!(vectors.messages.len() >= 55 && vectors.invalid.len() >= 52);
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

const WANTED: [Wanted; 3] = [Wanted::Pieces, Wanted::PieceHashes, Wanted::GroupHashes];
const SUBJECTS: [Subject; 4] =
    [Subject::YourOffer, Subject::MyOffer, Subject::YourRequest, Subject::MyRequest];
const GETS: [GetWhat; 2] = [GetWhat::File, GetWhat::Catalogue];

#[test]
fn messages_are_written_and_read_as_others_do() {
    for Message { hex, fields } in vectors().messages {
        let body = bytes(&hex);
        let read = Bulk::parse(&body).unwrap();
        let written = match (fields, read) {
            (
                Fields::Offer { id, request, len, root, piece_len, modified, name },
                Bulk::Offer(read, read_name),
            ) => {
                let root = bytes(&root).try_into().unwrap();
                let fields = OfferFields { id, request, len, root, piece_len, modified };
                assert_eq!((read.fields(), read_name), (fields, &*name));
                Offer::body(&fields, &name).unwrap()
            }
            (Fields::Accept { id, have }, Bulk::Accept(read)) => {
                assert_eq!((read.id(), read.have()), (id, have));
                Accept::new(id, have).as_bytes().to_vec()
            }
            (Fields::Ask { id, wanted, first, count, written }, Bulk::Ask(read)) => {
                let fields = AskFields { id, wanted: WANTED[wanted], first, count, written };
                assert_eq!(read.fields(), fields);
                Ask::new(fields).as_bytes().to_vec()
            }
            (Fields::Piece { id, index, bytes: piece }, Bulk::Piece(read, read_bytes)) => {
                let piece = bytes(&piece);
                assert_eq!((read.id(), read.index(), read_bytes), (id, index, &piece[..]));
                [Piece::new(id, index).as_bytes(), &piece].concat()
            }
            (Fields::Hashes { id, wanted, first, hashes }, Bulk::Hashes(read, read_hashes)) => {
                let hashes = bytes(&hashes);
                assert_eq!((read.id(), read.first()), (id, first));
                assert_eq!((read.wanted(), read_hashes.as_bytes()), (WANTED[wanted], &hashes[..]));
                [Hashes::new(id, WANTED[wanted], first).as_bytes(), &hashes].concat()
            }
            (Fields::Done { id, status, subject }, Bulk::Done(read)) => {
                let fields =
                    DoneFields { id, status: BulkStatus(status), subject: SUBJECTS[subject] };
                assert_eq!(read.fields(), fields);
                BulkDone::new(fields).as_bytes().to_vec()
            }
            (Fields::Get { id, wanted, name }, Bulk::Get(read, read_name)) => {
                assert_eq!((read.id(), read.what(), read_name), (id, GETS[wanted], &*name));
                Get::body(id, GETS[wanted], &name).unwrap()
            }
            (_, read) => panic!("{hex} was read as {read:?}"),
        };
        assert_eq!(written, body, "{hex}");
    }
}

#[test]
fn invalid_messages_are_refused_with_the_field() {
    for Invalid { why, field, hex } in vectors().invalid {
        let malformed = Bulk::parse(&bytes(&hex)).err().unwrap_or_else(|| panic!("{why}"));
        assert_eq!(malformed.field.name(), field, "{why}");
    }
}
