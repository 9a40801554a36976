//! A log in memory against a plain list of deltas, and what it copies and takes.

mod common;

use bytes::Bytes;
use common::{Writer, doc, frame_of, now};
use deltawire_framing::{Frame, StatusBits};
use deltawire_store::{
    Epoch, Gap, GapReason, Log, LogOptions, Origin, Position, Read, Refused, Retention, Room, Run,
};

fn run(read: Read) -> Run {
    match read {
        Read::Run(run) => run,
        other => panic!("expected a run, got {other:?}"),
    }
}

fn small() -> LogOptions {
    LogOptions {
        chunk: 4 << 10,
        max_record: 4 << 10,
        segment: 64 << 10,
        max_hot_bytes: 64 << 10,
        max_cold_bytes: 1 << 20,
        max_dirty_bytes: 32 << 10,
        ..LogOptions::default()
    }
}

#[test]
fn nothing_is_readable_before_the_batch_ends() {
    let mut log = Log::new(LogOptions::default(), Epoch(3));
    let mut writer = Writer::new(doc(1));
    assert!(matches!(log.read(&doc(1), Position(1), 1_000), Read::Unknown));
    assert_eq!(log.end_batch(now(0)), None);

    let bytes = writer.frame(b"one");
    let appended = log.append(Frame::parse(&bytes).unwrap(), Origin::NONE, now(0)).unwrap();
    assert_eq!((appended.position, appended.at.0, appended.epoch), (Position(1), 0, Epoch(3)));
    assert!(matches!(log.read(&doc(1), Position(1), 1_000), Read::AtHead));
    let head = log.head(&doc(1)).unwrap();
    assert_eq!((head.next, head.appended, head.durable), (Position(1), Position(2), Position(1)));

    let end = log.end_batch(now(0)).unwrap();
    assert_eq!(end, log.durable());
    assert_eq!(end.0, 1);
    let found = run(log.read(&doc(1), Position(0), 1_000));
    assert_eq!((found.first, found.next, found.epoch), (Position(1), Position(2), Epoch(3)));
    assert_eq!(found.records[0].frame, bytes);
    assert_eq!(log.head(&doc(1)).unwrap().durable, Position(2));
    let ahead = Gap { to: Position(1), why: GapReason::Forgotten, records: 0, bytes: 0 };
    assert!(matches!(log.read(&doc(1), Position(9), 1_000), Read::Gap(gap) if gap == ahead));
}

#[test]
fn a_frame_of_the_command_channel_is_stored_as_one_of_the_data_channel() {
    let mut log = Log::new(LogOptions::default(), Epoch(1));
    let data = frame_of(doc(1), 7, b"payload");
    let mut command = data.to_vec();
    command[2] = 0;
    log.append(Frame::parse(&command).unwrap(), Origin::NONE, now(0)).unwrap();
    log.adopt(Bytes::from(command), Origin::NONE, now(0)).unwrap();
    log.end_batch(now(0));
    let found = run(log.read(&doc(1), Position(1), 1_000));
    assert_eq!(found.records.len(), 2);
    assert!(found.records.iter().all(|stored| stored.frame == data));
    assert_eq!(log.stats().adopted_bytes, 0, "what has to be changed is copied");
}

#[test]
fn one_copy_in_none_when_adopted_none_out() {
    let mut log = Log::new(LogOptions::default(), Epoch(1));
    let mut writer = Writer::new(doc(1));
    let short = writer.frame(&[5; 1_000]);
    let long = writer.aligned_frame(&[6; 100_000]);
    log.append(Frame::parse(&short).unwrap(), Origin::NONE, now(0)).unwrap();
    log.adopt(long.clone(), Origin::NONE, now(0)).unwrap();
    log.end_batch(now(0));
    let stats = log.stats();
    assert_eq!(stats.copied_bytes, short.len() as u64);
    assert_eq!(stats.adopted_bytes, long.len() as u64);

    let first = run(log.read(&doc(1), Position(1), 1 << 20));
    let again = run(log.read(&doc(1), Position(1), 1 << 20));
    for (one, other) in first.records.iter().zip(&again.records) {
        assert_eq!(one.frame.as_ptr(), other.frame.as_ptr(), "readers share the bytes");
        assert_eq!(one.frame.as_ptr().addr() % 16, 0);
    }
    assert_eq!(first.records[1].frame.as_ptr(), long.as_ptr(), "these are the bytes that came");
    // A record lies at a multiple of 64, and its frame behind 64 bytes.
    assert_eq!(first.records[0].frame.as_ptr().addr() % 64, 0);
}

