use alloc::vec::Vec;

use crate::delta::{Delta, DeltaFields, DeltaHeader, DeltaType, DeltaWriter, DocId};
use crate::error::{Expected, Field, Malformed, WriteError};
use crate::frame::{behind_zeros, frame_step};

/// The deltas of a [group](DeltaType::GROUP): all of them happen, or none. They lie in its payload one behind the other, at
/// multiples of 16, so that each one's payload lies where that of a delta by itself would.
///
/// ```
/// use deltawire_framing::documents::{Group, GroupWriter};
/// use deltawire_framing::{Delta, DeltaFields, DeltaType, DeltaWriter, DocId};
///
/// let fields = DeltaFields::new(DocId([7; 16]));
/// let mut group = GroupWriter::new(fields.doc_id);
/// group.push(fields, b"take it here")?;
/// group.push(fields, b"put it there")?;
///
/// let mut buffer = vec![0; 48 + group.payload().len()];
/// let fields = DeltaFields { delta_type: DeltaType::GROUP, ..fields };
/// let mut writer = DeltaWriter::new(&mut buffer, fields)?;
/// writer.payload_mut().copy_from_slice(group.payload());
/// writer.finish(group.payload().len())?;
///
/// let group = Group::parse(Delta::parse(&buffer)?)?;
/// let payloads: Vec<_> = group.deltas().map(|delta| delta.payload()).collect();
/// assert_eq!(payloads, [b"take it here", b"put it there"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    payload: &'a [u8],
}

impl<'a> Group<'a> {
    /// Sees a delta as a group, and looks at each delta in it but for its checksum: that of the group covers them all.
    ///
    /// # Errors
    /// Names the first field that breaks a rule: [`Field::DeltaType`] where it is no group, or has in it what is neither
    /// opaque, nor operations, nor the application's; [`Field::DocId`] for a delta of another document.
    pub fn parse(delta: Delta<'a>) -> Result<Self, Malformed> {
        let delta_type = delta.delta_type();
        if delta_type != DeltaType::GROUP {
            let expected = Expected::Exactly(DeltaType::GROUP.get().into());
            return Err(Malformed::new(Field::DeltaType, delta_type.get().into(), expected));
        }
        let mut rest = Some(delta.payload());
        while let Some(bytes) = rest {
            let (inner, behind) = first(bytes)?;
            check_type(inner.delta_type())?;
            if inner.doc_id() != delta.doc_id() {
                let expected = Expected::That("must be that of the group");
                return Err(Malformed::new(Field::DocId, first_bytes(inner.doc_id()), expected));
            }
            rest = behind;
        }
        Ok(Self { payload: delta.payload() })
    }

    /// Walks over its deltas, at least one.
    pub fn deltas(&self) -> impl Iterator<Item = Delta<'a>> + use<'a> {
        let mut rest = Some(self.payload);
        core::iter::from_fn(move || {
            // Each was looked at.
            let (delta, behind) = first(rest?).ok()?;
            rest = behind;
            Some(delta)
        })
    }
}

/// The delta that bytes begin with, and what follows it.
fn first(bytes: &[u8]) -> Result<(Delta<'_>, Option<&[u8]>), Malformed> {
    use zerocopy::FromBytes;

    let Ok((header, _)) = DeltaHeader::ref_from_prefix(bytes) else {
        let expected = Expected::AtLeast(DeltaHeader::SIZE as u64);
        return Err(Malformed::new(Field::Length, bytes.len() as u64, expected));
    };
    let len = header.total_size() as usize;
    let Some((delta, behind)) = bytes.split_at_checked(len) else {
        let expected = Expected::AtMost(bytes.len() as u64);
        return Err(Malformed::new(Field::TotalSize, len as u64, expected));
    };
    let delta = Delta::parse(delta)?;
    let behind = match behind {
        [] => None,
        behind => Some(behind_zeros(behind, frame_step(len) - len)?),
    };
    Ok((delta, behind))
}

/// What there may be in a group: nothing that a hub or a reader treats in a way of its own.
fn check_type(delta_type: DeltaType) -> Result<(), Malformed> {
    match delta_type {
        DeltaType::GROUP | DeltaType::SNAPSHOT | DeltaType::PRESENCE => {
            Err(Malformed::new(Field::DeltaType, delta_type.get().into(), IN_A_GROUP))
        }
        _ => Ok(()),
    }
}

const IN_A_GROUP: Expected = Expected::That("must not be 2 (group), 3 (snapshot) or 4 (presence)");

fn first_bytes(doc_id: DocId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = doc_id.0;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Writes the payload of a [group](DeltaType::GROUP).
#[derive(Clone, Debug, Default)]
pub struct GroupWriter {
    doc_id: DocId,
    payload: Vec<u8>,
}

impl GroupWriter {
    /// Begins a group of deltas of this document.
    #[must_use]
    pub const fn new(doc_id: DocId) -> Self {
        Self { doc_id, payload: Vec::new() }
    }

    /// Adds a delta. Its document is the group's, whatever `fields` say.
    ///
    /// # Errors
    /// When its fields cannot be written, its type is that of a group, a snapshot or a presence, or its payload is longer
    /// than a delta's can be. The group is as it was then.
    pub fn push(&mut self, fields: DeltaFields, payload: &[u8]) -> Result<(), WriteError> {
        if check_type(fields.delta_type).is_err() {
            let value = fields.delta_type.get().into();
            return Err(WriteError::invalid(Field::DeltaType, value, IN_A_GROUP));
        }
        let before = self.payload.len();
        let start = frame_step(before);
        let end = start.saturating_add(DeltaHeader::SIZE).saturating_add(payload.len());
        self.payload.resize(end, 0);
        let written = self.write(start, fields, payload);
        if written.is_err() {
            self.payload.truncate(before);
        }
        written
    }

    fn write(
        &mut self,
        start: usize,
        fields: DeltaFields,
        payload: &[u8],
    ) -> Result<(), WriteError> {
        let room = self.payload.get_mut(start..).unwrap_or_default();
        let mut writer = DeltaWriter::new(room, DeltaFields { doc_id: self.doc_id, ..fields })?;
        writer.payload_mut().copy_from_slice(payload);
        writer.finish(payload.len()).map(drop)
    }

    /// The payload so far: that of a delta of the type [`DeltaType::GROUP`].
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether nothing was added: then it is no group yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// Begins anew, in the same memory.
    pub fn clear(&mut self) {
        self.payload.clear();
    }
}
