//! The log beside what else there is: `cargo bench -p deltawire-store --features files`.
//!
//! - `append-64B`, `append-1KiB`: batches of 64 records into memory, and into the page cache. Beside them one copy into a
//!   reused buffer (what cannot be beaten), a `Vec` for each record, a plain `pwrite` a batch, and redb without syncs.
//! - `group-of-64`: 64 writers with a record of 1 KiB each, until the disk has all of them: one write and one sync. The
//!   time that a group waits for others is left out. Beside it the same into the page cache, `pwrite` and `fdatasync`,
//!   and a durable commit of redb's.
//! - `replay-64B`, `replay-1KiB`: a document of 100,000 or 20,000 records, read from the beginning. From memory, and from
//!   segments that the page cache has. Beside it a plain `pread` of as many bytes, and a range of redb's.

use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use deltawire_framing::{
    Channel, Checksum, DeltaFields, DeltaWriter, DocId, Frame, FrameHeader, Kind,
};
use deltawire_store::files::{Beside, Directory, SegmentFiles};
use deltawire_store::{
    Durability, Epoch, IoDone, Log, LogOptions, Now, Origin, Position, Read, Retention,
};
use redb::{Database, Durability as RedbDurability, ReadableDatabase, TableDefinition};
use zerocopy::IntoBytes;

const DOC: DocId = DocId([7; 16]);
const BATCH: usize = 64;
const READ: usize = 256 << 10;
const TABLE: TableDefinition<'_, (u128, u64), &[u8]> = TableDefinition::new("deltas");

fn frame(payload_len: usize) -> Vec<u8> {
    let mut bytes = vec![0; 64 + payload_len];
    let fields = DeltaFields { checksum: Checksum::Absent, ..DeltaFields::new(DOC) };
    let len = DeltaWriter::new(&mut bytes[16..], fields).unwrap().finish(payload_len).unwrap();
    let header = FrameHeader::whole(Kind::Delta, Channel::Data, len).unwrap();
    bytes[..16].copy_from_slice(header.as_bytes());
    bytes
}

fn options(durability: Durability) -> LogOptions {
    // So much that it never fits a cache, and so little that nothing is swapped.
    let retention = Retention { max_bytes: 256 << 20, ..Retention::default() };
    LogOptions { durability, retention, max_hot_bytes: 128 << 20, ..LogOptions::default() }
}

struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("deltawire-bench-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Filed {
    log: Log,
    files: SegmentFiles,
    now: Now,
    rounds: u32,
    /// What a thread beside has to do, and what came of it.
    beside: Sender<Beside>,
    done: Receiver<IoDone>,
    _directory: (Directory, Temporary),
}

impl Filed {
    fn new(durability: Durability) -> Self {
        let temporary = Temporary::new();
        let directory = Directory::open(temporary.0.join("log"), 1).unwrap();
        let (files, found) = directory.shard(0).unwrap();
        let log = Log::open(options(durability), found).unwrap();
        let (beside, jobs) = channel::<Beside>();
        let (answer, done) = channel();
        std::thread::spawn(move || jobs.into_iter().try_for_each(|job| answer.send(job.perform())));
        let _directory = (directory, temporary);
        Self { log, files, now: Now::default(), rounds: 0, beside, done, _directory }
    }

    /// Appends a batch, and does all that it takes.
    fn round(&mut self, frame: Frame<'_>) {
        for writer in 0..BATCH {
            self.log.append(frame, Origin([writer as u8 + 1; 16]), self.now).unwrap();
        }
        self.log.end_batch(self.now);
        self.now.elapsed += Duration::from_millis(10);
        self.drive();
        assert_eq!(self.log.durable(), self.log.next());
        self.rounds += 1;
        if self.rounds.is_multiple_of(1_000) {
            self.log.retain(self.now);
            self.drive();
        }
    }

    /// Waits until all that is full is sealed.
    fn catch_up(&mut self) {
        while !self.log.is_idle() {
            let done = self.done.recv().unwrap();
            self.log.handle_io(done, self.now).unwrap();
            self.drive();
        }
    }

    fn drive(&mut self) {
        let page_cache = self.log.options().durability == Durability::PageCache;
        loop {
            while let Ok(done) = self.done.try_recv() {
                self.log.handle_io(done, self.now).unwrap();
            }
            let Some(io) = self.log.poll_io(self.now) else { break };
            let io = if page_cache { self.files.beside(io) } else { Err(io) };
            match io {
                Ok(job) => self.beside.send(job).unwrap(),
                Err(io) => self.log.handle_io(self.files.perform(io), self.now).unwrap(),
            }
        }
        // What is dirty is what can be written: behind too many segments that are not synced, it waits.
        while self.log.durable() < self.log.next() {
            let done = self.done.recv().unwrap();
            self.log.handle_io(done, self.now).unwrap();
            self.drive();
        }
    }
}

fn plain_file(temporary: &Temporary) -> File {
    plain_file_as(temporary, 0)
}

