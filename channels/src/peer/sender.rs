use core::task::{Context, Poll, ready};

use bytemuck::Pod;
use deltawire_framing::{
    CastError, Channel, DeltaFields, DeltaHeader, DeltaWriter, Expected, Field, FrameHeader, Kind,
    WriteError, payload_as_mut,
};

use super::MessageLimit;
use super::closed::{ChannelClosed, EndNotice, SendError};
use crate::ring::CommitError;
use crate::ring::byte::{Grant, Producer};

/// Writes messages where they will be sent from.
///
/// Reserve room, fill it in place, commit: nothing is copied afterwards on this side but by the
/// transport. When the peer does not read, the ring fills, and [`reserve`](Self::reserve) waits.
/// Dropping the sender ends its stream; what was committed is still sent.
///
/// What waits can be cancelled: where a future is dropped before it is ready, nothing was reserved
/// and nothing sent. Who only sends and never reads can wait for ever: see [`Peer`](crate::Peer).
#[derive(Debug)]
pub struct Sender {
    ring: Producer,
    channel: Channel,
    end: EndNotice,
    /// What the peer takes.
    limit: MessageLimit,
}

impl Sender {
    /// A sender whose messages are read from the other end of `ring`.
    #[must_use]
    pub fn new(ring: Producer, channel: Channel) -> Self {
        Self::of_session(ring, channel, EndNotice::default(), MessageLimit::unknown())
    }

    /// A sender that can say how its session ended, and refuses what the session's peer never takes.
    pub(crate) fn of_session(
        ring: Producer,
        channel: Channel,
        end: EndNotice,
        limit: MessageLimit,
    ) -> Self {
        Self { ring, channel, end, limit }
    }

    /// Sends a delta with a copy of `payload`; waits for room. [`reserve`](Self::reserve) spares the
    /// copy.
    ///
    /// Cancel safe: a future that is dropped before it is ready has sent nothing.
    ///
    /// # Errors
    /// When the delta is longer than the ring or than the peer takes, or the session is over.
    pub async fn send(&mut self, fields: DeltaFields, payload: &[u8]) -> Result<(), SendError> {
        let mut grant = self.reserve(payload.len()).await?;
        grant.payload_mut().copy_from_slice(payload);
        Ok(grant.commit(fields, payload.len())?)
    }

    /// The same, if there is room now.
    ///
    /// # Errors
    /// Also when the ring is full.
    pub fn try_send(&mut self, fields: DeltaFields, payload: &[u8]) -> Result<(), SendError> {
        let mut grant = self.try_reserve(payload.len())?;
        grant.payload_mut().copy_from_slice(payload);
        Ok(grant.commit(fields, payload.len())?)
    }

    /// Sends a copy of `bytes` as they are, without a delta header; waits for room.
    /// [`reserve_opaque`](Self::reserve_opaque) spares the copy.
    ///
    /// Cancel safe: a future that is dropped before it is ready has sent nothing.
    ///
    /// # Errors
    /// When there are none, or more than the ring holds or the peer takes, or the session is over.
    pub async fn send_opaque(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let mut grant = self.reserve_opaque(bytes.len()).await?;
        grant.body_mut().copy_from_slice(bytes);
        Ok(grant.commit(bytes.len())?)
    }

    /// The same, if there is room now.
    ///
    /// # Errors
    /// Also when the ring is full.
    pub fn try_send_opaque(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let mut grant = self.try_reserve_opaque(bytes.len())?;
        grant.body_mut().copy_from_slice(bytes);
        Ok(grant.commit(bytes.len())?)
    }

