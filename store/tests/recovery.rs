//! Segments that were cut or changed at any byte: what is found is what was written up to there, and nothing else.

mod common;

use common::disk::SimDisk;
use common::{doc, frame_of, now};
use deltawire_framing::{Frame, StatusBits};
use deltawire_store::{
    Durability, Epoch, Log, LogOptions, LogPosition, Origin, Position, Read, Recovered, Recovery,
    Tail,
};
use proptest::prelude::*;

fn options() -> LogOptions {
    LogOptions {
        durability: Durability::grouped(),
        chunk: 4 << 10,
        max_record: 4 << 10,
        segment: 16 << 10,
        ..LogOptions::default()
    }
}

/// A log of ten batches of three records each, each batch synced by itself; the segment, and where each batch ends.
fn written(durability: Durability) -> (Vec<u8>, Vec<(usize, LogPosition)>) {
    // All of it fits a chunk: what is appended together is one batch.
    let options =
        LogOptions { durability, chunk: 16 << 10, segment: 64 << 10, ..LogOptions::default() };
    let options = LogOptions { max_record: 16 << 10, ..options };
    let mut log = Log::open(options, Recovery::new(0, Epoch(1)).finish()).unwrap();
    let mut disk = SimDisk::default();
    let mut ends = vec![(64, LogPosition(0))];
    for batch in 0..10u32 {
        for record in 0..3 {
            let frame = frame_of(doc(record), batch, &vec![batch as u8; (batch * 20) as usize]);
            let origin = Origin([record + 1; 16]);
            log.append(Frame::parse(&frame).unwrap(), origin, now(u64::from(batch))).unwrap();
        }
        if batch == 5 {
            log.stamp(&doc(1), Position(2), StatusBits::REJECTED, [1; 16], now(0)).unwrap();
        }
        log.end_batch(now(u64::from(batch) * 10_000));
        while let Some(io) = log.poll_io(now(u64::from(batch) * 10_000 + 5_000)) {
            let done = disk.perform(io);
            log.handle_io(done, now(0)).unwrap();
        }
        ends.push((log.stats().disk_bytes as usize, log.next()));
        assert_eq!(log.durable(), log.next());
    }
    disk.kill();
    (disk.files[&1].bytes.clone(), ends)
}

fn recover(bytes: &[u8]) -> Recovered {
    let mut recovery = Recovery::new(0, Epoch(2));
    recovery.segment(1, bytes);
    recovery.finish()
}

/// The segment's batches in front of `at`.
fn whole(ends: &[(usize, LogPosition)], at: usize) -> LogPosition {
    ends.iter().take_while(|(end, _)| *end <= at).last().map_or(LogPosition(0), |(_, next)| *next)
}

#[test]
fn a_whole_segment_is_found_whole() {
    let (bytes, ends) = written(Durability::grouped());
    let found = recover(&bytes);
    assert_eq!(found.tail(), Tail::Whole, "it was not closed");
    assert_eq!((found.next(), found.records(), found.documents()), (LogPosition(31), 30, 3));
    assert_eq!(found.cut(), Some((1, ends.last().unwrap().0 as u64)));
}

#[test]
fn nothing_is_a_log_that_was_closed() {
    let found = Recovery::new(0, Epoch(2)).finish();
    assert_eq!((found.tail(), found.next(), found.cut()), (Tail::Closed, LogPosition(0), None));
}

#[test]
fn a_segment_of_another_shard_or_number_is_damage_and_nothing_is_cut() {
    let (bytes, _) = written(Durability::grouped());
    let mut recovery = Recovery::new(1, Epoch(2));
    recovery.segment(1, &bytes);
    let found = recovery.finish();
    assert_eq!(found.tail(), Tail::Damaged { segment: 1, at: 0, field: "shard" });
    assert_eq!(found.cut(), None);
    let mut recovery = Recovery::new(0, Epoch(2));
    recovery.segment(2, &bytes);
    let damaged = Tail::Damaged { segment: 2, at: 0, field: "segment" };
    assert_eq!(recovery.finish().tail(), damaged);
}

