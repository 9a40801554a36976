//! Where it is remembered what is safe of a file that is not whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::layout::Layout;
use crate::pieces::Pieces;
use crate::saved;

/// Writes it in one step: what was there stays until all of this is safe.
pub(super) fn save(path: &Path, layout: &Layout, have: &Pieces) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push("~");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(&saved::write(layout, have))?;
    file.sync_data()?;
    fs::rename(&new, path)
}

/// What was remembered of this very file; `None` if nothing, or of another.
pub(super) fn load(path: &Path, layout: &Layout) -> Option<Pieces> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(saved::MAX_LEN + 1).read_to_end(&mut bytes).ok()?;
    saved::read(&bytes, layout)
}

/// Forgets it.
pub(super) fn forget(path: &Path) {
    let _ = fs::remove_file(path);
    let mut new = path.as_os_str().to_owned();
    new.push("~");
    let _ = fs::remove_file(new);
}
