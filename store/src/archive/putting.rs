use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use super::{Archive, ArchiveError};
use crate::files::SegmentFiles;
use crate::files::system::{sync_directory, write_synced};
use crate::format::STEP;
use crate::recovery::Recovery;

/// Bytes of a segment in memory while it is put: more than the 5 MiB that S3 wants of a part.
const PART: u64 = 8 << 20;

impl Archive {
    /// Puts a sealed segment into the store and, when the store has said that it has all of it, deletes the local file.
    /// Takes 8 MiB of memory, and as much as the segment's index.
    ///
    /// # Errors
    /// Nothing has changed here then; the store may have a part of it, or all. Put it again.
    pub async fn put(&self, files: &mut SegmentFiles, segment: u64) -> Result<(), ArchiveError> {
        let failed = |doing| move |source| ArchiveError::Io { doing, segment, source };
        let path = files.path(segment);
        let file = File::open(&path).map_err(failed("open"))?;
        let file_len = file.metadata().map_err(failed("look at"))?.len();
        let stub = stub(&file, segment, file_len).map_err(failed("read"))?;
        let stub = stub.ok_or(ArchiveError::NoIndex { segment })?;
        self.upload(&file, segment, file_len).await?;
        // From here on it is persisted. The stub is there before the segment is not.
        write_synced(&files.stub_path(segment), &stub).map_err(failed("write the index of"))?;
        files.forget(segment);
        fs::remove_file(&path).map_err(failed("delete"))?;
        sync_directory(files.folder()).map_err(failed("delete"))
    }

    async fn upload(&self, file: &File, segment: u64, len: u64) -> Result<(), ArchiveError> {
        let failed = |source| ArchiveError::Store { segment, source };
        let object = self.object(segment);
        let mut upload = self.store.put_multipart(&object).await.map_err(failed)?;
        if let Err(error) = put_parts(&mut *upload, file, segment, len).await {
            // What the store keeps of it costs its owner; that it could not be told so changes nothing else.
            let _ = upload.abort().await;
            return Err(error);
        }
        let value = self.store.head(&object).await.map_err(failed)?.size;
        if value != len {
            return Err(ArchiveError::Length { segment, value, expected: len });
        }
        Ok(())
    }
}

async fn put_parts(
    upload: &mut dyn MultipartUpload,
    file: &File,
    segment: u64,
    len: u64,
) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Store { segment, source };
    let mut at = 0;
    while at < len {
        let mut part = vec![0; PART.min(len - at) as usize];
        let read = file.read_exact_at(&mut part, at);
        read.map_err(|source| ArchiveError::Io { doing: "read", segment, source })?;
        at += part.len() as u64;
        upload.put_part(PutPayload::from(part)).await.map_err(failed)?;
    }
    upload.complete().await.map_err(failed)?;
    Ok(())
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
