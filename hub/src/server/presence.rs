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
    /// Writers that are there.
    present: usize,
    /// The version of the last word of a writer that was gone, and is forgotten.
    forgotten: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) writer: u64,
    /// Its frame; `None` when the writer is gone.
    pub(crate) frame: Option<Bytes>,
    /// When it counts as gone, or is forgotten to have gone.
    until: Duration,
}

impl Presence {
    /// Takes in a word; that a writer is gone is remembered if somebody watches. `false` when there are `max` writers.
    pub(crate) fn say(
        &mut self,
        writer: u64,
        frame: Option<Bytes>,
        until: Duration,
        max: usize,
        watched: bool,
    ) -> bool {
        if let Some(version) = self.writers.get(&writer) {
            let before = self.words.remove(version);
            self.present -= usize::from(before.is_some_and(|word| word.frame.is_some()));
            if frame.is_none() && !watched {
                self.writers.remove(&writer);
                return true;
            }
        } else if frame.is_none() {
            return true;
        } else if self.writers.len() >= max && !self.forget_gone() {
            return false;
        }
        self.present += usize::from(frame.is_some());
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
        self.forgotten = self.forgotten.max(version);
        true
    }

    /// Forgets all that have gone: nobody is there to be told.
    pub(crate) fn forget_all_gone(&mut self) {
        let writers = &mut self.writers;
        self.words.retain(|_, word| {
            if word.frame.is_none() {
                writers.remove(&word.writer);
            }
            word.frame.is_some()
        });
    }

    /// The version of the last word of a writer that was gone, and is forgotten: a reader that has seen less shows who
    /// is not there.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The next word behind a version, and its own version.
    pub(crate) fn next(&self, seen: u64) -> Option<(u64, Word)> {
        let (version, word) = self.words.range(seen + 1..).next()?;
        Some((*version, word.clone()))
    }

    /// Lets go who was not heard of, and remembers for so long that they went. Says whether somebody did.
    pub(crate) fn expire(&mut self, now: Duration, remembered: Duration) -> bool {
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
                self.present -= 1;
                self.version += 1;
                self.writers.insert(word.writer, self.version);
                let until = now.saturating_add(remembered);
                self.words.insert(self.version, Word { frame: None, until, ..word });
            } else {
                self.writers.remove(&word.writer);
                self.forgotten = self.forgotten.max(version);
            }
        }
        gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Writers that are there.
    pub(crate) fn len(&self) -> usize {
        self.present
    }
}
