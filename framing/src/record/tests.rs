#![allow(clippy::disallowed_types)] // only counts

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use crate::delta::{DeltaFields, DeltaWriter, DocId};
use crate::error::{CastError, Field, WriteError};
use crate::frame::{Channel, FrameHeader, Kind};

fn record(payload: &[u8]) -> RecordBuf {
    let mut record = RecordBuf::with_body_capacity(48 + payload.len());
    let mut writer = DeltaWriter::new(record.body_mut(), DeltaFields::new(DocId([7; 16]))).unwrap();
    writer.payload_mut()[..payload.len()].copy_from_slice(payload);
    let body_len = writer.finish(payload.len()).unwrap();
    record.seal(FrameHeader::whole(Kind::Delta, Channel::Data, body_len).unwrap()).unwrap();
    record
}

#[test]
fn payloads_lie_on_a_cache_line_of_their_own() {
    let record = record(&[1; 100]);
    let delta = record.record().unwrap().delta();
    assert_eq!(delta.payload().as_ptr().addr() % RECORD_ALIGN, 0);
    assert_eq!(record.record_bytes().as_ptr().addr() % RECORD_ALIGN, 0);
    assert_eq!(delta.payload_as::<f32>().unwrap().len(), 25);
    assert_eq!(delta.payload_as::<f64>().unwrap_err(), CastError::Length { len: 100, element: 8 });
}

#[test]
fn numbers_that_do_not_lie_right_are_an_error_not_a_copy() {
    let record = record(&[1; 16]);
    let payload = &record.record().unwrap().delta().payload()[1..9];
    let error = crate::payload_as::<u64>(payload).unwrap_err();
    assert_eq!(error, CastError::Alignment { align: 8 });
}

#[test]
fn exactly_one_thread_switches_a_bit_on() {
    let mut record = record(b"x");
    let shared = record.record_mut().unwrap().share().unwrap();
    let first = AtomicUsize::new(0);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let before = shared.status().set(StatusBits::PROCESSED);
                if !before.contains(StatusBits::PROCESSED) {
                    first.fetch_add(1, Ordering::Relaxed);
                }
                shared.status().set(StatusBits::VALID_DELTA);
            });
        }
        while !shared.status().get().contains(StatusBits::VALID_DELTA) {
            assert_eq!(shared.delta().payload(), b"x");
        }
    });
    assert_eq!(first.into_inner(), 1);
    let bits = StatusBits::PROCESSED | StatusBits::VALID_DELTA;
    assert_eq!(record.record().unwrap().security().status(), bits);
    assert_eq!(std::format!("{bits:?}"), "valid_delta|processed");
    assert_eq!(std::format!("{:?}", StatusBits::from_bits(17)), "valid_delta|0x10");
}

#[test]
fn a_buffer_holds_what_it_was_sealed_with_and_nothing_before() {
    let mut buffer = RecordBuf::with_body_capacity(10);
    assert_eq!(buffer.body_capacity(), 48);
    assert!(buffer.frame_bytes().is_empty());
    assert_eq!(buffer.frame().unwrap_err().field, Field::Length);
    assert_eq!(buffer.record().unwrap_err().field, Field::Length);
    let seal = |buffer: &mut RecordBuf, len| {
        buffer.seal(FrameHeader::whole(Kind::Opaque, Channel::Data, len).unwrap())
    };
    let error = seal(&mut buffer, 49).unwrap_err();
    assert_eq!(error, WriteError::BufferTooSmall { needed: 49, available: 48 });
    seal(&mut buffer, 48).unwrap();
    assert_eq!(buffer.frame().unwrap().body().len(), 48);
    assert_eq!(buffer.record().unwrap_err().field, Field::Kind);
    buffer.clear();
    assert!(buffer.frame_bytes().is_empty());
}

#[test]
fn what_was_known_of_one_message_is_not_said_of_the_next() {
    let mut buffer = record(b"first");
    let security = SecurityHeader::new(StatusBits::VALID_DELTA, 1, [2; 16]);
    let key = SigningKey::new([3; 32]);
    buffer.record_mut().unwrap().write_security(security, Some(&key));
    buffer.record().unwrap().verify_signature(&key).unwrap();
    let header = *buffer.frame().unwrap().header();
    buffer.seal(header).unwrap();
    assert_eq!(*buffer.record().unwrap().security(), SecurityHeader::default());
    // No signature is no valid one.
    let error = buffer.record().unwrap().verify_signature(&key).unwrap_err();
    assert_eq!(error.field, Field::Signature);
}

#[test]
fn status_bits_are_only_ever_switched_on() {
    let mut buffer = record(b"x");
    let shared = buffer.record_mut().unwrap().share().unwrap();
    shared.status().set(StatusBits::REJECTED);
    let security = SecurityHeader::new(StatusBits::VALID_DATA, 1, [2; 16]);
    buffer.record_mut().unwrap().write_security(security, None);
    let bits = buffer.record().unwrap().security().status();
    assert_eq!(bits, StatusBits::REJECTED | StatusBits::VALID_DATA);
}

#[test]
fn writers_refuse_what_the_format_does_not_have() {
    use crate::delta::DeltaType;
    assert!(DeltaType::application(255).is_err());
    assert_eq!(DeltaType::application(256).unwrap().get(), 256);
    let mut body = [0; 48 + 64];
    let mut writer = DeltaWriter::new(&mut body, DeltaFields::new(DocId([7; 16]))).unwrap();
    for len in [65, usize::MAX / 4 + 2] {
        assert!(matches!(writer.payload_as_mut::<u8>(len), Err(CastError::TooShort { .. })));
        assert!(matches!(writer.payload_as_mut::<u32>(len), Err(CastError::TooShort { .. })));
    }
    assert!(writer.finish(65).is_err());
    let record = record(b"not a list");
    let error = record.record().unwrap().delta().operations().unwrap_err();
    assert_eq!(error.field, Field::DeltaType);
}

#[test]
fn a_record_that_is_none_is_refused() {
    let record = record(b"payload");
    let mut bytes = record.record_bytes().to_vec();
    assert_eq!(Record::parse(&bytes[..63]).unwrap_err().field, Field::Length);
    assert_eq!(Record::parse(&bytes[..64]).unwrap_err().field, Field::Length);
    assert_eq!(Record::parse(&bytes[..134]).unwrap_err().field, Field::MessageLen);
    bytes[4] = 1;
    assert_eq!(Record::parse(&bytes).unwrap_err().field, Field::Reserved);
}
