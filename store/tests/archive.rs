//! Sealed segments in an object store: a local one, one in memory, and one that fails.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use common::{doc, frame_of, now};
use deltawire_framing::Frame;
use deltawire_store::archive::{Archive, ArchiveError};
use deltawire_store::files::{Directory, SegmentFiles};
use deltawire_store::{
    Durability, GapReason, IoError, Log, LogOptions, Origin, Position, Read, Tail,
};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deltawire-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
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

fn options() -> LogOptions {
    LogOptions {
        durability: Durability::grouped(),
        chunk: 16 << 10,
        max_record: 16 << 10,
        segment: 64 << 10,
        max_cold_bytes: 1 << 20,
        ..LogOptions::default()
    }
}

fn object(segment: u64) -> ObjectPath {
    ObjectPath::from(format!("node-1/0000/{segment:020}.segment"))
}

struct World {
    log: Log,
    files: SegmentFiles,
    archive: Archive,
    _directory: Directory,
}

impl World {
    fn open(path: &Temporary, store: &Arc<dyn ObjectStore>) -> Self {
        let directory = Directory::open(path.0.join("log"), 1).unwrap();
        let (files, found) = directory.shard(0).unwrap();
        assert!(!matches!(found.tail(), Tail::Damaged { .. }), "{:?}", found.tail());
        let log = Log::open(options(), found).unwrap();
        let archive = Archive::new(store.clone(), ObjectPath::from("node-1/0000"));
        Self { log, files, archive, _directory: directory }
    }

    async fn drive(&mut self, at: u64) {
        while let Some(io) = self.log.poll_io(now(at)) {
            let done = self.archive.perform(&mut self.files, io).await;
            self.log.handle_io(done, now(at)).unwrap();
        }
    }

    async fn write(&mut self, from: u32, to: u32) {
        for n in from..to {
            let frame = frame_of(doc(1), n, &vec![n as u8; 900]);
            self.log.append(Frame::parse(&frame).unwrap(), Origin([1; 16]), now(0)).unwrap();
            self.log.end_batch(now(u64::from(n)));
            self.drive(u64::from(n) + 1_000_000).await;
        }
    }

    async fn put_all(&mut self) -> usize {
        let sealed: Vec<_> = self.log.sealed().map(|it| it.segment).collect();
        let mut put = 0;
        for segment in sealed {
            if !self.files.is_archived(segment) {
                self.archive.put(&mut self.files, segment).await.unwrap();
                put += 1;
            }
        }
        put
    }

    /// Reads the document from its oldest record on; returns how many there are, and how many are missing.
    async fn read(&mut self) -> (u64, u64) {
        let head = self.log.head(&doc(1)).unwrap();
        let (mut from, mut read, mut missing, mut colds) = (head.first, 0, 0, 0);
        loop {
            match self.log.read(&doc(1), from, 10_000) {
                Read::Run(run) => {
                    for stored in &run.records {
                        let n = stored.position.0 as u32 - 1;
                        assert_eq!(stored.frame, frame_of(doc(1), n, &vec![n as u8; 900]));
                        read += 1;
                    }
                    (from, colds) = (run.next, 0);
                }
                Read::Cold(request) if colds < 2 => {
                    colds += 1;
                    self.log.want(request);
                    self.drive(0).await;
                }
                Read::Gap(gap) => {
                    assert_eq!(gap.why, GapReason::Damaged);
                    missing += gap.records;
                    (from, colds) = (gap.to, 0);
                }
                _ => return (read, missing),
            }
        }
    }

    fn local(&self, path: &Temporary, extension: &str) -> usize {
        let entries = fs::read_dir(path.0.join("log/0000")).unwrap();
        let is_it = |path: PathBuf| path.extension().is_some_and(|it| it == extension);
        entries.filter(|it| is_it(it.as_ref().unwrap().path())).count()
    }
}

