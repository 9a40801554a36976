//! What files a folder has.

use std::collections::BTreeMap;
use std::path::Path;

use deltawire_bulk::{FileName, hash_file};
use serde::{Deserialize, Serialize};

use crate::end::End;
use crate::output::hex;

/// Bytes of a catalogue that are taken: some 100,000 files.
pub(crate) const MAX_CATALOGUE: usize = 16 << 20;

/// One file.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) len: u64,
    /// BLAKE3, in hexadecimal.
    pub(crate) blake3: String,
    /// Microseconds since the Unix epoch.
    pub(crate) modified: u64,
}

/// Files by their names: those of the folder itself that are not hidden, and whose names are taken everywhere.
pub(crate) type Catalogue = BTreeMap<String, Entry>;

/// Reads a folder: takes as long as reading all its files does.
pub(crate) async fn of_folder(folder: &Path) -> Result<Catalogue, End> {
    let folder = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || read(&folder)).await;
    let read = read.map_err(|error| End::Failed(error.to_string()))?;
    read.map_err(|error| End::Failed(error.to_string()))
}

fn read(folder: &Path) -> std::io::Result<Catalogue> {
    let mut catalogue = Catalogue::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if FileName::new(&name).is_err() || !entry.file_type()?.is_file() {
            continue;
        }
        let hashed = hash_file(&entry.path(), 64 << 10)?;
        let entry = Entry {
            len: hashed.layout.len(),
            blake3: hex(hashed.layout.root()),
            modified: hashed.modified,
        };
        catalogue.insert(name, entry);
    }
    Ok(catalogue)
}

/// The catalogue that a peer sent.
pub(crate) fn parse(bytes: &[u8]) -> Result<Catalogue, End> {
    let parsed: Result<Catalogue, _> = serde_json::from_slice(bytes);
    parsed.map_err(|error| End::Refused(format!("the other side's catalogue: {error}")))
}