#[test]
fn a_grant_is_written_in_place_and_rolled_back_exactly() {
    let mut log = Log::new(LogOptions::default(), Epoch(1));
    let fields = deltawire_framing::DeltaFields { sequence: 9, ..common::fields(doc(1)) };
    let mut grant = log.reserve(doc(1), 5).unwrap();
    grant.payload_mut().copy_from_slice(b"gone!");
    drop(grant);
    assert_eq!(log.end_batch(now(0)), None);
    assert_eq!(log.documents().count(), 0);

    let mut grant = log.reserve(doc(1), 5).unwrap();
    assert_eq!(grant.payload_mut(), [0; 5], "nothing is left of the one before");
    grant.payload_mut().copy_from_slice(b"first");
    let place = grant.payload_mut().as_ptr();
    grant.commit(fields, Origin([1; 16]), now(0)).unwrap();
    let mut grant = log.reserve(doc(1), 3).unwrap();
    grant.payload_mut().copy_from_slice(b"gon");
    drop(grant);
    log.end_batch(now(0));

    let found = run(log.read(&doc(1), Position(1), 1_000));
    assert_eq!(found.records.len(), 1);
    let delta = Frame::parse(&found.records[0].frame).unwrap().delta().unwrap();
    delta.verify_checksum().unwrap();
    assert_eq!((delta.payload(), delta.sequence()), (&b"first"[..], 9));
    assert_eq!(delta.payload().as_ptr(), place);
    assert_eq!(log.stats().copied_bytes, 0);
    assert_eq!(log.last_of(&doc(1), &Origin([1; 16])).unwrap().sequence, 9);
}

#[test]
fn what_is_no_delta_or_too_long_or_one_document_too_many_is_refused_by_name() {
    let options = LogOptions { max_documents: 1, ..small() };
    let mut log = Log::new(options, Epoch(1));
    let opaque = [&[1, 3, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0][..], b"x"].concat();
    let refused = log.append(Frame::parse(&opaque).unwrap(), Origin::NONE, now(0)).unwrap_err();
    assert!(matches!(refused, Refused::NotADelta(_)), "{refused}");
    let (refused, back) = log.adopt(Bytes::from_static(b"no"), Origin::NONE, now(0)).unwrap_err();
    assert!(matches!(refused, Refused::NotADelta(_)), "{refused}");
    assert_eq!(&back[..], b"no");
    let long = frame_of(doc(1), 0, &[0; 4_096]);
    let refused = log.append(Frame::parse(&long).unwrap(), Origin::NONE, now(0)).unwrap_err();
    assert_eq!(refused, Refused::TooLong { len: 4_160, limit: 4_096 });
    assert_eq!(log.documents().count(), 0, "a refused delta makes no document");

    let one = frame_of(doc(1), 0, b"");
    log.append(Frame::parse(&one).unwrap(), Origin::NONE, now(0)).unwrap();
    let two = frame_of(doc(2), 0, b"");
    let refused = log.append(Frame::parse(&two).unwrap(), Origin::NONE, now(0)).unwrap_err();
    assert_eq!(refused, Refused::TooManyDocuments { limit: 1 });
    assert!(log.forget(&doc(1), now(0)));
    assert!(!log.forget(&doc(1), now(0)));
    let appended = log.append(Frame::parse(&two).unwrap(), Origin::NONE, now(0)).unwrap();
    assert_eq!(appended.position, Position(1));
}

