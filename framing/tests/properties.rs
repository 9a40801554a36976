//! What holds for all inputs.

use std::time::Duration;

use deltawire_framing::control::{
    Close, CloseCode, Control, Delivery, Hello, HelloFields, Order, Reliability, Role, Window,
};
use deltawire_framing::operations::{Operation, Operations, OperationsWriter};
use deltawire_framing::{
    Channel, Checksum, DeltaFields, DeltaType, DeltaWriter, DocId, Fragmenter, Frame, FrameHeader,
    Frames, Kind, Reassembled, Reassembler, ReassemblerLimits, frame_step, run,
};
use proptest::prelude::*;
use proptest::sample::Index;
use zerocopy::IntoBytes;

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Delta), Just(Kind::Control), Just(Kind::Opaque)]
}

/// Either order, as a bit says.
fn order(bit: u32) -> Order {
    if bit == 0 { Order::Ordered } else { Order::Unordered }
}

fn channels() -> impl Strategy<Value = Channel> {
    prop_oneof![Just(Channel::Command), Just(Channel::Data)]
}

fn delta_types() -> impl Strategy<Value = DeltaType> {
    prop_oneof![
        Just(DeltaType::OPAQUE),
        Just(DeltaType::OPERATIONS),
        (256..=u16::MAX).prop_map(|value| DeltaType::application(value).unwrap()),
    ]
}

prop_compose! {
    fn fields()(
        doc_id: [u8; 16],
        delta_type in delta_types(),
        timestamp: u64,
        sequence: u32,
        checksum in prop_oneof![Just(Checksum::Present), Just(Checksum::Absent)],
    ) -> DeltaFields {
        DeltaFields { doc_id: DocId(doc_id), delta_type, timestamp, sequence, checksum }
    }
}

fn payloads(max_len: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max_len)
}

/// The frame of an unfragmented message.
fn frame_of(kind: Kind, channel: Channel, body: &[u8]) -> Vec<u8> {
    let header = FrameHeader::whole(kind, channel, body.len()).unwrap();
    [header.as_bytes(), body].concat()
}

fn delta_frame(fields: DeltaFields, payload: &[u8]) -> Vec<u8> {
    let mut body = vec![0xEE; 48 + payload.len()];
    let mut writer = DeltaWriter::new(&mut body, fields).unwrap();
    writer.payload_mut().copy_from_slice(payload);
    let len = writer.finish(payload.len()).unwrap();
    assert_eq!(len, body.len());
    frame_of(Kind::Delta, Channel::Data, &body)
}

/// Checks a transport message as a receiver does.
fn is_valid(message: &[u8]) -> bool {
    Frames::new(message).all(|frame| {
        frame.is_ok_and(|frame| match frame.kind() {
            Kind::Delta if !frame.is_fragment() => {
                frame.delta().is_ok_and(|delta| delta.verify_checksum().is_ok())
            }
            _ => true,
        })
    })
}

