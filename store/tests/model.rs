//! Logs against a plain list of what was done to them: in memory, and over a disk that forgets, tears, reorders and is
//! full, with crashes in between. `STORE_SEEDS=100000 cargo test -p deltawire-store --release --test model` for long;
//! `STORE_SEED=7` for one, `STORE_STEPS=5000` for long lives.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use common::disk::SimDisk;
use common::{aligned, doc, frame_of};
use deltawire_framing::{DeltaFields, DocId, Frame, StatusBits};
use deltawire_store::{
    Durability, Epoch, GapReason, Io, Log, LogOptions, LogPosition, Now, Origin, Position, Read,
    Recovery, Refused, Retention, Tail,
};

const DOCS: u8 = 6;
const ORIGINS: u8 = 4;

#[derive(Clone)]
enum Op {
    Append { doc: DocId, frame: Bytes, origin: Origin },
    Stamp { doc: DocId, at: Position, bits: StatusBits },
    Snapshot { doc: DocId, at: Position, covers: Position },
    Forget { doc: DocId },
}

#[derive(Clone, Default)]
struct Record {
    frame: Bytes,
    status: u32,
    origin: Origin,
    at: LogPosition,
}

#[derive(Clone, Default)]
struct Model {
    docs: BTreeMap<DocId, Vec<Record>>,
    snapshots: BTreeMap<DocId, (Position, Position)>,
}

impl Model {
    fn apply(&mut self, at: LogPosition, op: &Op) {
        match op {
            Op::Append { doc, frame, origin } => {
                let record = Record { frame: frame.clone(), status: 0, origin: *origin, at };
                self.docs.entry(*doc).or_default().push(record);
            }
            Op::Stamp { doc, at, bits } => {
                let records = self.docs.get_mut(doc).unwrap();
                records[at.0 as usize - 1].status |= bits.bits();
                if bits.contains(StatusBits::REJECTED)
                    && self.snapshots.get(doc).is_some_and(|(known, _)| known == at)
                {
                    self.snapshots.remove(doc);
                }
            }
            Op::Snapshot { doc, at, covers } => {
                self.snapshots.insert(*doc, (*at, *covers));
            }
            Op::Forget { doc } => {
                self.docs.remove(doc);
                self.snapshots.remove(doc);
            }
        }
    }
}

struct World {
    random: fastrand::Rng,
    options: LogOptions,
    log: Log,
    disk: Option<SimDisk>,
    ops: Vec<(LogPosition, Op)>,
    model: Model,
    asked: Vec<Io>,
    now: Now,
    sequence: u32,
    epochs: BTreeMap<DocId, BTreeSet<u32>>,
    /// The epochs that a document had before, and up to which position they still mean the same.
    earlier: BTreeMap<DocId, Vec<(u32, u64)>>,
    /// How often the log knew of one that was not the last.
    remembered: usize,
    fresh: u32,
    crashes: usize,
    torn: usize,
    torn_behind: usize,
    indexes: usize,
    /// Times that segments were found which a compacted one stood for.
    replaced: usize,
    compactions: u64,
    failed_compactions: u64,
    /// A segment that is on its way elsewhere.
    leaving: Option<u64>,
    crash_due: bool,
    archives: bool,
    archived: usize,
}

