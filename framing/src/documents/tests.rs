use core::time::Duration;

use zerocopy::IntoBytes;

use super::*;
use alloc::vec;
use alloc::vec::Vec;

use crate::delta::{Delta, DeltaFields, DeltaHeader, DeltaType, DeltaWriter, DocId};
use crate::error::WriteError;

const DOC: DocId = DocId([0xdd; 16]);

fn subscribe(start: Start, policy: SlowPolicy) -> Subscribe {
    Subscribe::new(SubscribeFields { id: 7, doc_id: DOC, start, policy, presence: false })
}

#[test]
fn each_says_what_it_was_made_of() {
    for start in [
        Start::Position { epoch: 9, position: 70_000_000_000 },
        Start::Oldest,
        Start::Latest,
        Start::Snapshot,
    ] {
        for policy in [
            SlowPolicy::Block,
            SlowPolicy::DropOldest { bytes: 1 << 40, records: 3 },
            SlowPolicy::Latest,
            SlowPolicy::SnapshotThenTail { records: 12 },
            SlowPolicy::Disconnect { after: Duration::from_millis(2_500) },
        ] {
            let message = subscribe(start, policy);
            let Document::Subscribe(read) = Document::parse(message.as_bytes()).unwrap() else {
                panic!("another type");
            };
            let fields = read.fields();
            assert_eq!((fields.start, fields.policy), (start, policy));
            assert_eq!((fields.id, fields.doc_id), (7, DOC));
            assert!(!fields.presence);
        }
    }
    let fields = PublishFields { id: 3, doc_id: DOC, writer: WriterId([5; 16]), presence: true };
    let message = Publish::new(fields);
    let Document::Publish(read) = Document::parse(message.as_bytes()).unwrap() else {
        panic!("another type");
    };
    assert_eq!(read.fields(), fields);
    for last in [None, Some((u32::MAX, 1 << 50))] {
        let fields =
            AcknowledgeFields { id: 3, level: Level::Stored, volatile: true, epoch: 4, last };
        let message = Acknowledge::new(fields);
        let Document::Acknowledge(read) = Document::parse(message.as_bytes()).unwrap() else {
            panic!("another type");
        };
        assert_eq!(read.fields(), fields);
    }
    for sequence in [None, Some(8)] {
        let fields = DeniedFields { id: 3, code: DeniedCode::CONFLICT, sequence, next: 12 };
        let message = Denied::new(fields);
        let Document::Denied(read) = Document::parse(message.as_bytes()).unwrap() else {
            panic!("another type");
        };
        assert_eq!(read.fields(), fields);
    }
    for why in Why::ALL {
        let fields =
            MarkFields { id: 2, why, epoch: 1, position: 5, skipped: 4, skipped_bytes: 1 << 33 };
        let message = Mark::new(fields);
        let parsed = Document::parse(message.as_bytes()).unwrap();
        assert_eq!(parsed.channel(), Channel::Data);
        let Document::Mark(read) = parsed else { panic!("another type") };
        assert_eq!(read.fields(), fields);
    }
    let message = Expect::new(6, 11);
    let Document::Expect(read) = Document::parse(message.as_bytes()).unwrap() else {
        panic!("another type");
    };
    assert_eq!((read.id(), read.position()), (6, 11));
    let (unsubscribe, unpublish) = (Unsubscribe::new(5), Unpublish::new(6));
    for (bytes, id) in [(unsubscribe.as_bytes(), 5), (unpublish.as_bytes(), 6)] {
        match Document::parse(bytes).unwrap() {
            Document::Unsubscribe(read) => assert_eq!(read.id(), id),
            Document::Unpublish(read) => assert_eq!(read.id(), id),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let good = subscribe(Start::Oldest, SlowPolicy::Block);
    let with = |at: usize, value: u8| {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] = value;
        Document::parse(&bytes).unwrap_err().field
    };
    assert_eq!(with(0, 9), Field::DocumentType);
    assert_eq!(with(2, 6), Field::Policy);
    assert_eq!(with(3, 4), Field::Flags);
    assert_eq!(with(24, 4), Field::Start);
    assert_eq!(with(25, 1), Field::Reserved);
    assert_eq!(with(63, 1), Field::Reserved);
    // A position of 0 is none.
    assert_eq!(with(24, 0), Field::Position);
    for len in [0, 1] {
        let error = Document::parse(&good.as_bytes()[..len]).unwrap_err();
        assert_eq!((error.field, error.expected), (Field::Length, Expected::AtLeast(2)));
    }
    for len in [2, 63] {
        let error = Document::parse(&good.as_bytes()[..len]).unwrap_err();
        assert_eq!((error.field, error.expected), (Field::Length, Expected::Exactly(64)));
    }
    let fields =
        AcknowledgeFields { id: 3, level: Level::Stored, volatile: false, epoch: 4, last: None };
    let mut bytes = Acknowledge::new(fields).as_bytes().to_vec();
    bytes[2] = 0;
    assert_eq!(Document::parse(&bytes).unwrap_err().field, Field::Level);
    let fields =
        MarkFields { id: 2, why: Why::Live, epoch: 1, position: 5, skipped: 0, skipped_bytes: 0 };
    let mut bytes = Mark::new(fields).as_bytes().to_vec();
    bytes[2] = 11;
    assert_eq!(Document::parse(&bytes).unwrap_err().field, Field::Why);
    bytes[2] = 2;
    bytes[16] = 0;
    assert_eq!(Document::parse(&bytes).unwrap_err().field, Field::Position);
}

#[test]
fn a_snapshot_says_what_it_covers() {
    let mut payload = SnapshotHeader::new(2, 9).as_bytes().to_vec();
    payload.extend(b"state");
    let (header, state) = SnapshotHeader::parse(&payload).unwrap();
    assert_eq!((header.epoch(), header.covers(), state), (2, 9, &b"state"[..]));
    assert_eq!(SnapshotHeader::parse(&payload[..15]).unwrap_err().field, Field::Length);
    payload[15] = 1;
    assert_eq!(SnapshotHeader::parse(&payload).unwrap_err().field, Field::Reserved);
    payload[15] = 0;
    payload[0] = 0;
    assert_eq!(SnapshotHeader::parse(&payload).unwrap_err().field, Field::Position);
}

fn delta(fields: DeltaFields, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; DeltaHeader::SIZE + payload.len()];
    let mut writer = DeltaWriter::new(&mut buffer, fields).unwrap();
    writer.payload_mut().copy_from_slice(payload);
    writer.finish(payload.len()).unwrap();
    buffer
}

