use zerocopy::IntoBytes;

use super::*;

fn offered() -> OfferFields {
    let (root, modified) = ([9; 32], 1_795_000_000_000_000);
    OfferFields { id: 7, request: 3, len: 5 << 30, root, piece_len: 65_536, modified }
}

#[test]
fn each_says_what_it_was_made_of() {
    let body = Offer::body(&offered(), "naïve.bin").unwrap();
    let Bulk::Offer(read, name) = Bulk::parse(&body).unwrap() else { panic!("another type") };
    assert_eq!((read.fields(), name), (offered(), "naïve.bin"));
    let body = Accept::new(7, 1 << 40);
    let Bulk::Accept(read) = Bulk::parse(body.as_bytes()).unwrap() else { panic!("another type") };
    assert_eq!((read.id(), read.have()), (7, 1 << 40));
    for wanted in [Wanted::Pieces, Wanted::PieceHashes, Wanted::GroupHashes] {
        let fields = AskFields { id: 7, wanted, first: 12, count: 4, written: 99 };
        let body = Ask::new(fields);
        let Bulk::Ask(read) = Bulk::parse(body.as_bytes()).unwrap() else { panic!("another type") };
        assert_eq!(read.fields(), fields);
    }
    let mut body = Piece::new(7, 12).as_bytes().to_vec();
    body.extend_from_slice(b"hello");
    let Bulk::Piece(read, bytes) = Bulk::parse(&body).unwrap() else { panic!("another type") };
    assert_eq!((read.id(), read.index(), bytes), (7, 12, &b"hello"[..]));
    let mut body = Hashes::new(7, Wanted::PieceHashes, 2).as_bytes().to_vec();
    body.extend_from_slice(&[5; 64]);
    let Bulk::Hashes(read, hashes) = Bulk::parse(&body).unwrap() else { panic!("another type") };
    assert_eq!((read.id(), read.wanted(), read.first()), (7, Wanted::PieceHashes, 2));
    assert_eq!(hashes, [[5; 32]; 2]);
    for subject in [Subject::YourOffer, Subject::MyOffer, Subject::YourRequest, Subject::MyRequest]
    {
        let fields = DoneFields { subject, id: 7, status: BulkStatus::NO_ROOM };
        let body = BulkDone::new(fields);
        let Bulk::Done(read) = Bulk::parse(body.as_bytes()).unwrap() else {
            panic!("another type")
        };
        assert_eq!(read.fields(), fields);
    }
    for (what, name) in [(GetWhat::File, "a"), (GetWhat::Catalogue, "")] {
        let body = Get::body(9, what, name).unwrap();
        let Bulk::Get(read, found) = Bulk::parse(&body).unwrap() else { panic!("another type") };
        assert_eq!((read.id(), read.what(), found), (9, what, name));
    }
}

#[test]
fn what_cannot_be_said_is_not_written() {
    let named = |fields: &OfferFields, name: &str| Offer::body(fields, name).is_ok();
    assert!(named(&offered(), &"n".repeat(MAX_NAME_LEN)));
    assert!(!named(&offered(), &"n".repeat(MAX_NAME_LEN + 1)));
    assert!(!named(&offered(), ""));
    for piece_len in [0, 512, 1_025, 65_535, 131_072] {
        assert!(!named(&OfferFields { piece_len, ..offered() }, "a"), "{piece_len}");
    }
    let most = u64::from(MAX_PIECES) * 65_536;
    assert!(named(&OfferFields { len: most, ..offered() }, "a"));
    assert!(!named(&OfferFields { len: most + 1, ..offered() }, "a"));
    assert!(Get::body(0, GetWhat::File, "a").is_err());
    assert!(Get::body(1, GetWhat::File, "").is_err());
    assert!(Get::body(1, GetWhat::Catalogue, "a").is_err());
}

#[test]
fn nothing_of_any_length_panics() {
    for bulk_type in 0..10_u16 {
        for len in 0..200_usize {
            for fill in [0, 1, 2, 255] {
                let mut body = alloc::vec![fill; len];
                if let Some(place) = body.get_mut(..2) {
                    place.copy_from_slice(&bulk_type.to_le_bytes());
                }
                let _ = Bulk::parse(&body);
            }
        }
    }
}
