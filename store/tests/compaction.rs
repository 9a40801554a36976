//! Segments of which little is needed: what is, is there as before, in less room, and every changed byte is found.

mod common;

use std::collections::BTreeMap;

use common::disk::{File, SimDisk};
use common::{doc, frame_of, now};
use deltawire_framing::{Frame, StatusBits};
use deltawire_store::{
    Durability, Epoch, Io, Log, LogOptions, Now, Origin, Position, Read, Recovered, Recovery,
    Retention, Tail,
};

const EPOCH: Epoch = Epoch(7);

/// Of documents that are written often, ten records are kept.
fn options() -> LogOptions {
    LogOptions {
        durability: Durability::grouped(),
        retention: Retention { per_document_records: 10, ..Retention::default() },
        chunk: 4 << 10,
        max_record: 4 << 10,
        segment: 16 << 10,
        max_hot_bytes: 64 << 10,
        max_dirty_bytes: 32 << 10,
        compact_below: 50,
        ..LogOptions::default()
    }
}

struct World {
    log: Log,
    disk: SimDisk,
    at: u64,
}

impl World {
    fn new(options: LogOptions) -> Self {
        let log = Log::open(options, Recovery::new(0, EPOCH).finish()).unwrap();
        Self { log, disk: SimDisk::default(), at: 0 }
    }

    fn now(&self) -> Now {
        now(self.at)
    }

    fn drive(&mut self) {
        self.at += 10_000;
        while let Some(io) = self.log.poll_io(self.now()) {
            let done = self.disk.perform(io);
            self.log.handle_io(done, self.now()).unwrap();
        }
    }

    fn write(&mut self, number: u8, origin: u8, payload: &[u8]) {
        let next = self.log.head(&doc(number)).map_or(1, |head| head.appended.0);
        let frame = frame_of(doc(number), next as u32, payload);
        let frame = Frame::parse(&frame).unwrap();
        self.log.append(frame, Origin([origin; 16]), self.now()).unwrap();
        self.log.end_batch(self.now());
        self.drive();
    }

    /// One document that is written often, and one now and then.
    fn fill(&mut self, records: u32) {
        self.write(1, 9, b"the only one of this writer");
        for n in 0..records {
            self.write(1, 1, &vec![n as u8; 700]);
            if n % 40 == 0 {
                self.write(2, 2, &n.to_le_bytes());
            }
            if n == 100 {
                let at = Position(self.log.head(&doc(2)).unwrap().next.0 - 2);
                self.log.stamp(&doc(2), at, StatusBits::REJECTED, [1; 16], self.now()).unwrap();
            }
        }
    }

    fn retain(&mut self) {
        self.log.retain(self.now());
        self.drive();
    }

    fn sizes(&self) -> Vec<usize> {
        self.disk.files.values().map(|file| file.bytes.len()).collect()
    }
}