#[test]
fn rejected_records_are_left_out_and_their_positions_skip() {
    let mut log = Log::new(LogOptions::default(), Epoch(1));
    let mut writer = Writer::new(doc(1));
    for payload in 0..4u8 {
        log.append(Frame::parse(&writer.frame(&[payload])).unwrap(), Origin::NONE, now(0)).unwrap();
    }
    log.end_batch(now(0));
    let by = [9; 16];
    log.stamp(&doc(1), Position(2), StatusBits::REJECTED, by, now(0)).unwrap();
    log.stamp(&doc(1), Position(2), StatusBits::REJECTED, by, now(0)).unwrap();
    log.stamp(&doc(1), Position(3), StatusBits::PROCESSED, by, now(0)).unwrap();
    assert_eq!(log.stats().stamps, 2, "the second said nothing new");
    let found = run(log.read(&doc(1), Position(1), 1_000));
    let positions: Vec<u64> = found.records.iter().map(|stored| stored.position.0).collect();
    assert_eq!(positions, [1, 3, 4]);
    assert_eq!(found.next, Position(5));
    assert_eq!(found.records[1].status, StatusBits::PROCESSED);
    // All that is asked for was rejected: the reader comes past it.
    let one = log.read(&doc(1), Position(2), 0);
    assert_eq!(run(one).next, Position(4));
    let refused = log.stamp(&doc(1), Position(5), StatusBits::PROCESSED, by, now(0)).unwrap_err();
    assert!(matches!(refused, Refused::NoRecord { next: Position(5), .. }), "{refused}");
    let refused = log.stamp(&doc(2), Position(1), StatusBits::PROCESSED, by, now(0)).unwrap_err();
    assert_eq!(refused, Refused::Unknown { doc: doc(2) });
}

#[test]
fn a_snapshot_lets_go_what_it_covers() {
    let retention = Retention { keep_after_snapshot: 2, ..Retention::default() };
    let mut log = Log::new(LogOptions { retention, ..LogOptions::default() }, Epoch(1));
    let mut writer = Writer::new(doc(1));
    for payload in 0..10u8 {
        log.append(Frame::parse(&writer.frame(&[payload])).unwrap(), Origin::NONE, now(0)).unwrap();
    }
    let refused = log.snapshot(&doc(1), Position(10), Position(10), now(0)).unwrap_err();
    assert_eq!(refused, Refused::CoversItself { at: Position(10), covers: Position(10) });
    log.snapshot(&doc(1), Position(10), Position(8), now(0)).unwrap();
    log.retain(now(0));
    assert_eq!(log.head(&doc(1)).unwrap().first, Position(1), "the batch has not ended");
    log.end_batch(now(0));
    log.retain(now(0));
    let head = log.head(&doc(1)).unwrap();
    assert_eq!((head.first, head.records), (Position(7), 4));
    assert_eq!(head.snapshot.unwrap().at, Position(10));
    let expected = Gap { to: Position(7), why: GapReason::Snapshot, records: 4, bytes: 0 };
    assert!(matches!(log.read(&doc(1), Position(3), 9), Read::Gap(gap) if gap == expected));
    // A snapshot that turns out bad is none.
    log.stamp(&doc(1), Position(10), StatusBits::REJECTED, [0; 16], now(0)).unwrap();
    assert_eq!(log.head(&doc(1)).unwrap().snapshot, None);
}

#[test]
fn memory_is_bounded_and_the_oldest_go() {
    let mut log = Log::new(small(), Epoch(1));
    let mut writers: Vec<Writer> = (0..8).map(|n| Writer::new(doc(n))).collect();
    for round in 0..2_000usize {
        let payload = vec![round as u8; round % 1_500];
        let frame = writers[round % 8].frame(&payload);
        log.append(Frame::parse(&frame).unwrap(), Origin::NONE, now(0)).unwrap();
        if round % 3 == 0 {
            log.end_batch(now(0));
        }
        assert!(log.stats().hot_bytes <= 64 << 10);
    }
    log.end_batch(now(0));
    for (n, writer) in writers.iter().enumerate() {
        let head = log.head(&doc(n as u8)).unwrap();
        assert_eq!(head.next, Position(251));
        assert!(head.first > Position(200), "{head:?}");
        let gap =
            Gap { to: head.first, why: GapReason::Expired, records: head.first.0 - 1, bytes: 0 };
        assert!(matches!(log.read(&doc(n as u8), Position(1), 9), Read::Gap(got) if got == gap));
        let found = run(log.read(&doc(n as u8), head.first, usize::MAX));
        assert_eq!(found.next, head.next);
        for stored in &found.records {
            let sent = &writer.sent[stored.position.0 as usize - 1];
            assert_eq!(&stored.frame, sent);
        }
    }
}