fn plain_file_as(temporary: &Temporary, number: u64) -> File {
    let path = temporary.0.join(format!("plain{number}"));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
    let file = file.unwrap();
    // As a segment is: its room is taken in advance.
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, 64 << 20).unwrap();
    file.sync_all().unwrap();
    file
}

fn redb_round(database: &Database, next: &mut u64, frame: &[u8], durability: RedbDurability) {
    let mut transaction = database.begin_write().unwrap();
    transaction.set_durability(durability).unwrap();
    {
        let mut table = transaction.open_table(TABLE).unwrap();
        for _ in 0..BATCH {
            table.insert((u128::from_le_bytes(DOC.0), *next), frame).unwrap();
            *next += 1;
        }
    }
    transaction.commit().unwrap();
}

fn append(criterion: &mut Criterion, name: &str, payload_len: usize) {
    let mut group = group(criterion, name);
    let bytes = frame(payload_len);
    let view = Frame::parse(&bytes).unwrap();
    group.throughput(Throughput::ElementsAndBytes {
        elements: BATCH as u64,
        bytes: (BATCH * bytes.len()) as u64,
    });

    let mut log = Log::new(options(Durability::Memory), Epoch(1));
    group.bench_function("log in memory", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                black_box(log.append(view, Origin([1; 16]), Now::default()).unwrap());
            }
            log.end_batch(Now::default());
        });
    });

    let mut buffer = Vec::with_capacity(128 << 20);
    group.bench_function("rival: one copy into 128 MiB", |bencher| {
        bencher.iter(|| {
            if buffer.len() + BATCH * bytes.len() > buffer.capacity() {
                buffer.clear();
            }
            for _ in 0..BATCH {
                buffer.extend_from_slice(black_box(&bytes));
            }
        });
    });

    let mut list = std::collections::VecDeque::new();
    let most = (128 << 20) / bytes.len();
    group.bench_function("rival: a Vec for each record", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                if list.len() >= most {
                    list.pop_front();
                }
                list.push_back(black_box(&bytes).clone());
            }
        });
    });

    let mut filed = Filed::new(Durability::PageCache);
    group.bench_function("log in the page cache", |bencher| bencher.iter(|| filed.round(view)));
    // What the disk has not had time for goes on in the page cache: that much at once, and then it may catch up.
    let burst = (256 << 20) / (BATCH * bytes.len()) as u64;
    group.bench_function("log in the page cache, 256 MiB at once", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut taken = Duration::ZERO;
            for first in (0..rounds).step_by(burst as usize) {
                filed.catch_up();
                let begun = Instant::now();
                (first..rounds.min(first + burst)).for_each(|_| filed.round(view));
                taken += begun.elapsed();
            }
            taken
        });
    });
    drop(filed);

    let temporary = Temporary::new();
    let file = plain_file(&temporary);
    let batch = bytes.repeat(BATCH);
    let mut at = 0;
    group.bench_function("rival: plain pwrite, over the same 60 MiB", |bencher| {
        bencher.iter(|| {
            file.write_all_at(&batch, at).unwrap();
            at = (at + batch.len() as u64) % (60 << 20);
        });
    });
    drop(file);

    // As many bytes to as many new files as the log writes: a file of 64 MiB, four of which are kept, never synced.
    let mut plain = (0u64, plain_file_as(&temporary, 0), 0u64);
    group.bench_function("rival: plain pwrite to new files", |bencher| {
        bencher.iter(|| {
            let (number, file, at) = &mut plain;
            if *at + batch.len() as u64 > 64 << 20 {
                *number += 1;
                (*file, *at) = (plain_file_as(&temporary, *number), 0);
                if let Some(old) = number.checked_sub(4) {
                    fs::remove_file(temporary.0.join(format!("plain{old}"))).unwrap();
                }
            }
            file.write_all_at(&batch, *at).unwrap();
            *at += batch.len() as u64;
        });
    });
    drop(plain);

    let database = Database::create(temporary.0.join("redb")).unwrap();
    let mut next = 0;
    group.bench_function("rival: redb without syncs", |bencher| {
        bencher.iter(|| redb_round(&database, &mut next, &bytes, RedbDurability::None));
    });
    group.finish();
}

fn grouped(criterion: &mut Criterion) {
    let mut group = group(criterion, "group-of-64");
    let bytes = frame(1_024);
    let view = Frame::parse(&bytes).unwrap();
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, durability) in [
        ("log, Grouped", Durability::grouped()),
        ("log, PageCache", Durability::PageCache),
        ("log, Each", Durability::Each),
    ] {
        let mut filed = Filed::new(durability);
        group.bench_function(name, |bencher| bencher.iter(|| filed.round(view)));
    }
    let temporary = Temporary::new();
    let file = plain_file(&temporary);
    let batch = bytes.repeat(BATCH);
    let mut at = 0;
    group.bench_function("rival: pwrite, fdatasync", |bencher| {
        bencher.iter(|| {
            file.write_all_at(&batch, at).unwrap();
            file.sync_data().unwrap();
            at = (at + batch.len() as u64) % (60 << 20);
        });
    });
    let database = Database::create(temporary.0.join("redb")).unwrap();
    let mut next = 0;
    group.bench_function("rival: redb, durable commit", |bencher| {
        bencher.iter(|| redb_round(&database, &mut next, &bytes, RedbDurability::Immediate));
    });
    group.finish();
}

