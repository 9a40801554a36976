//! Logs in a directory of the operating system's.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{doc, frame_of, now};
use deltawire_framing::{Frame, StatusBits};
use deltawire_store::files::{Access, Directory, SegmentFiles};
use deltawire_store::{
    Broken, Durability, Log, LogOptions, OpenError, Origin, Position, Read, Tail,
};

/// A directory that goes when the test has passed.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deltawire-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn options(durability: Durability) -> LogOptions {
    LogOptions {
        durability,
        chunk: 16 << 10,
        max_record: 16 << 10,
        segment: 64 << 10,
        ..LogOptions::default()
    }
}

fn drive(log: &mut Log, files: &mut SegmentFiles, at: u64) {
    while let Some(io) = log.poll_io(now(at)) {
        log.handle_io(files.perform(io), now(at)).unwrap();
    }
}

fn write(log: &mut Log, files: &mut SegmentFiles, from: u32, to: u32) {
    for n in from..to {
        let frame = frame_of(doc((n % 3) as u8), n, &vec![n as u8; n as usize % 900]);
        log.append(Frame::parse(&frame).unwrap(), Origin([1; 16]), now(0)).unwrap();
        if n % 7 == 0 {
            log.end_batch(now(u64::from(n)));
            drive(log, files, u64::from(n) + 1_000_000);
        }
    }
    log.end_batch(now(u64::from(to)));
    drive(log, files, u64::from(to) + 1_000_000);
    assert_eq!(log.durable(), log.next());
}