#[test]
fn the_index_is_bounded_and_says_when_it_is_full() {
    let options = LogOptions { max_index_bytes: 2 << 20, ..LogOptions::default() };
    let mut log = Log::new(options, Epoch(1));
    // Documents that keep nothing but their last record: nothing can go but them.
    let mut refused = None;
    for n in 0..10_000u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        let frame = frame_of(deltawire_framing::DocId(id), 0, b"");
        match log.append(Frame::parse(&frame).unwrap(), Origin([1; 16]), now(0)) {
            Ok(_) => log.end_batch(now(0)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        };
        assert!(log.stats().index_bytes <= 2 << 20);
    }
    let Some(Refused::Full { room: Room::Index, limit, .. }) = refused else {
        panic!("10,000 documents do not fit 2 MiB: {refused:?}");
    };
    assert_eq!(limit, 2 << 20);
    assert!(log.documents().count() > 1_000);
}

#[test]
fn the_least_recent_of_too_many_writers_is_forgotten() {
    let remember_writers = std::time::Duration::from_secs(10);
    let options = LogOptions { max_writers: 3, remember_writers, ..LogOptions::default() };
    let mut log = Log::new(options, Epoch(1));
    for (sequence, origin) in [(1, 1), (2, 2), (3, 3), (4, 1), (5, 4)] {
        let frame = frame_of(doc(1), sequence, b"");
        // A minute between them.
        let now = now(u64::from(sequence) * 60_000_000);
        log.append(Frame::parse(&frame).unwrap(), Origin([origin; 16]), now).unwrap();
        log.end_batch(now);
    }
    let last = |origin| log.last_of(&doc(1), &Origin([origin; 16])).map(|it| it.sequence);
    assert_eq!([last(1), last(2), last(3), last(4)], [Some(4), None, Some(3), Some(5)]);
    assert_eq!(log.last_of(&doc(1), &Origin::NONE), None);
}

#[test]
fn a_writer_that_wrote_just_now_is_not_forgotten_up_to_a_limit() {
    let remember_writers = std::time::Duration::from_secs(10);
    let options = LogOptions { max_writers: 3, remember_writers, ..LogOptions::default() };
    let mut log = Log::new(options, Epoch(1));
    let origin_of = |number: u32| Origin([number.to_le_bytes(); 4].concat().try_into().unwrap());
    let write = |log: &mut Log, number: u32, second: u64| {
        let frame = frame_of(doc(1), number, b"");
        let now = now(second * 1_000_000);
        log.append(Frame::parse(&frame).unwrap(), origin_of(number), now).unwrap();
        log.end_batch(now);
    };
    let known = |log: &Log, numbers: core::ops::RangeInclusive<u32>| {
        numbers.filter(|number| log.last_of(&doc(1), &origin_of(*number)).is_some()).count()
    };
    // A hundred a second, for 5 s: all of them.
    (1..=500).for_each(|number| write(&mut log, number, 100 + u64::from(number) / 100));
    assert_eq!(known(&log, 1..=500), 500);
    // However many there are, they do not take more than 1,024 places.
    (1_001..=6_000).for_each(|number| write(&mut log, number, 107));
    assert_eq!(known(&log, 1..=6_000), 1_024);
    assert_eq!(known(&log, 5_001..=6_000), 1_000);
    let many = log.stats().index_bytes;
    // When they are older than that, the places are given back: two for one that comes.
    (7_001..=8_021).for_each(|number| write(&mut log, number, 1_000 + u64::from(number)));
    assert!((10..=15).contains(&known(&log, 1..=9_000)), "one a second, for 10 s");
    assert!(log.stats().index_bytes < many);
}

#[test]
fn a_writer_that_may_have_to_write_again_is_not_forgotten() {
    let mut log = Log::new(LogOptions { max_writers: 3, ..LogOptions::default() }, Epoch(1));
    // Nothing of one batch is durable before it ends.
    for origin in 1..=5 {
        let frame = frame_of(doc(1), origin.into(), b"");
        log.append(Frame::parse(&frame).unwrap(), Origin([origin; 16]), now(0)).unwrap();
    }
    for origin in 1..=5 {
        let last = log.last_of(&doc(1), &Origin([origin; 16])).map(|it| it.sequence);
        assert_eq!(last, Some(u32::from(origin)));
    }
}

