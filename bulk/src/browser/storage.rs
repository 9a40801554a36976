//! Files of an origin's own file system: <https://fs.spec.whatwg.org>.

use std::io;

use js_sys::{JsString, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetFileOptions,
    FileSystemReadWriteOptions, FileSystemSyncAccessHandle, StorageEstimate, StorageManager,
};

use super::error::{expect, lacks, method, of_browser};

async fn done<T: JsCast>(promise: Promise, what: &str) -> io::Result<T> {
    expect(JsFuture::from(promise.unchecked_into::<Promise>()).await.map_err(of_browser)?, what)
}

/// The file of this name; `create`: it is made if there is none.
pub(super) async fn find(
    directory: &FileSystemDirectoryHandle,
    name: &str,
    create: bool,
) -> io::Result<FileSystemFileHandle> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    let found = directory.get_file_handle_with_options(name, &options);
    done(found.unchecked_into(), "FileSystemFileHandle").await
}

/// What is in a file, as it is now.
pub(super) async fn content(file: &FileSystemFileHandle) -> io::Result<File> {
    done(file.get_file().unchecked_into(), "FileSystemFileHandle.getFile").await
}

/// Removes a file. That there is none is as good.
pub(super) async fn remove(directory: &FileSystemDirectoryHandle, name: &str) {
    let _ = JsFuture::from(directory.remove_entry(name)).await;
}

/// Whether this browser can give a file another name: it is not in the standard yet.
pub(super) fn check_rename(file: &FileSystemFileHandle) -> io::Result<()> {
    method(file, "move").map(drop)
}

/// Gives a file another name in its folder, where it takes the place of what has that.
pub(super) async fn rename(
    file: &FileSystemFileHandle,
    directory: &FileSystemDirectoryHandle,
    name: &str,
) -> io::Result<()> {
    // Not every browser takes the name alone.
    let moved = method(file, "move")?.call2(file, directory, &JsString::from(name));
    let renamed = moved.map_err(of_browser)?;
    let renamed: Promise = expect(renamed, "FileSystemFileHandle.move")?;
    JsFuture::from(renamed).await.map_err(of_browser).map(drop)
}

/// How many more bytes this origin may store; `None` where the browser does not tell.
pub(super) async fn room() -> Option<u64> {
    let navigator = Reflect::get(&js_sys::global(), &JsString::from("navigator")).ok()?;
    let storage = Reflect::get(&navigator, &JsString::from("storage")).ok()?;
    let storage: StorageManager = storage.dyn_into().ok()?;
    let estimate: JsValue =
        JsFuture::from(storage.estimate().ok()?.unchecked_into::<Promise>()).await.ok()?;
    let estimate: StorageEstimate = estimate.unchecked_into();
    Some((estimate.get_quota()? - estimate.get_usage()?).max(0.0) as u64)
}

/// A file that is open for this worker alone, until it is dropped.
pub(super) struct Open(FileSystemSyncAccessHandle);

impl Open {
    /// Opens it. [`ResourceBusy`](io::ErrorKind::ResourceBusy): somebody has it open.
    pub(super) async fn new(file: &FileSystemFileHandle) -> io::Result<Self> {
        // Only dedicated workers have it.
        method(file, "createSyncAccessHandle")?;
        let opened = file.create_sync_access_handle();
        done(opened.unchecked_into(), "FileSystemSyncAccessHandle").await.map(Self)
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.0.get_size().map_err(of_browser)? as u64)
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.truncate_with_f64(len as f64).map_err(of_browser)
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        // A copy: browsers take no view of memory that may grow or is shared.
        let bytes = Uint8Array::from(bytes);
        let written = self.0.write_with_js_u8_array_and_options(&bytes, &options(at));
        if written.map_err(of_browser)? == f64::from(bytes.length()) {
            Ok(())
        } else {
            Err(io::ErrorKind::QuotaExceeded.into())
        }
    }

    pub(super) fn read_exact_at(&self, room: &mut [u8], at: u64) -> io::Result<()> {
        let bytes = Uint8Array::new_with_length(
            u32::try_from(room.len()).map_err(|_| lacks("so much memory"))?,
        );
        let read = self.0.read_with_js_u8_array_and_options(&bytes, &options(at));
        if read.map_err(of_browser)? == f64::from(bytes.length()) {
            bytes.copy_to(room);
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Has what was written outlive the browser.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.flush().map_err(of_browser)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn options(at: u64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at(at as f64);
    options
}