fn run(future: impl Future<Output = ()>) {
    // Not multi-threaded, no timers: what a store in memory or on the disk takes.
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

fn stores(path: &Temporary) -> Vec<Arc<dyn ObjectStore>> {
    let local = path.0.join("objects");
    fs::create_dir_all(&local).unwrap();
    vec![Arc::new(InMemory::new()), Arc::new(LocalFileSystem::new_with_prefix(local).unwrap())]
}

#[test]
fn archived_segments_are_read_opened_and_deleted() {
    run(async {
        for index in 0..2 {
            let path = Temporary::new("archived");
            let store = stores(&path).remove(index);
            let mut world = World::open(&path, &store);
            world.write(0, 400).await;
            let put = world.put_all().await;
            assert!(put >= 4, "{put}");
            assert_eq!((world.local(&path, "archived"), world.local(&path, "segment")), (put, 1));
            assert_eq!(world.read().await, (400, 0));
            assert_eq!(world.put_all().await, 0, "they are there");
            drop(world);

            // Opened by what is left here, and read from the store.
            let mut world = World::open(&path, &store);
            assert_eq!(world.log.head(&doc(1)).unwrap().records, 400);
            assert_eq!(world.read().await, (400, 0));
            world.write(400, 500).await;
            assert!(world.put_all().await > 0);
            assert_eq!(world.read().await, (500, 0));
            drop(world);

            // Retention deletes objects as it does files.
            let mut world = World::open(&path, &store);
            let mut small = options();
            small.retention.max_bytes = 100 << 10;
            let (files, found) = {
                drop(world);
                let directory = Directory::open(path.0.join("log"), 1).unwrap();
                let (files, found) = directory.shard(0).unwrap();
                world = World {
                    log: Log::open(small, found).unwrap(),
                    files,
                    archive: Archive::new(store.clone(), ObjectPath::from("node-1/0000")),
                    _directory: directory,
                };
                (world.local(&path, "archived"), world.log.head(&doc(1)).unwrap().records)
            };
            world.log.retain(now(0));
            world.drive(100_000_000).await;
            assert!(world.local(&path, "archived") < files);
            let (read, missing) = world.read().await;
            assert!(read > 0 && read < found && missing == 0);
            // They go when there is time for that, over restarts.
            let object = object(1);
            assert!(store.head(&object).await.is_ok() && world.local(&path, "deleting") > 1);
            drop(world);
            let mut world = World::open(&path, &store);
            assert_eq!(world.read().await.1, 0);
            world.archive.erase_all(world.files.places()).await.unwrap();
            assert_eq!(world.local(&path, "deleting"), 0);
            assert!(matches!(store.head(&object).await, Err(object_store::Error::NotFound { .. })));
        }
    });
}

#[test]
fn a_crash_between_put_and_delete_leaves_the_segment_here() {
    run(async {
        let path = Temporary::new("persisted");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut world = World::open(&path, &store);
        world.write(0, 200).await;
        let first = path.0.join("log/0000/00000000000000000001.segment");
        let bytes = fs::read(&first).unwrap();
        assert!(world.put_all().await > 0);
        drop(world);
        // As if the local file had not gone, and not all had come there.
        fs::write(&first, &bytes).unwrap();
        store.put(&object(1), bytes[..5_000].to_vec().into()).await.unwrap();
        let mut world = World::open(&path, &store);
        assert!(!world.files.is_archived(1) && world.files.has_stub(1));
        assert_eq!(world.read().await, (200, 0));
        assert!(world.put_all().await > 0);
        assert!(!first.exists());
        assert_eq!(world.read().await, (200, 0));
    });
}

#[test]
fn a_stub_that_changed_is_damage_and_nothing_is_cut() {
    run(async {
        let path = Temporary::new("stub");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut world = World::open(&path, &store);
        world.write(0, 300).await;
        assert!(world.put_all().await > 2);
        drop(world);
        let stub = path.0.join("log/0000/00000000000000000002.archived");
        let mut bytes = fs::read(&stub).unwrap();
        bytes[100] ^= 1;
        fs::write(&stub, &bytes).unwrap();
        let directory = Directory::open(path.0.join("log"), 1).unwrap();
        let (_, found) = directory.shard(0).unwrap();
        assert_eq!(found.tail(), Tail::Damaged { segment: 2, at: 0, field: "index" });
        assert_eq!(fs::read(&stub).unwrap(), bytes);
        let log = Log::open(options(), found).unwrap();
        assert!(log.broken().is_some() && log.head(&doc(1)).unwrap().records > 10);
    });
}

#[test]
fn what_the_store_does_not_take_stays_here() {
    run(async {
        let path = Temporary::new("refused");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut world = World::open(&path, &store);
        world.write(0, 200).await;
        // A folder that nobody can write to.
        let blocked = path.0.join("blocked");
        fs::create_dir_all(&blocked).unwrap();
        let local = LocalFileSystem::new_with_prefix(&blocked).unwrap();
        fs::remove_dir_all(&blocked).unwrap();
        fs::write(&blocked, b"a file").unwrap();
        let archive = Archive::new(Arc::new(local), ObjectPath::from("x"));
        let error = archive.put(&mut world.files, 1).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Store { segment: 1, .. }), "{error}");
        // The one that is written to has no index.
        let last = world.log.sealed().last().unwrap().segment + 1;
        let error = world.archive.put(&mut world.files, last).await.unwrap_err();
        assert!(matches!(error, ArchiveError::NoIndex { .. }), "{error}");
        assert_eq!(world.local(&path, "archived"), 0);
        assert_eq!(world.read().await, (200, 0));
    });
}

