//! The golden vectors, made by an independent encoder, hold both ways.

use std::time::Duration;

use deltawire_framing::{
    Channel, Checksum, Delta, DeltaFields, DeltaType, DeltaWriter, DocId, FRAME_ALIGN, Fragmenter,
    FrameHeader, Frames, Kind, Malformed, Reassembled, Reassembler, ReassemblerLimits, Record,
    RecordBuf, SecurityHeader, SigningKey, StatusBits, frame_step, run,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Vectors {
    deltas: Vec<DeltaVector>,
    records: Vec<RecordVector>,
    packed: Vec<PackedVector>,
    invalid_frames: Vec<InvalidVector>,
}

#[derive(Deserialize)]
struct DeltaVector {
    payload_len: usize,
    payload_seed: usize,
    doc_id: String,
    timestamp: u64,
    sequence: u32,
    delta_type: u16,
    checksum: bool,
    crc32c: u32,
    fragment_body: usize,
    message_id: u32,
    fragment_count: u16,
    message_len: u32,
    frames_sha256: String,
    frames_hex: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RecordVector {
    payload_len: usize,
    payload_seed: usize,
    doc_id: String,
    timestamp: u64,
    sequence: u32,
    status: u32,
    validated_at: u64,
    validator_id: String,
    blake3_key: String,
    signature: String,
    record_hex: String,
    frame_hex: String,
}

#[derive(Deserialize)]
struct PackedVector {
    frames_hex: Vec<String>,
    message_hex: String,
}

#[derive(Deserialize)]
struct InvalidVector {
    why: String,
    field: String,
    hex: String,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(include_str!("../vectors/wire-v1.json")).unwrap();
    assert!(vectors.deltas.len() >= 88 && vectors.records.len() >= 4);
    assert!(vectors.packed.len() >= 3 && vectors.invalid_frames.len() >= 30);
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fill(payload: &mut [u8], seed: usize) {
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte = ((i * 31 + seed) % 256) as u8;
    }
}

fn delta_type(value: u16) -> DeltaType {
    match value {
        0 => DeltaType::OPAQUE,
        1 => DeltaType::OPERATIONS,
        other => DeltaType::application(other).unwrap(),
    }
}

/// The delta of a vector, written in place, in a sealed record.
fn write(fields: DeltaFields, payload_len: usize, seed: usize) -> RecordBuf {
    let mut record = RecordBuf::with_body_capacity(48 + payload_len);
    let mut writer = DeltaWriter::new(record.body_mut(), fields).unwrap();
    fill(&mut writer.payload_mut()[..payload_len], seed);
    let body_len = writer.finish(payload_len).unwrap();
    record.seal(FrameHeader::whole(Kind::Delta, Channel::Data, body_len).unwrap()).unwrap();
    record
}

impl DeltaVector {
    fn fields(&self) -> DeltaFields {
        DeltaFields {
            delta_type: delta_type(self.delta_type),
            timestamp: self.timestamp,
            sequence: self.sequence,
            checksum: if self.checksum { Checksum::Present } else { Checksum::Absent },
            ..DeltaFields::new(DocId(array(&self.doc_id)))
        }
    }

    /// Whether `delta` says what the vector says.
    fn check(&self, delta: Delta<'_>) {
        delta.verify_checksum().unwrap();
        let header = delta.header();
        assert_eq!(header.doc_id(), DocId(array(&self.doc_id)));
        assert_eq!(header.timestamp(), self.timestamp);
        assert_eq!(header.sequence(), self.sequence);
        assert_eq!(header.delta_type().get(), self.delta_type);
        assert_eq!(header.has_checksum(), self.checksum);
        assert_eq!(header.checksum(), self.crc32c);
        let mut payload = vec![0; self.payload_len];
        fill(&mut payload, self.payload_seed);
        assert_eq!(delta.payload(), payload);
    }
}

#[test]
fn deltas_are_written_to_the_same_bytes() {
    for vector in vectors().deltas {
        let mut record = write(vector.fields(), vector.payload_len, vector.payload_seed);
        let whole = *record.frame().unwrap().header();
        assert_eq!(whole.message_len(), vector.message_len);
        let max_frame_len = FrameHeader::SIZE + vector.fragment_body;
        let fragmenter = Fragmenter::new(&whole, vector.message_id, max_frame_len).unwrap();
        assert_eq!(fragmenter.count(), vector.fragment_count);

        let body = record.frame().unwrap().body().to_vec();
        let mut scratch = vec![0; max_frame_len];
        let mut hash = Sha256::new();
        for index in 0..fragmenter.count() {
            let shared = fragmenter.in_scratch(&body, index, &mut scratch).unwrap();
            let frame = fragmenter.in_place(record.frame_bytes_mut(), index).unwrap();
            assert_eq!(&*frame, shared);
            if let Some(frames) = &vector.frames_hex {
                assert_eq!(hex(&frame), frames[usize::from(index)]);
            }
            hash.update((frame.len() as u32).to_le_bytes());
            hash.update(&*frame);
        }
        assert_eq!(hex(&hash.finalize()), vector.frames_sha256);
        assert_eq!(record.frame().unwrap().body(), body, "the message got its bytes back");
    }
}

#[test]
fn deltas_are_read_from_the_same_bytes() {
    for vector in vectors().deltas {
        // Longer ones have no bytes here, only a hash: the test above shows that ours are theirs.
        let mut ours = write(vector.fields(), vector.payload_len, vector.payload_seed);
        let whole = *ours.frame().unwrap().header();
        let max_frame_len = FrameHeader::SIZE + vector.fragment_body;
        let fragmenter = Fragmenter::new(&whole, vector.message_id, max_frame_len).unwrap();
        let frames: Vec<Vec<u8>> = match &vector.frames_hex {
            Some(frames) => frames.iter().map(|frame| bytes(frame)).collect(),
            None => (0..fragmenter.count())
                .map(|i| fragmenter.in_place(ours.frame_bytes_mut(), i).unwrap().to_vec())
                .collect(),
        };

        let mut reassembler = Reassembler::new(ReassemblerLimits::default(), 0);
        let mut landing = |message: &FrameHeader| {
            Some(RecordBuf::with_body_capacity(message.message_len() as usize))
        };
        let mut done = 0;
        for message in &frames {
            for frame in Frames::new(message) {
                let frame = frame.unwrap();
                match reassembler.insert(frame, Duration::ZERO, &mut landing).unwrap() {
                    Reassembled::Whole(frame) => {
                        vector.check(frame.delta().unwrap());
                        done += 1;
                    }
                    Reassembled::Complete(mut message) => {
                        message.buffer.seal(message.header).unwrap();
                        vector.check(message.buffer.frame().unwrap().delta().unwrap());
                        assert_eq!(message.buffer.frame_bytes(), ours.frame_bytes());
                        done += 1;
                    }
                    Reassembled::Partial => {}
                    Reassembled::Duplicate => panic!("no frame came twice"),
                }
            }
        }
        assert_eq!(done, 1);
    }
}

#[test]
fn records_hold_both_ways() {
    for vector in vectors().records {
        let key = SigningKey::new(array(&vector.blake3_key));
        let expected = bytes(&vector.record_hex);
        let record = Record::parse(&expected).unwrap();
        assert_eq!(hex(record.frame_bytes()), vector.frame_hex);
        assert_eq!(record.security().status().bits(), vector.status);
        assert_eq!(record.security().validated_at(), vector.validated_at);
        assert_eq!(hex(record.security().validator_id()), vector.validator_id);
        assert_eq!(hex(record.security().signature()), vector.signature);
        record.verify_signature(&key).unwrap();
        assert!(record.verify_signature(&SigningKey::new([1; 32])).is_err());

        let fields = DeltaFields {
            timestamp: vector.timestamp,
            sequence: vector.sequence,
            ..DeltaFields::new(DocId(array(&vector.doc_id)))
        };
        let mut ours = write(fields, vector.payload_len, vector.payload_seed);
        let status = StatusBits::from_bits(vector.status);
        let security =
            SecurityHeader::new(status, vector.validated_at, array(&vector.validator_id));
        ours.record_mut().unwrap().write_security(security, Some(&key));
        assert_eq!(hex(ours.record_bytes()), vector.record_hex);
    }
}

#[test]
fn packed_messages_hold_both_ways() {
    for vector in vectors().packed {
        let message = bytes(&vector.message_hex);
        let read: Vec<String> =
            Frames::new(&message).map(|frame| hex(frame.unwrap().as_bytes())).collect();
        assert_eq!(read, vector.frames_hex);

        // As a ring has them: at 16-byte steps.
        let mut ring = Vec::new();
        for frame in &vector.frames_hex {
            ring.extend(bytes(frame));
            ring.resize(frame_step(ring.len()), 0);
        }
        ring.resize(ring.len() + 3 * FRAME_ALIGN, 0);
        let run = run(&ring, usize::MAX).unwrap();
        assert_eq!(run.frames, vector.frames_hex.len());
        assert_eq!(hex(&ring[..run.len]), vector.message_hex);
    }
}

/// Checks a transport message as a receiver does.
fn receive(message: &[u8]) -> Result<(), Malformed> {
    for frame in Frames::new(message) {
        let frame = frame?;
        if frame.kind() == Kind::Delta && !frame.is_fragment() {
            frame.delta()?.verify_checksum()?;
        }
    }
    Ok(())
}

#[test]
fn invalid_messages_are_refused_with_the_field() {
    for vector in vectors().invalid_frames {
        let error = receive(&bytes(&vector.hex)).expect_err(&vector.why);
        assert_eq!(error.field.name(), vector.field, "{}: {error}", vector.why);
    }
}