    /// Waits for room for a delta with up to `payload_len` bytes of payload.
    ///
    /// Cancel safe: a future that is dropped has reserved nothing.
    ///
    /// # Errors
    /// When the delta is longer than the ring or than the peer takes, or the session is over.
    pub async fn reserve(&mut self, payload_len: usize) -> Result<DeltaGrant<'_>, SendError> {
        let Self { ring, channel, end, limit } = self;
        let len = delta_len(payload_len);
        limit.check(len)?;
        let grant = ring.reserve(len).await.map_err(|error| SendError::of_ring(error, end))?;
        // The peer may have said what it takes in the meantime.
        limit.check(len)?;
        Ok(DeltaGrant { grant, channel: *channel })
    }

    /// Room for a delta with up to `payload_len` bytes of payload, if there is some now.
    ///
    /// # Errors
    /// Also when the ring is full.
    #[inline]
    pub fn try_reserve(&mut self, payload_len: usize) -> Result<DeltaGrant<'_>, SendError> {
        let Self { ring, channel, end, limit } = self;
        let len = delta_len(payload_len);
        limit.check(len)?;
        let grant = ring.try_reserve(len).map_err(|error| SendError::of_ring(error, end))?;
        Ok(DeltaGrant { grant, channel: *channel })
    }

    /// [`reserve`](Self::reserve), for futures written by hand.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub fn poll_reserve(
        &mut self,
        context: &mut Context<'_>,
        payload_len: usize,
    ) -> Poll<Result<DeltaGrant<'_>, SendError>> {
        let Self { ring, channel, end, limit } = self;
        let len = delta_len(payload_len);
        limit.check(len)?;
        ring.poll_reserve(context, len)
            .map_ok(|grant| DeltaGrant { grant, channel: *channel })
            .map_err(|error| SendError::of_ring(error, end))
    }

    /// Waits for room for up to `len` bytes of the application's own, without a delta header.
    ///
    /// Cancel safe: a future that is dropped has reserved nothing.
    ///
    /// # Errors
    /// When they are longer than the ring or than the peer takes, or the session is over.
    pub async fn reserve_opaque(&mut self, len: usize) -> Result<OpaqueGrant<'_>, SendError> {
        let Self { ring, channel, end, limit } = self;
        limit.check(len)?;
        let grant = ring.reserve(len).await.map_err(|error| SendError::of_ring(error, end))?;
        // The peer may have said what it takes in the meantime.
        limit.check(len)?;
        Ok(OpaqueGrant { grant, channel: *channel, kind: Kind::Opaque })
    }

    /// Room for up to `len` bytes of the application's own, if there is some now.
    ///
    /// # Errors
    /// Also when the ring is full.
    #[inline]
    pub fn try_reserve_opaque(&mut self, len: usize) -> Result<OpaqueGrant<'_>, SendError> {
        let Self { ring, channel, end, limit } = self;
        limit.check(len)?;
        let grant = ring.try_reserve(len).map_err(|error| SendError::of_ring(error, end))?;
        Ok(OpaqueGrant { grant, channel: *channel, kind: Kind::Opaque })
    }

    /// Sends a [message about documents](deltawire_framing::documents); waits for room. Only to a peer that
    /// [speaks of them](deltawire_framing::control::HelloFields::DOCUMENTS), and over the channel that is its own.
    ///
    /// Cancel safe, as [`send`](Self::send).
    ///
    /// # Errors
    /// As those of [`send_opaque`](Self::send_opaque).
    pub async fn send_document(&mut self, body: &[u8]) -> Result<(), SendError> {
        let mut grant = self.reserve_opaque(body.len()).await?;
        grant.kind = Kind::Document;
        grant.body_mut().copy_from_slice(body);
        Ok(grant.commit(body.len())?)
    }

    /// [`send_document`](Self::send_document), for futures written by hand.
    ///
    /// # Errors
    /// As those of [`send_opaque`](Self::send_opaque).
    pub fn poll_send_document(
        &mut self,
        context: &mut Context<'_>,
        body: &[u8],
    ) -> Poll<Result<(), SendError>> {
        let Self { ring, channel, end, limit } = self;
        limit.check(body.len())?;
        let mut grant = ready!(ring.poll_reserve(context, body.len()))
            .map_err(|error| SendError::of_ring(error, end))?;
        grant.body_mut().get_mut(..body.len()).unwrap_or_default().copy_from_slice(body);
        let header = FrameHeader::whole(Kind::Document, *channel, body.len())?;
        Poll::Ready(Ok(committed(grant.commit(header))?))
    }

    /// The same, if there is room now.
    ///
    /// # Errors
    /// Also when the ring is full.
    pub fn try_send_document(&mut self, body: &[u8]) -> Result<(), SendError> {
        let mut grant = self.try_reserve_opaque(body.len())?;
        grant.kind = Kind::Document;
        grant.body_mut().copy_from_slice(body);
        Ok(grant.commit(body.len())?)
    }

    /// Waits for room for `len` bytes of a [message of a request or stream](deltawire_framing::requests), for
    /// futures written by hand. Only to a peer that
    /// [speaks of them](deltawire_framing::control::HelloFields::REQUESTS).
    ///
    /// # Errors
    /// As those of [`send_opaque`](Self::send_opaque).
    pub fn poll_reserve_request(
        &mut self,
        context: &mut Context<'_>,
        len: usize,
    ) -> Poll<Result<OpaqueGrant<'_>, SendError>> {
        let Self { ring, channel, end, limit } = self;
        limit.check(len)?;
        let grant = ready!(ring.poll_reserve(context, len))
            .map_err(|error| SendError::of_ring(error, end))?;
        Poll::Ready(Ok(OpaqueGrant { grant, channel: *channel, kind: Kind::Request }))
    }

    /// The same, if there is room now.
    ///
    /// # Errors
    /// Also when the ring is full.
    pub fn try_reserve_request(&mut self, len: usize) -> Result<OpaqueGrant<'_>, SendError> {
        let mut grant = self.try_reserve_opaque(len)?;
        grant.kind = Kind::Request;
        Ok(grant)
    }

    /// Wakes who sends, after commits without notify.
    pub fn notify(&mut self) {
        self.ring.notify();
    }

    /// Bytes that were committed and not sent yet, headers and gaps included.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.ring.queued_bytes()
    }

    /// Whether the session, or this sender, is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Why nothing more is accepted; `None` while it is.
    #[must_use]
    pub fn closed_reason(&self) -> Option<ChannelClosed> {
        self.is_closed().then(|| self.end.why())
    }

    /// Takes no more; what was committed is still sent.
    #[cfg(feature = "futures")]
    pub(super) fn close(&mut self) {
        self.ring.close();
    }
}