/// Reads everything of a document, and checks that it is what `write` wrote up to `to`.
fn check(log: &mut Log, files: &mut SegmentFiles, number: u8, to: u32) {
    let mut from = Position(1);
    let mut n = u32::from(number);
    loop {
        match log.read(&doc(number), from, 10_000) {
            Read::Run(run) => {
                for stored in &run.records {
                    let expected = frame_of(doc(number), n, &vec![n as u8; n as usize % 900]);
                    assert_eq!(stored.frame, expected);
                    assert_eq!(stored.frame.as_ptr().addr() % 16, 0);
                    n += 3;
                }
                from = run.next;
            }
            Read::Cold(request) => {
                log.want(request);
                drive(log, files, 0);
            }
            Read::AtHead => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(n >= to && n < to + 3, "read up to {n}");
}

fn segment_files(path: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(path.join("0000")).unwrap().map(Result::unwrap);
    let mut found: Vec<_> = entries
        .map(|it| (it.file_name().into_string().unwrap(), it.metadata().unwrap().len()))
        .filter(|(name, _)| name.ends_with(".segment"))
        .collect();
    found.sort();
    found
}

#[test]
fn what_was_written_is_there_after_each_way_to_end() {
    for durability in [Durability::PageCache, Durability::grouped(), Durability::Each] {
        let directory = Temporary::new("ends");
        let options = options(durability);
        let mut epoch = None;
        for round in 0..4u32 {
            let opened = Directory::open(&directory.0, 2).unwrap();
            let (mut files, found) = opened.shard(0).unwrap();
            let (tail, closed) = (found.tail(), round % 2 == 0);
            assert_eq!(tail == Tail::Closed, closed, "round {round}: {tail:?}");
            assert_eq!(found.records(), u64::from(round * 200));
            let mut log = Log::open(options, found).unwrap();
            for number in 0..3 {
                if round > 0 {
                    check(&mut log, &mut files, number, round * 200);
                }
            }
            let head = log.head(&doc(1));
            assert_eq!(head.map(|it| it.epoch) == epoch, closed, "round {round}");
            let last = log.last_of(&doc(1), &Origin([1; 16])).map(|it| it.sequence);
            assert_eq!(last.is_some(), round > 0);
            write(&mut log, &mut files, round * 200, round * 200 + 200);
            let stamped = Position(u64::from(round) + 2);
            log.stamp(&doc(1), stamped, StatusBits::PROCESSED, [2; 16], now(0)).unwrap();
            for earlier in 2..stamped.0 {
                let status = log.status(&doc(1), Position(earlier)).unwrap();
                assert_eq!(status, StatusBits::PROCESSED, "stamps persist");
            }
            log.end_batch(now(0));
            drive(&mut log, &mut files, 10_000_000);
            epoch = log.head(&doc(1)).map(|it| it.epoch);
            if round % 2 == 1 {
                let end = log.close(now(0)).unwrap();
                assert_eq!(log.broken(), Some(&Broken::Closed));
                drive(&mut log, &mut files, 0);
                assert_eq!(log.durable(), end);
            }
        }
        let found = segment_files(&directory.0);
        assert!(found.len() > 4, "{found:?}");
    }
}

#[test]
fn a_directory_is_one_process_s_and_keeps_its_number_of_shards() {
    let directory = Temporary::new("lock");
    let opened = Directory::open(&directory.0, 2).unwrap();
    assert_eq!((opened.shards(), opened.access()), (2, Access::Write));
    let key = *opened.hash_key();
    assert_ne!(key, [0; 16]);
    let error = Directory::open(&directory.0, 2).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    let look = Directory::look(&directory.0).unwrap();
    assert_eq!((look.hash_key(), look.access()), (&key, Access::Look));
    assert!(matches!(opened.shard(2).unwrap_err(), OpenError::NoShard { index: 2, shards: 2 }));
    drop(opened);
    let error = Directory::open(&directory.0, 3).unwrap_err();
    assert!(matches!(error, OpenError::Shards { value: 3, known: 2, .. }), "{error}");
    assert_eq!(Directory::open(&directory.0, 2).unwrap().hash_key(), &key);
    assert!(matches!(
        Directory::open(&directory.0, 0).unwrap_err(),
        OpenError::ShardCount { value: 0 }
    ));

    let manifest = directory.0.join("manifest");
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[20] ^= 1;
    fs::write(&manifest, &bytes).unwrap();
    let error = Directory::open(&directory.0, 2).unwrap_err();
    assert!(matches!(error, OpenError::Manifest { field: "crc", .. }), "{error}");
}

#[test]
fn a_torn_tail_is_cut_off_and_looking_changes_nothing() {
    let directory = Temporary::new("torn");
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    let mut log = Log::open(options(Durability::PageCache), found).unwrap();
    write(&mut log, &mut files, 0, 20);
    drop((log, files, opened));
    let (name, len) = segment_files(&directory.0)[0].clone();
    assert_eq!(len, 64 << 10, "a segment that is written to has its whole length");
    let path = directory.0.join("0000").join(&name);
    let mut bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used - 100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    fs::write(path.with_extension("new"), b"half a segment").unwrap();

    let look = Directory::look(&directory.0).unwrap();
    let (_, found) = look.shard(0).unwrap();
    let Tail::Torn { segment: 1, at, items, .. } = found.tail() else { panic!("{found:?}") };
    assert!(items > 0);
    assert_eq!(fs::read(&path).unwrap(), bytes);

    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    let kept = found.records() as u32;
    assert_eq!(fs::metadata(&path).unwrap().len(), at);
    assert!(!path.with_extension("new").exists());
    let mut log = Log::open(options(Durability::PageCache), found).unwrap();
    for number in 0..3 {
        check(&mut log, &mut files, number, kept);
    }
    write(&mut log, &mut files, kept, 40);
    drop((log, files, opened));
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    assert_eq!(found.tail(), Tail::Whole);
    let mut log = Log::open(options(Durability::PageCache), found).unwrap();
    check(&mut log, &mut files, 0, 40);
}

#[test]
fn a_tear_in_the_page_cache_goes_over_segments() {
    let directory = Temporary::new("behind");
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    let mut log = Log::open(options(Durability::PageCache), found).unwrap();
    // What may be done at any time is not done yet.
    let mut beside = Vec::new();
    let mut written = 0;
    for n in 0..2_000u32 {
        let frame = frame_of(doc((n % 3) as u8), n, &vec![n as u8; n as usize % 900]);
        if log.append(Frame::parse(&frame).unwrap(), Origin([1; 16]), now(0)).is_err() {
            break;
        }
        log.end_batch(now(0));
        while let Some(io) = log.poll_io(now(0)) {
            match files.beside(io) {
                Ok(job) => beside.push(job),
                Err(io) => log.handle_io(files.perform(io), now(0)).unwrap(),
            }
        }
        written = n + 1;
        if log.durable() < log.next() {
            break;
        }
    }
    let unsealed = segment_files(&directory.0);
    assert_eq!(unsealed.len(), 8, "no more than that is at stake");
    assert!(unsealed.iter().all(|(_, len)| *len == 64 << 10), "{unsealed:?}");
    drop((log, files, opened));
    // The power went, and of the third segment not all had been written down.
    let path = directory.0.join("0000").join(&unsealed[2].0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[30_000..31_000].fill(0);
    fs::write(&path, &bytes).unwrap();

    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    assert!(matches!(found.tail(), Tail::Torn { segment: 3, .. }), "{:?}", found.tail());
    let kept = found.records() as u32;
    assert!(kept > 100 && kept < written);
    assert_eq!(segment_files(&directory.0).len(), 3);
    let mut log = Log::open(options(Durability::PageCache), found).unwrap();
    for number in 0..3 {
        check(&mut log, &mut files, number, kept);
    }
    write(&mut log, &mut files, kept, kept + 200);
    drop((log, files, opened));
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    assert_eq!(found.tail(), Tail::Whole);
    let mut log = Log::open(options(Durability::PageCache), found).unwrap();
    check(&mut log, &mut files, 0, kept + 200);
}

#[test]
fn a_log_in_memory_only_has_no_files() {
    let directory = Temporary::new("memory");
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (_, found) = opened.shard(0).unwrap();
    let error = Log::open(options(Durability::Memory), found).unwrap_err();
    assert!(matches!(error, OpenError::Durability), "{error}");
}

#[test]
fn old_segments_are_deleted_and_documents_are_still_known() {
    let directory = Temporary::new("retention");
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    let mut options = options(Durability::grouped());
    options.retention.max_bytes = 200 << 10;
    let mut log = Log::open(options, found).unwrap();
    let once = frame_of(doc(9), 77, b"once");
    log.append(Frame::parse(&once).unwrap(), Origin([9; 16]), now(0)).unwrap();
    for n in 0..40 {
        write(&mut log, &mut files, n * 40, n * 40 + 40);
        log.retain(now(0));
        drive(&mut log, &mut files, 100_000_000);
    }
    let bytes: u64 = segment_files(&directory.0).iter().map(|(_, len)| len).sum();
    assert!(bytes <= (200 + 2 * 64) << 10, "{bytes}");
    drop((log, files, opened));
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (_, found) = opened.shard(0).unwrap();
    let log = Log::open(options, found).unwrap();
    let head = log.head(&doc(9)).unwrap();
    assert_eq!((head.first, head.next, head.records), (Position(2), Position(2), 0));
    let last = log.last_of(&doc(9), &Origin([9; 16])).unwrap();
    assert_eq!((last.sequence, last.position), (77, Position(1)));
    assert!(matches!(log.read(&doc(9), Position(1), 1), Read::Gap(gap) if gap.to == Position(2)));
}

#[cfg(feature = "tool")]
#[test]
fn the_tool_says_what_is_there_and_changes_nothing() {
    let run = |arguments: &[&str], path: &Path| {
        let program = env!("CARGO_BIN_EXE_deltawire-store");
        let output = std::process::Command::new(program).args(arguments).arg(path).output();
        let output = output.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let directory = Temporary::new("tool");
    let opened = Directory::open(&directory.0, 1).unwrap();
    let (mut files, found) = opened.shard(0).unwrap();
    let mut log = Log::open(options(Durability::grouped()), found).unwrap();
    write(&mut log, &mut files, 0, 200);
    // Beside a process that has it open.
    let (code, out) = run(&["inspect", "--documents"], &directory.0);
    assert_eq!(code, 0);
    assert!(out.contains("not closed") && out.contains("3 documents, 200 records"), "{out}");
    assert!(out.contains("01010101-0101-0101-0101-010101010101: records 1 up to 68"), "{out}");
    drop((log, files, opened));
    let (code, out) = run(&["verify"], &directory.0);
    assert!(code == 0 && out.contains("200 records read, 0 of them wrong"), "{out}");
    assert_eq!(
        run(&["repair", "--dry-run"], &directory.0),
        (0, "there is nothing to repair\n".into())
    );

    let (name, _) = segment_files(&directory.0)[0].clone();
    let path = directory.0.join("0000").join(name);
    let mut bytes = fs::read(&path).unwrap();
    bytes[200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, out) = run(&["verify"], &directory.0);
    assert!(code == 1 && out.contains("DAMAGED: segment 1 at byte 64, field body_crc"), "{out}");
    let (code, out) = run(&["repair", "--dry-run"], &directory.0);
    assert!(code == 1 && out.contains("cut nothing"), "{out}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn whoever_reads_ahead_does_not_wait() {
    let temporary = Temporary::new("ahead");
    let options = LogOptions { durability: Durability::PageCache, ..LogOptions::default() };
    let directory = Directory::open(&temporary.0, 1).unwrap();
    let (mut files, recovered) = directory.shard(0).unwrap();
    let mut log = Log::open(options, recovered).unwrap();
    for n in 0..4_000 {
        let frame = frame_of(doc(1), n, &[7; 900]);
        log.append(Frame::parse(&frame).unwrap(), Origin::NONE, now(0)).unwrap();
        if n % 10 == 0 {
            log.end_batch(now(0));
            drive(&mut log, &mut files, 0);
        }
    }
    log.close(now(0));
    drive(&mut log, &mut files, 0);
    drop((log, files));
    let waits = |ahead: bool| {
        let (mut files, recovered) = directory.shard(0).unwrap();
        let mut log = Log::open(options, recovered).unwrap();
        let (mut from, mut waits) = (Position(1), 0);
        loop {
            match log.read(&doc(1), from, 64 << 10) {
                Read::Run(run) => {
                    if ahead && log.read_ahead(&doc(1), &run) {
                        drive(&mut log, &mut files, 0);
                    }
                    from = run.next;
                }
                Read::Cold(request) => {
                    waits += 1;
                    log.want(request);
                    drive(&mut log, &mut files, 0);
                }
                Read::AtHead => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(from, Position(4_001));
        (waits, log.stats().cold_reads)
    };
    let ((all, _), (few, reads)) = (waits(false), waits(true));
    // 4 MB, 256 KiB at a time; it waits where it begins.
    assert!(all >= 15, "{all}");
    assert_eq!(few, 1);
    assert!(reads <= 2 * all, "{reads} reads where {all} would do");
}

#[test]
fn what_was_dropped_is_no_more_durable_than_what_came_after() {
    let temporary = Temporary::new("dropped");
    let mut options = options(Durability::PageCache);
    options.retention.per_document_records = 3;
    let directory = Directory::open(&temporary.0, 1).unwrap();
    let (mut files, found) = directory.shard(0).unwrap();
    let mut log = Log::open(options, found).unwrap();
    for n in 0..10 {
        let frame = frame_of(doc(1), n, b"");
        log.append(Frame::parse(&frame).unwrap(), Origin::NONE, now(0)).unwrap();
    }
    log.end_batch(now(0));
    let durable = |log: &Log, at| log.is_durable(&doc(1), Position(at)).unwrap();
    assert_eq!(log.head(&doc(1)).unwrap().first, Position(8));
    assert!((1..=11).all(|at| !durable(&log, at)), "nothing is written");
    drive(&mut log, &mut files, 0);
    assert!((1..=10).all(|at| durable(&log, at)));
    assert!(!durable(&log, 11), "there is none");
    assert_eq!(log.is_durable(&doc(2), Position(1)), None);
}