fn options(random: &mut fastrand::Rng, durability: Durability) -> LogOptions {
    let limit = |random: &mut fastrand::Rng, limit: u64| {
        if random.bool() { u64::MAX } else { limit }
    };
    let retention = Retention {
        max_bytes: limit(random, 100_000),
        max_age: random.bool().then(|| Duration::from_secs(20)),
        per_document_bytes: limit(random, 10_000),
        per_document_records: limit(random, 10),
        keep_after_snapshot: random.u64(0..4),
    };
    LogOptions {
        durability,
        retention,
        chunk: 4 << 10,
        max_record: 8 << 10,
        segment: 24 << 10,
        max_hot_bytes: 64 << 10,
        max_cold_bytes: 1 << 20,
        max_dirty_bytes: 32 << 10,
        compact_below: *[0, 25, 60, 90].get(random.usize(0..4)).unwrap(),
        ..LogOptions::default()
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let grouped =
            Durability::Grouped { max_wait: Duration::from_millis(2), max_bytes: 8 << 10 };
        let durability = *[Durability::Memory, Durability::PageCache, grouped, Durability::Each]
            .get(random.usize(0..4))
            .unwrap();
        let options = options(&mut random, durability);
        let (log, disk) = if durability == Durability::Memory {
            (Log::new(options, Epoch(1)), None)
        } else {
            let found = Recovery::new(3, Epoch(1)).finish();
            assert_eq!(found.tail(), Tail::Closed);
            (Log::open(options, found).unwrap(), Some(SimDisk::default()))
        };
        let archives = random.u8(0..3) == 0;
        Self {
            random,
            options,
            log,
            disk,
            ops: Vec::new(),
            model: Model::default(),
            asked: Vec::new(),
            now: Now::default(),
            sequence: 0,
            epochs: BTreeMap::new(),
            earlier: BTreeMap::new(),
            remembered: 0,
            fresh: 1,
            crashes: 0,
            torn: 0,
            torn_behind: 0,
            indexes: 0,
            replaced: 0,
            compactions: 0,
            failed_compactions: 0,
            leaving: None,
            crash_due: false,
            archives,
            archived: 0,
        }
    }

    fn done(&mut self, at: LogPosition, op: Op) {
        self.model.apply(at, &op);
        self.ops.push((at, op));
    }

    fn any_doc(&mut self) -> DocId {
        doc(self.random.u8(1..=DOCS))
    }

    fn append(&mut self) {
        let doc = self.any_doc();
        let origin = Origin([self.random.u8(0..=ORIGINS); 16]);
        let max = if self.random.u8(0..8) == 0 { 8_100 } else { 700 };
        let payload = vec![self.random.u8(..); self.random.usize(0..max)];
        self.sequence += 1;
        let frame = frame_of(doc, self.sequence, &payload);
        let before = self.log.next();
        let appended = match self.random.u8(0..3) {
            0 => self.log.append(Frame::parse(&frame).unwrap(), origin, self.now),
            1 => self.log.adopt(aligned(&frame), origin, self.now).map_err(|(refused, _)| refused),
            _ => self.log.reserve(doc, payload.len()).and_then(|mut grant| {
                grant.payload_mut().copy_from_slice(&payload);
                if self.random.u8(0..8) == 0 {
                    drop(grant);
                    return Err(Refused::Unknown { doc });
                }
                let fields = DeltaFields { sequence: self.sequence, ..DeltaFields::new(doc) };
                grant.commit(fields, origin, self.now)
            }),
        };
        match appended {
            Ok(appended) => {
                assert!(appended.at >= before);
                let known = self.model.docs.get(&doc).map_or(0, Vec::len) as u64;
                assert_eq!(appended.position, Position(known + 1), "gapless");
                let epochs = self.epochs.entry(doc).or_default();
                if known == 0 {
                    let fresh = epochs.insert(appended.epoch.0);
                    assert!(fresh, "a document made anew has another epoch");
                } else {
                    assert!(epochs.contains(&appended.epoch.0));
                }
                self.done(appended.at, Op::Append { doc, frame, origin });
            }
            Err(Refused::Full { .. } | Refused::ReadOnly(_) | Refused::Unknown { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn note(&mut self) {
        let doc = self.any_doc();
        let Some(head) = self.log.head(&doc) else { return };
        if head.records == 0 {
            return;
        }
        let at = Position(self.random.u64(head.first.0..head.appended.0));
        let before = self.log.next();
        match self.random.u8(0..20) {
            0 => {
                if self.log.forget(&doc, self.now) {
                    self.earlier.remove(&doc);
                    self.done(before, Op::Forget { doc });
                    assert!(matches!(self.log.read(&doc, at, 1), Read::Unknown));
                }
            }
            1..6 if at.0 > 1 => {
                let covers = Position(at.0 - 1);
                let newer = head.snapshot.is_none_or(|known| known.at < at);
                if self.log.snapshot(&doc, at, covers, self.now).is_ok() && newer {
                    self.done(before, Op::Snapshot { doc, at, covers });
                }
            }
            _ => {
                let bits = StatusBits::from_bits(1 << self.random.u32(0..4));
                if self.log.stamp(&doc, at, bits, [7; 16], self.now).is_ok() {
                    self.done(before, Op::Stamp { doc, at, bits });
                }
            }
        }
    }

    /// Does some of the I/O that is asked for; all of it with `all`.
    fn io(&mut self, all: bool) {
        loop {
            while let Some(io) = self.log.poll_io(self.now) {
                self.asked.push(io);
            }
            if self.asked.is_empty() || (!all && self.random.u8(0..4) == 0) {
                return;
            }
            let io = self.take_asked();
            let Some(disk) = &mut self.disk else { return };
            let replaces = matches!(io, Io::Replace { .. });
            let done = disk.perform(io);
            let durable = self.log.durable();
            let _ = self.log.handle_io(done, self.now);
            assert!(self.log.durable() >= durable);
            if replaces && !all && self.random.bool() {
                // What has just become visible and is not durable is where a crash hurts the most.
                self.crash_due = true;
                return;
            }
        }
    }

    /// The next piece of I/O, or any that may be done at any time.
    fn take_asked(&mut self) -> Io {
        let in_order = |io: &Io| matches!(io, Io::Create { .. } | Io::Write { .. });
        let at = self.random.usize(0..self.asked.len());
        if in_order(&self.asked[at]) {
            let first = self.asked.iter().position(in_order).unwrap();
            return self.asked.remove(first);
        }
        self.asked.remove(at)
    }

    fn check_doc(&mut self, doc: DocId, from: Position) {
        let Some(records) = self.model.docs.get(&doc).cloned() else {
            assert!(self.log.head(&doc).is_none_or(|head| head.next == Position(1)));
            return;
        };
        let head = self.log.head(&doc).expect("the document is known");
        assert_eq!(head.appended.0, records.len() as u64 + 1);
        assert_eq!(head.records, head.appended.0 - head.first.0);
        assert!(head.durable <= head.next && head.first <= head.appended);
        let durable = self.log.durable();
        for position in head.first.0..head.next.0 {
            let is_durable = records[position as usize - 1].at < durable;
            assert_eq!(is_durable, position < head.durable.0, "position {position}");
        }
        let snapshot = self.model.snapshots.get(&doc).filter(|(at, _)| *at >= head.first);
        assert_eq!(head.snapshot.map(|it| (it.at, it.covers)), snapshot.copied());
        for origin in 1..=ORIGINS {
            let origin = Origin([origin; 16]);
            let last = records.iter().rposition(|record| record.origin == origin);
            let found = self.log.last_of(&doc, &origin);
            assert_eq!(found.map(|it| it.position.0), last.map(|index| index as u64 + 1));
            if let (Some(found), Some(last)) = (found, last) {
                let frame = Frame::parse(&records[last].frame).unwrap();
                assert_eq!(found.sequence, frame.delta().unwrap().sequence());
                assert_eq!(found.at, records[last].at);
            }
        }
        self.check_read(doc, from, &records);
    }

    fn check_read(&mut self, doc: DocId, mut from: Position, records: &[Record]) {
        let mut colds = 0;
        let most = self.random.usize(0..5_000);
        loop {
            let head = self.log.head(&doc).unwrap();
            match self.log.read(&doc, from, most) {
                Read::AtHead => {
                    assert_eq!(from, head.next);
                    return;
                }
                Read::Gap(gap) => {
                    assert!(from < head.first, "{gap:?} at {from}, {head:?}");
                    assert_eq!((gap.to, gap.records), (head.first, head.first.0 - from.0));
                    assert_ne!(gap.why, GapReason::Damaged);
                    from = gap.to;
                }
                Read::Run(run) => {
                    assert!(run.first == from && run.next > from && run.next <= head.next);
                    let mut bytes = 0;
                    let mut expected = (from.0..run.next.0)
                        .map(|position| (position, &records[position as usize - 1]))
                        .filter(|(_, record)| record.status & 8 == 0);
                    for stored in &run.records {
                        let (position, record) = expected.next().unwrap();
                        assert_eq!(stored.position.0, position);
                        assert_eq!(stored.frame, record.frame);
                        assert_eq!(stored.status.bits(), record.status);
                        assert_eq!(stored.frame.as_ptr().addr() % 16, 0);
                        bytes += stored.frame.len();
                    }
                    assert!(expected.next().is_none());
                    assert!(bytes <= most || run.records.len() == 1);
                    // What was asked for ahead comes, or it does not: nothing else changes.
                    if self.random.bool() && self.log.read_ahead(&doc, &run) && self.random.bool() {
                        self.io(true);
                    }
                    from = run.next;
                    colds = 0;
                }
                Read::Cold(request) => {
                    colds += 1;
                    // Unless it is compacted meanwhile, again and again, or was not to be reached.
                    let most = if self.options.compact_below == 0 { 3 + 3 } else { 8 + 3 };
                    assert!(colds < most, "what was read back is there");
                    self.log.want(request);
                    self.io(true);
                }
                Read::Unknown => panic!("it is known"),
            }
        }
    }

    fn check(&mut self) {
        let stats = self.log.stats();
        assert!(stats.hot_bytes as usize <= self.options.max_hot_bytes, "{stats:?}");
        assert!(stats.dirty_bytes as usize <= self.options.max_dirty_bytes + 4_096, "{stats:?}");
        assert!(stats.cold_bytes as usize <= self.options.max_cold_bytes, "{stats:?}");
        for number in 1..=DOCS {
            self.check_doc(doc(number), Position(1));
        }
    }

    /// The log is gone; what is on the disk is opened anew.
    fn reopen(&mut self, durable: LogPosition, closed: bool) {
        let disk = self.disk.as_mut().unwrap();
        self.asked.clear();
        self.leaving = None;
        self.fresh += 1_000_000;
        let mut recovery = Recovery::new(3, Epoch(self.fresh));
        recovery.opened(disk.opened);
        self.indexes += disk.show(&mut recovery, self.random.u8(0..4) > 0);
        let found = recovery.finish();
        assert!(!matches!(found.tail(), Tail::Damaged { .. }), "{:?}", found.tail());
        // Nothing is missing if what is torn is the last segment's index, but that cannot be known.
        let of_index = matches!(found.tail(), Tail::Torn { items: 0, .. });
        assert!(!closed || of_index || found.tail() == Tail::Closed, "{:?}", found.tail());
        self.torn += usize::from(matches!(found.tail(), Tail::Torn { .. }));
        let next = found.next();
        assert!(next >= durable, "durable up to {durable}, found up to {next}: {:?}", found.tail());
        disk.opened = next;
        // As files do, at the latest when it is written down where the log is opened.
        disk.sync_names();
        self.replaced += usize::from(!found.replaced().is_empty());
        for segment in found.replaced() {
            disk.files.remove(segment).unwrap();
        }
        for segment in found.behind() {
            disk.files.remove(segment).unwrap();
            self.torn_behind += 1;
        }
        if let Some((segment, len)) = found.cut() {
            disk.cut(segment, len);
        }
        let was_closed = found.tail() == Tail::Closed;
        let heads: BTreeMap<_, _> =
            self.model.docs.keys().map(|doc| (*doc, self.log.head(doc).unwrap())).collect();
        self.count_compactions();
        self.log = Log::open(self.options, found).unwrap();
        self.ops.retain(|(at, _)| *at < next);
        self.model = Model::default();
        for (at, op) in &self.ops {
            self.model.apply(*at, op);
        }
        for (id, records) in &self.model.docs {
            let head = self.log.head(id).unwrap();
            self.epochs.entry(*id).or_default().insert(head.epoch.0);
            let Some(before) = heads.get(id) else { continue };
            if was_closed {
                assert_eq!(head.epoch, before.epoch);
            } else {
                assert_eq!(head.epoch.0, self.fresh);
                let (previous, end) = (head.previous.unwrap(), records.len() as u64 + 1);
                assert_eq!(previous.until.0, end);
                let earlier = self.earlier.entry(*id).or_default();
                earlier.iter_mut().for_each(|(_, until)| *until = end.min(*until));
                earlier.push((before.epoch.0, end));
            }
            for (back, (epoch, until)) in
                self.earlier.get(id).into_iter().flatten().rev().enumerate()
            {
                // What tells of it, and of how far the document was then, goes with its segment: less may be known, and never more.
                let known = self.log.until(id, Epoch(*epoch));
                assert!(known.is_none_or(|known| known.0 <= *until), "{known:?}, {until}");
                self.remembered += usize::from(back > 0 && known.is_some_and(|it| it.0 == *until));
            }
        }
        self.crashes += 1;
    }

    fn count_compactions(&mut self) {
        let stats = self.log.stats();
        self.compactions += stats.compactions;
        self.failed_compactions += stats.failed_compactions;
    }

    fn step(&mut self) {
        if std::mem::take(&mut self.crash_due) {
            // Whatever else was to follow may have been done, or not.
            self.io(false);
            self.end();
        }
        self.now.elapsed += Duration::from_micros(self.random.u64(0..1_500));
        self.now.wall += self.random.u64(0..200_000);
        match self.random.u8(0..100) {
            0..45 => self.append(),
            45..60 => self.note(),
            60..75 => {
                let end = self.log.end_batch(self.now);
                assert!(end.is_none_or(|end| end == self.log.next()));
            }
            75..90 => self.io(false),
            90..93 => self.log.retain(self.now),
            93..96 => {
                let doc = self.any_doc();
                let from = self.log.head(&doc).map_or(1, |head| self.random.u64(1..=head.next.0));
                self.check_doc(doc, Position(from));
            }
            97 => self.archive(),
            96 => {
                if let Some(disk) = &mut self.disk {
                    disk.full = self.random.usize(0..3);
                    disk.torn_indexes = self.random.usize(0..2);
                    disk.broken_renames = self.random.usize(0..2);
                    disk.unreachable = self.random.usize(0..3);
                }
            }
            _ if self.random.u8(0..4) == 0 && self.disk.is_some() => self.end(),
            _ => {}
        }
    }

    /// Has a segment leave, or arrive elsewhere, or stay.
    fn archive(&mut self) {
        let Some(disk) = &mut self.disk else { return };
        let Some(segment) = self.leaving.take() else {
            let here = self.log.sealed().filter(|it| !it.archived && self.archives);
            let oldest = here.map(|it| it.segment).next();
            self.leaving = oldest.filter(|segment| self.log.leaves(*segment));
            return;
        };
        // It may have been dropped since.
        let is_there = self.log.sealed().any(|it| it.segment == segment);
        if is_there && self.random.u8(0..4) > 0 && disk.archive(3, segment) {
            self.log.archived(segment);
            self.archived += 1;
        } else {
            self.log.stays(segment);
        }
    }

    fn end(&mut self) {
        match self.random.u8(0..4) {
            0 => {
                self.disk.as_mut().unwrap().full = 0;
                self.now.elapsed += Duration::from_secs(2);
                if self.log.broken().is_some() {
                    return;
                }
                let end = self.log.close(self.now).unwrap();
                self.io(true);
                // What was full is tried again.
                self.now.elapsed += Duration::from_secs(2);
                self.io(true);
                assert_eq!(self.log.durable(), end);
                assert!(self.log.is_idle());
                self.disk.as_mut().unwrap().cut_power(&mut self.random);
                self.reopen(end, true);
            }
            1 => {
                self.disk.as_mut().unwrap().kill();
                let durable = self.log.durable();
                self.reopen(durable, false);
            }
            2 => {
                let page_cache = self.options.durability == Durability::PageCache;
                let durable = if page_cache { LogPosition(0) } else { self.log.durable() };
                self.disk.as_mut().unwrap().cut_power(&mut self.random);
                self.reopen(durable, false);
            }
            _ => {
                // A sync fails: nothing becomes durable any more, and what was is there.
                self.disk.as_mut().unwrap().broken_syncs = 1;
                self.append();
                self.log.end_batch(self.now);
                self.now.elapsed += Duration::from_secs(2);
                self.io(true);
                let page_cache = self.options.durability == Durability::PageCache;
                let broken = self.disk.as_ref().unwrap().broken_syncs == 0;
                self.disk.as_mut().unwrap().broken_syncs = 0;
                if broken {
                    assert!(self.log.broken().is_some());
                    let frame = frame_of(doc(1), 0, b"");
                    let frame = Frame::parse(&frame).unwrap();
                    let refused = self.log.append(frame, Origin::NONE, self.now).unwrap_err();
                    assert!(matches!(refused, Refused::ReadOnly(_)));
                    let durable = if page_cache { LogPosition(0) } else { self.log.durable() };
                    self.disk.as_mut().unwrap().cut_power(&mut self.random);
                    self.reopen(durable, false);
                }
            }
        }
        self.check();
    }
}

#[test]
fn logs_are_what_was_done_to_them() {
    let number = |name| std::env::var(name).ok().map(|it: String| it.parse::<u64>().unwrap());
    let seeds = match number("STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STORE_SEEDS").unwrap_or(2_000),
    };
    let steps = number("STORE_STEPS").unwrap_or(400);
    let mut sum = [0; 12];
    for seed in seeds {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..steps {
                world.step();
            }
            world.log.end_batch(world.now);
            world.check();
            world.count_compactions();
            let stats = world.log.stats();
            [
                world.crashes,
                world.torn,
                world.torn_behind,
                world.indexes,
                stats.cold_reads as usize,
                stats.segments as usize,
                world.compactions as usize,
                world.failed_compactions as usize,
                world.replaced,
                world.disk.map_or(0, |disk| disk.undone),
                world.archived,
                world.remembered,
            ]
        });
        match result {
            Ok(found) => sum.iter_mut().zip(found).for_each(|(sum, found)| *sum += found),
            Err(panic) => {
                eprintln!("again: STORE_SEED={seed} cargo test -p deltawire-store --test model");
                std::panic::resume_unwind(panic);
            }
        }
    }
    let [
        crashes,
        torn,
        behind,
        indexes,
        colds,
        segments,
        compactions,
        given_up,
        replaced,
        undone,
        archived,
        remembered,
    ] = sum;
    println!(
        "{crashes} reopened, {torn} torn, {behind} segments behind, {indexes} by their index, {colds} reads of segments, \
         {segments} segments, {compactions} compactions, {given_up} given up, {replaced} times over others that were left, \
         {undone} undone, {archived} archived, {remembered} epochs remembered after others"
    );
    if number("STORE_SEED").is_none() {
        // The test tests something.
        assert!(crashes > 100 && torn > 10 && colds > 100 && segments > 100);
        assert!(behind > 0 && indexes > 100);
        assert!(compactions > 100 && given_up > 10 && replaced > 0 && undone > 0);
        assert!(archived > 100 && remembered > 100);
    }
}