#[test]
fn a_store_that_lost_or_changed_an_object_is_damage_and_one_out_of_reach_is_not() {
    run(async {
        let path = Temporary::new("lost");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut world = World::open(&path, &store);
        world.write(0, 300).await;
        assert!(world.put_all().await > 3);
        drop(world);

        // A driver that knows nothing of the archive: nothing is damaged by that.
        let mut world = World::open(&path, &store);
        let Read::Cold(request) = world.log.read(&doc(1), Position(1), 1) else { panic!("cold") };
        world.log.want(request);
        let io = world.log.poll_io(now(0)).unwrap();
        let done = world.files.perform(io);
        assert!(matches!(done.result, Err(IoError::Unreachable(_))), "{done:?}");
        world.log.handle_io(done, now(0)).unwrap();
        assert_eq!(world.read().await, (300, 0));
        drop(world);

        let found = store.get(&object(1)).await.unwrap().bytes().await.unwrap();
        let mut changed = found.to_vec();
        changed[10_000] ^= 1;
        store.put(&object(1), changed.into()).await.unwrap();
        store.delete(&object(2)).await.unwrap();
        let mut world = World::open(&path, &store);
        let (read, missing) = world.read().await;
        assert_eq!(read + missing, 300);
        assert!(missing > 1 && read > 100, "{read} {missing}");
        assert!(world.log.damaged().any(|(segment, _)| segment == 1));
    });
}

#[test]
fn what_is_in_the_store_goes_with_a_segment_that_did_not_leave() {
    run(async {
        let path = Temporary::new("half");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut world = World::open(&path, &store);
        world.write(0, 300).await;
        // Put, and never said to be: as after a crash.
        let persisted = world.archive.persist(world.files.places(), 1).await.unwrap();
        assert!(persisted.object_len() > 50_000);
        drop(world);
        let mut world = World::open(&path, &store);
        assert_eq!(world.read().await, (300, 0));
        let mut small = options();
        small.retention.max_bytes = 100 << 10;
        drop(world);
        let directory = Directory::open(path.0.join("log"), 1).unwrap();
        let (files, found) = directory.shard(0).unwrap();
        let log = Log::open(small, found).unwrap();
        let archive = Archive::new(store.clone(), ObjectPath::from("node-1/0000"));
        let mut world = World { log, files, archive, _directory: directory };
        world.log.retain(now(0));
        world.drive(100_000_000).await;
        assert_eq!((world.local(&path, "archived"), world.local(&path, "deleting")), (0, 1));
        assert!(store.head(&object(1)).await.is_ok());
        world.archive.erase_all(world.files.places()).await.unwrap();
        assert!(store.head(&object(1)).await.is_err());
    });
}

#[test]
fn another_logs_object_is_not_written_over_nor_deleted() {
    run(async {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (one, other) = (Temporary::new("one"), Temporary::new("other"));
        let mut first = World::open(&one, &store);
        first.write(0, 200).await;
        assert!(first.put_all().await > 1);
        let mut second = World::open(&other, &store);
        second.write(0, 200).await;
        let error = second.archive.put(&mut second.files, 1).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Taken { segment: 1, .. }), "{error}");
        assert_eq!((first.read().await, second.read().await), ((200, 0), (200, 0)));
        // As if it had one to delete.
        let places = second.files.places().clone();
        let segment = other.0.join("log/0000/00000000000000000001.segment");
        fs::copy(segment, other.0.join("log/0000/00000000000000000001.deleting")).unwrap();
        second.archive.erase_all(&places).await.unwrap();
        assert_eq!(places.to_erase().unwrap(), [0; 0]);
        drop(first);
        assert_eq!(World::open(&one, &store).read().await, (200, 0));
    });
}

#[test]
fn a_store_that_has_nothing_of_the_log_is_not_believed() {
    run(async {
        let path = Temporary::new("unmarked");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut world = World::open(&path, &store);
        world.write(0, 300).await;
        world.archive.put(&mut world.files, 1).await.unwrap();
        drop(world);
        // As where nothing is mounted.
        let empty: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut world = World::open(&path, &empty);
        let Read::Cold(request) = world.log.read(&doc(1), Position(1), 1) else { panic!("cold") };
        world.log.want(request);
        let io = world.log.poll_io(now(0)).unwrap();
        let done = world.archive.perform(&mut world.files, io).await;
        assert!(matches!(done.result, Err(IoError::Unreachable(_))), "{done:?}");
        world.log.handle_io(done, now(0)).unwrap();
        let error = world.archive.put(&mut world.files, 2).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Unmarked { .. }), "{error}");
        assert_eq!(world.log.damaged().count(), 0);
        drop(world);
        assert_eq!(World::open(&path, &store).read().await, (300, 0));
    });
}