/// Everything of a log that can be seen, and whether any of it was damaged.
fn seen(log: &mut Log, files: &BTreeMap<u64, File>) -> (Vec<String>, bool) {
    let mut disk = SimDisk { files: files.clone(), ..SimDisk::default() };
    let (mut seen, mut damaged) = (Vec::new(), false);
    for number in 1..=2 {
        let Some(head) = log.head(&doc(number)) else { continue };
        let writers: Vec<_> =
            [1, 2, 9].iter().map(|it| log.last_of(&doc(number), &Origin([*it; 16]))).collect();
        seen.push(format!("{:?} {:?} {:?} {writers:?}", head.first, head.next, head.epoch));
        let (mut from, mut colds) = (head.first, 0);
        while from < head.next {
            match log.read(&doc(number), from, 1) {
                Read::Run(run) => {
                    for stored in &run.records {
                        let frame = crc32c::crc32c(&stored.frame);
                        seen.push(format!("{} {frame:x} {:?}", stored.position, stored.status));
                    }
                    (from, colds) = (run.next, 0);
                }
                Read::Cold(request) => {
                    colds += 1;
                    assert!(colds < 3, "what was read back is there");
                    log.want(request);
                    while let Some(io) = log.poll_io(Now::default()) {
                        let done = disk.perform(io);
                        let _ = log.handle_io(done, Now::default());
                    }
                }
                Read::Gap(gap) => {
                    damaged = true;
                    from = gap.to;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    (seen, damaged)
}

fn recover(files: &BTreeMap<u64, File>, indexed: bool) -> Recovered {
    let disk = SimDisk { files: files.clone(), ..SimDisk::default() };
    let mut recovery = Recovery::new(0, EPOCH);
    disk.show(&mut recovery, indexed);
    recovery.finish()
}

fn reopen(files: &BTreeMap<u64, File>, indexed: bool) -> Log {
    Log::open(LogOptions { compact_below: 0, ..options() }, recover(files, indexed)).unwrap()
}

#[test]
fn what_is_needed_is_there_as_before_in_less_room() {
    let mut world = World::new(options());
    world.fill(400);
    let (before, sizes) = (world.disk.files.clone(), world.sizes());
    let (expected, _) = seen(&mut reopen(&before, true), &before);
    assert!(before.len() > 15);
    world.retain();
    let stats = world.log.stats();
    assert!(stats.compactions >= 1 && stats.compacted_segments >= 1, "{stats:?}");
    assert_eq!(stats.failed_compactions, 0);
    assert_eq!(stats.segments as usize, world.disk.files.len());
    let (some, all): (usize, usize) = (world.sizes().iter().sum(), sizes.iter().sum());
    assert!(some * 4 < all, "{some} of {all} bytes");
    assert_eq!(seen(&mut world.log, &world.disk.files.clone()), (expected.clone(), false));
    for indexed in [true, false] {
        let found = recover(&world.disk.files, indexed);
        assert_eq!((found.tail(), found.replaced()), (Tail::Whole, &[][..]));
        let mut log = reopen(&world.disk.files, indexed);
        assert_eq!(log.stats().compacted_segments, stats.compacted_segments);
        assert_eq!(seen(&mut log, &world.disk.files), (expected.clone(), false));
    }
    // It is written on, and what was compacted is compacted again.
    for round in 0..5 {
        world.fill(200);
        world.retain();
        world.retain();
        assert!(world.disk.files.len() < 8, "round {round}: {:?}", world.sizes());
    }
    assert_eq!(world.log.head(&doc(2)).unwrap().records, 10);
    let (expected, _) = seen(&mut world.log, &world.disk.files.clone());
    let found = seen(&mut reopen(&world.disk.files, true), &world.disk.files);
    assert_eq!(found, (expected, false));
}

#[test]
fn others_that_were_left_are_not_believed() {
    let mut world = World::new(options());
    world.fill(400);
    let before = world.disk.files.clone();
    world.retain();
    let (expected, _) = seen(&mut reopen(&world.disk.files, true), &world.disk.files);
    // Any of them may still be there when the process ends in between.
    let gone: Vec<u64> =
        before.keys().copied().filter(|it| !world.disk.files.contains_key(it)).collect();
    assert!(gone.len() > 5);
    for from in 0..gone.len() {
        let mut files = world.disk.files.clone();
        for segment in &gone[from..] {
            files.insert(*segment, before[segment].clone());
        }
        for indexed in [true, false] {
            let found = recover(&files, indexed);
            assert_eq!(found.tail(), Tail::Whole);
            assert_eq!(found.replaced(), &gone[from..]);
            assert_eq!(seen(&mut reopen(&files, indexed), &files), (expected.clone(), false));
        }
    }
}

#[test]
fn every_changed_or_missing_byte_is_found() {
    let mut world = World::new(options());
    world.fill(120);
    world.retain();
    let files = world.disk.files.clone();
    let (expected, _) = seen(&mut reopen(&files, true), &files);
    let compacted = files.iter().find(|(_, file)| file.bytes[4] == 2).map(|(id, _)| *id).unwrap();
    let whole = files[&compacted].bytes.clone();
    let index = Recovery::index_len(compacted, &whole[whole.len() - 64..], whole.len() as u64);
    let end = whole.len() - index.unwrap() as usize;
    let (mut found_at_once, mut found_later) = (0, 0);
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        let mut files = files.clone();
        files.insert(compacted, File::new(bytes));
        for indexed in [true, false] {
            let found = recover(&files, indexed);
            if let Tail::Damaged { segment, .. } = found.tail() {
                assert_eq!(segment, compacted, "byte {at}");
                assert!(at < end && found.cut().is_none(), "byte {at}");
                found_at_once += 1;
                continue;
            }
            assert_eq!(found.tail(), Tail::Whole, "byte {at}: nothing of it is torn");
            // It is found when it is read; or it was in the index, and that is not used.
            let (seen, damaged) = seen(&mut reopen(&files, indexed), &files);
            assert!(seen == expected || damaged, "byte {at}");
            assert!(seen.iter().all(|line| expected.contains(line)), "byte {at}");
            found_later += usize::from(damaged);
        }
    }
    assert!(found_at_once > 1_000 && found_later > 500, "{found_at_once} {found_later}");
    for len in (0..whole.len()).step_by(7) {
        let mut files = files.clone();
        files.insert(compacted, File::new(whole[..len].to_vec()));
        let found = recover(&files, true);
        let damaged = matches!(found.tail(), Tail::Damaged { .. });
        assert!(damaged || len >= end, "{len} bytes: {:?}", found.tail());
    }
}

#[test]
fn damage_is_not_compacted_away() {
    let mut world = World::new(options());
    world.fill(400);
    let damaged = *world.disk.files.keys().nth(2).unwrap();
    world.disk.files.get_mut(&damaged).unwrap().bytes[5_000] ^= 1;
    let bytes = world.disk.files[&damaged].bytes.clone();
    for _ in 0..4 {
        world.at += 100_000_000;
        world.retain();
    }
    // What lies on both sides of it is.
    let stats = world.log.stats();
    assert!(stats.failed_compactions == 1 && stats.compactions >= 2, "{stats:?}");
    assert_eq!(world.disk.files[&damaged].bytes, bytes);
}

#[test]
fn what_leaves_is_left_alone_and_what_was_to_leave_too() {
    for leaving in [usize::MAX, 2] {
        let mut world = World::new(options());
        world.fill(400);
        let sealed: Vec<u64> = world.log.sealed().map(|it| it.segment).collect();
        let leaving = &sealed[..leaving.min(sealed.len())];
        for segment in leaving {
            assert!(world.log.leaves(*segment));
        }
        // What was begun there may still come to its end, when it is long given up.
        world.log.archived(sealed[0]);
        world.log.stays(sealed[1]);
        let bytes = |world: &World| -> Vec<_> {
            leaving.iter().map(|it| world.disk.files[it].bytes.clone()).collect()
        };
        let before = bytes(&world);
        world.retain();
        let compactions = world.log.stats().compactions;
        assert_eq!(compactions >= 1, leaving.len() == 2, "{compactions}");
        assert!(bytes(&world) == before);
    }
}

#[test]
fn a_full_disk_gets_room_by_it() {
    let mut world = World::new(options());
    world.fill(400);
    let before = world.disk.files.len();
    world.log.retain(world.now());
    // Full from the moment on at which the new segment is in its place.
    let mut refused = 0;
    for n in 0..40u32 {
        world.at += 3_000_000;
        if n == 5 {
            world.retain();
        }
        let frame = frame_of(doc(1), n, &[1; 900]);
        let appended =
            world.log.append(Frame::parse(&frame).unwrap(), Origin([1; 16]), world.now());
        refused += usize::from(appended.is_err());
        world.log.end_batch(world.now());
        while let Some(io) = world.log.poll_io(world.now()) {
            let replaces = matches!(io, Io::Replace { .. });
            let done = world.disk.perform(io);
            world.log.handle_io(done, world.now()).unwrap();
            if replaces {
                // Something is to be written before anything else is asked for.
                world.disk.full = usize::MAX;
                let frame = Frame::parse(&frame).unwrap();
                world.log.append(frame, Origin([1; 16]), world.now()).unwrap();
                world.log.end_batch(world.now());
                world.at += 10_000;
            }
        }
    }
    assert!(world.disk.full > 0 && refused > 0, "it is full");
    assert!(world.disk.files.len() < before / 2, "{} of {before} files", world.disk.files.len());
    world.disk.full = 0;
    world.drive();
    world.at += 3_000_000;
    world.drive();
    assert_eq!(world.log.durable(), world.log.next());
}

#[test]
fn a_request_from_before_is_not_read_at_another_place() {
    let mut world = World::new(options());
    world.fill(400);
    // Nothing of it is in memory.
    world.log = Log::open(options(), recover(&world.disk.files, true)).unwrap();
    let read = world.log.read(&doc(2), Position(3), 1);
    let Read::Cold(request) = read else { panic!("it is cold: {read:?}") };
    world.retain();
    assert!(world.log.stats().compactions >= 1);
    world.log.want(request);
    world.drive();
    assert_eq!((world.log.damaged().count(), world.log.stats().damaged_batches), (0, 0));
    let files = world.disk.files.clone();
    assert!(!seen(&mut world.log, &files).1);
}