proptest! {
    #[test]
    fn a_delta_comes_back(fields in fields(), payload in payloads(2_000)) {
        let bytes = delta_frame(fields, &payload);
        let delta = Frame::parse(&bytes).unwrap().delta().unwrap();
        delta.verify_checksum().unwrap();
        prop_assert_eq!(delta.payload(), &payload);
        prop_assert_eq!(delta.doc_id(), fields.doc_id);
        prop_assert_eq!(delta.delta_type(), fields.delta_type);
        prop_assert_eq!(delta.timestamp(), fields.timestamp);
        prop_assert_eq!(delta.sequence(), fields.sequence);
        prop_assert_eq!(delta.header().has_checksum(), fields.checksum == Checksum::Present);
        prop_assert_eq!(delta.as_bytes(), &bytes[16..]);
    }

    /// A changed bit is noticed, or it made another valid frame; with a checksum, nothing that is
    /// under it can change unnoticed.
    #[test]
    fn a_mutation_is_refused_or_valid(
        fields in fields(),
        payload in payloads(200),
        at: Index,
        bit in 0..8,
    ) {
        let bytes = delta_frame(fields, &payload);
        prop_assert!(is_valid(&bytes));
        let mut mutated = bytes.clone();
        let at = at.index(bytes.len());
        mutated[at] ^= 1u8 << bit;
        if is_valid(&mutated) {
            let frame = Frames::new(&mutated).next().unwrap().unwrap();
            prop_assert_eq!(frame.as_bytes().len(), bytes.len());
            // In the header only kind and channel can differ. Under a checksum only its own flag
            // can, and that leaves a checksum where none may be.
            prop_assert!(at == 1 || at == 2 || fields.checksum == Checksum::Absent);
        }
    }

    #[test]
    fn any_bytes_are_an_error_or_a_frame(bytes in payloads(200)) {
        for frame in Frames::new(&bytes).flatten() {
            prop_assert!(frame.body_offset() + frame.body().len()
                <= frame.header().message_len() as usize);
        }
    }

    #[test]
    fn packed_frames_come_back(
        bodies in proptest::collection::vec((kinds(), channels(), payloads(60)), 1..20),
        max_len in 0usize..2_000,
    ) {
        let mut ring = Vec::new();
        let mut frames = Vec::new();
        for (kind, channel, mut body) in bodies {
            body.push(1);
            let frame = frame_of(kind, channel, &body);
            ring.resize(frame_step(ring.len()), 0);
            ring.extend_from_slice(&frame);
            frames.push(frame);
        }
        let read: Vec<_> =
            Frames::new(&ring).map(|frame| frame.unwrap().as_bytes().to_vec()).collect();
        prop_assert_eq!(&read, &frames);

        // The longest run that fits, and what it holds.
        ring.resize(frame_step(ring.len()), 0);
        match run(&ring, max_len) {
            None => prop_assert!(max_len < frames[0].len()),
            Some(found) => {
                prop_assert!(found.len <= max_len);
                prop_assert_eq!(Frames::new(&ring[..found.len]).count(), found.frames);
                if let Some(next) = frames.get(found.frames) {
                    prop_assert!(frame_step(found.len) + next.len() > max_len);
                }
            }
        }
    }

    /// Any order, any interleaving, and copies anywhere: each message comes once, whole.
    #[test]
    fn fragments_in_any_order_give_the_messages(
        messages in proptest::collection::vec((channels(), 1usize..600, any::<u8>()), 1..8),
        max_frame_len in 32usize..200,
        order: Vec<Index>,
        copies in proptest::collection::vec(any::<Index>(), 0..20),
    ) {
        let mut sent = Vec::new();
        let mut bodies = Vec::new();
        for (id, (channel, len, seed)) in messages.into_iter().enumerate() {
            let body: Vec<u8> = (0..len).map(|i| (i * 31) as u8 ^ seed).collect();
            let whole = FrameHeader::whole(Kind::Opaque, channel, len).unwrap();
            let fragmenter = Fragmenter::new(&whole, id as u32, max_frame_len).unwrap();
            let mut message = [whole.as_bytes(), &body].concat();
            if fragmenter.count() > 1 {
                for index in 0..fragmenter.count() {
                    let frame = fragmenter.in_place(&mut message, index).unwrap();
                    prop_assert!(frame.len() <= max_frame_len);
                    sent.push(frame.to_vec());
                }
                bodies.push((channel, body));
            }
        }
        if sent.is_empty() {
            return Ok(());
        }
        for copy in copies {
            sent.push(sent[copy.index(sent.len())].clone());
        }
        for (place, index) in order.iter().enumerate() {
            let len = sent.len();
            sent.swap(place % len, index.index(len));
        }

        let mut reassembler = Reassembler::new(ReassemblerLimits::default(), 7);
        let mut landing = |message: &FrameHeader| Some(vec![0; message.message_len() as usize]);
        let mut received = Vec::new();
        for bytes in &sent {
            let frame = Frame::parse(bytes).unwrap();
            match reassembler.insert(frame, Duration::ZERO, &mut landing).unwrap() {
                Reassembled::Complete(message) => {
                    received.push((message.header.channel(), message.buffer));
                }
                Reassembled::Partial | Reassembled::Duplicate => {}
                Reassembled::Whole(_) => prop_assert!(false, "only fragments were sent"),
            }
        }
        let order = |message: &(Channel, Vec<u8>)| (message.0 as u8, message.1.clone());
        received.sort_by_key(order);
        bodies.sort_by_key(order);
        prop_assert_eq!(received, bodies);
        prop_assert_eq!((reassembler.unfinished(), reassembler.claimed_bytes()), (0, 0));
    }

    #[test]
    fn operations_come_back(
        edits in proptest::collection::vec((0..3, any::<u32>(), payloads(40)), 0..20),
    ) {
        let mut payload = vec![0xEE; 2_000];
        let mut writer = OperationsWriter::new(&mut payload);
        let mut written = Vec::new();
        for (what, offset, data) in &edits {
            let (offset, data) = (u64::from(*offset), if data.is_empty() { &[9][..] } else { data });
            written.push(match what {
                0 => {
                    writer.insert(offset, data).unwrap();
                    Operation::Insert { offset, data }
                }
                1 => {
                    let len = data.len() as u32;
                    writer.delete(offset, len).unwrap();
                    Operation::Delete { offset, len }
                }
                _ => {
                    writer.update(offset, data).unwrap();
                    Operation::Update { offset, data }
                }
            });
        }
        let len = writer.finish();
        let read: Vec<_> = Operations::new(&payload[..len]).map(Result::unwrap).collect();
        prop_assert_eq!(read, written);
    }

    #[test]
    fn control_messages_come_back(
        session_id: [u8; 16],
        numbers: [u32; 4],
        windows: [u64; 2],
        channel in channels(),
        reason in ".{0,300}",
    ) {
        let fields = HelloFields {
            role: if numbers[0] & 1 == 0 { Role::Initiator } else { Role::Acceptor },
            max_frame_len: numbers[0].max(Hello::MIN_FRAME_LEN),
            max_message_len: numbers[1],
            data_window: windows[0],
            command_window: windows[1],
            max_unfinished: numbers[2],
            idle_timeout_ms: numbers[3],
            features: 0,
            command: order(numbers[0] & 2),
            deltas: Delivery {
                order: order(numbers[0] & 4),
                reliability: match (numbers[1] % 3, numbers[2] as u16) {
                    (0, _) => Reliability::Reliable,
                    (1, most) => Reliability::MaxRetransmits(most),
                    (_, ms) => Reliability::MaxLifetime(Duration::from_millis(ms.into())),
                },
            },
            session_id,
        };
        let hello = Hello::new(fields);
        match Control::parse(hello.as_bytes()).unwrap() {
            Control::Hello(read) => prop_assert_eq!(read.fields(), fields),
            other => prop_assert!(false, "{other:?}"),
        }
        let window = Window::new(channel, windows[0]);
        match Control::parse(window.as_bytes()).unwrap() {
            Control::Window(read) => {
                prop_assert_eq!((read.channel(), read.limit()), (channel, windows[0]));
            }
            other => prop_assert!(false, "{other:?}"),
        }
        let mut body = [0; 264];
        let len = Close::new(CloseCode(numbers[0]), &reason).write(&mut body).unwrap();
        match Control::parse(&body[..len]).unwrap() {
            Control::Close(read) => {
                prop_assert_eq!(read.code(), CloseCode(numbers[0]));
                prop_assert!(reason.starts_with(read.reason()));
                prop_assert!(read.reason() == reason || read.reason().len() > 252);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
