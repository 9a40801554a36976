//! Writes what a document's reader gets: frames as on a link, or lines of JSON.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use deltawire_channels::Message;
use deltawire_framing::documents::{Mark, MarkFields, Why};
use deltawire_framing::{Channel, Frame};
use deltawire_hub::Place;
use serde_json::json;
use zerocopy::IntoBytes;

/// Frames from this length on are handed on as they lie; shorter ones are copied one behind the other.
const SHARED: usize = 16 << 10;

/// The media type of frames with their lengths in front.
pub(super) const FRAMES: &str = "application/vnd.deltawire.frames";

/// The media type of lines of JSON.
pub(super) const LINES: &str = "application/x-ndjson";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Frames,
    Lines,
}

impl Format {
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Frames => FRAMES,
            Self::Lines => LINES,
        }
    }
}

/// What waits to be sent.
#[derive(Debug)]
pub(super) struct Encoder {
    format: Format,
    /// Where the reader is: of the next delta.
    at: Option<Place>,
    open: BytesMut,
    done: VecDeque<Bytes>,
    bytes: usize,
}

impl Encoder {
    /// For a reader that begins there, if that is known.
    pub(super) fn new(format: Format, at: Option<Place>) -> Self {
        let (open, done) = (BytesMut::new(), VecDeque::new());
        let mut encoder = Self { format, at: None, open, done, bytes: 0 };
        if let Some(at) = at {
            encoder.begin(at);
        }
        encoder
    }

    /// Where the reader is when it has all that waits.
    pub(super) fn at(&self) -> Option<Place> {
        self.at
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    fn begin(&mut self, at: Place) {
        self.at = Some(at);
        if self.format == Format::Frames {
            self.mark_frame(Why::Start, at, 0, 0);
        }
    }

    pub(super) fn delta(&mut self, place: Place, frame: Bytes) {
        match self.at {
            None => self.begin(place),
            Some(at) if at == place => {}
            // The document was made, or opened anew with all that there was: nothing is missing.
            Some(at) if at.position == place.position => {
                if self.format == Format::Frames {
                    self.mark_frame(Why::Progress, place, 0, 0);
                }
            }
            // Those between were rejected.
            Some(at) => {
                let skipped = place.position.saturating_sub(at.position);
                self.gap(Why::LeftOut, place, skipped, 0);
            }
        }
        self.at = Some(Place { position: place.position.saturating_add(1), ..place });
        match self.format {
            Format::Frames => self.frame(frame),
            Format::Lines => {
                let parsed = Frame::parse(&frame);
                let Ok(delta) =
                    parsed.as_ref().map_err(|_| ()).and_then(|it| it.delta().map_err(|_| ()))
                else {
                    return;
                };
                // By hand: a payload is copied once, into its Base64.
                let head = format!(
                    "{{\"position\":{},\"epoch\":{},\"type\":{},\"timestamp\":{},\"sequence\":{},\"payload\":\"",
                    place.position,
                    place.epoch,
                    delta.delta_type().get(),
                    delta.timestamp(),
                    delta.sequence(),
                );
                let payload = STANDARD.encode(delta.payload());
                self.put(&[head.as_bytes(), payload.as_bytes(), b"\"}\n"]);
            }
        }
    }

    /// Deltas that do not come: the reader goes on from `to`.
    pub(super) fn gap(&mut self, why: Why, to: Place, skipped: u64, skipped_bytes: u64) {
        let from = self.at.replace(to);
        match self.format {
            Format::Frames => self.mark_frame(why, to, skipped, skipped_bytes),
            Format::Lines => self.line(&json!({ "gap": {
                "why": name_of(why),
                "from": from.map(|from| json!({ "epoch": from.epoch, "position": from.position })),
                "to": { "epoch": to.epoch, "position": to.position },
                "skipped": skipped,
                "skipped_bytes": skipped_bytes,
            }})),
        }
    }

    /// A delta that was sent, or that its reader has from before, was rejected.
    pub(super) fn rejected(&mut self, place: Place) {
        match (self.format, self.at) {
            (Format::Frames, Some(at)) => self.mark_frame(Why::Rejected, at, place.position, 0),
            // It begins with what it has not, so it cannot have that.
            (Format::Frames, None) => {}
            (Format::Lines, _) => self.line(&json!({
                "rejected": { "epoch": place.epoch, "position": place.position },
            })),
        }
    }

    /// All that there was is sent.
    pub(super) fn live(&mut self, at: Place) {
        if self.at.is_none() {
            self.begin(at);
        }
        self.at = Some(at);
        self.tell(Why::Live, "live");
    }

    /// This was asked for, and there is more.
    pub(super) fn more(&mut self) {
        self.tell(Why::Progress, "next");
    }

    /// Nothing happened.
    pub(super) fn heartbeat(&mut self) {
        match (self.format, self.at) {
            (Format::Frames, Some(at)) => self.mark_frame(Why::Progress, at, 0, 0),
            (Format::Frames, None) => {}
            (Format::Lines, _) => self.put(&[b"\n"]),
        }
    }

    /// The document's reader was refused or ended.
    pub(super) fn ended(&mut self, reason: &str) {
        if self.format == Format::Lines {
            self.line(&json!({ "ended": reason }));
        }
    }

    fn tell(&mut self, why: Why, name: &str) {
        let Some(at) = self.at else { return };
        match self.format {
            Format::Frames => self.mark_frame(why, at, 0, 0),
            Format::Lines => {
                self.line(&json!({ name: { "epoch": at.epoch, "position": at.position } }));
            }
        }
    }

    fn mark_frame(&mut self, why: Why, at: Place, skipped: u64, skipped_bytes: u64) {
        // Positions count from 1.
        let (epoch, position) = (at.epoch, at.position.max(1));
        let mark = Mark::new(MarkFields { id: 0, why, epoch, position, skipped, skipped_bytes });
        self.frame(Message::document_of(mark.as_bytes(), Channel::Data).into_kept());
    }

    fn frame(&mut self, frame: Bytes) {
        // A frame is at most 16 MiB long or so; u32 has room for all that there can be.
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes();
        if frame.len() < SHARED {
            self.put(&[&len, &frame]);
            return;
        }
        self.put(&[&len]);
        self.close();
        self.bytes += frame.len();
        self.done.push_back(frame);
    }

    fn line(&mut self, value: &serde_json::Value) {
        self.put(&[value.to_string().as_bytes(), b"\n"]);
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.open.put_slice(part);
            self.bytes += part.len();
        }
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.done.push_back(self.open.split().freeze());
        }
    }

    /// What is to be sent next.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.done.is_empty() {
            self.close();
        }
        let next = self.done.pop_front()?;
        self.bytes -= next.len();
        Some(next)
    }
}

fn name_of(why: Why) -> &'static str {
    match why {
        Why::Start => "start",
        Why::Progress => "progress",
        Why::Live => "live",
        Why::Slow => "slow",
        Why::Expired => "expired",
        Why::NewEpoch => "new-epoch",
        Why::Snapshot => "snapshot",
        Why::LeftOut => "left-out",
        _ => "other",
    }
}
