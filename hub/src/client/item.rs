//! What a subscription gives.

use deltawire_channels::Message;
pub use deltawire_framing::documents::Why;

/// A place in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The document's epoch: positions of different epochs are not comparable.
    pub epoch: u32,
    /// The number of a delta in its document, from 1.
    pub position: u64,
}

/// What comes next in a subscription.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Item {
    /// A delta.
    Delta {
        /// Its place.
        place: Place,
        /// It, in place.
        message: Message,
    },
    /// Deltas that do not come, and why.
    Gap(Gap),
    /// A delta that came before was rejected since: what it did is to be taken back. It may be told more than once, and of a
    /// delta that a slow reader never got.
    Rejected {
        /// Its place.
        place: Place,
    },
    /// All that there was has come: what comes now was written after the subscription began, or after its link was
    /// opened anew.
    Live,
    /// Of a presence: a writer says something of itself.
    Present {
        /// The writer's number, for as long as it is there.
        writer: u64,
        /// What it says.
        message: Message,
    },
    /// Of a presence: a writer is gone.
    Gone {
        /// The writer's number.
        writer: u64,
    },
    /// Of a presence: the link was lost, and who is there is told anew.
    Cleared,
}

/// Deltas that a subscription does not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first that is missing; `None` when the subscription had no place yet.
    pub from: Option<Place>,
    /// The first that comes.
    pub to: Place,
    /// Why they are missing.
    pub why: Why,
    /// How many they are.
    pub skipped: u64,
    /// Bytes of their frames, as far as is known.
    pub skipped_bytes: u64,
}
