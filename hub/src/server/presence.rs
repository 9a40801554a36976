//! Who looks at a document, and what they said last.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;

/// The last word of each writer, by a version that counts up: a reader's cursor is the version that it has seen.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    words: BTreeMap<u64, Word>,
    /// The version of each writer's last word.
    writers: HashMap<u64, u64>,
    version: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) writer: u64,
    /// Its frame; `None` when the writer is gone.
    pub(crate) frame: Option<Bytes>,
    /// When it counts as gone, or is forgotten to have gone.
    until: Duration,
}

/// For how long it is told that a writer is gone: readers that have not heard of it by then see nothing of it at all.
const REMEMBERED: Duration = Duration::from_secs(30);

impl Presence {
    /// Takes in a word. `false` when there are `max` writers.
    pub(crate) fn say(
        &mut self,
        writer: u64,
        frame: Option<Bytes>,
        until: Duration,
        max: usize,
    ) -> bool {
        if let Some(version) = self.writers.get(&writer) {
            self.words.remove(version);
        } else if frame.is_none() {
            return true;
        } else if self.writers.len() >= max && !self.forget_gone() {
            return false;
        }
        self.version += 1;
        self.writers.insert(writer, self.version);
        self.words.insert(self.version, Word { writer, frame, until });
        true
    }

    /// Forgets the one that has been gone for longest.
    fn forget_gone(&mut self) -> bool {
        let gone = self.words.iter().find(|(_, word)| word.frame.is_none());
        let Some((&version, &Word { writer, .. })) = gone else { return false };
        self.words.remove(&version);
        self.writers.remove(&writer);
        true
    }

    /// The next word behind a version, and its own version.
    pub(crate) fn next(&self, seen: u64) -> Option<(u64, Word)> {
        let (version, word) = self.words.range(seen + 1..).next()?;
        Some((*version, word.clone()))
    }

    /// Lets go who was not heard of. Says whether somebody went.
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let over: Vec<_> = self
            .words
            .iter()
            .filter(|(_, word)| word.until <= now)
            .map(|(version, _)| *version)
            .collect();
        let mut gone = false;
        for version in over {
            let Some(word) = self.words.remove(&version) else { continue };
            if word.frame.is_some() {
                gone = true;
                self.version += 1;
                self.writers.insert(word.writer, self.version);
                let until = now.saturating_add(REMEMBERED);
                self.words.insert(self.version, Word { frame: None, until, ..word });
            } else {
                self.writers.remove(&word.writer);
            }
        }
        gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }
}
