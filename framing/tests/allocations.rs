//! Once warm, no message costs an allocation: writing, cutting, putting together and reading.

use std::time::Duration;

use deltawire_framing::{
    Channel, DeltaFields, DeltaWriter, DocId, Fragmenter, FrameHeader, Frames, Kind, Reassembled,
    Reassembler, ReassemblerLimits, RecordBuf, run,
};

fn allocations(run: impl FnOnce()) -> u64 {
    allocation_counter::measure(run).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

fn write(record: &mut RecordBuf, payload_len: usize, byte: u8) {
    let mut writer = DeltaWriter::new(record.body_mut(), DeltaFields::new(DocId([7; 16]))).unwrap();
    writer.payload_mut()[..payload_len].fill(byte);
    let body_len = writer.finish(payload_len).unwrap();
    record.seal(FrameHeader::whole(Kind::Delta, Channel::Data, body_len).unwrap()).unwrap();
}

#[test]
fn a_small_delta_costs_none() {
    let mut record = RecordBuf::with_body_capacity(2_000);
    let mut read = 0;
    let count = allocations(|| {
        for round in 0..100 {
            write(&mut record, 1_024, round);
            let message = record.frame_bytes();
            assert_eq!(run(message, 16_384).unwrap().len, message.len());
            for frame in Frames::new(message) {
                let delta = frame.unwrap().delta().unwrap();
                delta.verify_checksum().unwrap();
                read += delta.payload_as::<u64>().unwrap().len();
            }
        }
    });
    assert_eq!((count, read), (0, 100 * 128));
}

#[test]
fn a_fragmented_message_costs_none_once_warm() {
    const LEN: usize = 200_000;
    let mut sent = RecordBuf::with_body_capacity(LEN + 48);
    let mut pool = vec![RecordBuf::with_body_capacity(LEN + 48)];
    let mut reassembler = Reassembler::new(ReassemblerLimits::default(), 0);
    let mut complete = 0;
    let mut round = |message_id: u32| {
        write(&mut sent, LEN, message_id as u8);
        let whole = *sent.frame().unwrap().header();
        let fragmenter = Fragmenter::new(&whole, message_id, 16_384).unwrap();
        for index in 0..fragmenter.count() {
            let message = fragmenter.in_place(sent.frame_bytes_mut(), index).unwrap();
            for frame in Frames::new(&message) {
                let mut landing = |_: &FrameHeader| pool.pop();
                let result = reassembler.insert(frame.unwrap(), Duration::ZERO, &mut landing);
                let Reassembled::Complete(mut message) = result.unwrap() else {
                    continue;
                };
                message.buffer.seal(message.header).unwrap();
                let delta = message.buffer.frame().unwrap().delta().unwrap();
                assert_eq!(delta.payload()[LEN / 2], message_id as u8);
                complete += 1;
                message.buffer.clear();
                pool.push(message.buffer);
            }
        }
    };
    round(0);
    // More messages than are remembered, so that old ones get forgotten too.
    let count = allocations(|| (1..200).for_each(&mut round));
    assert_eq!((count, complete), (0, 200));
}
