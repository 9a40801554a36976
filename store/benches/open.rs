//! How long a log of a GiB takes to be opened, by its indexes and by scanning:
//! `cargo bench -p deltawire-store --features files --bench open`. `OPEN_MIB=4096` for another size. Everything lies in
//! the page cache, as far as it has room.

use std::fs;
use std::path::Path;
use std::time::Instant;

use deltawire_framing::{
    Channel, Checksum, DeltaFields, DeltaWriter, DocId, Frame, FrameHeader, Kind,
};
use deltawire_store::files::{Directory, SegmentFiles};
use deltawire_store::{Durability, Log, LogOptions, Now, Origin};
use zerocopy::IntoBytes;

const DOCS: u64 = 10_000;

fn frame(doc: u64, payload_len: usize) -> Vec<u8> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&doc.to_le_bytes());
    let mut bytes = vec![0; 64 + payload_len];
    let fields = DeltaFields { checksum: Checksum::Absent, ..DeltaFields::new(DocId(id)) };
    let len = DeltaWriter::new(&mut bytes[16..], fields).unwrap().finish(payload_len).unwrap();
    let header = FrameHeader::whole(Kind::Delta, Channel::Data, len).unwrap();
    bytes[..16].copy_from_slice(header.as_bytes());
    bytes
}

fn options() -> LogOptions {
    LogOptions {
        durability: Durability::PageCache,
        max_index_bytes: 1 << 30,
        ..LogOptions::default()
    }
}

fn drive(log: &mut Log, files: &mut SegmentFiles) {
    while let Some(io) = log.poll_io(Now::default()) {
        log.handle_io(files.perform(io), Now::default()).unwrap();
    }
}

fn write(path: &Path, bytes: u64, payload_len: usize) {
    let directory = Directory::open(path, 1).unwrap();
    let (mut files, found) = directory.shard(0).unwrap();
    let mut log = Log::open(options(), found).unwrap();
    let mut n = 0;
    while log.stats().disk_bytes < bytes {
        for _ in 0..64 {
            let frame = frame(n % DOCS, payload_len);
            log.append(Frame::parse(&frame).unwrap(), Origin([1; 16]), Now::default()).unwrap();
            n += 1;
        }
        log.end_batch(Now::default());
        drive(&mut log, &mut files);
    }
    log.close(Now::default()).unwrap();
    drive(&mut log, &mut files);
}

fn open(path: &Path) -> (f64, u64) {
    let begun = Instant::now();
    let directory = Directory::open(path, 1).unwrap();
    let (_, found) = directory.shard(0).unwrap();
    let records = found.records();
    let log = Log::open(options(), found).unwrap();
    let taken = begun.elapsed().as_secs_f64();
    assert_eq!(log.stats().documents, DOCS);
    (taken, records)
}

fn main() {
    let mib = std::env::var("OPEN_MIB").map_or(1_024, |it| it.parse().unwrap());
    let path = std::env::temp_dir().join(format!("deltawire-open-{}", std::process::id()));
    for payload_len in [64, 1_024] {
        let _ = fs::remove_dir_all(&path);
        write(&path, mib << 20, payload_len);
        let mut best = [f64::MAX; 2];
        let mut records = 0;
        for indexed in [true, false] {
            if !indexed {
                // Without their indexes, segments are read as a whole: the last 64 bytes go.
                for entry in fs::read_dir(path.join("0000")).unwrap() {
                    let entry = entry.unwrap();
                    let file = fs::File::options().write(true).open(entry.path()).unwrap();
                    let len = entry.metadata().unwrap().len();
                    if len > 1 << 20 {
                        file.set_len(len - 64).unwrap();
                    }
                }
            }
            for _ in 0..3 {
                let (taken, found) = open(&path);
                best[usize::from(indexed)] = best[usize::from(indexed)].min(taken);
                records = found;
            }
        }
        println!(
            "{mib} MiB, {records} records of {payload_len} B, {DOCS} documents: {:.3} s by indexes, {:.3} s by scanning",
            best[1], best[0]
        );
    }
    fs::remove_dir_all(&path).unwrap();
}
