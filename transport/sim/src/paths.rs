use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::host::Host;
use super::path::Path;

/// What the ways between hosts are like, as far as somebody said: for those that have no simulation at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths(Arc<Mutex<(Path, BTreeMap<(Host, Host), Path>)>>);

impl Paths {
    pub(super) fn get(&self, from: Host, to: Host) -> Path {
        let paths = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (default, said) = &*paths;
        said.get(&(from, to)).copied().unwrap_or(*default)
    }

    pub(super) fn set(&self, from: Host, to: Host, path: Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.insert((from, to), path);
    }

    pub(super) fn set_default(&self, path: Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = path;
    }
}