/// Reads everything; returns how many records there were.
fn replay(log: &mut Log, files: &mut Option<&mut SegmentFiles>) -> usize {
    let mut from = Position(1);
    let mut records = 0;
    loop {
        match log.read(&DOC, from, READ) {
            Read::Run(run) => {
                records += run.records.len();
                from = run.next;
                black_box(run);
            }
            Read::Cold(request) => {
                log.want(request);
                let files = files.as_mut().unwrap();
                while let Some(io) = log.poll_io(Now::default()) {
                    log.handle_io(files.perform(io), Now::default()).unwrap();
                }
            }
            Read::AtHead => return records,
            other => panic!("{other:?}"),
        }
    }
}

fn replays(criterion: &mut Criterion, name: &str, payload_len: usize, records: usize) {
    let mut group = group(criterion, name);
    let bytes = frame(payload_len);
    let view = Frame::parse(&bytes).unwrap();
    group.throughput(Throughput::ElementsAndBytes {
        elements: records as u64,
        bytes: (records * bytes.len()) as u64,
    });

    let mut log = Log::new(options(Durability::Memory), Epoch(1));
    for n in 0..records {
        log.append(view, Origin([1; 16]), Now::default()).unwrap();
        if n % BATCH == 0 {
            log.end_batch(Now::default());
        }
    }
    log.end_batch(Now::default());
    group.bench_function("log in memory", |bencher| {
        bencher.iter(|| assert_eq!(replay(&mut log, &mut None), records));
    });

    let temporary = Temporary::new();
    let filed = || {
        let directory = Directory::open(temporary.0.join("log"), 1).unwrap();
        let (files, found) = directory.shard(0).unwrap();
        // Little of it stays in memory, so that each reading reads it all anew.
        let options = LogOptions {
            durability: Durability::PageCache,
            max_record: 64 << 10,
            max_cold_bytes: 1 << 20,
            ..LogOptions::default()
        };
        (Log::open(options, found).unwrap(), files, directory)
    };
    let (mut log, mut files, directory) = filed();
    for n in 0..records {
        log.append(view, Origin([1; 16]), Now::default()).unwrap();
        if n % BATCH == 0 {
            log.end_batch(Now::default());
            while let Some(io) = log.poll_io(Now::default()) {
                log.handle_io(files.perform(io), Now::default()).unwrap();
            }
        }
    }
    log.close(Now::default());
    while let Some(io) = log.poll_io(Now::default()) {
        log.handle_io(files.perform(io), Now::default()).unwrap();
    }
    let disk_bytes = log.stats().disk_bytes as usize;
    drop((log, files, directory));
    let (mut log, mut files, _directory) = filed();
    group.bench_function("log in segments", |bencher| {
        bencher.iter(|| assert_eq!(replay(&mut log, &mut Some(&mut files)), records));
    });

    let file = plain_file(&temporary);
    let mut buffer = vec![1; READ];
    for at in (0..disk_bytes).step_by(READ) {
        file.write_all_at(&buffer, at as u64).unwrap();
    }
    group.bench_function("rival: pread of what lies in the segments", |bencher| {
        bencher.iter(|| {
            for at in (0..disk_bytes).step_by(READ) {
                file.read_exact_at(&mut buffer, at as u64).unwrap();
                black_box(&buffer);
            }
        });
    });

    let database = Database::create(temporary.0.join("redb")).unwrap();
    let mut next = 0;
    while (next as usize) < records {
        redb_round(&database, &mut next, &bytes, RedbDurability::None);
    }
    group.bench_function("rival: redb, range", |bencher| {
        bencher.iter(|| {
            let transaction = database.begin_read().unwrap();
            let table = transaction.open_table(TABLE).unwrap();
            let doc = u128::from_le_bytes(DOC.0);
            let mut found = 0;
            for entry in table.range((doc, 0)..).unwrap().take(records) {
                let (_, value) = entry.unwrap();
                found += black_box(value.value()).len();
            }
            assert_eq!(found, records * bytes.len());
        });
    });
    group.finish();
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20);
    group.warm_up_time(Duration::from_secs(1));
    group.measurement_time(Duration::from_secs(2));
    group
}

fn all(criterion: &mut Criterion) {
    append(criterion, "append-64B", 64);
    append(criterion, "append-1KiB", 1_024);
    grouped(criterion);
    replays(criterion, "replay-64B", 64, 100_000);
    replays(criterion, "replay-1KiB", 1_024, 20_000);
}

criterion_group!(benches, all);
criterion_main!(benches);
