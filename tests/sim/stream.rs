//! Messages whose content follows from their number, so that whoever gets one can check it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use deltawire::sim::Random;
use deltawire_framing::{DeltaFields, DocId, Frame};

type Result<T> = std::result::Result<T, String>;

/// The messages of one channel in one direction, and what came of them.
pub(crate) struct Stream {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) lengths: Vec<usize>,
    pub(crate) ordered: bool,
    pub(crate) may_lose: bool,
    pub(crate) committed: Cell<usize>,
    pub(crate) came: RefCell<BTreeSet<usize>>,
}

impl Stream {
    pub(crate) fn fields(&self, number: usize) -> DeltaFields {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(number as u64).to_le_bytes());
        id[8..].copy_from_slice(&self.seed.to_le_bytes());
        DeltaFields::new(DocId(id))
    }

    pub(crate) fn content(&self, number: usize) -> Random {
        Random::new(self.seed ^ (number as u64) << 32)
    }

    /// Whether the first so many have come.
    pub(crate) fn has(&self, count: usize) -> bool {
        self.came.borrow().range(..count).count() == count
    }

    /// Takes a message in, and says what is wrong with it.
    pub(crate) fn take(&self, frame: Frame<'_>) -> Result<usize> {
        let name = self.name;
        let delta = frame.delta().map_err(|error| format!("{name}: {error}"))?;
        delta.verify_checksum().map_err(|error| format!("{name}: {error}"))?;
        let id = delta.doc_id().0;
        let number = u64::from_le_bytes(id[..8].try_into().unwrap()) as usize;
        let Some(len) = self.lengths.get(number).filter(|_| id[8..] == self.seed.to_le_bytes())
        else {
            return Err(format!("{name}: a message that nobody sent"));
        };
        let mut expected = vec![0; *len];
        self.content(number).fill(&mut expected);
        if delta.payload() != expected {
            return Err(format!("{name}: message {number} of {len} bytes is damaged"));
        }
        let mut came = self.came.borrow_mut();
        if self.ordered && came.last().is_some_and(|last| *last > number) {
            return Err(format!("{name}: message {number} came after {:?}", came.last()));
        }
        if !came.insert(number) {
            return Err(format!("{name}: message {number} came twice"));
        }
        Ok(number)
    }
}

/// Lengths of messages, together `volume` bytes unless there are 500: as many short ones as long
/// ones, up to 1 MiB.
pub(crate) fn lengths(random: &mut Random, mut volume: u64, longest: u64) -> Vec<usize> {
    let mut lengths = Vec::new();
    while lengths.len() < 500 && volume > 0 {
        let scale = 1 << random.below(20);
        let len = (1 + random.below(2 * scale)).min(longest).min(volume);
        volume -= len;
        lengths.push(len as usize);
    }
    lengths
}