#[test]
fn ages_expire_by_the_greatest_wall_time() {
    let age = std::time::Duration::from_secs(10);
    let retention = Retention { max_age: Some(age), ..Retention::default() };
    let mut log = Log::new(LogOptions { retention, ..LogOptions::default() }, Epoch(1));
    let mut writer = Writer::new(doc(1));
    for second in [100, 104, 95, 109] {
        let frame = writer.frame(&[second as u8]);
        log.append(Frame::parse(&frame).unwrap(), Origin::NONE, now(second * 1_000_000)).unwrap();
        log.end_batch(now(second * 1_000_000));
    }
    log.retain(now(109_999_999));
    assert_eq!(log.head(&doc(1)).unwrap().first, Position(1));
    log.retain(now(110_000_000));
    assert_eq!(log.head(&doc(1)).unwrap().first, Position(2));
    // The third was written when the clock had gone back: it is as old as the second.
    log.retain(now(114_000_000));
    assert_eq!(log.head(&doc(1)).unwrap().first, Position(4));
    log.retain(now(200_000_000));
    let head = log.head(&doc(1)).unwrap();
    assert_eq!((head.first, head.next, head.records, head.bytes), (Position(5), Position(5), 0, 0));
    assert!(matches!(log.read(&doc(1), Position(5), 9), Read::AtHead));
}

#[test]
fn options_out_of_range_are_named() {
    let bad = LogOptions { chunk: 100, ..LogOptions::default() }.check().unwrap_err();
    assert_eq!(bad.to_string(), "option chunk is 100, must be from 4096 to 67108864");
    LogOptions::default().check().unwrap();
    small().check().unwrap();
}

/// In the steady state appending takes no memory from the allocator: chunks come back, and so do blocks.
#[test]
fn appending_and_expiring_for_ever_allocates_little() {
    let retention = Retention { per_document_records: 100, ..Retention::default() };
    let options = LogOptions { retention, ..LogOptions::default() };
    let mut log = Log::new(options, Epoch(1));
    let frame = frame_of(doc(1), 0, &[7; 64]);
    let frame = Frame::parse(&frame).unwrap();
    let round = |log: &mut Log| {
        for _ in 0..100 {
            log.append(frame, Origin([1; 16]), now(0)).unwrap();
        }
        log.end_batch(now(0));
        log.retain(now(0));
    };
    for _ in 0..200 {
        round(&mut log);
    }
    let before = log.stats();
    let info = allocation_counter::measure(|| (0..100).for_each(|_| round(&mut log)));
    // For 10,000 records: a chunk's handle or two, blocks of the index, a Bytes for each batch.
    assert!(info.count_total < 500, "{info:?}");
    let after = log.stats();
    assert!(after.hot_bytes <= before.hot_bytes.max(2 << 20), "{after:?}");
    assert_eq!(after.index_bytes, before.index_bytes);
}

/// What the statistics say of memory is what the allocator says, but for a tenth and what is taken in advance.
#[test]
fn memory_is_counted() {
    let mut log = None;
    let info = allocation_counter::measure(|| {
        let mut made = Log::new(LogOptions::default(), Epoch(1));
        for n in 0..20_000u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&(n % 3_000).to_le_bytes());
            let frame = frame_of(deltawire_framing::DocId(id), n, &[0; 100]);
            let origin = Origin([(n % 7) as u8 + 1; 16]);
            made.append(Frame::parse(&frame).unwrap(), origin, now(0)).unwrap();
            if n % 20 == 0 {
                made.end_batch(now(0));
            }
        }
        log = Some(made);
    });
    let stats = log.as_ref().unwrap().stats();
    let counted = (stats.hot_bytes + stats.index_bytes) as i64;
    let taken = info.bytes_current;
    let off = (counted - taken).abs() as f64 / taken as f64;
    assert!(off < 0.1, "counted {counted}, taken {taken}: {stats:?}");
}
