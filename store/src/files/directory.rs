use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::manifest::{Manifest, read_opened, write_opened};
use super::places::ARCHIVED;
use super::segments::{SegmentFiles, segments};
use super::system::{Result, at, sync_directory};
use crate::error::OpenError;
use crate::format::STEP;
use crate::position::Epoch;
use crate::recovery::{Recovered, Recovery};

/// What a directory may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All of it; one process at a time.
    Write,
    /// Looking, beside a process that writes: nothing is made, cut or deleted.
    Look,
}

/// A directory with the logs of a node's shards. Which document belongs to which shard is for the caller to say, by
/// [`hash_key`](Self::hash_key); the number of shards is fixed when the directory is made.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    manifest: Manifest,
    /// Held for as long as this is.
    lock: Option<File>,
}

impl Directory {
    /// Opens a directory, or makes it, for `shards` logs.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process has it, [`OpenError::Shards`] if it was made for another number of
    /// shards, [`OpenError::Manifest`], [`OpenError::Version`] or [`OpenError::Io`].
    pub fn open(path: impl Into<PathBuf>, shards: usize) -> Result<Self> {
        let path = path.into();
        let number = u32::try_from(shards).ok().filter(|number| (1..=4_096).contains(number));
        let number = number.ok_or(OpenError::ShardCount { value: shards as u64 })?;
        fs::create_dir_all(&path).map_err(at("create", &path))?;
        let lock = lock(&path)?;
        let manifest_path = path.join("manifest");
        let manifest = match Manifest::read(&manifest_path)? {
            Some(manifest) => manifest,
            None => {
                let manifest = Manifest::new(number, random()?);
                manifest.write(&manifest_path)?;
                manifest
            }
        };
        let known = manifest.shards.get();
        if known != number {
            return Err(OpenError::Shards { path, value: number, known });
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent).map_err(at("sync", parent))?;
        }
        Ok(Self { path, manifest, lock: Some(lock) })
    }

    /// Opens a directory to look at it. It may change meanwhile.
    ///
    /// # Errors
    /// [`OpenError::Manifest`], [`OpenError::Version`] or [`OpenError::Io`].
    pub fn look(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let manifest_path = path.join("manifest");
        let missing = || at("open", &manifest_path)(io::ErrorKind::NotFound.into());
        let manifest = Manifest::read(&manifest_path)?.ok_or_else(missing)?;
        Ok(Self { path, manifest, lock: None })
    }

    /// A secret of 16 random bytes, made with the directory: with it documents are spread over shards in a way that
    /// nobody can foresee who does not know it.
    #[must_use]
    pub const fn hash_key(&self) -> &[u8; 16] {
        &self.manifest.hash_key
    }

    /// How many logs there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.manifest.shards.get() as usize
    }

    /// What this may be used for.
    #[must_use]
    pub const fn access(&self) -> Access {
        if self.lock.is_some() { Access::Write } else { Access::Look }
    }

    /// A segment of shard `index` that is kept in an object store and not here, if there is one: who has no archive cannot
    /// read it.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn archived(&self, index: usize) -> Result<Option<u64>> {
        let folder = self.path.join(format!("{index:04}"));
        if !folder.exists() {
            return Ok(None);
        }
        let mut found = segments(&folder, false)?.into_iter();
        let archived = found.find(|(_, path)| path.extension().is_some_and(|it| it == ARCHIVED));
        Ok(archived.map(|(segment, _)| segment))
    }

    /// Finds out what the log of shard `index` was, from 0, from the indexes of its segments; those without one are read
    /// as a whole, one at a time, and all are by who only looks. What is torn is cut off, unless this only looks. Call it
    /// once a shard.
    ///
    /// # Errors
    /// [`OpenError::NoShard`] or [`OpenError::Io`]. A log that is damaged is no error: it is found as such
    /// ([`Recovered::tail`]), and nothing of it is changed.
    pub fn shard(&self, index: usize) -> Result<(SegmentFiles, Recovered)> {
        if index >= self.shards() {
            return Err(OpenError::NoShard { index, shards: self.shards() });
        }
        let folder = self.path.join(format!("{index:04}"));
        let writes = self.access() == Access::Write;
        if writes {
            fs::create_dir_all(&folder).map_err(at("create", &folder))?;
            sync_directory(&self.path).map_err(at("sync", &self.path))?;
        }
        let opened = folder.join("opened");
        let fresh = Epoch(u32::from_le_bytes(random()?));
        let mut recovery = Recovery::new(index as u32, fresh);
        recovery.opened(read_opened(&opened)?);
        let mut archived = HashSet::new();
        for (id, path) in segments(&folder, writes)? {
            // Whoever looks wants all of it looked at.
            if path.extension().is_some_and(|it| it == ARCHIVED) {
                archived.insert(id);
                let stub = fs::read(&path).map_err(at("read", &path))?;
                recovery.archived(id, &stub);
                continue;
            }
            if !writes || !read_index(&mut recovery, id, &path).map_err(at("read", &path))? {
                let bytes = fs::read(&path).map_err(at("read", &path))?;
                recovery.segment(id, &bytes);
            }
            if path.with_extension(ARCHIVED).exists() {
                recovery.was_to_leave(id);
            }
        }
        let found = recovery.finish();
        let files = SegmentFiles::new(folder.clone(), archived);
        if writes {
            files.settle(&found)?;
            write_opened(&opened, found.next())?;
        }
        Ok((files, found))
    }
}

/// Takes in a segment by its index. `false` if it has none that is sound.
fn read_index(recovery: &mut Recovery, id: u64, path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let file_len = file.metadata()?.len();
    let (mut header, mut last) = ([0; STEP], [0; STEP]);
    let Some(last_at) = file_len.checked_sub(STEP as u64) else { return Ok(false) };
    file.read_exact_at(&mut header, 0)?;
    file.read_exact_at(&mut last, last_at)?;
    let Some(len) = Recovery::index_len(id, &last, file_len) else { return Ok(false) };
    let Some(at) = file_len.checked_sub(len) else { return Ok(false) };
    let mut index = vec![0; len as usize];
    file.read_exact_at(&mut index, at)?;
    Ok(recovery.indexed(id, &header, &index, file_len))
}

fn lock(path: &Path) -> Result<File> {
    let path = path.join("lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(at("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path }),
        Err(error) => Err(at("lock", &path)(error.into())),
    }
}

/// Random bytes of the operating system's.
fn random<const LEN: usize>() -> Result<[u8; LEN]> {
    use std::io::Read;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; LEN];
    let mut file = File::open(path).map_err(at("open", path))?;
    file.read_exact(&mut bytes).map_err(at("read", path))?;
    Ok(bytes)
}