#[test]
fn a_missing_segment_is_damage_and_what_is_in_front_is_read_only() {
    let mut log = Log::open(options(), Recovery::new(0, Epoch(1)).finish()).unwrap();
    let mut disk = SimDisk::default();
    for n in 0..60u32 {
        let frame = frame_of(doc(1), n, &[n as u8; 1_000]);
        log.append(Frame::parse(&frame).unwrap(), Origin::NONE, now(0)).unwrap();
        log.end_batch(now(0));
        while let Some(io) = log.poll_io(now(u64::from(n + 1) * 10_000)) {
            let done = disk.perform(io);
            log.handle_io(done, now(0)).unwrap();
        }
    }
    assert!(disk.files.len() >= 4, "{}", disk.files.len());
    let mut recovery = Recovery::new(0, Epoch(2));
    for (id, file) in &disk.files {
        if *id != 2 {
            recovery.segment(*id, &file.bytes);
        }
    }
    let found = recovery.finish();
    assert_eq!(found.tail(), Tail::Damaged { segment: 3, at: 0, field: "first" });
    let records = found.records();
    assert!(records > 5);
    let mut log = Log::open(options(), found).unwrap();
    assert!(log.broken().is_some());
    let frame = frame_of(doc(1), 0, b"");
    log.append(Frame::parse(&frame).unwrap(), Origin::NONE, now(0)).unwrap_err();
    assert_eq!(log.head(&doc(1)).unwrap().next, Position(records + 1));
    let Read::Cold(request) = log.read(&doc(1), Position(1), 1) else { panic!("it is in a file") };
    log.want(request);
    let io = log.poll_io(now(0)).unwrap();
    log.handle_io(disk.perform(io), now(0)).unwrap();
    assert!(matches!(log.read(&doc(1), Position(1), 1), Read::Run(_)));
}

#[test]
fn bytes_that_change_behind_the_log_s_back_are_not_handed_out() {
    let mut log = Log::open(options(), {
        let (bytes, _) = written(Durability::grouped());
        recover(&bytes)
    })
    .unwrap();
    let (mut bytes, ends) = written(Durability::grouped());
    // In the payload of the third batch.
    bytes[ends[3].0 - 200] ^= 1;
    let mut disk = SimDisk::default();
    disk.files.insert(1, common::disk::File::new(bytes));
    let mut seen = Vec::new();
    let mut from = Position(1);
    loop {
        match log.read(&doc(2), from, usize::MAX) {
            Read::Run(run) => {
                seen.extend(run.records.iter().map(|stored| stored.position.0));
                from = run.next;
            }
            Read::Cold(request) => {
                log.want(request);
                while let Some(io) = log.poll_io(now(0)) {
                    if matches!(io, deltawire_store::Io::Read { .. }) {
                        log.handle_io(disk.perform(io), now(0)).unwrap();
                    }
                }
            }
            Read::Gap(gap) => {
                assert_eq!(gap.why, deltawire_store::GapReason::Damaged);
                assert_eq!((from, gap.to, gap.records), (Position(3), Position(4), 1));
                from = gap.to;
            }
            Read::AtHead => break,
            Read::Unknown => panic!("it is known"),
        }
    }
    assert_eq!(seen, [1, 2, 4, 5, 6, 7, 8, 9, 10]);
}

/// The segments of a log, sealed and with their indexes, but for the last; and the log.
fn indexed() -> (Log, SimDisk) {
    let mut log = Log::open(options(), Recovery::new(0, Epoch(1)).finish()).unwrap();
    let mut disk = SimDisk::default();
    for n in 0..120u32 {
        let frame = frame_of(doc((n % 5) as u8), n, &vec![n as u8; (n * 13 % 900) as usize]);
        let origin = Origin([(n % 3) as u8; 16]);
        log.append(Frame::parse(&frame).unwrap(), origin, now(u64::from(n))).unwrap();
        match n {
            40 => log.stamp(&doc(1), Position(3), StatusBits::REJECTED, [1; 16], now(0)).unwrap(),
            50 => log.snapshot(&doc(2), Position(8), Position(5), now(0)).unwrap(),
            60 => assert!(log.forget(&doc(3), now(0))),
            _ => {}
        }
        log.end_batch(now(u64::from(n)));
        while let Some(io) = log.poll_io(now(u64::from(n + 1) * 10_000)) {
            let done = disk.perform(io);
            log.handle_io(done, now(0)).unwrap();
        }
    }
    assert!(disk.indexes > 2, "{}", disk.indexes);
    (log, disk)
}

