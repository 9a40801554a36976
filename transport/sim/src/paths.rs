use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::host::Host;
use super::path::Path;

/// What the ways between hosts are like, as far as somebody said: for those that have no simulation at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    default: Path,
    between: BTreeMap<(Host, Host), Path>,
}

impl Paths {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, from: Host, to: Host) -> Path {
        let said = self.said();
        said.between.get(&(from, to)).copied().unwrap_or(said.default)
    }

    pub(super) fn set(&self, from: Host, to: Host, path: Path) {
        self.said().between.insert((from, to), path);
    }

    pub(super) fn set_default(&self, path: Path) {
        self.said().default = path;
    }
}
