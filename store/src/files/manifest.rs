use std::path::Path;

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::system::{Result, read_short, write_whole};
use crate::error::OpenError;
use crate::position::LogPosition;

/// What a directory is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Manifest {
    magic: [u8; 4],
    version: U16,
    flags: U16,
    pub(super) shards: U32,
    reserved: U32,
    pub(super) hash_key: [u8; 16],
    padding: [u8; 28],
    crc: U32,
}

const _: () = assert!(size_of::<Manifest>() == 64);

impl Manifest {
    const MAGIC: [u8; 4] = *b"DLM1";
    const VERSION: u16 = 1;

    pub(super) fn new(shards: u32, hash_key: [u8; 16]) -> Self {
        let mut manifest = Self {
            magic: Self::MAGIC,
            version: U16::new(Self::VERSION),
            flags: U16::ZERO,
            shards: U32::new(shards),
            reserved: U32::ZERO,
            hash_key,
            padding: [0; 28],
            crc: U32::ZERO,
        };
        manifest.crc = U32::new(manifest.own_crc());
        manifest
    }

    fn own_crc(&self) -> u32 {
        crc32c::crc32c(self.as_bytes().get(..60).unwrap_or_default())
    }

    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = read_short(path, 65)? else { return Ok(None) };
        let broken = |field| OpenError::Manifest { path: path.to_owned(), field };
        let found = Self::read_from_bytes(&bytes).map_err(|_| broken("length"))?;
        if found.magic != Self::MAGIC {
            return Err(broken("magic"));
        }
        if found.crc.get() != found.own_crc() {
            return Err(broken("crc"));
        }
        if found.version.get() != Self::VERSION {
            let (value, known) = (found.version.get(), Self::VERSION);
            return Err(OpenError::Version { path: path.to_owned(), value, known });
        }
        if found.shards.get() == 0 {
            return Err(broken("shards"));
        }
        Ok(Some(found))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        write_whole(path, self.as_bytes())
    }
}

/// Where a log was opened last.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Opened {
    magic: [u8; 4],
    crc: U32,
    at: U64,
}

const OPENED: [u8; 4] = *b"DLO1";

/// Writes down where a log is opened.
pub(super) fn write_opened(path: &Path, at: LogPosition) -> Result<()> {
    let at = U64::new(at.0);
    let crc = U32::new(crc32c::crc32c(at.as_bytes()));
    write_whole(path, Opened { magic: OPENED, crc, at }.as_bytes())
}

/// Where a log was opened last. If that cannot be told, behind all that it has: then it was not closed.
pub(super) fn read_opened(path: &Path) -> Result<LogPosition> {
    let Some(bytes) = read_short(path, 17)? else { return Ok(LogPosition(0)) };
    let found = Opened::read_from_bytes(&bytes).ok();
    let sound = found.filter(|found| {
        found.magic == OPENED && found.crc.get() == crc32c::crc32c(found.at.as_bytes())
    });
    Ok(LogPosition(sound.map_or(u64::MAX, |found| found.at.get())))
}