/// Sequences and payloads.
type Deltas = Vec<(u32, Vec<u8>)>;

fn group_of(payload: &[u8]) -> Result<Deltas, Field> {
    let fields = DeltaFields { delta_type: DeltaType::GROUP, ..DeltaFields::new(DOC) };
    let outer = delta(fields, payload);
    let group = Group::parse(Delta::parse(&outer).unwrap()).map_err(|it| it.field)?;
    Ok(group.deltas().map(|it| (it.sequence(), it.payload().to_vec())).collect())
}

#[test]
fn a_group_has_the_deltas_that_were_put_in() {
    let mut writer = GroupWriter::new(DOC);
    let mut expected = Vec::new();
    assert!(writer.is_empty());
    for sequence in 0..20_u32 {
        let payload = vec![sequence as u8; sequence as usize * 3];
        // The document is the group's.
        let fields = DeltaFields { sequence, ..DeltaFields::new(DocId([1; 16])) };
        writer.push(fields, &payload).unwrap();
        expected.push((sequence, payload));
    }
    for delta_type in [DeltaType::GROUP, DeltaType::SNAPSHOT, DeltaType::PRESENCE] {
        let before = writer.payload().to_vec();
        let fields = DeltaFields { delta_type, ..DeltaFields::new(DOC) };
        let error = writer.push(fields, b"x").unwrap_err();
        assert!(matches!(error, WriteError::Invalid { field: Field::DeltaType, .. }), "{error}");
        assert_eq!(writer.payload(), before);
    }
    assert_eq!(group_of(writer.payload()), Ok(expected));
    writer.clear();
    assert!(writer.is_empty());
}

#[test]
fn what_is_no_group_is_refused_with_the_field() {
    let plain = delta(DeltaFields::new(DOC), b"x");
    assert_eq!(plain.len(), 49);
    let other = delta(DeltaFields::new(DocId([1; 16])), b"x");
    let nested = DeltaFields { delta_type: DeltaType::GROUP, ..DeltaFields::new(DOC) };
    let nested = delta(nested, &plain);
    let with = |behind: &[u8]| [&plain[..], behind].concat();
    let cases: [(&str, Vec<u8>, Field); 9] = [
        ("empty", vec![], Field::Length),
        ("half a header", plain[..47].to_vec(), Field::Length),
        ("a byte short", plain[..48].to_vec(), Field::TotalSize),
        ("a gap behind the last", with(&[0; 15]), Field::Padding),
        ("no zeros between", with(&[&[1; 15][..], &plain].concat()), Field::Padding),
        ("nothing between", with(&plain), Field::Padding),
        ("another document", with(&[&[0; 15][..], &other].concat()), Field::DocId),
        ("a group in it", nested, Field::DeltaType),
        ("a bad magic", with(&[&[0; 15][..], &[7; 49]].concat()), Field::TotalSize),
    ];
    for (why, payload, field) in cases {
        assert_eq!(group_of(&payload), Err(field), "{why}");
    }
    let error = Group::parse(Delta::parse(&plain).unwrap()).unwrap_err();
    assert_eq!(error.field, Field::DeltaType);
}
