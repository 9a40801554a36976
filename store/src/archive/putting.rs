use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use super::{Archive, ArchiveError};
use crate::files::system::{sync_directory, write_synced};
use crate::files::{Places, SegmentFiles};
use crate::format::STEP;
use crate::recovery::Recovery;

/// Bytes of a segment in memory while it is put: more than the 5 MiB that S3 wants of a part.
const PART: u64 = 8 << 20;

/// A segment that the store has as a whole, durably as far as it knows. It is still here.
#[derive(Debug)]
#[must_use = "the segment is here until SegmentFiles::archived is told"]
pub struct Persisted {
    segment: u64,
    len: u64,
}

impl Persisted {
    /// Its number.
    #[must_use]
    pub const fn segment(&self) -> u64 {
        self.segment
    }

    /// Bytes of its object.
    #[must_use]
    pub const fn object_len(&self) -> u64 {
        self.len
    }
}

/// The local file of a segment that is read from the store now. Until it is deleted, that one is believed when the log is
/// opened.
#[derive(Debug)]
#[must_use = "the local file is there until it is performed"]
pub struct Remainder {
    segment: u64,
    places: Places,
}

impl Remainder {
    /// Deletes the file, on whichever thread.
    ///
    /// # Errors
    /// The file is there, or may be there again after a crash. Nothing is wrong with that but the room that it takes.
    pub fn delete(self) -> Result<(), ArchiveError> {
        let segment = self.segment;
        let deleted = fs::remove_file(self.places.segment(segment));
        let deleted = deleted.and_then(|()| sync_directory(&self.places.folder));
        deleted.map_err(|source| ArchiveError::Io { doing: "delete", segment, source })
    }
}

impl SegmentFiles {
    /// Has a segment read from the store from now on. The log is to be told as well ([`Log::archived`](crate::Log::archived)).
    pub fn archived(&mut self, persisted: &Persisted) -> Remainder {
        self.note_archived(persisted.segment);
        Remainder { segment: persisted.segment, places: self.places().clone() }
    }
}

impl Archive {
    /// Puts a sealed segment into the store and, when the store has said that it has all of it, deletes the local file.
    /// Takes 8 MiB of memory, and as much as the segment's index.
    ///
    /// # Errors
    /// The segment is here as before; the store may have a part of it, or all. Put it again.
    pub async fn put(&self, files: &mut SegmentFiles, segment: u64) -> Result<(), ArchiveError> {
        let persisted = self.persist(&files.places().clone(), segment).await?;
        files.archived(&persisted).delete()
    }

    /// Puts a sealed segment into the store, and reads back what it has of it.
    ///
    /// # Errors
    /// The segment is here as before; the store may have a part of it, or all. Put it again.
    pub async fn persist(&self, places: &Places, segment: u64) -> Result<Persisted, ArchiveError> {
        let failed = |doing| move |source| ArchiveError::Io { doing, segment, source };
        let file = File::open(places.segment(segment)).map_err(failed("open"))?;
        let len = file.metadata().map_err(failed("look at"))?.len();
        let stub = stub(&file, segment, len).map_err(failed("read"))?;
        let stub = stub.ok_or(ArchiveError::NoIndex { segment })?;
        self.check_mark(places, segment).await?;
        if places.deleting(segment).exists() {
            // Of another segment, which had the number before all were deleted.
            self.erase(places, segment).await?;
        }
        self.check_free(segment, stub.get(..STEP).unwrap_or_default()).await?;
        // First: by that, what the store has goes with the segment, however far this comes.
        write_synced(&places.stub(segment), &stub).map_err(failed("write the index of"))?;
        let crc = self.upload(&file, segment, len).await?;
        self.read_back(segment, len, crc).await?;
        Ok(Persisted { segment, len })
    }

    /// Returns the CRC-32C of what was put.
    async fn upload(&self, file: &File, segment: u64, len: u64) -> Result<u32, ArchiveError> {
        let failed = |source| ArchiveError::Store { segment, source };
        let object = self.object(segment);
        let mut upload = self.store.put_multipart(&object).await.map_err(failed)?;
        let put = put_parts(&mut *upload, file, segment, len).await;
        if put.is_err() {
            // What the store keeps of it costs its owner; that it could not be told so changes nothing else.
            let _ = upload.abort().await;
        }
        put
    }

    /// Sees to it that the store has what was put: the local file goes by what it says.
    async fn read_back(&self, segment: u64, len: u64, crc: u32) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Store { segment, source };
        let object = self.object(segment);
        let value = self.store.head(&object).await.map_err(failed)?.size;
        if value != len {
            return Err(ArchiveError::Length { segment, value, expected: len });
        }
        let (mut at, mut found) = (0, 0);
        while at < len {
            let end = len.min(at + PART);
            let bytes = self.store.get_range(&object, at..end).await.map_err(failed)?;
            found = crc32c::crc32c_append(found, &bytes);
            at = end;
        }
        if found == crc {
            return Ok(());
        }
        Err(ArchiveError::Differs { segment, value: found, expected: crc })
    }
}

async fn put_parts(
    upload: &mut dyn MultipartUpload,
    file: &File,
    segment: u64,
    len: u64,
) -> Result<u32, ArchiveError> {
    let failed = |source| ArchiveError::Store { segment, source };
    let (mut at, mut crc) = (0, 0);
    while at < len {
        let mut part = vec![0; PART.min(len - at) as usize];
        let read = file.read_exact_at(&mut part, at);
        read.map_err(|source| ArchiveError::Io { doing: "read", segment, source })?;
        at += part.len() as u64;
        crc = crc32c::crc32c_append(crc, &part);
        upload.put_part(PutPayload::from(part)).await.map_err(failed)?;
    }
    upload.complete().await.map_err(failed)?;
    Ok(crc)
}

/// The first 64 bytes of a segment and its index; `None` if that is not sound.
fn stub(file: &File, segment: u64, file_len: u64) -> io::Result<Option<Vec<u8>>> {
    let (mut header, mut last) = ([0; STEP], [0; STEP]);
    file.read_exact_at(&mut header, 0)?;
    file.read_exact_at(&mut last, file_len.saturating_sub(STEP as u64))?;
    let Some(len) = Recovery::index_len(segment, &last, file_len) else { return Ok(None) };
    let Some(at) = file_len.checked_sub(len) else { return Ok(None) };
    let mut stub = vec![0; STEP + len as usize];
    let (place, index) = stub.split_at_mut(STEP);
    place.copy_from_slice(&header);
    file.read_exact_at(index, at)?;
    Ok(Recovery::is_stub(segment, &stub).then_some(stub))
}
