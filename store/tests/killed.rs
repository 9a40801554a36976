//! What was reported durable is there after `kill -9`, whenever it comes, and nothing is there twice.
//!
//! This program runs itself again; the child writes to a directory and says on its output how far it is durable, until
//! it is killed in the middle. `STORE_KILLS=1000 cargo test -p deltawire-store --features files --test killed` for long.

mod common;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{doc, frame_of};
use deltawire_framing::Frame;
use deltawire_store::files::{Directory, SegmentFiles};
use deltawire_store::{
    Durability, GapReason, Log, LogOptions, LogPosition, Now, Origin, Position, Read, Retention,
    Tail,
};

const DOCS: u8 = 5;

fn options(seed: u64) -> LogOptions {
    let grouped = Durability::Grouped { max_wait: Duration::from_micros(300), max_bytes: 32 << 10 };
    LogOptions {
        durability: [Durability::PageCache, grouped, Durability::Each][seed as usize % 3],
        chunk: 16 << 10,
        max_record: 16 << 10,
        segment: 64 << 10,
        // Every other one forgets, and is compacted.
        compact_below: if seed.is_multiple_of(2) { 60 } else { 0 },
        retention: Retention {
            per_document_records: if seed.is_multiple_of(2) { 60 } else { u64::MAX },
            ..Retention::default()
        },
        ..LogOptions::default()
    }
}

/// Record `number` of a document: its bytes follow from that.
fn payload(doc: u8, position: u64) -> Vec<u8> {
    let len = (position * 37 + u64::from(doc) * 101) % 1_200;
    (0..len).map(|at| (at ^ position) as u8).collect()
}

fn open(path: &Path, options: LogOptions) -> (Log, SegmentFiles, Tail, Directory) {
    let directory = Directory::open(path, 1).unwrap();
    let (files, found) = directory.shard(0).unwrap();
    let tail = found.tail();
    (Log::open(options, found).unwrap(), files, tail, directory)
}

fn child(path: &Path, seed: u64) {
    let (mut log, mut files, _, _directory) = open(path, options(seed));
    let mut random = fastrand::Rng::with_seed(seed);
    let begun = Instant::now();
    let mut out = std::io::stdout().lock();
    let mut said = LogPosition(0);
    let mut beside = VecDeque::new();
    loop {
        let elapsed = begun.elapsed();
        let now = Now { elapsed, wall: elapsed.as_micros() as u64 };
        for _ in 0..random.usize(1..20) {
            // One of them is written now and then: some of it is in every segment.
            let number = if random.u8(0..50) == 0 { 0 } else { random.u8(1..DOCS) };
            let position = log.head(&doc(number)).map_or(1, |head| head.appended.0);
            let frame = frame_of(doc(number), position as u32, &payload(number, position));
            // Full while the disk is slow.
            let _ = log.append(Frame::parse(&frame).unwrap(), Origin([number + 1; 16]), now);
        }
        log.end_batch(now);
        if random.u8(0..8) == 0 {
            log.retain(now);
        }
        loop {
            while let Some(io) = log.poll_io(now) {
                match files.beside(io) {
                    Ok(job) => beside.push_back(job),
                    Err(io) => log.handle_io(files.perform(io), now).unwrap(),
                }
            }
            // What may be done at any time is done now or later, and nothing else waits for it.
            if random.bool() && beside.len() < 4 {
                break;
            }
            let Some(job) = beside.pop_front() else { break };
            log.handle_io(job.perform(), now).unwrap();
        }
        if log.durable() > said {
            said = log.durable();
            let durable: Vec<String> = (0..DOCS)
                .map(|n| {
                    // Of what went before the disk had it nothing is said.
                    let head = log.head(&doc(n)).filter(|head| head.durable > head.first);
                    head.map_or(1, |head| head.durable.0).to_string()
                })
                .collect();
            let done = log.stats().compactions;
            writeln!(out, "{} {} {done}", said.0, durable.join(" ")).unwrap();
            out.flush().unwrap();
        }
    }
}