#[test]
fn an_index_says_what_its_segment_does() {
    let (log, disk) = indexed();
    let by = |indexed| {
        let mut recovery = Recovery::new(0, Epoch(1));
        let used = disk.show(&mut recovery, indexed);
        assert_eq!(used, if indexed { disk.indexes } else { 0 });
        let found = recovery.finish();
        assert_eq!(found.tail(), Tail::Whole);
        Log::open(options(), found).unwrap()
    };
    let (scanned, indexed) = (by(false), by(true));
    let stats = indexed.stats();
    assert_eq!(scanned.stats(), stats);
    assert_eq!(scanned.next(), indexed.next());
    for number in 0..5 {
        let doc = doc(number);
        let (head, before) = (indexed.head(&doc).unwrap(), log.head(&doc).unwrap());
        assert_eq!(Some(head), scanned.head(&doc));
        assert_eq!((head.first, head.records), (before.first, before.records));
        assert_eq!((head.snapshot, head.bytes), (before.snapshot, before.bytes));
        for position in head.first.0..head.next.0 {
            let position = Position(position);
            assert_eq!(indexed.status(&doc, position), log.status(&doc, position));
        }
        for origin in 0..3 {
            let origin = Origin([origin; 16]);
            assert_eq!(indexed.last_of(&doc, &origin), log.last_of(&doc, &origin));
        }
    }
}