/// Bytes of a delta. A length that no ring has stays one.
const fn delta_len(payload_len: usize) -> usize {
    payload_len.saturating_add(DeltaHeader::SIZE)
}

/// Room for a delta. Fill the payload, then [`commit`](Self::commit); dropping it sends nothing.
#[must_use = "a grant that is dropped sends nothing"]
#[derive(Debug)]
pub struct DeltaGrant<'a> {
    grant: Grant<'a>,
    channel: Channel,
}

impl DeltaGrant<'_> {
    /// The payload's room, as many bytes as were reserved. It starts at a multiple of 16 and holds
    /// whatever lay there before.
    #[must_use]
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.grant.body_mut().get_mut(DeltaHeader::SIZE..).unwrap_or_default()
    }

    /// All of the payload's room, as numbers.
    ///
    /// # Errors
    /// When the room is not a whole number of elements, or the type's alignment is above 16.
    #[inline]
    pub fn payload_as_mut<T: Pod>(&mut self) -> Result<&mut [T], CastError> {
        payload_as_mut(self.payload_mut())
    }

    /// Sends the first `payload_len` bytes of the payload.
    ///
    /// # Errors
    /// When fewer were reserved; nothing is sent.
    #[inline]
    pub fn commit(mut self, fields: DeltaFields, payload_len: usize) -> Result<(), WriteError> {
        let header = self.write(fields, payload_len)?;
        committed(self.grant.commit(header))
    }

    /// The same, but who sends is not woken: it learns of the delta when it looks, or with
    /// [`Sender::notify`]. For many small deltas at once. In the very instant of the end a delta can come
    /// too late without an error, and without being counted: [`commit`](Self::commit) knows.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    #[inline]
    pub fn commit_without_notify(
        mut self,
        fields: DeltaFields,
        payload_len: usize,
    ) -> Result<(), WriteError> {
        let header = self.write(fields, payload_len)?;
        committed(self.grant.commit_without_notify(header))
    }

    #[inline]
    fn write(
        &mut self,
        fields: DeltaFields,
        payload_len: usize,
    ) -> Result<FrameHeader, WriteError> {
        let body_len = DeltaWriter::new(self.grant.body_mut(), fields)?.finish(payload_len)?;
        FrameHeader::whole(Kind::Delta, self.channel, body_len)
    }
}

/// Room for bytes of the application's own. Fill it, then [`commit`](Self::commit); dropping it
/// sends nothing.
#[must_use = "a grant that is dropped sends nothing"]
#[derive(Debug)]
pub struct OpaqueGrant<'a> {
    grant: Grant<'a>,
    channel: Channel,
    kind: Kind,
}

impl OpaqueGrant<'_> {
    /// The room, as many bytes as were reserved. It starts at a multiple of 16 and holds whatever
    /// lay there before.
    #[must_use]
    #[inline]
    pub fn body_mut(&mut self) -> &mut [u8] {
        self.grant.body_mut()
    }

    /// Sends the first `len` bytes.
    ///
    /// # Errors
    /// When fewer were reserved, or `len` is 0; nothing is sent.
    #[inline]
    pub fn commit(self, len: usize) -> Result<(), WriteError> {
        committed(self.grant.commit(FrameHeader::whole(self.kind, self.channel, len)?))
    }

    /// The same, but who sends is not woken, as in [`DeltaGrant::commit_without_notify`].
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    #[inline]
    pub fn commit_without_notify(self, len: usize) -> Result<(), WriteError> {
        committed(self.grant.commit_without_notify(FrameHeader::whole(
            self.kind,
            self.channel,
            len,
        )?))
    }
}

/// What a ring refuses is the caller's mistake, like what a writer refuses.
#[inline]
fn committed(result: Result<(), CommitError>) -> Result<(), WriteError> {
    result.map_err(|error| match error {
        CommitError::Closed => WriteError::Closed,
        CommitError::Length { message_len, reserved } => {
            WriteError::BufferTooSmall { needed: message_len.into(), available: reserved as u64 }
        }
        CommitError::Fragment { count, .. } => WriteError::Invalid {
            field: Field::FragmentCount,
            value: count.into(),
            expected: Expected::Exactly(1),
        },
    })
}
