//! Looks at a directory of logs. Nothing in it is changed, whatever is found.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use deltawire_store::files::Directory;
use deltawire_store::{Durability, Log, LogOptions, Now, OpenError, Position, Read, Tail};

/// Looks at a directory of logs, and changes nothing. Of a directory that is in use it may see the end half written.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says what there is: logs, documents, records.
    Inspect {
        /// The directory.
        directory: PathBuf,
        /// Says it of each document, too.
        #[arg(long)]
        documents: bool,
    },
    /// Reads every byte, and checks it; ends with 1 if anything is damaged or torn.
    Verify {
        /// The directory.
        directory: PathBuf,
    },
    /// Says what opening the directory would cut off.
    Repair {
        /// The directory.
        directory: PathBuf,
        /// Must be given: a tear is repaired when the directory is opened, and damage only by a copy.
        #[arg(long, required = true)]
        dry_run: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Inspect { directory, documents } => inspect(directory, documents),
        Command::Verify { directory } => verify(directory),
        Command::Repair { directory, dry_run: _ } => repair(directory),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn tail(tail: Tail) -> String {
    match tail {
        Tail::Closed => "closed".into(),
        Tail::Whole => "not closed, nothing torn".into(),
        Tail::Torn { segment, at, bytes, items } => {
            format!("torn: segment {segment} at byte {at}, {bytes} bytes, at least {items} items")
        }
        Tail::Damaged { segment, at, field } => {
            format!("DAMAGED: segment {segment} at byte {at}, field {field}")
        }
        _ => "not known".into(),
    }
}

fn inspect(path: PathBuf, documents: bool) -> Result<bool, OpenError> {
    let directory = Directory::look(path)?;
    println!("shards: {}", directory.shards());
    for shard in 0..directory.shards() {
        let (_, found) = directory.shard(shard)?;
        let (end, replaced) = (tail(found.tail()), found.replaced().to_vec());
        let log = Log::open(options(), found)?;
        let stats = log.stats();
        let ids = log.documents();
        let heads: Vec<_> = ids.filter_map(|doc| Some((*doc, log.head(doc)?))).collect();
        let records: u64 = heads.iter().map(|(_, head)| head.records).sum();
        println!(
            "shard {shard}: {end}; {} segments, {} bytes, {} batches, {} documents, {records} records",
            stats.segments, stats.disk_bytes, stats.batches, stats.documents
        );
        for (what, count) in
            [("compacted", stats.compacted_segments), ("archived", stats.archived_segments)]
        {
            if count > 0 {
                println!("shard {shard}: {count} segments are {what}");
            }
        }
        for segment in replaced {
            println!(
                "shard {shard}: segment {segment} is left, and another stands for it: opening deletes it"
            );
        }
        for (doc, head) in heads.iter().filter(|_| documents) {
            let (bytes, next) = (head.bytes, head.next);
            println!("  {doc}: records {} up to {next}, {bytes} bytes", head.first);
        }
    }
    Ok(true)
}

fn verify(path: PathBuf) -> Result<bool, OpenError> {
    let directory = Directory::look(path)?;
    let mut sound = true;
    for shard in 0..directory.shards() {
        let (mut files, found) = directory.shard(shard)?;
        // Everything was checked while it was looked at; reading it as a program does shows that the index is right.
        sound &= matches!(found.tail(), Tail::Closed | Tail::Whole);
        let end = tail(found.tail());
        let mut log = Log::open(options(), found)?;
        let documents: Vec<_> = log.documents().copied().collect();
        let (mut records, mut wrong, mut elsewhere) = (0, 0, 0);
        for doc in documents {
            let mut asked = 0;
            let mut from = log.head(&doc).map_or(Position::FIRST, |head| head.first);
            loop {
                match log.read(&doc, from, 1 << 20) {
                    Read::Run(run) => {
                        records += run.next.since(run.first);
                        wrong += run.records.iter().filter(|it| !is_sound(&it.frame)).count();
                        (from, asked) = (run.next, 0);
                    }
                    // It is kept elsewhere, or cannot be read.
                    Read::Cold(_) if asked > 1 => {
                        elsewhere += 1;
                        break;
                    }
                    Read::Cold(request) => {
                        asked += 1;
                        log.want(request);
                        while let Some(io) = log.poll_io(Now::default()) {
                            // Only reading is asked of the disk; the rest is for a log that is written to.
                            if !matches!(io, deltawire_store::Io::Read { .. }) {
                                break;
                            }
                            let _ = log.handle_io(files.perform(io), Now::default());
                        }
                    }
                    Read::Gap(gap) if gap.to > from => {
                        wrong += gap.records as usize;
                        from = gap.to;
                    }
                    _ => break,
                }
            }
        }
        sound &= wrong == 0;
        let compacted = log.stats().compacted_segments;
        println!(
            "shard {shard}: {end}; {records} records read, {wrong} of them wrong; {compacted} segments compacted"
        );
        if elsewhere > 0 {
            println!(
                "shard {shard}: {elsewhere} documents have records in archived segments: not read"
            );
        }
    }
    Ok(sound)
}

fn is_sound(frame: &[u8]) -> bool {
    let frame = deltawire_framing::Frame::parse(frame);
    frame.and_then(|frame| frame.delta()?.verify_checksum()).is_ok()
}

fn repair(path: PathBuf) -> Result<bool, OpenError> {
    let directory = Directory::look(path)?;
    let mut nothing = true;
    for shard in 0..directory.shards() {
        let (_, found) = directory.shard(shard)?;
        match (found.tail(), found.cut()) {
            (Tail::Torn { bytes, items, .. }, Some((segment, len))) => {
                let behind = found.behind().len();
                println!(
                    "shard {shard}: opening it would cut segment {segment} to {len} bytes, and delete {behind} behind it; \
                     {bytes} bytes go, with at least {items} items, none of which was reported synced"
                );
            }
            (Tail::Damaged { segment, at, field }, _) => println!(
                "shard {shard}: segment {segment} is damaged at byte {at}, field {field}. Opening it would cut \
                 nothing: what lies in front can be read, the log is read-only. Copy the directory before anything else"
            ),
            _ => continue,
        }
        nothing = false;
    }
    if nothing {
        println!("there is nothing to repair");
    }
    Ok(nothing)
}

fn options() -> LogOptions {
    LogOptions { durability: Durability::PageCache, ..LogOptions::default() }
}