#[test]
fn damage_that_an_index_does_not_see_is_named_when_it_is_read() {
    let (_, mut disk) = indexed();
    // In the middle of the batches of the first segment.
    let file = disk.files.get_mut(&1).unwrap();
    file.bytes[6_100] ^= 1;
    let mut recovery = Recovery::new(0, Epoch(2));
    assert_eq!(disk.show(&mut recovery, true), disk.indexes);
    let found = recovery.finish();
    assert_eq!(found.tail(), Tail::Whole, "nobody has looked");
    let mut log = Log::open(options(), found).unwrap();
    let (mut seen, mut missing) = (0, 0);
    for number in 0..5 {
        let doc = doc(number);
        let mut from = log.head(&doc).unwrap().first;
        loop {
            match log.read(&doc, from, 1_000) {
                Read::Run(run) => {
                    seen += run.records.len();
                    for stored in &run.records {
                        Frame::parse(&stored.frame)
                            .unwrap()
                            .delta()
                            .unwrap()
                            .verify_checksum()
                            .unwrap();
                    }
                    from = run.next;
                }
                Read::Cold(request) => {
                    log.want(request);
                    while let Some(io) = log.poll_io(now(0)) {
                        log.handle_io(disk.perform(io), now(0)).unwrap();
                    }
                }
                Read::Gap(gap) => {
                    assert_eq!(gap.why, deltawire_store::GapReason::Damaged);
                    missing += gap.records;
                    from = gap.to;
                }
                Read::AtHead => break,
                Read::Unknown => panic!("it is known"),
            }
        }
    }
    assert_eq!((missing, log.stats().damaged_batches), (1, 1));
    assert_eq!(log.damaged().count(), 1);
    assert!(seen > 90, "{seen}");
    // Whoever looks at all of it finds it as well.
    let mut recovery = Recovery::new(0, Epoch(2));
    disk.show(&mut recovery, false);
    assert!(matches!(recovery.finish().tail(), Tail::Damaged { segment: 1, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_000)
    })]

    /// A file that ends early has what was whole in it, and the rest is cut off. (What had been synced was, so that a
    /// disk cannot do this; but nothing says so, as what says it is gone too.)
    #[test]
    fn a_segment_that_is_cut_has_what_was_whole(cut in 64usize..9_000) {
        let (bytes, ends) = written(Durability::grouped());
        let end = ends.last().unwrap().0;
        let cut = cut.min(end);
        let found = recover(&bytes[..cut]);
        prop_assert_eq!(found.next(), whole(&ends, cut));
        let at = ends.iter().map(|(end, _)| *end).take_while(|end| *end <= cut).last().unwrap();
        if cut == 64 {
            // Nothing but the segment's header: a log that is not there yet.
            prop_assert_eq!(found.tail(), Tail::Closed);
        } else if at == cut {
            prop_assert_eq!(found.tail(), Tail::Whole);
        } else {
            let torn = matches!(found.tail(), Tail::Torn { segment: 1, .. } | Tail::Whole);
            prop_assert!(torn);
        }
        prop_assert_eq!(found.cut(), Some((1, at as u64)));
    }

    /// A byte that changed is found, wherever it is: nothing of its batch is believed. Whether it is damage or a tear
    /// follows from what had been synced.
    #[test]
    fn a_byte_that_changed_is_found(at in 0usize..16_384, bit in 0u8..8, synced: bool) {
        let durability = if synced { Durability::grouped() } else { Durability::PageCache };
        let (mut bytes, ends) = written(durability);
        bytes[at] ^= 1 << bit;
        let changed = bytes;
        let found = recover(&changed);
        if at < 64 {
            let damaged = matches!(found.tail(), Tail::Damaged { segment: 1, at: 0, .. });
            prop_assert!(damaged);
            prop_assert_eq!(found.records(), 0);
            return Ok(());
        }
        let next = whole(&ends, at);
        prop_assert_eq!(found.next(), next);
        let start = ends.iter().map(|(end, _)| *end).take_while(|end| *end <= at).last().unwrap();
        // The batch behind the last says that all but the last were synced.
        let last_two = ends[ends.len() - 2].0;
        match found.tail() {
            Tail::Damaged { segment, at, .. } => {
                prop_assert!(synced && start < last_two);
                prop_assert_eq!((segment, at), (1, start as u64));
                prop_assert_eq!(found.cut(), None);
            }
            Tail::Torn { segment, at: torn, bytes, .. } => {
                prop_assert!(!synced || start >= last_two);
                prop_assert_eq!((segment, torn), (1, start as u64));
                let used = changed.iter().rposition(|byte| *byte != 0).unwrap() + 1;
                prop_assert_eq!(bytes, (used - start) as u64);
            }
            other => prop_assert!(false, "{:?} for byte {}", other, at),
        }
    }

    /// A byte of an index that changed: the segment is read as a whole, and nothing is missing.
    #[test]
    fn an_index_that_changed_is_not_believed(at in 0usize..4_096, bit in 0u8..8) {
        let (log, mut disk) = indexed();
        let file = disk.files.get_mut(&2).unwrap();
        let len = file.bytes.len() as u64;
        let last = file.bytes.last_chunk::<64>().unwrap();
        let index = Recovery::index_len(2, last, len).unwrap() as usize;
        let at = len as usize - 1 - at % index;
        file.bytes[at] ^= 1 << bit;
        let mut recovery = Recovery::new(0, Epoch(1));
        prop_assert_eq!(disk.show(&mut recovery, true), disk.indexes - 1);
        let found = recovery.finish();
        prop_assert_eq!(found.tail(), Tail::Whole);
        prop_assert_eq!(found.next(), log.next());
    }

    /// Any bytes: no panic, and nothing is found in noise.
    #[test]
    fn noise_is_no_log(bytes in prop::collection::vec(any::<u8>(), 0..4_096)) {
        let found = recover(&bytes);
        let damaged = matches!(found.tail(), Tail::Damaged { .. });
        prop_assert!(damaged);
        prop_assert_eq!(found.records(), 0);
    }
}
