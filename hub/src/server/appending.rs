//! A process's own deltas on their way into its hub's log.

use deltawire_channels::Message;
use deltawire_framing::documents::Group;
use deltawire_framing::{DeltaFields, DeltaType, DocId};
use deltawire_store::{Origin, Position};

use super::shard::Shard;
use super::{AppendError, Hub};
use crate::Place;

impl Hub {
    /// Appends a delta of this process's own, with one copy of `payload`, to where it is read and sent from. Readers are told at once; several
    /// that come before any of them has looked are one batch, and cost less than each by itself. Gives its place; whether it is stored
    /// [`is_stored`](Self::is_stored) says.
    ///
    /// # Errors
    /// When its fields cannot be written or the log does not take it.
    pub fn append(&self, fields: DeltaFields, payload: &[u8]) -> Result<Place, AppendError> {
        self.append_at(None, fields, payload)
    }

    /// The same, if it gets exactly this position.
    ///
    /// # Errors
    /// As [`append`](Self::append), and [`AppendError::Conflict`].
    pub fn append_at(
        &self,
        position: Option<u64>,
        fields: DeltaFields,
        payload: &[u8],
    ) -> Result<Place, AppendError> {
        // What has to be looked at as a whole, or is kept as a whole, is made before the lock is taken.
        let whole = payload.len() >= self.inner.options.adopt_from
            || matches!(fields.delta_type, DeltaType::GROUP | DeltaType::SNAPSHOT);
        let whole = if whole { Some(Message::delta_of(fields, payload)?) } else { None };
        if let Some(message) = whole.as_ref().filter(|_| fields.delta_type == DeltaType::GROUP) {
            Group::parse(message.delta()?)?;
        }
        let index = self.inner.shard_of(&fields.doc_id);
        let mut shard = self.inner.shard_in_batch(index);
        let began = shard.batch_began();
        let now = began.unwrap_or_else(|| self.inner.now());
        if let Some(expected) = position {
            let next = next_of(&shard, &fields.doc_id).0;
            if next != expected {
                return Err(AppendError::Conflict { expected, next });
            }
        }
        let appended = match whole {
            None if !shard.remembers_keys(&fields.doc_id) => {
                shard.append_payload(fields, payload, now)?
            }
            whole => {
                let message = match whole {
                    Some(message) => message,
                    None => Message::delta_of(fields, payload)?,
                };
                shard.append(message, Origin::NONE, true, now).map_err(|(refused, _)| refused)?
            }
        };
        shard.leave_batch(fields.doc_id, now);
        drop(shard);
        if began.is_none() {
            self.inner.kick(index);
        }
        Ok(Place { epoch: appended.epoch.0, position: appended.position.0 })
    }
}

/// The position that a document's next delta gets.
fn next_of(shard: &Shard, doc_id: &DocId) -> Position {
    shard.log.head(doc_id).map_or(Position::FIRST, |head| head.appended)
}