/// Checks everything that is there against what it has to be; returns how many records there are of each document.
fn check(path: &Path, seed: u64) -> (u64, Vec<u64>) {
    let (mut log, mut files, tail, _directory) = open(path, options(seed));
    assert!(!matches!(tail, Tail::Damaged { .. }), "{tail:?}");
    let next = match tail {
        // The note that says so.
        _ if log.documents().count() > 0 => log.next().0 - 1,
        _ => log.next().0,
    };
    let mut nexts = Vec::new();
    for number in 0..DOCS {
        let mut from = Position(1);
        loop {
            match log.read(&doc(number), from, 64 << 10) {
                Read::Run(run) => {
                    for (stored, position) in run.records.iter().zip(from.0..) {
                        assert_eq!(stored.position.0, position);
                        let bytes = payload(number, position);
                        assert_eq!(stored.frame, frame_of(doc(number), position as u32, &bytes));
                    }
                    assert_eq!(run.records.len() as u64, run.next.since(run.first));
                    from = run.next;
                }
                Read::Cold(request) => {
                    log.want(request);
                    while let Some(io) = log.poll_io(Now::default()) {
                        log.handle_io(files.perform(io), Now::default()).unwrap();
                    }
                }
                Read::AtHead => break,
                Read::Unknown => break,
                Read::Gap(gap) => {
                    let first = log.head(&doc(number)).unwrap().first;
                    assert!(from < first && gap.to == first, "{gap:?}");
                    assert_eq!(gap.why, GapReason::Expired);
                    from = gap.to;
                }
            }
        }
        let last = log.last_of(&doc(number), &Origin([number + 1; 16]));
        assert_eq!(last.map_or(1, |it| it.position.0 + 1), from.0, "who wrote last is remembered");
        nexts.push(from.0);
    }
    (next, nexts)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some("child"), Some(path), Some(seed)) =
        (arguments.next().as_deref(), arguments.next(), arguments.next())
    {
        child(Path::new(&path), seed.parse().unwrap());
        return;
    }
    let kills = std::env::var("STORE_KILLS").ok().map_or(24, |it| it.parse().unwrap());
    let root = std::env::temp_dir().join(format!("deltawire-killed-{}", std::process::id()));
    let mut random = fastrand::Rng::with_seed(kills);
    let (mut records, mut compactions) = (0, 0);
    for kill in 0..kills {
        // Each directory is killed over four times.
        let path = root.join((kill / 4).to_string());
        let seed = kill / 4 * 3 + kill % 3;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child".as_ref(), path.as_os_str(), seed.to_string().as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            // The last line may be cut off.
            let lines = output.lines().map_while(Result::ok);
            let whole = |line: String| {
                let numbers: Vec<u64> = line.split(' ').flat_map(str::parse).collect();
                (numbers.len() == usize::from(DOCS) + 2).then_some(numbers)
            };
            lines.filter_map(whole).collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(random.u64(20..150)));
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let mut said = reader.join().unwrap();
        // Of a line that was cut off, the last number may be too small: then it says less, never more.
        let (next, nexts) = check(&path, seed);
        if let Some(last) = said.pop() {
            assert!(next >= last[0], "kill {kill}: durable up to {}, found {next}", last[0]);
            compactions += last[last.len() - 1];
            for (found, durable) in nexts.iter().zip(&last[1..]) {
                assert!(
                    found >= durable,
                    "kill {kill}: {durable} was durable, found {found}: {last:?} {nexts:?}"
                );
            }
            records += last[0];
        }
    }
    println!(
        "{kills} kills, {records} items reported durable, all there, none twice, {compactions} compactions"
    );
    assert!(records > 100, "the children did something");
    assert!(compactions > 0 || kills < 100, "some of it was compacted");
    std::fs::remove_dir_all(&root).unwrap();
}
